"""``kws evaluate``: accuracy over unseen people; or hours of sound, as the listener hears them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from audio_data.clips import SPLITS, Clip, Split
from audio_data.task import refuse_missing
from kws.adapter import AdapterConfig, load_adapter
from kws.base import BaseConfig
from kws.errors import KwsError, UsageError
from kws.files import refuse_unwritable
from kws.names import is_closed_set, spotted

from . import options
from .progress import counted, note
from .streams import trial
from .streams.report import PICTURE, hear_hours
from .streams.report import table as stream_table
from .terminal import folded, json_line, one_line
from .training.card import COMMAND, STREAM, command, is_of_strangers, store
from .training.measure import measure, network_of
from .training.recordings import Recordings, Selection
from .wiring import open_base, open_runtime, read_again, read_config

STREAM_ONLY = ("snrs", "hours", "out", "per_word", "seed", "keywords")
CLIPS_ONLY = ("split", "closed")
DRAWN = ("det", "picture")


@click.command(cls=options.Command)
@options.base
@options.adapter
@options.data
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(SPLITS),
    help="whose clips are measured",
)
@options.closed
@click.option("--stream", is_flag=True, help="hours of sound instead of clips; see above")
@trial.hours_option
@trial.snr_option
@trial.per_keyword_option
@options.keywords
@click.option(
    "--out",
    type=options.PATH,
    callback=options.png,
    help=f"the picture  [default: {PICTURE}]",
)
@options.seed
@click.option("--keep", is_flag=True, help="store the figures in the configuration and card")
@options.as_json
def evaluate(
    base: Path,
    adapter: Path | None,
    data: Path,
    filters: tuple[tuple[str, str], ...],
    language: str | None,
    speaker_pattern: str | None,
    others: Path | None,
    split: Split,
    closed: bool,
    stream: bool,
    hours: float | None,
    snrs: tuple[float, ...],
    per_word: int | None,
    keywords: tuple[str, ...] | None,
    out: Path | None,
    seed: int,
    keep: bool,
    as_json: bool,
) -> None:
    """Measure an adapter, or the base, on recordings.

    With --stream, two kinds of sound are used: every keyword once, in noise, half of them
    close to other words and half alone; and hours of other words, noise and silence without
    any keyword. Thresholds for 0.5 and for 2 false accepts per hour are chosen on validation
    speakers, and their misses, false accepts and latency reported on test speakers; if the
    speakers are unknown, on other files. The trade-off is drawn as a picture. With --keywords,
    only those of the words are keywords; the rest should be ignored.
    """
    _refuse(CLIPS_ONLY if stream else STREAM_ONLY, stream=stream)
    config = read_config(base, adapter)
    if others and not stream and is_closed_set(config.labels):
        raise UsageError(
            "--others are unknown words, which this network does without; leave it out"
        )
    if closed and len(spotted(config.labels)) == 1:
        raise UsageError("--closed with only one keyword is always right; leave it out")
    selection = Selection(
        data=data,
        others=others,
        filters=filters,
        keywords=keywords,
        language=language,
        speaker_pattern=speaker_pattern,
        closed=closed,
        per_word=per_word,
        seed=seed,
    )
    if keep:
        options.refuse_to_change_ours(adapter, "whose figures are kept")
        _refuse_to_keep(adapter or base, selection, split)
    if stream:
        hours = hours or trial.HOURS
        result = _streams(base, adapter, config, selection, hours, snrs, out or PICTURE)
        kept = {STREAM: {name: figure for name, figure in result.items() if name not in DRAWN}}
    else:
        result, origin = _clips(base, adapter, config, selection, split, whole=keep)
        kept = {split: result | origin}
    if keep:
        _keep(base, adapter, config, kept)
    if not stream:
        _tell_synthetic(kept[split]["made"], kept[split]["count"])
    if as_json:
        click.echo(json_line(result))
    else:
        click.echo(folded(stream_table(result) if stream else _table(result)))


def _streams(
    base: Path,
    adapter: Path | None,
    config: AdapterConfig | BaseConfig,
    selection: Selection,
    hours: float,
    snrs: tuple[float, ...],
    picture: Path,
) -> dict[str, Any]:
    """What is found in hours of sound; the trade-off is drawn."""
    refuse_unwritable(picture.parent)
    if os.path.isdir(picture):
        raise UsageError(f"--out {picture} is a folder; name a file for the picture")
    bank = open_runtime(base, [adapter] if adapter else [])
    return hear_hours(bank, selection, hours, snrs, picture, config.people)


def _clips(
    base: Path,
    adapter: Path | None,
    config: AdapterConfig | BaseConfig,
    selection: Selection,
    split: Split,
    *,
    whole: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What clips of a split are told apart as, and who says them; ``whole`` needs every word."""
    opened = open_base(base)
    network = network_of(opened, load_adapter(adapter) if adapter else None)
    recordings = Recordings.to_measure(selection, opened.config, config)
    for warning in recordings.task.warnings:
        note(warning)
    result = measure(network, recordings, split, closed=selection.closed).report
    origin = recordings.origin(split)
    said = recordings.said(split)
    if said and len(_strange(said, config)) == len(said):
        origin["strangers"] = True
    if heard := origin.get("heard_before"):
        were = "was" if heard == 1 else "were"
        note(f"{heard} of these people {were} learnt from: accuracy may be optimistic")
    elif not is_of_strangers(origin, config):
        note(
            "speakers are unknown or too few: these clips may be of training speakers, and even "
            "training clips if --speaker-pattern was given in training and is not now"
        )
    others = [one for one in SPLITS if one != split]
    if left := _strange([clip for one in others for clip in recordings.said(one)], config):
        note(
            f"{counted(len(left), 'more recording')} of keywords by people whom it was not trained "
            f"on are not measured here: see --split {' and --split '.join(others)}"
        )
    if whole:
        refuse_missing(recordings.task.keywords, said)
    return result, origin


def _strange(clips: Sequence[Clip], config: AdapterConfig | BaseConfig) -> list[Clip]:
    """Those by people of whom it is known by name that training did not hear them."""
    if not (config.people and config.training.get("recordings", {}).get("people")):
        return []  # somebody is not named, or only synthetic voices were learnt from
    named = (clip for clip in clips if clip.speaker and not clip.is_synthetic)
    return [clip for clip in named if clip.speaker not in config.people]


def _tell_synthetic(made: int, count: int) -> None:
    """Say of how many clips nobody is heard."""
    if made:
        some = "these clips are" if made == count else f"{made} of these clips are"
        note(f"{some} of synthetic voices: people are recognised less well")


def _refuse_to_keep(folder: Path, selection: Selection, split: Split) -> None:
    """Raise an error where figures may not go into the card.

    It reports all words and all people of a corpus, and must be writable.
    """
    fewer = selection.closed or selection.keywords or selection.per_word or split == "train"
    if fewer or {"word", "speaker", "split"} & selection.grouped.keys():
        raise UsageError(
            "--keep is for figures of all words and all people: leave out --closed, --keywords, "
            "--per-word, --split train and filters of words, speakers or splits"
        )
    if not os.access(folder, os.W_OK):
        raise KwsError(f"{folder} cannot be written to; measure a copy of it, or leave --keep out")


def _keep(
    base: Path,
    adapter: Path | None,
    measured: AdapterConfig | BaseConfig,
    figures: dict[str, Any],
) -> None:
    """Put figures into the card of what was measured, with the command that they come of."""
    now = read_again(base, adapter, measured)
    told = {name: found | {COMMAND: command()} for name, found in figures.items()}
    store(adapter or base, replace(now, metrics=now.metrics | told))


def _refuse(names: tuple[str, ...], *, stream: bool) -> None:
    """Raise a UsageError where an option would be ignored."""
    for parameter in click.get_current_context().command.params:
        if parameter.name in names and options.is_given(parameter.name):
            do = "leave it out" if stream else "add --stream"
            how = "cannot go with" if stream else "needs"
            raise UsageError(f"{parameter.opts[0]} {how} --stream; {do}")


def _table(result: dict[str, Any]) -> str:
    lines = [f"accuracy {result['accuracy']:.1%} over {result['count']} clips"]
    for name in ("unknown", "silence"):
        rate = result[f"{name}_false_accept_rate"]
        if rate is not None:
            lines.append(f"{name} taken for a keyword: {rate:.1%}")
    for title in ("per_word", "per_speaker"):
        lines.append(title.replace("_", " "))
        ranked = sorted(result[title].items(), key=lambda item: item[1]["accuracy"])
        lines += [f"  {v['accuracy']:6.1%}  {v['count']:5}  {one_line(name)}" for name, v in ranked]
    return "\n".join(lines)
