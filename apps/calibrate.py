"""``kws calibrate``: set the thresholds of a language for a rate of false accepts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from audio_data.clips import Half
from audio_data.long import LongRecordings
from audio_data.manifest import by_column
from audio_data.material import Material, read_material
from kws.adapter import AdapterConfig
from kws.base import BaseConfig
from kws.calibration import Choice, choose, sweep
from kws.errors import KwsError, UsageError
from kws.stream_metrics import rate_report

from . import options
from .progress import duration
from .streams import trial
from .streams.scoring import LiveScorer
from .streams.trial import (
    HOURS,
    PER_HOUR,
    SNRS,
    Trial,
    latency_text,
    percent,
    play,
    rounded,
    setting,
)
from .terminal import folded, json_line
from .training.card import CALIBRATION, COMMAND, STREAM, command, store
from .wiring import open_runtime, read_again, read_config

COUNTED_ON: Final = "the sound that the thresholds were chosen on"
HALF: Final[Half] = "validation"  # whose people say what thresholds are chosen on
LEAST_SECONDS: Final = 10  # of --negatives


@click.command(cls=options.Command)
@options.base
@click.option(
    "--adapter",
    type=options.FOLDER,
    help="without it, the base that --base names, in its own language",
)
@options.data
@click.option(
    "--negatives",
    type=options.PATH,
    help="folder of long recordings without any keyword, used instead of a made stream",
)
@click.option(
    "--false-accepts-per-hour",
    "per_hour",
    default=PER_HOUR,
    show_default=True,
    type=click.FloatRange(0, 3_600, min_open=True),
    callback=options.finite,
    help="of all keywords together",
)
@trial.hours_option
@trial.snr_option
@trial.per_keyword_option
@options.seed
@options.as_json
def calibrate(
    base: Path,
    adapter: Path | None,
    data: Path,
    filters: tuple[tuple[str, str], ...],
    language: str | None,
    speaker_pattern: str | None,
    others: Path | None,
    negatives: Path | None,
    per_hour: float,
    hours: float | None,
    snrs: tuple[float, ...],
    per_word: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Set the thresholds of an adapter or of the base, one for each keyword.

    Validation speakers say the keywords. The sound without keywords is a stream of what they say
    in other words and languages, of noise and of silence; or --negatives.
    The figures reported are counted on the same sound.
    Only the folder's configuration and card change; adapters of the base stay valid.
    """
    options.refuse_to_change_ours(adapter, "whose thresholds are set")
    if negatives and hours:
        raise UsageError("--negatives are heard whole; leave --hours out")
    config, folder = read_config(base, adapter), adapter or base
    if not os.access(folder, os.W_OK):
        raise KwsError(f"{folder} cannot be written to; calibrate a copy of it")
    halves = read_material(
        data,
        config.labels,
        filters=by_column(filters),
        language=language,
        speaker_pattern=speaker_pattern,
        per_word=per_word,
        known=config.people,
        others=others,
        halves=(HALF,),
    )
    result = set_thresholds(
        base,
        adapter,
        config,
        halves[HALF],
        per_hour,
        hours=hours or HOURS,
        snrs=snrs,
        seed=seed,
        negatives=negatives,
        made_by=command(),
    )
    click.echo(json_line(result) if as_json else folded(_table(result)))


def set_thresholds(
    base: Path,
    adapter: Path | None,
    config: AdapterConfig | BaseConfig,
    material: Material,
    per_hour: float,
    *,
    hours: float,
    snrs: Sequence[float] = SNRS,
    seed: int = 0,
    negatives: Path | None = None,
    made_by: str | None = None,
) -> dict[str, Any]:
    """Choose thresholds and store them, in the adapter, or without one in the base.

    Args:
        base: its folder.
        adapter: the folder of what is calibrated; None: the base.
        config: of what is calibrated, as its folder has it.
        material: the recordings of ``HALF``.
        per_hour: false accepts per hour that all keywords together may have.
        hours: of sound without keywords that is made; ``negatives`` take its place.
        snrs: dB, of keywords in noise.
        seed: of the streams.
        negatives: folder of long recordings without any keyword.
        made_by: the command that the card names.

    Returns:
        What the command prints.

    Raises:
        KwsError: the folder was changed meanwhile.
        UsageError: ``negatives`` last less than ``LEAST_SECONDS``.

    """
    bank = open_runtime(base, [adapter] if adapter else [])
    long = LongRecordings(negatives) if negatives else None
    if long and (there := long.expected_seconds) < LEAST_SECONDS:
        raise UsageError(
            f"{negatives} holds {there:.1f} s of sound, too little to choose thresholds on; "
            f"record hours of it (no less than {LEAST_SECONDS} seconds is accepted)"
        )
    heard = play(
        LiveScorer(bank),
        material,
        hours=hours,
        snrs=snrs,
        seed=seed,
        recordings=long,
    )
    tried = sweep(heard.negatives, list(heard.positives.values()), config.detector)
    choice = choose(heard.negatives, tried, config.detector, per_hour)
    result = _result(heard, choice, per_hour)
    now = read_again(base, adapter, config)
    # What was heard on streams was heard with other thresholds.
    metrics = {name: found for name, found in now.metrics.items() if name != STREAM}
    metrics[CALIBRATION] = result | {COMMAND: made_by}
    store(adapter or base, replace(now, detector=choice.config, metrics=metrics))
    return {"language": config.language, **result}


def _result(heard: Trial, choice: Choice, per_hour: float) -> dict[str, Any]:
    negatives = rate_report(heard.negatives, choice.config)
    result = {
        "asked_per_hour": per_hour,
        "kept": choice.kept,
        "counted_on": COUNTED_ON,
        "negatives": negatives | {"distinct_hours": heard.distinct_hours},
        "positives": heard.misses(choice.config),
        "thresholds": heard.thresholds(choice.config),
    }
    short = heard.too_short(per_hour)
    few = [f"{short}; give more with --negatives"] if short else []
    shortened: dict[str, Any] = rounded(result | {"notes": [*faults(result), *few, *heard.notes]})
    return shortened


def faults(found: Mapping[str, Any]) -> list[str]:
    """What is wrong with thresholds, of all that :func:`set_thresholds` tells of them."""
    told = []
    words, said = found["thresholds"], found["positives"].values()
    if not found["kept"]:
        told.append(
            f"no thresholds keep {found['asked_per_hour']:g} per hour on this sound; these come "
            "nearest: train with more words and noise that are no keyword"
        )
    if unsaid := [word for word in words if _is_never_said(word, said)]:
        told.append(
            f"{', '.join(unsaid)}: said by nobody in validation, so its threshold is one that "
            "suits the others; record it by more people"
        )
    deaf = [word for word in words if _is_never_heard(word, said)]
    if deaf and len(deaf) + len(unsaid) == len(words):
        told.append(
            "no keyword is detected at these thresholds: does the sound without keywords hold one?"
        )
    elif deaf:
        told.append(
            f"{', '.join(deaf)}: never detected at the threshold chosen; record more, train "
            "longer, or allow more false accepts"
        )
    return told


def _is_never_said(word: str, said: Iterable[Mapping[str, Any]]) -> bool:
    return not any(report["per_keyword"][word]["count"] for report in said)


def _is_never_heard(word: str, said: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a keyword that was said was missed in all streams.

    >>> one = {"per_keyword": {"ja": {"count": 3, "misses": 3}, "nein": {"count": 0, "misses": 0}}}
    >>> two = {"per_keyword": {"ja": {"count": 3, "misses": 2}, "nein": {"count": 0, "misses": 0}}}
    >>> [_is_never_heard(word, [one]) for word in ("ja", "nein")], _is_never_heard("ja", [one, two])
    ([True, False], False)
    """
    own = [report["per_keyword"][word] for report in said]
    return any(f["count"] for f in own) and all(f["misses"] == f["count"] for f in own)


def _table(result: dict[str, Any]) -> str:
    negatives = result["negatives"]
    lines = [
        f"{result['language']}: thresholds for {result['asked_per_hour']:g} false accepts per hour",
        *(f"note: {note}" for note in result["notes"]),
        f"{duration(negatives['hours'])} without keywords: {negatives['false_accepts']} "
        f"false accepts, {negatives['per_hour']:.2f} per hour; so few on other sound would mean at "
        f"most {negatives['upper_95']:.2f} with 95 % confidence",
        f"but this is {result['counted_on']}: other sound has more false accepts and misses; "
        "see kws evaluate --stream",
    ]
    for ratio, found in result["positives"].items():
        lines.append(
            f"{ratio} dB: {found['misses']} of {found['count']} keywords missed "
            f"({percent(found['miss_rate'])}; {setting(found)}), heard "
            f"{latency_text(found['latency_seconds'])} after their end"
        )
    lines.append(
        "  threshold  false accepts  " + "  ".join(f"missed at {r} dB" for r in result["positives"])
    )
    for word, threshold in result["thresholds"].items():
        missed = [
            percent(f["per_keyword"][word]["miss_rate"]) for f in result["positives"].values()
        ]
        columns = "  ".join(
            f"{share:>{len(f'missed at {r} dB')}}"
            for share, r in zip(missed, result["positives"], strict=True)
        )
        lines.append(f"  {threshold:9.4f}  {negatives['per_keyword'][word]:13}  {columns}  {word}")
    return "\n".join(lines)
