"""One utterance is one event."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.detector import Detection, Detector, DetectorConfig, Levels, Timing
from kws.errors import KwsError
from kws.names import NO_KEYWORDS, SILENCE, UNKNOWN

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


def heard(found: Iterable[Detection]) -> list[tuple[str, float]]:
    return [(event.keyword, event.time) for event in found]


def test_a_keyword_that_fired_is_silent_in_its_refractory_time() -> None:
    rows = [one("yes"), NOTHING, *[one("yes")] * 9]
    found = events(detector(refractory_seconds=0.5), rows)
    assert heard(found) == [("yes", 0.0), ("yes", 0.5)]


def test_another_keyword_fires_in_the_refractory_time() -> None:
    rows = [one("yes"), NOTHING, one("no"), NOTHING, one("yes"), *[NOTHING] * 2, one("yes")]
    found = events(detector(refractory_seconds=0.5), rows)
    assert heard(found) == [("yes", 0.0), ("no", 0.2), ("yes", 0.7)]


@pytest.mark.parametrize(("rest", "when"), [(0.31, 0.5), (0.29, 0.2)])
def test_an_utterance_goes_on_while_its_keyword_is_above_the_release_level(
    rest: float, when: float
) -> None:
    """At the latest the refractory time ends it."""
    rows = [one("yes"), (rest, 0.4, 0.0, 0.0), *[(0.35, 0.6, 0.0, 0.0)] * 9]
    found = events(detector(refractory_seconds=0.5, release=0.3), rows)
    assert heard(found) == [("yes", 0.0), ("no", when)]


def test_an_utterance_goes_on_while_another_keyword_is_at_its_threshold() -> None:
    """A word that leaves the view looks like others: what rises without a pause is no other."""
    rows = [one("yes"), *[one("no")] * 3, NOTHING, one("no")]
    found = events(detector(refractory_seconds=60.0), rows)
    assert heard(found) == [("yes", 0.0), ("no", 0.5)]


@pytest.mark.parametrize(("rest", "then"), [(0.31, []), (0.29, [("go", 0.4)])])
def test_every_utterance_has_its_own_end(rest: float, then: list[tuple[str, float]]) -> None:
    config = DetectorConfig(smoothing=1, patience=1, release=0.3, refractory_seconds=60.0)
    hears = Detector(("yes", "no", "go", SILENCE), "eng", config)
    rows = [one("yes"), NOTHING, one("no"), (0.0, rest, 0.4, 0.0), (0.0, 0.0, 0.6, 0.0)]
    assert heard(events(hears, rows)) == [("yes", 0.0), ("no", 0.2), *then]


def test_patience_starts_after_the_utterance_before() -> None:
    rows = [*[one("yes")] * 2, *[(0.4, 0.6, 0.0, 0.0)] * 9]
    found = events(detector(refractory_seconds=0.5, patience=2), rows)
    assert heard(found) == [("yes", 0.1), ("no", 0.7)]


@pytest.mark.parametrize(("dip", "count"), [(0.31, 1), (0.29, 2)])
def test_a_keyword_fires_again_only_below_the_release_level(dip: float, count: int) -> None:
    rows = [one("yes"), one("yes", dip), one("yes")]
    assert len(events(detector(release=0.3), rows)) == count


def test_another_keyword_need_not_wait_for_the_release() -> None:
    rows = [one("yes"), (0.4, 0.6, 0.0, 0.0)]
    assert [event.keyword for event in events(detector(), rows)] == ["yes", "no"]


def test_the_threshold_itself_counts() -> None:
    assert len(events(detector(threshold=0.5), [one("yes", 0.5)])) == 1


def test_averages_can_be_read_in_quiet_too() -> None:
    hears = detector(smoothing=2)
    for score, average in ((0.2, 0.2), (0.4, 0.3), (0.1, 0.25), (0.3, 0.2)):
        assert events(hears, [one("yes", score)]) == []
        assert hears.smoothed.tolist() == pytest.approx([average, 0.0, 0.0, 0.0])


def test_a_threshold_that_is_lowered_in_quiet_may_be_reached_by_what_was_heard_before() -> None:
    hears = detector(smoothing=3, threshold=0.9)
    assert events(hears, [one("yes", score) for score in (0.5, 0.5, 0.5)]) == []
    hears.use_levels(DetectorConfig(threshold=0.4, release=0.3))
    assert rounded(events(hears, [one("yes", 0.3)])) == [("yes", 0.4333, 0.0)]


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


def own(**levels: Levels) -> Detector:
    """A detector in which some keywords have levels of their own."""
    config = DetectorConfig(smoothing=1, patience=1, refractory_seconds=0.0, keywords=levels)
    return Detector(LABELS, "eng", config)


def test_a_keyword_may_have_its_own_threshold() -> None:
    hears = own(no=Levels(0.8, 0.3))
    rows = [one("no", 0.7), NOTHING, one("yes", 0.7), NOTHING, one("no", 0.8)]
    assert rounded(events(hears, rows)) == [("yes", 0.7, 0.2), ("no", 0.8, 0.4)]


@pytest.mark.parametrize(("dip", "count"), [(0.65, 1), (0.55, 2)])
def test_a_keyword_may_have_its_own_release_level(dip: float, count: int) -> None:
    hears = own(yes=Levels(0.9, 0.6))
    assert len(events(hears, [one("yes", 0.95), one("yes", dip), one("yes", 0.95)])) == count


def test_a_keyword_below_its_own_threshold_does_not_take_anothers_place() -> None:
    """However high it stood: it was not sure enough."""
    config = DetectorConfig(smoothing=1, patience=2, keywords={"yes": Levels(0.9, 0.3)})
    hears = Detector(LABELS, "eng", config)
    rows = [(0.1, 0.6, 0.0, 0.0), (0.2, 0.7, 0.0, 0.0)]
    high = [(0.8, 0.6, 0.0, 0.0), (0.85, 0.55, 0.0, 0.0)]
    assert [event.keyword for event in events(hears, rows)] == ["no"]
    hears.reset()
    assert rounded(events(hears, high)) == [("no", 0.6, 0.1)]


def test_one_threshold_for_all_takes_the_place_of_their_own() -> None:
    config = DetectorConfig(keywords={"yes": Levels(0.9, 0.3)})
    assert config.at(0.7) == DetectorConfig(threshold=0.7)


def test_levels_for_a_word_that_is_not_spotted_are_refused() -> None:
    with pytest.raises(KwsError, match=r"maybe, which is not spotted: .*; there are yes, no$"):
        own(maybe=Levels(0.9, 0.3))
    with pytest.raises(KwsError, match="settings for maybe, which is not spotted"):
        timed(maybe=Timing(1, 1, 0.0))
    with pytest.raises(KwsError, match="settings for _unknown_, which is not spotted"):
        timed(_unknown_=Timing(50, 1, 0.0))


def timed(**timings: Timing) -> Detector:
    """A detector in which some keywords have a timing of their own."""
    config = DetectorConfig(smoothing=1, patience=1, refractory_seconds=0.0, timings=timings)
    return Detector(LABELS, "eng", config)


def test_a_keyword_may_have_its_own_smoothing() -> None:
    hears = timed(no=Timing(2, 1, 0.0))
    rows = [NOTHING, one("yes", 0.6), NOTHING, one("no", 0.8), one("no", 0.6)]
    assert rounded(events(hears, rows)) == [("yes", 0.6, 0.1), ("no", 0.7, 0.4)]
    assert hears.smoothed.tolist() == pytest.approx([0.0, 0.7, 0.0, 0.0])


def test_a_keyword_may_have_its_own_patience() -> None:
    hears = timed(no=Timing(1, 3, 0.0))
    rows = [one("yes"), NOTHING, *[one("no")] * 2, NOTHING, *[one("no")] * 3]
    assert heard(events(hears, rows)) == [("yes", 0.0), ("no", 0.7)]


def test_a_patient_keyword_does_not_hold_up_another() -> None:
    """Of an utterance that has lasted the patience of one only, that one is reported."""
    hears = timed(no=Timing(1, 3, 0.0))
    rows = [(0.6, 0.7, 0.0, 0.0), *[(0.4, 0.7, 0.0, 0.0)] * 9]
    assert rounded(events(hears, rows)) == [("yes", 0.6, 0.0)]


def test_a_keyword_may_have_its_own_refractory_time() -> None:
    hears = timed(no=Timing(1, 1, 0.5))
    rows = [one("no"), NOTHING, *[one("no")] * 4, NOTHING, one("yes"), NOTHING, one("yes")]
    assert heard(events(hears, rows)) == [("no", 0.0), ("no", 0.5), ("yes", 0.7), ("yes", 0.9)]


def test_what_a_timing_lacks_is_the_languages() -> None:
    raw = {"smoothing": 2, "patience": 4, "timings": {"go": {"patience": 1}}}
    config = DetectorConfig.from_dict(raw)
    assert config.timing("go") == Timing(2, 1, 0.75)
    assert config.timing("stop") == Timing(2, 4, 0.75)


@pytest.mark.parametrize(
    "raw",
    [
        {"timings": {"go": {"smoothing": 2.5}}},
        {"timings": {"go": {"patience": "5"}}},
        {"keywords": {"go": {"threshold": "high", "release": 0.1}}},
    ],
)
def test_settings_of_a_word_are_of_the_types_they_are(raw: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be"):
        DetectorConfig.from_dict(raw)


def test_one_threshold_for_all_leaves_their_timings() -> None:
    timings = {"yes": Timing(1, 1, 0.0)}
    assert DetectorConfig(timings=timings).at(0.7) == DetectorConfig(threshold=0.7, timings=timings)


@pytest.mark.parametrize("levels", [{}, {"yes": Levels(0.9, 0.3), "no": Levels(0.1, 0.05)}])
def test_settings_come_back_from_plain_values(levels: dict[str, Levels]) -> None:
    timings = {"no": Timing(5, 2, 1.5)}
    config = DetectorConfig(threshold=0.6, patience=2, keywords=levels, timings=timings)
    assert DetectorConfig.from_dict(asdict(config)) == config


def babble(seed: int, rows: int = 400) -> NDArray[np.float32]:
    """Scores that wander: sums of one, long and short peaks of every label."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.8, (rows, len(LABELS))), axis=0)
    walk -= np.linspace(0, 1, rows)[:, None] * walk[-1]
    raised = np.exp(walk - walk.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "config",
    [
        DetectorConfig(),
        DetectorConfig(smoothing=1, patience=1, refractory_seconds=0.0),
        DetectorConfig(smoothing=5, patience=2, threshold=0.3, release=0.25),
        DetectorConfig(patience=8, refractory_seconds=2.0, threshold=0.2, release=0.1),
        DetectorConfig(keywords={"yes": Levels(0.9, 0.8), "no": Levels(0.3, 0.02)}),
        DetectorConfig(timings={"yes": Timing(1, 8, 0.0), "no": Timing(5, 1, 3.0)}),
        DetectorConfig(threshold=0.3, release=0.05, timings={"no": Timing(2, 2, 30.0)}),
    ],
)
def test_replaying_a_stream_gives_the_events_of_stepping_through_it(
    seed: int, config: DetectorConfig
) -> None:
    """Bit for bit, also after what is no number."""
    rows = babble(seed)
    rows[100:103] = np.nan
    times = np.round(np.arange(len(rows)) * HOP, 6)
    hears = Detector(LABELS, "eng", config)
    stepped = events(hears, rows)
    assert stepped
    assert hears.replay(rows, times) == stepped
    assert hears.replay(rows, times) == stepped


def test_a_replayed_utterance_does_not_end_while_another_keyword_is_at_its_threshold() -> None:
    """Not even where that one does not stay there for long enough to be heard."""
    going_on, other = one("yes", 0.4), one("no", 0.9)
    both = (0.4, 0.6, 0.0, 0.0)
    rows = [one("yes")] * 2 + [going_on, other, going_on] + [both] * 3
    hears = Detector(LABELS, "eng", DetectorConfig(smoothing=1, patience=2, refractory_seconds=9))
    stepped = events(hears, rows)
    assert [event.keyword for event in stepped] == ["yes"]
    times = np.round(np.arange(len(rows)) * HOP, 6)
    assert hears.replay(np.array(rows, np.float32), times) == stepped


def test_replaying_one_label_gives_the_scores_of_stepping_too() -> None:
    """Where a row is one number, NumPy would add them up in pairs."""
    rows = np.sort(np.random.default_rng(2).uniform(0.5, 1, (40, 1)).astype(np.float32), axis=0)
    times = np.round(np.arange(len(rows)) * HOP, 6)
    config = DetectorConfig(smoothing=40, patience=1, refractory_seconds=0.0)
    for patience in range(1, 40):
        hears = Detector(["yes"], "eng", replace(config, patience=patience))
        (stepped,) = events(hears, rows)
        assert hears.replay(rows, times) == [stepped]


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_the_shortest_streams_can_be_replayed(rows: int) -> None:
    scores = np.array([one("yes")] * rows, np.float32).reshape(-1, len(LABELS))
    assert Detector(LABELS, "eng").replay(scores, HOP * np.arange(rows, dtype=np.float64)) == []


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


def test_turning_opens_nothing_that_may_not_fire() -> None:
    hears = detector(refractory_seconds=5.0)
    assert len(events(hears, [one("yes")])) == 1
    hears.use_levels(DetectorConfig(threshold=0.4, smoothing=1, patience=1))
    assert events(hears, [one("no")] * 3) == []  # of the same utterance


def test_what_was_reported_before_a_change_of_language_is_heard_again_once_it_was_over() -> None:
    """Silent while that one lasts, and not longer."""
    before, after = detector(), detector()
    before.step(np.array(one("yes"), np.float32), 0.1)
    after.keep_silent(before)
    heard = [
        after.step(np.array(scores, np.float32), time)
        for scores, time in ((one("yes"), 0.2), (NOTHING, 0.3), (one("yes"), 2.0))
    ]
    assert [bool(event) for event in heard] == [False, False, True]


def by_the_page(
    labels: Sequence[str], config: DetectorConfig, scores: NDArray[np.float32]
) -> list[tuple[str, float, int]]:
    """The rules of docs/adapter-format.md, word for word; a time is the number of a decision."""
    everyone = range(len(labels))
    levels, timings = map(config.levels, labels), [config.timing(label) for label in labels]
    thresholds, releases = zip(*((each.threshold, each.release) for each in levels), strict=True)
    found: list[tuple[str, float, int]] = []
    peaks: dict[int, float] = {}
    waits, until, reported, lasted = set[int](), dict[int, float](), None, 0
    for now in range(len(scores)):
        score = [
            float(sum(scores[max(0, now + 1 - each.smoothing) : now + 1, k]))
            / min(each.smoothing, now + 1)
            for k, each in zip(everyone, timings, strict=True)
        ]
        high = {k for k in everyone if labels[k] not in NO_KEYWORDS and score[k] >= thresholds[k]}
        waits -= {k for k in everyone if score[k] < releases[k]}
        if reported is not None:
            over = score[reported] < releases[reported] and not high
            if over or HOP * now >= until[reported]:
                reported = None
        may = {k for k in high - waits if HOP * now >= until.get(k, 0)}
        takes = may if reported is None else set()
        lasted = lasted + 1 if takes else 0
        peaks = peaks if takes else {}
        peaks |= {k: max(peaks.get(k, 0), score[k]) for k in takes}
        ready = [k for k in peaks if lasted >= timings[k].patience]
        if ready:
            reported = max(ready, key=peaks.__getitem__)
            found.append((labels[reported], peaks[reported], now))
            until[reported] = HOP * now + timings[reported].refractory_seconds
            waits |= peaks.keys()
            peaks, lasted = {}, 0
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_rules_that_the_page_states_give_the_same_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = ("a", "b", "c", UNKNOWN)
    config = DetectorConfig(
        threshold=0.6,
        release=0.4,
        smoothing=int(rng.integers(1, 4)),
        patience=int(rng.integers(1, 4)),
        refractory_seconds=float(rng.uniform(0.1, 2)),
        keywords={"b": Levels(0.5, 0.45)},
        timings={"c": Timing(2, 4, 0.5)},
    )
    walks = rng.normal(0, 0.8, (600, 4)).cumsum(axis=0)
    likely = np.exp(2 * np.sin(walks))
    scores = (likely / likely.sum(axis=1, keepdims=True)).astype(np.float32)
    detector = Detector(labels, "eng", config)
    events = [detector.step(row, HOP * now) for now, row in enumerate(scores)]
    found = [(e.keyword, e.score, round(e.time / HOP)) for e in events if e]
    expected = by_the_page(labels, config, scores)
    assert [(word, now) for word, _, now in found] == [(word, now) for word, _, now in expected]
    assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected])
    assert len(found) > 10


def test_a_reset_in_the_middle_of_an_utterance_forgets_it() -> None:
    """How long it had lasted, how high it stood, and what took part in one before it."""
    hears = detector(patience=3)
    assert events(hears, [one("yes", 0.9)] * 2) == []
    hears.reset()
    assert rounded(events(hears, [one("no", 0.6)] * 3)) == [("no", 0.6, 0.2)]
    both = detector()
    assert heard(events(both, [(0.6, 0.7, 0.0, 0.0)])) == [("no", 0.0)]
    both.reset()
    rows = [(0.4, 0.9, 0.0, 0.0), (0.6, 0.2, 0.0, 0.0)]
    assert heard(events(both, rows)) == [("no", 0.0), ("yes", 0.1)]


def test_what_was_reported_says_nothing_of_other_labels() -> None:
    before = detector()
    before.step(np.array(one("yes"), np.float32), 0.1)
    after = Detector(("no", "yes", UNKNOWN, SILENCE), "eng", before.config)
    after.keep_silent(before)
    assert after.step(np.array(one("yes"), np.float32), 0.2)  # there the first label is "no"


def test_an_utterance_reported_before_a_change_of_language_is_heard_as_no_other_word_after_it() -> (
    None
):
    before, after = detector(refractory_seconds=60.0), detector()
    before.step(np.array(one("yes"), np.float32), 0.0)
    after.keep_silent(before)
    found = events(after, [one("no"), NOTHING, one("no")])
    assert heard(found) == [("no", 0.2)]


def test_a_threshold_turned_in_another_language_counts_when_one_is_back() -> None:
    after = detector(threshold=0.5)
    after.keep_silent(detector(threshold=0.9))
    assert heard(events(after, [one("yes", 0.7)])) == [("yes", 0.0)]
