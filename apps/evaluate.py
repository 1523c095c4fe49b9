"""``kws evaluate``: accuracy over unseen people, per word and per speaker."""

import json
from pathlib import Path
from typing import Any

import click

from audio_data.clips import SPLITS, Split
from kws.adapter import load_adapter

from . import options
from .measure import measure, merged
from .recordings import Recordings, Selection
from .wiring import open_base


@click.command()
@options.base
@click.option("--adapter", type=options.FOLDER, help="without it, the base in its own language")
@options.data
@click.option("--split", default="test", show_default=True, type=click.Choice(SPLITS))
@options.closed
@options.as_json
def evaluate(
    base: Path,
    adapter: Path | None,
    data: Path,
    filters: tuple[tuple[str, str], ...],
    language: str | None,
    speaker_pattern: str | None,
    split: Split,
    closed: bool,
    as_json: bool,
) -> None:
    """Measure an adapter, or the base, on recordings."""
    opened = open_base(base)
    loaded = load_adapter(adapter) if adapter else None
    labels = loaded.config.labels if loaded else opened.config.labels
    selection = Selection(
        data=data,
        filters=filters,
        language=language,
        speaker_pattern=speaker_pattern,
        closed=closed,
    )
    recordings = Recordings.select(selection, opened.config.features, labels)
    result = measure(merged(opened, loaded), recordings, split, closed=closed).report
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else _table(result))


def _table(result: dict[str, Any]) -> str:
    lines = [f"accuracy {result['accuracy']:.1%} over {result['count']} clips"]
    for name in ("unknown", "silence"):
        rate = result[f"{name}_false_accept_rate"]
        if rate is not None:
            lines.append(f"{name} taken for a keyword: {rate:.1%}")
    for title in ("per_word", "per_speaker"):
        lines.append(title.replace("_", " "))
        ranked = sorted(result[title].items(), key=lambda item: item[1]["accuracy"])
        lines += [f"  {v['accuracy']:6.1%}  {v['count']:5}  {name}" for name, v in ranked]
    return "\n".join(lines)
