"""Decisions depend on the audio alone, not on how it arrives."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from helpers import VIEW, WholeViews
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig
from kws.engine import QUIETEST, Engine, WindowScorer
from kws.errors import KwsError

Wave = NDArray[np.float32]

CONFIG = DetectorConfig(smoothing=2, patience=2)
WORDS = {"ara": ("low", "high", "_silence_"), "eng": ("bass", "treble", "alto", "_silence_")}


class Bands(WholeViews):
    """A spotter that hears which tone fills the middle of its view, or silence."""

    def __init__(self) -> None:
        self.languages = ("ara", "eng")
        self.active_adapter = "ara"
        self.words = dict(WORDS)
        self.config = CONFIG
        self.views: list[Wave] = []

    @property
    def labels(self) -> tuple[str, ...]:
        return self.words[self.active_adapter]

    def set_adapter(self, language: str) -> None:
        if language not in self.languages:
            raise KwsError(f"{language} is not among {', '.join(self.languages)}")
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        self.views.append(view)
        middle = view[VIEW // 2 - 2_000 : VIEW // 2 + 2_000]
        spectrum = np.abs(np.fft.rfft(middle))
        out = np.full(len(self.labels), 0.01, np.float32)
        out[int(spectrum.argmax() * 4 > 1_000) if spectrum.max() > 1 else -1] = 1.0
        return np.asarray(out / out.sum(), np.float32)

    def detector_config(self, language: str) -> DetectorConfig:
        return self.config


def tone(frequency: float, seconds: float = 0.5) -> Wave:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.fixture(scope="module")
def stream() -> Wave:
    """Four words in 10 s, with a gap of noise; the last touches the end."""
    noise = np.random.default_rng(0).normal(0, 1e-5, SAMPLE_RATE).astype(np.float32)
    parts = [silence(1), tone(400), silence(1.2), tone(2_000), noise, silence(1.3), tone(400)]
    return np.concatenate([*parts, silence(3.3), tone(2_000, 0.7)])


def hear(engine: Engine, wave: Wave, sizes: Iterator[int]) -> list[Detection]:
    found: list[Detection] = []
    while len(wave):
        size = next(sizes)
        found += engine.feed(wave[:size])
        wave = wave[size:]
    return found + engine.flush()


def constant(size: int) -> Iterator[int]:
    while True:
        yield size


@pytest.fixture(scope="module")
def whole(stream: Wave) -> tuple[list[Detection], list[Wave]]:
    spotter = Bands()
    return hear(Engine(spotter), stream, constant(len(stream))), spotter.views


def test_every_word_is_heard_once(whole: tuple[list[Detection], list[Wave]], stream: Wave) -> None:
    found, _ = whole
    assert [event.keyword for event in found] == ["low", "high", "low", "high"]
    assert all(0 < event.time <= len(stream) / SAMPLE_RATE for event in found)
    assert {event.language for event in found} == {"ara"}


@pytest.mark.parametrize("size", [1, 7, 160, 1_279, 1_280, 1_281, 15_999, 16_001, 160_000])
def test_results_are_the_same_for_any_block_size(
    size: int, stream: Wave, whole: tuple[list[Detection], list[Wave]]
) -> None:
    spotter = Bands()
    assert hear(Engine(spotter), stream, constant(size)) == whole[0]
    np.testing.assert_array_equal(spotter.views, whole[1])


def test_results_are_the_same_for_ragged_blocks(
    stream: Wave, whole: tuple[list[Detection], list[Wave]]
) -> None:
    draw = np.random.default_rng(1)
    sizes = (int(size) for size in draw.integers(0, 5_000, 10_000))
    assert hear(Engine(Bands()), stream, sizes) == whole[0]


def test_a_view_is_the_last_second_after_silence() -> None:
    spotter, wave = Bands(), np.arange(1, 20_001, dtype=np.float32)
    Engine(spotter).feed(wave)
    assert len(spotter.views) == 20_000 // 1_280
    np.testing.assert_array_equal(spotter.views[0], np.r_[silence(0.92), wave[:1_280]])
    np.testing.assert_array_equal(spotter.views[-1], wave[15 * 1_280 - VIEW : 15 * 1_280])


def test_a_short_file_is_heard_and_its_time_lies_within_it() -> None:
    engine = Engine(Bands())
    assert engine.feed(tone(400, 0.3)) == []
    (event,) = engine.flush()
    assert (event.keyword, event.time) == ("low", 0.3)
    assert engine.seconds == 0.3


@pytest.mark.parametrize("length", [0, 1])
def test_almost_no_audio_is_no_event(length: int) -> None:
    engine = Engine(Bands())
    assert engine.feed(np.ones(length, np.float32)) + engine.flush() == []


def test_a_switch_takes_effect_at_the_next_decision_and_loses_no_sample(stream: Wave) -> None:
    spotter, steady = Bands(), Bands()
    engine = Engine(spotter)
    found = engine.feed(stream[:40_001])
    engine.set_language("eng")
    assert engine.language == spotter.active_adapter == "eng"
    found += engine.feed(stream[40_001:]) + engine.flush()
    hear(Engine(steady), stream, constant(160_000))
    np.testing.assert_array_equal(spotter.views, steady.views)
    heard = [(event.language, event.keyword) for event in found]
    assert heard == [("ara", "low"), ("eng", "treble"), ("eng", "bass"), ("eng", "treble")]


def test_a_new_language_starts_fresh() -> None:
    engine = Engine(Bands())
    engine.feed(np.r_[tone(400), silence(0.3)])
    assert engine.scores.shape == (3,)
    assert engine.scores[0] > 0.9
    engine.set_language("eng")
    np.testing.assert_array_equal(engine.scores, np.zeros(4))
    assert engine.labels == WORDS["eng"]


@pytest.mark.parametrize(("away", "again"), [(0.0, []), (0.16, []), (1.2, ["low"])])
def test_a_word_that_was_reported_is_not_when_its_language_is_back(
    away: float, again: list[str]
) -> None:
    """Soon; later it may have been said anew."""
    engine = Engine(Bands())
    sound = np.r_[silence(0.5), tone(400, 4.0)]
    end = round(1.6 * SAMPLE_RATE)
    assert [event.keyword for event in engine.feed(sound[:end])] == ["low"]
    engine.set_language("eng")
    back = end + round(away * SAMPLE_RATE)
    engine.feed(sound[end:back])
    engine.set_language("ara")
    assert [event.keyword for event in engine.feed(sound[back:])] == again


def test_soon_is_within_what_a_decision_hears() -> None:
    """Of a base with a longer view it is longer."""

    class Longer(Bands):
        def hop_scorer(self, hop: int) -> WindowScorer:
            return WindowScorer(self, 2 * VIEW)

        def scores(self, view: Wave) -> Wave:
            return super().scores(view[-VIEW:])

    engine = Engine(Longer())
    sound = np.r_[silence(0.5), tone(400, 4.0)]
    end, back = round(1.6 * SAMPLE_RATE), round(2.8 * SAMPLE_RATE)
    assert [event.keyword for event in engine.feed(sound[:end])] == ["low"]
    engine.set_language("eng")
    engine.feed(sound[end:back])
    engine.set_language("ara")
    assert engine.feed(sound[back:]) == []


def test_choosing_the_active_language_again_changes_nothing() -> None:
    engine = Engine(Bands())
    first = engine.feed(np.r_[tone(400), silence(0.3)])
    engine.set_language("ara")
    assert len(first) == 1
    assert engine.feed(silence(0.1)) == []
    assert engine.scores[0] > 0.5


def test_an_unknown_language_is_refused_and_the_old_one_stays() -> None:
    engine = Engine(Bands())
    with pytest.raises(KwsError, match="tlh is not among ara, eng"):
        engine.set_language("tlh")
    assert engine.language == "ara"


def test_samples_that_are_no_numbers_are_silence_and_counted(stream: Wave) -> None:
    bad = stream.astype(np.float64)
    bad[[100, 50_000, 90_000]] = np.nan, np.inf, 1e300
    zeroed = np.where(np.isin(np.arange(len(bad)), [100, 50_000, 90_000]), 0, stream)
    spotter, clean = Bands(), Bands()
    engine = Engine(spotter)
    found = hear(engine, bad, constant(1_000))  # type: ignore[arg-type]
    assert found == hear(Engine(clean), zeroed, constant(160_000))
    np.testing.assert_array_equal(spotter.views, clean.views)
    assert engine.non_finite == 3


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 4), np.float32), np.zeros(4, np.int16), np.float32(0)]
)
def test_samples_must_be_mono_floating_point(samples: Wave) -> None:
    with pytest.raises(KwsError, match="mono and floating-point"):
        Engine(Bands()).feed(samples)


def test_counters_and_level() -> None:
    engine = Engine(Bands(), hop_seconds=0.1)
    assert engine.level == QUIETEST
    engine.feed(np.full(4_000, 0.1, np.float32))
    assert (engine.decisions, engine.seconds) == (2, 0.25)
    assert engine.level == pytest.approx(-20)
    engine.feed(silence(0.25))
    assert engine.level == QUIETEST


def test_a_threshold_replaces_that_of_every_language() -> None:
    engine = Engine(Bands(), threshold=1.0)
    assert hear(engine, np.r_[tone(400), silence(1)], constant(999)) == []
    engine.reset()
    engine.set_language("eng")
    assert hear(engine, np.r_[tone(400), silence(1)], constant(999)) == []


def test_reset_begins_another_stream(stream: Wave) -> None:
    engine = Engine(Bands())
    first = hear(engine, stream, constant(700))
    engine.reset()
    assert hear(engine, stream, constant(700)) == first


@pytest.mark.parametrize("hop", [0.0, -1.0, 1.5, 1e9, float("nan")])
def test_an_impossible_hop_is_refused(hop: float) -> None:
    with pytest.raises(KwsError, match="hop"):
        Engine(Bands(), hop_seconds=hop)


def test_a_hop_is_at_most_a_view_of_the_base() -> None:
    """Between two views further apart, sound would not be heard."""

    class Listening(Bands):
        def __init__(self, view: int) -> None:
            super().__init__()
            self.view = view

        def hop_scorer(self, hop: int) -> WindowScorer:
            return WindowScorer(self, self.view)

    assert Engine(Listening(32_000), hop_seconds=1.5).hop == 24_000
    assert Engine(Listening(8_000), hop_seconds=0.5).hop == 8_000
    with pytest.raises(KwsError, match=r"between one sample and one view, not 0\.9 s"):
        Engine(Listening(8_000), hop_seconds=0.9)


def test_memory_does_not_grow_with_the_stream() -> None:
    class Deaf(Bands):
        def scores(self, view: Wave) -> Wave:
            return np.array([0, 0, 1], np.float32)

    engine, block = Engine(Deaf()), silence(0.08)
    for _ in range(20):
        engine.feed(block)
    tracemalloc.start()
    for _ in range(500):
        engine.feed(block)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < block.nbytes * 20  # of 500 blocks fed


def test_engines_that_share_a_bank_hear_each_its_own_language(stream: Wave) -> None:
    """Block by block in turn, as each would alone."""
    bank, alone = Bands(), [hear(Engine(Bands()), stream, constant(160_000))]
    ara, eng = Engine(bank), Engine(bank)
    eng.set_language("eng")
    found: list[list[Detection]] = [[], []]
    for start in range(0, len(stream), 4_000):
        for engine, events in zip((ara, eng), found, strict=True):
            events += engine.feed(stream[start : start + 4_000])
    for engine, events in zip((ara, eng), found, strict=True):
        events += engine.flush()
    assert found[0] == alone[0]
    assert {event.language for event in found[1]} == {"eng"}
    assert [event.time for event in found[1]] == [event.time for event in found[0]]


def test_a_language_whose_adapter_was_replaced_is_heard_when_it_is_chosen_again() -> None:
    bank = Bands()
    engine = Engine(bank)
    engine.set_language("eng")
    bank.set_adapter("ara")  # as a bank does whose active adapter is deleted
    engine.set_language("eng")
    assert bank.active_adapter == "eng"
    (event,) = engine.feed(np.r_[tone(400), silence(0.5)])
    assert (event.language, event.keyword) == ("eng", "bass")


def test_an_adapter_that_takes_the_place_of_the_one_heard_brings_its_words_and_thresholds() -> None:
    bank = Bands()
    engine = Engine(bank)
    engine.set_language("eng")
    bank.words["eng"] = ("tuba", "flute", "_silence_")  # fewer
    (event,) = engine.feed(np.r_[tone(400), silence(0.5)])
    assert event.keyword == "tuba"
    bank.config = DetectorConfig(threshold=1.0)
    engine.set_language("eng")
    assert engine.labels == ("tuba", "flute", "_silence_")
    assert engine.feed(np.r_[tone(400), silence(0.5)]) == []


def test_what_was_reported_is_not_reported_again_by_an_adapter_of_the_same_words() -> None:
    bank = Bands()
    engine = Engine(bank)
    sound = np.r_[silence(0.5), tone(400, 3.0)]
    end = round(1.6 * SAMPLE_RATE)
    assert [event.keyword for event in engine.feed(sound[:end])] == ["low"]
    bank.config = replace(CONFIG, threshold=CONFIG.threshold * 0.9)
    engine.set_language("ara")
    assert engine.feed(sound[end:]) == []


@pytest.mark.parametrize("seconds", [-1.0, 61.0, float("nan")])
def test_a_tail_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(KwsError, match="the tail must be 0 to 60 seconds"):
        Engine(Bands(), tail_seconds=seconds)


def test_of_the_stream_before_nothing_is_heard_after_a_reset() -> None:
    """Neither in the view, nor in the hop that was being filled, nor as a level."""
    spotter = Bands()
    engine = Engine(spotter)
    engine.feed(tone(400, 0.99))
    engine.reset()
    assert engine.level == QUIETEST
    engine.feed(silence(0.08))
    assert engine.decisions == 1
    assert not spotter.views[-1].any()


def test_what_was_reported_before_a_reset_is_heard_in_the_stream_after_it() -> None:
    engine = Engine(Bands())
    sound = np.r_[tone(400), silence(0.5)]
    assert len(engine.feed(sound)) == 1
    engine.set_language("eng")
    engine.reset()
    engine.set_language("ara")
    assert [event.keyword for event in engine.feed(sound)] == ["low"]


def test_a_short_word_at_the_very_end_is_heard_in_the_silence_after_it() -> None:
    """As many decisions as a detector waits for unless it is told otherwise."""
    spotter = Bands()
    spotter.config = DetectorConfig()
    engine = Engine(spotter)
    assert engine.feed(np.r_[silence(0.95), tone(400, 0.05)]) == []
    assert [event.keyword for event in engine.flush()] == ["low"]
