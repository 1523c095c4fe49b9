"""``kws pretrain``: train the base on one language."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click
import torch

import models
from audio_data.augment import SNR, SPEC_WIDTHS, STREAM_SNR, AugmentConfig
from kws.adapter import ADAPTER_CONFIG, CARD
from kws.base import BASE_CONFIG, BASE_MODEL, BaseConfig, save_base, tensors_of
from kws.errors import UsageError
from kws.files import read_tensors, refuse_unwritable, write_bytes, write_text
from kws.train import HIGHEST, Epoch, Optimizer, Plan, Stage, fingerprint, fit, validator
from models import layout
from models.folded import fold
from models.session import FILE

from . import options
from .export import base_file
from .progress import note, training
from .terminal import json_line
from .training import pictures
from .training.card import COMMAND, base_card, command
from .training.measure import measure
from .training.recordings import Recordings, Selection
from .training.stored import is_unfinished, refuse_foreign, source_of, tell_unfinished

ARCHITECTURE: Final = layout.ARCHITECTURE  # of the networks that are trained here
LR = 6e-3
BATCH = 32
STAGE = "pretrain"
PRINTED = ("parameters", "validation_accuracy", "seconds", "compute_share")
SPAN = 40  # frames that a causal decision averages (decision 13)


@click.command(cls=options.Command)
@options.data
@options.keywords
@options.closed
@options.per_word
@click.option("--tau", default=2.0, show_default=True, help="width: 1, 1.5, 2, 3, 6 or 8")
@click.option(
    "--causal", is_flag=True, help="use no later sound: for streams, with less computation"
)
@click.option("--epochs", default=24, show_default=True, type=click.IntRange(1))
@click.option(
    "--lr",
    default=LR,
    show_default=True,
    type=click.FloatRange(0, HIGHEST, min_open=True),
    callback=options.finite,
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
    result = run(selection, tau, plan, device, out, causal=causal, made_by=command())
    click.echo(json_line(result) if as_json else _lines(result, out))


def run(
    selection: Selection,
    tau: float,
    plan: Plan,
    device: str,
    out: Path,
    *,
    causal: bool = False,
    made_by: str | None = None,
    replaces: bool = False,
) -> dict[str, Any]:
    """Pretrain, save base, record and pictures in ``out``; returns what is printed.

    Args:
        selection: of recordings.
        tau: width.
        plan: of the training.
        device: where to train.
        out: folder; of what a killed run left there, it goes on.
        causal: use no later sound.
        made_by: the command that the card names.
        replaces: whatever base the folder holds.

    Raises:
        UsageError: the folder holds a base, an adapter or something else, or the recordings make
            no task.
        KwsError: the folder cannot be written.
        DivergedError: training gave NaN or infinite numbers.

    """
    from models.registry import build

    _refuse_held(out, replaces=replaces)
    refuse_unwritable(out)
    tell_unfinished(out)
    config = BaseConfig(
        architecture=ARCHITECTURE,
        tau=tau,
        causal=causal,
        span=SPAN if causal else None,
        language="",
        labels=(),
    )
    recordings = Recordings.to_learn(selection, config)
    task = recordings.task
    for warning in task.warnings:
        note(warning)
    config = replace(
        config,
        language=task.language,
        labels=task.labels,
        licences=task.licences,
        training={"plan": asdict(plan), "batch": BATCH},
    )
    torch.manual_seed(plan.seed)
    network = build(config).to(device)
    fold(config, tensors_of(network))  # what could not be listened with is not trained
    bands = SPEC_WIDTHS.get(tau, 0)
    masks = AugmentConfig.masks if bands else 0  # frames are not masked either, as in the paper
    augment = AugmentConfig(mask_bands=bands, masks=masks, snr=STREAM_SNR if causal else SNR)
    batches = recordings.training(augment, batch=BATCH, seed=plan.seed, device=device)
    validate = validator(*recordings.fixed("validation"), len(task.keywords), len(task.labels))
    settings = asdict(config) | {
        "augment": asdict(augment),
        "clips": recordings.learnt,
        "sound": batches.digest,
        "source": source_of(models),  # edited, it does not resume
    }
    stage = Stage(out, STAGE, fingerprint(settings))
    with training(f"pretraining {task.language}") as watch:
        history = fit(network, batches, plan, validate=validate, stage=stage, watch=watch)
    metrics = _metrics(network, history)
    made = {"recordings": recordings.amount, "split_by": recordings.split_by, COMMAND: made_by}
    config = replace(config, training=config.training | made, people=recordings.people)
    saved = save_base(out, replace(config, metrics=metrics), network)
    write_bytes(out / FILE, base_file(fold(saved, read_tensors(out / BASE_MODEL))))
    write_text(out / CARD, base_card(saved))
    measured = measure(network, recordings, "validation")
    pictures.save_training({STAGE: history}, measured, out)
    stage.remove()
    return summary(saved)


def _refuse_held(out: Path, *, replaces: bool) -> None:
    """Raise a UsageError where a folder holds what is not to be written over."""
    held = {ADAPTER_CONFIG: "an adapter"}
    if not replaces:
        held[BASE_CONFIG] = "a base, which is never changed"
    unfinished = is_unfinished(out, STAGE)
    for name, what in held.items():
        if (out / name).exists() and not unfinished:
            raise UsageError(f"{out} holds {what}; name another --out, or delete it")
    refuse_foreign(out)


def summary(config: BaseConfig) -> dict[str, Any]:
    """What ``kws pretrain`` prints."""
    found = {"language": config.language, "tau": config.tau, "sha256": config.sha256}
    return found | {name: config.metrics[name] for name in PRINTED}


def _metrics(network: torch.nn.Module, history: list[Epoch]) -> dict[str, Any]:
    seconds = sum(epoch.seconds for epoch in history)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "validation_accuracy": history[-1].validation,
        "seconds": round(seconds, 1),
        "compute_share": round(sum(epoch.compute_seconds for epoch in history) / seconds, 3),
    }


def _lines(result: dict[str, Any], out: Path) -> str:
    return (
        f"{result['language']}: {result['validation_accuracy']:.1%} of the validation clips right, "
        f"{result['parameters']:,} parameters, {result['seconds']:.0f} s; saved in {out}"
    )
