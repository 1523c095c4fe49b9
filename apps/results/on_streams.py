"""What records of stream evaluation say, for ``results.md``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..streams.det import draw_det
from ..streams.trial import elsewhere
from .tables import tenths

Record = Mapping[str, Any]


def summary(record: Record) -> str:
    """One run in a few words.

    >>> found = {"miss_rate": 0.031}
    >>> point = {"aim_per_hour": 0.5, "negatives": {"per_hour": 0.8}, "snr": {"10": found}}
    >>> summary({"stream": {"points": [point]}})
    'for 0.5 per hour: 0.80 false accepts per hour, 3.1 % missed at 10 dB'
    """
    point = record["stream"]["points"][0]
    missed = ", ".join(
        f"{tenths(found['miss_rate'])} % missed at {ratio} dB"
        for ratio, found in point["snr"].items()
    )
    return (
        f"for {point['aim_per_hour']:g} per hour: {point['negatives']['per_hour']:.2f} false "
        f"accepts per hour, {missed}"
    )


def introduction(records: Sequence[Record]) -> str:
    """What the table shows."""
    others = dict.fromkeys(elsewhere(record["stream"]["split_by"]) for record in records)
    return (
        f"Thresholds were chosen on {' or '.join(others)}, where they meet the target rate; the "
        "figures are those of the reported half. Sound without keywords is other words of "
        "this and other languages, noise and silence. The 95 % bound counts only hours of "
        "different recordings, since repeats tell nothing new. Keywords are mixed with noise; "
        "brackets give the share missed of those said alone, then of those close to other words. "
        "Latency runs from the end of a word to its event: median, 90th percentile. Thresholds are "
        "chosen anew here, and so may differ from those stored in a network. In the pictures "
        "misses rise again where almost all is accepted: for a while after an event no other is "
        "reported."
    )


def titles(records: Sequence[Record]) -> list[str]:
    """Of the table's columns."""
    missed = [f"missed at {ratio} dB, %" for ratio in _ratios(records)]
    false = ["aim per hour", "false accepts per hour", "95 % bound"]
    return ["language", "words", "hours", "of them different", *false, *missed, "latency, s"]


def rows(records: Sequence[Record]) -> Iterator[list[str]]:
    """One for each run and rate that was aimed at."""
    for record in records:
        found = record["stream"]
        for point in found["points"]:
            if point["aim_per_hour"] is None:
                continue
            heard = point["negatives"]
            snr = [point["snr"].get(ratio) for ratio in _ratios(records)]
            yield [
                _name(record),
                str(len(point["thresholds"])),
                f"{heard['hours']:.2f}",
                f"{heard['bound_hours']:.2f}",
                f"{point['aim_per_hour']:g}",
                f"{heard['per_hour']:.2f}",
                f"{heard['upper_95']:.2f}",
                *map(_missed, snr),
                _latency(next(iter(point["snr"].values()))["latency_seconds"]),
            ]


def notes(records: Sequence[Record]) -> str:
    """What weakens the numbers, run by run."""
    return "\n".join(
        f"- {_name(record)}: {note}" for record in records for note in record["stream"]["notes"]
    )


def pictures(records: Sequence[Record], out: Path) -> list[str]:
    """Draw each run's trade-off beside the page ``out``; what shows them in it."""
    shown = []
    for record in records:
        path = out.with_name(f"det_{record['cell']['task']}_{record['cell']['seed']}.png")
        draw_det(record["stream"], path)
        shown.append(f"![misses against false accepts per hour, {_name(record)}]({path.name})")
    return shown


def _ratios(records: Sequence[Record]) -> list[str]:
    points = [record["stream"]["points"][0] for record in records]
    return list(dict.fromkeys(ratio for point in points for ratio in point["snr"]))


def _name(record: Record) -> str:
    cell = record["cell"]
    return f"{cell['task']}, seed {cell['seed']}" if cell["seed"] else str(cell["task"])


def _missed(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    apart = [tenths(found[place]["miss_rate"]) for place in ("alone", "among_words")]
    return f"{tenths(found['miss_rate'])} ({apart[0]}, {apart[1]})"


def _latency(seconds: Mapping[str, float] | None) -> str:
    return "-" if seconds is None else f"{seconds['median']:.2f}, {seconds['p90']:.2f}"
