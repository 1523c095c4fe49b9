"""From sound to score sequences: what calibration and stream evaluation hear with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from audio_data.streams import Stream
from kws.config import SAMPLE_RATE
from kws.engine import VIEW, Engine, Spotter
from kws.stream_metrics import Recorded, Spoken

if TYPE_CHECKING:
    from kws.bank import Bank

Scores = NDArray[np.float32]
HOP: Final = SAMPLE_RATE * 8 // 100  # samples, 80 ms: the engine's own
BATCH: Final = 128  # views at once


class Scorer(Protocol):
    """Turns a stream into decisions, as the live engine would; remembers what it must."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the scores."""
        ...

    @property
    def language(self) -> str:
        """Of the labels."""
        ...

    @property
    def hop(self) -> int:
        """Samples between two decisions."""
        ...

    def reset(self) -> None:
        """Begin another stream."""
        ...

    def feed(self, samples: Scores) -> Scores:
        """Take any number of samples ``[T]``; return the decisions they complete ``[N, K]``."""
        ...


class LiveScorer:
    """Scores of any spotter, taken from the engine that listens."""

    def __init__(self, spotter: Spotter) -> None:
        self._tap = _Tap(spotter)
        self._engine = Engine(self._tap)
        self.labels, self.language = spotter.labels, spotter.active_adapter
        self.hop = self._engine.hop

    def reset(self) -> None:
        self._engine.reset()

    def feed(self, samples: Scores) -> Scores:
        self._tap.taken.clear()
        self._engine.feed(samples)
        return np.array(self._tap.taken, np.float32).reshape(-1, len(self.labels))


class _Tap:
    """A spotter that keeps every score it gives; all else is the other's."""

    def __init__(self, spotter: Spotter) -> None:
        self._spotter = spotter
        self.taken: list[Scores] = []
        self.languages, self.active_adapter = spotter.languages, spotter.active_adapter
        self.labels, self.set_adapter = spotter.labels, spotter.set_adapter
        self.detector_config = spotter.detector_config

    def scores(self, view: Scores) -> Scores:
        self.taken.append(self._spotter.scores(view))
        return self.taken[-1]


class BatchScorer:
    """The same scores, many views at once, which share the features of the sound they share.

    Args:
        bank: in the language that is to be heard.

    """

    hop = HOP

    def __init__(self, bank: "Bank") -> None:
        self._bank = bank
        self._features = bank.base.config.features
        self.labels, self.language = bank.labels, bank.active_adapter
        self.reset()

    @staticmethod
    def fits(bank: "Bank") -> bool:
        """Whether views begin where frames do."""
        return HOP % bank.base.config.features.hop == 0

    def reset(self) -> None:
        self._audio = np.zeros(VIEW - HOP, np.float32)  # what the next view begins with

    def feed(self, samples: Scores) -> Scores:
        finite = np.where(np.isfinite(samples), samples, np.float32(0)).astype(np.float32)
        self._audio = np.concatenate([self._audio, finite])
        views = (len(self._audio) - VIEW) // HOP + 1
        found = [
            self._score(self._audio[first * HOP :], min(BATCH, views - first))
            for first in range(0, views, BATCH)
        ]
        self._audio = self._audio[views * HOP :]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *found])

    def _score(self, audio: Scores, views: int) -> Scores:
        """``[T] -> [views, K]``, the first view at its begin."""
        import torch

        from audio_data.logmel import log_mel

        mel = log_mel(audio[: VIEW + (views - 1) * HOP], self._features)  # [F, T]
        step = HOP // self._features.hop  # frames
        every = np.lib.stride_tricks.sliding_window_view(mel, self._features.frames, axis=1)
        batch = torch.from_numpy(every[:, ::step].transpose(1, 0, 2).copy())  # [views, F, T]
        return np.asarray(self._bank.probabilities(batch).numpy(), np.float32)


def open_scorer(bank: "Bank") -> Scorer:
    """The quickest way to a bank's scores, in its active language."""
    return BatchScorer(bank) if BatchScorer.fits(bank) else LiveScorer(bank)


def hear(
    scorer: Scorer, stream: Stream, progress: Callable[[int, int], None] = lambda done, total: None
) -> Recorded:
    """Play a stream once and keep what the network makes of it, and what is true of it."""
    scorer.reset()
    rows: list[Scores] = []
    spoken: list[Spoken] = []
    played = 0  # samples
    for wave, truth in stream:
        rows.append(scorer.feed(wave))
        spoken += truth
        played += len(wave)
        total = max(played, round(stream.expected_seconds * SAMPLE_RATE))
        progress(played // SAMPLE_RATE, total // SAMPLE_RATE)
    scores = np.concatenate(rows)
    return Recorded(scorer.labels, scorer.language, scores, scorer.hop, tuple(spoken))
