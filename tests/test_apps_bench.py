"""Every run of a grid leaves its record, once."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from weakref import WeakSet

import pytest
import torch
from helpers import Kws

from apps.bench import _in_turn
from apps.experiments.cell import commit, run_cell
from apps.experiments.grid import Cell, Grid
from apps.experiments.jobs import side_by_side, threads_of
from apps.experiments.runs import Run, grouped, read_grid
from apps.progress import note, speaking_of
from apps.results.page import write_results
from apps.training.recordings import Recordings, Selection
from audio_data.clips import SPLITS, SYNTHETIC, Split
from audio_data.manifest import read_manifest, write_manifest
from kws.base import read_base_config
from kws.config import FeatureConfig
from kws.cores import cores
from kws.errors import KwsError
from kws.files import read_json, write_json

METHODS = ("head", "norms")


def test_languages_that_build_on_one_another_are_benched_and_reported(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    text = GRID[: GRID.index("[[cells]]")] + '[[cells]]\nsequences = [["german", "spanish"]]\n'
    text += 'methods = ["cacl"]\nbudgets = ["10%"]\nseeds = [0]\n'
    grid = tmp_path / "grid.toml"
    grid.write_text(text.format(data=spoken, base=tiny / "base", epochs=4), encoding="utf-8")
    folders = ["--records", tmp_path / "records"]
    run = ["bench", "run", grid, *folders, "--work", tmp_path / "work"]
    refused = kws(*run, "--ray")
    assert (refused[0], "one after another: no --ray" in refused[2]) == (2, True)
    code, _, err = kws(*run)
    assert code == 0, err
    first, second = (
        read_json(tmp_path / "records" / "grid" / f"{name}-cacl-10pc-0.json")
        for name in ("german", "spanish-after-german")
    )
    owned = [run["result"]["spent_parameters"] for run in (first, second)]
    assert owned[0] < owned[1]
    code, _, err = kws("bench", "report", *folders, "--out", tmp_path / "results.md")
    assert code == 0, err
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert f"from the records in `{tmp_path / 'records'}`" in page
    assert "Supplied networks" not in page  # it is no part of these
    accuracies = [100 * run["test"]["accuracy"] for run in (first, second)]
    shown = f"| german {accuracies[0]:.1f} ({owned[0]:,}) | spanish {accuracies[1]:.1f} "
    assert f"| cacl 10% | 0 {shown}({owned[1] - owned[0]:,}) |" in page


def test_a_run_on_kept_recordings_comes_out_as_alone(
    tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    grid = Grid(
        data=str(spoken),
        base=str(tiny / "base"),
        epochs=4,
        tasks={"german": ["language=de"]},
        cells=(),
    )
    cache: dict[object, Any] = {}
    for method in ("even", "norms"):
        cell = Cell(task="german", seed=0, method=method, budget="10%")
        alone = run_cell(cell, grid, tmp_path / f"alone-{method}", "cpu")
        after = run_cell(cell, grid, tmp_path / f"after-{method}", "cpu", cache)
        assert cache
        assert (alone["validation"], alone["test"]) == (after["validation"], after["test"])
        models = [
            tmp_path / f"{n}-{method}" / "adapter_model.safetensors" for n in ("alone", "after")
        ]
        assert models[0].read_bytes() == models[1].read_bytes()


def test_kept_recordings_are_those_of_the_same_splits(
    tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Runs of a task after other languages may hear other people in training."""
    path = tmp_path / "manifest.csv"
    clips = [replace(c, split=None) for c in read_manifest(spoken, {"language": ["de"]})]
    write_manifest(path, clips)
    config = read_base_config(tiny / "base")
    cache: dict[object, Any] = {}
    free = Recordings.to_learn(Selection(data=path, closed=True), config, cache=cache)
    someone = next(clip.speaker for clip in free.said("test"))
    known: dict[str, Split] = {str(someone): "train"}
    other = Recordings.to_learn(Selection(data=path, closed=True), config, known=known, cache=cache)
    for split in SPLITS:
        for one in (free, other):
            assert len(one.fixed(split)[1]) == len(one.task.splits[split])
            assert one.views(split) is one.views(split)
        same = free.task.splits[split] == other.task.splits[split]
        assert (free.views(split) is other.views(split)) == same
    assert free.task.splits["train"] != other.task.splits["train"]


GRID = """
data = "{data}"
base = "{base}"
epochs = {epochs}
[tasks]
german = ["language=de"]
spanish = ["language=es"]
[[cells]]
tasks = ["german", "spanish"]
methods = ["head", "norms"]
seeds = [0]
"""


def test_jobs_share_a_grid_and_leave_each_record_once(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=1), encoding="utf-8")
    folders = ["--records", tmp_path / "records", "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders, "--jobs", 2)
    assert code == 0, err
    said = " ".join(capfd.readouterr().err.split())
    names = [f"{task}-{method}-fixed-0" for task in ("german", "spanish") for method in METHODS]
    assert sorted(f.stem for f in (tmp_path / "records" / "grid").iterdir()) == sorted(names)
    assert all(said.count(f"{name}: test") == 1 for name in names)
    assert "4 runs, 0 recorded already" in err
    assert "recorded already" not in said
    assert not re.search(r"\d/\d", said), "jobs count each for itself"


def test_a_job_ends_with_whoever_began_it(tiny: Path, spoken: Path, tmp_path: Path) -> None:
    """However that one ended; what closes then is the job's input."""
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=99_999), encoding="utf-8")
    code = "from apps.cli import main; main()"
    folders = ["--records", tmp_path / "records", "--work", tmp_path / "work"]
    run = ["bench", "run", grid, *folders, "--job", "--groups=0"]
    job = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, run)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
    )
    try:
        _, told = job.communicate(timeout=300)  # which closes its input
    finally:
        job.kill()
    assert job.returncode == 1
    assert b"kws:" not in told
    assert not (tmp_path / "records").exists()


def test_jobs_are_told_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def begin(command: list[str], **_: object) -> subprocess.Popen[bytes]:
        begun.append(command)
        return real([sys.executable, "-c", ""], stdin=subprocess.PIPE)

    real = subprocess.Popen
    monkeypatch.setattr("apps.experiments.jobs.subprocess.Popen", begin)
    side_by_side([[0], [1]], ["grid.toml"], 2)
    assert [command[-2:] for command in begun] == [["--job", f"--groups={n}"] for n in (0, 1)]


def test_jobs_are_of_this_program_whatever_the_current_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "__init__.py").write_text("raise SystemExit(0)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KwsError, match="1 of 1 jobs failed"):
        side_by_side([[0]], ["grid.toml"], 1)
    assert "kws: grid.toml cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize(("given", "each"), [("", 4), ("3", 3)])
def test_jobs_share_the_cores_unless_threads_are_given(
    monkeypatch: pytest.MonkeyPatch, given: str, each: int
) -> None:
    begun: list[str] = []

    def begin(_: list[str], *, env: dict[str, str], **__: object) -> subprocess.Popen[bytes]:
        begun.append(env["OMP_NUM_THREADS"])
        return real([sys.executable, "-c", ""], stdin=subprocess.PIPE)

    real, before = subprocess.Popen, torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr("apps.experiments.jobs.cores", lambda: 8)
    monkeypatch.setattr("apps.experiments.jobs.subprocess.Popen", begin)
    side_by_side([[0]], ["grid.toml"], 2)
    with threads_of(2):
        begun.append(str(torch.get_num_threads()))
    assert begun == [str(each), str(before if given else each)]


def test_cores_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert cores() == 2
    monkeypatch.delattr("os.sched_getaffinity")  # as on macOS and Windows
    assert cores() == 64


def test_the_commit_is_that_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = commit()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert commit() == here
    monkeypatch.setattr(
        "apps.experiments.cell.__file__", str(tmp_path / "cell.py")
    )  # installed elsewhere
    assert commit() == "unknown"


def test_a_commit_is_marked_where_code_was_changed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not where documents were, or records."""
    (tmp_path / "apps").mkdir()
    code, text = tmp_path / "apps" / "cell.py", tmp_path / "README.md"
    for file in (code, text):
        file.write_text("before", encoding="utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr("apps.experiments.cell.__file__", str(code))
    clean = commit()
    text.write_text("after", encoding="utf-8")
    assert commit() == clean
    code.write_text("after", encoding="utf-8")
    assert commit() == f"{clean}-dirty"


def test_a_job_that_fails_is_told(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.toml"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1).replace(
        "language=es", "language=xx"
    )
    grid.write_text(text, encoding="utf-8")
    folders = ["--records", tmp_path / "records", "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders, "--jobs", 2)
    assert code == 1
    assert err.endswith("kws: 1 of 2 jobs failed; see their messages above\n")
    assert "xx" in capfd.readouterr().err
    assert len(list((tmp_path / "records" / "grid").iterdir())) == 2  # of the other


def test_whole_epochs_are_kept_only_for_runs_to_come() -> None:
    """They take some gigabytes."""
    cells = [{"tasks": ["a", "b"], "methods": ["head"], "seeds": [0]}]
    cells.append({"tasks": ["a"], "methods": ["norms"], "seeds": [0]})
    tasks = {key: ["language=de"] for key in "ab"}
    found = Grid.parse({"data": "d", "base": "b", "tasks": tasks, "cells": cells}).runs()
    keeps: dict[str, list[bool]] = {"a": [], "b": []}

    def do(cell: Run, cache: dict[object, Any] | None) -> dict[str, Any]:
        keeps[cell.task].append(cache is not None)
        if cache is not None:
            cache["epochs"] = True
        return {}

    list(_in_turn(grouped(found), do))
    assert keeps == {"a": [True, True], "b": [False]}


def test_whole_epochs_are_let_go_after_the_last_run_that_hears_them() -> None:
    group = {"sequences": [["a", "b"]], "methods": ["cacl"], "budgets": ["5%", "9%"], "seeds": [0]}
    tasks = {key: ["language=de"] for key in "ab"}
    found = Grid.parse({"data": "d", "base": "b", "tasks": tasks, "cells": [group]}).runs()
    held: WeakSet[frozenset[str]] = WeakSet()
    there: list[set[str]] = []

    def do(cell: Run, cache: dict[object, Any]) -> dict[str, Any]:
        held.add(cache.setdefault("epochs", frozenset(cell.task)))
        there.append(set().union(*held))
        return {}

    list(_in_turn(grouped(found), do))
    assert there == [{"a"}, {"a"}, {"b"}, {"b"}]


def test_languages_of_a_sequence_share_no_recordings() -> None:
    """Each is read as its own, and once."""
    orders = [["a", "b"], ["a", "b", "c"]]
    found = Grid.parse(
        {
            "data": "d",
            "base": "b",
            "tasks": {key: ["language=de"] for key in "abc"},
            "cells": [{"sequences": orders, "methods": ["cacl"], "budgets": ["9%"], "seeds": [0]}],
        }
    ).runs()
    read: dict[str, int] = {}

    def do(cell: Run, cache: dict[object, Any] | None) -> dict[str, Any]:
        cache = {} if cache is None else cache
        if cell.task not in cache:
            read[cell.task] = read.get(cell.task, 0) + 1
        cache[cell.task] = True
        assert set(cache) == {cell.task}
        return {}

    assert len(list(_in_turn(grouped(found), do))) == len(found) == 3
    assert read == {"a": 1, "b": 1, "c": 1}


def test_the_runs_after_one_that_fails_go_on(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    grid = tmp_path / "grid.toml"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1).replace("=de", "=xx")
    grid.write_text(text, encoding="utf-8")
    folders = ["--records", tmp_path / "records", "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders, "--jobs", 1)
    assert code == 1
    assert err.endswith("kws: 2 of 4 runs failed (see above); run the grid again to resume\n")
    done = (tmp_path / "records" / "grid").iterdir()
    assert sorted(f.stem for f in done) == ["spanish-head-fixed-0", "spanish-norms-fixed-0"]


def test_what_is_recorded_is_run_again_if_asked_for(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    """The adapters that it left are there again, where they are wanted."""
    grid, work = tmp_path / "grid.toml", tmp_path / "work"
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=1), encoding="utf-8")
    only = ["--only", "german-head-*", "--records", tmp_path / "records", "--work", work]
    run = ["bench", "run", grid, *only]
    assert kws(*run)[0] == 0
    (record,) = (tmp_path / "records" / "grid").iterdir()
    first, folder = read_json(record), work / "grid" / record.stem
    shutil.rmtree(folder)
    code, _, err = kws(*run)
    assert (code, "1 run, 1 recorded already" in err, "give --again" in err) == (0, True, True)
    assert not folder.exists()
    write_json(record, first | {"base_sha256": "0" * 64})
    code, _, err = kws(*run)
    assert (code, "on another base than" in err) == (2, True)
    code, _, err = kws(*run, "--again")
    assert code == 0, err
    assert (folder / "adapter_config.json").is_file()
    assert read_json(record) == first | {"result": ANY}  # but for its seconds
    record.unlink()
    config = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", config | {"language": "fr"})
    code, _, err = kws(*run)
    assert (code, "another language, or of other words; give --again" in err) == (1, True)


def test_each_part_runs_again_what_is_its_own(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of another base that other parts replace are no obstacle."""
    grid, records = tmp_path / "grid.toml", tmp_path / "records"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1).replace(
        '"head", "norms"', '"head"'
    )
    grid.write_text(text, encoding="utf-8")
    run = ["bench", "run", grid, "--records", records, "--work", tmp_path / "work", "--again"]
    trainings, _ = read_grid(grid)
    assert trainings
    old = {"settings": asdict(trainings), "base_sha256": "0" * 64}
    for task in ("german", "spanish"):
        write_json(records / "grid" / f"{task}-head-fixed-0.json", old)
    ran: list[str] = []
    monkeypatch.setattr(
        "apps.bench._in_turn", lambda groups, _: iter([(c, "stop") for g in groups for c in g])
    )
    for part in (1, 2):
        code, _, err = kws(*run, "--part", part, 2)
        assert code == 1, err
        ran += [line.split()[1] for line in err.splitlines() if " failed: stop" in line]
    assert sorted(ran) == ["german-head-fixed-0", "spanish-head-fixed-0"]


def test_a_base_that_stands_is_not_pretrained_over(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    """Adapters of other grids belong to it; its own record may lie elsewhere."""
    grid, work = tmp_path / "grid.toml", tmp_path / "work"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1).replace(
        'methods = ["head", "norms"]', "taus = [1]"
    )
    grid.write_text(text, encoding="utf-8")
    there = work / "grid" / "german-tau1-0"
    shutil.copytree(tiny / "base", there)
    before = (there / "base_model.safetensors").read_bytes()
    run = ["bench", "run", grid, "--records", tmp_path / "records", "--work", work]
    code, _, err = kws(*run, "--only", "german-*")
    told = "holds another base, which is never changed; give --again" in err
    assert (code, told) == (1, True), err
    assert (there / "base_model.safetensors").read_bytes() == before
    code, _, err = kws(*run, "--only", "german-*", "--again")
    assert code == 0, err
    assert (there / "base_model.safetensors").read_bytes() != before


def test_a_base_that_was_made_before_its_record_is_measured_alone(
    spoken: Path, tmp_path: Path, kws: Kws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a run was killed at its end."""
    grid, people = tmp_path / "grid.toml", spoken.with_name("people.csv")
    people.write_text(spoken.read_text(encoding="utf-8").replace(SYNTHETIC, "CC0-1.0"), "utf-8")
    text = GRID.format(data=people, base="none", epochs=1)
    grid.write_text(text.replace('methods = ["head", "norms"]', "taus = [1]"), encoding="utf-8")
    only = ["--only", "german-*", "--work", tmp_path / "work", "--records", tmp_path / "records"]
    assert kws("bench", "run", grid, *only)[0] == 0
    (path,) = (tmp_path / "records" / "grid").iterdir()
    first = read_json(path)
    path.unlink()
    with monkeypatch.context() as untrained:
        untrained.setattr("apps.training.pretraining.run", None)  # is not called
        code, _, err = kws("bench", "run", grid, *only)
        assert code == 0, err
        assert read_json(path) == first
        path.unlink()
        fewer = grid.read_text(encoding="utf-8").replace("epochs = 1", "epochs = 1\nper_word = 2")
        grid.write_text(fewer, encoding="utf-8")  # of other recordings it is another
        assert "holds another base" in kws("bench", "run", grid, *only)[2]
        grid.write_text(fewer.replace("per_word = 2", ""), encoding="utf-8")
        untrained.setattr("apps.training.pretraining.ARCHITECTURE", "another")  # of one's own
        assert "holds another base" in kws("bench", "run", grid, *only)[2]
        untrained.setattr("apps.training.pretraining.ARCHITECTURE", "bcresnet")
        others = spoken.with_name("others.csv")  # as many recordings of the same words
        text = people.read_text(encoding="utf-8")
        names = {str(clip.speaker) for clip in read_manifest(people)}
        for name in names:
            text = text.replace(f",{name},", f",other {name},")
        others.write_text(text, encoding="utf-8")
        same = fewer.replace("per_word = 2", "").replace(str(people), str(others))
        grid.write_text(same, encoding="utf-8")
        assert "holds another base" in kws("bench", "run", grid, *only)[2]


def test_kept_features_are_those_of_what_the_base_hears(tiny: Path, spoken: Path) -> None:
    """One grid may pretrain a base and adapt another, which hears what comes before."""
    config = read_base_config(tiny / "base")
    cache: dict[object, Any] = {}
    selection = Selection(data=spoken, filters=(("language", "de"),), closed=True)
    frames = [
        Recordings.to_learn(selection, one, cache=cache).fixed("test")[0].shape[-1]
        for one in (config, replace(config, causal=True, span=40), config)
    ]
    assert frames[0] == frames[2] < frames[1]


@pytest.mark.parametrize(
    ("cores", "given", "jobs"),
    [
        (1, [], []),
        (2, [], [2]),
        (8, [], [2]),
        (8, ["--only", "german-*"], []),
        (8, ["--jobs", 1], []),
    ],
)
def test_a_grid_takes_as_many_cores_as_it_has_recordings_for(
    tiny: Path,
    spoken: Path,
    tmp_path: Path,
    kws: Kws,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    given: list[object],
    jobs: list[int],
) -> None:
    """Two languages are two groups; where one process does all, it is this one."""
    grid, asked = tmp_path / "grid.toml", []
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=1), encoding="utf-8")
    monkeypatch.setattr("apps.bench.cores", lambda: cores)
    monkeypatch.setattr("apps.bench.side_by_side", lambda shares, *_: asked.append(len(shares)))
    monkeypatch.setattr("apps.bench._in_turn", lambda *_: iter(()))
    code, _, err = kws("bench", "run", grid, "--records", tmp_path / "records", *given)
    assert (code, asked) == (0, jobs), err


def test_jobs_share_what_is_left(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where some were killed; and a run has the threads that it would have beside all."""
    grid, asked = tmp_path / "grid.toml", []
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1)
    grid.write_text(text.replace("seeds = [0]", "seeds = [0, 1]"), encoding="utf-8")
    trainings, runs = read_grid(grid)
    assert trainings
    groups = grouped(runs)
    assert len(groups) == 4
    records = tmp_path / "records"
    for run in (*groups[0], *groups[2]):
        write_json(records / "grid" / f"{run.name}.json", {"settings": asdict(trainings)})
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("apps.bench.cores", lambda: 2)
    monkeypatch.setattr("apps.experiments.jobs.cores", lambda: 2)
    monkeypatch.setattr("apps.bench.side_by_side", lambda shares, *_: asked.extend(shares))
    run_all = ["bench", "run", grid, "--records", records, "--work", tmp_path / "work"]
    assert kws(*run_all)[0] == 0
    assert [*map(list, asked)] == [[1], [3]]
    ran: list[tuple[str, int]] = []

    def do(groups: list[list[Run]], _: object) -> Iterator[tuple[Run, str]]:
        for run in chain.from_iterable(groups):
            ran.append((run.name, torch.get_num_threads()))
            yield run, "stop"

    monkeypatch.setattr("apps.bench._in_turn", do)
    kws(*run_all, "--groups", 3)
    assert {name for name, _ in ran} == {run.name for run in groups[3]}
    for run in groups[1]:
        write_json(records / "grid" / f"{run.name}.json", {"settings": asdict(trainings)})
    ran.clear()
    kws(*run_all)
    assert {threads for _, threads in ran} == {1}


def test_a_run_that_diverges_is_recorded_as_such(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    """It would again; the report leaves its rate out."""
    grid = tmp_path / "grid.toml"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1)
    text = text.replace('"head", "norms"', '"norms"').replace("seeds", "rates = [1e25]\nseeds")
    grid.write_text(text, encoding="utf-8")
    run = ["bench", "run", grid, "--only", "german-*", "--work", tmp_path / "work"]
    run += ["--records", tmp_path / "records"]
    code, _, err = kws(*run)
    assert (code, "diverged (recorded)" in err) == (0, True), err
    assert "1 run, 1 recorded already" in kws(*run)[2]
    report = ["bench", "report", "--records", tmp_path / "records", "--out", tmp_path / "x.md"]
    assert kws(*report)[0] == 0


def test_a_job_is_a_part(tmp_path: Path, kws: Kws) -> None:
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--jobs", 2, "--part", 1, 2)
    assert code == 2
    assert "--jobs and --part exclude each other" in err


@pytest.mark.parametrize("method", ["swr", "head"])
def test_a_run_leaves_all_that_the_report_reads(
    method: str, tiny: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(
        data=str(spoken),
        base=str(tiny / "base"),
        epochs=4,
        per_word=2,
        tasks={"german": ["language=de"]},
        cells=(),
    )
    budget = "10%" if method == "swr" else None
    cell = Cell(task="german", seed=0, method=method, budget=budget, bits=4)
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path))  # where there is no git
        done = run_cell(cell, grid, tmp_path / "run", "cpu")
    assert done["commit"] == "unknown"
    write_results([done], tmp_path / "results.md")
    assert done["result"]["spent_parameters"] <= 883
    assert done["base_sha256"] == read_json(tiny / "base" / "base_config.json")["sha256"]
    assert done["test"]["split_by"] == "people"
    assert f"| {method}, 4 bits | {budget or '-'} |" in (tmp_path / "results.md").read_text("utf-8")
    adapter = read_json(tmp_path / "run" / "adapter_config.json")
    assert adapter["features_digest"] == FeatureConfig().digest
    assert adapter["training"]["bits"] == 4


def test_a_grid_without_its_base_says_so_once(kws: Kws, spoken: Path, tmp_path: Path) -> None:
    """Before any of its runs."""
    text = GRID.format(data=spoken, base=tmp_path / "gone", epochs=1)
    (tmp_path / "grid.toml").write_text(text, encoding="utf-8")
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--records", tmp_path / "records")
    assert code == 2
    told = " ".join(err.split())
    assert f"the grid expects its base in {tmp_path / 'gone'}, but there is none; make it" in told
    assert "failed" not in told
    assert not (tmp_path / "records").exists()


def test_a_grid_without_its_recordings_says_so_once(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """Before any of its runs."""
    text = GRID.format(data=tmp_path / "gone", base=tiny / "base", epochs=1)
    (tmp_path / "grid.toml").write_text(text, encoding="utf-8")
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--records", tmp_path / "records")
    assert code == 2
    told = " ".join(err.split())
    assert f"the grid expects its recordings in {tmp_path / 'gone'}, but there is nothing" in told
    assert "failed" not in told
    assert not (tmp_path / "records").exists()


def test_notes_of_a_run_name_it(capfd: pytest.CaptureFixture[str]) -> None:
    """Among those of many others."""
    with speaking_of("german-swr-0"):
        note("few people")
    note("done")
    said = capfd.readouterr().err.splitlines()
    assert said == ["german-swr-0: note: few people", "note: done"]
