"""``kws bench``: a grid of runs from a file, one record a run, and the report they make."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import click

from kws.base import BASE_CONFIG
from kws.cores import cores
from kws.errors import KwsError, UsageError
from kws.files import refuse_unwritable, write_json
from kws.train import DivergedError

from . import options
from .experiments.cell import commit, head_of, run_cell
from .experiments.cluster import spread
from .experiments.grid import Cell, Grid
from .experiments.jobs import end_with_input, side_by_side, threads_of
from .experiments.records import DIVERGED, RECORDS, record_path, refuse_others
from .experiments.runs import Run, grouped, read_grid
from .experiments.stream_grid import StreamCell, run_stream
from .progress import counted, say, speaking_of
from .report import report
from .results.on_streams import summary
from .training.recordings import Cache


@click.group(cls=options.Group)
def bench() -> None:
    """Run grids of experiments and report them."""


bench.add_command(report)


@bench.command("run")
@click.argument("grid", type=options.PATH)
@click.option(
    "--records",
    default=RECORDS,
    show_default=True,
    type=options.PATH,
    help="folder for the records, those of a grid in a folder of its name",
)
@click.option(
    "--work",
    default=Path("runs/bench"),
    show_default=True,
    type=options.PATH,
    help="folder for the networks that runs leave",
)
@click.option(
    "--part",
    type=(int, int),
    metavar="I N",
    help="every N-th group of runs that share recordings, from the I-th on, for one of N "
    "processes side by side",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="processes side by side on this machine, which share its cores; if not given, one on each",
)
@click.option("--groups", multiple=True, type=int, hidden=True)  # by number
@click.option("--job", is_flag=True, hidden=True)  # of another process, and ends with it
@click.option(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="on a Ray cluster that is there, this machine's or the one at an address, whose machines "
    "all have this folder, the recordings and the base at the same paths; write it after GRID, or "
    "as --ray=ADDRESS",
)
@click.option("--only", default="*", metavar="PATTERN", help="runs of such names alone, as *-swr-*")
@click.option(
    "--again",
    is_flag=True,
    help="also run what has a record, and replace it: for the networks that runs leave",
)
@options.device
def run_grid(**given: Any) -> None:
    """Run every cell of GRID that has no record yet, or with --again every cell."""
    asked = _Asked(**given)
    asked.refuse_contradictions()
    if asked.job:
        Thread(target=end_with_input, daemon=True).start()
    grid, runs = read_grid(asked.grid)
    groups = asked.groups_of(runs)
    recorded = {run for run in runs if record_path(asked.folder, run).is_file()}
    refuse_others(grid, asked.folder, asked.staying(recorded))
    left = asked.left(groups, recorded)
    chosen = set(chain.from_iterable(groups.values()))
    if not asked.job:
        say(f"{counted(len(chosen), 'run')}, {len(chosen & recorded)} recorded already")
    if grid and chosen and not left:
        say("if their networks are gone, give --again to train them again")
    if left:
        _refuse_missing(grid, chain.from_iterable(left.values()))
        refuse_unwritable(asked.folder)
    if asked.processes > 1 and len(left) > 1:
        side_by_side(asked.shares([*left]), asked.passed, asked.processes)
    else:
        _run_here(asked, grid, [*left.values()])


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the command line asks for, as the options above have it."""

    grid: Path
    records: Path
    work: Path
    part: tuple[int, int] | None
    jobs: int | None
    groups: tuple[int, ...]
    job: bool
    ray: str | None
    only: str
    again: bool
    device: str

    def refuse_contradictions(self) -> None:
        """Raise a UsageError where options contradict each other."""
        if self.ray and (self.jobs or self.part):
            raise UsageError("--ray spreads the whole grid; leave --jobs and --part out")
        if self.part and not 1 <= self.part[0] <= self.part[1]:
            first, step = self.part
            raise UsageError(f"--part {first} {step} is not a part: give I from 1 to N")
        if self.jobs and self.part:
            raise UsageError("--jobs and --part exclude each other: each job is a part")

    @property
    def folder(self) -> Path:
        """Where the grid's records are."""
        return self.records / self.grid.stem

    def wants(self, run: Run) -> bool:
        """Whether a run is asked for, in this part or in another."""
        return fnmatch(run.name, self.only)

    def groups_of(self, runs: Sequence[Run]) -> dict[int, list[Run]]:
        """The runs of this part, in groups that share recordings, by number.

        Raises:
            UsageError: no run is asked for in any part, or these cannot be spread.

        """
        everything = grouped(filter(self.wants, runs))
        if not everything:
            names = ", ".join(run.name for run in runs[:3])
            raise UsageError(
                f"--only {self.only} names no run of {self.grid}; runs are called {names}, ..."
            )
        if self.ray and any(isinstance(run, Cell) and run.before for run in chain(*everything)):
            raise UsageError("languages that build on one another run one after another: no --ray")
        first, step = self.part or (1, 1)
        numbers = self.groups or range(first - 1, len(everything), step)
        return {number: everything[number] for number in numbers}

    def staying(self, recorded: Iterable[Run]) -> list[Run]:
        """Runs whose records stay; what other parts replace is no obstacle to this one."""
        return [run for run in recorded if not (self.again and self.wants(run))]

    def left(self, groups: Mapping[int, list[Run]], recorded: Set[Run]) -> dict[int, list[Run]]:
        """What is still to do of each group, where there is something."""
        missing = {
            number: [run for run in group if self.again or run not in recorded]
            for number, group in groups.items()
        }
        return {number: group for number, group in missing.items() if group}

    @property
    def processes(self) -> int:
        """How many may run side by side, each with its part of the cores."""
        if self.ray or self.part or self.groups:
            return 1
        return self.jobs or cores()

    def shares(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """The groups of each process."""
        processes = min(self.processes, len(numbers))
        return [numbers[index::processes] for index in range(processes)]

    @property
    def passed(self) -> list[object]:
        """What each process is told like this one."""
        folders = ["--records", self.records, "--work", self.work]
        again = ["--again"] if self.again else []
        return [self.grid, *folders, "--only", self.only, "--device", self.device, *again]


def _run_here(asked: _Asked, grid: Grid | None, groups: Sequence[list[Run]]) -> None:
    """Run what is left in this process, or on a cluster, and record it.

    Raises:
        KwsError: some could not be done; the others are recorded.

    """
    do = partial(_run, asked=asked, grid=grid)
    found: Iterable[tuple[Run, dict[str, Any] | str]]
    if asked.ray:
        found = spread(chain.from_iterable(groups), do, asked.ray)
    else:
        found = _in_turn(groups, do)
    todo = sum(map(len, groups))
    with threads_of(asked.processes):
        failed = _record(found, asked.folder, None if asked.job else todo)
    if failed:
        rest = (
            "repeat it with --only to run them alone"
            if asked.again
            else "run the grid again to resume"
        )
        raise KwsError(f"{failed} of {todo} runs failed (see above); {rest}")


def _record(
    found: Iterable[tuple[Run, dict[str, Any] | str]], folder: Path, todo: int | None
) -> int:
    """Write what comes of runs, and tell it, counted where it is known of how many.

    Returns:
        How many failed.

    """
    failed = 0
    for done, (cell, record) in enumerate(found, 1):
        name = f"{done}/{todo} {cell.name}" if todo else cell.name
        if isinstance(record, str):
            failed += 1
            say(f"{name} failed: {record}")
            continue
        write_json(record_path(folder, cell), record)
        if DIVERGED in record:
            say(f"{name} diverged (recorded): {record[DIVERGED]}")
            continue
        stream = isinstance(cell, StreamCell)
        result = summary(record) if stream else f"test {record['test']['accuracy']:.1%}"
        say(f"{name}: {result}")
    return failed


def _refuse_missing(grid: Grid | None, runs: Iterable[Run]) -> None:
    """Raise a UsageError where trainings lack their recordings, or the base that they adapt."""
    if grid is None:
        return
    if not Path(grid.data).exists():
        raise UsageError(
            f"the grid expects its recordings in {grid.data}, but there is nothing; put them "
            "there, or name others in the grid"
        )
    adapts = any(isinstance(run, Cell) and run.method for run in runs)
    if grid.base and adapts and not (Path(grid.base) / BASE_CONFIG).is_file():
        raise UsageError(
            f"the grid expects its base in {grid.base}, but there is none; make it first, as the "
            "grid says or with kws pretrain, or name another in the grid"
        )


def _in_turn(
    groups: Iterable[list[Run]], do: Callable[..., dict[str, Any]]
) -> Iterator[tuple[Run, dict[str, Any] | str]]:
    """Do every run here; those of a group share what they read.

    A run that could not be done comes with the sentence that says why, and the others go on.
    """
    for group in groups:
        caches: dict[str, Cache] = {}
        for index, cell in enumerate(group):
            cache = caches.setdefault(cell.task, {})
            # Whole epochs take some gigabytes: none are kept for runs that do not come.
            last = all(other.task != cell.task for other in group[index + 1 :])
            try:
                yield cell, do(cell, cache=cache if cache or not last else None)
            except KwsError as error:
                yield cell, str(error)
            if last:
                del caches[cell.task]


def _run(
    cell: Run, *, asked: _Asked, grid: Grid | None, cache: Cache | None = None
) -> dict[str, Any]:
    """The record of one run of either kind."""
    out = asked.work / asked.grid.stem / cell.name
    with speaking_of(cell.name):
        if isinstance(cell, StreamCell):
            return {"commit": commit(), **run_stream(cell, out)}
        assert grid is not None
        device = options.pick_device(asked.device)
        try:
            return run_cell(cell, grid, out, device, cache, again=asked.again)
        except DivergedError as error:  # as it would again
            return head_of(cell, grid) | {DIVERGED: str(error)}
