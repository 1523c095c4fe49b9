"""Events are matched to words, counted by the hour, and their rates bounded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from kws.detector import Detection, DetectorConfig
from kws.names import SILENCE, UNKNOWN
from kws.stream_metrics import (
    Matched,
    ScoredStream,
    Spoken,
    latency,
    match,
    miss_report,
    rate_report,
    upper_bound,
)

LABELS = ("go", "stop", UNKNOWN, SILENCE)
HOP = 1_600  # samples, 0.1 s
QUICK = DetectorConfig(smoothing=1, patience=1, refractory_seconds=0.0)
WORDS = (Spoken("go", 1.0, 1.5), Spoken("stop", 4.0, 4.5), Spoken("go", 7.0, 7.5))


def heard(*events: tuple[str, float]) -> list[Detection]:
    return [Detection(word, "en", 0.9, time) for word, time in events]


def counts(found: Matched) -> tuple[int, int, int, int]:
    return (
        len(found.hits),
        len(found.missed),
        len(found.confusions),
        len(found.false_accepts),
    )


def recorded(rows: int, peaks: Sequence[tuple[str, int]], *spoken: Spoken) -> ScoredStream:
    """Silence, with one decision that is sure of a word at each peak."""
    scores = np.zeros((rows, len(LABELS)), np.float32)
    for word, row in peaks:
        scores[row, LABELS.index(word)] = 0.9
    return ScoredStream(LABELS, "en", scores, HOP, spoken)


# --- matching -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "hits"), [(0.9, 0), (1.0, 1), (1.2, 1), (1.5, 1), (2.5, 1), (2.6, 0)]
)
def test_a_hit_lies_between_a_words_begin_and_a_while_after_its_end(time: float, hits: int) -> None:
    assert counts(match(heard(("go", time)), WORDS[:1])) == (hits, 1 - hits, 0, 1 - hits)


def test_a_word_is_hit_once() -> None:
    """Whatever else is heard at it is a false accept."""
    found = match(heard(("go", 1.6), ("go", 2.0), ("stop", 2.1)), WORDS[:1])
    assert counts(found) == (1, 0, 0, 2)
    assert found.hits[0][1].time == 1.6


def test_a_wrong_keyword_at_a_missed_word_is_a_confusion_and_no_false_accept() -> None:
    found = match(heard(("stop", 1.6), ("stop", 2.0)), WORDS[:1])
    assert counts(found) == (0, 0, 1, 1)
    assert found.confusions == [(WORDS[0], heard(("stop", 1.6))[0])]


def test_a_wrong_keyword_before_the_right_one_is_a_false_accept() -> None:
    assert counts(match(heard(("stop", 1.2), ("go", 1.6)), WORDS[:1])) == (1, 0, 0, 1)


def test_a_word_soon_after_another_keeps_its_own_event() -> None:
    """Both may claim it by time; only one by name."""
    words = [Spoken("go", 1.0, 1.5), Spoken("stop", 1.8, 2.2)]
    assert counts(match(heard(("stop", 2.3), ("go", 2.4)), words)) == (2, 0, 0, 0)
    again = [Spoken("go", 1.0, 1.5), Spoken("go", 1.8, 2.2)]
    found = match(heard(("go", 1.6), ("go", 2.3)), again)
    assert [(word.begin, event.time) for word, event in found.hits] == [(1.0, 1.6), (1.8, 2.3)]


def test_a_confusion_belongs_to_the_word_said_last() -> None:
    """An event at two missed words that neither is."""
    words = [Spoken("go", 1.0, 1.5), Spoken("go", 1.7, 2.2)]
    found = match(heard(("stop", 2.0)), words)
    assert [word.begin for word, _ in found.confusions] == [1.7]
    assert [word.begin for word in found.missed] == [1.0]


def test_all_events_and_words_are_accounted_for() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        times = rng.uniform(0, 10, 8)
        events = heard(*((str(rng.choice(["go", "stop"])), float(time)) for time in times))
        hits, missed, confusions, false = counts(match(events, WORDS))
        assert hits + missed + confusions == len(WORDS)
        assert hits + confusions + false == len(events)


def test_nothing_said_and_nothing_heard_is_nothing() -> None:
    assert counts(match([], ())) == (0, 0, 0, 0)


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "bound"),  # half the 95 % quantile of chi-squared with 2 (events + 1) degrees
    [(0, 2.9957), (1, 4.7439), (2, 6.2958), (3, 7.7537), (10, 16.9622), (100, 118.0792)],
)
def test_the_bound_is_exact(events: int, bound: float) -> None:
    assert upper_bound(events, 1.0) == pytest.approx(bound, abs=1e-4)
    assert upper_bound(events, 8.0) == pytest.approx(bound / 8, abs=1e-4)


def test_the_bound_holds_for_thousands_of_events() -> None:
    assert upper_bound(10_000, 1.0) == pytest.approx(10_000 + 1.645 * 100, rel=1e-3)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Of streams at a true rate, it lies below that rate in one of twenty at most."""
    seen = np.random.default_rng(0).poisson(4.0, 2_000)
    bounds = {events: upper_bound(events, 2.0) for events in set(seen.tolist())}
    held = np.mean([bounds[events] >= 2.0 for events in seen.tolist()])
    assert 0.95 <= held <= 0.99


def test_latency_is_counted_from_the_words_end() -> None:
    assert latency([]) is None
    assert latency([0.5]) == {"median": 0.5, "p90": 0.5}
    assert latency([i / 10 for i in range(11)]) == {"median": 0.5, "p90": 0.9}


# --- reports --------------------------------------------------------------------------------------


def test_false_accepts_are_events_not_decisions() -> None:
    """By the hour of sound, and by keyword."""
    stream = recorded(36_000, [("go", row) for row in range(100, 200)] + [("stop", 300)])
    assert stream.hours == 1.0
    assert rate_report(stream, QUICK) == {
        "hours": 1.0,
        "false_accepts": 2,
        "per_hour": 2.0,
        "upper_95": pytest.approx(6.2958, abs=1e-4),
        "bound_hours": 1.0,
        "per_keyword": {"go": 1, "stop": 1},
    }


@pytest.mark.parametrize(
    ("events", "taken"),  # in half of the hour
    [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)],
)
def test_what_is_played_again_does_not_lower_the_bound(events: int, taken: int) -> None:
    """Half an hour that is played twice bounds no better than once."""
    peaks = [("go", 100 * (number + 1)) for number in range(events)]
    twice = replace(recorded(36_000, peaks), distinct=0.5)
    found = rate_report(twice, QUICK)
    assert (found["hours"], found["bound_hours"]) == (1.0, 0.5)
    assert found["false_accepts"] == found["per_hour"] == events
    assert found["upper_95"] == upper_bound(taken, 0.5)


def test_more_recordings_than_were_played_do_not_lower_the_bound() -> None:
    stream = replace(recorded(36_000, [("go", 100)]), distinct=3.0)
    assert rate_report(stream, QUICK)["upper_95"] == upper_bound(1, 1.0)


def test_decisions_fall_at_the_end_of_their_hop() -> None:
    assert [event.time for event in recorded(9, [("go", 0)]).detect(QUICK)] == [0.1]


def test_misses_and_latency_by_keyword() -> None:
    """A hit at once, a confusion, and a miss; one event beside them all."""
    stream = recorded(100, [("go", 16), ("go", 46), ("stop", 95)], *WORDS)
    found = miss_report(stream, QUICK)
    assert (found["count"], found["misses"], found["confusions"]) == (3, 2, 1)
    assert found["false_accepts"] == 1
    assert found["miss_rate"] == pytest.approx(2 / 3)
    assert found["latency_seconds"] == {"median": 0.2, "p90": 0.2}
    go, stop = found["per_keyword"]["go"], found["per_keyword"]["stop"]
    assert (go["count"], go["misses"], go["confusions"]) == (2, 1, 0)
    assert (stop["count"], stop["misses"], stop["confusions"]) == (1, 1, 1)
    assert stop["latency_seconds"] is None


def test_words_among_others_are_told_apart_from_those_alone() -> None:
    words = (WORDS[0], Spoken("stop", 4.0, 4.5, among=True), Spoken("go", 7.0, 7.5, among=True))
    found = miss_report(recorded(100, [("go", 16), ("go", 76)], *words), QUICK)
    assert (found["alone"]["count"], found["alone"]["misses"]) == (1, 0)
    assert (found["among_words"]["count"], found["among_words"]["misses"]) == (2, 1)
    assert found["among_words"]["miss_rate"] == 0.5


def test_a_keyword_that_is_never_said_has_no_miss_rate() -> None:
    stream = recorded(20, [], Spoken("go", 1.0, 1.5))
    assert miss_report(stream, QUICK)["per_keyword"]["stop"]["miss_rate"] is None


@pytest.mark.parametrize("turned", [1, -1])
def test_events_that_two_words_may_claim_go_to_them_in_their_order(turned: int) -> None:
    """In whatever order they are given: latencies are counted from the words' ends."""
    words = [Spoken("go", 1.0, 1.5), Spoken("go", 1.8, 2.2)]
    found = match(heard(("go", 2.0), ("go", 2.3))[::turned], words)
    assert [(word.begin, event.time) for word, event in found.hits] == [(1.0, 2.0), (1.8, 2.3)]


def test_the_silence_that_ended_a_stream_is_no_time_of_it() -> None:
    """Neither in its rate nor in its events."""
    stream = replace(recorded(36_000, [("go", 18_005)]), seconds=1_800.0)
    found = rate_report(stream, QUICK)
    assert (found["hours"], found["per_hour"], found["bound_hours"]) == (0.5, 2.0, 0.5)
    assert [event.time for event in stream.detect(QUICK)] == [1_800.0]
