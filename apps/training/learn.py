"""Learn one more language, and keep all that belongs to it in one folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import policy
from audio_data.augment import SNR, STREAM_SNR, AugmentConfig
from kws import deltas, forms, templates
from kws.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_MODEL,
    Adapter,
    AdapterConfig,
    save_adapter,
    stored_bytes,
)
from kws.base import Base
from kws.budget import Budget
from kws.config import HEAD
from kws.deltas import Adaptation
from kws.files import refuse_unwritable, sha256
from kws.quantized import DEFAULT_BITS, Bits, bits_of
from kws.sites import find_sites
from kws.train import DivergedError, Epoch, Optimizer, Plan, fingerprint, validator
from policy.joint import Together, first_classes
from policy.methods import adapt, method_of
from policy.selection import spent
from policy.spottune import Routed
from policy.transfer import RATE, SHORTEST, Trainer

from ..options import TAG
from ..progress import note, training
from . import pictures
from .card import COMMAND, card
from .measure import Measured, measure, network_of, routing_macs
from .recordings import Recordings
from .stored import open_earlier, pack, refuse_taken, source_of, tell_unfinished

BATCH: Final = 16
DEFAULT_STEPS: Final = 4_000  # minutes for any corpus; decision 14 says what half as many cost
NARROW: Final = 0.4  # of the words where synthetic voices are learnt from, decision 21
TAKEN: Final = 0.5  # of what is no keyword, from which on it is told
CLIPS, PEOPLE = 30, 3  # of validation, below which its accuracy is told to say little
LOST: Final = 0.02  # of validation accuracy, from which on what rounding costs is told


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a language is learnt.

    Attributes:
        method: one of ``policy.methods.METHODS``.
        budget: as :meth:`kws.budget.Budget.parse` takes it.
        bits: that a number is stored in; the head's are of 16.
        epochs: of all stages together; None: as many as ``steps`` take.
        steps: of ``BATCH`` clips each, rounded up to whole epochs; a method in stages takes
            ``SHORTEST`` at least.
        lr: peak of the last stage, relative to the base's weights.
        optimizer: by name.
        seed: of all that is drawn.

    """

    method: str = "swr"
    budget: str = "10%"
    bits: Bits = DEFAULT_BITS
    epochs: int | None = None
    steps: int = DEFAULT_STEPS
    lr: float = RATE
    optimizer: Optimizer = "adamw"
    seed: int = 0


def learn_language(
    base: Base,
    recordings: Recordings,
    recipe: Recipe,
    out: Path,
    *,
    after: Path | None = None,
    beside: Sequence[Recordings] = (),
    device: str = "cpu",
    made_by: str | None = None,
    about: str | None = None,
    finish: Callable[[AdapterConfig], object] | None = None,
    replaces: bool = False,
) -> AdapterConfig:
    """Adapt, and save adapter, record and pictures in ``out``.

    Args:
        base: is not changed.
        recordings: of the language.
        recipe: how it is learnt.
        out: folder; of what a killed run left there, it goes on.
        after: the adapter that a sequential method builds on.
        beside: languages that are learnt at the same time, as :meth:`Recordings.beside` has them:
            ``steps`` of each on the mean, more of those with more recordings.
        device: where to train.
        made_by: the command that the card names.
        about: what the card says of the recordings.
        finish: is called once the adapter is saved; killed before its end, a run goes on from here.
        replaces: whatever adapter the folder holds, also one of other words.

    Raises:
        KwsError: the folder holds something else, or cannot be written.
        UsageError: the budget does not hold the head, or the method does not suit what is given.
        DivergedError: training gave NaN or infinite numbers.

    """
    begin = time.perf_counter()
    refuse_unwritable(out)
    earlier = open_earlier(base, after, recipe.method) if after else None
    learning = _Learning(base, recordings, recipe, out, after, earlier, beside, device)
    allowed = learning.allowed()
    if not replaces:
        refuse_taken(out, recordings.task.language, recordings.task.keywords)
    _tell(out, recordings, beside)
    budgeted = method_of(recipe.method).budgeted
    trained, trainer = learning.run(allowed)
    adapter = pack(base, trained, recordings.task, recipe.bits)
    if budgeted and not Budget.parse(recipe.budget).holds(adapter.config.stored_bytes):
        raise ValueError(
            f"{recipe.method} stores {adapter.config.stored_bytes:,} bytes of {recipe.budget}; "
            "does its Method say in how many forms it owns a module?"
        )
    if not adapter.finite:
        _forget(trainer)
        raise DivergedError("training ended in numbers too large to store; lower --lr")
    network = network_of(base, adapter)
    measured = measure(network, recordings, "validation")
    stages = sum(epoch.seconds for epochs in trainer.history.values() for epoch in epochs)
    seconds = max(time.perf_counter() - begin, stages)  # more, where it was stopped in between
    _tell_rounding(adapter, trainer.history, measured)
    _tell_taken(measured)
    _tell_small(recordings)
    if isinstance(network, Routed):
        _tell_routing(network, recipe.method)
    config = replace(
        adapter.config,
        method=recipe.method,
        budget=recipe.budget if budgeted else None,
        budget_parameters=allowed if budgeted else None,
        training={
            "plan": asdict(trainer.plan),
            "batch": BATCH,
            "bits": bits_of(adapter.deltas),
            "recordings": recordings.amount,
            COMMAND: made_by,
            "note": about,
            "earlier_parameters": learning.earlier_parameters,
            "seconds": round(seconds, 1),
        },
        metrics={"validation": measured.report | recordings.origin("validation")},
        people=(recordings, *beside)[-1].people,  # the last knows those of all before it
    )
    config = save_adapter(out, replace(adapter, config=config), card(config))
    pictures.save_training(trainer.history, measured, out)
    pictures.choices([pictures.row_of(config)], find_sites(base.network), out / "sites.png")
    if finish:
        finish(config)
    _forget(trainer)
    return config


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


def _tell(out: Path, recordings: Recordings, beside: Sequence[Recordings]) -> None:
    """Say what the folder and the recordings give cause to say, before anything is learnt."""
    tell_unfinished(out)
    if not TAG.fullmatch(language := recordings.task.language):
        note(f"the recordings' language is '{language}'; use a tag such as de, cmn or pt-BR")
    if (out / ADAPTER_CONFIG).exists():
        note(f"{out} holds an adapter, which the new one replaces, its thresholds with it")
    for one in (recordings, *beside):
        for warning in one.task.warnings:
            note(warning if one is recordings else f"{one.task.language}: {warning}")


@dataclass(frozen=True)
class _Learning:
    """One language, how it is learnt, and from what."""

    base: Base
    recordings: Recordings
    recipe: Recipe
    out: Path
    after: Path | None
    earlier: Adaptation | None
    beside: Sequence[Recordings]
    device: str

    @property
    def earlier_parameters(self) -> int:
        """Numbers of the language before."""
        return self.earlier.numbers.numel() if self.earlier else 0

    def allowed(self) -> int:
        """Numbers that the language may own beside its head, if that fits into the budget."""
        recipe, method = self.recipe, method_of(self.recipe.method)
        sites, classes = find_sites(self.base.network), len(self.recordings.task.labels)
        budget = Budget.parse(recipe.budget)
        if not method.budgeted:
            return spent(sites)
        width = self.base.network.get_parameter(f"{HEAD}.weight").shape[1]

        def stored(numbers: int) -> int:
            """Of as many sites as so many numbers can have, and of the language before."""
            numbers += self.earlier_parameters
            most = min(numbers, method.forms * len(sites))
            return stored_bytes(numbers, classes, width, recipe.bits, most)

        least = "the head and what the language before owns" if self.earlier else "the head"
        return budget.parameters(spent(sites), stored, least)

    def run(self, allowed: int) -> tuple[Adaptation, Trainer]:
        """What the method makes of the recordings with so many numbers, and how it did."""
        recipe, task, device = self.recipe, self.recordings.task, self.device
        some, augment = (self.recordings, *self.beside), self._augment()
        heard = [
            one.training(augment, batch=BATCH, seed=recipe.seed, device=device) for one in some
        ]
        known = [len(one.task.labels) for one in some]
        batches = Together(heard, known, seed=recipe.seed) if self.beside else heard[0]
        plan = self._plan(len(batches))
        settings = self._settings(allowed, plan, augment, [one.digest for one in heard])
        validation = self.recordings.fixed("validation")
        with training(f"adapting to {task.language}") as watch:
            trainer = Trainer(
                batches=batches,
                plan=plan,
                validate=validator(*validation, len(task.keywords), len(task.labels)),
                folder=self.out,
                fingerprint=fingerprint(settings),
                watch=watch,
            )
            try:
                trained = adapt(
                    self.base.network,
                    sum(known),
                    recipe.method,
                    allowed,
                    trainer,
                    device,
                    self.earlier,
                )
            except DivergedError:
                _forget(trainer)
                raise
        return first_classes(trained, known[0]) if self.beside else trained, trainer

    def _augment(self) -> AugmentConfig:
        """Decisions 4, 7 and 21 say why."""
        return AugmentConfig(
            masks=0,
            speed=0.1,
            equaliser=6.0,
            narrow=NARROW if self.recordings.synthetic("train") else 0.0,
            suppressed=(1.0, 40.0),
            snr=STREAM_SNR if self.base.config.causal else SNR,
        )

    def _plan(self, batches: int) -> Plan:
        """As many epochs of so many batches as the recipe says, or its steps take."""
        recipe = self.recipe
        least = SHORTEST if method_of(recipe.method).staged else 1
        wanted = -(-recipe.steps * (1 + len(self.beside)) // batches)  # epochs
        if not recipe.epochs and wanted < least:
            note(
                f"{recipe.method} trains in stages, for at least {least} epochs, which is more "
                f"than the {recipe.steps:,} steps that methods without stages take"
            )
        return Plan(
            epochs=recipe.epochs or max(least, wanted),
            lr=recipe.lr,
            optimizer=recipe.optimizer,
            seed=recipe.seed,
        )

    def _settings(
        self, allowed: int, plan: Plan, augment: AugmentConfig, digests: Sequence[str]
    ) -> list[str]:
        """All that a run which was stopped must have in common with one that goes on from there."""
        settings = [
            self.base.config.sha256,
            self.recipe.method,
            allowed,
            plan,
            augment,
            self.recordings.task.labels,
            *self.recordings.learnt,
            sha256(self.after / ADAPTER_MODEL) if self.after else "",
            *digests,
            source_of(policy, deltas, forms, templates),  # edited, it does not resume
            *(clip for other in self.beside for clip in other.learnt),
        ]
        return [str(item) for item in settings]


def _tell_rounding(
    adapter: Adapter, history: Mapping[str, list[Epoch]], measured: Measured
) -> None:
    """Say where rounding costs much."""
    bits = bits_of(adapter.deltas)
    lost = (_trained_to(history) or 0.0) - measured.report["accuracy"]
    wider = "".join(f"--bits {more}, or " for more in (8, 16) if more > bits)
    if lost > LOST:
        note(
            f"rounding to {bits} bits costs {100 * lost:.1f} points of validation accuracy; "
            f"give {wider}another --method"
        )


def _tell_taken(measured: Measured) -> None:
    """Say where most of what is no keyword is taken for one: so keywords are easily right."""
    for kind, name in (("unknown", "the other words"), ("silence", "the silence")):
        rate = measured.report[f"{kind}_false_accept_rate"]
        if rate is not None and rate > TAKEN:
            note(
                f"{rate:.0%} of {name} in validation is taken for a keyword: expect many false "
                "accepts, however many keywords are right; train longer, or on more recordings"
            )


def _tell_small(recordings: Recordings) -> None:
    """Say where validation is of so little that its accuracy says little."""
    said = recordings.said("validation")
    people = {clip.speaker for clip in said if not clip.is_synthetic} - {None}
    if len(said) < CLIPS or 0 < len(people) < PEOPLE:
        by = f" by {len(people)} {'person' if len(people) == 1 else 'people'}" if people else ""
        some = "1 recording" if len(said) == 1 else f"{len(said)} recordings"
        note(
            f"validation is {some} of keywords{by}: its accuracy may be far off "
            "for others; record more people"
        )


def _tell_routing(network: Routed, method: str) -> None:
    """Say what it costs to decide for each recording."""
    added, share = routing_macs(network)
    note(
        f"{method} decides anew for each recording and runs the base's blocks beside its own, "
        f"adding {added:,} multiply-accumulates to those of a second ({share:.0%}); a runtime that "
        "ran only the chosen ones would add its policy's alone; kws evaluate can run it, kws "
        "listen cannot"
    )


def _trained_to(history: Mapping[str, list[Epoch]]) -> float | None:
    """Accuracy on validation at the end of the last stage."""
    return list(history.values())[-1][-1].validation if history else None


def _forget(trainer: Trainer) -> None:
    """Delete the checkpoints of the stages that are done."""
    for name in trainer.history:
        trainer.stage(name).remove()
