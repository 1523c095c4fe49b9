"""One base and many languages in torch, for measuring; each switch begins from the base.

What listens is :class:`kws.runtime.Runtime`; tests hold the two equal.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .base import Base
from .config import HEAD
from .engine import HopScorer, WindowScorer
from .errors import KwsError
from .languages import AdapterBank
from .sites import find_sites, unflatten
from .vector import WeightVector

Features = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Bank(AdapterBank):
    """One base and its adapters in torch.

    The network's parameters are views into the vector of live weights, so a switch reaches them at
    once. The operations executed are the base's own.

    Args:
        base: read, never written; the live network is a copy, on the CPU.
        features: waveform ``[N]`` to features ``[F, T]``.

    """

    def __init__(self, base: Base, features: Features) -> None:
        self.base = base
        self._features = features
        self.network = copy.deepcopy(base.network).cpu().eval().requires_grad_(False)
        sites = find_sites(self.network)
        names = (name for site in sites for name in site.shapes)
        weights = {name: self.network.get_parameter(name).numpy() for name in names}
        head = self.network.get_submodule(HEAD)
        weight, bias = (head.get_parameter(name).numpy() for name in ("weight", "bias"))
        super().__init__(base.config, WeightVector.of(weights), (weight, bias))
        for name, view in unflatten(torch.from_numpy(self._live), sites).items():
            self.network.get_parameter(name).data = view

    def _put(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        head = self.network.get_submodule(HEAD)
        head.get_parameter("weight").data = torch.from_numpy(weight)
        head.get_parameter("bias").data = torch.from_numpy(bias)

    def merge_and_unload(self) -> nn.Module:
        """A network of its own with the active language's weights."""
        return copy.deepcopy(self.network)  # copies each parameter by itself: no view is left

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, K]`` in the active language."""
        logits: Tensor = self.network(features)
        return logits.softmax(dim=1)

    def scores(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """One view of sound ``[T]`` to probabilities ``[K]``.

        Raises:
            KwsError: the sound is shorter or longer than a view.

        """
        features = torch.from_numpy(self._features(self._clean_view(view)))
        scores: NDArray[np.float32] = self.probabilities(features[None])[0].numpy()
        return scores

    def hop_scorer(self, hop: int) -> HopScorer:
        """What hears a stream with a decision every ``hop`` samples: a view for each.

        Raises:
            KwsError: the base is causal, and so hears more than one view.

        """
        if self.config.causal:
            raise KwsError(
                "a causal base remembers what was before a view, which a bank in torch does not; "
                "listen with apps.wiring.open_runtime"
            )
        return WindowScorer(self, self.config.features.view)
