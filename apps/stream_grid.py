"""Stream evaluation as a grid: each stream of a file, with each of its seeds, is one run."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from kws.adapter import read_adapter_config
from kws.base import read_base_config

from . import trial
from .evaluate import PICTURE, hear_hours
from .recordings import Selection, parse_filters
from .wiring import open_runtime

KEY: Final = "streams"  # of the settings of such a grid


@dataclass(frozen=True, kw_only=True)
class StreamCell:
    """One language, heard for hours; without an adapter, the base's own."""

    task: str
    seed: int
    data: str
    filter: tuple[str, ...]  # column=value
    base: str
    adapter: str | None
    keywords: tuple[str, ...] | None  # None: all words
    per_word: int | None
    hours: float
    snrs: tuple[float, ...]  # dB

    @property
    def name(self) -> str:
        """Of the record and of the folder that the run writes."""
        return f"{self.task}-{self.seed}"


def stream_cells(grid: dict[str, Any]) -> list[StreamCell]:
    """Every run of a grid, one seed after another."""
    return sorted(_span(grid), key=lambda cell: cell.seed)


def _span(grid: dict[str, Any]) -> Iterator[StreamCell]:
    """A stream's own settings take the place of those of all."""
    for name, own in grid[KEY].items():
        chosen = grid | own
        for seed in chosen.get("seeds", [0]):
            yield StreamCell(
                task=name,
                seed=seed,
                data=chosen["data"],
                filter=tuple(chosen["filter"]),
                base=chosen["base"],
                adapter=chosen.get("adapter"),
                keywords=tuple(chosen["keywords"]) if "keywords" in chosen else None,
                per_word=chosen.get("per_word"),
                hours=chosen.get("hours", trial.HOURS),
                snrs=tuple(map(float, chosen.get("snrs", trial.SNRS))),
            )


def run_stream(cell: StreamCell, out: Path) -> dict[str, Any]:
    """The record of one run; the picture goes to ``out``."""
    selection = Selection(
        data=Path(cell.data),
        filters=parse_filters(cell.filter),
        keywords=cell.keywords,
        per_word=cell.per_word,
        seed=cell.seed,
    )
    base = Path(cell.base)
    network: dict[str, Any] = {"base_sha256": read_base_config(base).sha256}
    if cell.adapter:
        config = read_adapter_config(Path(cell.adapter))
        network |= {"method": config.method, "budget": config.budget}
    bank = open_runtime(base, [Path(cell.adapter)] if cell.adapter else [])
    out.mkdir(parents=True, exist_ok=True)
    found = hear_hours(bank, selection, cell.hours, cell.snrs, out / PICTURE)
    return {"cell": asdict(cell), "network": network, "stream": found}
