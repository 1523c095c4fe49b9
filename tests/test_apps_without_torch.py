"""Listening never meets torch: the commands run where it cannot be imported."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import onnxruntime
import pytest
import soundfile
from numpy.typing import NDArray

from apps.cli import COMMANDS, kws
from apps.onnx_files import language_file
from apps.wiring import bank_of, open_base, open_runtime
from kws.adapter import load_adapter
from kws.base import BASE_MODEL, read_base_config
from kws.files import read_tensors
from kws.runtime import merged
from models.folded import fold

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"
Wave = NDArray[np.float32]
TOLERANCE = 1e-5  # on probabilities
NEEDS_TORCH = {"demo", "pretrain", "report", "adapt", "evaluate", "bench"}

WITHOUT = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "torch", "torchaudio", "librosa", "sklearn", "matplotlib", "espeakng_loader",
            "anyascii", "onnx",
        }:
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Wall())
try:
    import torch
except ModuleNotFoundError:
    from apps.cli import main
    main()
"""


def call(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def run(*arguments: object) -> str:
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wave() -> Wave:
    rng = np.random.default_rng(0)
    envelope = np.sin(np.arange(24_000) / 1_500) ** 2
    return np.asarray(0.1 * rng.standard_normal(24_000) * envelope, np.float32)


def test_detect_and_listen_and_adapters(tmp_path: Path, wave: Wave) -> None:
    memory = io.BytesIO()
    soundfile.write(memory, wave, 16_000, format="WAV", subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(memory.getvalue())
    bank = "--base", ZOO / "ara", "--adapter", ZOO / "cmn", "--json", "--threshold", 1e-9
    detected = run("detect", tmp_path / "a.wav", *bank)
    assert detected == run("listen", "--wav", tmp_path / "a.wav", *bank)
    assert json.loads(detected.splitlines()[0])["language"] == "cmn"
    assert json.loads(run("adapters", "list", ZOO, "--json"))[0]["language"] == "cmn"


def test_the_portable_runtime_tells_nobody_of_its_use(tmp_path: Path) -> None:
    """ONNX Runtime would leave a number of this device in the user's folder, and report it."""
    code = (
        f"from apps.wiring import open_runtime; open_runtime({str(ZOO / 'ara')!r}, kernels=False)"
    )
    passed = {"PATH", "LD_LIBRARY_PATH"} & os.environ.keys()
    env = {name: os.environ[name] for name in passed} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)
    assert not list(tmp_path.iterdir())


def test_calibrate(tiny: Path, spoken: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(tiny / "de", tmp_path / "de")
    command = "calibrate", "--base", tiny / "base", "--adapter", adapter, "--data", spoken
    found = json.loads(run(*command, "--filter", "language=de", "--hours", 0.005, "--json"))
    assert found["language"] == "de"


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--help"], 0)])
def test_help_lists_all_commands(options: list[str], code: int) -> None:
    done = call(*options)
    assert done.returncode == code, done.stderr
    listed = {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.strip()}
    assert set(COMMANDS) <= listed


def test_the_help_of_each_command_is_its_docstrings() -> None:
    with click.Context(kws) as context:
        for name, told in COMMANDS.items():
            command = kws.get_command(context, name)
            assert command
            assert command.get_short_help_str(1_000) == told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_helps_or_says_what_to_install(command: str) -> None:
    done = call(command, "--help")
    if command not in NEEDS_TORCH:
        assert (done.returncode, done.stderr) == (0, "")
        assert COMMANDS[command].split()[0] in done.stdout
        return
    assert (done.returncode, done.stdout) == (1, "")
    told = r"kws: this needs (torch|matplotlib), which is not installed; pip install 'kws\[train\]'"
    assert re.fullmatch(told, done.stderr.strip())


def test_what_a_command_needs_only_sometimes_is_said_when_it_does(tmp_path: Path) -> None:
    picture = "adapters", "picture", ZOO, "--base", ZOO / "ara", "--out", tmp_path / "sites.png"
    done = call(*picture)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "which is not installed; pip install 'kws[train]'" in done.stderr


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("language", ["ara", "cmn"])
def test_the_runtime_scores_as_torch_does(
    wave: Wave,
    language: str,
    kernels: bool,
) -> None:
    bank = bank_of(open_base(ZOO / "ara"))
    bank.load_adapter(ZOO / "cmn")
    bank.set_adapter(language)
    expected = bank.scores(wave[:16_000])
    runtime = open_runtime(ZOO / "ara", [ZOO / "cmn"], language, kernels=kernels)
    found = runtime.scores(wave[:16_000])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_an_exported_language_needs_only_onnxruntime(wave: Wave) -> None:
    """And after pieces of any sizes decides as the runtime does after the same sound."""
    config, adapter = read_base_config(ZOO / "ara"), load_adapter(ZOO / "cmn")
    network = fold(config, merged(read_tensors(ZOO / "ara" / BASE_MODEL), adapter))
    session = onnxruntime.InferenceSession(language_file(config.features, network, adapter.config))
    hop = config.features.hop
    scorer = open_runtime(ZOO / "ara", [ZOO / "cmn"]).hop_scorer(hop)
    for start in range(0, len(wave), hop):
        expected = scorer.hear(wave[start : start + hop])
    (size,) = next(one.shape for one in session.get_inputs() if one.name == "state")
    state = np.zeros(size, np.float32)
    for start in range(0, len(wave), 999):  # any sizes
        piece = wave[start : start + 999]
        scores, state = session.run(None, {"audio": piece, "state": state})
    np.testing.assert_allclose(scores[0], expected, rtol=0, atol=TOLERANCE)
    kept = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(kept["labels"])) == adapter.config.labels
