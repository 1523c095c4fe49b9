"""Ways to adapt a base to a language, by name.

A method is a function from a :class:`~policy.transfer.Transfer` to a trained adaptation: it decides
which numbers the language owns, in which form (:mod:`kws.forms`), and in which stages they learn.
"""

from collections.abc import Callable, Mapping
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
    piggyback,
    recast,
    scratch,
    shares,
    spottune,
    swr,
    taps,
)
from .transfer import Trainer, Transfer

Method = Callable[[Transfer], Adaptation]

# Those that own what they own, whatever the budget:
_FIXED: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "head": fixed.head,
        "norms": fixed.norms,
        "bitfit": fixed.bitfit,
        "lora": fixed.lora,
        "vera": fixed.vera,
        "piggyback": piggyback.piggyback,
        "recast": recast.recast,
        "recast-all": recast.recast_all,
        "recast-lora": recast.recast_lora,
        "full": fixed.full,
        "joint": fixed.full,  # from batches of several languages (policy.joint)
        "spottune": spottune.spottune,
        "scratch": scratch.scratch,
    }
)
_METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "swr": shares.swr,
        "swr-layers": swr.swr_layers,
        "even": controls.even,
        "random": controls.random,
        "largest": controls.largest,
        "last": controls.last,
        "taps": taps.taps,
        "recast-swr": recast.recast_swr,
        "cacl": cacl.cacl,
        **_FIXED,
    }
)
FIXED: Final = tuple(_FIXED)
METHODS: Final = tuple(_METHODS)
TWICE: Final = ("recast-swr",)  # may own a place in two forms
SEQUENTIAL: Final = ("cacl",)  # each language builds on the one before
TOGETHER: Final = ("joint",)  # all languages are known at once


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
        earlier: the language learnt before this one, of one of ``SEQUENTIAL``.

    Returns:
        The trained adaptation, which owns at most ``budget`` numbers beside those of ``earlier``,
        or what one of ``FIXED`` owns.

    Raises:
        UsageError: there is no such method, or it trains in more stages than there are epochs.

    """
    if method not in _METHODS:
        raise UsageError(f"unknown method '{method}'; there are {', '.join(METHODS)}")
    torch.manual_seed(train.plan.seed)
    return _METHODS[method](Transfer(method, network, classes, budget, train, device, earlier))
