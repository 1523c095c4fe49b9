"""Thresholds that keep a promised rate of false accepts and miss as little as they can.

Everything is computed from recorded scores: the network runs once, however many thresholds
are tried.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .detector import DetectorConfig, Levels
from .errors import KwsError
from .stream_metrics import ScoredStream, match, upper_bound

# Evenly spaced in log odds, from 0.1 to 0.9999: softmax saturates.
GRID: Final = tuple(np.round(1 / (1 + np.exp(-np.linspace(-2.2, 9.2, 47))), 5).tolist())
RELEASE: Final = 0.6  # of the threshold, at most
PRICES: Final = tuple(np.geomspace(1e-5, 10, 49).tolist())  # of a false accept, in miss rate

Counts = NDArray[np.int64]
Keeps = Callable[[DetectorConfig], bool]


@dataclass(frozen=True)
class Sweep:
    """Counts at each of G thresholds, where all K keywords have the same threshold.

    Shape:
        false_accepts ``[G, K]`` in ``hours`` without keywords; misses ``[G, K]``; said ``[K]``, how
        often each keyword was said.
    """

    thresholds: tuple[float, ...]
    keywords: tuple[str, ...]
    hours: float
    false_accepts: Counts
    misses: Counts
    said: Counts

    @property
    def shares(self) -> NDArray[np.float64]:
        """Miss rate of each keyword at each threshold, ``[G, K]``.

        A keyword that is never said has the mean of the others: else its misses would cost nothing,
        and no threshold would be too high for it.
        """
        shares: NDArray[np.float64] = self.misses / np.maximum(1, self.said)
        unsaid = self.said == 0
        if unsaid.any() and not unsaid.all():
            shares[:, unsaid] = shares[:, ~unsaid].mean(axis=1, keepdims=True)
        return shares

    @property
    def det(self) -> list[dict[str, float]]:
        """The points of the detection error trade-off, by rising threshold."""
        return [
            {
                "threshold": threshold,
                "false_accepts_per_hour": float(accepts) / self.hours,
                "miss_rate": float(missed) / max(1, int(self.said.sum())),
            }
            for threshold, accepts, missed in zip(
                self.thresholds, self.false_accepts.sum(1), self.misses.sum(1), strict=True
            )
        ]


@dataclass(frozen=True)
class Choice:
    """Thresholds, and whether they keep the rate that was asked for."""

    config: DetectorConfig
    kept: bool


def hours_needed(per_hour: float) -> float:
    """Hours without any false accept that it takes to show that there are fewer (95 %).

    >>> round(hours_needed(0.5), 1)
    6.0
    """
    return upper_bound(0, 1.0) / per_hour


def sweep(
    negatives: ScoredStream,
    positives: Sequence[ScoredStream],
    config: DetectorConfig,
    thresholds: Sequence[float] = GRID,
) -> Sweep:
    """Try thresholds, each for all keywords, on recorded streams."""
    accepts = [
        _count(
            (event.keyword for event in negatives.detect(_everywhere(config, threshold))),
            negatives.keywords,
        )
        for threshold in thresholds
    ]
    nothing = np.zeros((len(thresholds), len(negatives.keywords)), np.int64)
    tried = Sweep(
        tuple(thresholds),
        negatives.keywords,
        negatives.hours,
        np.array(accepts),
        nothing,
        nothing[0],
    )
    return with_misses(tried, positives, config)


def with_misses(tried: Sweep, positives: Sequence[ScoredStream], config: DetectorConfig) -> Sweep:
    """The same false accepts beside the misses of other streams of keywords."""
    misses = []
    for threshold in tried.thresholds:
        missed = np.zeros(len(tried.keywords), np.int64)
        for stream in positives:
            found = match(stream.detect(_everywhere(config, threshold)), stream.spoken)
            lost = [*found.missed, *(word for word, _ in found.confusions)]
            missed += _count((word.word for word in lost), tried.keywords)
        misses.append(missed)
    said = _count((word.word for stream in positives for word in stream.spoken), tried.keywords)
    return replace(tried, misses=np.array(misses), said=said)


def choose(
    negatives: ScoredStream,
    tried: Sweep,
    config: DetectorConfig,
    per_hour: float,
) -> Choice:
    """Find a threshold for each keyword so that all together keep the rate.

    By Lagrangian relaxation: each keyword takes the threshold at which its miss rate plus price
    times false accepts is least. The price is the same for all, and the lowest of ``PRICES`` at
    which the detector keeps the rate on ``negatives``, found by bisection. What the rate still
    allows then lowers those thresholds that gain most by it. At high thresholds a keyword's own
    count is small, and 0 does not mean never; so the mean count of all keywords there, at most 1,
    is added to it.

    Args:
        negatives: a stream without keywords.
        tried: counts on that stream, and misses on others.
        config: all other settings.
        per_hour: false accepts per hour that all keywords together may have.

    Returns:
        The settings. If no thresholds keep the rate, the nearest ones, with ``kept`` false.

    Raises:
        KwsError: the rate is not above 0.

    """
    if not per_hour > 0:
        raise KwsError(f"the false accepts per hour must be above 0, not {per_hour}")
    allowed = per_hour * negatives.hours

    def keeps(chosen: DetectorConfig) -> bool:
        return len(negatives.detect(chosen)) <= allowed

    low, high = 0, len(PRICES) - 1
    best = _at_price(tried, config, PRICES[high])
    if not keeps(best):
        return _lifted(tried, best, keeps)
    while low < high:
        middle = (low + high) // 2
        chosen = _at_price(tried, config, PRICES[middle])
        if keeps(chosen):
            best, high = chosen, middle
        else:
            low = middle + 1
    return Choice(_spend_rest(tried, best, allowed, keeps), True)


def _spend_rest(tried: Sweep, best: DetectorConfig, allowed: float, keeps: Keeps) -> DetectorConfig:
    """Spend what one price for all leaves over, on the thresholds that win most for it."""
    shares = tried.shares
    while True:
        at = [tried.thresholds.index(best.levels(word).threshold) for word in tried.keywords]
        now = at, range(len(at))
        left = allowed - tried.false_accepts[now].sum()
        more = tried.false_accepts - tried.false_accepts[now]  # [G, K]
        won = np.where((more <= left) & (shares < shares[now]), shares[now] - shares, 0.0)
        if not won.any():
            return best
        row, column = np.unravel_index(np.argmax(won / np.maximum(1, more)), won.shape)
        levels = _levels(best, tried.thresholds[row])
        lower = replace(best, keywords={**best.keywords, tried.keywords[column]: levels})
        if not keeps(lower):
            return best
        best = lower


def _lifted(tried: Sweep, best: DetectorConfig, keeps: Keeps) -> Choice:
    """Lift the lowest thresholds until the rate is kept, or none is left to lift."""
    for floor in tried.thresholds:
        lifted = {
            word: levels if levels.threshold >= floor else replace(levels, threshold=floor)
            for word, levels in best.keywords.items()
        }
        best = replace(best, keywords=lifted)
        if keeps(best):
            return Choice(best, True)
    return Choice(best, False)


def _at_price(tried: Sweep, config: DetectorConfig, price: float) -> DetectorConfig:
    others = np.minimum(1, tried.false_accepts.mean(axis=1, keepdims=True))
    expected = tried.false_accepts + others  # [G, K]
    cost = tried.shares + price * expected
    keywords = {}
    for column, word in enumerate(tried.keywords):
        least = np.flatnonzero(cost[:, column] <= cost[:, column].min() + 1e-12)
        threshold = tried.thresholds[least[len(least) // 2]]  # the middle of those as good
        keywords[word] = _levels(config, threshold)
    return replace(config, keywords=keywords)


def _levels(config: DetectorConfig, threshold: float) -> Levels:
    return Levels(threshold, round(min(config.release, RELEASE * threshold), 5))


def _everywhere(config: DetectorConfig, threshold: float) -> DetectorConfig:
    levels = _levels(config, threshold)
    return replace(config, threshold=threshold, release=levels.release, keywords={})


def _count(words: Iterable[str], keywords: Sequence[str]) -> Counts:
    counted = Counter(words)
    return np.array([counted[word] for word in keywords], np.int64)
