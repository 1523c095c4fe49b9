"""``kws bench``: a grid of runs from a file, one record a run, and the report they make."""

import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from kws.errors import UsageError
from kws.files import read_json, write_json
from kws.train import Plan
from policy.methods import RATE

from . import adapt, options, pretrain
from .measure import measure, merged
from .progress import CONSOLE
from .recordings import Recordings, Selection, pick_device
from .wiring import open_base

RECORDS = Path("docs/records")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid: a pretraining where ``tau`` is given, else an adaptation."""

    task: str
    seed: int
    method: str | None = None
    budget: str | None = None
    tau: float | None = None

    @property
    def name(self) -> str:
        """Of the record and of the folder that the run writes."""
        kind = f"tau{self.tau:g}" if self.tau else f"{self.method}-{self.budget or 'fixed'}"
        return f"{self.task}-{kind}-{self.seed}".replace("%", "pc")


def cells(grid: dict[str, Any]) -> list[Cell]:
    """Every run that the grid's lists span, each once.

    One seed after another: a grid that is not finished is one of fewer seeds.
    """
    spanned = dict.fromkeys(cell for group in grid["cells"] for cell in _span(group))
    return sorted(spanned, key=lambda cell: cell.seed)


def _span(group: dict[str, Any]) -> Iterator[Cell]:
    for seed in group["seeds"]:
        for task in group["tasks"]:
            for tau in group.get("taus", []):
                yield Cell(task=task, seed=seed, tau=float(tau))
            for method in group.get("methods", []):
                for budget in group.get("budgets", [None]):
                    yield Cell(task=task, seed=seed, method=method, budget=budget)


@click.group()
def bench() -> None:
    """Run grids of experiments and report them."""


@bench.command("run")
@click.argument("grid", type=click.Path(path_type=Path))
@click.option("--records", default=RECORDS, show_default=True, type=click.Path(path_type=Path))
@click.option("--work", default=Path("runs/bench"), type=click.Path(path_type=Path))
@click.option(
    "--part",
    default=(1, 1),
    type=(int, int),
    metavar="I N",
    help="every N-th run from the I-th on, for one of N processes side by side",
)
@options.device
def run_grid(grid: Path, records: Path, work: Path, part: tuple[int, int], device: str) -> None:
    """Run every cell of GRID that has no record yet."""
    if not 1 <= part[0] <= part[1]:
        raise UsageError(f"--part {part[0]} {part[1]} is not a part: give I from 1 to N")
    try:
        settings = tomllib.loads(grid.read_text(encoding="utf-8"))
        todo = cells(settings)[part[0] - 1 :: part[1]]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(f"{grid} is no grid that can be read ({error!r})") from error
    folder = records / grid.stem
    missing = [cell for cell in todo if not (folder / f"{cell.name}.json").is_file()]
    CONSOLE.print(f"{len(todo)} runs, {len(todo) - len(missing)} recorded already")
    for number, cell in enumerate(missing, start=1):
        record = run_cell(cell, settings, work / grid.stem / cell.name, pick_device(device))
        write_json(folder / f"{cell.name}.json", record)
        CONSOLE.print(f"{number}/{len(missing)} {cell.name}: test {record['test']['accuracy']:.1%}")


def run_cell(cell: Cell, settings: dict[str, Any], out: Path, device: str) -> dict[str, Any]:
    """One run with its measures on validation and on test."""
    pairs = [tuple(text.split("=", 1)) for text in settings["tasks"][cell.task]]
    selection = Selection(
        data=Path(settings["data"]),
        filters=tuple((column, value) for column, value in pairs),
        closed=settings.get("closed", False),
        per_word=settings.get("per_word"),
        seed=cell.seed,
    )
    record = {"cell": asdict(cell), "settings": settings, "commit": _commit()}
    rate = settings.get("lr")
    if cell.tau:
        plan = Plan(epochs=settings["epochs"], lr=rate or pretrain.LR, seed=cell.seed)
        record["result"] = pretrain.run(selection, cell.tau, plan, device, out)
        base, adapter = open_base(out), None
    else:
        from kws.adapter import load_adapter

        base = open_base(Path(settings["base"]))
        method, budget = str(cell.method), cell.budget or "100%"
        config = adapt.run(
            base,
            selection,
            method,
            budget,
            out,
            epochs=settings.get("epochs"),
            steps=settings.get("steps", adapt.STEPS),
            lr=rate or RATE,
            device=device,
        )
        record["result"], adapter = adapt.summary(config), load_adapter(out)
    labels = adapter.config.labels if adapter else base.config.labels
    recordings = Recordings.select(selection, base.config, labels)
    for split in ("validation", "test"):
        record[split] = measure(merged(base, adapter), recordings, split).report
    return record


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


@bench.command("report")
@click.option("--records", default=RECORDS, show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--out", default=Path("docs/results.md"), show_default=True, type=click.Path(path_type=Path)
)
def report(records: Path, out: Path) -> None:
    """Turn records into tables and pictures."""
    from .results import write_results

    found = [read_json(path) for path in sorted(records.rglob("*.json"))]
    if not found:
        raise UsageError(f"there are no records in {records}; make some with kws bench run")
    write_results(found, out)
    click.echo(f"{out} from {len(found)} records")
