"""Batches of features for training, and fixed sets for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kws.config import FeatureConfig

from .augment import (
    EQUALISER_POINTS,
    AugmentConfig,
    add_noise,
    crop_at_speed,
    draw_noise,
    draw_suppression,
    equalise,
    mask_features,
    uniform,
)
from .features import LogMel

CHAIN = 4  # words of a row where words are heard one after another
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

    Where a network hears more than the view, each row is a little stream: ``context``, then
    ``CHAIN`` views one after another in one noise, so that what comes before a word is sound.

    Args:
        context: frames before a view that its decision depends on.

    Shape:
        yields features ``[B, F, T]`` and labels ``[B]``; with a context features ``[R, F, T]``,
        labels ``[R * CHAIN]`` and the frames at which the views end.

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
        context: int = 0,
    ) -> None:
        self.views, self.noise, self.augment = views, noise, augment
        self.view, self.seed, self.device = features.view, seed, device
        self.lead, self.chain = context * features.hop, CHAIN if context else 1
        self.batch = max(1, batch // self.chain) * self.chain  # whole rows
        self.ends = [
            context + features.frames - 1 + self.view // features.hop * number
            for number in range(self.chain)
        ]
        self.log_mel = LogMel(features).to(device)

    def __len__(self) -> int:
        return -(-len(self.views) // self.batch)

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        order = torch.randperm(len(self.views), generator=generator)
        missing = -len(order) % self.chain  # words of the last row; the first come again
        for clips in torch.cat([order, order.repeat(self.chain)[:missing]]).split(self.batch):
            waves = self._waves(clips.view(-1, self.chain), generator).to(self.device)
            suppressed = draw_suppression(len(waves), self.augment, generator).to(self.device)
            features = self.log_mel(waves, suppressed)
            if self.augment.mask_bands:
                features = mask_features(features, self.augment, generator)
            labels = self.views.labels[clips].to(self.device)
            yield (features, labels, self.ends) if self.lead else (features, labels)

    def _waves(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Words in noise, one after another: ``[R, n] -> [R, lead + n * view]``."""
        rows = len(clips)
        touched = torch.rand(rows, generator=generator) < self.augment.probability
        words = self._words(clips.flatten(), touched.repeat_interleave(self.chain), generator)
        waves = functional.pad(words.view(rows, -1), (self.lead, 0))
        noise = draw_noise(self.noise, rows, waves.shape[1], generator)
        ratios = uniform((rows, 1), *self.augment.snr, generator)
        waves = torch.where(touched[:, None], add_noise(waves, noise, ratios), waves)
        before, words = waves[:, : self.lead], waves[:, self.lead :].reshape(-1, self.view)
        noise = noise[:, self.lead :].reshape(-1, self.view)
        words = hush(words, noise, self.views.silent[clips.flatten()], generator)
        return torch.cat([before, words.view(rows, -1)], dim=1).clamp(-1, 1)

    def _words(self, rows: Tensor, touched: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted where touched, at another speed, level and colour: ``[B] -> [B, view]``."""
        config, count, margin = self.augment, len(rows), self.views.margin
        reach = min(margin, config.shift)
        shift = torch.randint(-reach, reach + 1, (count,), generator=generator)
        starts = margin + torch.where(touched, shift, 0)
        speeds = uniform((count,), 1 - config.speed, 1 + config.speed, generator)
        waves = crop_at_speed(self.views.waves[rows], starts, speeds, self.view) / 32_768
        gains = uniform((count, 1), *config.gain, generator)
        slopes = (count, EQUALISER_POINTS)
        bends = uniform(slopes, -config.equaliser, config.equaliser, generator)
        return equalise(waves, gains + bends)


class Kept:
    """Batches that stay in memory once they are made, for several runs that hear the same.

    Half a megabyte for each batch of 32 views.
    """

    def __init__(self, batches: Training) -> None:
        self.batches = batches
        self._epochs: dict[int, list[tuple[Any, ...]]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        if index not in self._epochs:
            self._epochs[index] = list(self.batches.epoch(index))
        yield from self._epochs[index]


def hush(waves: Tensor, noise: Tensor, silent: Tensor, generator: torch.Generator) -> Tensor:
    """Replace the silent rows by noise at a drawn level: ``[B, N]`` each, ``[B]``."""
    level = 10 ** (uniform((len(waves), 1), QUIET, LOUD, generator) / 20)
    return torch.where(silent[:, None], noise * level, waves)


def fixed_features(
    views: Views, noise: Tensor, features: FeatureConfig, *, context: int = 0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """All views as they are, silence drawn once: features ``[N, F, T]`` and labels ``[N]``.

    Before each view comes a ``context`` of so many frames: another one's end, drawn once.
    """
    log_mel, pieces = LogMel(features), []
    lead = context * features.hop  # samples
    generator = torch.Generator().manual_seed(seed)
    others = torch.randperm(len(views), generator=generator) if lead else None
    middle = slice(views.margin, views.margin + features.view)
    for rows in torch.arange(len(views)).split(256):
        waves = views.waves[rows, middle].float() / 32_768
        stretch = draw_noise(noise, len(rows), features.view, generator)
        waves = hush(waves, stretch, views.silent[rows], generator)
        if others is not None:
            before = views.waves[others[rows], middle].float() / 32_768
            before = functional.pad(before, (lead, 0))[:, -lead:]
            waves = torch.cat([before, waves], dim=1)
        pieces.append(log_mel(waves))
    return torch.cat(pieces), views.labels
