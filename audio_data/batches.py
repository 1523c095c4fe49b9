"""Batches of features for training, and fixed sets for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kws.config import FeatureConfig

from .augment import (
    EQUALISER_POINTS,
    AugmentConfig,
    add_noise,
    crop,
    crop_at_speed,
    draw_noise,
    equalise,
    mask_features,
    uniform,
)
from .features import LogMel

QUIET, LOUD = -70.0, -25.0  # dB full scale, the levels at which silence is heard


@dataclass(frozen=True)
class Views:
    """Placed recordings and their classes.

    Shape:
        waves ``[N, view + 2 * margin]`` int16, labels ``[N]``, silent ``[N]`` true where the
        sound is noise alone.
    """

    waves: Tensor
    labels: Tensor
    silent: Tensor
    margin: int

    @classmethod
    def build(
        cls, waves: NDArray[np.int16], labels: list[int], silent: int, margin: int
    ) -> "Views":
        """Recordings first, then ``silent`` rows without any; ``labels`` covers both."""
        rows = torch.zeros((len(labels), waves.shape[1]), dtype=torch.int16)
        rows[: len(waves)] = torch.from_numpy(np.array(waves))
        quiet = torch.arange(len(labels)) >= len(labels) - silent
        return cls(rows, torch.tensor(labels), quiet, margin)

    def __len__(self) -> int:
        return len(self.labels)


class Training:
    """Epochs of augmented batches; epoch ``e`` of seed ``s`` is always the same.

    Shape:
        yields features ``[B, F, T]`` and labels ``[B]``
    """

    def __init__(
        self,
        views: Views,
        noise: Tensor,
        features: FeatureConfig,
        augment: AugmentConfig,
        *,
        batch: int = 32,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.views, self.noise, self.augment = views, noise, augment
        self.view, self.batch, self.seed, self.device = features.view, batch, seed, device
        self.log_mel = LogMel(features).to(device)

    def __len__(self) -> int:
        return -(-len(self.views) // self.batch)

    def epoch(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        order = torch.randperm(len(self.views), generator=generator)
        for rows in order.split(self.batch):
            waves = self._waves(rows, generator).to(self.device)
            features = self.log_mel(waves)
            if self.augment.mask_bands:
                features = mask_features(features, self.augment, generator)
            yield features, self.views.labels[rows].to(self.device)

    def _waves(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted, at another speed, level and colour, in noise: ``[B] -> [B, view]``."""
        config, count, margin = self.augment, len(rows), self.views.margin
        touched = torch.rand(count, generator=generator) < config.probability
        reach = min(margin, config.shift)
        shift = torch.randint(-reach, reach + 1, (count,), generator=generator)
        starts = margin + torch.where(touched, shift, 0)
        speeds = uniform((count,), 1 - config.speed, 1 + config.speed, generator)
        waves = crop_at_speed(self.views.waves[rows], starts, speeds, self.view) / 32_768
        gains = uniform((count, 1), *config.gain, generator)
        slopes = (count, EQUALISER_POINTS)
        bends = uniform(slopes, -config.equaliser, config.equaliser, generator)
        waves = equalise(waves, gains + bends)
        noise = draw_noise(self.noise, count, self.view, generator)
        noisy = add_noise(waves, noise, uniform((count, 1), *config.snr, generator))
        waves = torch.where(touched[:, None], noisy, waves)
        return hush(waves, noise, self.views.silent[rows], generator).clamp(-1, 1)


def hush(waves: Tensor, noise: Tensor, silent: Tensor, generator: torch.Generator) -> Tensor:
    """Replace the silent rows by noise at a drawn level: ``[B, N]`` each, ``[B]``."""
    level = 10 ** (uniform((len(waves), 1), QUIET, LOUD, generator) / 20)
    return torch.where(silent[:, None], noise * level, waves)


def fixed_features(
    views: Views, noise: Tensor, features: FeatureConfig, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """All views as they are, silence drawn once: features ``[N, F, T]`` and labels ``[N]``."""
    log_mel, pieces = LogMel(features), []
    generator = torch.Generator().manual_seed(seed)
    for rows in torch.arange(len(views)).split(256):
        starts = torch.full((len(rows),), views.margin)
        waves = crop(views.waves[rows], starts, features.view).float() / 32_768
        stretch = draw_noise(noise, len(rows), features.view, generator)
        pieces.append(log_mel(hush(waves, stretch, views.silent[rows], generator)))
    return torch.cat(pieces), views.labels
