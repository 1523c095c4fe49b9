"""SpotTune-like: for each input anew, a network decides which blocks are the language's own.

Guo et al., "SpotTune: Transfer Learning through Adaptive Fine-tuning",
https://arxiv.org/abs/1811.08737: x_l = I_l(x) F'_l(x_{l-1}) + (1 - I_l(x)) F_l(x_{l-1}), gates
drawn by Gumbel-Softmax, straight through. The paper's policy is a residual network of its own; here
it is a small one on the mean and the spread of each band. Layers outside the blocks are the
language's.

What is heard decides, so nothing can be added to the base once and for all: every input runs the
policy and both of each block, the base's and the language's, both sets of weights stay in memory,
and listening, which knows no whole input, does without.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from kws.adapter import Adapter
from kws.config import FeatureConfig
from kws.deltas import Adaptation, restored
from kws.errors import KwsError, UsageError
from kws.sites import Site

from .gates import START, hard_gates
from .transfer import Transfer

BLOCKS: Final = "blocks"  # of the network, each the base's or the language's
HIDDEN: Final = 16


class Either(nn.Module):
    """A block of the base and the language's in its place, by a gate for each clip."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.own: dict[str, Tensor] = {}
        self.gate = torch.ones(1)  # [B], 1 for the language's

    def forward(self, x: Tensor, *how: Any) -> Tensor:
        gate = self.gate[:, None, None, None]
        own: Tensor = functional_call(self.block, self.own, (x, *how))
        base: Tensor = self.block(x, *how)
        return gate * own + (1 - gate) * base


class Routed(Adaptation):
    """A language that owns everything, and for each input decides in which blocks it uses it.

    Args:
        network: the base; its blocks are called as ``BLOCKS`` says.
        classes: K of the language's head.
        chosen: all sites, whole.

    Shape:
        features ``[B, F, T]`` -> logits ``[B, K]``, or as the network does at each of ``ends``

    """

    def __init__(self, network: nn.Module, classes: int, chosen: Sequence[Site]) -> None:
        super().__init__(network, classes, chosen)
        blocks = network.get_submodule(BLOCKS)
        assert isinstance(blocks, nn.ModuleList)
        last = nn.Linear(HIDDEN, len(blocks))
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, START)
        self.router = nn.Sequential(nn.Linear(2 * FeatureConfig().mels, HIDDEN), nn.SiLU(), last)
        self._either = [Either(block) for block in blocks]
        routed = copy.copy(network)  # the base's own layers, but for the blocks
        routed._modules = {**network._modules, BLOCKS: nn.ModuleList(self._either)}
        self._routed = (routed,)

    def route(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, blocks]``: 1 where a block is the language's."""
        logits: Tensor = self.router(torch.cat([features.mean(2), features.std(2)], dim=1))
        return hard_gates(logits, drawn=self.training)

    def forward(self, features: Tensor, *ends: Sequence[int]) -> Tensor:
        weights, gates = self.weights(), self.route(features)
        for number, either in enumerate(self._either):
            begin = f"{BLOCKS}.{number}."
            named = {name: w for name, w in weights.items() if name.startswith(begin)}
            either.own = {name.removeprefix(begin): w for name, w in named.items()}
            either.gate = gates[:, number]
        outer = {name: w for name, w in weights.items() if not name.startswith(f"{BLOCKS}.")}
        # Compiled code would pass the gates by; it leaves features alone that want a gradient.
        heard = features.detach().requires_grad_()
        logits: Tensor = functional_call(self._routed[0], outer, (heard, *ends))
        return logits


def spottune(transfer: Transfer) -> Adaptation:
    """Everything, and a policy that hears each input."""
    if not isinstance(getattr(transfer.network, BLOCKS, None), nn.ModuleList):
        raise UsageError("--method spottune is for networks with blocks; take another method")
    model = Routed(transfer.network, transfer.classes, transfer.sites)
    model.to_device(transfer.device)
    transfer.train("final", model, transfer.train.left, transfer.rate(model))
    return model


def stored_router(model: Adaptation) -> NDArray[np.float16]:
    """The policy as it is stored; nothing where there is none."""
    if not isinstance(model, Routed):
        return np.zeros(0, np.float16)
    vector = parameters_to_vector(model.router.parameters()).detach().cpu().numpy()
    return vector.astype(np.float16)


def rerouted(network: nn.Module, adapter: Adapter) -> Routed:
    """The language of an adapter that has a policy, as it was stored.

    Raises:
        KwsError: its policy is of another size than this base's.

    """
    whole = restored(network, adapter)
    model = Routed(network, len(adapter.config.labels), whole.chosen)
    with torch.no_grad():
        model.relative.copy_(whole.relative)
    model.head.load_state_dict(whole.head.state_dict())
    if len(adapter.router) != len(stored_router(model)):
        raise KwsError(
            f"the adapter for {adapter.config.language} has a policy for another network; "
            "adapt again"
        )
    router = torch.from_numpy(adapter.router.astype(np.float32))
    vector_to_parameters(router, model.router.parameters())
    return model
