"""``kws adapt``: learn one more language under a budget."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from audio_data.augment import SNR, AugmentConfig
from kws.adapter import CONFIG as ADAPTER
from kws.adapter import MODEL, AdapterConfig, save_adapter, stored_bytes
from kws.base import CONFIG as BASE
from kws.base import Base
from kws.budget import Budget
from kws.errors import UsageError
from kws.files import refuse_unwritable, sha256, write_json
from kws.quantized import ROUNDINGS, Bits, bits_of
from kws.sites import find_sites
from kws.train import DivergedError, Epoch, Optimizer, Plan, fingerprint
from policy.joint import Together, first_classes
from policy.methods import FIXED, METHODS, SEQUENTIAL, TOGETHER, TWICE
from policy.methods import adapt as train_adapter
from policy.selection import spent
from policy.spottune import Routed
from policy.transfer import RATE, SHORTEST, Trainer

from . import options, pictures, spoken
from .card import card, command
from .measure import measure, merged
from .progress import note, training
from .recordings import Recordings, Selection, pick_device, validator
from .stored import HISTORY, open_earlier, pack, refuse_foreign, refuse_taken
from .wiring import open_base

SPEECH: Final = "speech"  # folder of what --tts makes
BATCH = 16
STEPS = 4_000  # minutes for any corpus; decision 14 says what half as many cost
NOT_SPOKEN: Final = ("spottune", *TOGETHER)  # is not heard in streams; has no language beside
ROUNDED: Final[Bits] = 8  # bits; decision 12 says what fewer cost
NARROW: Final = 0.4  # of the words where made voices are learnt from, decision 21
LOST: Final = 0.02  # of validation accuracy, from which on what rounding costs is told
FEW: Final = 6  # sites that are printed by name; sites.png shows all


@click.command()
@options.base
@options.data_if_any
@options.words
@options.respelt
@click.option(
    "--tts",
    is_flag=True,
    help="make speech for --words in --language, learn it, and set thresholds; of --data, if "
    "given, people's recordings are learnt too, and validate",
)
@options.keywords
@options.closed
@options.per_word
@click.option("--method", default="swr", show_default=True, type=click.Choice(METHODS))
@click.option(
    "--budget", default="10%", show_default=True, help="10%, 900 (parameters) or 2KiB (all bytes)"
)
@click.option(
    "--bits",
    default=str(ROUNDED),
    show_default=True,
    type=click.Choice([str(bits) for bits in ROUNDINGS]),
    help="that a number is stored in; the head's are of 16",
)
@click.option(
    "--after",
    type=options.FOLDER,
    help="adapter of the language learnt before, for methods that build on it: "
    + ", ".join(SEQUENTIAL),
)
@click.option(
    "--beside",
    multiple=True,
    callback=options.pairs,
    help="column=value, another language of --data that is learnt at the same time; repeat for "
    f"more; for {', '.join(TOGETHER)}",
)
@click.option("--epochs", type=click.IntRange(1), help="of all stages together")
@click.option(
    "--steps",
    default=STEPS,
    show_default=True,
    type=click.IntRange(1),
    help=f"of {BATCH} clips each, rounded up to whole epochs, where --epochs is not given",
)
@click.option(
    "--lr",
    default=RATE,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    callback=options.finite,
    help="peak of the last stage, relative to the base's weights; fewer deltas are trained faster",
)
@options.optimizer
@options.seed
@options.device
@click.option("--out", required=True, type=options.FOLDER, help="folder for the adapter")
@options.as_json
def adapt(
    base: Path,
    data: Path | None,
    filters: tuple[tuple[str, str], ...],
    language: str | None,
    speaker_pattern: str | None,
    others: Path | None,
    words: tuple[str, ...] | None,
    respelt: dict[str, str],
    tts: bool,
    keywords: tuple[str, ...] | None,
    closed: bool,
    per_word: int | None,
    method: str,
    budget: str,
    bits: str,
    after: Path | None,
    beside: tuple[tuple[str, str], ...],
    epochs: int | None,
    steps: int,
    lr: float,
    optimizer: Optimizer,
    seed: int,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """Learn one more language: what it adds to the base stays within the budget."""
    if tts != bool(words) or (tts and (keywords or closed)):
        raise UsageError(
            "--tts and --words go together, without --keywords and --closed: "
            '--tts --words "ja,nein" --language de'
        )
    if others and not (data and not tts):
        raise UsageError("--others is for recordings in --data; --tts makes other words itself")
    if respelt and not tts:
        raise UsageError("--spell is for words that --tts speaks")
    if tts and method in NOT_SPOKEN:
        raise UsageError(f"--method {method} cannot go with --tts; adapt to recordings with it")
    if not (data or tts):
        raise UsageError(
            "there is nothing to learn from; give recordings with --data, or words with --tts"
        )
    selection = Selection(
        data=data or out / SPEECH,
        others=others,
        filters=filters,
        keywords=keywords,
        language=language,
        speaker_pattern=speaker_pattern,
        closed=closed,
        per_word=per_word,
        seed=seed,
    )
    if bool(beside) != (method in TOGETHER):
        raise UsageError(
            f"--beside is for --method {', '.join(TOGETHER)}, which needs other languages, as "
            "--beside corpus=NAME"
        )
    opened = open_base(base)
    if (out / BASE).exists():
        raise UsageError(f"{out} holds a base, which is never changed; name another --out")
    refuse_foreign(out)
    if words:
        refuse_unwritable(out)
        if language:
            refuse_taken(out, language)
        selection = spoken.speak(selection, words, data, out / SPEECH, respelt)
    recordings = Recordings.select(selection, opened.config)
    together = [replace(selection, filters=(pair,), keywords=None) for pair in beside]
    config = run(
        opened,
        recordings,
        method,
        budget,
        out,
        seed=seed,
        bits=next(known for known in ROUNDINGS if str(known) == bits),
        after=after,
        beside=[Recordings.select(other, opened.config) for other in together],
        epochs=epochs,
        steps=steps,
        lr=lr,
        optimizer=optimizer,
        device=pick_device(device),
        made_by=command(),
    )
    result = summary(config)
    if words:
        result |= spoken.calibrated(base, out, selection, config)
        result["trust"] = spoken.trust(config, recordings)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        for name, value in result.items():
            click.echo(f"{name:20} {_text(value)}")


def run(
    base: Base,
    recordings: Recordings,
    method: str,
    budget: str,
    out: Path,
    *,
    seed: int = 0,
    bits: Bits = ROUNDED,
    after: Path | None = None,
    beside: Sequence[Recordings] = (),
    epochs: int | None = None,
    steps: int = STEPS,
    lr: float = RATE,
    optimizer: Optimizer = "adamw",
    device: str = "cpu",
    made_by: str | None = None,
) -> AdapterConfig:
    """Adapt, and save adapter, record and pictures in ``out``.

    Languages ``beside`` are learnt at the same time, each in as many steps. The card says by which
    command it was ``made_by``.
    """
    begin = time.perf_counter()
    refuse_unwritable(out)
    earlier = open_earlier(base, after, method) if after else None
    task = recordings.task
    refuse_taken(out, task.language)
    if (out / ADAPTER).exists():
        note(f"{out} holds an adapter, which the new one replaces, its thresholds with it")
    for warning in task.warnings:
        note(warning)
    classes, width = len(task.labels), base.network.get_parameter("head.weight").shape[1]
    sites = find_sites(base.network)
    total = spent(sites)

    before = earlier.numbers.numel() if earlier else 0
    forms = 2 if method in TWICE else 1

    def stored(numbers: int) -> int:
        """Of as many sites as so many numbers can have, and of the language before."""
        most = min(numbers + before, forms * len(sites))
        return stored_bytes(numbers + before, classes, width, bits, most)

    least = "the head and what the language before owns" if earlier else "the head"
    allowed = Budget.parse(budget).parameters(total, stored, least)
    if method in FIXED:
        allowed = total
        note(f"{method} owns what it owns, whatever the budget")
    augment = AugmentConfig(  # decisions 4, 7 and 21 say why
        mask_bands=0,
        speed=0.1,
        equaliser=6.0,
        narrow=NARROW if recordings.made("train") else 0.0,
        suppressed=(1.0, 40.0),
        snr=SNR[base.config.causal],
    )
    heard = [
        some.training(augment, batch=BATCH, seed=seed, device=device)
        for some in (recordings, *beside)
    ]
    known = [len(some.task.labels) for some in (recordings, *beside)]
    batches = Together(heard, known, seed=seed) if beside else heard[0]
    plan = Plan(
        epochs=epochs or max(SHORTEST, -(-steps * len(heard) // len(batches))),
        lr=lr,
        optimizer=optimizer,
        seed=seed,
    )
    history: dict[str, list[Epoch]] = {}
    settings = [base.config.sha256, method, allowed, plan, augment, task.labels]
    settings += [*recordings.learnt, sha256(after / MODEL) if after else ""]
    settings += [some.digest for some in heard]
    settings += [clip for other in beside for clip in other.learnt]
    with training(f"adapting to {task.language}") as watch:
        trainer = Trainer(
            batches=batches,
            plan=plan,
            validate=validator(*recordings.fixed("validation"), len(task.keywords), classes),
            folder=out,
            fingerprint=fingerprint([str(item) for item in settings]),
            watch=watch,
            history=history,
        )
        try:
            trained = train_adapter(
                base.network, sum(known), method, allowed, trainer, device, earlier
            )
        except DivergedError:
            _forget(trainer)
            raise
    if beside:
        trained = first_classes(trained, classes)
    if isinstance(trained, Routed):
        note(
            f"{method} decides for each recording anew, at {trained.operations:,} multiplications "
            "beside the network's; it can be evaluated, not listened with"
        )
    adapter = pack(base, trained, task, bits)
    if bits_of(adapter.deltas) != bits:
        note(f"{method} stores a bit of each weight, whatever --bits")
    measured = measure(merged(base, adapter), recordings, "validation")
    lost = (trained_to(history) or 0.0) - measured.report["accuracy"]
    if lost > LOST:
        note(
            f"numbers of {bits_of(adapter.deltas)} bits lose {lost:.1%} of the validation clips "
            "that training told apart; give --bits 8, or 16, or another --method"
        )
    config = replace(
        adapter.config,
        method=method,
        budget=None if method in FIXED else budget,
        budget_parameters=None if method in FIXED else allowed,
        training={
            "plan": asdict(plan),
            "batch": BATCH,
            "bits": bits_of(adapter.deltas),
            "recordings": recordings.amount,
            "command": made_by,
            "earlier_parameters": before,
            "seconds": _since(begin),
        },
        metrics={"validation": measured.report | recordings.origin("validation")},
        people=recordings.people,
    )
    config = save_adapter(out, replace(adapter, config=config), card(config))
    write_json(out / HISTORY, {n: [asdict(e) for e in h] for n, h in history.items()})
    pictures.learning_curves(history, out / "learning_curves.png")
    pictures.confusion(measured, out / "confusion.png")
    pictures.choices([pictures.row_of(config)], sites, out / "sites.png")
    _forget(trainer)
    return config


def trained_to(history: Mapping[str, list[Epoch]]) -> float | None:
    """Accuracy on validation at the end of the last stage."""
    return list(history.values())[-1][-1].validation if history else None


def summary(config: AdapterConfig) -> dict[str, Any]:
    """What ``kws adapt`` prints; of a language that builds on another, what that one spent too."""
    before = config.training["earlier_parameters"]
    return {
        "language": config.language,
        "method": config.method,
        "budget": config.budget,
        "spent_parameters": config.spent_parameters,
        "head_parameters": config.head_parameters,
        "stored_bytes": config.stored_bytes,
        "sites": config.sites,
        "validation_accuracy": config.metrics["validation"]["accuracy"],
        "seconds": config.training["seconds"],
    } | ({"earlier_parameters": before} if before else {})


def _text(value: Any) -> str:
    """For people.

    >>> _text(("stem.0", "stem.1", "head")), _text(tuple("abcdefgh"))
    ('stem.0, stem.1, head', 'a, b, c, d, e, f, and 2 more')
    """
    if isinstance(value, dict):
        return ", ".join(f"{key} {item:g}" for key, item in value.items())
    if isinstance(value, tuple):
        rest = [f"and {len(value) - FEW} more"] if len(value) > FEW else []
        return ", ".join([*value[:FEW], *rest])
    return str(value)


def _forget(trainer: Trainer) -> None:
    """Delete the checkpoints of the stages that are done."""
    for name in trainer.history:
        trainer.stage(name).remove()


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 1)
