"""Stream evaluation as a grid: each stream of a file, with each of its seeds, is one run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from kws.adapter import ADAPTER_CONFIG, AdapterConfig
from kws.base import BASE_CONFIG
from kws.errors import UsageError

from ..streams import trial
from ..streams.report import PICTURE, hear_hours
from ..training.recordings import Selection, parse_filters
from ..wiring import open_runtime, read_config
from .grid import check, check_filters, check_name, check_seeds, refuse_difference, table

KEY: Final = "streams"  # of the settings of such a grid


@dataclass(frozen=True, kw_only=True)
class Stream:
    """``[streams.NAME]``: one language, heard for hours; without an adapter, the base's own."""

    data: str
    base: str
    filter: tuple[str, ...] = ()  # column=value
    adapter: str | None = None
    language: str | None = None  # of a folder, which does not say so itself
    speaker_pattern: str | None = None  # likewise
    others: str | None = None  # another corpus, of other words, and its noise
    keywords: tuple[str, ...] | None = None  # None: all words
    per_word: int | None = None
    hours: float = trial.HOURS
    snrs: tuple[float, ...] = trial.SNRS  # dB
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class StreamCell:
    """One stream with one of its seeds."""

    task: str
    seed: int
    stream: Stream

    @property
    def name(self) -> str:
        """Of the record and of the folder that the run writes."""
        return f"{self.task}-{self.seed}"

    @property
    def record(self) -> dict[str, Any]:
        """What its record says of it."""
        found = asdict(self.stream) | {"task": self.task, "seed": self.seed}
        del found["seeds"]
        return found

    def refuse_other(self, made: Mapping[str, Any], where: Path) -> None:
        """Raise a UsageError where it was recorded with other settings or networks than now."""
        theirs, then = made.get("cell"), made.get("network", {})
        if not (isinstance(theirs, Mapping) and isinstance(then, Mapping)):
            raise UsageError(f"{where} is no record of a stream; delete it, and run it again")
        ours, now = json.loads(json.dumps(self.record)), self.network
        pairs = [(name, theirs.get(name), value) for name, value in ours.items()]
        pairs += [(name, then[name], value) for name, value in now.items() if name in then]
        refuse_difference(where, pairs)

    @property
    def selection(self) -> Selection:
        """What it hears."""
        stream = self.stream
        return Selection(
            data=Path(stream.data),
            others=Path(stream.others) if stream.others else None,
            filters=parse_filters(stream.filter),
            keywords=stream.keywords,
            language=stream.language,
            speaker_pattern=stream.speaker_pattern,
            per_word=stream.per_word,
            seed=self.seed,
        )

    @property
    def network(self) -> dict[str, str]:
        """Digests of what is heard, as far as it is there."""
        found, stream = {}, self.stream
        if (Path(stream.base) / BASE_CONFIG).is_file():
            found["base_sha256"] = read_config(Path(stream.base), None).sha256
        if stream.adapter and (Path(stream.adapter) / ADAPTER_CONFIG).is_file():
            found["adapter_sha256"] = read_config(Path(stream.base), Path(stream.adapter)).sha256
        return found


def stream_cells(grid: Mapping[str, Any]) -> list[StreamCell]:
    """Every run of a grid, one seed after another.

    Raises:
        UsageError: a run of it could not be done.

    """
    return sorted(_span(grid), key=lambda cell: cell.seed)


def _span(grid: Mapping[str, Any]) -> Iterator[StreamCell]:
    """A stream's own settings take the place of those of all."""
    streams = grid[KEY]
    check("the grid", KEY, isinstance(streams, Mapping) and bool(streams), "tables: [streams.NAME]")
    common = {name: value for name, value in grid.items() if name != KEY}
    for task, own in streams.items():
        where = f"[streams.{task}]"
        check("the grid", where, isinstance(own, Mapping), "a table")
        check_name("[streams]", task)
        stream = table(Stream, common | own, where)
        stream = replace(stream, snrs=tuple(map(float, stream.snrs)))
        check_filters(where, "filter", stream.filter)
        check(where, "keywords", stream.keywords is None or bool(stream.keywords), "at least one")
        hours, ratios = (trial.SHORTEST, trial.LONGEST), trial.RATIOS
        right = hours[0] <= stream.hours <= hours[1]
        check(where, "hours", right, f"from {hours[0]:g} to {hours[1]:g}")
        right = bool(stream.snrs) and all(ratios[0] <= snr <= ratios[1] for snr in stream.snrs)
        check(where, "snrs", right, f"at least one, from {ratios[0]:g} to {ratios[1]:g}")
        check(where, "seeds", bool(stream.seeds), "at least one")
        check_seeds(where, stream.seeds)
        check(where, "per_word", stream.per_word is None or stream.per_word > 0, "positive")
        for seed in dict.fromkeys(stream.seeds):
            yield StreamCell(task=task, seed=seed, stream=stream)


def run_stream(cell: StreamCell, out: Path) -> dict[str, Any]:
    """The record of one run; the picture goes to ``out``."""
    stream = cell.stream
    base, adapter = Path(stream.base), Path(stream.adapter) if stream.adapter else None
    network: dict[str, Any] = {**cell.network}
    config = read_config(base, adapter)
    if isinstance(config, AdapterConfig):
        network |= {"method": config.method, "budget": config.budget}
    bank = open_runtime(base, [adapter] if adapter else [])
    out.mkdir(parents=True, exist_ok=True)
    found = hear_hours(
        bank, cell.selection, stream.hours, stream.snrs, out / PICTURE, config.people
    )
    return {"cell": cell.record, "network": network, "stream": found}
