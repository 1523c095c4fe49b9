"""From scores to events: one utterance is one detection."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

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


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """When scores make an event; found per language and kept in its adapter."""

    threshold: float = 0.5  # smoothed probability that counts as heard
    release: float = 0.3  # a keyword must fall below this before it fires again
    smoothing: int = 3  # decisions averaged
    patience: int = 3  # consecutive decisions at the threshold before an event
    refractory_seconds: float = 0.75  # after an event; the utterance has left the view by then

    def __post_init__(self) -> None:
        """Refuse settings that never fire or never stop firing."""
        if not 0 < self.threshold <= 1:
            raise KwsError(f"the threshold must lie above 0 and at most 1, not {self.threshold}")
        if not 0 < self.release <= self.threshold:
            raise KwsError(
                f"the release level {self.release} must lie above 0 "
                f"and not above the threshold {self.threshold}"
            )
        if self.smoothing < 1 or self.patience < 1:
            raise KwsError(
                f"smoothing and patience count decisions, at least 1, "
                f"not {self.smoothing} and {self.patience}"
            )
        if not 0 <= self.refractory_seconds < math.inf:
            raise KwsError(
                f"the refractory time must be 0 seconds or more, not {self.refractory_seconds}"
            )

    def at(self, threshold: float) -> Self:
        """Return the same settings with another threshold; the release level stays below it."""
        return replace(self, threshold=threshold, release=min(self.release, threshold))


class Detector:
    """Turns the scores of one language into detections.

    The scores of the last ``smoothing`` decisions are averaged. Once some keyword has stood at
    the threshold for ``patience`` consecutive decisions, the one that stood highest meanwhile is
    reported, so that the better of two similar words wins, not the earlier. Then nothing is
    heard for the refractory time, and every keyword that took part stays mute until it has
    fallen below the release level. ``_unknown_`` and ``_silence_`` never fire.

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
        self.smoothed = np.mean(self._recent, axis=0)
        self._armed |= self._keywords & (self.smoothed < self.config.release)
        heard = np.where(self._armed, self.smoothed, 0)  # [K]
        if time < self._deaf_until or not np.any(heard >= self.config.threshold):
            self._forget_utterance()
            return None
        self._decisions += 1
        self._peak = np.maximum(self._peak, heard)
        return self._fire(time) if self._decisions >= self.config.patience else None

    def _fire(self, time: float) -> Detection:
        best = int(np.argmax(self._peak))
        event = Detection(self.labels[best], self.language, float(self._peak[best]), time)
        self._armed &= self._peak < self.config.threshold
        self._deaf_until = time + self.config.refractory_seconds
        self._forget_utterance()
        return event

    def _forget_utterance(self) -> None:
        self._decisions = 0
        self._peak = np.zeros_like(self._peak)
