"""From sound to score sequences: what calibration and stream evaluation hear with."""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from audio_data.streams import Stream
from kws.config import SAMPLE_RATE
from kws.engine import Ear, Listener, Spotter, Views
from kws.stream_metrics import Recorded, Spoken

Scores = NDArray[np.float32]
HOP: Final = SAMPLE_RATE * 8 // 100  # samples, 80 ms: the engine's own


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
    """Scores as the live engine has them: of the same ears.

    Args:
        spotter: in the language that is to be heard.

    """

    hop = HOP

    def __init__(self, spotter: Spotter) -> None:
        self._ear: Ear = spotter.ear(HOP) if isinstance(spotter, Listener) else Views(spotter, HOP)
        self.labels, self.language = spotter.labels, spotter.active_adapter
        self.reset()

    def reset(self) -> None:
        self._ear.reset()
        self._left = np.zeros(0, np.float32)  # of a hop

    def feed(self, samples: Scores) -> Scores:
        finite = np.where(np.isfinite(samples), samples, np.float32(0)).astype(np.float32)
        audio = np.concatenate([self._left, finite])
        hops = audio[: len(audio) // HOP * HOP].reshape(-1, HOP)
        self._left = audio[hops.size :]
        found = np.zeros((len(hops), len(self.labels)), np.float32)
        for row, piece in zip(found, hops, strict=True):
            row[:] = self._ear.hear(piece)
        return found


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
