"""How well clips are told apart: pure functions on labels and predictions."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .names import NO_KEYWORDS, SILENCE, UNKNOWN

NAMELESS: Final = "unknown"  # speaker, among those told apart
Ints = NDArray[np.int64]


def accuracy(predicted: Ints, truth: Ints) -> float:
    """Share of right predictions; 0 of an empty set.

    >>> accuracy(np.array([1, 2]), np.array([1, 0]))
    0.5
    """
    return float((predicted == truth).mean()) if len(truth) else 0.0


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson score interval, at 95 %, of a share seen in ``count`` independent cases.

    Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953; 0 to 1 where there is no case.

    >>> [round(end, 3) for end in interval(0.9, 40)]
    [0.769, 0.96]
    """
    if not count:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    middle, widened = share + z**2 / (2 * count), 1 + z**2 / count
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, (middle - reach) / widened), min(1.0, (middle + reach) / widened)


def report(
    predicted: Ints, truth: Ints, labels: Sequence[str], speakers: Sequence[str | None]
) -> dict[str, Any]:
    """What ``kws evaluate`` prints.

    Args:
        predicted: ``[N]``, the class with the highest score.
        truth: ``[N]``.
        labels: names of the classes.
        speakers: ``[N]``, None where unknown.

    Returns:
        ``accuracy`` and ``count`` over the keywords' clips, both per word and per speaker too,
        the worst speaker, and the shares of unknown words and of silence taken for a keyword
        (None where the task is closed).

    """
    names, people = np.array(labels), np.array([str(s or NAMELESS) for s in speakers])
    spoken = ~np.isin(names, NO_KEYWORDS)
    keyword = spoken[truth]
    per_speaker = _by(people[keyword], predicted[keyword], truth[keyword])
    worst = min(per_speaker, key=lambda s: (per_speaker[s]["accuracy"], s), default=None)
    return {
        "accuracy": accuracy(predicted[keyword], truth[keyword]),
        "count": int(keyword.sum()),
        "per_word": _by(names[truth[keyword]], predicted[keyword], truth[keyword]),
        "per_speaker": per_speaker,
        "worst_speaker": worst and {"speaker": worst, **per_speaker[worst]},
        "unknown_false_accept_rate": _accepted(predicted, truth, names, spoken, UNKNOWN),
        "silence_false_accept_rate": _accepted(predicted, truth, names, spoken, SILENCE),
    }


def _by(groups: NDArray[np.str_], predicted: Ints, truth: Ints) -> dict[str, dict[str, Any]]:
    return {
        str(group): {
            "accuracy": accuracy(predicted[groups == group], truth[groups == group]),
            "count": int((groups == group).sum()),
        }
        for group in np.unique(groups)
    }


def _accepted(
    predicted: Ints, truth: Ints, names: NDArray[np.str_], spoken: NDArray[np.bool_], name: str
) -> float | None:
    rows = names[truth] == name
    return float(spoken[predicted[rows]].mean()) if rows.any() else None
