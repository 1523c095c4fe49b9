"""Wrong use and bad input: one sentence that says what to do, and nothing is lost."""

import csv
import errno
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
import torch
from helpers import Kws, fail, record, rows, succeed

from apps import cli
from apps.progress import note, say
from apps.training.stored import pack, refuse_taken
from kws.adapter import ADAPTER_MODEL, Adapter

ROOT = Path(__file__).resolve().parent.parent


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


LONG = "long" * 80  # longer than a name may be


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
        (2, ["--filter", "language=en", "--keywords", "yes,maybe"], "no recordings of 'maybe'"),
        (2, ["--filter", "language=en", "--keywords", ""], "names no word; write ja,nein"),
        (2, ["--filter", "language=en", "--keywords", " ,"], "names no word; write ja,nein"),
        (2, ["--filter", "language=en", "--tau", "2.5"], "bcresnet with tau 1, 1.5, 2, 3, 6, 8"),
        (2, ["--filter", "language=en", "--epochs", "0"], "0 is not in the range"),
        (2, ["--filter", "language=en", "--lr", "0"], "0 is not in the range"),
        (2, ["--filter", "language=en", "--lr", "nan"], "nan is no number"),
        (2, ["--filter", "language=en", "--lr", "inf"], "inf is not in the range"),
        (2, ["--filter", "language=en", "--seed", "-1"], "-1 is not in the range"),
        (2, ["--filter", "language=en", "--seed", str(2**64)], f"{2**64} is not in the range"),
        (2, ["--filter", "language=en", "--surprise"], "No such option"),
        (2, ["--language", "en"], "says the language itself"),
        (2, ["--language", "my tongue"], "'my tongue' is no language; write it as de"),
    ],
)
def test_pretraining_that_cannot_be(
    kws: Kws, spoken: Path, tmp_path: Path, code: int, options: list[str], message: str
) -> None:
    command = ["pretrain", "--data", spoken, "--out", tmp_path / "out", *options]
    assert message in fail(kws, code, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "folder", "message"),
    [
        (["adapt", "--base", "base", "--method", "head"], "base", "holds a base"),
        (["pretrain", "--tau", 1], "base", "holds a base, which is never changed"),
        (["pretrain", "--tau", 1], "de", "holds an adapter"),
        (["adapt", "--base", "base"], "de", "holds an adapter of de, not of en"),
    ],
)
def test_what_is_never_changed_is_not_written_over(
    command: list[object], folder: str, message: str, kws: Kws, tiny: Path, spoken: Path
) -> None:
    command = [tiny / "base" if item == "base" else item for item in command]
    before = {path: path.read_bytes() for path in (tiny / folder).iterdir()}
    found = ["--data", spoken, "--filter", "language=en", "--epochs", 1]
    assert message in fail(kws, 2, *command, *found, "--out", tiny / folder)
    assert before == {path: path.read_bytes() for path in (tiny / folder).iterdir()}


def test_an_adapter_of_other_words_is_not_written_over(
    kws: Kws, tiny: Path, tmp_path: Path
) -> None:
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
    before = (tiny / "de" / "adapter_config.json").read_bytes()
    found = ["--data", tmp_path / "data", "--language", "de", "--epochs", 1, "--out", tiny / "de"]
    told = fail(kws, 2, "adapt", "--base", tiny / "base", *found)
    assert "holds an adapter of other words, " in told
    assert "; name another --out, or delete it" in told
    assert before == (tiny / "de" / "adapter_config.json").read_bytes()
    refuse_taken(tiny / "de", "de", ["NEIN"])  # not so words in other capitals


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
    data = (adapter / ADAPTER_MODEL).read_bytes()
    other = (tiny / "es" / ADAPTER_MODEL).read_bytes()
    changed = {"truncated": data[:-20], "foreign": b"RIFF" + data, "another": other, "missing": b""}
    (adapter / ADAPTER_MODEL).write_bytes(changed[damage])
    if damage == "missing":
        (adapter / ADAPTER_MODEL).unlink()
    clip = spoken.parent / rows(spoken, "de", "test")[0]["path"]
    error = fail(kws, 1, "detect", clip, "--base", tiny / "base", "--adapter", adapter)
    assert str(adapter / ADAPTER_MODEL) in error


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
    error = fail(
        kws, 1, command, "--data", path, *options[command], "--out", file / "in" / "out.png"
    )
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


def test_numbers_too_large_to_store_leave_nothing_that_blocks_another(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*given: Any) -> Adapter:
        packed = pack(*given)
        return replace(packed, head_bias=packed.head_bias + np.float16(np.inf))

    monkeypatch.setattr("apps.training.learn.pack", too_large)
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--method", "largest", "--epochs", 4, "--out", tmp_path]
    assert "numbers too large to store; lower --lr" in fail(kws, 1, *command)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("libcudart.so.13: no such file"), "libcudart.so.13: no such file"),
        (OSError(errno.EPIPE, "Broken pipe"), "standard output: Broken pipe"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), "out: No space left on device"),
    ],
)
def test_output_is_blamed_only_for_what_it_may_have_done(
    monkeypatch: pytest.MonkeyPatch, kws: Kws, error: OSError, told: str
) -> None:
    """A library that cannot be loaded has no name of a file either."""

    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "kws", broken)
    assert fail(kws, 1) == f"kws: {told}\n"


def test_a_note_is_one_line_with_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    note("a[/b]c, [red]x, :smile: and\n" + "much " * 40)
    assert capsys.readouterr().err == "note: a[/b]c, [red]x, :smile: and " + "much " * 40 + "\n"
    say("failed: give it\n" + "more " * 40)
    assert capsys.readouterr().err == "failed: give it " + "more " * 40 + "\n"


def test_an_error_is_one_line_whatever_is_in_it(kws: Kws, tmp_path: Path) -> None:
    """A name with a line break, for instance."""
    fail(kws, 2, "adapters", "list", tmp_path / "two\nlines")


def test_no_name_is_not_the_folder_that_one_is_in(kws: Kws, tiny: Path, spoken: Path) -> None:
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    assert "it is empty; name a file or a folder" in fail(kws, 2, *learn, "--out", "")


def test_the_users_folder_is_meant_where_no_shell_says_so(
    kws: Kws, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ``--out=~/adapter``."""
    monkeypatch.setenv("HOME", str(tiny))
    tone = record(tmp_path / "tone.wav", 300)
    for adapter in ("~/de", "german=~/de"):
        code, _, err = kws("detect", tone, "--base=~/base", f"--adapter={adapter}")
        assert code == 0, err


def test_budgets_are_ignored_aloud_only_where_one_is_given(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn += ["--method", "head", "--epochs", 1, "--out"]
    assert "budget" not in kws(*learn, tmp_path / "one")[2]
    _, _, err = kws(*learn, tmp_path / "two", "--budget", "5%")
    assert "note: head takes no budget; --budget is ignored" in err


def test_a_file_that_may_not_be_read_is_not_to_be_made_again(
    kws: Kws, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny / "base" / "base_config.json"
    assert "give the folder that" in fail(kws, 1, "detect", "a.wav", "--base", config)

    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    told = fail(kws, 1, "detect", "a.wav", "--base", tiny / "base")
    assert f"{config} cannot be read (Permission denied); change its permissions" in told


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"timings": {"ja": {"foo": 1}}}, "there is no 'foo' in Timing, but smoothing, patience"),
        ({"timings": {"ja": 5}}, "Timing must be an object, not 5"),
        ({"keywords": {"ja": [1]}}, "Levels must be an object, not [1]"),
        (None, "it lacks 'detector'"),
    ],
)
def test_settings_that_are_mistyped_are_told_what_there_is(
    kws: Kws, tiny: Path, tmp_path: Path, detector: object, message: str
) -> None:
    adapter = shutil.copytree(tiny / "de", tmp_path / "de")
    path = adapter / "adapter_config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw |= {"detector": detector}
    if detector is None:
        del raw["detector"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    command = ["detect", "a.wav", "--base", tiny / "base", "--adapter", adapter]
    assert message in fail(kws, 1, *command)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("adapt", "kws: stopped; repeat the command to resume what it has begun\n"),
        ("calibrate", "kws: stopped\n"),  # keeps nothing before its end
        ("bench run grid.toml", "kws: stopped; repeat the command to resume what it has begun\n"),
        (
            "bench run grid.toml --again",
            "kws: stopped; repeat it with --only for what is left: --again redoes what is done\n",
        ),
        ("bench run grid.toml --job --groups=0", ""),  # whoever began it says so
        ("bench report", "kws: stopped\n"),
        ("", "kws: stopped\n"),
    ],
)
def test_ctrl_c_says_whether_it_can_be_gone_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, told: str
) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "kws", stop)
    monkeypatch.setattr(sys, "argv", ["kws", *command.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export --adapter a --adapter b --out x.onnx", "--adapter is given 2 times; give it once"),
        ("adapt --tts --language de --words ja --words nein", "--words is given 2 times"),
        ("calibrate --data a --data b --data c", "--data is given 3 times"),
        ("adapt --after a --after b", "--after is given 2 times"),
        ("listen --wav a.wav --wav b.wav", "--wav is given 2 times"),
        ("listen --wav a.wav --save-limit 3", "--save-limit needs --save-dir; add it"),
        ("listen --wav a.wav --exec-seconds 3", "--exec-seconds needs --exec; add it"),
        ("adapt --tts --words ja --language de --licence CC0-1.0", "--licence is for recordings"),
        ("evaluate --data x --keep", "name the adapter whose figures are kept, or the base"),
        ("calibrate --data x", "name the adapter whose thresholds are set, or the base"),
    ],
)
def test_what_would_be_ignored_is_refused(kws: Kws, words: str, message: str) -> None:
    assert message in fail(kws, 2, *words.split())


@pytest.mark.parametrize(
    "words",
    [
        ["listen", "--wav", "a.wav", "--save-dir"],
        ["listen", "--wav"],
        ["listen", "--wav", "a.wav", "--picture"],
        ["collect", "--language", "de", "--words", "ja", "--speaker", "a", "--out"],
        ["adapters", "list"],
        ["bench", "report", "--records"],
        ["detect"],
        ["export", "--out"],
    ],
)
def test_an_empty_name_is_not_the_folder_that_one_is_in(kws: Kws, words: list[str]) -> None:
    """As of a variable that is not set."""
    assert "it is empty; name a file or a folder" in fail(kws, 2, *words, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "foo"], "'foo' is no budget"),
        (["--after", "runs/x"], "--method swr builds on no language before; leave out --after"),
        (["--method", "joint", "--filter", "a=b", "--beside", "a=b"], "--beside repeats --filter"),
    ],
)
def test_what_cannot_be_learnt_so_is_told_before_anything_is_made(
    kws: Kws, tmp_path: Path, options: list[str], message: str
) -> None:
    what = ["--data", "x"] if "joint" in options else ["--tts", "--words", "ja"]
    told = fail(kws, 2, "adapt", *what, "--language", "de", *options, "--out", tmp_path / "out")
    assert message in told
    assert not (tmp_path / "out").exists()


def test_steep_regularisers_are_not_descended_by_sgd(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """Where factors are zero: every rate diverged."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    options = ["--method", "cacl", "--optimizer", "sgd", "--epochs", 4, "--out", tmp_path]
    assert "--method cacl learns by adamw alone" in fail(kws, 2, *command, *options)
