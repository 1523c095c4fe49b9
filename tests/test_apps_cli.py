"""The commands as a whole, on the smallest base and speech made here."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import soundfile
from helpers import Kws, fail, record, rows, said, succeed

from apps.cli import COMMANDS
from apps.training.recordings import MARGIN, Recordings
from audio_data.augment import SPEC_WIDTHS, AugmentConfig
from kws.base import load_base
from kws.config import FeatureConfig
from kws.errors import KwsError
from models.registry import build

ROOT = Path(__file__).resolve().parent.parent


def test_pretraining_makes_a_base(tiny: Path) -> None:
    printed, base = said(tiny, "base"), load_base(tiny / "base", build)
    assert base.config.language == printed["language"] == "en"
    assert base.config.labels == ("no", "stop", "yes", "_unknown_", "_silence_")
    assert base.config.sha256 == printed["sha256"]
    assert printed["tau"] == 1
    assert printed["parameters"] == sum(p.numel() for p in base.network.parameters())


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


@pytest.mark.parametrize("group", [[], ["adapters"], ["bench"], ["data"], ["data", "get"]])
def test_help_says_what_each_command_does(kws: Kws, group: list[str]) -> None:
    """In whole sentences."""
    code, out, _ = kws(*group, "--help")
    commands = " ".join(out.partition("\nCommands:")[2].split())
    assert (code, commands.endswith("."), "..." in commands) == (0, True, False), out


def test_every_option_says_what_it_does() -> None:
    def unexplained(command: click.Command) -> list[str]:
        below = command.commands.values() if isinstance(command, click.Group) else ()
        options = [one for one in command.params if isinstance(one, click.Option)]
        own = [option.opts[0] for option in options if not (option.help or option.hidden)]
        return own + [found for one in below for found in unexplained(one)]

    for name in COMMANDS:
        assert not unexplained(getattr(import_module(f"apps.{name}"), name)), name


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
    assert "is empty; name a folder" in fail(kws, 2, *command, "--adapter", "")
    error = fail(kws, 2, *command, "--language", "xx")
    assert "no adapter for 'xx' is loaded; there are en, de" in error


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
    assert "Learnt from 24 recordings of the words by 4 synthetic voices" in card
    assert "Made by `kws adapt --base" in card
    assert not list(tiny.rglob("checkpoint*"))
    assert not list(tiny.rglob("*.tmp"))


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


def test_the_margin_is_as_wide_as_augmentation_reaches() -> None:
    """The farthest shift at the highest speed still finds recorded sound."""
    config = AugmentConfig()
    assert config.shift + config.speed * FeatureConfig().view / 2 <= MARGIN


@pytest.mark.parametrize(("tau", "masks"), [(1, 0), (1.5, 2)])
def test_the_narrowest_base_is_trained_without_masks(
    kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tau: float, masks: int
) -> None:
    """As in the paper of BC-ResNet."""

    def told(self: Recordings, augment: AugmentConfig, **_: object) -> None:
        raise KwsError(f"{augment.masks} masks of {augment.mask_bands} bands at most")

    monkeypatch.setattr(Recordings, "training", told)
    command = ["pretrain", "--data", spoken, "--filter", "language=de", "--tau", tau]
    found = fail(kws, 1, *command, "--out", tmp_path)
    assert found == f"kws: {masks} masks of {SPEC_WIDTHS[tau]} bands at most\n"


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


@pytest.mark.parametrize(
    ("command", "message"),
    [("adapters", "kws: stopped\n"), ("adapt", "to resume what it has begun\n")],
)
def test_a_request_to_terminate_ends_every_command_as_ctrl_c_does(
    kws: Kws, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    """So that each gives back what it took of the terminal."""
    before = signal.getsignal(signal.SIGTERM)
    options = {"adapters": ["list", "x"], "adapt": ["--data", "x"]}[command]
    told = {"adapters": "apps.adapters._configs", "adapt": "apps.adapt.open_base"}[command]
    monkeypatch.setattr(told, lambda *_: signal.raise_signal(signal.SIGTERM))
    code, out, err = kws(command, *options)
    assert (code, out) == (130, "")
    assert err.endswith(message)
    assert signal.getsignal(signal.SIGTERM) is before


def test_who_ends_listening_while_it_loads_ends_it_as_later(
    kws: Kws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("apps.listen.adapters_to_load", terminate)
    assert kws("listen") == (0, "", "")


def test_the_command_line_is_a_module_that_runs() -> None:
    command = [sys.executable, "-m", "apps.cli", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kws, version ")
