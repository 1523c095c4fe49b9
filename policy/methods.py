"""Ways to adapt a base to a language, by name; each decides which sites the language owns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.errors import UsageError
from kws.forms import SHIFT
from kws.sites import Site, find_sites
from kws.train import Epoch, EpochBatches, Plan, Stage, Watch, fit

from .controls import largest_scores, last_scores, norm_sites, pointwise_sites, random_scores
from .selection import project, spent
from .shares import SharePolicy, apportion
from .swr import GatePolicy, allowance

# Those that own what they own, whatever the budget:
FIXED: Final = ("head", "norms", "bitfit", "lora", "vera", "full")
METHODS: Final = ("swr", "swr-layers", "even", "random", "largest", "last", *FIXED)
RATE: Final = 2e-2  # peak, of relative deltas of everything; decision 5 says how it was chosen
FASTEST: Final = 4.0  # times that rate, of few deltas
POLICIES: Final = {"swr": SharePolicy, "swr-layers": GatePolicy}
SHORTEST: Final = 4  # epochs of a method that trains in stages
STAGES: Final = 8  # of all epochs each stage before the last gets one in so many
VALIDATE_EVERY: Final = 4  # epochs; validation costs as much as a third of an epoch of its size


@dataclass(frozen=True)
class Trainer:
    """Runs one stretch of training under its own name, so that each is resumed by itself."""

    batches: EpochBatches
    plan: Plan  # epochs are those of all stages together, the rate the last one's
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
    sites, epochs = find_sites(network), train.plan.epochs
    first, total = max(1, epochs // STAGES), spent(sites)

    def grow(chosen: Sequence[Site], gates: nn.Module | None = None) -> Adaptation:
        return Adaptation(network, classes, chosen, gates).to_device(device)

    def finish(
        chosen: Sequence[Site], before: Adaptation | None = None, stages: int = 0
    ) -> Adaptation:
        model = grow(chosen) if before is None else grow(chosen).take(before)
        rate = train.plan.lr * quickening(sum(len(site.places()) for site in chosen), total)
        return train("final", model, epochs - stages * first, rate)

    if method in FIXED:
        return finish(owned_by(method, sites))
    if method == "even":
        return finish(apportion(torch.zeros(len(sites)), sites, budget))
    if method in ("random", "last"):
        generator = torch.Generator().manual_seed(train.plan.seed)
        scores = last_scores(sites) if method == "last" else random_scores(sites, generator)
        return finish(project(scores, sites, budget))
    if epochs < SHORTEST:
        raise UsageError(f"--method {method} trains in stages: give it {SHORTEST} epochs or more")
    transferred = train("transfer", grow(sites), first, RATE)
    if method == "largest":
        return finish(project(largest_scores(transferred.pieces()), sites, budget), transferred, 1)
    share = max(budget, 1) / total
    policy = POLICIES[method](sites).to(device)
    gated = grow(sites, policy).take(transferred)
    train("policy", gated, first, RATE, lambda p: policy.tighten(allowance(share, p)))
    return finish(policy.choose(budget), gated, 2)


def owned_by(method: str, sites: Sequence[Site]) -> tuple[Site, ...]:
    """What a method of ``FIXED`` owns; :mod:`kws.forms` names the papers.

    LoRA has rank 1 and VeRA rank 4, both on the pointwise convolutions.
    """
    match method:
        case "norms":
            return norm_sites(sites)
        case "bitfit":
            return tuple(site.owned(SHIFT) for site in norm_sites(sites))
        case "lora":
            return tuple(site.owned("rank1") for site in pointwise_sites(sites))
        case "vera":
            return tuple(site.owned("vera4") for site in pointwise_sites(sites))
        case "full":
            return tuple(sites)
        case _:
            return ()  # a head alone


def quickening(moved: int, total: int) -> float:
    """How many times faster few weights are trained than all: as the root of their number.

    Then a step moves what the network computes about as far, however few weights it may change.

    >>> quickening(26_504, 26_504), quickening(6_626, 26_504), quickening(0, 26_504)
    (1.0, 2.0, 1.0)
    """
    return min(FASTEST, math.sqrt(total / moved)) if moved else 1.0
