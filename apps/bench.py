"""``kws bench``: a grid of runs from a file, one record a run, and the report they make."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from kws.errors import KwsError, UsageError
from kws.files import read_json, write_json
from kws.quantized import Bits
from kws.train import Plan
from policy.methods import TOGETHER
from policy.transfer import RATE

from . import adapt, options, pretrain
from .cluster import spread
from .measure import measure, merged
from .progress import CONSOLE
from .recordings import Recordings, Selection, parse_filters, pick_device
from .stream_grid import KEY, StreamCell, run_stream, stream_cells
from .stream_results import summary
from .wiring import open_base

RECORDS, RESULTS, SUMMARY = Path("docs/records"), Path("docs/results.md"), Path("README.md")
ZOO = Path("models/zoo")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid: a pretraining where ``tau`` is given, else an adaptation."""

    task: str
    seed: int
    method: str | None = None
    budget: str | None = None
    tau: float | None = None
    per_word: int | None = None  # training clips; None: as many as the grid says for all
    lr: float | None = None  # peak rate; None: what the grid says for all
    bits: Bits | None = None  # of each stored number; None: what the grid says for all
    before: tuple[str, ...] = ()  # tasks learnt before, on which a method builds

    @property
    def name(self) -> str:
        """Of the record and of the folder that the run writes."""
        kind = f"tau{self.tau:g}" if self.tau else f"{self.method}-{self.budget or 'fixed'}"
        clips = f"-{self.per_word}clips" if self.per_word else ""
        rate = f"-lr{self.lr:g}" if self.lr else ""
        bits = f"-{self.bits}bits" if self.bits else ""
        after = f"-after-{'-'.join(self.before)}" if self.before else ""
        return f"{self.task}{after}{clips}-{kind}{rate}{bits}-{self.seed}".replace("%", "pc")

    @property
    def earlier(self) -> "Cell | None":
        """The run that learns the language before."""
        if not self.before:
            return None
        return replace(self, task=self.before[-1], before=self.before[:-1])


Run = Cell | StreamCell


def cells(grid: dict[str, Any]) -> list[Cell]:
    """Every run that the grid's lists span, each once.

    One seed after another: a grid that is not finished is one of fewer seeds.
    """
    spanned = dict.fromkeys(cell for group in grid["cells"] for cell in _span(group))
    return sorted(spanned, key=lambda cell: (cell.seed, len(cell.before)))


def runs(grid: dict[str, Any]) -> Iterable[Run]:
    """Every run of a grid, which is one of streams, or of trainings."""
    return stream_cells(grid) if KEY in grid else cells(grid)


def shared(cells: Iterable[Run]) -> list[list[Run]]:
    """The runs that hear the same recordings in the same order, or build on one another."""
    groups: dict[tuple[int, str, int | None], list[Run]] = {}
    for cell in cells:
        first = cell.before[0] if isinstance(cell, Cell) and cell.before else cell.task
        groups.setdefault((cell.seed, first, cell.per_word), []).append(cell)
    return list(groups.values())


def _span(group: dict[str, Any]) -> Iterator[Cell]:
    for seed in group["seeds"]:
        chains = [[task] for task in group.get("tasks", [])]
        for order in group.get("sequences", []):
            chains += [order[:end] for end in range(1, len(order) + 1)]
        for *before, task in chains:
            for tau in group.get("taus", []):
                yield Cell(task=task, seed=seed, tau=float(tau))
            for clips, method, budget, rate, bits in product(
                group.get("clips", [None]),
                group.get("methods", []),
                group.get("budgets", [None]),
                group.get("rates", [None]),
                group.get("bits", [None]),
            ):
                yield Cell(
                    task=task,
                    seed=seed,
                    method=method,
                    budget=budget,
                    per_word=clips,
                    lr=rate,
                    bits=bits,
                    before=tuple(before),
                )


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
    help="every N-th group of runs that share recordings, from the I-th on, for one of N "
    "processes side by side",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="processes side by side on this machine, which share its cores",
)
@click.option(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="on a Ray cluster that is there, this machine's or the one at an address, whose machines "
    "all have this folder, the recordings and the base at the same paths",
)
@click.option("--only", default="*", metavar="PATTERN", help="runs of such names alone, as *-swr-*")
@options.device
def run_grid(
    grid: Path,
    records: Path,
    work: Path,
    part: tuple[int, int],
    jobs: int,
    ray: str | None,
    only: str,
    device: str,
) -> None:
    """Run every cell of GRID that has no record yet."""
    if ray and (jobs > 1 or part != (1, 1)):
        raise UsageError("--ray spreads the whole grid; leave --jobs and --part out")
    if not 1 <= part[0] <= part[1]:
        raise UsageError(f"--part {part[0]} {part[1]} is not a part: give I from 1 to N")
    if jobs > 1:
        if part != (1, 1):
            raise UsageError("--jobs and --part exclude each other: each job is a part")
        side_by_side(
            jobs, [grid, "--records", records, "--work", work, "--only", only, "--device", device]
        )
        return
    try:
        settings = tomllib.loads(grid.read_text(encoding="utf-8"))
        spanned = list(runs(settings))
        if KEY not in settings and (odd := {run.task for run in spanned} - {*settings["tasks"]}):
            raise UsageError(f"{grid} has no task {', '.join(sorted(odd))} among its [tasks]")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{grid} is no grid that can be read ({error!r})") from error
    groups = shared(run for run in spanned if fnmatch(run.name, only))
    if not groups:
        names = ", ".join(run.name for run in spanned[:3])
        raise UsageError(f"--only {only} names no run of {grid}; runs are called {names}, ...")
    groups = groups[part[0] - 1 :: part[1]]
    if ray and any(isinstance(cell, Cell) and cell.before for group in groups for cell in group):
        raise UsageError("languages that build on one another run one after another: no --ray")
    folder = records / grid.stem
    missing = [[c for c in group if not (folder / f"{c.name}.json").is_file()] for group in groups]
    todo, total = sum(map(len, missing)), sum(map(len, groups))
    CONSOLE.print(f"{total} runs, {total - todo} recorded already")
    do = partial(_run, settings=settings, work=work / grid.stem, device=device)
    found: Iterable[tuple[Run, dict[str, Any] | str]]
    if ray:
        found = spread([cell for group in missing for cell in group], do, ray)
    else:
        found = _in_turn(missing, do)
    failed = 0
    for done, (cell, record) in enumerate(found, 1):
        if isinstance(record, str):
            failed += 1
            CONSOLE.print(f"{done}/{todo} {cell.name} failed: {record}")
            continue
        write_json(folder / f"{cell.name}.json", record)
        stream = isinstance(cell, StreamCell)
        result = summary(record) if stream else f"test {record['test']['accuracy']:.1%}"
        CONSOLE.print(f"{done}/{todo} {cell.name}: {result}")
    if failed:
        raise KwsError(f"{failed} of {todo} runs failed, as they said; run the grid again to go on")


def _in_turn(
    groups: Iterable[list[Run]], do: Callable[..., dict[str, Any]]
) -> Iterator[tuple[Run, dict[str, Any] | str]]:
    """Do every run here; those of a group share what they read.

    A run that could not be done comes with the sentence that says why, and the others go on.
    """
    for group in groups:
        kept: dict[str, dict[object, Any]] = {}
        for cell in group:
            try:
                yield cell, do(cell, kept=kept.setdefault(cell.task, {}))
            except KwsError as error:
                yield cell, str(error)


def _run(
    cell: Run,
    *,
    settings: dict[str, Any],
    work: Path,
    device: str,
    kept: dict[object, Any] | None = None,
) -> dict[str, Any]:
    """The record of one run of either kind."""
    out = work / cell.name
    if isinstance(cell, StreamCell):
        return {"commit": _commit(), **run_stream(cell, out)}
    return run_cell(cell, settings, out, pick_device(device), kept)


def side_by_side(jobs: int, arguments: Sequence[object]) -> None:
    """Run a grid in so many processes, none of which takes more threads than its share of cores.

    Raises:
        KwsError: one of them failed; the others went on to their end.

    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    command = [sys.executable, "-c", "from apps.cli import main; main()", "bench", "run"]
    command += map(str, arguments)
    started = [
        subprocess.Popen(
            [*command, "--part", str(number), str(jobs)],
            env=os.environ | {"OMP_NUM_THREADS": threads},
        )
        for number in range(1, jobs + 1)
    ]
    try:
        failed = sum(process.wait() != 0 for process in started)
    except BaseException:
        for process in started:
            process.terminate()
        raise
    if failed:
        raise KwsError(f"{failed} of {jobs} jobs failed, as they said; run the grid again to go on")


def run_cell(
    cell: Cell,
    settings: dict[str, Any],
    out: Path,
    device: str,
    kept: dict[object, Any] | None = None,
) -> dict[str, Any]:
    """One run with its measures on validation and on test.

    Args:
        cell: the run.
        settings: of its grid.
        out: folder for what it leaves.
        device: where to train.
        kept: what runs on the same recordings read and made, for the next of them.

    """
    selection = Selection(
        data=Path(settings["data"]),
        filters=parse_filters(settings["tasks"][cell.task]),
        closed=settings.get("closed", False),
        per_word=cell.per_word or settings.get("per_word"),
        seed=cell.seed,
    )
    record: dict[str, Any] = {"cell": asdict(cell), "settings": settings, "commit": _commit()}
    rate = cell.lr or settings.get("lr")
    if cell.tau:
        plan = Plan(epochs=settings["epochs"], lr=rate or pretrain.LR, seed=cell.seed)
        causal = settings.get("causal", False)
        record["result"] = pretrain.run(selection, cell.tau, plan, device, out, causal=causal)
        base, adapter = open_base(out), None
        recordings = Recordings.select(selection, base.config, base.config.labels)
    else:
        from kws.adapter import load_adapter

        base = open_base(Path(settings["base"]))
        recordings = Recordings.select(selection, base.config, kept=kept)
        method, budget = str(cell.method), cell.budget or "100%"
        together = settings["tasks"].items() if method in TOGETHER else ()
        others = [parse_filters(filters) for task, filters in together if task != cell.task]
        config = adapt.run(
            base,
            recordings,
            method,
            budget,
            out,
            seed=cell.seed,
            bits=cell.bits or settings.get("bits", adapt.ROUNDED),
            after=out.with_name(cell.earlier.name) if cell.earlier else None,
            beside=[
                Recordings.select(replace(selection, filters=filters), base.config)
                for filters in others
            ],
            epochs=settings.get("epochs"),
            steps=settings.get("steps", adapt.STEPS),
            lr=rate or RATE,
            device=device,
        )
        record["result"], adapter = adapt.summary(config), load_adapter(out)
    record |= {"causal": base.config.causal, "base_sha256": base.config.sha256}
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
@click.option("--out", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
def report(records: Path, out: Path) -> None:
    """Turn records into tables and pictures, here also into the table in the README."""
    from .results import write_results, write_summary

    found = [read_json(path) for path in sorted(records.rglob("*.json"))]
    if not found:
        raise UsageError(f"there are no records in {records}; make some with kws bench run")
    write_results(found, out, ZOO)
    if out == RESULTS and SUMMARY.is_file():
        write_summary(found, SUMMARY)
    click.echo(f"{out} from {len(found)} records")
