"""A grid spans each run once; one of which a run could not be done is refused before the first."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from helpers import Kws

from apps.experiments.grid import ALIKE, Cell, Grid
from apps.experiments.records import refuse_others
from apps.experiments.runs import grouped, read_grid
from apps.experiments.stream_grid import StreamCell
from kws.errors import UsageError
from kws.files import write_json

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
GROUP = {"tasks": ["a", "b"], "methods": ["swr", "random"], "budgets": ["5%"], "seeds": [0, 1]}


def cells(*groups: dict[str, Any]) -> list[Cell]:
    """What a grid of these groups spans."""
    tasks = {key: ["language=de"] for key in "abc"}
    common = {"data": "d", "base": "b", "epochs": 4, "tasks": tasks}
    return Grid.parse(common | {"cells": list(groups)}).runs()


def test_a_grid_spans_every_run_once() -> None:
    found = cells(GROUP, GROUP | {"seeds": [1, 2]})
    assert len(found) == len(set(found)) == 2 * 2 * 3
    assert len({cell.name for cell in found}) == len(found)
    assert [cell.seed for cell in found] == [0] * 4 + [1] * 4 + [2] * 4  # whole grids first


def test_pretraining_and_methods_without_budget_are_runs_too() -> None:
    found = cells({"tasks": ["a"], "taus": [1], "methods": ["full"], "seeds": [0]})
    assert found == [Cell(task="a", seed=0, tau=1.0), Cell(task="a", seed=0, method="full")]


def test_a_grid_may_take_few_clips_of_each_word() -> None:
    group = {"tasks": ["a"], "methods": ["full", "head"], "clips": [5, 20], "seeds": [0]}
    found = cells(group)
    names = ["a-5clips-full-fixed-0", "a-5clips-head-fixed-0"]
    more = [name.replace("-5", "-20") for name in names]
    assert [cell.name for cell in found] == names + more
    assert [[cell.name for cell in group] for group in grouped(found)] == [names, more]


def test_a_grid_may_try_several_learning_rates() -> None:
    group = {"tasks": ["a"], "methods": ["full"], "rates": [0.01, 0.02], "seeds": [0]}
    found = cells(group)
    assert [cell.lr for cell in found] == [0.01, 0.02]
    assert [cell.name for cell in found] == ["a-full-fixed-lr0.01-0", "a-full-fixed-lr0.02-0"]


def test_a_grid_may_store_numbers_in_several_ways() -> None:
    group = {"tasks": ["a"], "methods": ["swr"], "budgets": ["80"], "bits": [8, 4], "seeds": [0]}
    found = cells(group)
    assert [cell.bits for cell in found] == [8, 4]
    assert [cell.name for cell in found] == ["a-swr-80-8bits-0", "a-swr-80-4bits-0"]


def test_a_grid_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As some editors write it."""
    (tmp_path / "grid.toml").write_text(TEXT, encoding="utf-8-sig")
    assert len(read_grid(tmp_path / "grid.toml")[1]) == 2


def test_a_sequence_of_languages_is_run_in_its_order() -> None:
    """What several begin with is run once, and those that begin alike are one group."""
    orders = [["a", "b", "c"], ["a", "c"], ["b", "a"]]
    found = cells({"sequences": orders, "methods": ["cacl"], "budgets": ["9%"], "seeds": [0]})
    assert [cell.name.removesuffix("-cacl-9pc-0") for cell in found] == [
        "a", "b", "b-after-a", "c-after-a", "a-after-b", "c-after-a-b",
    ]  # fmt: skip
    assert [cell.earlier and cell.earlier.name for cell in found[-1:]] == ["b-after-a-cacl-9pc-0"]
    groups = [[cell.name.partition("-cacl")[0] for cell in group] for group in grouped(found)]
    assert groups == [["a", "b-after-a", "c-after-a", "c-after-a-b"], ["b", "a-after-b"]]


def test_runs_on_the_same_recordings_come_together() -> None:
    groups = grouped(cells(GROUP))
    assert [{(cell.task, cell.seed) for cell in group} for group in groups] == [
        {("a", 0)}, {("b", 0)}, {("a", 1)}, {("b", 1)},
    ]  # fmt: skip
    assert all(len(group) == 2 for group in groups)


TEXT = """
data = "manifest.csv"
base = "base"
steps = 100
[tasks]
german = ["language=de"]
[[cells]]
tasks = ["german"]
methods = ["swr", "head"]
budgets = ["10%"]
seeds = [0]
"""
STREAMS = """
data = "manifest.csv"
base = "base"
hours = 1
[streams.german]
filter = ["language=de"]
"""


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (TEXT, "steps = 100", "step = 100", "the grid has an unknown 'step'; it may have data, "),
        (TEXT, "budgets", "budget", r"\[\[cells\]\] has an unknown 'budget'; it may have seeds, "),
        (TEXT, "seeds = [0]", "", r"\[\[cells\]\] wants 'seeds'"),
        (TEXT, "seeds = [0]", "seeds = 0", "seeds must be a list of int, not 0"),
        (TEXT, "seeds = [0]", "seeds = []", "'seeds' must be at least one"),
        (TEXT, 'tasks = ["german"]', "", "'tasks' must be at least one"),
        (TEXT, 'methods = ["swr", "head"]', "", "'methods' must be at least one, or taus"),
        (TEXT, '"head"', '"heads"', "'methods' must be of swr, "),
        (TEXT, 'methods = ["swr", "head"]', "taus = [4]", "'taus' must be of 1.0, 1.5, "),
        (TEXT, 'methods = ["swr", "head"]', "taus = [2]", "has taus and wants 'epochs'"),
        (TEXT, 'base = "base"', "", "has methods and wants 'base'"),
        (TEXT, "10%", "10 per cent", "10 per cent"),
        (TEXT, '"10%"', '"10%", "10.0 %"', "'budgets' must be different ones"),
        (TEXT, "seeds = [0]", "seeds = [0]\nbits = [7]", "bits must be a list of 16 or 8 or 4"),
        (TEXT, "seeds = [0]", "seeds = [0]\nbits = [1]", "'bits' must be of 16, 8, 4"),
        (TEXT, "seeds = [0]", "seeds = [0]\nrates = [0.0]", "'rates' must be positive"),
        (TEXT, "seeds = [0]", "seeds = [0]\nrates = [1e99]", "must be positive, and 1e.30 at most"),
        (TEXT, "seeds = [0]", "seeds = [0]\nclips = [0]", "'clips' must be positive"),
        (TEXT, "steps = 100", "steps = 0", "'steps' must be positive"),
        (TEXT, "steps = 100", "bits = 1", "'bits' must be of 16, 8, 4"),
        (TEXT, 'data = "manifest.csv"', "", "the grid wants 'data'"),
        (TEXT, '"language=de"', '"language"', r"'german' must be like \[.column=value.\]"),
        (TEXT, '["language=de"]', '"language=de"', r"'german' must be like"),
        (TEXT, '["language=de"]', '[["language=de"]]', r"'german' must be like"),
        (TEXT, "seeds = [0]", "seeds = [0]\nsequences = [[]]", "none of them empty"),
        (TEXT, 'tasks = ["german"]', 'tasks = ["dutch"]', "names no task of .*: dutch"),
        (TEXT, "german = [", '"../x" = ["a=b"]\ngerman = [', "'../x' must be a name of letters"),
        (TEXT, "[[cells]]", "[cells]", "'cells' must be tables"),
        (TEXT, 'german = ["language=de"]\n[[cells]]', "[[cell]]", "'cells' must be tables"),
        (TEXT, "[tasks]", "[tasks", "is no grid that can be read"),
        (STREAMS, "streams.german", 'streams."../x"', "'../x' must be a name of letters"),
        (STREAMS, "hours", "hour", r"\[streams.german\] has an unknown 'hour'; it may have data, "),
        (STREAMS, "hours = 1", "keywords = []", "'keywords' must be at least one"),
        (STREAMS, "hours = 1", "hours = 0", "'hours' must be from 0.001 to 1000"),
        (STREAMS, "hours = 1", "snrs = []", "'snrs' must be at least one, from -20 to 60"),
        (STREAMS, "hours = 1", "snrs = [10, 500]", "'snrs' must be at least one, from -20 to 60"),
        (STREAMS, "hours = 1", "seeds = []", "'seeds' must be at least one"),
        (STREAMS, "hours = 1", "seeds = [-1]", "'seeds' must be from 0 to 4294967295"),
        (TEXT, "seeds = [0]", "seeds = [4294967296]", "'seeds' must be from 0 to 4294967295"),
        (TEXT, "steps = 100", "lr = 1e300", "'lr' must be 1e.30 at most"),
        (TEXT, "steps", "epochs = 4\nsteps", "'steps' must be left out beside epochs"),
        (TEXT, "steps", "causal = true\nsteps", "'causal' must be left out where nothing is pre"),
        (TEXT, '"head"', '"joint"', "joint learns all of .tasks. at once, and wants two or more"),
        (TEXT, "steps = 100", "epochs = 3", "'epochs' must be 4 at least, for methods in stages"),
        (TEXT, 'tasks = ["german"]', 'sequences = [["german"]]', "sequences, which cacl alone"),
        (
            TEXT,
            "seeds = [0]",
            "seeds = [0]\nrates = [0.0123456, 0.01234561]",
            "two runs are called german-swr-10pc-lr0.0123456-0",
        ),
        (STREAMS, "hours = 1", "per_word = 0", "'per_word' must be positive"),
        (STREAMS, 'base = "base"', "", r"\[streams.german\] wants 'base'"),
        (STREAMS, '"language=de"', '"de"', "'filter' must be like"),
        (STREAMS, "[streams.german]", "[streams]", r"\[streams.filter\].* must be a table"),
        (STREAMS, '[streams.german]\nfilter = ["language=de"]', "streams = 3", "'streams' must be"),
    ],
)
def test_a_grid_of_which_a_run_could_not_be_done_is_refused(
    text: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in text
    path = tmp_path / "grid.toml"
    path.write_text(text, encoding="utf-8")
    assert read_grid(path)[1]
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_grid(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_grids_that_are_supplied_can_be_read(path: Path) -> None:
    assert read_grid(path)[1]


def test_a_grid_that_is_no_text_is_refused(tmp_path: Path, kws: Kws) -> None:
    (tmp_path / "grid.toml").write_bytes(b"name = '\xff'")
    code, _, err = kws("bench", "run", tmp_path / "grid.toml")
    assert (code, "is no grid that can be read" in " ".join(err.split())) == (2, True), err


def with_files(text: str, folder: Path) -> str:
    """A grid whose recordings and base are there, though nothing can be learnt from them."""
    (folder / "manifest.csv").touch()
    write_json(folder / "base" / "base_config.json", {})
    for name in ("manifest.csv", "base"):
        text = text.replace(f'"{name}"', f'"{folder / name}"')
    return text


def test_records_that_cannot_be_written_are_told_before_the_first_run(
    tmp_path: Path, kws: Kws
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "grid.toml").write_text(with_files(TEXT, tmp_path), encoding="utf-8")
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--records", tmp_path / "file" / "x")
    assert (code, "cannot write in" in " ".join(err.split())) == (1, True), err
    assert "failed" not in err  # as every run does here, which has nothing to learn from


def test_a_pattern_that_names_no_run_is_refused(tmp_path: Path, kws: Kws) -> None:
    (tmp_path / "grid.toml").write_text(TEXT, encoding="utf-8")
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--only", "norms-*")
    assert (code, "--only norms-* names no run" in " ".join(err.split())) == (2, True), err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 100",
            "steps = 200",
            "with steps 100, not 200; delete it, give --again",
        ),
        ("steps", 'language = "de"\nsteps', "was recorded with language None, not de"),
        ("steps", "lr = 0.01\nsteps", r"was recorded with lr 0\.02, not 0\.01"),
        ("manifest.csv", "other.csv", "was recorded with data manifest.csv, not other.csv"),
        ("language=de", "language=es", "was recorded with german \\['language=de'\\], not"),
    ],
)
def test_a_record_of_other_settings_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(TEXT, encoding="utf-8")
    before, runs = read_grid(path)
    assert before
    write_json(tmp_path / f"{runs[0].name}.json", {"settings": asdict(before)})
    refuse_others(before, tmp_path, runs[:1])
    write_json(tmp_path / f"{runs[1].name}.json", {})
    with pytest.raises(UsageError, match="is no record of a training"):
        refuse_others(before, tmp_path, runs[1:2])
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    after, runs = read_grid(path)
    assert after
    with pytest.raises(UsageError, match=message):
        refuse_others(after, tmp_path, runs[:1])


def test_a_task_called_as_a_setting_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    text = TEXT.replace("german", "steps")
    path.write_text(text, encoding="utf-8")
    before, runs = read_grid(path)
    assert before
    write_json(tmp_path / f"{runs[0].name}.json", {"settings": asdict(before)})
    path.write_text(text.replace("steps = 100", "steps = 200"), encoding="utf-8")
    after, _ = read_grid(path)
    assert after
    with pytest.raises(UsageError, match="was recorded with steps 100, not 200"):
        refuse_others(after, tmp_path, runs[:1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hours = 1", "hours = 2", "was recorded with hours 1.0, not 2.0; delete it, give --again"),
        ("manifest.csv", "other.csv", "was recorded with data manifest.csv, not other.csv"),
        ("hours = 1", 'adapter = "de"', "was recorded with adapter None, not de"),
    ],
)
def test_a_record_of_other_streams_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(STREAMS, encoding="utf-8")
    _, (run,) = read_grid(path)
    assert isinstance(run, StreamCell)
    write_json(tmp_path / f"{run.name}.json", {"cell": run.record, "network": {}})
    refuse_others(None, tmp_path, [run])
    path.write_text(STREAMS.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        refuse_others(None, tmp_path, read_grid(path)[1])


@pytest.mark.parametrize("left", [{}, {"cell": []}, {"cell": {}, "network": None}])
def test_a_record_that_is_of_no_stream_is_refused(left: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(STREAMS, encoding="utf-8")
    _, (run,) = read_grid(path)
    write_json(tmp_path / f"{run.name}.json", left)
    with pytest.raises(UsageError, match="is no record of a stream; delete it, and run it again"):
        refuse_others(None, tmp_path, [run])


def test_a_record_of_another_base_is_refused(tmp_path: Path) -> None:
    """Of one that lay at the same place; where there is none, nothing can be said.

    Nor is anything wrong with the record of a pretraining, which tells what it made.
    """
    path, base = tmp_path / "grid.toml", tmp_path / "base"
    pretraining = '[[cells]]\ntasks = ["german"]\ntaus = [1]\nseeds = [0]\n'
    text = re.sub("base = .*", f'base = "{base}"', TEXT).replace("steps = 100", "epochs = 4")
    path.write_text(text + pretraining, encoding="utf-8")
    grid, runs = read_grid(path)
    assert grid
    found = [run for run in runs if isinstance(run, Cell)]
    made = [cell for cell in found if cell.tau][:1]
    adapted = [cell for cell in found if cell.method][:1]
    for run in (*made, *adapted):
        record = {"settings": asdict(grid), "base_sha256": "a" * 64}
        write_json(tmp_path / f"{run.name}.json", record)
    refuse_others(grid, tmp_path, adapted)
    write_json(base / "base_config.json", {"sha256": "a" * 64})
    refuse_others(grid, tmp_path, adapted)
    write_json(base / "base_config.json", {"sha256": "b" * 64})
    refuse_others(grid, tmp_path, made)
    with pytest.raises(UsageError, match=r"on another base than .* is now; run all on this one"):
        refuse_others(grid, tmp_path, adapted)


def test_defaults_that_are_spelt_out_are_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(TEXT, encoding="utf-8")
    before, runs = read_grid(path)
    assert before
    made = asdict(before)
    del made["language"], made["speaker_pattern"]  # as older records do not have them
    write_json(tmp_path / f"{runs[0].name}.json", {"settings": made})
    path.write_text(TEXT.replace("steps", "lr = 0.02\nbits = 8\nsteps"), encoding="utf-8")
    after, runs = read_grid(path)
    refuse_others(after, tmp_path, runs[:1])


def test_methods_with_a_budget_need_one() -> None:
    with pytest.raises(UsageError, match="'budgets' must be at least one"):
        cells({"tasks": ["a"], "methods": ["head", "swr"], "seeds": [0]})


def test_methods_that_own_what_they_own_run_once_whatever_the_budgets() -> None:
    found = cells(GROUP | {"methods": ["swr", "full"], "budgets": ["2%", "10%"], "seeds": [0]})
    kinds = [(cell.method, cell.budget) for cell in found if cell.task == "a"]
    assert kinds == [("swr", "2%"), ("swr", "10%"), ("full", None)]


@pytest.mark.parametrize(
    ("cells", "old", "new", "name"),
    [
        ('methods = ["joint"]', "language=es", "language=fr", "spanish"),
        ('sequences = [["spanish", "german"]]\nmethods = ["cacl"]', "=es", "=fr", "spanish"),
        ('methods = ["joint"]', "[[", 'french = ["language=fr"]\n[[', "french"),
    ],
)
def test_a_record_of_what_else_was_learnt_is_refused_where_that_is_another_now(
    cells: str, old: str, new: str, name: str, tmp_path: Path
) -> None:
    """Languages learnt at the same time, or before."""
    tasks = '[tasks]\ngerman = ["language=de"]\nspanish = ["language=es"]\n'
    own = 'budgets = ["9%"]\n' if "sequences" in cells else 'tasks = ["german"]\n'
    text = f'data = "m.csv"\nbase = "base"\n{tasks}[[cells]]\n{own}{cells}\nseeds = [0]\n'
    path = tmp_path / "grid.toml"
    path.write_text(text, encoding="utf-8")
    before, runs = read_grid(path)
    assert before
    write_json(tmp_path / f"{runs[-1].name}.json", {"settings": asdict(before)})
    refuse_others(before, tmp_path, runs[-1:])
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    after, runs = read_grid(path)
    assert after
    with pytest.raises(UsageError, match=f"was recorded with {name} "):
        refuse_others(after, tmp_path, runs[-1:])


def test_what_a_pretraining_would_not_hear_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    text = TEXT.replace('methods = ["swr", "head"]', "taus = [2]")
    text = text.replace("steps = 100", "epochs = 4")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="'taus' must be without rates, clips, bits and budgets"):
        read_grid(path)
    text = text.replace('budgets = ["10%"]', "")
    for ignored, told in (("steps = 9", "beside epochs"), ("bits = 4", "where nothing is adapted")):
        path.write_text(f"{ignored}\n{text}", encoding="utf-8")
        with pytest.raises(UsageError, match=f"must be left out {told}"):
            read_grid(path)
    path.write_text(f"causal = true\n{text}", encoding="utf-8")
    assert read_grid(path)[1]


def test_a_seed_that_is_there_twice_is_run_once(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    for text in (TEXT.replace("[0]", "[0, 0]"), f"seeds = [0, 0]\n{STREAMS}"):
        path.write_text(text, encoding="utf-8")
        runs = read_grid(path)[1]
        assert len({run.name for run in runs}) == len(runs)


def test_clips_of_a_cell_go_before_those_of_the_grid() -> None:
    grid = Grid.parse(
        {
            "data": "d",
            "base": "b",
            "per_word": 9,
            "tasks": {"a": ["language=de"]},
            "cells": [{"tasks": ["a"], "methods": ["head"], "clips": [5], "seeds": [0]}],
        }
    )
    assert grid.selection(grid.runs()[0]).per_word == 5


@pytest.mark.parametrize("name", ALIKE)
def test_whatever_runs_must_have_alike_is_compared(name: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(TEXT, encoding="utf-8")
    grid, runs = read_grid(path)
    assert grid
    settings = asdict(grid) | {name: "another"}
    write_json(tmp_path / f"{runs[0].name}.json", {"settings": settings})
    with pytest.raises(UsageError, match=f"was recorded with {name} another, not"):
        refuse_others(grid, tmp_path, runs[:1])


def test_jobs_run_what_was_asked_for_and_no_more(
    tmp_path: Path, kws: Kws, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(
        "apps.bench.side_by_side", lambda _, arguments, jobs: given.extend(arguments)
    )
    tasks = 'spanish = ["language=es"]\n[[cells]]\ntasks = ["german", "spanish"]'
    text = TEXT.replace('[[cells]]\ntasks = ["german"]', tasks)
    (tmp_path / "grid.toml").write_text(with_files(text, tmp_path), encoding="utf-8")
    options = ["--only", "*-head-*", "--jobs", 2, "--records", tmp_path / "records"]
    options += ["--device", "cpu", "--again"]
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", *options)
    assert code == 0, err
    assert given[given.index("--only") + 1] == "*-head-*"
    assert given[given.index("--device") + 1] == "cpu"
    assert "--again" in given
