"""An engine whose thresholds can be turned, which can be muted, and which tells what it heard."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig, Levels
from kws.engine import Engine, Spotter

STEP: Final = 0.5  # of log odds, by which a key turns the thresholds: 0.5 to 0.62, 0.99 to 0.994
LOWEST: Final = 0.05  # to which keys turn them
HIGHEST: Final = 0.9999


class Reaction(Protocol):
    """Is told what was fed and what was found in it; must return at once."""

    def __call__(self, samples: NDArray[np.float32], found: Sequence[Detection]) -> None:
        """Take samples ``[T]`` as the engine heard them: silence while it is muted."""
        ...


class LiveEngine(Engine):
    """An engine whose thresholds can be turned up and down, and which can be muted.

    Attributes:
        reactions: are called after everything that is fed, and after the flush.
        raised: by how much every threshold differs from what it was at the start, in log odds.
        muted: what is fed counts as silence.

    """

    def __init__(self, spotter: Spotter, *, threshold: float | None = None) -> None:
        self.reactions: list[Reaction] = []
        self.raised, self.muted = 0.0, False  # before the detector is made, which needs the first
        super().__init__(spotter, threshold=threshold)

    @property
    def time(self) -> float:
        """Seconds of audio at which the last decision was taken."""
        return self.decisions * self.hop / SAMPLE_RATE

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """``[K]``, what each class of the active language must reach; infinite: it never fires."""
        return self._detector.thresholds

    def turn(self, up: bool) -> None:
        """Turn all thresholds by one step, if there is room; the keywords keep their distances."""
        self._follow()
        before, old = self.raised, self.thresholds
        self.raised += STEP if up else -STEP
        self._detector.use_levels(self._adjusted(self._stored()[1]))
        if np.array_equal(self.thresholds, old):
            self.raised = before

    def feed(self, samples: NDArray[np.float32]) -> list[Detection]:
        """Take samples as every engine does; nothing of them is heard while muted."""
        heard = np.zeros_like(samples) if self.muted else samples
        if not self.reactions or len(heard) <= self.hop:
            return self._told(heard, super().feed(heard))
        found = []
        for start in range(0, len(heard), self.hop):  # so that each decision is told of
            piece = heard[start : start + self.hop]
            found += self._told(piece, super().feed(piece))
        return found

    def flush(self) -> list[Detection]:
        """End the stream as every engine does."""
        found = []
        for start in range(0, self._tail, self.hop):
            ended = self._end(min(self.hop, self._tail - start))
            found += self._told(np.zeros(0, np.float32), ended)
        return found

    def _told(self, samples: NDArray[np.float32], found: list[Detection]) -> list[Detection]:
        for reaction in self.reactions:
            reaction(samples, found)
        return found

    def _adjusted(self, stored: DetectorConfig) -> DetectorConfig:
        return shifted(super()._adjusted(stored), self.raised)


def shifted(config: DetectorConfig, by: float) -> DetectorConfig:
    """Move thresholds by so much of their log odds, as far as keys may; releases keep their share.

    >>> levels = shifted(DetectorConfig(threshold=0.5, release=0.3), 1.0).levels("go")
    >>> round(levels.threshold, 3), round(levels.release, 3)
    (0.731, 0.439)
    """
    if not by:
        return config
    common = _shifted(Levels(config.threshold, config.release), by)
    own = {word: _shifted(levels, by) for word, levels in config.keywords.items()}
    return replace(config, threshold=common.threshold, release=common.release, keywords=own)


def _shifted(levels: Levels, by: float) -> Levels:
    before = levels.threshold
    moved = 1 / (1 + (1 - before) / before * math.exp(-by))  # a threshold of 1 stays
    threshold = min(max(moved, min(before, LOWEST)), max(before, HIGHEST))
    return Levels(threshold, min(threshold, levels.release * threshold / before))
