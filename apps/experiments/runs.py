"""What a grid's file spans, trainings or streams, and which runs belong together."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from kws.errors import UsageError

from .grid import Cell, Grid
from .stream_grid import KEY, StreamCell, stream_cells

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


def grouped(cells: Iterable[Run]) -> list[list[Run]]:
    """The runs that hear the same recordings in the same order, or build on one another."""
    groups: dict[tuple[int, str, int | None], list[Run]] = {}
    for cell in cells:
        first, per_word = cell.task, None
        if isinstance(cell, Cell):
            first = cell.before[0] if cell.before else cell.task
            per_word = cell.per_word
        groups.setdefault((cell.seed, first, per_word), []).append(cell)
    return list(groups.values())
