"""The commands as people call them: what they print, where, and with which exit code."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from apps.progress import note
from apps.recordings import MARGIN
from audio_data.augment import AugmentConfig
from audio_data.clips import SPLITS
from kws.adapter import MODEL, load_adapter, read_adapter_config, save_adapter
from kws.base import load_base
from kws.config import SAMPLE_RATE, FeatureConfig
from kws.files import read_json
from models.registry import build

Kws = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).resolve().parent.parent

ADAPT_KEYS = [
    "language",
    "method",
    "budget",
    "spent_parameters",
    "head_parameters",
    "stored_bytes",
    "sites",
    "validation_accuracy",
    "seconds",
]
EVALUATE_KEYS = [
    "accuracy",
    "count",
    "per_word",
    "per_speaker",
    "worst_speaker",
    "unknown_false_accept_rate",
    "silence_false_accept_rate",
]


def succeed(kws: Kws, *arguments: object) -> Any:
    """Run with ``--json``: one object on standard output, nothing else there."""
    code, out, err = kws(*arguments, "--json")
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def fail(kws: Kws, code: int, *arguments: object) -> str:
    """Run what cannot be done: one line on standard error, nothing on standard output."""
    found, out, err = kws(*arguments)
    assert (found, out) == (code, ""), err
    assert err.startswith("kws: ")
    assert err.count("\n") == 1, err
    return err


def said(tiny: Path, name: str) -> Any:
    """What the command that made ``tiny/<name>`` printed."""
    return json.loads((tiny / f"{name}.json").read_text(encoding="utf-8"))


def rows(spoken: Path, language: str, split: str) -> list[dict[str, str]]:
    with spoken.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["language"] == language]
    return [row for row in found if row["split"] == split]


def record(path: Path, frequency: float, seconds: float = 0.5) -> Path:
    """A tone that swells and fades, as a recording of a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.4 * np.sin(2 * np.pi * frequency * time) * np.sin(np.pi * time / seconds)
    soundfile.write(path, wave, SAMPLE_RATE)
    return path


# --- the whole way --------------------------------------------------------------------------------


def test_pretraining_makes_a_base(tiny: Path) -> None:
    printed, base = said(tiny, "base"), load_base(tiny / "base", build)
    assert base.config.language == printed["language"] == "en"
    assert base.config.labels == ("no", "stop", "yes", "_unknown_", "_silence_")
    assert base.config.sha256 == printed["sha256"]
    assert printed["tau"] == 1
    assert printed["parameters"] == sum(p.numel() for p in base.network.parameters())


@pytest.mark.parametrize(
    ("name", "language", "method"), [("de", "de", "swr"), ("es", "es", "last")]
)
def test_adapting_prints_what_was_promised(
    tiny: Path, name: str, language: str, method: str
) -> None:
    printed, adapter = said(tiny, name), load_adapter(tiny / name)
    assert list(printed) == ADAPT_KEYS
    assert (printed["language"], printed["method"]) == (language, method)
    assert printed["budget"] == "10%"
    assert printed["spent_parameters"] == len(adapter.deltas) <= 883
    assert printed["head_parameters"] == adapter.head_weight.size + adapter.head_bias.size == 165
    assert printed["stored_bytes"] == (tiny / name / MODEL).stat().st_size
    assert tuple(printed["sites"]) == adapter.config.sites
    assert adapter.config.base_language == "en"
    assert adapter.config.licences == ("synthetic, eSpeak NG",)


def test_few_bits_own_more_in_as_many_bytes(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """The file keeps the budget, and is heard as it was measured."""
    language = ["--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn = ["--method", "even", "--steps", 8, "--budget", "1200B"]
    spent = []
    for bits in (16, 8, 4):
        out = tmp_path / str(bits)
        printed = succeed(kws, "adapt", *language, *learn, "--bits", bits, "--out", out)
        assert printed["stored_bytes"] == (out / MODEL).stat().st_size <= 1_200
        found = succeed(kws, "evaluate", *language, "--adapter", out, "--split", "validation")
        assert found["accuracy"] == pytest.approx(printed["validation_accuracy"])
        spent.append(printed["spent_parameters"])
    assert spent == sorted(spent)
    assert spent[0] < spent[2]


def test_languages_in_sequence_build_on_one_another(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """The first is left as it was, and the second works by itself."""
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--steps", 8, "--method", "cacl"]
    first, second = tmp_path / "de", tmp_path / "es"
    succeed(kws, *learn, "--filter", "language=de", "--out", first)
    before = (first / MODEL).read_bytes()
    spanish = ["--filter", "language=es", "--budget", "300", "--after", first]
    printed = succeed(kws, *learn, *spanish, "--out", second)
    assert (first / MODEL).read_bytes() == before
    earlier = read_adapter_config(first).spent_parameters
    assert 0 < earlier <= 883
    assert earlier < printed["spent_parameters"] <= earlier + 300
    assert read_adapter_config(second).training["earlier_parameters"] == earlier
    heard = ["--base", tiny / "base", "--data", spoken, "--filter", "language=es"]
    succeed(kws, "evaluate", *heard, "--adapter", second)


@pytest.mark.parametrize(
    ("method", "after", "message"),
    [
        ("swr", "de", "--method swr builds on no language before; leave out --after"),
        ("cacl", "de", "was made by swr; cacl builds on its own kind"),
        ("cacl", "nowhere", "does not exist; is"),
    ],
)
def test_what_cannot_be_built_on_is_refused(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, method: str, after: str, message: str
) -> None:
    code = 2 if "--" in message or "kind" in message else 1
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=es"]
    chosen = ["--method", method, "--after", tiny / after, "--out", tmp_path / "out"]
    assert message in fail(kws, code, *learn, *chosen)
    assert not (tmp_path / "out").exists()


def test_a_causal_base_takes_languages_and_streams(kws: Kws, spoken: Path, tmp_path: Path) -> None:
    """Every command hears what comes before a word, and none anything that comes later."""
    data = ["--data", spoken, "--filter", "language=de"]
    base, adapter = tmp_path / "base", tmp_path / "de"
    trained = succeed(kws, "pretrain", *data, "--tau", 1, "--epochs", 1, "--causal", "--out", base)
    config = load_base(base, build).config
    assert config.causal
    language = ["--data", spoken, "--filter", "language=es"]
    succeed(kws, "adapt", "--base", base, *language, "--steps", 8, "--out", adapter)
    found = succeed(kws, "evaluate", "--base", base, *data, "--split", "validation")
    assert found["accuracy"] == pytest.approx(trained["validation_accuracy"])
    succeed(kws, "evaluate", "--base", base, "--adapter", adapter, *language)
    (clip,) = rows(spoken, "es", "test")[:1]
    code, _, err = kws("detect", spoken.parent / clip["path"], "--base", base, "--adapter", adapter)
    assert code == 0, err


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize(("name", "language"), [(None, "en"), ("de", "de"), ("es", "es")])
def test_evaluating_prints_what_was_promised(
    kws: Kws, spoken: Path, tiny: Path, name: str | None, language: str, split: str
) -> None:
    adapter = ["--adapter", tiny / name] if name else []
    command = ["evaluate", "--base", tiny / "base", *adapter, "--data", spoken]
    found = succeed(kws, *command, "--filter", f"language={language}", "--split", split)
    clips = rows(spoken, language, split)
    assert list(found) == EVALUATE_KEYS
    assert found["count"] == len(clips) > 0
    assert set(found["per_word"]) == {row["word"] for row in clips}
    assert set(found["per_speaker"]) == {row["speaker"] for row in clips}
    right = sum(word["accuracy"] * word["count"] for word in found["per_word"].values())
    assert found["accuracy"] == pytest.approx(right / len(clips))
    worst = min(person["accuracy"] for person in found["per_speaker"].values())
    assert found["worst_speaker"]["accuracy"] == worst
    for rate in ("unknown_false_accept_rate", "silence_false_accept_rate"):
        assert 0 <= found[rate] <= 1


def test_validation_is_measured_with_the_stored_numbers(kws: Kws, spoken: Path, tiny: Path) -> None:
    """What ``adapt`` prints is what ``evaluate`` finds in the files."""
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", spoken]
    found = succeed(kws, *command, "--filter", "language=de", "--split", "validation")
    assert found["accuracy"] == said(tiny, "de")["validation_accuracy"]


def test_what_filters_select_is_evaluated(kws: Kws, spoken: Path, tiny: Path) -> None:
    """One split, one person, one word; nothing must be left to train on."""
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", spoken]
    command += ["--filter", "language=de"]
    whole = succeed(kws, *command)
    assert succeed(kws, *command, "--filter", "split=test") == whole
    who, *_ = whole["per_speaker"]
    one = succeed(kws, *command, "--filter", f"speaker={who}")
    assert one["per_speaker"] == {who: whole["per_speaker"][who]}
    one = succeed(kws, *command, "--filter", "word=nein")
    assert one["per_word"] == {"nein": whole["per_word"]["nein"]}
    error = fail(kws, 2, *command, "--filter", "split=test", "--split", "validation")
    assert "no validation recordings of de, only test" in error


def test_one_person_of_a_plain_folder_is_evaluated_where_training_put_them(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Who trained is not tested because the others are left out."""
    for row in (row for split in SPLITS for row in rows(spoken, "de", split)):
        path = tmp_path / row["word"] / f"{row['speaker']}_{Path(row['path']).name}"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(spoken.parent / row["path"], path)
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", tmp_path]
    command += ["--language", "de", "--speaker-pattern", "^([^_]+)_"]
    people = {split: succeed(kws, *command, "--split", split)["per_speaker"] for split in SPLITS}
    assert sum(map(len, people.values())) == 6
    (trained, *_), (tested, *_) = people["train"], people["test"]
    found = succeed(kws, *command, "--filter", f"speaker={tested}")
    assert found["per_speaker"] == {tested: people["test"][tested]}
    error = fail(kws, 2, *command, "--filter", f"speaker={trained}")
    assert "no test recordings of de, only train" in error


def test_a_table_for_people(kws: Kws, spoken: Path, tiny: Path) -> None:
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    code, out, _ = kws(*command)
    assert code == 0
    assert f"over {len(rows(spoken, 'en', 'test'))} clips" in out
    assert all(word in out for word in ("yes", "no", "stop"))


def test_closed_measures_keywords_alone(kws: Kws, spoken: Path, tiny: Path) -> None:
    """Also a network that knows unknown and silence: it is only asked which keyword it is."""
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    whole, closed = succeed(kws, *command), succeed(kws, *command, "--closed")
    assert closed["unknown_false_accept_rate"] is None
    assert closed["silence_false_accept_rate"] is None
    assert closed["count"] == whole["count"]
    assert closed["accuracy"] >= whole["accuracy"]


def test_trained_closed_is_closed(kws: Kws, spoken: Path, tiny: Path, tmp_path: Path) -> None:
    """With or without ``--closed`` when it is evaluated."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    options = ["--method", "head", "--epochs", 1, "--out", tmp_path, "--closed"]
    assert succeed(kws, *command, *options)["head_parameters"] == 3 * 33
    assert load_adapter(tmp_path).config.labels == ("ja", "links", "nein")
    command = ["evaluate", "--base", tiny / "base", "--adapter", tmp_path, "--data", spoken]
    found = [
        succeed(kws, *command, "--filter", "language=de", *closed) for closed in ([], ["--closed"])
    ]
    assert found[0] == found[1]
    assert found[0]["unknown_false_accept_rate"] is None


def test_detections_are_objects_of_four_fields(kws: Kws, spoken: Path, tiny: Path) -> None:
    """At a threshold that any sound reaches; in the language that is asked for."""
    clip = spoken.parent / rows(spoken, "es", "test")[0]["path"]
    command = ["detect", clip, "--base", tiny / "base"]
    command += ["--adapter", tiny / "de", "--adapter", tiny / "es"]
    for language, chosen in (
        ("es", []),
        ("de", ["--language", "de"]),
        ("en", ["--language", "en"]),
    ):
        code, out, err = kws(*command, *chosen, "--threshold", 0.01, "--json")
        assert (code, err) == (0, "")
        (event,) = map(json.loads, out.splitlines())
        assert list(event) == ["keyword", "language", "score", "time"]
        assert event["language"] == language
        assert 0.01 <= event["score"] <= 1
        assert 0 < event["time"] <= soundfile.info(clip).duration + 0.72
    assert kws(*command, "--threshold", 1, "--json") == (0, "", "")


def test_two_adapters_of_one_language_are_told_apart_by_name(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """A folder's path may hold an equals sign."""
    clip = spoken.parent / rows(spoken, "de", "test")[0]["path"]
    other = shutil.copytree(tiny / "de", tmp_path / "a=b")
    command = ["detect", clip, "--base", tiny / "base", "--threshold", 0.01, "--json"]
    command += ["--adapter", tiny / "de"]
    for options, language in (
        ([], "words"),
        (["--language", "words"], "words"),
        (["--language", "de"], "de"),
    ):
        code, out, err = kws(*command, "--adapter", f"words={other}", *options)
        assert (code, err) == (0, "")
        assert json.loads(out.splitlines()[0])["language"] == language
    error = fail(kws, 2, *command, "--adapter", other)
    assert f"two adapters are called de; call one otherwise: --adapter NAME={other}" in error
    assert "not of the form NAME=FOLDER" in fail(kws, 2, *command, "--adapter", "=x")
    error = fail(kws, 2, *command, "--language", "xx")
    assert "no adapter for 'xx' is loaded; there are en, de" in error


def test_adapters_are_listed(kws: Kws, tiny: Path) -> None:
    found = succeed(kws, "adapters", "list", tiny)
    assert [(row["language"], row["method"]) for row in found] == [("de", "swr"), ("es", "last")]
    for row in found:
        assert Path(row["folder"]) == tiny / row["language"]
        assert row["stored_bytes"] == said(tiny, row["language"])["stored_bytes"]
        assert row["base_sha256"] == said(tiny, "base")["sha256"]
    code, out, err = kws("adapters", "list", tiny)
    assert (code, err) == (0, "")
    assert "swr" in out
    assert "last" in out


def test_an_adapter_that_nobody_measured_is_listed(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """In a folder of any name."""
    adapter = load_adapter(tiny / "de")
    config = replace(adapter.config, metrics={})
    save_adapter(tmp_path / "[my] words", replace(adapter, config=config), "")
    (row,) = succeed(kws, "adapters", "list", tmp_path)
    assert row["validation_accuracy"] is None
    code, out, err = kws("adapters", "list", tmp_path)
    assert (code, err) == (0, "")
    assert "[my]" in out


def test_a_damaged_adapter_does_not_hide_the_others(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "de", tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "adapter_config.json").write_text("{")
    code, out, err = kws("adapters", "list", tmp_path, "--json")
    assert code == 0
    assert [row["language"] for row in json.loads(out)] == ["de"]
    assert "bad" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sites", [1, 2]),
        ("base_sha256", None),
        ("base_sha256", 5),
        ("spent_parameters", "x"),
        ("stored_bytes", None),
        ("metrics", None),
    ],
)
def test_a_setting_of_another_type_does_not_hide_the_other_adapters(
    kws: Kws, tiny: Path, tmp_path: Path, name: str, value: object
) -> None:
    shutil.copytree(tiny / "de", tmp_path / "good")
    bad = shutil.copytree(tiny / "es", tmp_path / "bad") / "adapter_config.json"
    raw = json.loads(bad.read_text(encoding="utf-8"))
    bad.write_text(json.dumps(raw | {name: value}), encoding="utf-8")
    code, out, err = kws("adapters", "list", tmp_path)
    assert code == 0
    assert "swr" in out
    assert "last" not in out
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("report", [None, {}, {"accuracy": "much"}])
def test_a_measure_that_is_none_is_listed_as_none(
    kws: Kws, tiny: Path, tmp_path: Path, report: object
) -> None:
    """With a language that would mean something to a terminal."""
    adapter = load_adapter(tiny / "de")
    config = replace(adapter.config, language="[/red]x", metrics={"validation": report})
    save_adapter(tmp_path, replace(adapter, config=config), "")
    assert succeed(kws, "adapters", "list", tmp_path)[0]["validation_accuracy"] is None
    code, out, err = kws("adapters", "list", tmp_path)
    assert (code, err) == (0, "")
    assert "[/red]x" in out


def test_runs_leave_readable_pictures_and_cards(tiny: Path) -> None:
    pictures = ["base/learning_curves.png", "base/confusion.png"]
    pictures += [f"de/{name}.png" for name in ("learning_curves", "confusion", "sites")]
    for name in pictures:
        data = (tiny / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert min(width, height) > 300, name
    card = (tiny / "de" / "README.md").read_text(encoding="utf-8")
    for fact in ("swr", "10%", "synthetic, eSpeak NG", said(tiny, "base")["sha256"]):
        assert fact in card
    assert "Learnt from 24 recordings of the words by 4 made voices" in card
    assert "Made by `kws adapt --base" in card
    assert not list(tiny.rglob("checkpoint*"))
    assert not list(tiny.rglob("*.tmp"))


def test_figures_are_kept_in_the_card_where_that_is_asked_for(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Of clips and of streams, beside what was there."""
    adapter = Path(shutil.copytree(tiny / "de", tmp_path / "de"))
    heard = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    heard += ["--adapter", adapter]
    before = (adapter / "adapter_config.json").read_bytes()
    succeed(kws, *heard)
    assert (adapter / "adapter_config.json").read_bytes() == before
    found = succeed(kws, *heard, "--keep")
    picture = ["--out", tmp_path / "det.png", "--hours", 0.005, "--per-word", 1]
    stream = succeed(kws, *heard, "--stream", *picture, "--keep")
    metrics = read_adapter_config(adapter).metrics
    assert metrics["test"] == found | {"made": 6}
    assert metrics["stream"]["points"] == stream["points"]
    assert "validation" in metrics
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert f"Accuracy {found['accuracy']:.1%} over 6 test clips of made voices" in card
    assert "On streams of test people, 0.01 hours without keywords" in card
    assert "Not proven" not in card


def test_absolute_paths_in_a_manifest_work(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """Wherever the manifest lies."""
    with spoken.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(row | {"path": str(spoken.parent / row["path"])} for row in found)
    shutil.copytree(spoken.parent / "noise", tmp_path / "noise")
    command = ["evaluate", "--base", tiny / "base", "--filter", "language=en"]
    moved = succeed(kws, *command, "--data", tmp_path / "list.csv")
    assert moved == succeed(kws, *command, "--data", spoken)


def test_other_words_of_the_bases_own_language(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    options = ["--keywords", "stop", "--method", "head", "--epochs", 1, "--out", tmp_path]
    assert succeed(kws, *command, *options)["language"] == "en"
    assert load_adapter(tmp_path).config.labels == ("stop", "_unknown_", "_silence_")
    clip = spoken.parent / rows(spoken, "en", "test")[0]["path"]
    code, out, err = kws(
        "detect",
        clip,
        "--base",
        tiny / "base",
        "--adapter",
        tmp_path,
        "--threshold",
        0.01,
        "--json",
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["keyword"] == "stop"


def test_the_smallest_budget_that_holds_the_head_is_enough(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """It is named when a budget in bytes is too small, and one byte less is too small."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--method", "random", "--epochs", 1, "--out", tmp_path / "out", "--budget"]
    error = fail(kws, 2, *command, "300B")
    assert "300B cannot hold the head; the smallest that can is" in error
    smallest = int(error.split()[-1].removesuffix("B"))
    assert f"is {smallest}B" in fail(kws, 2, *command, f"{smallest - 1}B")
    assert not (tmp_path / "out").exists()
    found = succeed(kws, *command, f"{smallest}B")
    assert found["stored_bytes"] == smallest
    assert found["spent_parameters"] == 0
    assert found["sites"] == []


def test_the_margin_is_as_wide_as_augmentation_reaches() -> None:
    """The farthest shift at the highest speed still finds recorded sound."""
    config = AugmentConfig()
    assert config.shift + config.speed * FeatureConfig().view / 2 <= MARGIN


# --- thin data ------------------------------------------------------------------------------------


def test_a_word_with_one_clip_is_trained_with_a_note(kws: Kws, tmp_path: Path) -> None:
    for person in range(6):
        record(tmp_path / "data" / "low" / f"p{person}_0.wav", 300 + 10 * person)
        record(tmp_path / "data" / "high" / f"p{person}_0.wav", 2_000 + 10 * person)
    record(tmp_path / "data" / "[red]once" / "p0_0.wav", 700)
    command = ["pretrain", "--data", tmp_path / "data", "--language", "x-tone", "--tau", 1]
    command += ["--speaker-pattern", "(p[0-9])_", "--epochs", 1, "--out", tmp_path / "out"]
    code, out, err = kws(*command, "--json")
    assert code == 0, err
    assert json.loads(out)["language"] == "x-tone"
    assert "note: word '[red]once' has 1 clip; record at least 3, one each" in err
    labels = load_base(tmp_path / "out", build).config.labels
    assert labels == ("[red]once", "high", "low", "_unknown_", "_silence_")


def test_one_speaker_alone_is_trained_with_a_note(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
        record(tmp_path / "data" / "high" / f"me_{take}.wav", 2_000 + 10 * take)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data"]
    command += ["--speaker-pattern", "(me)_", "--language", "x-tone", "--method", "head"]
    code, out, err = kws(*command, "--epochs", 1, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["language"] == "x-tone"
    assert "note: 1 speaker only: splits share people" in err


# --- wrong use and bad input ----------------------------------------------------------------------


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write a manifest of one clip, with fields changed; None leaves the column out."""

    def write(**changes: str | None) -> Path:
        row: dict[str, str | None] = {
            "path": str(record(tmp_path / "clip.wav", 400)),
            "language": "en",
            "word": "yes",
            "speaker": "ann",
            "split": "train",
        }
        row = {name: value for name, value in (row | changes).items() if value is not None}
        with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerow(row)
        return tmp_path / "manifest.csv"

    return write


@pytest.mark.parametrize(
    ("code", "changes", "message"),
    [
        (1, {"speaker": None}, "lacks the column(s) speaker"),
        (1, {"split": "training"}, "row 2 has split 'training'; allowed are train, validation"),
        (1, {"path": "gone.wav"}, "gone.wav, which does not exist"),
        (1, {"word": " "}, "row 2 has an empty word"),
        (2, {"split": "test"}, "no clip is left to train on"),
    ],
)
def test_manifests_with_mistakes(
    kws: Kws,
    manifest: Callable[..., Path],
    tmp_path: Path,
    code: int,
    changes: dict[str, str | None],
    message: str,
) -> None:
    command = ["pretrain", "--data", manifest(**changes), "--out", tmp_path / "out", "--tau", 1]
    assert message in fail(kws, code, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, ["--filter", "language=xx"], "language=xx selects nothing"),
        (2, ["--filter", "colour=red"], "no column 'colour' to filter by"),
        (2, ["--filter", "language"], "'language' is not of the form column=value"),
        (2, [], "several languages (de, en, es)"),
        (2, ["--filter", "language=en", "--keywords", "yes,maybe"], "no recordings of maybe"),
        (2, ["--filter", "language=en", "--keywords", ""], "names no word; write ja,nein"),
        (2, ["--filter", "language=en", "--keywords", " ,"], "names no word; write ja,nein"),
        (2, ["--filter", "language=en", "--tau", "2.5"], "bcresnet with tau 1, 1.5, 2, 3, 6, 8"),
        (2, ["--filter", "language=en", "--epochs", "0"], "0 is not in the range"),
        (2, ["--filter", "language=en", "--lr", "0"], "0 is not in the range"),
        (2, ["--filter", "language=en", "--lr", "nan"], "nan is no number"),
        (2, ["--filter", "language=en", "--lr", "inf"], "inf is no number"),
        (2, ["--filter", "language=en", "--seed", "-1"], "-1 is not in the range"),
        (2, ["--filter", "language=en", "--surprise"], "No such option"),
        (2, ["--language", "en"], "says the language itself"),
    ],
)
def test_pretraining_that_cannot_be(
    kws: Kws, spoken: Path, tmp_path: Path, code: int, options: list[str], message: str
) -> None:
    command = ["pretrain", "--data", spoken, "--out", tmp_path / "out", *options]
    assert message in fail(kws, code, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, ["--method", "ia3"], "'ia3' is not one of"),
        (2, ["--budget", "ten"], "'ten' is no budget; write 10%, 900 (parameters) or 2KiB"),
        (2, ["--budget", "120%"], "120% is not between 0% and 100%"),
        (2, ["--method", "swr", "--epochs", "3"], "trains in stages"),
        (2, ["--lr", "nan"], "nan is no number"),
        (2, ["--lr", "inf"], "inf is no number"),
        (2, ["--base", "gone"], "gone"),
    ],
)
def test_adapting_that_cannot_be(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, code: int, options: list[str], message: str
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    if "--base" in options:
        code = 1  # a folder that is not there is a failure to read it
    assert message in fail(kws, code, *command, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["detect", "a.wav", "--base", "b", "--threshold"],
        ["listen", "--base", "b", "--threshold"],
        ["listen", "--base", "b", "--exec-seconds"],
        ["collect", "--language", "de", "--words", "ja", "--speaker", "s", "--seconds"],
    ],
)
def test_what_is_no_number_is_refused(kws: Kws, command: list[str]) -> None:
    assert "nan is no number" in fail(kws, 2, *command, "nan")


def test_a_gpu_that_is_not_there_is_refused(kws: Kws, spoken: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    command = ["pretrain", "--data", spoken, "--filter", "language=en", "--device", "cuda"]
    assert "choose --device cpu" in fail(kws, 2, *command, "--out", tmp_path / "out")


def test_words_that_are_not_in_the_recordings_cannot_be_evaluated(
    kws: Kws, spoken: Path, tiny: Path
) -> None:
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    assert "no recordings of no, stop, yes in de" in fail(kws, 2, *command)


def test_an_adapter_of_another_base_is_refused(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """By every command that takes one, with both languages in the sentence."""
    base = tmp_path / "base"
    command = ["pretrain", "--data", spoken, "--filter", "language=es", "--tau", 1, "--epochs", 1]
    succeed(kws, *command, "--out", base)
    chosen = ["--base", base, "--adapter", tiny / "de"]
    clip = spoken.parent / rows(spoken, "de", "test")[0]["path"]
    for command in (
        ["evaluate", *chosen, "--data", spoken, "--filter", "language=de"],
        ["detect", clip, *chosen],
    ):
        error = fail(kws, 1, *command)
        assert "the adapter for de belongs to another base (en " in error
        assert ", not es " in error


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing", "another"])
def test_damaged_adapters_are_refused(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, damage: str
) -> None:
    adapter = tmp_path / "de"
    shutil.copytree(tiny / "de", adapter)
    data = (adapter / MODEL).read_bytes()
    other = (tiny / "es" / MODEL).read_bytes()
    changed = {"truncated": data[:-20], "foreign": b"RIFF" + data, "another": other, "missing": b""}
    (adapter / MODEL).write_bytes(changed[damage])
    if damage == "missing":
        (adapter / MODEL).unlink()
    clip = spoken.parent / rows(spoken, "de", "test")[0]["path"]
    error = fail(kws, 1, "detect", clip, "--base", tiny / "base", "--adapter", adapter)
    assert str(adapter / MODEL) in error


@pytest.mark.parametrize("name", ["gone.wav", "empty.wav", "text.wav", "cut.wav"])
def test_a_broken_recording_is_named_and_the_others_are_heard(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, name: str
) -> None:
    clip = spoken.parent / rows(spoken, "en", "test")[0]["path"]
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "cut.wav").write_bytes(clip.read_bytes()[:2_000])
    command = ["detect", tmp_path / name, clip, "--base", tiny / "base", "--threshold", 0.01]
    code, out, err = kws(*command, "--json")
    assert code == 1
    assert err.startswith(f"kws: {tmp_path / name} ")
    assert err.count("\n") == 1
    assert json.loads(out)["file"] == str(clip)


def test_a_broken_recording_stops_training_before_it_begins(
    kws: Kws, manifest: Callable[..., Path], tmp_path: Path
) -> None:
    path = manifest()
    data = (tmp_path / "clip.wav").read_bytes()
    (tmp_path / "clip.wav").write_bytes(data[: len(data) // 2])
    code, out, err = kws("pretrain", "--data", path, "--tau", 1, "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"kws: {tmp_path / 'clip.wav'} is truncated or damaged")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["pretrain", "adapt", "evaluate"])
def test_a_folder_that_cannot_be_written_is_told_before_any_sound_is_read(
    kws: Kws, tiny: Path, manifest: Callable[..., Path], tmp_path: Path, command: str
) -> None:
    """The recording is broken, but that is not what is said."""
    path, file = manifest(), tmp_path / "file"
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    file.touch()
    options = {"pretrain": ["--tau", 1], "adapt": ["--base", tiny / "base"]}
    options["evaluate"] = ["--base", tiny / "base", "--stream"]
    error = fail(kws, 1, command, "--data", path, *options[command], "--out", file / "in" / "out")
    assert "cannot write in " in error
    assert str(file) in error


def test_without_a_command_help_is_shown(kws: Kws) -> None:
    code, out, err = kws()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert "pretrain" in err
    code, out, err = kws("--help")
    assert (code, err) == (0, "")
    assert "pretrain" in out
    assert "No such command" in fail(kws, 2, "sing")


def test_a_run_that_diverges_leaves_nothing_that_blocks_another(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--method", "largest", "--epochs", 4, "--out", tmp_path]
    code, out, err = kws(*command, "--lr", 1e30)
    assert (code, out) == (1, "")
    assert "the loss became" in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


LONG = "long" * 80  # longer than a name may be


def test_names_that_are_too_long_are_no_files(
    kws: Kws, manifest: Callable[..., Path], tmp_path: Path
) -> None:
    command = ["pretrain", "--tau", 1, "--out", tmp_path / "out", "--data"]
    assert f"{LONG} does not exist" in fail(kws, 1, *command, LONG)
    assert f"{LONG}.csv cannot be read: " in fail(kws, 1, *command, f"{LONG}.csv")
    for path in (f"{LONG}.wav", f"{LONG}/a.wav"):
        error = fail(kws, 1, *command, manifest(path=path))
        assert f"row 2 names {tmp_path / path}, which does not exist" in error
    assert f"{LONG}: File name too long" in fail(kws, 1, "adapters", "list", LONG)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_output_that_cannot_be_written_is_said_in_one_line(tiny: Path, form: list[str]) -> None:
    command = [sys.executable, "-c", "from apps.cli import main; main()", "adapters", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, str(tiny), *form],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "kws: standard output: No space left on device\n")


def test_a_note_is_one_line_with_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    note("a[/b]c, [red]x, :smile: and\n" + "much " * 40)
    assert capsys.readouterr().err == "note: a[/b]c, [red]x, :smile: and " + "much " * 40 + "\n"


def test_an_error_is_one_line_whatever_is_in_it(kws: Kws, tmp_path: Path) -> None:
    """A name with a line break, for instance."""
    fail(kws, 2, "adapters", "list", tmp_path / "two\nlines")


def test_a_mask_is_stored_in_a_bit_a_weight(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    printed = succeed(
        kws, *command, "--steps", 8, "--method", "piggyback", "--out", tmp_path / "de"
    )
    assert read_json(tmp_path / "de" / "adapter_config.json")["training"]["bits"] == 1
    whole = printed["spent_parameters"] // 8
    assert whole < printed["stored_bytes"] < whole + 2 * printed["head_parameters"] + 500
