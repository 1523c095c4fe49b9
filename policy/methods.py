"""Ways to adapt a base to a language, by name, and what each can do.

A method is a function from a :class:`~policy.transfer.Transfer` to a trained adaptation: it decides
which numbers the language owns, in which form (:mod:`kws.forms`), and in which stages they learn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

from kws.deltas import Adaptation
from kws.errors import UsageError

from . import (
    cacl,
    controls,
    fixed,
    gates,
    piggyback,
    recast,
    scratch,
    shares,
    spottune,
    taps,
)
from .selection import spent
from .transfer import Trainer, Transfer


@dataclass(frozen=True)
class Method:
    """A way to adapt.

    Attributes:
        learn: what it makes of a transfer.
        budgeted: obeys a budget; the others own what they own.
        forms: in how many a module may be owned at once.
        sequential: each language builds on the one before.
        together: all languages are known at once, and learnt from batches of all (policy.joint).
        streams: can be listened with.
        staged: decides before its last stage, which takes some epochs.
        head_alone: owns nothing but a head, and means to.
        masks: owns a bit of each weight, however many bits a number is stored in.

    """

    learn: Callable[[Transfer], Adaptation]
    budgeted: bool = True
    forms: int = 1
    sequential: bool = False
    together: bool = False
    streams: bool = True
    staged: bool = False
    head_alone: bool = False
    masks: bool = False


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "swr": Method(shares.swr, staged=True),
        "swr-layers": Method(gates.swr_layers, staged=True),
        "even": Method(controls.even),
        "random": Method(controls.random),
        "largest": Method(controls.largest, staged=True),
        "last": Method(controls.last),
        "taps": Method(taps.taps, staged=True),
        "lora-budget": Method(fixed.lora_budget),
        "recast-swr": Method(recast.recast_swr, forms=2, staged=True),
        "cacl": Method(cacl.cacl, sequential=True, staged=True),
        "head": Method(fixed.head, budgeted=False, head_alone=True),
        "norms": Method(fixed.norms, budgeted=False),
        "bitfit": Method(fixed.bitfit, budgeted=False),
        "lora": Method(fixed.lora, budgeted=False),
        "vera": Method(fixed.vera, budgeted=False),
        "piggyback": Method(piggyback.piggyback, budgeted=False, masks=True),
        "recast": Method(recast.recast, budgeted=False),
        "recast-all": Method(recast.recast_all, budgeted=False),
        "recast-lora": Method(recast.recast_lora, budgeted=False, forms=2),
        "full": Method(fixed.full, budgeted=False),
        "joint": Method(fixed.full, budgeted=False, together=True),
        "spottune": Method(spottune.spottune, budgeted=False, streams=False),
        "scratch": Method(scratch.scratch, budgeted=False),
    }
)


def method_of(name: str) -> Method:
    """The method of this name.

    Raises:
        UsageError: there is none.

    """
    if name not in METHODS:
        raise UsageError(f"unknown method '{name}'; there are {', '.join(METHODS)}")
    return METHODS[name]


def methods_where(fits: Callable[[Method], bool]) -> tuple[str, ...]:
    """The names of the methods that it fits.

    >>> methods_where(lambda method: method.sequential)
    ('cacl',)
    """
    return tuple(name for name, method in METHODS.items() if fits(method))


def adapt(
    network: nn.Module,
    classes: int,
    method: str,
    budget: int,
    train: Trainer,
    device: str = "cpu",
    earlier: Adaptation | None = None,
) -> Adaptation:
    """Adapt a frozen network to a language of ``classes`` classes.

    Args:
        network: the base; its tensors are not written.
        classes: K.
        method: one of ``METHODS``.
        budget: numbers that the language may own, head not counted.
        train: runs the stages.
        device: where to train.
        earlier: the language learnt before this one, of a method that is sequential.

    Returns:
        The trained adaptation, which owns at most ``budget`` numbers beside those of ``earlier``
        where the method is budgeted.

    Raises:
        UsageError: there is no such method, or it trains in stages and there are too few epochs, or
            the network has nothing that it could own.
        ValueError: a method that obeys a budget spent more.

    """
    chosen = method_of(method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.plan.seed)
        owns = not (chosen.budgeted or chosen.head_alone)
        transfer = Transfer(method, network, classes, budget, train, device, earlier, must_own=owns)
        if not chosen.head_alone:
            transfer.refuse_nothing(transfer.sites)
        trained = chosen.learn(transfer)
    before = spent(earlier.chosen) if earlier else 0
    if chosen.budgeted and spent(trained.chosen) > before + budget:
        raise ValueError(f"{method} spent {spent(trained.chosen):,} of {before + budget:,} numbers")
    return trained
