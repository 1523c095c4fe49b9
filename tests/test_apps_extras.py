"""Each extra is enough for its commands: what it lacks cannot be imported here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"
MODULES = {"scikit-learn": "sklearn", "espeakng-loader": "espeakng_loader"}

WALLED = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {lacking}:
            raise ModuleNotFoundError(f"no {{name}} here", name=name)

sys.meta_path.insert(0, Wall())
from apps.cli import main
main()
"""


def modules(extra: str) -> set[str]:
    """What an extra installs, by the names under which it is imported."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = set()
    for needed in settings["project"]["optional-dependencies"][extra]:
        name, inner = re.match(r"([\w-]+)(?:\[(\w+)\])?", needed).groups()  # type: ignore[union-attr]
        found |= modules(inner) if inner else {MODULES.get(name, name)}
    return found


def run(extra: str | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    lacking = modules("dev") - (modules(extra) if extra else set())
    return subprocess.run(
        [sys.executable, "-c", WALLED.format(lacking=lacking), *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_extras_hold_more_and_more() -> None:
    names = ("runtime", "serving", "train", "ray", "dev")
    runtime, serving, train, ray, dev = map(modules, names)
    assert runtime < serving < train < ray < dev
    assert not runtime & {"torch", "torchaudio", "onnx", "matplotlib"}
    assert serving - runtime == {"onnx"}
    assert not train & {"pytest", "mypy", "ruff"}


def test_without_an_extra_it_is_said_which_is_missing() -> None:
    assert run(None, "--help").returncode == 0
    done = run(None, "detect", "word.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("is not installed; pip install 'kws[runtime]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["detect", "listen", "collect", "adapters", "calibrate"])
def test_the_runtime_has_what_listening_needs(command: str) -> None:
    done = run("runtime", command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_runtime_lists_and_refuses_to_export(tmp_path: Path) -> None:
    done = run("runtime", "adapters", "list", ZOO)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("runtime", "export", "--base", ZOO / "ara", "--out", tmp_path / "a.onnx")
    assert done.returncode == 1
    assert done.stderr.endswith("pip install 'kws[serving]'\n")
    assert done.stderr.count("\n") == 1


def test_serving_exports(tmp_path: Path) -> None:
    done = run("serving", "export", "--base", ZOO / "ara", "--out", tmp_path / "a.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.onnx").is_file()
