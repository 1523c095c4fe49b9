"""From scores to events: one utterance is one detection."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from .errors import KwsError
from .names import NO_KEYWORDS, spotted
from .typed import checked

LONGEST: Final = 10_000  # decisions, of a smoothing or a patience
# Where all scores are below this share of a threshold, their rounded mean is below the threshold.
BELOW: Final = np.float32(0.999)
NEVER: Final = np.float32(np.inf)  # a threshold that no score reaches


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


@dataclass(frozen=True)
class Timing:
    """How long a keyword must be heard, and for how long it is then silent."""

    smoothing: int  # decisions averaged
    patience: int  # decisions that the utterance, of any keywords, must have lasted by its event
    refractory_seconds: float  # after its event, in which it does not fire again

    def __post_init__(self) -> None:
        """Refuse times that are none."""
        if not (1 <= self.smoothing <= LONGEST and 1 <= self.patience <= LONGEST):
            raise KwsError(
                f"smoothing and patience count decisions, 1 to {LONGEST}, "
                f"not {self.smoothing} and {self.patience}"
            )
        if not 0 <= self.refractory_seconds < math.inf:
            raise KwsError(
                f"the refractory time must be 0 seconds or more, not {self.refractory_seconds}"
            )


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """When scores make an event; found per language and kept in its adapter, or in the base."""

    threshold: float = 0.5  # as in Levels, of every keyword that has none of its own
    release: float = 0.3
    smoothing: int = 3  # as in Timing, of every keyword that has none of its own
    patience: int = 3
    refractory_seconds: float = 0.75  # the utterance has left the view by then
    keywords: Mapping[str, Levels] = field(default_factory=dict)  # those with levels of their own
    timings: Mapping[str, Timing] = field(default_factory=dict)  # those with a timing of their own

    def __post_init__(self) -> None:
        """Refuse settings that never fire or never stop firing."""
        Levels(self.threshold, self.release)
        Timing(self.smoothing, self.patience, self.refractory_seconds)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make it from what ``dataclasses.asdict`` gave; what a timing lacks is the language's.

        >>> DetectorConfig.from_dict({"threshold": 0.7}).levels("go")
        Levels(threshold=0.7, release=0.3)
        >>> DetectorConfig.from_dict({"timings": {"go": {"patience": 5}}}).timing("go")
        Timing(smoothing=3, patience=5, refractory_seconds=0.75)
        """
        levels = {
            word: Levels(**checked(Levels, own)) for word, own in raw.get("keywords", {}).items()
        }
        config = cls(**{**raw, "keywords": levels, "timings": {}})
        timings = {
            word: replace(config.timing(word), **checked(Timing, own))
            for word, own in raw.get("timings", {}).items()
        }
        return replace(config, timings=timings)

    def refuse_strangers(self, labels: Sequence[str]) -> None:
        """Raise a KwsError where a word that is not spotted has settings."""
        own = self.keywords.keys() | self.timings.keys()
        if strangers := own - {*spotted(labels)}:
            raise KwsError(
                f"the detector has settings for {', '.join(sorted(strangers))}, which is not "
                f"spotted: correct or remove them; there are {', '.join(spotted(labels))}"
            )

    def levels(self, keyword: str) -> Levels:
        """Return a keyword's own levels, or those of all."""
        return self.keywords.get(keyword) or Levels(self.threshold, self.release)

    def timing(self, keyword: str) -> Timing:
        """Return a keyword's own timing, or that of all."""
        common = Timing(self.smoothing, self.patience, self.refractory_seconds)
        return self.timings.get(keyword, common)

    def at(self, threshold: float) -> Self:
        """Return the same settings with one threshold for all; the release level stays below."""
        release = min(self.release, threshold)
        return replace(self, threshold=threshold, release=release, keywords={})


class Detector:
    """Turns the scores of one language into detections.

    The scores of the last ``smoothing`` decisions are averaged. An utterance is a stretch of
    consecutive decisions in which some keyword stands at its threshold. Of the keywords whose
    ``patience`` it has lasted, the one that stood highest meanwhile is reported, so that the
    better of two similar words wins, not the earlier.

    Then nothing is heard until the utterance is over, so that it does not fire as another keyword
    too: until a decision finds the reported keyword below its release level and none at its
    threshold, or the reported keyword's refractory time has passed. Then others may fire; that
    keyword itself only after its refractory time, and all that took part only once they have
    fallen below their own release level. ``_unknown_`` and ``_silence_`` never fire.

    Shape:
        scores ``[K]``, in the order of ``labels``.

    >>> detector = Detector(["go", "_unknown_"], "eng", DetectorConfig(smoothing=1, patience=2))
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
        self.config.refuse_strangers(self.labels)
        self._set_levels()
        timings = [self.config.timing(label) for label in labels]
        self._smoothing = np.array([timing.smoothing for timing in timings])  # [K]
        self._patience = np.array([timing.patience for timing in timings])  # [K]
        self._refractory = np.array([timing.refractory_seconds for timing in timings])  # [K]
        self._spans = sorted({timing.smoothing for timing in timings})
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=self._spans[-1])
        self._counts = np.arange(1, self._spans[-1] + 1, dtype=np.float32)[:, None]
        self.reset()

    def _set_levels(self) -> None:
        levels = [self.config.levels(label) for label in self.labels]
        keywords = [label not in NO_KEYWORDS for label in self.labels]
        threshold = np.array([level.threshold for level in levels], np.float32)
        self.thresholds = np.where(keywords, threshold, NEVER)  # [K]
        self._release = np.array([level.release for level in levels], np.float32)  # [K]
        self._near = self.thresholds * BELOW  # [K]
        self._quiet = 0  # latest decisions whose scores were all below `_near`

    def reset(self) -> None:
        """Forget all that was heard."""
        self._smoothed: NDArray[np.float32] | None = np.zeros(len(self.labels), np.float32)
        self._recent.clear()
        self._quiet = 0
        self._armed = np.ones(len(self.labels), bool)  # [K], fell below release since it was heard
        self._silent_until = np.full(len(self.labels), -math.inf)  # [K], seconds
        self._reported: int | None = None  # the keyword whose utterance may go on
        self._allow(np.ones(len(self.labels), bool))
        self._decisions = 0  # consecutive, at the threshold
        self._peak = np.zeros(len(self.labels), np.float32)  # [K], highest of the utterance

    def use_levels(self, config: DetectorConfig) -> None:
        """Use the thresholds and release levels of ``config`` from the next decision on.

        Its timings are ignored: those given at the start stay, and so does what was heard.
        """
        self.config = config
        self._set_levels()
        self._allow(self._may)

    def keep_silent(self, before: "Detector") -> None:
        """Take over from ``before`` which keywords may not fire again yet, and until when.

        So what it has reported is not reported twice. Nothing happens if its labels are others.
        """
        if before.labels == self.labels:
            self._armed, self._silent_until = before._armed.copy(), before._silent_until.copy()
            self._reported = before._reported
            self._allow(before._may)

    def step(self, scores: NDArray[np.float32], time: float) -> Detection | None:
        """Take one decision ``[K]`` at ``time`` seconds; return the event it completes."""
        if scores.shape != (len(self.labels),):
            raise KwsError(
                f"{len(self.labels)} labels of {self.language} need as many scores, "
                f"not an array of shape {scores.shape}"
            )
        self._recent.append(scores.astype(np.float32))
        near = scores >= self._near  # [K]
        # near.any(), in less time.
        self._quiet = 0 if near[near.argmax()] else self._quiet + 1
        if self._quiet >= self._spans[-1] and not self._muted:  # no mean reaches its threshold
            self._smoothed = None
            self._forget_utterance()
            return None
        return self._take(self._each(self._mean), time)

    @property
    def smoothed(self) -> NDArray[np.float32]:
        """The latest averages ``[K]``, zeros before the first decision."""
        if self._smoothed is None:
            self._smoothed = self._each(self._mean)
        return self._smoothed

    def replay(self, scores: NDArray[np.float32], times: NDArray[np.float64]) -> list[Detection]:
        """Return the events that :meth:`step` gives for all decisions of a recorded stream.

        Only stretches in which scores reach a threshold for at least the shortest patience are
        stepped through; elsewhere no event can begin, and keywords are merely armed again. The
        detector is reset before and after.

        Shape:
            scores ``[N, K]``, not averaged; times ``[N]``, in seconds.
        """
        self.reset()
        scores = scores.astype(np.float32)
        smoothed = self._each(lambda span: _smoothed(scores, span))
        loud = np.any(smoothed >= self.thresholds, axis=1)
        shortest = self._patience.min()
        found: list[Detection] = []
        taken = 0  # rows
        for start, stop in _runs(loud):
            if stop - start < shortest:
                continue
            self._pause(smoothed[taken:start], loud[taken:start])
            steps = (self._take(smoothed[row], float(times[row])) for row in range(start, stop))
            found += [event for event in steps if event]
            taken = stop
        self.reset()
        return found

    def _each(self, smooth: Callable[[int], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Scores ``[..., K]``, every keyword's averaged over its own number of decisions."""
        first, *others = self._spans
        smoothed = smooth(first)
        for span in others:
            np.copyto(smoothed, smooth(span), where=self._smoothing == span)
        return smoothed

    def _mean(self, span: int) -> NDArray[np.float32]:
        count = min(span, len(self._recent))
        total = self._recent[-count].copy()
        for later in range(1 - count, 0):  # in replay's order, so that means are equal to the bit
            total += self._recent[later]
        total /= self._counts[count - 1]
        return total

    def _take(self, smoothed: NDArray[np.float32], time: float) -> Detection | None:
        self._smoothed = smoothed
        if self._muted:
            self._open(smoothed, time)
        heard = smoothed >= self._bar  # [K]
        if not heard.any():
            self._forget_utterance()
            return None
        self._decisions += 1
        self._peak = np.maximum(self._peak, np.where(heard, smoothed, 0))
        ready = (self._peak > 0) & (self._decisions >= self._patience)  # [K]
        return self._fire(int(np.argmax(self._peak * ready)), time) if ready.any() else None

    def _open(self, smoothed: NDArray[np.float32], time: float) -> None:
        """Find out who may fire."""
        low = smoothed < self._release  # [K]
        self._armed |= low
        if self._reported is not None:
            over = low[self._reported] and not (smoothed >= self.thresholds).any()
            if not over and time < self._silent_until[self._reported]:
                return
            self._reported = None
        self._allow(self._armed & (time >= self._silent_until))

    def _allow(self, may: NDArray[np.bool_]) -> None:
        """Let these keywords ``[K]`` alone fire."""
        self._may, self._muted = may, not may.all()
        self._bar = np.where(may, self.thresholds, NEVER)  # [K], that a score has to reach

    def _pause(self, smoothed: NDArray[np.float32], loud: NDArray[np.bool_]) -> None:
        """Take decisions ``[N, K]`` of which none can fire; who may then is found out later."""
        self._forget_utterance()
        if self._muted:
            low = smoothed < self._release  # [N, K]
            self._armed |= low.any(axis=0)
            if self._reported is not None and (low[:, self._reported] & ~loud).any():
                self._reported = None

    def _fire(self, best: int, time: float) -> Detection:
        event = Detection(self.labels[best], self.language, float(self._peak[best]), time)
        self._armed &= self._peak == 0
        self._silent_until[best] = time + self._refractory[best]
        self._reported = best
        self._allow(np.zeros(len(self.labels), bool))
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
    begun = scores[: count - 1].cumsum(axis=0)  # one row after another
    out[: count - 1] = begun / np.arange(1, len(begun) + 1, dtype=np.float32)[:, None]
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
