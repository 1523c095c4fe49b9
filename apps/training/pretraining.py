"""Train a base, and keep all that belongs to it in one folder."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

import models
from audio_data.augment import SNR, SPEC_WIDTHS, STREAM_SNR, AugmentConfig
from kws.adapter import ADAPTER_CONFIG, CARD
from kws.base import BASE_CONFIG, BASE_MODEL, BaseConfig, save_base, tensors_of
from kws.errors import UsageError
from kws.files import read_tensors, refuse_unwritable, write_bytes, write_text
from kws.train import Epoch, Plan, Stage, fingerprint, fit, validator
from models import layout
from models.folded import fold
from models.session import FILE

from ..onnx_files import base_file
from ..progress import note, training
from . import pictures
from .card import COMMAND, base_card
from .measure import measure
from .recordings import Recordings, Selection
from .stored import is_unfinished, refuse_foreign, source_of, tell_unfinished

ARCHITECTURE: Final = layout.ARCHITECTURE  # of the networks that are trained here
LR: Final = 6e-3
BATCH: Final = 32
STAGE: Final = "pretrain"
PRINTED: Final = ("parameters", "validation_accuracy", "seconds", "compute_share")
SPAN: Final = 40  # frames that a causal decision averages (decision 13)


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
