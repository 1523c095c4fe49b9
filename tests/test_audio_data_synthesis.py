"""Synthetic speech: it repeats, it resumes, and its test voices are unheard in training."""

import csv
import errno
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audio_data import espeak, synthesis
from audio_data.clips import SPLITS
from audio_data.espeak import accents, language_file, speak, voices
from audio_data.noise import background
from audio_data.synthesis import (
    DEFAULT_WORDS,
    NOISES,
    draw_speakers,
    make_corpus,
    say,
    slug,
    write_noises,
)
from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError

WORDS = {"de": ["ja", "nein"], "cmn": ["停"]}


@pytest.fixture(autouse=True)
def _short_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audio_data.synthesis.NOISE_SECONDS", 0.2)


def rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def heard_seconds(wave: Any) -> float:
    loud = np.flatnonzero(np.abs(wave) > synthesis.AUDIBLE)
    return float(loud[-1] + 1 - loud[0]) / SAMPLE_RATE if len(loud) else 0.0


def pitch_hz(wave: Any) -> float:
    """Fundamental of a vowel: the strongest autocorrelation between 60 and 500 Hz."""
    alike = np.correlate(wave, wave, "full")[len(wave) - 1 :]
    low, high = SAMPLE_RATE // 500, SAMPLE_RATE // 60
    return SAMPLE_RATE / float(low + np.argmax(alike[low:high]))


# eSpeak NG


def test_the_same_words_sound_the_same_whatever_was_said_before() -> None:
    first = speak("nein", "de", variant="f3")
    speak("something long to move every counter", "en", variant="whisper")
    np.testing.assert_array_equal(speak("nein", "de", variant="f3"), first)


def test_speech_does_not_depend_on_the_clock() -> None:
    first = speak("nein", "de", variant="whisper")
    time.sleep(1.1)  # left alone, the library draws its breath from the time in seconds
    np.testing.assert_array_equal(speak("nein", "de", variant="whisper"), first)


def test_speech_is_mono_float32_at_16_khz() -> None:
    wave = speak("nein", "de")
    assert wave.dtype == np.float32
    assert wave.ndim == 1
    assert np.abs(wave).max() <= 1.0
    spectrum = np.abs(np.fft.rfft(wave))
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    assert spectrum[hertz < 1_000].sum() > spectrum[hertz > 4_000].sum()  # not at a wrong rate


def test_a_slower_rate_takes_longer() -> None:
    assert len(speak("rechts", rate=100)) > 1.3 * len(speak("rechts", rate=200))


def test_a_higher_pitch_is_higher() -> None:
    low, high = (pitch_hz(speak("aah", "de", pitch=pitch, range_=0)) for pitch in (20, 80))
    assert high > 1.3 * low


def test_people_differ() -> None:
    said = [speak("nein", "de", variant=name) for name in ("f1", "f2", "m1", "m7")]
    for one, other in combinations(said, 2):
        assert len(one) != len(other) or not np.allclose(one, other, atol=1e-3)


def test_effects_are_no_people() -> None:
    assert {"f1", "f5", "m1", "m8", "croak", "whisper"} <= set(voices().variants)
    assert not {"robosoft3", "Demonic", "announcer", "UniRobot"} & set(voices().variants)


@pytest.mark.parametrize(
    ("tag", "same"),
    [
        ("deu", "de"),
        ("de-AT", "de"),
        ("DE", "de"),
        ("ara", "ar"),
        ("arz", "ar"),
        ("hin", "hi"),
        ("zho", "cmn"),
    ],
)
def test_language_tags_of_either_standard(tag: str, same: str) -> None:
    assert language_file(tag) == language_file(same)


def test_region_follows_a_three_letter_tag() -> None:
    assert language_file("eng_US") == language_file("en-us") != language_file("eng")


def test_dialects_keep_their_own_voice() -> None:
    assert len({language_file(tag) for tag in ("en", "en-us", "es", "es-419", "pt", "pt-br")}) == 6


def test_a_language_is_spoken_in_all_its_accents() -> None:
    assert {"en", "en-us", "en-gb-scotland", "en-029"} <= set(accents("eng"))
    assert accents("es") == ("es", "es-419")
    assert accents("es-MX") == ("es-mx",)  # one alone where it is asked for
    assert accents("cmn") == ("cmn",)  # neither in another script
    assert accents("zho") == ("cmn",)  # nor another language of the same macrolanguage
    assert len({language_file(tag) for tag in accents("en")}) == len(accents("en"))


def test_an_unknown_language_is_told_what_to_do_and_what_is_spelt_like_it() -> None:
    told = r"no voice for '{}': check the tag, or record the words \(kws collect\){}$"
    with pytest.raises(UsageError, match=told.format("wol", "")):
        speak("x", "wol")
    with pytest.raises(UsageError, match=told.format("zgh", "; tags spelt like it: zh")):
        speak("x", "zgh")


def test_an_unknown_variant_names_its_neighbours() -> None:
    with pytest.raises(UsageError, match=r"'f9'.*f5"):
        speak("x", variant="f9")


@pytest.mark.parametrize("wrong", [{"rate": 20}, {"pitch": 100}, {"range_": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must lie between"):
        speak("x", "de", **wrong)  # type: ignore[arg-type]


def test_a_text_that_is_none_is_refused() -> None:
    """What the command line makes of bytes that are no UTF-8."""
    with pytest.raises(UsageError, match=r"'ja\\udcff' is no text"):
        speak("ja\udcff")


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._installed.cache_clear()
    with pytest.raises(KwsError, match="pip install espeakng-loader"):
        espeak._installed()


def test_voices_that_cannot_be_read_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    voices()
    binary, _ = espeak._installed()
    monkeypatch.setattr(espeak, "_installed", lambda: (binary, tmp_path / "none"))
    with pytest.raises(KwsError, match="cannot read its voices"):
        speak("ja", "de")
    monkeypatch.setattr(espeak, "_installed", lambda: (tmp_path / "no.so", tmp_path))
    with pytest.raises(KwsError, match="cannot load eSpeak NG"):
        speak("ja", "de")


def test_threads_take_turns() -> None:
    said = ["ja", "nein", "links", "rechts"] * 4
    alone = [speak(word, "de") for word in said]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda word: speak(word, "de"), said))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("language", DEFAULT_WORDS)
def test_every_default_word_is_a_word_long(language: str) -> None:
    for word in DEFAULT_WORDS[language]:
        for variant in ("f2", "m3"):
            seconds = heard_seconds(speak(word, language, variant=variant, rate=140))
            assert 0.2 <= seconds <= 1.2, (word, variant, seconds)


# The corpus


def test_the_manifest_tells_every_clip(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path, WORDS, speakers=5, takes=2)
    listed = rows(manifest)
    assert len(listed) == 3 * 5 * 2
    assert {(row["language"], row["word"]) for row in listed} == {
        ("de", "ja"),
        ("de", "nein"),
        ("cmn", "停"),
    }
    for row in listed:
        info = soundfile.info(tmp_path / row["path"])
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert info.duration >= 1.0
        assert row["path"].endswith(f"/{slug(row['word'])}/{Path(row['path']).name}")
        assert Path(row["path"]).name.startswith(row["speaker"] + "_")
        assert row["licence"] == "synthetic, eSpeak NG"
    waves = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*/*.wav")}
    assert waves == {str(Path(row["path"])) for row in listed}


def test_every_word_is_in_every_split(tmp_path: Path) -> None:
    listed = rows(make_corpus(tmp_path, WORDS, speakers=3, takes=1))
    for word in ("ja", "nein", "停"):
        assert {row["split"] for row in listed if row["word"] == word} == set(SPLITS)


@pytest.mark.parametrize("count", [3, 4, 12, 100])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_test_voices_are_unheard_in_training(count: int, seed: int) -> None:
    people = draw_speakers(count, seed)
    assert len({person.name for person in people}) == count
    variants = {
        split: {person.variant for person in people if person.split == split} for split in SPLITS
    }
    assert all(variants.values())
    for one, other in combinations(SPLITS, 2):
        assert not variants[one] & variants[other]
    assert set.union(*variants.values()) <= set(voices().variants)


def test_accents_and_voices_are_dealt_apart() -> None:
    """Each accent of two is heard from women and from men, and one speaker has one in all words."""
    learnt = [person for person in draw_speakers(24) if person.split == "train"]
    women = synthesis._WOMEN.split()
    assert len({(person.accent % 2, person.variant in women) for person in learnt}) == 4
    rng = np.random.default_rng
    said = [say("es", "cinco", replace(learnt[0], accent=accent), rng(0)) for accent in range(3)]
    assert not np.array_equal(said[0], said[1])
    np.testing.assert_array_equal(said[0], said[2])


def test_speakers_are_dealt_sixty_twenty_twenty() -> None:
    splits = [person.split for person in draw_speakers(50)]
    assert [splits.count(split) for split in SPLITS] == [30, 10, 10]


def test_speech_lies_inside_the_clip_between_silences(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path, {"de": ["rechts"]}, speakers=6, takes=3, noise=0.0)
    starts = set()
    for row in rows(manifest):
        wave, _ = soundfile.read(tmp_path / row["path"], dtype="float32")
        loud = np.flatnonzero(np.abs(wave) > synthesis.AUDIBLE)
        assert loud[0] > 0.02 * SAMPLE_RATE
        assert loud[-1] < len(wave) - 0.02 * SAMPLE_RATE
        assert 0.2 < np.abs(wave).max() < 0.82
        starts.add(int(loud[0]))
    assert len(starts) > 15  # placed anew each time
    assert max(starts) > 0.3 * SAMPLE_RATE  # and anywhere


def test_a_long_word_makes_a_long_clip(tmp_path: Path) -> None:
    words = {"de": ["Donaudampfschifffahrtsgesellschaft"]}
    row = rows(make_corpus(tmp_path, words, speakers=3, takes=1))[0]
    wave, _ = soundfile.read(tmp_path / row["path"], dtype="float32")
    assert len(wave) > 1.3 * SAMPLE_RATE


def test_noise_lies_under_the_clip_only_where_asked(tmp_path: Path) -> None:
    edges = {}
    for noise in (0.0, 0.05):
        folder = tmp_path / str(noise)
        row = rows(make_corpus(folder, WORDS, speakers=3, takes=1, noise=noise))[0]
        wave, _ = soundfile.read(folder / row["path"], dtype="float32")
        edges[noise] = float(np.abs(wave[:400]).max())
    assert edges[0.0] == 0.0
    assert 0.0 < edges[0.05] < 0.3


def test_a_seed_repeats_bit_for_bit(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_corpus(tmp_path / name, WORDS, speakers=3, takes=1, seed=seed)
    first, same, other = (contents(tmp_path / name) for name in "abc")
    assert first == same
    assert not set(first.values()) & {data for name, data in other.items() if "wav" in name}


def test_a_clip_does_not_depend_on_its_company(tmp_path: Path) -> None:
    make_corpus(tmp_path / "all", WORDS, speakers=3, takes=2)
    make_corpus(tmp_path / "one", {"de": ["nein"]}, speakers=3, takes=1)
    alone, together = (contents(tmp_path / name) for name in ("one", "all"))
    clips = [name for name in alone if name.startswith("de/")]
    assert len(clips) == 3
    assert all(alone[name] == together[name] for name in clips)


def test_an_interrupted_run_has_no_manifest_and_goes_on(tmp_path: Path) -> None:
    make_corpus(tmp_path / "whole", WORDS, speakers=3, takes=2)

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        make_corpus(cut, WORDS, speakers=3, takes=2, progress=stop)
    assert not (cut / "manifest.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in cut.rglob("*.wav")}
    seen: list[tuple[int, int]] = []
    make_corpus(cut, WORDS, speakers=3, takes=2, progress=lambda *step: seen.append(step))
    assert contents(cut) == contents(tmp_path / "whole")
    assert len(kept) == 7 + len(NOISES)
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items())
    assert seen == [(done, 18) for done in range(1, 19)]


def test_a_clip_that_a_power_cut_emptied_is_made_again(tmp_path: Path) -> None:
    make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    whole = contents(tmp_path)
    victim = next(tmp_path.glob("de/*/*.wav"))
    victim.write_bytes(b"")
    make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    assert contents(tmp_path) == whole


def test_a_folder_of_another_corpus_is_refused(tmp_path: Path) -> None:
    make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="other settings"):
        make_corpus(tmp_path, WORDS, speakers=3, takes=1, seed=1)
    assert contents(tmp_path) == before
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(UsageError, match="another corpus"):
        make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    (tmp_path / "manifest.csv").unlink()  # which would hide what is recorded there
    with pytest.raises(UsageError, match="another corpus"):
        make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    with pytest.raises(UsageError, match="another corpus"):
        make_corpus(next(tmp_path.glob("de/*")), WORDS, speakers=3, takes=1)


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        ({}, {}, "no language"),
        ({"de": []}, {}, "'de'"),
        ({"de": ["ja", " "]}, {}, "'de'"),
        ({"de": "ja"}, {}, "'de'"),
        ({"de": ["ja", "nein", "ja"]}, {}, "twice"),
        ({"de": ["ja"], "tlh-x": ["qo"]}, {}, "'tlh-x'"),
        ({"de": ["ja"]}, {"speakers": 2}, "2 speakers"),
        ({"de": ["ja"]}, {"takes": 0}, "takes is 0"),
        ({"de": ["ja"]}, {"seed": -1}, "seed is -1"),
        ({"de": ["ja"]}, {"noise": 1.5}, "noise is 1.5"),
    ],
)
def test_what_cannot_be_made_is_refused_before_writing(
    tmp_path: Path, words: Any, settings: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_corpus(tmp_path / "out", words, **settings)
    assert not (tmp_path / "out").exists()


def test_a_word_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"no sound for '\.\.\.'"):
        make_corpus(tmp_path, {"de": ["ja", "..."]}, speakers=3, takes=1)
    assert not list(tmp_path.iterdir())  # so that it can be called again with other words


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, written = Path.replace, []

    def fill(path: Path, target: Path) -> Path:
        written.append(target)
        if len(written) < 10:
            return replace(path, target)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", fill)
    with pytest.raises(KwsError, match=r"the disk is full; free some space"):
        make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    left = contents(tmp_path)
    assert sum(name.endswith(".wav") for name in left) == 8
    assert not [name for name in left if name.endswith(".tmp") or name == "manifest.csv"]
    monkeypatch.undo()
    monkeypatch.setattr("audio_data.synthesis.NOISE_SECONDS", 0.2)
    assert len(rows(make_corpus(tmp_path, WORDS, speakers=3, takes=1))) == 9


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "de").touch()
    with pytest.raises(KwsError, match=r"cannot write .*write elsewhere"):
        make_corpus(tmp_path, {"de": ["ja"]}, speakers=3, takes=1)


def test_slugs_are_safe_and_unique() -> None:
    words = [
        "si",
        "sí",
        "SI",
        "Sí",
        "停",
        "走",
        "../x",
        "a/b",
        "a b",
        "a-b",
        "ja.",
        "",
        "नहीं",
        "ab\n",
    ]
    slugs = [slug(word) for word in words]
    assert len(set(slugs)) == len(words)
    for name in slugs:
        assert name == name.lower()
        assert all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in name)
        assert name


# Background noises


def test_noises_lie_beside_the_manifest(tmp_path: Path) -> None:
    make_corpus(tmp_path, WORDS, speakers=3, takes=1)
    assert {path.stem for path in (tmp_path / "noise").iterdir()} == set(NOISES)


def test_noises_last_twenty_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    assert [soundfile.info(path).duration for path in write_noises(tmp_path)] == [20.0] * 4


@pytest.mark.parametrize(("kind", "decibels"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_noises_fall_by_their_slope(kind: str, decibels: float) -> None:
    wave = background(kind, 4.0, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    low, high = (power[(hertz > f) & (hertz < 1.2 * f)].mean() for f in (200.0, 3_200.0))
    assert 10 * np.log10(high / low) / 4 == pytest.approx(decibels, abs=0.5)  # 4 octaves


def test_hum_is_mains() -> None:
    wave = background("hum", 2.0, np.random.default_rng(0))
    assert np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)[np.abs(np.fft.rfft(wave)).argmax()] == 50.0


@pytest.mark.parametrize("kind", NOISES)
def test_noises_are_level_and_repeat(kind: str) -> None:
    wave = background(kind, 1.0, np.random.default_rng(5))
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(wave, background(kind, 1.0, np.random.default_rng(5)))
    assert not np.array_equal(wave, background(kind, 1.0, np.random.default_rng(6)))
