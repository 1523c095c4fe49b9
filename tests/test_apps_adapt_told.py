"""What ``kws adapt`` says of recordings that may not be what was meant."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import Kws, record

from kws.adapter import read_adapter_config


@pytest.mark.parametrize(("limit", "is_told"), [(1.0, False), (-0.1, True)])
def test_what_is_taken_for_a_keyword_is_told(
    kws: Kws,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    is_told: bool,
) -> None:
    """Where there is one word, being right on it is easy."""
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
    monkeypatch.setattr("apps.training.learn.TAKEN", limit)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--method", "head"]
    command += ["--language", "x-tone", "--epochs", 1, "--out", tmp_path / "out"]
    code, _, err = kws(*command)
    assert code == 0, err
    report = read_adapter_config(tmp_path / "out").metrics["validation"]
    told = f"{report['silence_false_accept_rate']:.0%} of the silence in validation is taken"
    assert (told in " ".join(err.split())) == is_told


def test_recordings_that_a_manifest_leaves_out_are_told(
    kws: Kws, tiny: Path, tmp_path: Path
) -> None:
    rows = ["path,language,word,speaker,split"]
    for split in ("train", "validation"):
        for word, pitch in (("low", 300), ("high", 2_000)):
            record(tmp_path / "data" / word / f"{split}.wav", pitch)
            rows.append(f"{word}/{split}.wav,x-tone,{word},{split},{split}")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--method", "head"]
    command += ["--closed", "--epochs", 1, "--out"]
    code, _, err = kws(*command, tmp_path / "one")
    assert (code, "not in its manifest" in err) == (0, False), err
    record(tmp_path / "data" / "new" / "1.wav", 900)
    code, _, err = kws(*command, tmp_path / "two")
    told = "holds 1 recording not in its manifest and so not used, such as new/1.wav; to use them, "
    row = "add rows to it: path new/1.wav, language, word new, speaker, split"
    assert (code, told + row in " ".join(err.split())) == (0, True), err
    for name in ("low/train.m4a", "new/2.M4A"):  # of the first a converted one is listed
        (tmp_path / "data" / name).write_bytes(b"phone")
    code, _, err = kws(*command, tmp_path / "three")
    told = "holds 2 recordings not in its manifest and so not used"
    assert (code, told in " ".join(err.split())) == (0, True), err
    assert "to use them, convert them to wav and add rows" in " ".join(err.split())


def test_recordings_without_sound_are_told(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """Of a microphone that was off: the keyword would be learnt as silence."""
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
        record(tmp_path / "data" / "high" / f"me_{take}.wav", 2_000 + 10 * take)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--language", "xx"]
    command += ["--method", "head", "--epochs", 1, "--out"]
    code, _, err = kws(*command, tmp_path / "one")
    assert (code, "almost silent" in err) == (0, False), err
    for take in range(8):
        wave = np.zeros(16_000)
        soundfile.write(tmp_path / "data" / "high" / f"me_{take}.wav", wave, 16_000)
    code, _, err = kws(*command, tmp_path / "two")
    told = (
        r"high/me_\d\.wav \(and \d more\) is almost silent: [^:]* of keywords, or the keyword is "
    )
    assert code == 0
    assert re.search(f"{told}learnt as silence", " ".join(err.split())), err
    _, _, err = kws("evaluate", "--adapter", tmp_path / "two", *command[1:7], "--split", "test")
    assert "almost silent" in err
    assert "learnt as silence" not in err


def test_long_recordings_of_other_words_are_told_and_long_noise_is_not(
    kws: Kws, tiny: Path, tmp_path: Path
) -> None:
    """Of an hour of talk only a second would be an unknown word."""
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
        record(tmp_path / "data" / "_silence_" / f"hum_{take}.wav", 50, 6)
        record(tmp_path / "short" / "talk" / f"{take}.wav", 900 + 10 * take)
        record(tmp_path / "long" / "talk" / f"{take}.wav", 900 + 10 * take, 6)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--language", "xx"]
    command += ["--method", "head", "--epochs", 1, "--out", tmp_path / "out", "--others"]
    code, _, err = kws(*command, tmp_path / "short")
    assert (code, "lasts more than" in err) == (0, False), err
    code, _, err = kws(*command, tmp_path / "long")
    told = re.search(
        r"long/talk/\d\.wav \(and \d more\) lasts more than 5 s:", " ".join(err.split())
    )
    assert (code, bool(told)) == (0, True), err


def test_keywords_that_last_longer_than_a_view_are_told(
    kws: Kws, tiny: Path, tmp_path: Path
) -> None:
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take, 1)
        record(tmp_path / "data" / "high" / f"me_{take}.wav", 2_000 + 10 * take, 2)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--language", "xx"]
    code, _, err = kws(*command, "--method", "head", "--epochs", 1, "--out", tmp_path / "out")
    told = re.findall(r"note: ([^:]*): most recordings last more than", " ".join(err.split()))
    assert (code, told) == (0, ["'high'"]), err


def test_synthetic_words_that_last_longer_than_a_view_are_told(
    kws: Kws, tiny: Path, tmp_path: Path
) -> None:
    """Of them the end is neither learnt nor waited for, however the speech came."""
    phrase = "turn on all the lights in the living room"
    said = ["--language", "en", "--words", f"stop,{phrase}"]
    code, _, err = kws("data", "make", "--out", tmp_path / "made", *said, "--speakers", 6)
    assert code == 0, err
    common = ["--method", "head", "--epochs", 1, "--out", tmp_path / "out"]
    code, _, err = kws("adapt", "--base", tiny / "base", "--data", tmp_path / "made", *common)
    told = re.findall(r"note: ([^:]*): most recordings last more than", " ".join(err.split()))
    assert (code, told) == (0, [f"'{phrase}'"]), err


@pytest.mark.parametrize(("takes", "people", "told"), [(4, 2, True), (5, 15, False)])
def test_a_small_validation_is_told(
    kws: Kws, tiny: Path, tmp_path: Path, takes: int, people: int, told: bool
) -> None:
    """What two people say tells little of others."""
    for person, take, (word, hertz) in product(
        range(people), range(takes), (("low", 300), ("high", 2_000))
    ):
        name = f"who{person:02}_{take}.wav"
        record(tmp_path / "data" / word / name, hertz + 10 * take + person)
    split = tmp_path / "data"
    command = ["adapt", "--base", tiny / "base", "--data", split, "--language", "xx", "--closed"]
    command += ["--speaker-pattern", "^([^_]+)_", "--method", "head", "--epochs", 1]
    code, _, err = kws(*command, "--out", tmp_path / "out")
    assert (code, "its accuracy may be far off" in " ".join(err.split())) == (0, told), err


def test_words_without_recordings_are_told(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
        record(tmp_path / "data" / "high" / f"me_{take}.wav", 2_000 + 10 * take)
    for name in ("noise", "_notes", "middle"):
        (tmp_path / "data" / name).mkdir()
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--language", "xx"]
    code, _, err = kws(*command, "--method", "head", "--epochs", 1, "--out", tmp_path / "out")
    told = f"note: no recordings are in {tmp_path / 'data' / 'middle'}, so there is no such word;"
    assert (code, told in err) == (0, True), err
