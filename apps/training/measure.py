"""How well a network tells the clips of a split apart."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audio_data.clips import Split
from kws.adapter import Adapter, check_base
from kws.base import Base
from kws.deltas import Adaptation
from kws.metrics import report
from kws.train import predict
from models.bcresnet import VIEW_FRAMES
from models.cost import macs
from policy.spottune import Routed, rerouted

from ..wiring import bank_of
from .recordings import Recordings


@dataclass(frozen=True)
class Measured:
    """Predictions ``[N]`` and truth ``[N]`` of a split, and what they come to."""

    predicted: NDArray[np.int64]
    truth: NDArray[np.int64]
    labels: tuple[str, ...]
    report: dict[str, Any]


def measure(
    network: nn.Module, recordings: Recordings, split: Split, *, closed: bool = False
) -> Measured:
    """Predict every clip of a split with the class of the highest score.

    Where ``closed``, only keywords are said and only keywords can be heard, whatever the
    network was trained with.
    """
    features, labels = recordings.fixed(split)
    logits, names = predict(network, features), recordings.task.labels
    if closed:
        logits = logits[:, : len(recordings.task.keywords)]
    predicted, truth = logits.argmax(dim=1).numpy(), labels.numpy()
    figures = report(predicted, truth, names, recordings.speakers(split))
    return Measured(predicted, truth, names, figures)


def routing_macs(model: Routed) -> tuple[int, float]:
    """Multiply-accumulates of a view beside those of a network without policy; and their share.

    >>> from kws.sites import find_sites
    >>> from models.bcresnet import BCResNet
    >>> routing_macs(Routed(network := BCResNet(12), 12, find_sites(network)))
    (1513808, 0.6285...)
    """
    plain = Adaptation(model.network, model.head.out_features, ())
    without = macs(plain, VIEW_FRAMES)
    added = macs(model, VIEW_FRAMES) - without
    return added, added / without


def network_of(base: Base, adapter: Adapter | None = None) -> nn.Module:
    """The network as the bank runs it, in the adapter's language or the base's own.

    One that decides for each input anew, which no bank can, runs as it was trained.
    """
    if adapter and len(adapter.router):
        config = base.config
        check_base(adapter, config)
        return rerouted(copy.deepcopy(base.network).cpu(), adapter).eval()
    bank = bank_of(base)
    if adapter:
        bank.set_adapter(bank.load_adapter(adapter))
    return bank.network
