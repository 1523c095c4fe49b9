"""How a detector does on hours of sound: false accepts per hour, misses, latency."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .config import SAMPLE_RATE
from .detector import Detection, Detector, DetectorConfig
from .names import spotted

AFTER: Final = 1.0  # seconds after a word's end in which it may be reported: one view
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Spoken:
    """A keyword that is said in a stream, and when, in seconds from the stream's begin."""

    word: str
    begin: float
    end: float
    among: bool = False  # other words, which are said close to it


@dataclass(frozen=True)
class ScoredStream:
    """What a network made of a stream: all that is needed to try any detector on it.

    Shape:
        scores ``[N, K]``, raw; row ``n`` is the decision at sample ``(n + 1) * hop``.
    """

    labels: tuple[str, ...]
    language: str
    scores: NDArray[np.float32]
    hop: int  # samples between two decisions
    spoken: tuple[Spoken, ...] = ()  # the keywords in it, in order; none in negatives
    seconds: float = math.inf  # of sound; later rows are of the silence that ended it
    distinct: float = math.inf  # hours of different recordings that it was made of

    @property
    def hours(self) -> float:
        """How long the stream lasts."""
        return min(len(self.scores) * self.hop / SAMPLE_RATE, self.seconds) / 3600

    @property
    def bound_hours(self) -> float:
        """Hours that a bound may rest on: a recording that is played again tells nothing new."""
        return min(self.hours, self.distinct)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The labels that can be detected."""
        return spotted(self.labels)

    def detect(self, config: DetectorConfig) -> list[Detection]:
        """Return the events that the live detector gives with these settings."""
        times = np.arange(1, len(self.scores) + 1) * self.hop / SAMPLE_RATE
        found = Detector(self.labels, self.language, config).replay(self.scores, times)
        return [replace(event, time=min(event.time, self.seconds)) for event in found]


@dataclass(frozen=True)
class Matched:
    """Which events are right; each event and each word stands once, in one of the lists.

    A confusion's word was missed and its event is wrong; it is counted neither in ``missed``
    nor in ``false_accepts``.
    """

    hits: list[tuple[Spoken, Detection]] = field(default_factory=list)
    missed: list[Spoken] = field(default_factory=list)
    confusions: list[tuple[Spoken, Detection]] = field(default_factory=list)
    false_accepts: list[Detection] = field(default_factory=list)


def match(events: Iterable[Detection], spoken: Sequence[Spoken]) -> Matched:
    """Give every event to the word that it reports, if there is one.

    An event belongs to a word from the word's begin to ``AFTER`` seconds past its end. The
    first event of the right keyword is a hit, at most one a word. Of the events that are left,
    the first at a missed word is its confusion. All others are false accepts.

    Args:
        events: in any order.
        spoken: words that do not overlap, in order.

    >>> words = [Spoken("go", 1.0, 1.5), Spoken("stop", 4.0, 4.5)]
    >>> found = match([Detection("go", "en", 0.9, time) for time in (1.6, 4.6, 9.0)], words)
    >>> len(found.hits), len(found.missed), len(found.confusions), len(found.false_accepts)
    (1, 0, 1, 1)

    """
    begins = [word.begin for word in spoken]

    def near(event: Detection) -> list[int]:
        """Words that the event may belong to, earliest first."""
        last = first = bisect_right(begins, event.time)
        while first and spoken[first - 1].end + AFTER >= event.time:
            first -= 1
        return list(range(first, last))

    taken: dict[int, Detection] = {}
    wrong: dict[int, Detection] = {}
    left, matched = [], Matched()
    for event in sorted(events, key=lambda event: event.time):
        right = [n for n in near(event) if n not in taken and spoken[n].word == event.keyword]
        if right:
            taken[right[0]] = event
        else:
            left.append(event)
    for event in left:
        missed = [n for n in near(event) if n not in taken and n not in wrong]
        if missed:
            wrong[missed[-1]] = event
        else:
            matched.false_accepts.append(event)
    for n, word in enumerate(spoken):
        if n in taken:
            matched.hits.append((word, taken[n]))
        elif n in wrong:
            matched.confusions.append((word, wrong[n]))
        else:
            matched.missed.append(word)
    return matched


def upper_bound(events: int, hours: float) -> float:
    """Exact one-sided 95 % upper bound of a Poisson rate per hour, by bisection.

    The rate at which so few events, or fewer, are seen in only 5 % of stretches of so many hours
    (Garwood, 1936, https://doi.org/10.1093/biomet/28.3-4.437).

    >>> round(upper_bound(0, 1.0), 2), round(upper_bound(3, 6.0), 2)
    (3.0, 1.29)
    """
    low, high = 0.0, events + 10 * math.sqrt(events + 1) + 10  # expected events
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _at_most(events, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high / hours


def _at_most(events: int, expected: float) -> float:
    """Probability of no more than ``events`` where ``expected`` are."""
    terms = (k * math.log(expected) - expected - math.lgamma(k + 1) for k in range(events + 1))
    return math.fsum(math.exp(term) for term in terms)


def rate_report(stream: ScoredStream, config: DetectorConfig) -> dict[str, Any]:
    """False accepts of a stream that holds no keyword.

    Returns:
        ``hours`` played, ``false_accepts``, ``per_hour``, its bound ``upper_95`` with the
        ``bound_hours`` that it rests on, and ``per_keyword`` counts.

    """
    events = stream.detect(config)
    counts = Counter(event.keyword for event in events)
    return {
        "hours": stream.hours,
        "false_accepts": len(events),
        "per_hour": len(events) / stream.hours,
        "upper_95": bound(stream, len(events)),
        "bound_hours": stream.bound_hours,
        "per_keyword": {word: counts[word] for word in stream.keywords},
    }


def bound(stream: ScoredStream, events: int) -> float:
    """Upper bound of a stream's rate per hour, where recordings may have been played again.

    Repeats are not independent: a recording that is played six times may give six events or none.
    So events are scaled down as the hours are, from all that was played to ``bound_hours`` of
    different recordings, and rounded up. Words and noise are scaled alike, although there is less
    noise and it comes again more often: where noise sets a detector off the bound may be too low.
    """
    share = stream.bound_hours / stream.hours
    return upper_bound(math.ceil(events * share), stream.bound_hours)


def miss_report(stream: ScoredStream, config: DetectorConfig) -> dict[str, Any]:
    """Misses and latency of a stream of keywords, in all and per keyword.

    Returns:
        ``count`` of words, ``misses`` (the ``confusions`` are among them), ``miss_rate``,
        ``latency_seconds`` from a word's end to its event (``median``, ``p90``; None where
        nothing was heard), ``false_accepts`` (events beside or beyond the words), and the same
        without false accepts for words said ``alone``, for those ``among_words``, and
        ``per_keyword``.

    """
    found = match(stream.detect(config), stream.spoken)
    return {
        **_misses(found, lambda word: True),
        "false_accepts": len(found.false_accepts),
        "alone": _misses(found, lambda word: not word.among),
        "among_words": _misses(found, lambda word: word.among),
        "per_keyword": {name: _of(found, name) for name in stream.keywords},
    }


def _of(found: Matched, keyword: str) -> dict[str, Any]:
    return _misses(found, lambda word: word.word == keyword)


def _misses(found: Matched, counts: Callable[[Spoken], bool]) -> dict[str, Any]:
    """Of the words that count."""
    hits = [pair for pair in found.hits if counts(pair[0])]
    confusions = sum(counts(word) for word, _ in found.confusions)
    misses = confusions + sum(map(counts, found.missed))
    count = misses + len(hits)
    return {
        "count": count,
        "misses": misses,
        "confusions": confusions,
        "miss_rate": misses / count if count else None,
        "latency_seconds": latency([event.time - word.end for word, event in hits]),
    }


def latency(seconds: Sequence[float]) -> dict[str, float] | None:
    """Median and 90th percentile; None of nothing.

    >>> latency([0.2, 0.1, 0.4])
    {'median': 0.2, 'p90': 0.36}
    """
    if not seconds:
        return None
    return {
        "median": round(float(np.median(seconds)), 4),
        "p90": round(float(np.quantile(seconds, 0.9)), 4),
    }
