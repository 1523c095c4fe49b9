"""What every way to adapt is given: a base, a language, a budget, and training in stages."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.errors import UsageError
from kws.sites import Site, find_sites
from kws.train import Epoch, EpochBatches, Plan, Stage, Watch, fit

from .selection import spent

RATE: Final = 2e-2  # peak, of relative deltas of everything; decision 5 says how it was chosen
FASTEST: Final = 4.0  # times that rate, of few deltas
SHORTEST: Final = 4  # epochs of a method that trains in stages
EARLY: Final = 8  # a stage before the last gets one in so many of all epochs
VALIDATE_EVERY: Final = 4  # epochs; validation costs as much as a third of an epoch of its size
VALIDATIONS: Final = 25  # of a stretch at most: of few recordings there are hundreds of epochs


@dataclass(frozen=True)
class Trainer:
    """Runs one stretch of training under its own name, so that each is resumed by itself."""

    batches: EpochBatches
    plan: Plan  # epochs are those of all stages together, the rate the last one's
    validate: Callable[[nn.Module], float]
    folder: Path
    fingerprint: str
    watch: Watch
    history: dict[str, list[Epoch]] = field(default_factory=dict)

    def __call__(
        self,
        name: str,
        model: nn.Module,
        epochs: int,
        lr: float,
        penalty: Callable[[float], Tensor] | None = None,
    ) -> None:
        """Train what of the model is trainable; each stage begins with epoch 0 of the batches.

        Raises:
            ValueError: a stage of this name was trained before.

        """
        if name in self.history:  # it would take the first one's checkpoint for its own
            raise ValueError(f"two stages are called {name!r}; each needs a name of its own")
        self.history[name] = fit(
            model,
            self.batches,
            replace(self.plan, epochs=epochs, lr=lr),
            penalty=penalty,
            validate=self.validate,
            validate_every=max(VALIDATE_EVERY, -(-epochs // VALIDATIONS)),
            stage=self.stage(name),
            watch=self.watch,
        )

    @property
    def left(self) -> int:
        """Epochs of the plan for what is trained last."""
        return self.plan.epochs - sum(map(len, self.history.values()))

    def stage(self, name: str) -> Stage:
        """Where a stretch of training keeps its checkpoint."""
        return Stage(self.folder, name, self.fingerprint)


@dataclass(frozen=True)
class Transfer:
    """One language to be learnt.

    Attributes:
        method: by which it is learnt.
        network: the base; its tensors are not written.
        classes: K.
        budget: numbers that the language may own, head not counted.
        train: runs the stages.
        device: where to train.
        earlier: the language learnt before, for methods that build on it.
        must_own: whether a method that owns nothing is a mistake.

    """

    method: str
    network: nn.Module
    classes: int
    budget: int
    train: Trainer
    device: str = "cpu"
    earlier: Adaptation | None = None
    must_own: bool = False

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """All that may be owned, whole."""
        return find_sites(self.network)

    def untrained(self, chosen: Sequence[Site], gates: nn.Module | None = None) -> Adaptation:
        """A language that owns these and has learnt nothing yet."""
        return Adaptation(self.network, self.classes, chosen, gates).to_device(self.device)

    def early_stage(
        self,
        name: str,
        model: Adaptation,
        penalty: Callable[[float], Tensor] | None = None,
    ) -> Adaptation:
        """Train in a stage before the last one, of one epoch in ``EARLY``; return the model.

        Raises:
            UsageError: there are too few epochs for stages.

        """
        self.refuse_few_epochs()
        self.train(name, model, max(1, self.train.plan.epochs // EARLY), RATE, penalty)
        return model

    def refuse_few_epochs(self) -> None:
        """Raise a UsageError where there are too few for stages."""
        if self.train.plan.epochs < SHORTEST:
            raise UsageError(
                f"--method {self.method} trains in stages: give it {SHORTEST} epochs or more, or "
                "--method even, which has none"
            )

    def learn_everything(self) -> Adaptation:
        """The first stage of several methods: everything is owned and learns."""
        return self.early_stage("transfer", self.untrained(self.sites))

    def finish(self, chosen: Sequence[Site], before: Adaptation | None = None) -> Adaptation:
        """The last stage, of all epochs that are left: what is owned is known.

        It goes on from ``before``.

        Raises:
            UsageError: nothing is chosen, and the method must own something.

        """
        if self.must_own:
            self.refuse_nothing(chosen)
        model = self.untrained(chosen)
        if before is not None:
            model.initialize_from(before)
        self.train("final", model, self.train.left, self.rate(model))
        return model

    def refuse_nothing(self, chosen: Sequence[Site]) -> None:
        """Raise a UsageError where no site is there to own."""
        if not chosen:
            raise UsageError(
                f"--method {self.method} finds nothing to own in this network; take another"
            )

    def rate(self, model: Adaptation) -> float:
        """Learning rate of the last stage."""
        moved = model.where.unique().numel()
        return self.train.plan.lr * rate_factor(moved, spent(self.sites))


def rate_factor(moved: int, total: int) -> float:
    """Factor of the learning rate where ``moved`` of ``total`` weights change: sqrt(total / moved).

    At most ``FASTEST``. A step then changes what the network computes by about as much, however few
    weights it moves (decision 5).

    >>> rate_factor(26_504, 26_504), rate_factor(6_626, 26_504), rate_factor(0, 26_504)
    (1.0, 2.0, 1.0)
    """
    return min(FASTEST, math.sqrt(total / moved)) if moved else 1.0
