"""From scores to events: one utterance is one detection."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .config import SILENCE, UNKNOWN
from .errors import KwsError


@dataclass(frozen=True)
class Detection:
    """A keyword that was heard: an event, not a window over a threshold."""

    keyword: str
    language: str
    score: float  # smoothed probability
    time: float  # seconds of audio at which the decision was taken

    def as_dict(self) -> dict[str, str | float]:
        """Return what is printed, in this order.

        >>> Detection("go", "eng", 0.98765, 1.28).as_dict()
        {'keyword': 'go', 'language': 'eng', 'score': 0.9877, 'time': 1.28}
        """
        return {
            "keyword": self.keyword,
            "language": self.language,
            "score": round(self.score, 4),
            "time": round(self.time, 4),
        }


@dataclass(frozen=True)
class Levels:
    """How high a keyword's smoothed probability must rise to be heard, and fall to be armed."""

    threshold: float  # that counts as heard
    release: float  # a keyword must fall below this before it fires again

    def __post_init__(self) -> None:
        """Refuse levels that never fire or never stop firing."""
        if not 0 < self.threshold <= 1:
            raise KwsError(f"the threshold must lie above 0 and at most 1, not {self.threshold}")
        if not 0 < self.release <= self.threshold:
            raise KwsError(
                f"the release level {self.release} must lie above 0 "
                f"and not above the threshold {self.threshold}"
            )


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """When scores make an event; found per language and kept in its adapter."""

    threshold: float = 0.5  # as in Levels, of every keyword that has none of its own
    release: float = 0.3
    smoothing: int = 3  # decisions averaged
    patience: int = 3  # consecutive decisions at the threshold before an event
    refractory_seconds: float = 0.75  # after an event; the utterance has left the view by then
    keywords: Mapping[str, Levels] = field(default_factory=dict)  # those with levels of their own

    def __post_init__(self) -> None:
        """Refuse settings that never fire or never stop firing."""
        Levels(self.threshold, self.release)
        if self.smoothing < 1 or self.patience < 1:
            raise KwsError(
                f"smoothing and patience count decisions, at least 1, "
                f"not {self.smoothing} and {self.patience}"
            )
        if not 0 <= self.refractory_seconds < math.inf:
            raise KwsError(
                f"the refractory time must be 0 seconds or more, not {self.refractory_seconds}"
            )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make it from what ``dataclasses.asdict`` gave; without ``keywords``, none differs.

        >>> DetectorConfig.from_dict({"threshold": 0.7}).levels("go")
        Levels(threshold=0.7, release=0.3)
        """
        own = {word: Levels(**levels) for word, levels in raw.get("keywords", {}).items()}
        return cls(**{**raw, "keywords": own})

    def levels(self, keyword: str) -> Levels:
        """Return a keyword's own levels, or those of all."""
        return self.keywords.get(keyword) or Levels(self.threshold, self.release)

    def at(self, threshold: float) -> Self:
        """Return the same settings with one threshold for all; the release level stays below."""
        release = min(self.release, threshold)
        return replace(self, threshold=threshold, release=release, keywords={})


class Detector:
    """Turns the scores of one language into detections.

    The scores of the last ``smoothing`` decisions are averaged. Once some keyword has stood at
    its threshold for ``patience`` consecutive decisions, the one of those that stood highest
    meanwhile is reported, so that the better of two similar words wins, not the earlier. Then
    nothing is heard for the refractory time, and every keyword that took part stays mute until
    it has fallen below its release level. ``_unknown_`` and ``_silence_`` never fire.

    Shape:
        scores ``[K]``, in the order of ``labels``.

    >>> detector = Detector(["go", UNKNOWN], "eng", DetectorConfig(smoothing=1, patience=2))
    >>> scores = np.array([0.9, 0.1], np.float32)
    >>> [detector.step(scores, time) is not None for time in (0.0, 0.1, 0.2, 5.0)]
    [False, True, False, False]
    """

    def __init__(
        self, labels: Sequence[str], language: str, config: DetectorConfig | None = None
    ) -> None:
        self.labels = tuple(labels)
        self.language = language
        self.config = config or DetectorConfig()
        self._keywords = np.array([label not in (UNKNOWN, SILENCE) for label in labels], bool)
        if strangers := set(self.config.keywords) - set(self.labels):
            raise KwsError(
                f"the detector has levels for {', '.join(sorted(strangers))}, "
                f"which {language} does not spot; calibrate it again"
            )
        levels = [self.config.levels(label) for label in labels]
        self._threshold = np.array([level.threshold for level in levels], np.float32)  # [K]
        self._release = np.array([level.release for level in levels], np.float32)  # [K]
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=self.config.smoothing)
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self.smoothed = np.zeros(len(self.labels), np.float32)  # [K]
        self._recent.clear()
        self._armed = self._keywords.copy()  # [K], may fire
        self._deaf_until = -math.inf  # seconds
        self._decisions = 0  # consecutive, at the threshold
        self._peak = np.zeros(len(self.labels), np.float32)  # [K], highest of the utterance

    def step(self, scores: NDArray[np.float32], time: float) -> Detection | None:
        """Take one decision ``[K]`` at ``time`` seconds; return the event it completes."""
        if scores.shape != (len(self.labels),):
            raise KwsError(
                f"{len(self.labels)} labels of {self.language} need as many scores, "
                f"not an array of shape {scores.shape}"
            )
        self._recent.append(scores.astype(np.float32))
        first, *later = self._recent
        total = sum(later, first)  # in the order of replay, whose means are the same to the bit
        return self._take(total / np.float32(len(self._recent)), time)

    def replay(self, scores: NDArray[np.float32], times: NDArray[np.float64]) -> list[Detection]:
        """Take the recorded decisions ``[N, K]`` of a whole stream: what stepping through gives.

        Quick where little is heard. Between stretches that are loud for long enough to make an
        event, a keyword can only be armed, and for that the lowest of the pause is enough.
        """
        self.reset()
        smoothed = _smoothed(scores.astype(np.float32), self.config.smoothing)
        loud = np.any(smoothed[:, self._keywords] >= self._threshold[self._keywords], axis=1)
        found: list[Detection] = []
        taken = 0  # rows
        for start, stop in _runs(loud):
            if stop - start < self.config.patience:
                continue
            if taken < start:
                self._forget_utterance()
                self._arm(np.fmin.reduce(smoothed[taken:start]))
            steps = (self._take(smoothed[row], float(times[row])) for row in range(start, stop))
            found += [event for event in steps if event]
            taken = stop
        self.reset()
        return found

    def _take(self, smoothed: NDArray[np.float32], time: float) -> Detection | None:
        self.smoothed = smoothed
        self._arm(smoothed)
        heard = np.where(self._armed, smoothed, 0)  # [K]
        if time < self._deaf_until or not (heard >= self._threshold).any():
            self._forget_utterance()
            return None
        self._decisions += 1
        self._peak = np.maximum(self._peak, heard)
        return self._fire(time) if self._decisions >= self.config.patience else None

    def _arm(self, smoothed: NDArray[np.float32]) -> None:
        self._armed |= self._keywords & (smoothed < self._release)

    def _fire(self, time: float) -> Detection:
        reached = self._peak >= self._threshold  # [K]
        best = int(np.argmax(np.where(reached, self._peak, 0)))
        event = Detection(self.labels[best], self.language, float(self._peak[best]), time)
        self._armed &= ~reached
        self._deaf_until = time + self.config.refractory_seconds
        self._forget_utterance()
        return event

    def _forget_utterance(self) -> None:
        if self._decisions:
            self._decisions = 0
            self._peak = np.zeros_like(self._peak)


def _smoothed(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Each row's mean with the rows before it, ``count`` in all: bit for bit as stepping has it.

    >>> _smoothed(np.array([[1], [3], [5]], np.float32), 2).ravel()
    array([1., 2., 4.], dtype=float32)
    """
    out = np.empty_like(scores)
    for row in range(min(count - 1, len(scores))):
        out[row] = scores[: row + 1].mean(axis=0)
    if len(scores) >= count:
        whole = len(scores) - count + 1
        total = scores[:whole].copy()
        for later in range(1, count):
            total += scores[later : later + whole]
        out[count - 1 :] = total / np.float32(count)
    return out


def _runs(true: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of each stretch of true values.

    >>> _runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(true.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
