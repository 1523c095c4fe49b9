"""Thresholds keep the rate that was asked for and miss little, found from scores alone."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.calibration import (
    GRID,
    PRICES,
    Choice,
    Sweep,
    _at_price,
    _lifted,
    _spend_rest,
    choose,
    hours_needed,
    sweep,
    with_misses,
)
from kws.detector import DetectorConfig, Levels
from kws.errors import KwsError
from kws.names import SILENCE, UNKNOWN
from kws.stream_metrics import ScoredStream, Spoken, miss_report

LABELS = ("easy", "hard", UNKNOWN, SILENCE)
HOP = 1_600  # samples, 0.1 s
EVERY = 120  # decisions between two words
CONFIG = DetectorConfig(smoothing=1, patience=2)


def stream(seed: int, count: int, means: dict[str, float], *, said: bool) -> ScoredStream:
    """Utterances of three decisions each; how high they score follows a normal law in log odds."""
    rng = np.random.default_rng(seed)
    scores = np.zeros((count * EVERY, len(LABELS)), np.float32)
    spoken = []
    for index in range(count):
        word = list(means)[index % len(means)]
        row = index * EVERY + 10
        odds = rng.normal(means[word], 1.5)
        scores[row : row + 3, LABELS.index(word)] = 1 / (1 + np.exp(-odds))
        spoken.append(Spoken(word, row / 10, row / 10 + 0.2))
    return ScoredStream(LABELS, "en", scores, HOP, tuple(spoken) if said else ())


NEGATIVES = stream(1, 600, {"easy": -2.0, "hard": 2.0}, said=False)  # 2 hours
POSITIVES = stream(2, 200, {"easy": 4.0, "hard": 4.0}, said=True)


@pytest.fixture(scope="module")
def tried() -> Sweep:
    return sweep(NEGATIVES, [POSITIVES], CONFIG)


@pytest.fixture(scope="module")
def chosen(tried: Sweep) -> dict[float, Choice]:
    return {rate: choose(NEGATIVES, tried, CONFIG, rate) for rate in (0.5, 5.0, 50.0)}


def misses(config: DetectorConfig) -> int:
    return int(miss_report(POSITIVES, config)["misses"])


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0])
def test_the_rate_is_kept(chosen: dict[float, Choice], rate: float) -> None:
    assert chosen[rate].kept
    events = NEGATIVES.detect(chosen[rate].config)
    assert len(events) <= rate * NEGATIVES.hours


def test_more_false_accepts_mean_fewer_misses(chosen: dict[float, Choice]) -> None:
    lost = [misses(chosen[rate].config) for rate in (0.5, 5.0, 50.0)]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > lost[-1]


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_keywords_by_themselves_miss_less_than_under_one_threshold(
    tried: Sweep, chosen: dict[float, Choice], rate: float
) -> None:
    fits = tried.false_accepts.sum(axis=1) <= rate * NEGATIVES.hours  # [G]
    assert misses(chosen[rate].config) < 0.7 * tried.misses.sum(axis=1)[fits].min()
    own = chosen[rate].config
    assert own.levels("easy").threshold < own.levels("hard").threshold


def test_release_levels_stay_well_below_thresholds(chosen: dict[float, Choice]) -> None:
    for choice in chosen.values():
        for levels in choice.config.keywords.values():
            assert levels.release <= min(CONFIG.release, 0.61 * levels.threshold)


def test_what_was_set_before_does_not_matter(tried: Sweep, chosen: dict[float, Choice]) -> None:
    """Calibrating twice gives the same; the other settings are kept."""
    few = (0.5, 0.9)
    before = sweep(NEGATIVES, [POSITIVES], chosen[5.0].config, few)
    assert before.det == sweep(NEGATIVES, [POSITIVES], CONFIG, few).det
    again = choose(NEGATIVES, tried, chosen[5.0].config, 5.0)
    assert again.config == chosen[5.0].config
    assert replace(again.config, keywords={}) == CONFIG


def test_misses_of_other_words_stand_beside_the_same_false_accepts(tried: Sweep) -> None:
    few = replace(tried, thresholds=(0.5, 0.9), false_accepts=tried.false_accepts[:2])
    more = stream(3, 100, {"easy": 0.0, "hard": 0.0}, said=True)
    found = with_misses(few, [more], CONFIG)
    expected = sweep(NEGATIVES, [more], CONFIG, (0.5, 0.9))
    assert np.array_equal(found.misses, expected.misses)
    assert np.array_equal(found.said, [50, 50])
    assert np.array_equal(found.false_accepts, few.false_accepts)


def test_the_trade_off_falls_along_rising_thresholds(tried: Sweep) -> None:
    det = tried.det
    assert [point["threshold"] for point in det] == list(GRID)
    rates = [point["false_accepts_per_hour"] for point in det]
    lost = [point["miss_rate"] for point in det]
    assert rates == sorted(rates, reverse=True)
    assert lost == sorted(lost)
    assert rates[0] > 150
    assert lost[-1] > 0.9


def test_a_network_that_is_always_sure_cannot_keep_a_rate() -> None:
    sure = replace(NEGATIVES, scores=(NEGATIVES.scores > 0).astype(np.float32))
    choice = choose(sure, sweep(sure, [POSITIVES], CONFIG, (0.5, 0.9, 0.9999)), CONFIG, 0.5)
    assert not choice.kept
    assert {levels.threshold for levels in choice.config.keywords.values()} == {0.9999}


def test_a_sound_without_false_accepts_misses_as_little_as_can_be() -> None:
    quiet = replace(NEGATIVES, scores=0 * NEGATIVES.scores)
    tried = sweep(quiet, [POSITIVES], CONFIG)
    choice = choose(quiet, tried, CONFIG, 0.5)
    assert choice.kept
    assert misses(choice.config) == tried.misses.sum(axis=1).min()


@pytest.mark.parametrize("rate", [0.5, 50.0])
def test_false_accepts_cost_no_more_than_keeps_the_rate(
    tried: Sweep, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before what is left over is spent."""
    monkeypatch.setattr("kws.calibration._spend_rest", lambda tried, best, *_: best)
    found = choose(NEGATIVES, tried, CONFIG, rate).config
    at = next(price for price in PRICES if _at_price(tried, CONFIG, price) == found)
    assert len(NEGATIVES.detect(found)) <= rate * NEGATIVES.hours
    cheaper = _at_price(tried, CONFIG, PRICES[PRICES.index(at) - 1])
    assert len(NEGATIVES.detect(cheaper)) > rate * NEGATIVES.hours


def test_what_is_left_over_goes_where_a_false_accept_wins_most() -> None:
    """Of ten words each: hard would win four for four false accepts, easy two for one."""
    tried = Sweep(
        thresholds=(0.3, 0.6, 0.9),
        keywords=("easy", "hard"),
        hours=1.0,
        false_accepts=np.array([[9, 4], [1, 4], [0, 0]]),
        misses=np.array([[1, 6], [8, 6], [10, 10]]),
        said=np.array([10, 10]),
    )
    high = {word: Levels(0.9, 0.5) for word in tried.keywords}
    begun = replace(CONFIG, keywords=high)
    found = _spend_rest(tried, begun, 4, lambda config: True)
    assert {word: found.levels(word).threshold for word in high} == {"easy": 0.6, "hard": 0.9}
    assert _spend_rest(tried, begun, 4, lambda config: False) == begun


def test_where_others_fire_none_so_far_is_not_never() -> None:
    """Easy misses nothing anywhere and never fired: it stands as high as others must."""
    tried = Sweep(
        thresholds=(0.3, 0.6, 0.9),
        keywords=("easy", "hard"),
        hours=1.0,
        false_accepts=np.array([[0, 8], [0, 2], [0, 0]]),
        misses=np.array([[0, 0], [0, 1], [0, 5]]),
        said=np.array([10, 10]),
    )
    found = _at_price(tried, CONFIG, 0.01)
    assert {word: found.levels(word).threshold for word in ("easy", "hard")} == {
        "easy": 0.9,
        "hard": 0.3,
    }


def test_what_others_do_is_held_against_a_keyword_once() -> None:
    """However often they fire: it is not they."""
    tried = Sweep(
        thresholds=(0.3, 0.9),
        keywords=("easy", "hard"),
        hours=1.0,
        false_accepts=np.array([[0, 10], [0, 0]]),
        misses=np.array([[0, 0], [1, 5]]),
        said=np.array([10, 10]),
    )
    assert _at_price(tried, CONFIG, 0.05).levels("easy").threshold == 0.3


def test_a_keyword_that_nobody_said_has_what_suits_the_others() -> None:
    """Else its misses would cost nothing, and it would stand as high as the grid goes."""
    tried = Sweep(
        thresholds=(0.3, 0.6, 0.9),
        keywords=("said", "unsaid"),
        hours=1.0,
        false_accepts=np.array([[2, 2], [1, 1], [0, 0]]),
        misses=np.array([[0, 0], [1, 0], [8, 0]]),
        said=np.array([10, 0]),
    )
    found = _at_price(tried, CONFIG, 0.2)
    assert [found.levels(word).threshold for word in tried.keywords] == [0.6, 0.6]
    nobody = replace(tried, misses=0 * tried.misses, said=np.array([0, 0]))
    assert nobody.shares.tolist() == [[0.0, 0.0]] * 3
    three = replace(
        tried,
        keywords=("easy", "hard", "unsaid"),
        misses=np.array([[0, 2, 0], [1, 4, 0], [8, 9, 0]]),
        said=np.array([10, 20, 0]),
    )
    np.testing.assert_allclose(three.shares[:, 2], [0.05, 0.15, 0.625])  # their mean


def test_hours_needed_is_what_bounds_a_rate_without_any_event() -> None:
    assert hours_needed(3.0) == pytest.approx(1.0, abs=2e-3)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(KwsError, match="above 0, not 0"):
        choose(NEGATIVES, sweep(NEGATIVES, [], CONFIG, (0.5,)), CONFIG, 0.0)


def test_a_word_heard_for_another_is_missed() -> None:
    """Else wrong words would cost nothing where thresholds are chosen."""
    scores = np.zeros((40, len(LABELS)), np.float32)
    scores[10:13, LABELS.index("hard")] = 0.9
    said = ScoredStream(LABELS, "en", scores, HOP, (Spoken("easy", 1.0, 1.2),))
    silent = ScoredStream(LABELS, "en", np.zeros_like(scores), HOP)
    assert sweep(silent, [said], CONFIG, (0.5,)).misses.tolist() == [[1, 0]]


def test_not_one_event_more_is_kept_than_the_rate_allows() -> None:
    """Two in an hour would win more than one."""

    def heard(*peaks: float) -> NDArray[np.float32]:
        scores = np.zeros((36_000, len(LABELS)), np.float32)  # an hour
        for number, peak in enumerate(peaks):
            scores[100 * number + 10 : 100 * number + 13, LABELS.index("hard")] = peak
        return scores

    said = tuple(Spoken("hard", 10 * n + 1.0, 10 * n + 1.2) for n in range(8))
    negatives = ScoredStream(LABELS, "en", heard(0.7, 0.92), HOP)
    positives = ScoredStream(LABELS, "en", heard(*[0.75] * 6, 0.96, 0.99), HOP, said)
    tried = sweep(negatives, [positives], CONFIG, (0.6, 0.8, 0.95))
    assert tried.false_accepts[:, 1].tolist() == [2, 1, 0]
    for allowed, threshold in ((2.0, 0.6), (1.0, 0.95), (0.5, 0.95)):
        found = choose(negatives, tried, CONFIG, allowed).config
        assert found.levels("hard").threshold == threshold
        assert len(negatives.detect(found)) <= allowed


def made(false_accepts: list[int], misses: list[int]) -> Sweep:
    """Of one keyword that was said ten times, in an hour, at thresholds from 0.1 up."""
    thresholds = tuple(round(0.1 * (row + 1), 1) for row in range(len(misses)))
    accepts, missed = np.array([false_accepts]).T, np.array([misses]).T
    return Sweep(thresholds, ("easy",), 1.0, accepts, missed, np.array([10]))


@pytest.mark.parametrize(("allowed", "threshold"), [(1, 0.2), (2, 0.1)])
def test_all_that_the_rate_allows_is_spent(allowed: int, threshold: float) -> None:
    begun = replace(CONFIG, keywords={"easy": Levels(0.2, 0.1)})
    found = _spend_rest(made([2, 0], [1, 8]), begun, allowed, lambda config: True)
    assert found.levels("easy").threshold == threshold


def test_of_thresholds_that_are_equally_good_the_middle_one_is_taken() -> None:
    """So that it is far from those that are worse."""
    tried = made([5, 0, 0, 0, 0], [0, 0, 0, 0, 5])
    assert _at_price(tried, CONFIG, 1.0).levels("easy").threshold == 0.3


def test_what_stands_high_already_is_not_lowered_where_another_is_lifted() -> None:
    tried = made([0] * 9, [0] * 9)
    best = replace(CONFIG, keywords={"easy": Levels(0.9, 0.3), "hard": Levels(0.3, 0.1)})
    found = _lifted(tried, best, lambda config: config.levels("hard").threshold >= 0.6)
    assert found.kept
    assert [found.config.levels(word).threshold for word in ("easy", "hard")] == [0.9, 0.6]
