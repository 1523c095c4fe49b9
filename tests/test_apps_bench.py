"""A grid spans each run once; the report says what the records say."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from apps.bench import Cell, Run, _in_turn, cells, run_cell, shared
from apps.results import write_results, write_summary
from kws.config import FeatureConfig
from kws.files import read_json

Kws = Callable[..., tuple[int, str, str]]
METHODS = ("head", "norms")
GROUP = {"tasks": ["a", "b"], "methods": ["swr", "random"], "budgets": ["5%"], "seeds": [0, 1]}


def record(method: str, budget: str | None, task: str, seed: int, right: float) -> dict[str, Any]:
    measured = {"accuracy": right, "worst_speaker": {"accuracy": right}}
    return {
        "cell": {"task": task, "seed": seed, "method": method, "budget": budget, "tau": None},
        "settings": {"base": "runs/base", "closed": True},
        "result": {"spent_parameters": 100, "stored_bytes": 1_000},
        "validation": measured,
        "test": measured,
    }


def test_a_grid_spans_every_run_once() -> None:
    found = cells({"cells": [GROUP, GROUP | {"seeds": [1, 2]}]})
    assert len(found) == len(set(found)) == 2 * 2 * 3
    assert len({cell.name for cell in found}) == len(found)
    assert [cell.seed for cell in found] == [0] * 4 + [1] * 4 + [2] * 4  # whole grids first


def test_pretraining_and_methods_without_budget_are_runs_too() -> None:
    found = cells({"cells": [{"tasks": ["a"], "taus": [1], "methods": ["full"], "seeds": [0]}]})
    assert found == [Cell(task="a", seed=0, tau=1.0), Cell(task="a", seed=0, method="full")]


def test_a_grid_may_take_few_clips_of_each_word() -> None:
    group = {"tasks": ["a"], "methods": ["full", "head"], "clips": [5, 20], "seeds": [0]}
    found = cells({"cells": [group]})
    names = ["a-5clips-full-fixed-0", "a-5clips-head-fixed-0"]
    assert [cell.name for cell in found[:2]] == names
    assert [{cell.per_word for cell in cells} for cells in shared(found)] == [{5}, {20}]


def test_a_grid_may_try_several_learning_rates() -> None:
    group = {"tasks": ["a"], "methods": ["full"], "rates": [0.01, 0.02], "seeds": [0]}
    found = cells({"cells": [group]})
    assert [cell.lr for cell in found] == [0.01, 0.02]
    assert [cell.name for cell in found] == ["a-full-fixed-lr0.01-0", "a-full-fixed-lr0.02-0"]


def test_a_grid_may_store_numbers_in_several_ways(tmp_path: Path) -> None:
    """Each way is a row of its own, beside what is trained whole, and no rival of the other."""
    group = {"tasks": ["a"], "methods": ["swr"], "budgets": ["80"], "bits": [8, 4], "seeds": [0]}
    found = cells({"cells": [group]})
    assert [cell.name for cell in found] == ["a-swr-80-8bits-0", "a-swr-80-4bits-0"]
    records = [record("full", None, task, 0, 0.9) for task in ("a", "b")]
    for bits, right in ((8, 0.8), (4, 0.7)):
        for task in ("a", "b"):
            run = record("swr", "80", task, 0, right)
            run["cell"]["bits"] = bits
            records.append(run)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr, 4 bits | 80 | 0.02 | 70.0 | 70.0 |" in page
    assert "| swr, 8 bits 80 - full | -10.00 ± 0.00" in page
    assert "swr, 8 bits 80 - swr, 4 bits" not in page


def test_the_report_takes_the_rate_that_is_best_on_validation(tmp_path: Path) -> None:
    """By what both rates ran, for each method by itself, whatever the test says."""
    records = []
    for method, seed, lr, validation, test in (
        ("full", 0, 0.01, 0.90, 0.70),
        ("full", 0, 0.02, 0.80, 0.99),
        ("full", 1, 0.01, 0.50, 0.72),  # alone: it decides nothing
        ("head", 0, 0.01, 0.60, 0.50),
        ("head", 0, 0.02, 0.61, 0.40),
    ):
        run = record(method, None, "a", seed, test)
        run["cell"]["lr"] = lr
        run["validation"] = {"accuracy": validation}
        records.append(run)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| full | - | 0.01 | 100 | 1,000 | 71.0 ± 1.4 | 70.0 ± 28.3 | 2 |" in page
    assert "| head | - | 0.02 | 100 | 1,000 | 40.0 | 61.0 | 1 |" in page


def test_a_sequence_of_languages_is_run_in_its_order() -> None:
    """What several begin with is run once, and those that begin alike are one group."""
    orders = [["a", "b", "c"], ["a", "c"], ["b", "a"]]
    found = cells({"cells": [{"sequences": orders, "methods": ["cacl"], "seeds": [0]}]})
    assert [cell.name.removesuffix("-cacl-fixed-0") for cell in found] == [
        "a", "b", "b-after-a", "c-after-a", "a-after-b", "c-after-a-b",
    ]  # fmt: skip
    assert [cell.earlier and cell.earlier.name for cell in found[-1:]] == ["b-after-a-cacl-fixed-0"]
    groups = [[cell.name.partition("-cacl")[0] for cell in group] for group in shared(found)]
    assert groups == [["a", "b-after-a", "c-after-a", "c-after-a-b"], ["b", "a-after-b"]]


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
    accuracies = [100 * run["test"]["accuracy"] for run in (first, second)]
    shown = f"| german {accuracies[0]:.1f} ({owned[0]:,}) | spanish {accuracies[1]:.1f} "
    assert f"| cacl 10% | 0 {shown}({owned[1] - owned[0]:,}) |" in page


def test_the_report_keeps_few_recordings_apart(tmp_path: Path) -> None:
    """In a table of their own, a column for each number of clips."""
    records = [record("full", None, "a", 0, 0.95)]
    for clips, right in ((5, 0.6), (20, 0.8)):
        for seed in (0, 1):
            few = record("full", None, "a", seed, right + 0.1 * seed)
            few["cell"]["per_word"] = clips
            records.append(few)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| task | method | budget | 5 clips a word | 20 clips a word | seeds |" in page
    assert "| a | full | - | 65.0 ± 7.1 | 85.0 ± 7.1 | 2 |" in page
    assert "| full | - | 0.02 | 100 | 1,000 | 95.0 | 95.0 | 1 |" in page


def test_the_report_holds_means_spread_and_paired_differences(tmp_path: Path) -> None:
    records = [
        record(method, budget, task, seed, right + 0.01 * seed)
        for task in ("a", "b")
        for seed in (0, 1)
        for method, budget, right in (
            ("swr", "10%", 0.9),
            ("random", "10%", 0.8),
            ("full", None, 0.95),
        )
    ]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr | 10% | 0.02 | 90.5 ± 0.7 | 90.5 ± 0.7 | **90.50** | 1,000 | 90.0 | 2 |" in page
    assert "| swr 10% - full | -5.00 ± 0.00 (standard error) | 0 better, 0 equal, 4 worse |" in page
    assert "| swr 10% - random 10% | +10.00 ± 0.00" in page
    assert (tmp_path / "accuracy_by_bytes.png").stat().st_size > 10_000


def test_differences_are_of_languages_and_their_error_is_over_them(tmp_path: Path) -> None:
    """Seeds of one language are no evidence of another: 10 and 2 points are 6 and an error of 4."""
    records = []
    for task, ahead in (("a", (0.08, 0.12)), ("b", (0.02,))):
        for seed, points in enumerate(ahead):
            records.append(record("swr", "10%", task, seed, 0.8 + points))
            records.append(record("head", None, task, seed, 0.8))
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr 10% - head | +6.00 ± 4.00 (standard error) | 3 better, 0 equal, 0 worse |" in page


def test_swr_is_compared_with_the_largest_of_what_stores_no_more(tmp_path: Path) -> None:
    """Measured by what one run stores, however many runs there are."""
    records = [record("swr", "10%", task, seed, 0.9) for task in "ab" for seed in (0, 1)]
    for budget, size, seeds in (("5%", 500, (0, 1)), ("9%", 900, (0,)), ("20%", 2_000, (0,))):
        for task, seed in product("ab", seeds):
            run = record("random", budget, task, seed, 0.8)
            run["result"] = {"spent_parameters": size, "stored_bytes": size}
            records.append(run)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "swr 10% - random 9%" in page
    assert "swr 10% - random 5%" not in page
    assert "swr 10% - random 20%" not in page


def test_the_summary_stands_between_its_marks(tmp_path: Path) -> None:
    """And takes the place of what stood there; a page without marks is left alone."""
    records = [record("swr", "10%", task, 0, 0.9) for task in ("a", "b")]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: x -->\nold\n<!-- /results -->\nafter\n", "utf-8")
    for _ in range(2):
        write_summary(records, page)
    text = page.read_text("utf-8")
    assert "old" not in text
    assert text.count("| swr | 10% | 90.0 | 90.0 | **90.00** |") == 1
    assert text.startswith("before\n<!-- results: x -->\nAccuracy")
    assert text.endswith("\n<!-- /results -->\nafter\n")
    page.write_text("nothing\n", "utf-8")
    write_summary(records, page)
    assert page.read_text("utf-8") == "nothing\n"


def test_the_report_compares_only_what_was_trained_alike(tmp_path: Path) -> None:
    """Several languages in one setting, more methods on one of them in another."""
    broad = [record("swr", "10%", task, 0, 0.9) for task in ("a", "b")]
    broad += [record("full", None, task, 0, 0.95) for task in ("a", "b")]
    deep = [record(method, "10%", "a", 0, 0.7) for method in ("swr", "random", "last")]
    for run in deep:
        run["settings"] |= {"steps": 100}
    write_results(broad + deep, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    several, one = page.split("## Methods side by side")
    assert "| swr | 10% | 0.02 | 90.0 | 90.0 | **90.00** |" in several
    assert "| swr 10% - full | -5.00" in several
    assert "random" not in several
    assert "100 steps for every method" in one
    assert "| swr | 10% | 0.02 | 100 | 1,000 | 70.0 | 70.0 | 1 |" in one
    assert "| swr 10% - last 10% | +0.00" in one
    assert "| full |" not in one


def test_the_report_pairs_causal_runs_with_those_that_hear_all(tmp_path: Path) -> None:
    """A run without a pair is in no difference, and causal runs are in no other table."""
    whole = [record("swr", "10%", "a", seed, 0.9) for seed in (0, 1)]
    causal = [record("swr", "10%", "a", seed, 0.88) | {"causal": True} for seed in (1, 2)]
    write_results(whole + causal, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| a | swr 10% | 88.0 | 90.0 | -2.00 | 1 |" in page
    assert "| swr | 10% | 0.02 | 100 | 1,000 | 90.0 ± 0.0 | 90.0 ± 0.0 | 2 |" in page


def test_bases_are_told_with_the_worst_person_of_all_seeds(tmp_path: Path) -> None:
    records = [record("", None, "a", seed, right) for seed, right in ((0, 0.9), (1, 0.8))]
    for run in records:
        run["cell"]["tau"] = 2.0
        run["result"] = {"parameters": 29_104, "seconds": 60.0}
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| τ=2 | 29,104 | 85.0 ± 7.1 | 85.0 ± 7.1 | 80.0 | 1 | 2 |" in page


def test_runs_on_the_same_recordings_come_together() -> None:
    groups = shared(cells({"cells": [GROUP]}))
    assert [{(cell.task, cell.seed) for cell in group} for group in groups] == [
        {("a", 0)}, {("b", 0)}, {("a", 1)}, {("b", 1)},
    ]  # fmt: skip
    assert all(len(group) == 2 for group in groups)


def test_a_run_on_kept_recordings_comes_out_as_alone(
    tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    settings = {
        "data": str(spoken),
        "base": str(tiny / "base"),
        "epochs": 4,
        "tasks": {"german": ["language=de"]},
    }
    kept: dict[object, Any] = {}
    for method in ("even", "norms"):
        cell = Cell(task="german", seed=0, method=method, budget="10%")
        alone = run_cell(cell, settings, tmp_path / f"alone-{method}", "cpu")
        after = run_cell(cell, settings, tmp_path / f"after-{method}", "cpu", kept)
        assert kept
        assert (alone["validation"], alone["test"]) == (after["validation"], after["test"])
        models = [
            tmp_path / f"{n}-{method}" / "adapter_model.safetensors" for n in ("alone", "after")
        ]
        assert models[0].read_bytes() == models[1].read_bytes()


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
    assert said.count("2 runs, 0 recorded already") == 2


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
    assert (code, err) == (
        1,
        "kws: 1 of 2 jobs failed, as they said; run the grid again to go on\n",
    )
    assert "xx" in capfd.readouterr().err
    assert len(list((tmp_path / "records" / "grid").iterdir())) == 2  # of the other


def test_languages_of_a_sequence_share_no_recordings() -> None:
    """Each is read as its own, and once."""
    orders = [["a", "b"], ["a", "b", "c"]]
    found = cells({"cells": [{"sequences": orders, "methods": ["cacl"], "seeds": [0]}]})
    read: dict[str, int] = {}

    def do(cell: Run, kept: dict[object, Any]) -> dict[str, Any]:
        if cell.task not in kept:
            read[cell.task] = read.get(cell.task, 0) + 1
        kept[cell.task] = True
        assert set(kept) == {cell.task}
        return {}

    assert len(list(_in_turn(shared(found), do))) == len(found) == 3
    assert read == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("text", "only", "message"),
    [
        (GRID, "swr-*", "--only swr-* names no run"),
        (GRID.replace('["german", ', '["germann", '), "*", "has no task germann among"),
        (GRID + "name = '\udcff'", "*", "is no grid that can be read"),
    ],
)
def test_grids_that_cannot_be_run_are_refused(
    text: str, only: str, message: str, tmp_path: Path, kws: Kws
) -> None:
    grid = tmp_path / "grid.toml"
    filled = text.format(data="manifest.csv", base="base", epochs=1)
    grid.write_bytes(filled.encode("utf-8", "surrogateescape"))
    code, _, err = kws("bench", "run", grid, "--only", only)
    assert (code, message in " ".join(err.split())) == (2, True), err


def test_a_grid_that_is_not_finished_can_be_reported(tmp_path: Path) -> None:
    """Also one with budgets in bytes: no seed ran on all tasks."""
    records = [
        record("swr", budget, task, seed, 0.9)
        for budget in ("2KiB", "10KiB")
        for task, seed in (("a", 0), ("b", 1))
    ]
    write_results(records, tmp_path / "results.md")
    rows = (tmp_path / "results.md").read_text("utf-8").split("\n| swr | ")[1:]
    assert [row.split(" | ")[0] for row in rows[:2]] == ["2KiB", "10KiB"]
    assert "| 90.0 | 90.0 | **90.00** |" in rows[0]


def test_the_runs_after_one_that_fails_go_on(
    tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    grid = tmp_path / "grid.toml"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1).replace("=de", "=xx")
    grid.write_text(text, encoding="utf-8")
    folders = ["--records", tmp_path / "records", "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders)
    assert code == 1
    assert err.endswith("kws: 2 of 4 runs failed, as they said; run the grid again to go on\n")
    done = (tmp_path / "records" / "grid").iterdir()
    assert sorted(f.stem for f in done) == ["spanish-head-fixed-0", "spanish-norms-fixed-0"]


def test_a_job_is_a_part(tmp_path: Path, kws: Kws) -> None:
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--jobs", 2, "--part", 1, 2)
    assert code == 2
    assert "--jobs and --part exclude each other" in err


@pytest.mark.parametrize("method", ["swr", "head"])
def test_a_run_leaves_all_that_the_report_reads(
    method: str, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    settings = {
        "data": str(spoken),
        "base": str(tiny / "base"),
        "epochs": 4,
        "per_word": 2,
        "tasks": {"german": ["language=de"]},
    }
    budget = "10%" if method == "swr" else None
    done = run_cell(
        Cell(task="german", seed=0, method=method, budget=budget), settings, tmp_path / "run", "cpu"
    )
    write_results([done], tmp_path / "results.md")
    assert done["result"]["spent_parameters"] <= 883
    assert done["base_sha256"] == read_json(tiny / "base" / "base_config.json")["sha256"]
    assert f"| {method} | {budget or '-'} |" in (tmp_path / "results.md").read_text("utf-8")
    assert read_json(tmp_path / "run" / "adapter_config.json")["features_digest"] == (
        FeatureConfig().digest
    )
