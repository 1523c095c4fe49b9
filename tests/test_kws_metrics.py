"""What the numbers of ``kws evaluate`` mean."""

from typing import Any

import numpy as np
import pytest

from kws.metrics import accuracy, report
from kws.names import SILENCE, UNKNOWN

LABELS = ("go", "stop", UNKNOWN, SILENCE)
GO, STOP, OTHER, QUIET = range(4)


def measured(pairs: list[tuple[int, int, str | None]]) -> dict[str, Any]:
    """From (truth, predicted, speaker) of every clip."""
    truth, predicted, speakers = zip(*pairs, strict=True)
    return report(np.array(predicted), np.array(truth), LABELS, speakers)


FIGURES = measured(
    [
        (GO, GO, "ann"),
        (GO, STOP, "ann"),
        (GO, OTHER, "bob"),
        (STOP, STOP, "ann"),
        (OTHER, GO, "bob"),
        (OTHER, OTHER, "bob"),
        (OTHER, QUIET, "bob"),
        (OTHER, STOP, None),
        (QUIET, QUIET, None),
        (QUIET, OTHER, None),
        (QUIET, QUIET, None),
        (QUIET, GO, None),
    ]
)


def test_accuracy_is_over_the_keywords_clips() -> None:
    assert FIGURES["accuracy"] == 0.5
    assert FIGURES["count"] == 4


def test_every_word_and_person_is_counted_by_itself() -> None:
    assert FIGURES["per_word"] == {
        "go": {"accuracy": pytest.approx(1 / 3), "count": 3},
        "stop": {"accuracy": 1.0, "count": 1},
    }
    assert FIGURES["per_speaker"] == {
        "ann": {"accuracy": pytest.approx(2 / 3), "count": 3},
        "bob": {"accuracy": 0.0, "count": 1},
    }
    assert FIGURES["worst_speaker"] == {"speaker": "bob", "accuracy": 0.0, "count": 1}


def test_false_accepts_are_keywords_heard_where_none_was_said() -> None:
    """Unknown heard as silence is no false accept, nor silence heard as unknown."""
    assert FIGURES["unknown_false_accept_rate"] == 0.5
    assert FIGURES["silence_false_accept_rate"] == 0.25


def test_a_closed_task_has_no_false_accepts() -> None:
    figures = report(np.array([0, 1]), np.array([0, 0]), ("go", "stop"), ["ann", None])
    assert figures["unknown_false_accept_rate"] is None
    assert figures["silence_false_accept_rate"] is None
    assert figures["per_speaker"].keys() == {"ann", "unknown"}


def test_without_keywords_there_is_nothing_to_tell() -> None:
    figures = measured([(OTHER, OTHER, None)])
    assert (figures["accuracy"], figures["count"]) == (0.0, 0)
    assert figures["worst_speaker"] is None
    assert accuracy(np.array([], np.int64), np.array([], np.int64)) == 0.0


def test_the_worst_of_equals_is_always_the_same() -> None:
    pairs: list[tuple[int, int, str | None]] = [(GO, STOP, "bob"), (GO, STOP, "ann")]
    assert measured(pairs)["worst_speaker"] == measured(pairs[::-1])["worst_speaker"]
