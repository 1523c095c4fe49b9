"""``kws pretrain``: train the base on one language."""

from pathlib import Path
from typing import Any

import click

from kws.train import HIGHEST, Optimizer, Plan

from . import options
from .terminal import json_line
from .training import pretraining
from .training.card import command
from .training.recordings import Selection


@click.command(cls=options.Command)
@options.data
@options.keywords
@options.closed
@options.per_word
@click.option("--tau", default=2.0, show_default=True, help="width: 1, 1.5, 2, 3, 6 or 8")
@click.option(
    "--causal", is_flag=True, help="use no later sound: for streams, with less computation"
)
@click.option(
    "--epochs",
    default=24,
    show_default=True,
    type=click.IntRange(1),
    help="times that every recording is learnt from",
)
@click.option(
    "--lr",
    default=pretraining.LR,
    show_default=True,
    type=click.FloatRange(0, HIGHEST, min_open=True),
    callback=options.finite,
    help="peak learning rate",
)
@options.optimizer
@options.seed
@options.device
@click.option("--out", required=True, type=options.FOLDER, help="folder for the base")
@options.as_json
def pretrain(
    data: Path,
    filters: tuple[tuple[str, str], ...],
    language: str | None,
    speaker_pattern: str | None,
    others: Path | None,
    keywords: tuple[str, ...] | None,
    closed: bool,
    per_word: int | None,
    tau: float,
    causal: bool,
    epochs: int,
    lr: float,
    optimizer: Optimizer,
    seed: int,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """Train the network on one language; it is never changed again."""
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
    plan = Plan(epochs=epochs, lr=lr, optimizer=optimizer, seed=seed)
    device = options.pick_device(device)
    result = pretraining.run(selection, tau, plan, device, out, causal=causal, made_by=command())
    click.echo(json_line(result) if as_json else _lines(result, out))


def _lines(result: dict[str, Any], out: Path) -> str:
    return (
        f"{result['language']}: {result['validation_accuracy']:.1%} of the validation clips right, "
        f"{result['parameters']:,} parameters, {result['seconds']:.0f} s; saved in {out}"
    )
