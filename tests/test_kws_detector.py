"""One utterance is one event."""

from collections.abc import Iterable

import numpy as np
import pytest

from kws.config import SILENCE, UNKNOWN
from kws.detector import Detection, Detector, DetectorConfig
from kws.errors import KwsError

LABELS = ("yes", "no", UNKNOWN, SILENCE)
HOP = 0.1  # seconds


def events(detector: Detector, scores: Iterable[tuple[float, ...]]) -> list[Detection]:
    """Step through rows of scores, one every HOP seconds from 0 on."""
    steps = (
        detector.step(np.array(row, np.float32), round(index * HOP, 6))
        for index, row in enumerate(scores)
    )
    return [event for event in steps if event]


def rounded(found: Iterable[Detection]) -> list[tuple[str, float, float]]:
    return [(event.keyword, round(event.score, 4), round(event.time, 4)) for event in found]


def one(label: str, score: float = 1.0) -> tuple[float, ...]:
    """Scores that give ``score`` to one label and the rest to nobody."""
    return tuple(score if label == other else 0.0 for other in LABELS)


NOTHING = one(SILENCE)


def detector(**changes: float) -> Detector:
    settings = {"smoothing": 1, "patience": 1, "refractory_seconds": 0.0} | changes
    return Detector(LABELS, "eng", DetectorConfig(**settings))  # type: ignore[arg-type]


def test_an_utterance_is_one_event_however_long_it_lasts() -> None:
    found = events(detector(), [NOTHING, *[one("yes", 0.9)] * 50])
    assert rounded(found) == [("yes", 0.9, 0.1)]


@pytest.mark.parametrize("label", [UNKNOWN, SILENCE])
def test_unknown_and_silence_never_fire(label: str) -> None:
    assert events(detector(), [one(label)] * 20) == []


def test_the_score_is_the_mean_of_the_last_decisions() -> None:
    rows = [one("yes", score) for score in (0.2, 0.4, 0.6, 0.8)]
    found = events(detector(smoothing=3, threshold=0.55), rows)
    assert rounded(found) == [("yes", 0.6, 0.3)]


def test_the_first_decision_is_not_diluted() -> None:
    assert events(detector(smoothing=3), [one("yes", 0.8)])[0].score == pytest.approx(0.8)


@pytest.mark.parametrize(("above", "count"), [(2, 0), (3, 1)])
def test_patience_counts_consecutive_decisions(above: int, count: int) -> None:
    rows = [*[one("yes")] * 2, NOTHING, *[one("no")] * above, NOTHING]
    assert len(events(detector(patience=3), rows)) == count


def test_the_best_of_two_similar_words_wins_not_the_first() -> None:
    rows = [one("yes", 0.6), (0.3, 0.7, 0.0, 0.0), one("no", 0.9)]
    found = events(detector(patience=3), rows)
    assert rounded(found) == [("no", 0.9, 0.2)]


def test_the_loser_of_an_utterance_does_not_fire_after_it() -> None:
    rows = [one("yes", 0.6), *[one("no", 0.9)] * 2, *[one("yes", 0.6)] * 9]
    assert [event.keyword for event in events(detector(patience=3), rows)] == ["no"]


def test_nothing_is_heard_in_the_refractory_time() -> None:
    rows = [one("yes"), *[one("no")] * 9]
    found = events(detector(refractory_seconds=0.5), rows)
    assert [(event.keyword, event.time) for event in found] == [("yes", 0.0), ("no", 0.5)]


def test_patience_starts_after_the_refractory_time() -> None:
    rows = [*[one("yes")] * 2, *[one("no")] * 9]
    found = events(detector(refractory_seconds=0.5, patience=2), rows)
    assert [(event.keyword, event.time) for event in found] == [("yes", 0.1), ("no", 0.7)]


@pytest.mark.parametrize(("dip", "count"), [(0.31, 1), (0.29, 2)])
def test_a_keyword_fires_again_only_below_the_release_level(dip: float, count: int) -> None:
    rows = [one("yes"), one("yes", dip), one("yes")]
    assert len(events(detector(release=0.3), rows)) == count


def test_another_keyword_need_not_wait_for_the_release() -> None:
    rows = [one("yes"), (0.4, 0.6, 0.0, 0.0)]
    assert [event.keyword for event in events(detector(), rows)] == ["yes", "no"]


def test_the_threshold_itself_counts() -> None:
    assert len(events(detector(threshold=0.5), [one("yes", 0.5)])) == 1


def test_reset_forgets_everything() -> None:
    hears = detector(smoothing=3, refractory_seconds=60.0)
    rows = [one("yes")] * 4
    first = events(hears, rows)
    assert events(hears, rows) == []
    hears.reset()
    assert not hears.smoothed.any()
    assert events(hears, rows) == first


def test_scores_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(KwsError, match=r"4 labels of eng.*\(3,\)"):
        detector().step(np.zeros(3, np.float32), 0.0)


def test_scores_that_are_not_numbers_fire_nothing() -> None:
    hears = detector(smoothing=2)
    assert events(hears, [(float("nan"),) * 4] * 3) == []
    assert len(events(hears, [one("yes")] * 2)) == 1


def test_another_threshold_pulls_the_release_level_down() -> None:
    assert DetectorConfig(release=0.3).at(0.2) == DetectorConfig(threshold=0.2, release=0.2)
    assert DetectorConfig(release=0.3).at(0.9) == DetectorConfig(threshold=0.9, release=0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"release": 0.6}, "release"),
        ({"release": 0.0}, "release"),
        ({"smoothing": 0}, "smoothing"),
        ({"patience": 0}, "patience"),
        ({"refractory_seconds": -1.0}, "refractory"),
        ({"refractory_seconds": float("inf")}, "refractory"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(KwsError, match=message):
        DetectorConfig(**settings)  # type: ignore[arg-type]


def test_events_print_their_keys_in_order() -> None:
    shown = Detection("北京", "cmn", 0.123456, 1.28).as_dict()
    assert list(shown.items()) == [
        ("keyword", "北京"),
        ("language", "cmn"),
        ("score", 0.1235),
        ("time", 1.28),
    ]
