"""Calibration sets thresholds, says what they rest on, and touches nothing else."""

import csv
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers import Kws, fail, succeed

from apps.calibrate import faults
from apps.streams.trial import Trial, play
from apps.training.card import base_card
from apps.wiring import open_runtime
from audio_data.material import Material
from kws.adapter import ADAPTER_CONFIG, ADAPTER_MODEL, CARD, load_adapter, save_adapter_config
from kws.base import BASE_MODEL, read_base_config
from kws.calibration import Sweep, sweep
from kws.config import SAMPLE_RATE, Where
from kws.detector import DetectorConfig

KEYS = [
    "language",
    "asked_per_hour",
    "kept",
    "counted_on",
    "negatives",
    "positives",
    "thresholds",
    "notes",
]
WORDS = {"ja", "nein", "links"}
SHORT = ("--hours", 0.005)  # 18 seconds


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the German adapter, to be written to."""
    return Path(shutil.copytree(tiny / "de", tmp_path / "de"))


@pytest.fixture
def command(tiny: Path, spoken: Path, adapter: Path) -> list[object]:
    command = ["calibrate", "--base", tiny / "base", "--adapter", adapter, "--data", spoken]
    return [*command, "--filter", "language=de"]


def said(spoken: Path, split: str) -> int:
    with spoken.open(encoding="utf-8", newline="") as file:
        return sum(
            row["language"] == "de" and row["split"] == split for row in csv.DictReader(file)
        )


def test_thresholds_are_found_for_each_keyword_and_stored(
    kws: Kws,
    spoken: Path,
    adapter: Path,
    command: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")  # nothing here lies below it
    before = (adapter / ADAPTER_MODEL).read_bytes()
    old = load_adapter(adapter).config
    found = succeed(kws, *command, *SHORT, "--snr", 10, "--snr", 0)
    assert list(found) == KEYS
    new = load_adapter(adapter).config
    assert {word: levels.threshold for word, levels in new.detector.keywords.items()} == (
        found["thresholds"]
    )
    assert set(found["thresholds"]) == WORDS
    assert new.metrics["validation"] == old.metrics["validation"]
    kept = dict(new.metrics["calibration"])
    typed = shlex.join(map(str, ["kws", *command, *SHORT, "--snr", 10, "--snr", 0, "--json"]))
    assert kept.pop("command") == typed
    assert kept == {key: found[key] for key in KEYS[1:]}
    assert (adapter / ADAPTER_MODEL).read_bytes() == before
    told = (adapter / CARD).read_text(encoding="utf-8")
    assert f"{found['negatives']['false_accepts']} in " in told
    assert f"- Thresholds by `{typed}`\n" in told
    assert "how often it fires on other sound that goes on for hours" in told
    assert "counted on the sound that they were chosen on" in " ".join(told.split())
    assert found["counted_on"] == "the sound that the thresholds were chosen on"
    assert set(found["positives"]) == {"10", "0"}
    for heard in found["positives"].values():
        assert heard["count"] == said(spoken, "validation")
        assert set(heard["per_keyword"]) == WORDS


def test_recordings_of_validation_people_are_enough(
    kws: Kws, adapter: Path, command: list[object]
) -> None:
    """Nothing else is heard."""
    only = [*command, "--filter", "split=validation", *SHORT]
    assert set(succeed(kws, *only)["thresholds"]) == WORDS


def test_the_bases_own_language_has_thresholds_too(
    kws: Kws,
    tiny: Path,
    spoken: Path,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are the base's, which stays the base of its adapters, and are those that it hears by."""
    monkeypatch.setenv("HOME", "/home/ann")  # nothing here lies below it
    base = Path(shutil.copytree(tiny / "base", tmp_path / "base"))
    before, old = (base / BASE_MODEL).read_bytes(), read_base_config(base)
    assert "how often it fires on speech and noise that goes on for hours" in base_card(old)
    command = "calibrate", "--base", base, "--data", spoken, "--filter", "language=en"
    found = succeed(kws, *command, *SHORT, "--per-word", 1)
    assert found["language"] == "en"
    runtime = open_runtime(base, [adapter])
    detector = runtime.detector_config("en")
    assert {word: levels.threshold for word, levels in detector.keywords.items()} == (
        found["thresholds"]
    )
    assert set(found["thresholds"]) == {"yes", "no", "stop"}
    assert runtime.detector_config("de") == load_adapter(adapter).config.detector
    kept = dict(runtime.config.metrics["calibration"])
    assert kept.pop("command").startswith(f"kws calibrate --base {base} ")
    assert kept == {key: found[key] for key in KEYS[1:]}
    metrics = old.metrics | {"calibration": runtime.config.metrics["calibration"]}
    assert runtime.config == replace(old, detector=detector, metrics=metrics)
    assert (base / BASE_MODEL).read_bytes() == before
    told = (base / CARD).read_text(encoding="utf-8")
    assert told.startswith("# Keyword base: en\n")
    assert "Thresholds for 0.5 false accepts per hour" in told
    assert "how often it fires on speech and noise" not in told
    played = "--stream", "--hours", 0.004, "--per-word", 1, "--out", tmp_path / "det.png"
    *_, stored = succeed(kws, "evaluate", *command[1:], *played)["points"]
    assert stored["aim_per_hour"] is None
    assert stored["thresholds"] == found["thresholds"]


def test_the_rate_is_told_with_its_hours_and_bound(
    kws: Kws, adapter: Path, command: list[object]
) -> None:
    """Eighteen seconds cannot show one false accept in two hours, and that is said."""
    found = succeed(kws, *command, *SHORT)
    negatives = found["negatives"]
    assert negatives["hours"] == pytest.approx(0.005, abs=1e-4)
    assert "words" in negatives["distinct_hours"]
    assert negatives["per_hour"] == pytest.approx(negatives["false_accepts"] / 0.005, rel=0.01)
    assert negatives["bound_hours"] <= 0.005 + 1e-4
    assert negatives["upper_95"] >= 2.99 / negatives["bound_hours"] * 0.99
    if found["kept"]:
        assert negatives["false_accepts"] == 0  # half a one is allowed in an hour
    assert any("too few to show 0.5 per hour" in note for note in found["notes"])
    assert any("it takes 6 hours" in note for note in found["notes"])


def test_calibrating_again_gives_the_same(kws: Kws, adapter: Path, command: list[object]) -> None:
    written = []
    for _ in range(2):
        succeed(kws, *command, *SHORT, "--per-word", 1)
        written.append((adapter / ADAPTER_CONFIG).read_bytes())
    assert written[0] == written[1]


def test_long_recordings_take_the_place_of_the_made_stream(
    kws: Kws, adapter: Path, command: list[object], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * SAMPLE_RATE).astype(np.float32)
    (tmp_path / "long").mkdir()
    soundfile.write(tmp_path / "long" / "a.wav", noise, SAMPLE_RATE)
    chosen = ["--negatives", tmp_path / "long", "--per-word", 1]
    found = succeed(kws, *command, *chosen, "--false-accepts-per-hour", 3_600)
    assert found["negatives"]["hours"] == pytest.approx(12 / 3_600, abs=1e-5)
    assert found["negatives"]["distinct_hours"] == {
        "recordings": pytest.approx(12 / 3_600, abs=1e-5)
    }
    assert found["kept"]
    assert found["positives"]["10"]["among_words"]["count"]
    notes = [note for note in found["notes"] if "no keyword is detected" not in note]
    assert notes == ["synthetic voices say the keywords: people cause more misses"]


def test_keywords_among_the_negatives_are_suspected(
    kws: Kws, command: list[object], spoken: Path
) -> None:
    """Thresholds that no word passes are told, and why that may be."""
    found = succeed(kws, *command, "--negatives", spoken.parent, "--false-accepts-per-hour", 0.001)
    heard = found["positives"]["10"]
    assert heard["misses"] == heard["count"]
    assert any("no keyword is detected at these thresholds" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("deaf", "told"),
    [
        (set(), []),
        ({"ja"}, ["ja: never detected at"]),
        ({"ja", "nein"}, ["ja, nein: never detected at"]),
        (WORDS, ["no keyword is detected at"]),
    ],
)
def test_keywords_that_are_never_heard_are_named(
    kws: Kws,
    command: list[object],
    monkeypatch: pytest.MonkeyPatch,
    deaf: set[str],
    told: list[str],
) -> None:
    monkeypatch.setattr("apps.calibrate._is_never_heard", lambda word, said: word in deaf)
    notes = succeed(kws, *command, *SHORT)["notes"]
    heard = [note.partition(" these")[0].partition(" the t")[0] for note in notes]
    assert [note for note in heard if "detected at" in note] == told


def test_a_table_for_people(kws: Kws, adapter: Path, command: list[object]) -> None:
    code, out, err = kws(*command, *SHORT, "--per-word", 1)
    assert (code, err) == (0, "")
    assert out.startswith("de: thresholds for 0.5 false accepts per hour\n")
    assert "with 95 % confidence\nbut this is the sound that the thresholds were chosen on" in out
    assert "10 dB: " in out
    assert all(f"  {word}\n" in out for word in WORDS)
    assert "note: " in out


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, ["--false-accepts-per-hour", 0], "0.0 is not in the range"),
        (2, ["--false-accepts-per-hour", "nan"], "nan is no number"),
        (2, ["--hours", 0], "0.0 is not in the range"),
        (2, ["--hours", "nan"], "nan is no number"),
        (2, ["--snr", "inf"], "is not in the range"),
        (2, ["--per-word", 0], "0 is not in the range"),
        (2, ["--negatives", "gone"], "gone does not exist; name a recording"),
        (2, ["--negatives", "x", "--hours", 1], "leave --hours out"),
        (2, ["--filter", "language=es"], "of several languages"),
        (2, ["--filter", "word=ja"], "no recordings of 'links', 'nein' in de"),
        (2, ["--filter", "split=train"], "there are no validation recordings of de"),
        (1, ["--adapter", "gone"], "gone/adapter_config.json does not exist"),
        (1, ["--base", "gone"], "gone/base_config.json does not exist"),
        (1, ["--data", "gone.csv"], "gone.csv does not exist"),
    ],
)
def test_what_cannot_be_calibrated_changes_nothing(
    kws: Kws, adapter: Path, command: list[object], code: int, options: list[object], message: str
) -> None:
    before = (adapter / ADAPTER_CONFIG).read_bytes()
    given = [*command, *options]
    if options[0] in command and options[0] != "--filter":  # in its place
        given = [*command]
        given[given.index(options[0]) + 1] = options[1]
    found, out, err = kws(*given)
    assert (found, out) == (code, ""), err
    assert message in err
    assert err.startswith("kws: ")
    assert err.count("\n") == 1
    assert (adapter / ADAPTER_CONFIG).read_bytes() == before
    assert load_adapter(adapter).config.detector == DetectorConfig()


def test_an_adapter_of_another_base_is_refused(
    kws: Kws, adapter: Path, command: list[object]
) -> None:
    raw = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    (adapter / ADAPTER_CONFIG).write_text(
        json.dumps(raw | {"base_sha256": "b" * 64}), encoding="utf-8"
    )
    code, _, err = kws(*command)
    assert code == 1
    assert "the adapter for de belongs to another base" in err


@pytest.mark.parametrize("metrics", [{}, {"validation": {"accuracy": 0.9}}])
def test_what_was_measured_by_others_is_no_hindrance(
    kws: Kws, tiny: Path, adapter: Path, command: list[object], metrics: dict[str, object]
) -> None:
    """The card tells what is there."""
    save_adapter_config(adapter, replace(load_adapter(adapter).config, metrics=metrics))
    succeed(kws, *command, *SHORT)
    card = (adapter / CARD).read_text(encoding="utf-8")
    assert "Thresholds for" in card
    assert "- Accuracy" not in card
    config = replace(read_base_config(tiny / "base"), metrics=metrics)
    assert "- Parameters" not in base_card(config)


def test_too_little_sound_to_choose_on_is_refused(
    kws: Kws, adapter: Path, command: list[object], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(8_000, np.float32), SAMPLE_RATE)
    before = (adapter / ADAPTER_CONFIG).read_bytes()
    code, _, err = kws(*command, "--negatives", tmp_path / "short.wav")
    assert (code, "holds 0.5 s of sound, too little to choose thresholds on" in err) == (2, True)
    assert (adapter / ADAPTER_CONFIG).read_bytes() == before


@pytest.mark.parametrize("change", ["metrics", "detector", "sha256"])
def test_what_others_write_meanwhile_is_not_lost(
    kws: Kws, adapter: Path, command: list[object], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Thresholds of what has been replaced are not stored."""

    def heard(*given: object, **named: object) -> object:
        config = load_adapter(adapter).config
        others: dict[str, object] = {
            "metrics": config.metrics | {"test": config.metrics["validation"]},
            "detector": replace(config.detector, smoothing=7),
        }
        if change == "sha256":
            text = (adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")
            (adapter / ADAPTER_CONFIG).write_text(
                text.replace(config.sha256, "0" * 64), encoding="utf-8"
            )
        else:
            save_adapter_config(adapter, replace(config, **{change: others[change]}))  # type: ignore[arg-type]
        return play(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("apps.calibrate.play", heard)
    if change == "metrics":
        succeed(kws, *command, *SHORT)
        assert {"test", "calibration"} <= load_adapter(adapter).config.metrics.keys()
    else:
        error = fail(kws, 1, *command, *SHORT)
        assert "was changed while it was measured, so nothing was stored" in error


@pytest.mark.parametrize("misses", [3, 2])
def test_where_nothing_is_heard_a_keyword_that_nobody_said_changes_no_advice(misses: int) -> None:
    said = {"ja": {"count": 3, "misses": misses}, "nein": {"count": 0, "misses": 0}}
    thresholds = {"ja": 0.5, "nein": 0.5}
    found = faults(
        {"kept": True, "thresholds": thresholds, "positives": {"10": {"per_keyword": said}}}
    )
    assert len(found) == (2 if misses == 3 else 1)
    assert "nein: said by nobody in validation" in found[0]
    assert all("no keyword is detected at these thresholds" in told for told in found[1:])


def test_thresholds_are_chosen_on_what_validation_people_say(
    kws: Kws, spoken: Path, adapter: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on test people, nor on who was learnt from; and of the seed that is given."""
    with spoken.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["language"] == "de"]
    names = sorted({row["speaker"] for row in rows if row["split"] == "train"})
    free = adapter.parent / "free.csv"  # in which nobody has a split
    with free.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"split": "", "path": spoken.parent / row["path"]} for row in rows)
    config = load_adapter(adapter).config
    known: dict[str, Where] = dict.fromkeys(map(str, names), "train")
    save_adapter_config(adapter, replace(config, people=known, metrics={"stream": {"old": 1}}))
    heard: list[tuple[str, set[str | None], object]] = []

    def listened(*given: object, **named: object) -> Trial:
        material = given[1]
        assert isinstance(material, Material)
        speakers = {clip.speaker for clip in material.keywords}
        heard.append((material.half, speakers, named["seed"]))
        return play(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("apps.calibrate.play", listened)
    given = [free if item == spoken else item for item in command]
    succeed(kws, *given, *SHORT, "--seed", 7)
    ((half, speakers, seed),) = heard
    assert (half, seed) == ("validation", 7)
    assert not speakers & {*names}
    assert "stream" not in load_adapter(adapter).config.metrics  # it was of other thresholds


def test_thresholds_are_chosen_on_every_ratio(
    kws: Kws, command: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []

    def swept(negatives: Any, positives: Any, config: DetectorConfig) -> Sweep:
        heard.append(len(positives))
        return sweep(negatives, positives, config)

    monkeypatch.setattr("apps.calibrate.sweep", swept)
    succeed(kws, *command, *SHORT, "--per-word", 1, "--snr", 10, "--snr", 0)
    assert heard == [2]
