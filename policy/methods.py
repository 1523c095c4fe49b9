"""Ways to adapt a base to a language, by name; each decides which sites the language owns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.errors import UsageError
from kws.sites import Site, find_sites
from kws.train import Epoch, EpochBatches, Plan, Stage, Watch, fit

from .controls import largest_scores, last_scores, norm_sites, random_scores
from .selection import project, spent
from .swr import GatePolicy, allowance, overspend

METHODS: Final = ("swr", "random", "largest", "last", "head", "norms", "full")
FIXED: Final = ("head", "norms", "full")  # own what they own, whatever the budget
RATE: Final = 2e-2  # peak, of relative deltas; decision 5 says how it was chosen
PENALTY = 1.0
SHORTEST: Final = 4  # epochs of a method that trains in stages
STAGES: Final = 8  # of all epochs each stage before the last gets one in so many
VALIDATE_EVERY: Final = 4  # epochs; validation costs as much as a third of an epoch of its size


@dataclass(frozen=True)
class Trainer:
    """Runs one stretch of training under its own name, so that each is resumed by itself."""

    batches: EpochBatches
    plan: Plan  # epochs are those of all stages together, the rate is the last one's
    validate: Callable[[nn.Module], float]
    folder: Path
    fingerprint: str
    watch: Watch
    history: dict[str, list[Epoch]]

    def __call__(
        self,
        name: str,
        model: Adaptation,
        epochs: int,
        lr: float,
        penalty: Callable[[float], Tensor] | None = None,
    ) -> Adaptation:
        self.history[name] = fit(
            model,
            self.batches,
            replace(self.plan, epochs=epochs, lr=lr),
            penalty=penalty,
            validate=self.validate,
            validate_every=VALIDATE_EVERY,
            stage=self.stage(name),
            watch=self.watch,
        )
        return model

    def stage(self, name: str) -> Stage:
        """Where a stretch of training keeps its checkpoint."""
        return Stage(self.folder, name, self.fingerprint)


def adapt(
    network: nn.Module, classes: int, method: str, budget: int, train: Trainer, device: str = "cpu"
) -> Adaptation:
    """Adapt a frozen network to a language of ``classes`` classes.

    Args:
        network: the base; its tensors are not written.
        classes: K.
        method: one of ``METHODS``.
        budget: parameters that the language may replace, head not counted.
        train: runs the stages.
        device: where to train.

    Returns:
        The trained adaptation, which owns at most ``budget`` parameters.

    """
    if method not in METHODS:
        raise UsageError(f"unknown method '{method}'; there are {', '.join(METHODS)}")
    torch.manual_seed(train.plan.seed)
    sites, epochs, rate = find_sites(network), train.plan.epochs, train.plan.lr
    generator = torch.Generator().manual_seed(train.plan.seed)
    first = max(1, epochs // STAGES)

    def grow(chosen: tuple[Site, ...], gates: GatePolicy | None = None) -> Adaptation:
        return Adaptation(network, classes, chosen, gates).to_device(device)

    if method == "full":
        return train("final", grow(sites), epochs, rate)
    if method in ("head", "norms"):
        chosen = norm_sites(sites) if method == "norms" else ()
        return train("final", grow(chosen), epochs, rate)
    if method in ("random", "last"):
        scores = last_scores(sites) if method == "last" else random_scores(sites, generator)
        return train("final", grow(project(scores, sites, budget)), epochs, rate)
    if epochs < SHORTEST:
        raise UsageError(f"--method {method} trains in stages: give it {SHORTEST} epochs or more")
    transferred = train("transfer", grow(sites), first, RATE)
    if method == "largest":
        chosen = project(largest_scores(transferred.pieces()), sites, budget)
        return train("final", grow(chosen).take(transferred), epochs - first, rate)
    policy = GatePolicy(sites).to(device)
    gated = grow(sites, policy).take(transferred)
    share = max(budget, 1) / spent(sites)

    def penalty(progress: float) -> Tensor:
        return PENALTY * overspend(policy.spending(), allowance(share, progress))

    train("policy", gated, first, RATE, penalty)
    chosen = project(policy.logits().detach().cpu(), sites, budget)
    return train("final", grow(chosen).take(gated), epochs - 2 * first, rate)
