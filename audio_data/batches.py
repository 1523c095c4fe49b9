"""Batches of features for training, and fixed sets for evaluation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kws.config import SEED_STEP, FeatureConfig

from .augment import (
    EQUALISER_POINTS,
    AugmentConfig,
    add_noise,
    crop_at_speed,
    draw_noise,
    draw_suppression,
    equalise,
    mask_features,
    narrow,
    uniform,
)
from .decode import FULL_SCALE
from .features import LogMel

CHAIN = 4  # words of a row where words are heard one after another
LATE = 24  # frames: training takes the decision on a view from its end to so many later
LAG = LATE // 2  # frames after a view's end at which evaluation takes the decision on it
SOFTEST, LOUDEST_NOISE = -70.0, -25.0  # dB full scale, the levels at which silence is heard


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
        rows.numpy()[: len(waves)] = waves  # which may lie in a file
        quiet = torch.arange(len(labels)) >= len(labels) - silent
        return cls(rows, torch.tensor(labels), quiet, margin)

    def __len__(self) -> int:
        return len(self.labels)


class TrainingBatches:
    """Epochs of augmented batches; epoch ``e`` of seed ``s`` is always the same.

    Where a network hears more than the view, each row is a little stream: ``context``, then
    ``CHAIN`` views one after another in one noise, so that what comes before a word is sound. A
    live detector decides at every moment, so decisions are trained from a view's end on to
    ``LATE`` frames later, in which the next word may begin.

    Args:
        context: frames before a view that its decision depends on.
        at_most: of these classes so many rows in an epoch, drawn anew in each.

    Shape:
        yields features ``[B, F, T]`` and labels ``[B]``; with a context features ``[R, F, T]``,
        labels ``[R * CHAIN]`` and the frames at which decisions are taken: the views' ends and up
        to ``LATE`` later, drawn once for all rows of a batch.

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
        at_most: Mapping[int, int] | None = None,
    ) -> None:
        self.views, self.noise, self.augment = views, noise, augment
        self.view, self.seed, self.device = features.view, seed, device
        self.lead, self.chain = context * features.hop, CHAIN if context else 1
        self.tail = LATE * features.hop if context else 0
        self.batch = max(1, batch // self.chain) * self.chain  # whole rows
        first, each = context + features.frames - 1, self.view // features.hop
        self.ends = torch.arange(self.chain) * each + first
        self.log_mel = LogMel(features).to(device)
        self.at_most = dict(at_most or {})

    def __len__(self) -> int:
        counts = enumerate(self.views.labels.bincount().tolist())
        rows: int = sum(min(count, self.at_most.get(label, count)) for label, count in counts)
        return -(-rows // self.batch)

    @property
    def digest(self) -> str:
        """Of all sound that batches are made of."""
        found = sha256(self.views.waves.contiguous().numpy().data)
        found.update(self.noise.contiguous().numpy().data)
        return found.hexdigest()

    def _order(self, generator: torch.Generator) -> Tensor:
        """Rows of an epoch, as they come."""
        order = torch.randperm(len(self.views), generator=generator)
        for label, most in self.at_most.items():
            its = self.views.labels[order] == label
            order = order[~its | (its.cumsum(0) <= most)]
        return order

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        generator = torch.Generator().manual_seed(self.seed * SEED_STEP + index)
        order = self._order(generator)
        missing = -len(order) % self.chain  # words of the last row; the first come again
        for clips in torch.cat([order, order.repeat(self.chain)[:missing]]).split(self.batch):
            waves = self._waves(clips.view(-1, self.chain), generator).to(self.device)
            suppressed = draw_suppression(len(waves), self.augment, generator).to(self.device)
            features = self.log_mel(waves, suppressed)
            features = mask_features(features, self.augment, generator)
            labels = self.views.labels[clips].to(self.device)
            if self.lead:
                late = torch.randint(LATE + 1, self.ends.shape, generator=generator)
                yield features, labels, (self.ends + late).tolist()
            else:
                yield features, labels

    def _waves(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Words in noise, one after another: ``[R, n] -> [R, lead + n * view + tail]``."""
        rows = len(clips)
        touched = torch.rand(rows, generator=generator) < self.augment.probability
        words = self._words(clips.flatten(), touched.repeat_interleave(self.chain), generator)
        waves = functional.pad(words.view(rows, -1), (self.lead, self.tail))
        noise = draw_noise(self.noise, rows, waves.shape[1], generator)
        # Relative to the mean power of the whole row, its silent lead included; streams.py takes
        # that of the word alone.
        ratios = uniform((rows, 1), *self.augment.snr, generator)
        waves = torch.where(touched[:, None], add_noise(waves, noise, ratios), waves)
        parts = [self.lead, self.chain * self.view, self.tail]
        before, words, after = waves.split(parts, dim=1)
        words, noise = (x.reshape(-1, self.view) for x in (words, noise.split(parts, 1)[1]))
        words = fill_silence(words, noise, self.views.silent[clips.flatten()], generator)
        return torch.cat([before, words.view(rows, -1), after], dim=1).clamp(-1, 1)

    def _words(self, rows: Tensor, touched: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted where touched, at another speed, level and colour: ``[B] -> [B, view]``."""
        config, count, margin = self.augment, len(rows), self.views.margin
        reach = min(margin, config.shift)
        shift = torch.randint(-reach, reach + 1, (count,), generator=generator)
        starts = margin + torch.where(touched, shift, 0)
        speeds = uniform((count,), 1 - config.speed, 1 + config.speed, generator)
        waves = crop_at_speed(self.views.waves[rows], starts, speeds, self.view) / FULL_SCALE
        gains = uniform((count // self.chain, 1), *config.gain, generator)
        if self.lead:
            gains = gains.repeat_interleave(self.chain, dim=0)
            gains = gains + uniform((count, 1), -config.apart, config.apart, generator)
        shape = count, EQUALISER_POINTS
        bends = uniform(shape, -config.equaliser, config.equaliser, generator)
        waves = equalise(waves, gains + bends)
        if config.narrow:
            ends = uniform((count, 1), *config.band, generator)
            through = torch.rand((count, 1), generator=generator) < config.narrow
            waves = torch.where(through, narrow(waves, ends), waves)
        return waves


class CachedBatches:
    """Batches that stay in memory once they are made, for several runs that hear the same.

    Half a megabyte for each batch of 32 views.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches
        self._epochs: dict[int, list[tuple[Any, ...]]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def digest(self) -> str:
        """Of all sound that batches are made of."""
        return self.batches.digest

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        if index not in self._epochs:
            self._epochs[index] = list(self.batches.epoch(index))
        yield from self._epochs[index]


def fill_silence(
    waves: Tensor, noise: Tensor, silent: Tensor, generator: torch.Generator
) -> Tensor:
    """Replace the silent rows by noise at a drawn level: ``[B, N]`` each, ``[B]``."""
    level = 10 ** (uniform((len(waves), 1), SOFTEST, LOUDEST_NOISE, generator) / 20)
    return torch.where(silent[:, None], noise * level, waves)


def fixed_features(
    views: Views, noise: Tensor, features: FeatureConfig, *, context: int = 0
) -> tuple[Tensor, Tensor]:
    """All views as they are, silence drawn once: features ``[N, F, T]`` and labels ``[N]``.

    With a ``context``, for a causal network, T grows by that many frames before the view and by
    ``LAG`` after it, and the decision is that at the last frame. Before is the end of a view that
    is drawn once, mostly another, and zeros where the context is longer; after is the beginning of
    one that is drawn likewise.
    """
    log_mel, pieces = LogMel(features), []
    lead, tail = context * features.hop, LAG * features.hop if context else 0  # samples
    generator = torch.Generator().manual_seed(0)
    others = torch.randperm(len(views), generator=generator) if lead else None
    middle = slice(views.margin, views.margin + features.view)
    for rows in torch.arange(len(views)).split(256):
        waves = views.waves[rows, middle].float() / FULL_SCALE
        stretch = draw_noise(noise, len(rows), features.view, generator)
        waves = fill_silence(waves, stretch, views.silent[rows], generator)
        if others is not None:
            before = views.waves[others[rows], middle].float() / FULL_SCALE
            before = functional.pad(before, (lead, 0))[:, -lead:]
            after = views.waves[others[rows].roll(1), middle][:, :tail].float() / FULL_SCALE
            waves = torch.cat([before, waves, after], dim=1)
        pieces.append(log_mel(waves))
    return torch.cat(pieces), views.labels
