"""From sound to score sequences: what calibration and stream evaluation measure."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audio_data.streams import Stream
from kws.config import SAMPLE_RATE
from kws.engine import TAIL, HopBuffer, Spotter
from kws.errors import UsageError
from kws.names import SILENCE, UNKNOWN, spotted
from kws.stream_metrics import ScoredStream, Spoken

Wave = NDArray[np.float32]  # [T], mono at 16 kHz
Scores = NDArray[np.float32]  # [N, K]


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

    def feed(self, samples: Wave) -> Scores:
        """Take any number of samples ``[T]``; return the decisions they complete ``[N, K]``."""
        ...

    def flush(self) -> Scores:
        """End the stream as the live engine does; return the decisions of its silence."""
        ...


class LiveScorer:
    """Scores as the live engine has them, of the same :class:`kws.engine.HopBuffer`.

    Args:
        spotter: in the language that is to be heard.
        keywords: those of its labels that are to be heard; all, if None.

    """

    def __init__(self, spotter: Spotter, keywords: Collection[str] | None = None) -> None:
        self._buffer = HopBuffer(spotter)
        self.labels, self.language = chosen(spotter.labels, keywords), spotter.active_adapter
        self.hop = self._buffer.hop

    def reset(self) -> None:
        self._buffer.reset()

    def feed(self, samples: Wave) -> Scores:
        found = [scores.copy() for scores in self._buffer.feed(samples)]
        return np.array(found, np.float32).reshape(-1, len(self.labels))

    def flush(self) -> Scores:
        return self.feed(np.zeros(round(TAIL * SAMPLE_RATE), np.float32))


def chosen(labels: Sequence[str], keywords: Collection[str] | None) -> tuple[str, ...]:
    """Labels, of which all that are not to be heard count as unknown.

    >>> chosen(("go", "left", "stop", "_silence_"), ["stop", "go"])
    ('go', '_unknown_', 'stop', '_silence_')

    Raises:
        UsageError: a keyword is none of the labels.

    """
    if keywords is None:
        return tuple(labels)
    words = spotted(labels)
    if strangers := [word for word in keywords if word not in words]:
        raise UsageError(
            f"{', '.join(strangers)}: not a keyword here; choose among {', '.join(words)}"
        )
    return tuple(label if label in {*keywords, SILENCE} else UNKNOWN for label in labels)


def score_stream(
    scorer: Scorer, stream: Stream, progress: Callable[[int, int], None] = lambda done, total: None
) -> ScoredStream:
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
    scores = np.concatenate([*rows, scorer.flush()])
    seconds = played / SAMPLE_RATE
    return ScoredStream(scorer.labels, scorer.language, scores, scorer.hop, tuple(spoken), seconds)
