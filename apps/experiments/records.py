"""Records of runs: one file each, read, checked, and held against the grid as it is now."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from audio_data.clips import HALVES
from kws.base import BASE_CONFIG
from kws.errors import KwsError, UsageError
from kws.files import read_json

from .grid import Grid
from .runs import Run
from .stream_grid import StreamCell

DIVERGED: Final = "diverged"  # in the record of a run without an end: the sentence that says so
RECORDS: Final = Path("docs/records")


def record_path(folder: Path, run: Run) -> Path:
    """Where a run's record is, or will be."""
    return folder / f"{run.name}.json"


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
        path = record_path(folder, run)
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


def read_record(path: Path) -> dict[str, Any]:
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
