"""A network of its own for a language, trained from scratch: what sharing a base is worth.

Its normalisations learn statistics of their own. What is kept are differences from the base, as of
everything owned: with the base's statistics another scale and shift compute the same.
"""

import copy

import torch
from torch import Tensor, nn

from kws.config import HEAD
from kws.deltas import Adaptation
from kws.errors import UsageError

from .transfer import RATE, Transfer

Norm = nn.BatchNorm1d | nn.BatchNorm2d

PLAIN = 6e-3  # peak rate of weights themselves, as in pretraining, where RATE is asked for


def scratch(transfer: Transfer) -> Adaptation:
    """Train a network of the base's form that knows nothing of the base.

    Raises:
        UsageError: the network learns elsewhere than in its sites and head, which nothing stores.

    """
    kept = {name for site in transfer.sites for name in site.shapes}
    for name, _ in transfer.network.named_parameters():
        if name not in kept and name.partition(".")[0] != HEAD:
            raise UsageError(f"--method scratch does not store {name}; choose another method")
    for name, layer in transfer.network.named_modules():
        if isinstance(layer, Norm) and (layer.weight is None or layer.running_mean is None):
            raise UsageError(
                f"--method scratch does not store what {name} learns; choose another method"
            )
    network = copy.deepcopy(transfer.network).requires_grad_(True).to(transfer.device)
    for layer in network.modules():
        reset = getattr(layer, "reset_parameters", None)
        if reset is not None:
            reset()
    model = transfer.untrained(transfer.sites)
    setattr(network, HEAD, model.head)
    rate = PLAIN * transfer.train.plan.lr / RATE
    transfer.train("final", network, transfer.train.left, rate)
    return _difference(model, network, transfer.network)


@torch.no_grad()
def _difference(model: Adaptation, network: nn.Module, base: nn.Module) -> Adaptation:
    """The adaptation of the base that computes what the network does."""
    weights: dict[str, Tensor] = dict(network.named_parameters())
    for name, layer in network.named_modules():
        if isinstance(layer, Norm):
            theirs = base.get_submodule(name)
            assert isinstance(theirs, Norm)
            weights |= _with_statistics_of(theirs, layer, name)
    names = [name for site in model.chosen for name in site.shapes]
    wanted = torch.cat([weights[name].reshape(-1) for name in names])
    model.relative.copy_((wanted - model.base) / model.unit)
    return model


def _with_statistics_of(base: Norm, norm: Norm, name: str) -> dict[str, Tensor]:
    """Scale and shift with which the base's normalisation does what ``norm`` does."""
    assert base.running_mean is not None
    assert base.running_var is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    return {
        f"{name}.weight": slope * (base.running_var + base.eps).sqrt(),
        f"{name}.bias": norm.bias + slope * (base.running_mean - norm.running_mean),
    }
