"""A killed run goes on as if it had not been, and as nothing else; a full disk costs the wait."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import Kws, rows, succeed

import models
import policy
from apps.training.stored import source_of
from kws import forms
from kws.adapter import ADAPTER_MODEL
from kws.base import BASE_MODEL
from kws.errors import KwsError
from kws.files import write_tensors

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300  # seconds after which a test gives up; nothing is measured by it


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which does not outlive the test."""
    running = subprocess.Popen(
        [sys.executable, "-c", "from apps.cli import main; main()", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    """Return as soon as the process has written ``path``."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.002)


def kill(running: subprocess.Popen[str]) -> None:
    """As when the power fails."""
    running.kill()
    assert running.wait() == -9, "the run ended before it was killed; give it more epochs"


def run_quietly(kws: Kws, *arguments: object) -> None:
    code, _, err = kws(*arguments)
    assert code == 0, err


def stop(*_: object) -> None:
    raise KwsError("cannot write: the disk is full")


def pretraining(spoken: Path) -> list[object]:
    return ["pretrain", "--data", spoken, "--filter", "language=en", "--tau", 1, "--epochs", 8]


def adapting(spoken: Path, tiny: Path) -> list[object]:
    data = ["--data", spoken, "--filter", "language=de", "--budget", 900]
    return ["adapt", "--base", tiny / "base", *data, "--epochs", 16]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, spoken: Path, kws: Kws) -> bytes:
    """The base of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    run_quietly(kws, *pretraining(spoken), "--out", out)
    return (out / BASE_MODEL).read_bytes()


def test_killed_pretraining_goes_on_to_the_same_base(
    kws: Kws, spoken: Path, whole: bytes, tmp_path: Path
) -> None:
    """Byte for byte, once the same is asked for; other settings leave it as it is."""
    command = [*pretraining(spoken), "--out", tmp_path]
    with process(*command) as running:
        wait_for(tmp_path / "checkpoint-pretrain.safetensors", running)
        kill(running)
    assert not (tmp_path / BASE_MODEL).exists()
    code, out, err = kws(*command, "--seed", 1)
    assert (code, out) == (1, "")
    assert "unfinished run with other settings" in err
    otherwise = [os.path.relpath(spoken) if item == spoken else item for item in command]
    code, _, err = kws(*otherwise)  # the same, spelt otherwise
    assert code == 0, err
    assert err.startswith(f"note: {tmp_path} holds an unfinished run, which goes on")
    assert (tmp_path / BASE_MODEL).read_bytes() == whole
    assert not (tmp_path / "checkpoint-pretrain.safetensors").exists()


def test_pretraining_that_stops_beside_its_last_files_is_finished(
    kws: Kws, spoken: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are there already, and stay what they are; then it is a base like any other."""
    command = [*pretraining(spoken), "--out", tmp_path]
    with monkeypatch.context() as patch:
        patch.setattr("apps.training.pictures.learning_curves", stop)
        assert kws(*command)[0] == 1
    assert (tmp_path / BASE_MODEL).read_bytes() == whole
    assert not (tmp_path / "confusion.png").exists()
    run_quietly(kws, *command)
    assert (tmp_path / "confusion.png").is_file()
    assert (tmp_path / BASE_MODEL).read_bytes() == whole
    code, _, err = kws(*command)
    assert (code, "a base, which is never changed" in err) == (2, True)


def test_killed_adapting_goes_on_to_the_same_adapter(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """Killed while the policy learns: the stage before it is not trained again."""
    command = adapting(spoken, tiny)
    out = tmp_path / "killed"
    with process(*command, "--out", out) as running:
        wait_for(out / "checkpoint-policy.safetensors", running)
        kill(running)
    assert not (out / ADAPTER_MODEL).exists()
    assert (out / "checkpoint-transfer.safetensors").is_file()
    otherwise = [os.path.relpath(spoken) if item == spoken else item for item in command]
    run_quietly(kws, *otherwise, "--out", out)
    run_quietly(kws, *command, "--out", tmp_path / "whole")
    assert (out / ADAPTER_MODEL).read_bytes() == (tmp_path / "whole" / ADAPTER_MODEL).read_bytes()
    assert sorted(file.name for file in out.glob("*")) == sorted(os.listdir(tmp_path / "whole"))


def test_a_full_disk_stops_the_run_and_a_free_one_lets_it_go_on(
    kws: Kws, spoken: Path, whole: bytes, tmp_path: Path
) -> None:
    """One sentence, exit code 1, the last checkpoint whole."""
    command, checkpoint = pretraining(spoken), tmp_path / "checkpoint-pretrain.safetensors"
    with process(*command, "--out", tmp_path) as running:
        wait_for(checkpoint, running)
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (1_000, 1_000))
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (1, ""), err
    complaint = err.splitlines()[-1]
    assert complaint.startswith(f"kws: cannot write {tmp_path}")
    assert complaint.endswith("the disk is full; free some space and run the same command again")
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.name]
    run_quietly(kws, *command, "--out", tmp_path)
    assert (tmp_path / BASE_MODEL).read_bytes() == whole


def test_an_unfinished_run_of_another_method_is_refused_before_anything_is_learnt(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Also where its stage would come last."""
    left = tmp_path / "checkpoint-final.safetensors"
    write_tensors(left, {"x": np.zeros(1, np.float32)}, {"fingerprint": "another"})
    before = left.read_bytes()
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    code, out, err = kws(*learn, "--out", tmp_path)
    assert (code, out) == (1, "")
    assert "unfinished run with other settings" in err
    assert [file.name for file in tmp_path.iterdir()] == [left.name]
    assert left.read_bytes() == before


def test_an_unfinished_run_does_not_go_on_with_another_code_of_methods(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes a method edits it; its stages would be those of the text before."""
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn += ["--method", "head", "--epochs", 1, "--out", tmp_path]
    with monkeypatch.context() as stopped:
        stopped.setattr("apps.training.learn.pack", None)  # fails once all is learnt
        with pytest.raises(TypeError):
            kws(*learn)
    assert (tmp_path / "checkpoint-final.safetensors").is_file()
    monkeypatch.setattr("apps.training.learn.source_of", lambda *_: "def head(transfer): ...")
    code, _, err = kws(*learn)
    assert (code, "unfinished run with other settings" in err) == (1, True), err
    monkeypatch.undo()
    succeed(kws, *learn)


def test_a_pretraining_does_not_go_on_after_its_network_was_changed(
    kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = ["pretrain", "--data", spoken, "--filter", "language=de", "--tau", 1, "--epochs", 1]
    learn += ["--out", tmp_path / "base"]
    with monkeypatch.context() as stopped:
        stopped.setattr("apps.training.pretraining.save_base", None)  # fails once all is learnt
        with pytest.raises(TypeError):
            kws(*learn)
    monkeypatch.setattr("apps.training.pretraining.source_of", lambda *_: "class Network: ...")
    code, _, err = kws(*learn)
    assert (code, "unfinished run with other settings" in err) == (1, True), err


def test_the_code_of_a_package_is_that_of_all_its_files() -> None:
    source = source_of(policy, forms)
    wanted = ("def even(", "def learn_where(", "class Trainer", "class Rank(")
    assert all(text in source for text in wanted)
    assert "class BroadcastedBlock" in source_of(models)


def test_an_unfinished_run_goes_on_only_as_it_began(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same budget, plan and sound; else the adapter would be of two runs."""
    data = shutil.copytree(spoken.parent, tmp_path / "data")
    learn = ["adapt", "--base", tiny / "base", "--data", data / spoken.name, "--epochs", 1]
    learn += ["--filter", "language=de", "--method", "even", "--out", tmp_path / "de"]
    with monkeypatch.context() as stopped:
        stopped.setattr("apps.training.learn.pack", None)  # fails once all is learnt
        with pytest.raises(TypeError):
            kws(*learn)
    others: list[list[object]] = [["--budget", "20%"], ["--seed", 1], ["--lr", 0.01]]
    others += [["--optimizer", "sgd"], ["--epochs", 2], ["--closed"], ["--per-word", 1]]
    for other in others:
        code, _, err = kws(*learn, *other)
        assert (code, "unfinished run with other settings" in err) == (1, True), other
    first, second = (data / row["path"] for row in rows(spoken, "de", "train")[:2])
    before = first.read_bytes()
    shutil.copy(second, first)
    code, _, err = kws(*learn)
    assert (code, "with other settings, recordings or code" in err) == (1, True)
    first.write_bytes(before)
    succeed(kws, *learn)
