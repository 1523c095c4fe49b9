"""``kws bench``: a grid of runs from a file, one record a run, and the report they make."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import click
import torch

from audio_data.clips import HALVES
from kws.base import BASE_CONFIG
from kws.errors import KwsError, UsageError
from kws.files import read_json, refuse_unwritable, write_json
from kws.train import DivergedError

from . import options
from .cell import commit, head_of, run_cell
from .cluster import spread
from .grid import Cell, Grid
from .progress import say
from .stream_grid import KEY, StreamCell, run_stream, stream_cells
from .stream_results import summary
from .tables import DIVERGED
from .zoo import ZOO

RECORDS, RESULTS, SUMMARY = Path("docs/records"), Path("docs/results.md"), Path("README.md")

Run = Cell | StreamCell


def read_grid(path: Path) -> tuple[Grid | None, list[Run]]:
    """Every run of a file, and what they have in common if they are trainings.

    Raises:
        UsageError: there is no such file, or a run of it could not be done.

    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a grid") from error
    except ValueError as error:
        raise UsageError(f"{path} is no grid that can be read ({error})") from error
    try:
        if KEY in raw:
            return None, [*stream_cells(raw)]
        grid = Grid.parse(raw)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return grid, [*grid.runs()]


def shared(cells: Iterable[Run]) -> list[list[Run]]:
    """The runs that hear the same recordings in the same order, or build on one another."""
    groups: dict[tuple[int, str, int | None], list[Run]] = {}
    for cell in cells:
        first, per_word = cell.task, None
        if isinstance(cell, Cell):
            first = cell.before[0] if cell.before else cell.task
            per_word = cell.per_word
        groups.setdefault((cell.seed, first, per_word), []).append(cell)
    return list(groups.values())


@click.group(cls=options.Group)
def bench() -> None:
    """Run grids of experiments and report them."""


@bench.command("run")
@click.argument("grid", type=options.PATH)
@click.option("--records", default=RECORDS, show_default=True, type=options.PATH)
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
    "all have this folder, the recordings and the base at the same paths",
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
        Thread(target=_end_with_input, daemon=True).start()
    grid, runs = read_grid(asked.grid)
    groups = asked.groups_of(runs)
    recorded = {run for run in runs if _record_path(asked.folder, run).is_file()}
    refuse_others(grid, asked.folder, asked.staying(recorded))
    left = asked.left(groups, recorded)
    chosen = set(chain.from_iterable(groups.values()))
    say(f"{len(chosen)} runs, {len(chosen & recorded)} recorded already")
    if grid and chosen and not left:
        say("if their networks are gone, give --again to train them again")
    if left:
        _refuse_without_base(grid, chain.from_iterable(left.values()))
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
        everything = shared(filter(self.wants, runs))
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
        return self.jobs or os.cpu_count() or 1

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
    with _threads(asked.processes):
        failed = _record(found, asked.folder, todo)
    if failed:
        rest = (
            "repeat it with --only to run them alone"
            if asked.again
            else "run the grid again to resume"
        )
        raise KwsError(f"{failed} of {todo} runs failed (see above); {rest}")


def _record_path(folder: Path, run: Run) -> Path:
    """Where a run's record is, or will be."""
    return folder / f"{run.name}.json"


def _record(found: Iterable[tuple[Run, dict[str, Any] | str]], folder: Path, todo: int) -> int:
    """Write what comes of runs, and tell it; how many failed."""
    failed = 0
    for done, (cell, record) in enumerate(found, 1):
        if isinstance(record, str):
            failed += 1
            say(f"{done}/{todo} {cell.name} failed: {record}")
            continue
        write_json(_record_path(folder, cell), record)
        if DIVERGED in record:
            say(f"{done}/{todo} {cell.name} diverged (recorded): {record[DIVERGED]}")
            continue
        stream = isinstance(cell, StreamCell)
        result = summary(record) if stream else f"test {record['test']['accuracy']:.1%}"
        say(f"{done}/{todo} {cell.name}: {result}")
    return failed


@contextmanager
def _threads(jobs: int) -> Iterator[None]:
    """Take as many threads as one of so many jobs, however few are left: results depend on them."""
    before = torch.get_num_threads()
    if jobs > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_without_base(grid: Grid | None, runs: Iterable[Run]) -> None:
    """Raise a UsageError where runs adapt a base that is not there."""
    adapts = any(isinstance(run, Cell) and run.method for run in runs)
    if grid and grid.base and adapts and not (Path(grid.base) / BASE_CONFIG).is_file():
        raise UsageError(
            f"the grid expects its base in {grid.base}, but there is none; make it first, as the "
            "grid says or with kws pretrain, or name another in the grid"
        )


def refuse_others(grid: Grid | None, folder: Path, recorded: Iterable[Run]) -> None:
    """Refuse to go on beside records of other runs than these.

    Raises:
        UsageError: a record is of other settings, or of another base than is there, or, of a
            stream, of another adapter.
        KwsError: a record cannot be read.

    """
    config = Path(grid.base) / BASE_CONFIG if grid and grid.base else None
    ours = read_json(config).get("sha256") if config and config.is_file() else None
    for run in recorded:
        path = _record_path(folder, run)
        made = _read(path)
        if isinstance(run, StreamCell):
            run.refuse_other(made, path)
            continue
        assert grid is not None
        grid.refuse_other(made.get("settings", {}), run, path)
        # A pretraining tells the base that it made.
        if run.method and ours and made.get("base_sha256", ours) != ours:
            raise UsageError(
                f"{path} was recorded on another base than {grid.base} is now; run all on this one "
                "with --again, or name another --records"
            )


def _in_turn(
    groups: Iterable[list[Run]], do: Callable[..., dict[str, Any]]
) -> Iterator[tuple[Run, dict[str, Any] | str]]:
    """Do every run here; those of a group share what they read.

    A run that could not be done comes with the sentence that says why, and the others go on.
    """
    for group in groups:
        kept: dict[str, dict[object, Any]] = {}
        for index, cell in enumerate(group):
            cache = kept.setdefault(cell.task, {})
            # Whole epochs take some gigabytes: none are kept for runs that do not come.
            last = all(other.task != cell.task for other in group[index + 1 :])
            try:
                yield cell, do(cell, kept=cache if cache or not last else None)
            except KwsError as error:
                yield cell, str(error)
            if last:
                del kept[cell.task]


def _run(
    cell: Run, *, asked: _Asked, grid: Grid | None, kept: dict[object, Any] | None = None
) -> dict[str, Any]:
    """The record of one run of either kind."""
    out = asked.work / asked.grid.stem / cell.name
    if isinstance(cell, StreamCell):
        return {"commit": commit(), **run_stream(cell, out)}
    assert grid is not None
    try:
        return run_cell(cell, grid, out, options.pick_device(asked.device), kept, again=asked.again)
    except DivergedError as error:  # as it would again
        return head_of(cell, grid) | {DIVERGED: str(error)}


def _end_with_input() -> None:
    """End at once where standard input does: whoever began this job is gone, however it ended.

    Checkpoints are whole at any moment, and whoever runs the grid again goes on from there.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


def side_by_side(shares: Sequence[Sequence[int]], arguments: Sequence[object], jobs: int) -> None:
    """Run a grid's groups in a process for each share of them.

    None takes more threads than its part of the cores where there are so many ``jobs``.

    Raises:
        KwsError: one of them failed; the others went on to their end.

    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    command = [sys.executable, "-c", "from apps.cli import main; main()", "bench", "run"]
    command += map(str, arguments)
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--job", *(f"--groups={number}" for number in share)],
                    stdin=subprocess.PIPE,
                    env=os.environ | {"OMP_NUM_THREADS": threads},
                )
            )
            for share in shares
        ]
        try:
            failed = sum(process.wait() != 0 for process in started)
        except BaseException:
            for process in started:
                process.terminate()
            raise
    if failed:
        raise KwsError(f"{failed} of {len(shares)} jobs failed; see their messages above")


@bench.command("report")
@click.option("--records", default=RECORDS, show_default=True, type=options.PATH)
@click.option("--out", default=RESULTS, show_default=True, type=options.PATH)
def report(records: Path, out: Path) -> None:
    """Turn records into tables and pictures; in this project also the README's table."""
    from .results import write_results, write_summary

    found = [_read_record(path) for path in sorted(records.rglob("*.json"))]
    if not found:
        raise UsageError(f"there are no records in {records}; make some with kws bench run")
    home = out.absolute().parent.parent
    ours = out.resolve() == (home / RESULTS).resolve() and (home / "apps" / "bench.py").is_file()
    if not ours:
        write_results(found, out, None, records)
    elif records.resolve() != (home / RECORDS).resolve():
        raise UsageError(f"{RESULTS} is made of {RECORDS}; name an --out for those in {records}")
    else:
        write_results(found, out, ZOO, RECORDS)
        write_summary(found, home / SUMMARY)
    click.echo(f"{out} from {len(found)} records")


def _read_record(path: Path) -> dict[str, Any]:
    """What a run left.

    Raises:
        KwsError: it is damaged, or something else.

    """
    record = _read(path)
    if "stream" in record:
        wanted = {"cell": {"task", "seed"}, "stream": {"split_by"}}
    else:
        wanted = {"cell": {"task", "seed", "method", "budget", "tau"}, "settings": set()}
        if DIVERGED not in record:
            wanted |= {name: {"accuracy"} for name in HALVES} | {"result": set()}
    for name, keys in wanted.items():
        found = record.get(name)
        if not (isinstance(found, dict) and keys <= found.keys()):
            raise KwsError(f"{path} is not a run's record; --records must hold only such")
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except KwsError as error:
        if isinstance(error.__cause__, OSError):  # it may be whole
            raise
        raise KwsError(f"{path} is damaged; delete it, and run its grid again") from error
