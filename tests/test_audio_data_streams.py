"""Streams are the same from the same seed, honest about people and noise, and exact in time."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audio_data.clips import HALVES, SPLITS, SYNTHETIC, Clip, Split
from audio_data.decode import BLOCK as SAMPLES
from audio_data.decode import decode
from audio_data.long import LongRecordings
from audio_data.manifest import read_manifest, write_manifest
from audio_data.material import Material, read_material
from audio_data.place import speech_span
from audio_data.streams import (
    PEAK,
    VARIES,
    Chunk,
    Ledger,
    NegativeStream,
    Noise,
    PositiveStream,
    _at_level,
    _cycle,
)
from kws.config import SAMPLE_RATE, Where
from kws.errors import KwsError, UsageError
from kws.stream_metrics import AFTER, Spoken

Wave = NDArray[np.float32]
LABELS = ("high", "low", "_unknown_", "_silence_")
BLOCK = SAMPLES // SAMPLE_RATE  # whole seconds that are read at once


def tone(frequency: float, seconds: float = 0.4) -> Wave:
    """A tone between two silences of a fifth of a second."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.pad(0.3 * np.sin(2 * np.pi * frequency * time), 3_200).astype(np.float32)


def write(path: Path, wave: Wave, rate: int = SAMPLE_RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two keywords and other words in two languages, by one person a split; two noises."""
    folder = tmp_path_factory.mktemp("tones")
    pitches = {("x", "low"): 300, ("x", "high"): 2_000, ("x", "odd"): 700, ("y", "tall"): 3_000}
    pitches |= {("y", "LOW"): 310, ("y", "low tide"): 320}
    clips = [
        Clip(
            path=write(folder / f"{language}/{word}/{split}_{take}.wav", tone(pitch + 9 * take)),
            word=word,
            language=language,
            speaker=f"{language}-{split}",
            split=split,
        )
        for (language, word), pitch in pitches.items()
        for split in SPLITS
        for take in range(2)
    ]
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        spectrum = np.fft.rfft(rng.normal(0, 0.1, 20 * SAMPLE_RATE))
        spectrum[: len(spectrum) // 2] = 0  # all above 4 kHz, where no word is
        write(folder / "noise" / f"{name}.wav", np.fft.irfft(spectrum).astype(np.float32))
    write_manifest(folder / "manifest.csv", clips)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def material(corpus: Path) -> Material:
    return read_material(corpus, LABELS, filters={"language": ["x"]})["validation"]


def joined(stream: Iterable[Chunk]) -> tuple[Wave, list[Spoken]]:
    chunks = list(stream)
    return np.concatenate([wave for wave, _ in chunks]), [w for _, truth in chunks for w in truth]


def rms(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


# --- who is heard ---------------------------------------------------------------------------------


def test_a_half_holds_its_own_people_alone(corpus: Path) -> None:
    halves = read_material(corpus, LABELS, filters={"language": ["x"]})
    for name, found in halves.items():
        assert {clip.speaker for clip in found.keywords} == {f"x-{name}"}
        assert {clip.speaker for clip in found.others} == {f"x-{name}", f"y-{name}"}
        assert len(found.keywords) == 4


def test_what_is_spelt_like_a_keyword_is_no_negative(corpus: Path, material: Material) -> None:
    """In any language, in any case, and inside a phrase."""
    assert {clip.word for clip in material.others} == {"odd", "tall"}
    assert {clip.word for clip in material.keywords} == {"low", "high"}


def test_without_other_languages_the_own_words_remain(corpus: Path) -> None:
    found = read_material(corpus, LABELS, filters={"language": ["x"], "word": ["low", "high"]})
    assert {clip.word for clip in found["test"].others} == {"odd", "tall"}
    alone = read_material(corpus.parent / "x", LABELS, speaker_pattern="^([a-z]+)_")
    assert {clip.word for clip in alone["test"].others} == {"odd"}


def test_recordings_without_a_split_stay_where_training_has_them(tmp_path: Path) -> None:
    clips = [
        Clip(
            path=write(tmp_path / f"{word}/{who}.wav", tone(400)),
            word=word,
            language="x" if word in ("low", "high") else "y",
            speaker=f"p{who}",
        )
        for word in ("low", "high", "tall")
        for who in range(12)
    ]
    write_manifest(tmp_path / "manifest.csv", clips)
    halves = read_material(tmp_path, LABELS, filters={"language": ["x"]})
    people = [{c.speaker for c in (*h.keywords, *h.others)} for h in halves.values()]
    assert not people[0] & people[1]
    assert len(people[0] | people[1]) < 12


def test_who_was_learnt_from_is_in_neither_half(tmp_path: Path) -> None:
    """Whoever is recorded since then, and in other words too."""
    for word in ("low", "high", "odd"):
        for who in ("one", "two", "three", "four"):
            write(tmp_path / "x" / word / f"{who}_0.wav", tone(400))
    pattern = "^([a-z]+)_"
    free = read_material(tmp_path / "x", LABELS, speaker_pattern=pattern)
    (learnt, *_) = {clip.speaker for clip in free["test"].keywords}
    others = sorted({"one", "two", "three", "four"} - {learnt})
    known: dict[str, Where] = {str(learnt): "train", others[0]: "validation", others[1]: "test"}
    beside = [
        Clip(path=write(tmp_path / "y" / f"{who}.wav", tone(500)), word="tall", speaker=who)
        for who in ("one", "two", "three", "four", *(f"p{number}" for number in range(30)))
    ]
    write_manifest(tmp_path / "y" / "manifest.csv", beside)

    def heard() -> set[str | None]:
        found = read_material(
            tmp_path / "x", LABELS, speaker_pattern=pattern, known=known, others=tmp_path / "y"
        )
        return {c.speaker for half in found.values() for c in (*half.keywords, *half.others)}

    stranger = min(name for name in heard() - {"one", "two", "three", "four"} if name)
    known[stranger] = "train"
    assert not {learnt, stranger} & heard()
    halves = read_material(tmp_path / "x", LABELS, speaker_pattern=pattern, known=known)
    assert {others[0]} <= {clip.speaker for clip in halves["validation"].keywords}
    known[str(learnt)] = "several"  # of their recordings some were learnt from
    assert not {learnt, stranger} & heard()
    known |= dict.fromkeys(("one", "two", "three", "four"), "several")
    assert {"one", "two", "three", "four"} & heard()  # nobody else says the words
    assert stranger not in heard()
    some, none = (
        read_material(tmp_path / "x", LABELS, speaker_pattern=pattern, known=people)["test"].doubts
        for people in (known, {})
    )
    told = "1 of the people who say the keywords was learnt from: others may be missed more often"
    assert some == [told, *none]


@pytest.mark.parametrize(
    ("pattern", "split_by"),
    [(None, "files"), ("^(one)", "files"), ("^([a-z]+)_", "people")],
)
def test_halves_say_whether_people_or_only_files_are_apart(
    pattern: str | None, split_by: str, tmp_path: Path
) -> None:
    """A single person is in all splits, and so keeps nothing apart."""
    folder = tmp_path / "x"
    for word in ("low", "high", "odd"):
        for who in ("one", "two", "three", "four"):
            name = f"{who}_0.wav" if pattern != "^(one)" else f"one_{who}.wav"
            write(folder / word / name, tone(400))
    for half in read_material(folder, LABELS, speaker_pattern=pattern).values():
        assert half.split_by == split_by
        told = " ".join(half.doubts)
        assert ("the same people may be in training" in told) == (split_by == "files")
        assert ("1 of 1 recordings of other words do not say" in told) == (pattern is None)


def test_people_stay_where_training_had_them_and_that_is_told(corpus: Path) -> None:
    """Whatever a manifest says by now."""
    known: dict[str, Split] = {"x-test": "validation", "x-validation": "test", "y-test": "train"}
    halves = read_material(corpus, LABELS, filters={"language": ["x"]}, known=known)
    for half, found in halves.items():
        assert {known[str(clip.speaker)] for clip in found.keywords} == {half}
        assert found.doubts[0].startswith("'x-test', 'x-validation' were in another split")


@pytest.mark.parametrize(
    ("words", "made", "told"),
    [
        ({"low"}, 2, ["synthetic voices say 2 recordings of the keywords: people cause"]),
        (
            {"low", "high", "tall"},
            4,
            [
                "synthetic voices say the keywords: people cause more misses",
                "synthetic voices say 2 of 4 recordings of the other words, with fewer false",
            ],
        ),
        ({"odd", "tall"}, 0, ["only synthetic voices say the other words: people cause"]),
    ],
)
def test_synthetic_voices_are_told_of(
    corpus: Path, words: set[str], made: int, told: list[str], tmp_path: Path
) -> None:
    whole = read_manifest(corpus)
    clips = [replace(c, licence=SYNTHETIC if c.word in words else None) for c in whole]
    write_manifest(tmp_path / "manifest.csv", clips)
    found = read_material(tmp_path, LABELS, filters={"language": ["x"]})["test"]
    assert found.synthetic == made
    assert [note[: len(start)] for note, start in zip(found.doubts, told, strict=True)] == told


def test_few_of_each_keyword(corpus: Path) -> None:
    found = read_material(corpus, LABELS, filters={"language": ["x"]}, per_word=1)["test"]
    assert sorted(clip.word for clip in found.keywords) == ["high", "low"]
    assert len(found.others) == 4


def test_a_half_without_keywords_is_refused(corpus: Path) -> None:
    chosen = {"language": ["x"], "split": ["train", "test"]}
    with pytest.raises(UsageError, match="there are no validation recordings of x"):
        read_material(corpus, LABELS, filters=chosen)
    (alone,) = read_material(corpus, LABELS, filters=chosen, halves=["test"]).values()
    assert alone.half == "test"


def test_halves_hear_other_stretches_of_a_noise_and_none_that_is_trained_on(tmp_path: Path) -> None:
    """Samples that grow tell where in the recording they stood."""
    ramp = np.linspace(0, 1, 20 * SAMPLE_RATE).astype(np.float32)
    path = write(tmp_path / "ramp.wav", ramp)
    rng = np.random.default_rng(0)
    drawn = {half: Noise([path], half).draw(10 * SAMPLE_RATE, rng) for half in HALVES}
    spans = {half: (wave.min() / rms(wave), wave.max() / rms(wave)) for half, wave in drawn.items()}
    for half, low in zip(HALVES, (0.8, 0.9), strict=True):
        high, middle = low + 0.1, low + 0.05
        assert spans[half] == pytest.approx((low / middle, high / middle), abs=0.01)


def test_noise_shorter_than_what_is_drawn_goes_to_and_fro(tmp_path: Path) -> None:
    """So that no step is louder than any in the recording."""
    wave = np.sin(np.arange(10 * SAMPLE_RATE) / 50).astype(np.float32)
    noise = Noise([write(tmp_path / "slow.wav", wave)], "test")
    drawn = noise.draw(5 * SAMPLE_RATE, np.random.default_rng(0))
    assert len(drawn) == 5 * SAMPLE_RATE
    assert np.abs(np.diff(drawn)).max() < 0.03
    assert rms(drawn) == pytest.approx(1, abs=0.02)


def test_short_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 10 seconds"):
        Noise([write(tmp_path / "short.wav", tone(400))], "test")


def test_without_noise_some_is_made() -> None:
    first, second = (Noise([], half).draw(1_000, np.random.default_rng(0)) for half in HALVES)
    assert rms(first) > 0
    assert not np.array_equal(first, second)


# --- negatives ------------------------------------------------------------------------------------


def test_negatives_last_as_long_as_asked_and_hold_no_keyword(material: Material) -> None:
    wave, truth = joined(NegativeStream(material, 90.5))
    assert len(wave) == 90.5 * SAMPLE_RATE
    assert truth == []
    assert np.abs(wave).max() <= PEAK + 1e-6
    assert wave.dtype == np.float32


@pytest.mark.parametrize("kind", ["negative", "positive"])
def test_streams_repeat_bit_for_bit(material: Material, kind: str) -> None:
    def make(seed: int) -> NegativeStream | PositiveStream:
        if kind == "negative":
            return NegativeStream(material, 60, seed)
        return PositiveStream(material, 10, seed)

    stream = make(1)
    first = joined(stream)
    for again in (stream, make(1)):
        assert np.array_equal(joined(again)[0], first[0])
        assert joined(again)[1] == first[1]
    other = joined(make(2))[0]
    assert not np.array_equal(other[:SAMPLE_RATE], first[0][:SAMPLE_RATE])


def test_a_ratio_is_the_same_however_it_is_written(material: Material) -> None:
    first, second = (joined(PositiveStream(material, ratio))[0] for ratio in (10, 10.0))
    assert np.array_equal(first, second)


def test_memory_holds_a_piece_at_a_time(material: Material) -> None:
    """A stream of a thousand hours begins at once."""
    wave, _ = next(iter(NegativeStream(material, 3_600_000)))
    assert len(wave) < 60 * SAMPLE_RATE


def test_what_repeats_is_told(material: Material) -> None:
    """Four recordings of 0.8 s and two stretches of 2 s are all there is."""
    stream = NegativeStream(material, 240)
    for _ in stream:
        pass
    assert stream.ledger.distinct_seconds == pytest.approx({"words": 3.2, "noise": 4.0})
    assert 140 < stream.ledger.played_seconds < 200  # noise under words has no time of its own


def test_what_is_cut_off_at_the_end_is_not_counted(material: Material) -> None:
    """A stretch is made as a whole."""
    stream = NegativeStream(material, 2)
    (heard,) = (len(wave) for wave, _ in stream)
    assert heard == 2 * SAMPLE_RATE
    assert 0.8 <= stream.ledger.played_seconds <= 2.0


def test_every_word_is_played_before_one_comes_again(material: Material) -> None:
    """At other levels each time."""
    stream = NegativeStream(material, 30)
    next(iter(stream))
    played = [
        seconds for (kind, _), (seconds, _) in stream.ledger._played.items() if kind == "words"
    ]
    assert len(played) == 4
    assert max(played) - min(played) <= 0.81


def test_then_they_come_in_another_order(tmp_path: Path) -> None:
    """So that each has other neighbours."""
    clips = [Clip(path=tmp_path / f"{number}.wav", word="odd") for number in range(20)]
    played = list(islice(_cycle(clips, np.random.default_rng(0)), 40))
    assert {clip.path for clip in played[:20]} == {clip.path for clip in played[20:]}
    assert played[:20] != played[20:]


def decibels(wave: Wave) -> float:
    return 20 * float(np.log10(rms(wave)))


@pytest.fixture(scope="module")
def stretches(material: Material) -> dict[str, list[Wave]]:
    """Of a quarter of an hour without keywords, by what the ledger says of them."""
    stream = NegativeStream(material, 900)
    found: dict[str, list[Wave]] = {"words": [], "noise": [], "silence": []}
    before = {"words": 0.0, "noise": 0.0}
    for wave, _ in stream:
        now = dict.fromkeys(before, 0.0)
        for (kind, _), (seconds, _) in stream.ledger._played.items():
            now[kind] += seconds
        (new,) = [kind for kind in now if now[kind] > before[kind]] or ["silence"]
        found[new].append(wave)
        before = now
    return found


def test_most_of_a_negative_stream_is_speech(stretches: dict[str, list[Wave]]) -> None:
    seconds = {kind: sum(map(len, waves)) / SAMPLE_RATE for kind, waves in stretches.items()}
    wanted = {"words": 630, "noise": 180, "silence": 90}
    assert seconds == {kind: pytest.approx(share, abs=25) for kind, share in wanted.items()}


def test_silence_is_digital_or_the_hiss_of_a_quiet_room(stretches: dict[str, list[Wave]]) -> None:
    hiss = [decibels(wave) for wave in stretches["silence"] if wave.any()]
    assert 0 < len(hiss) < len(stretches["silence"])
    assert -80 <= min(hiss) < max(hiss) <= -60


def test_noise_alone_comes_at_many_levels(stretches: dict[str, list[Wave]]) -> None:
    levels = [decibels(wave) for wave in stretches["noise"]]
    assert -51 < min(levels) < -40
    assert -26 < max(levels) < -15


def test_noise_below_words_is_hardly_louder_and_often_much_softer(
    stretches: dict[str, list[Wave]],
) -> None:
    """Words sound a third of the time, all below 4 kHz, noise above it all the time."""
    powers = [np.abs(np.fft.rfft(wave)) ** 2 for wave in stretches["words"][:-1]]
    halves = [(power[: len(power) // 2].sum(), power[len(power) // 2 :].sum()) for power in powers]
    below = [10 * np.log10(words / noise) for words, noise in halves]
    assert min(below) > -8
    assert max(below) > 20


def test_words_that_are_no_keywords_are_said_in_noise(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy, _ = joined(NegativeStream(material, 30))
    draw = Noise.draw

    def quiet(self: Noise, samples: int, *others: Any) -> Wave:
        return draw(self, samples, *others) * (len(others) > 1)  # what has a ledger is no words'

    monkeypatch.setattr(Noise, "draw", quiet)
    clean, _ = joined(NegativeStream(material, 30))
    assert len(clean) == len(noisy)
    assert rms(noisy - clean) > 1e-3


def test_negatives_without_other_words_are_noise_and_silence(corpus: Path) -> None:
    found = read_material(corpus, LABELS, filters={"language": ["x"]})["test"]
    bare = replace(found, others=())
    stream = NegativeStream(bare, 60)
    wave, _ = joined(stream)
    assert len(wave) == 60 * SAMPLE_RATE
    assert set(stream.ledger.distinct_seconds) == {"noise"}


def test_noise_counts_for_the_parts_that_were_heard() -> None:
    """Stretches from anywhere overlap; and what lies below words is no time of its own."""
    ledger = Ledger()
    ledger.add_part("noise", "a", np.arange(0, 2 * SAMPLE_RATE))
    ledger.add_part("noise", "a", np.arange(SAMPLE_RATE, 3 * SAMPLE_RATE))
    assert ledger.distinct_seconds == {"noise": 3.0}
    assert ledger.played_seconds == 4.0


def test_a_ledger_counts_nothing_twice() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.add("words", "a", 1.0, 1.0)
    ledger.add("words", "b", 0.5, 2.0)
    ledger.add("noise", "a", 1.0, 4.0)
    assert ledger.distinct_seconds == {"words": 1.5, "noise": 1.0}
    assert ledger.played_seconds == 4.5


# --- positives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [20.0, 0.0, -6.0])
def test_words_lie_where_the_truth_says_at_the_ratio_asked_for(
    material: Material, snr: float
) -> None:
    """All words are below 4 kHz, and all noise is above."""
    wave, truth = joined(PositiveStream(material, snr))
    assert sorted(word.word for word in truth) == ["high", "high", "low", "low"]
    for word in truth:
        part = wave[round(word.begin * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)]
        power = np.abs(np.fft.rfft(part)) ** 2
        peak, half = int(power.argmax()), len(power) // 2
        if snr > 0:
            pitch = {"low": 300, "high": 2_000}[word.word]
            assert peak / len(part) * SAMPLE_RATE == pytest.approx(pitch, abs=15)
        ratio = 10 * np.log10(power[:half].sum() / power[half:].sum())
        assert ratio == pytest.approx(snr, abs=0.1)
        assert word.end - word.begin == pytest.approx(0.46, abs=0.03)  # 30 ms more at both ends


def test_words_are_far_enough_apart_to_be_told_apart(material: Material) -> None:
    stream = PositiveStream(material, 10)
    wave, truth = joined(stream)
    ends = [0.0, *(word.end for word in truth)]
    begins = [*(word.begin for word in truth), len(wave) / SAMPLE_RATE]
    gaps = np.subtract(begins, ends)
    assert gaps[0] >= 0.8
    assert (gaps[1:-1] > AFTER + 0.8).all()
    assert gaps[-1] > AFTER
    assert len(wave) / SAMPLE_RATE == pytest.approx(stream.expected_seconds, rel=0.25)


def test_half_of_the_keywords_stand_close_to_other_words(material: Material) -> None:
    """Before them a word ends within a third of a second; before the others nothing sounds."""
    wave, truth = joined(PositiveStream(material, 60))
    assert sorted(word.among for word in truth) == [False, False, True, True]
    for word in truth:
        begin, end = round(word.begin * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
        before = wave[begin - round(0.75 * SAMPLE_RATE) : begin]
        loud = np.flatnonzero(np.abs(before) > 0.3 * np.abs(wave[begin:end]).max())
        assert bool(len(loud)) == word.among
        if word.among:
            gap = (len(before) - loud[-1]) / SAMPLE_RATE
            assert 0.05 <= gap <= 0.4  # 30 ms at both ends belong to a word


def test_after_some_keywords_another_word_comes_soon_and_then_nothing(material: Material) -> None:
    """Else what is reported a while after a keyword might be of a word that is none."""
    gaps = []
    for seed in range(4):
        at = 0
        for wave, (word,) in PositiveStream(material, 60, seed):
            loud = np.flatnonzero(np.abs(wave) > 0.1 * np.abs(wave).max())
            assert (len(wave) - loud[-1]) / SAMPLE_RATE > AFTER + 0.1
            after = loud[loud > round(word.end * SAMPLE_RATE) - at]
            gaps += [(after[0] + at) / SAMPLE_RATE - word.end] if len(after) else []
            at += len(wave)
    assert 0 < len(gaps) < 8  # of sixteen keywords, of which eight are among words
    assert 0.05 <= min(gaps) <= max(gaps) <= 0.4


def test_words_close_to_keywords_are_of_the_same_half(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are no keywords."""
    heard: list[Path] = []

    def overheard(path: Path) -> Wave:
        heard.append(path)
        return decode(path)

    monkeypatch.setattr("audio_data.streams.decode", overheard)
    found = read_material(corpus, LABELS, filters={"language": ["x"]})["test"]
    joined(PositiveStream(found, 10))
    others = set(heard) - {clip.path for clip in found.keywords} - set(found.noise)
    assert others
    assert others <= {clip.path for clip in found.others}


def test_without_other_words_keywords_stand_alone(material: Material) -> None:
    bare = replace(material, others=())
    assert not any(word.among for word in joined(PositiveStream(bare, 10))[1])


def test_levels_change_from_word_to_word(material: Material) -> None:
    wave, truth = joined(PositiveStream(material, 30))
    parts = [wave[round(w.begin * SAMPLE_RATE) : round(w.end * SAMPLE_RATE)] for w in truth]
    levels = 20 * np.log10([rms(part) for part in parts])
    assert levels.max() - levels.min() > 3
    assert levels.min() > -34
    assert np.abs(wave).max() <= PEAK + 1e-6


def test_noise_louder_than_its_word_stays_within_full_scale(material: Material) -> None:
    wave, _ = joined(PositiveStream(material, -20))
    assert 0.9 * PEAK < np.abs(wave).max() <= PEAK + 1e-6


def test_noise_is_there_while_the_word_is_said(corpus: Path, tmp_path: Path) -> None:
    """Not only before or after it, where a recording of noise falls silent."""
    found = read_material(corpus, LABELS, filters={"language": ["x"]})["test"]
    bursts = np.random.default_rng(0).normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32)
    bursts[np.arange(len(bursts)) // SAMPLE_RATE % 3 > 0] = 0  # one second of three
    noise = (write(tmp_path / "bursts.wav", bursts),)
    bursty = replace(found, others=(), noise=noise)
    wave, truth = joined(PositiveStream(bursty, 0))
    for word in truth:
        part = wave[round(word.begin * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)]
        assert rms(part) > 0.01
        assert np.abs(wave).max() <= PEAK + 1e-6


# --- long recordings ------------------------------------------------------------------------------


def test_long_recordings_are_heard_whole_a_piece_at_a_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0, 0.1, (BLOCK + 5) * SAMPLE_RATE).astype(np.float32)
    write(tmp_path / "a.wav", first)
    write(tmp_path / "deep" / "b.flac.wav", tone(400, 2.6))
    (tmp_path / "notes.txt").write_text("no sound")
    stream = LongRecordings(tmp_path)
    chunks = [wave for wave, truth in stream if not truth]
    assert max(map(len, chunks)) <= SAMPLES
    assert np.array_equal(np.concatenate(chunks), np.concatenate([first, tone(400, 2.6)]))
    assert stream.expected_seconds == BLOCK + 8
    assert stream.ledger.distinct_seconds == {"recordings": BLOCK + 8}


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_long_recordings_are_resampled_without_seams(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate * (BLOCK + 1)) / rate
    write(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate)
    wave, _ = joined(LongRecordings(tmp_path / "tone.wav"))
    assert len(wave) == pytest.approx((BLOCK + 1) * SAMPLE_RATE, abs=2)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wave)) / SAMPLE_RATE)
    assert np.abs(wave - expected)[1_000:-1_000].max() < 1e-3


def empty(path: Path) -> Path:
    return write(path, np.zeros(0, np.float32))


def text(path: Path) -> Path:
    path.write_text("no sound at all")
    return path


def broken(path: Path) -> Path:
    return write(path, np.array([0.1, np.nan], np.float32))


@pytest.mark.parametrize(
    ("make", "message"), [(empty, "is empty"), (text, "is not audio"), (broken, "holds NaN")]
)
def test_long_recordings_that_cannot_be_read(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    make(tmp_path / "x.wav")
    with pytest.raises(KwsError, match=message):
        list(LongRecordings(tmp_path))


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, text(tmp_path / "x.txt")):
        with pytest.raises(UsageError, match="holds no recordings"):
            LongRecordings(path)
    with pytest.raises(UsageError, match="gone does not exist"):
        LongRecordings(tmp_path / "gone")


def test_of_noise_that_is_cut_off_only_what_was_heard_counts(material: Material) -> None:
    """Else bounds would rest on more different sound than there was."""
    stream = NegativeStream(replace(material, others=()), 0.5)
    assert sum(len(wave) for wave, _ in stream) == SAMPLE_RATE // 2
    assert stream.ledger.played_seconds == 0.5
    assert stream.ledger.distinct_seconds["noise"] <= 0.6  # parts of a tenth of a second


def test_a_level_is_that_of_the_word_alone() -> None:
    """However much silence a recording has around it."""
    wave = _at_level(np.pad(tone(400), SAMPLE_RATE), -20)
    begin, end = speech_span(wave)
    assert 20 * np.log10(rms(wave[begin:end])) == pytest.approx(-20, abs=0.1)


def test_what_is_laid_in_makes_no_click() -> None:
    """Wherever a recording was cut."""
    wave = _at_level(np.full(SAMPLE_RATE, 0.5, np.float32), -20)
    assert wave[0] == wave[-1] == 0
    assert np.abs(np.diff(wave)).max() < 0.01 * wave.max()


def test_words_close_to_a_keyword_are_about_as_loud(material: Material) -> None:
    wave, truth = joined(PositiveStream(material, 60))
    near = [word for word in truth if word.among]
    assert near
    for word in near:
        begin, end = round(word.begin * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
        before = np.abs(wave[begin - round(0.7 * SAMPLE_RATE) : begin]).max()
        apart = 20 * np.log10(before / np.abs(wave[begin:end]).max())
        assert abs(apart) <= VARIES + 0.5


def test_a_stream_that_begins_anew_counts_anew(material: Material) -> None:
    stream = NegativeStream(material, 60)
    played = []
    for _ in range(2):
        assert sum(len(wave) for wave, _ in stream) == 60 * SAMPLE_RATE
        played.append(stream.ledger.played_seconds)
    assert played[0] == played[1]
