"""What the supplied networks are worth, as a table made from their own cards' figures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from kws.adapter import ADAPTER_CONFIG, AdapterConfig, read_adapter_config
from kws.base import BASE_CONFIG, BaseConfig, read_base_config
from kws.names import spotted

from ..training.card import STREAM, as_stored, counted
from .tables import tenths

TITLES: Final = (
    *("folder", "words", "bytes", "learnt from", "tested on", "accuracy, %", "by speaker, %"),
    *("other words taken for a keyword, %", "missed at 10 dB, %", "at 0 dB, %"),
    "false accepts per hour",
)
INTRODUCTION: Final = (
    "Clips: per cent of the words recognised among the other words, unknown ones and silence. "
    "Streams: at each network's stored thresholds, which were chosen on other people; *On streams* "
    "says what the hours are made of. Rebuilt by `make -C models/zoo`."
)


def zoo_rows(folder: Path) -> list[list[str]]:
    """A row for each network of a folder that was tested, bases first, then by name."""
    bases = sorted(folder.glob(f"*/{BASE_CONFIG}"))
    adapters = sorted(folder.glob(f"*/{ADAPTER_CONFIG}"))
    configs: list[tuple[str, BaseConfig | AdapterConfig]] = [
        (path.parent.name, read_base_config(path.parent)) for path in bases
    ]
    configs += [(path.parent.name, read_adapter_config(path.parent)) for path in adapters]
    return [_row(name, config) for name, config in configs if "test" in config.metrics]


def _row(name: str, config: BaseConfig | AdapterConfig) -> list[str]:
    found = config.metrics["test"]
    learnt = config.training.get("recordings")
    people = [person["accuracy"] for person in found["per_speaker"].values()]
    whose = counted(len(people), found["count"], found.get("made", 0))
    return [
        name,
        str(len(spotted(config.labels))),
        f"{config.stored_bytes:,}" if isinstance(config, AdapterConfig) else "-",
        counted(learnt["people"], learnt["clips"], learnt["made"]) if learnt else "-",
        f"{found['count']:,} clips of {whose}",
        tenths(found["accuracy"]),
        f"{tenths(min(people))} to {tenths(max(people))}",
        tenths(found.get("unknown_false_accept_rate")),
        *_stream(config.metrics.get(STREAM)),
    ]


def _stream(found: dict[str, Any] | None) -> Iterable[str]:
    if not found:
        return ["-"] * 3
    point = as_stored(found)
    missed = [tenths(point["snr"].get(ratio, {}).get("miss_rate")) for ratio in ("10", "0")]
    made = found.get("made", 0)
    some = "some " if made < found.get("count", made) else ""
    whose = f" ({some}synthetic voices)" if made else ""
    return [f"{missed[0]}{whose}", missed[1], f"{point['negatives']['per_hour']:.1f}"]
