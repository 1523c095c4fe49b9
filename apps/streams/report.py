"""Stream evaluation: thresholds chosen on one half, reported on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from audio_data.clips import Half
from audio_data.material import Material, read_material
from kws.calibration import choose, sweep, with_misses
from kws.config import Where
from kws.detector import DetectorConfig
from kws.runtime import Runtime
from kws.stream_metrics import rate_report

from ..progress import duration
from ..training.recordings import Selection
from .det import draw_det
from .scoring import LiveScorer, Scorer
from .trial import (
    PER_HOUR,
    Trial,
    elsewhere,
    kinds,
    latency_text,
    percent,
    play,
    rounded,
    setting,
)

PICTURE: Final = Path("det.png")
RATES: Final = (PER_HOUR, 2.0)  # false accepts per hour


@dataclass(frozen=True)
class OperatingPoint:
    """Settings under test.

    Attributes:
        target_rate: false accepts per hour that they were chosen for, None of those stored.
        config: the settings.
        chosen: false accepts on the half that they were chosen on, without bound.

    """

    target_rate: float | None
    config: DetectorConfig
    chosen: dict[str, Any] | None


def hear_hours(
    bank: Runtime,
    selection: Selection,
    hours: float,
    snrs: tuple[float, ...],
    picture: Path,
    known: Mapping[str, Where] | None = None,
) -> dict[str, Any]:
    """Evaluate the active language of a bank on streams, and draw the trade-off.

    People of ``known`` are in the split in which they were when it was learnt.
    """
    scorer = LiveScorer(bank, selection.keywords)
    halves = read_material(
        selection.data,
        scorer.labels,
        filters=selection.grouped,
        language=selection.language,
        speaker_pattern=selection.speaker_pattern,
        per_word=selection.per_word,
        known=known,
        others=selection.others,
    )
    return evaluate_stream(
        scorer,
        halves,
        bank.detector_config(bank.active_adapter),
        hours=hours,
        snrs=snrs,
        seed=selection.seed,
        picture=picture,
    )


def evaluate_stream(
    scorer: Scorer,
    halves: Mapping[Half, Material],
    stored: DetectorConfig,
    *,
    hours: float,
    snrs: Sequence[float],
    seed: int,
    picture: Path,
) -> dict[str, Any]:
    """Play both halves; choose on validation, report on test, and draw the trade-off.

    What is stored for words which the scorer does not hear is left out.
    """
    levels = {word: own for word, own in stored.keywords.items() if word in scorer.labels}
    timings = {word: own for word, own in stored.timings.items() if word in scorer.labels}
    stored = replace(stored, keywords=levels, timings=timings)
    chosen_on = play(scorer, halves["validation"], hours=hours, snrs=snrs, seed=seed)
    points = [*_points(chosen_on, stored), OperatingPoint(None, stored, None)]
    reported = play(scorer, halves["test"], hours=hours, snrs=snrs, seed=seed)
    tried = sweep(reported.negatives, [], stored)
    curves = {
        f"{ratio:g}": with_misses(tried, [stream], stored)
        for ratio, stream in reported.positives.items()
    }
    result: dict[str, Any] = rounded(
        {
            "language": scorer.language,
            "hours": reported.negatives.hours,
            "distinct_hours": reported.distinct_hours,
            "split_by": reported.material.split_by,
            "made": reported.material.synthetic,
            "count": len(reported.material.keywords),
            "chosen_on": {
                "hours": chosen_on.negatives.hours,
                "distinct_hours": chosen_on.distinct_hours,
            },
            "points": [_report(point, reported) for point in points],
            "det": {ratio: curve.det for ratio, curve in curves.items()},
            "picture": str(picture),
            "notes": [*filter(None, [reported.too_short(min(RATES))]), *reported.notes],
        }
    )
    draw_det(result, picture)
    return result


def _points(heard: Trial, stored: DetectorConfig) -> list[OperatingPoint]:
    tried = sweep(heard.negatives, list(heard.positives.values()), stored)
    points = []
    for rate in RATES:
        choice = choose(heard.negatives, tried, stored, rate)
        found = rate_report(heard.negatives, choice.config)
        chosen = {name: found[name] for name in ("hours", "false_accepts", "per_hour")}
        chosen["kept"] = choice.kept
        points.append(OperatingPoint(rate, choice.config, chosen))
    return points


def _report(point: OperatingPoint, heard: Trial) -> dict[str, Any]:
    return {
        "aim_per_hour": point.target_rate,
        "chosen": point.chosen,
        "negatives": rate_report(heard.negatives, point.config),
        "snr": heard.misses(point.config),
        "thresholds": heard.thresholds(point.config),
    }


def table(result: Mapping[str, Any]) -> str:
    """Show the result to people."""
    lines = [
        f"{result['language']}: {duration(result['hours'])} without keywords, made of "
        f"{kinds(result['distinct_hours'])}; thresholds chosen on {elsewhere(result['split_by'])}"
    ]
    lines += [f"note: {note}" for note in result["notes"]]
    for point in result["points"]:
        heard = point["negatives"]
        lines.append(
            f"{_title(point)}: {heard['per_hour']:.2f} false accepts per hour "
            f"({heard['false_accepts']}; at most {heard['upper_95']:.2f} with 95 % confidence)"
        )
        lines += [
            f"  {ratio} dB: {percent(found['miss_rate'])} of {found['count']} missed, "
            f"{found['confusions']} for another keyword; {setting(found)}; latency "
            f"{latency_text(found['latency_seconds'])}"
            for ratio, found in point["snr"].items()
        ]
    lines += [*_per_keyword(result["points"][0]), str(result["picture"])]
    return "\n".join(lines)


def _title(point: Mapping[str, Any]) -> str:
    rate = point["aim_per_hour"]
    return "thresholds as stored" if rate is None else f"thresholds for {rate:g} per hour"


def _per_keyword(point: Mapping[str, Any]) -> list[str]:
    lines = [f"each keyword, {_title(point)}: threshold, false accepts, missed"]
    for word, threshold in point["thresholds"].items():
        missed = "  ".join(
            f"{percent(found['per_keyword'][word]['miss_rate']):>6} at {ratio} dB"
            for ratio, found in point["snr"].items()
        )
        count = point["negatives"]["per_keyword"][word]
        lines.append(f"  {threshold:.4f}  {count:4}  {missed}  {word}")
    return lines
