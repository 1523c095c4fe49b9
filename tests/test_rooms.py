"""The architecture: rooms look down only, and nothing is pickled."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from apps.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "kws": set[str](),
    "models": {"kws"},
    "audio_data": {"kws"},
    "policy": {"kws"},
    "apps": {"kws", "models", "audio_data", "policy"},
}
PICKLING = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}


def imported(source: str) -> set[str]:
    """Top-level names that a file imports absolutely, wherever in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    return {name.partition(".")[0] for name in names}


def climbs(source: str, depth: int = 1) -> bool:
    """Whether a file that lies ``depth`` folders deep imports relatively from above its room."""
    nodes = ast.walk(ast.parse(source))
    return any(isinstance(node, ast.ImportFrom) and node.level > depth for node in nodes)


def beside(source: str) -> set[str]:
    """Modules and folders beside its own folder from which a file imports."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
    above = [node for node in nodes if node.level == 2]
    names = {alias.name for node in above if not node.module for alias in node.names}
    return names | {node.module.partition(".")[0] for node in above if node.module}


def unpickles(source: str) -> set[str]:
    """Ways to read or write pickles that a file uses."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = {ast.unparse(call.func) for call in calls} & {"torch.load", "torch.save", "np.load"}
    for call in calls:
        refused = any(
            word.arg == "allow_pickle" and ast.unparse(word.value) == "False"
            for word in call.keywords
        )
        if ast.unparse(call.func) == "np.load" and refused:
            found.discard("np.load")
    return found | imported(source) & PICKLING


def sources(room: str) -> Iterator[tuple[Path, str]]:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        yield file, file.read_text(encoding="utf-8")


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_looks_down_only(room: str) -> None:
    for file, source in sources(room):
        foreign = imported(source) & MAY_IMPORT.keys() - {room}
        assert foreign <= MAY_IMPORT[room], f"{file} reaches up into {foreign - MAY_IMPORT[room]}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_itself_relatively_and_others_absolutely(room: str) -> None:
    """So that the packages can be moved below one name by one substitution."""
    for file, source in sources(room):
        assert room not in imported(source), file
        assert not climbs(source, len(file.relative_to(ROOT).parents) - 1), file


def test_the_folders_of_apps_form_no_circle() -> None:
    folders = {path.parent.name: path.parent for path in (ROOT / "apps").glob("*/__init__.py")}
    assert folders
    needed = {
        name: {found for file in folder.glob("*.py") for found in beside(file.read_text("utf-8"))}
        & folders.keys()
        for name, folder in folders.items()
    }
    assert "training" in needed["experiments"]
    assert set(TopologicalSorter(needed).static_order()) == folders.keys()


def test_no_folder_of_apps_needs_a_command() -> None:
    files = [*(ROOT / "apps").glob("*/*.py")]
    assert len(files) > len(COMMANDS)
    for file in files:
        assert not beside(file.read_text("utf-8")) & COMMANDS.keys(), file


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_nothing_is_pickled(room: str) -> None:
    for file, source in sources(room):
        assert not unpickles(source), f"{file} uses {unpickles(source)}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_package_is_this_checkout_and_listed(room: str) -> None:
    """Five plain names are easily shadowed by another project's."""
    found = importlib.import_module(room).__file__
    assert found
    assert Path(found).is_relative_to(ROOT)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = {
        name
        for name in settings["tool"]["setuptools"]["packages"]
        if f"{name}.".startswith(f"{room}.")
    }
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / room).rglob("*.py")}
    assert listed == {".".join(folder.parts) for folder in folders}
    assert (ROOT / room / "py.typed").is_file()


def test_these_checks_see_what_they_forbid() -> None:
    assert beside("from .. import pretrain\nfrom ..data.get import fetch") == {"pretrain", "data"}
    assert imported("def f():\n    from models.registry import build") == {"models"}
    assert climbs("from ..models import registry")
    assert not climbs("from .config import UNKNOWN")
    assert climbs("from ...models import registry", depth=2)
    assert not climbs("from ..options import Group", depth=2)
    assert unpickles("import pickle\ntorch.load(path)") == {"pickle", "torch.load"}
    assert unpickles("np.load(path)") == {"np.load"}
    assert not unpickles("np.load(path, allow_pickle=False)")
