"""One base and many languages in torch, for measuring; each switch begins from the base.

What listens is :class:`kws.runtime.Runtime`; tests hold the two equal.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .adapter import Adapter, check_head
from .base import Base
from .config import HEAD
from .engine import HopScorer, WindowScorer, clean_samples
from .errors import KwsError
from .languages import AdapterBank
from .sites import find_sites, unflatten
from .vector import DeltaPlan, WeightVector

Features = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Bank(AdapterBank):
    """One base and its adapters in torch.

    The live network's parameters are views into one vector. ``set_adapter`` copies the base's
    vector over it and adds the language's deltas, so that it always computes from the base and
    going back and forth is bit-identical. The operations executed are the base's own.

    Args:
        base: read, never written; the live network is a copy, on the CPU.
        features: waveform ``[N]`` to features ``[F, T]``.

    """

    def __init__(self, base: Base, features: Features) -> None:
        super().__init__(base.config)
        self.base = base
        self._features = features
        self.network = copy.deepcopy(base.network).cpu().eval().requires_grad_(False)
        sites = find_sites(self.network)
        names = (name for site in sites for name in site.shapes)
        self._base = WeightVector.of(
            {name: self.network.get_parameter(name).numpy() for name in names}
        )
        self._plans: dict[str, DeltaPlan] = {}
        head = self.network.get_submodule(HEAD)
        self._base_head = head.get_parameter("weight").data, head.get_parameter("bias").data
        self._live = self._base.vector.copy()
        for name, view in unflatten(torch.from_numpy(self._live), sites).items():
            self.network.get_parameter(name).data = view

    def _admit(self, adapter: Adapter) -> None:
        check_head(adapter, self._base_head[0].shape[1])
        self._plans[adapter.config.language] = self._base.plan(adapter)

    def _activate(self, adapter: Adapter | None) -> None:
        self._live[:] = self._base.vector
        if adapter is None:
            self._put_head(*self._base_head)
        else:
            self._base.add(adapter, self._plans[adapter.config.language], self._live)
            weight, bias = adapter.head_weight, adapter.head_bias
            self._put_head(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
        super()._activate(adapter)

    def _forget(self, adapter: Adapter) -> None:
        del self._plans[adapter.config.language]

    def merge_and_unload(self) -> nn.Module:
        """A network of its own with the active language's weights."""
        return copy.deepcopy(self.network)  # copies each parameter by itself: no view is left

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, K]`` in the active language."""
        logits: Tensor = self.network(features)
        return logits.softmax(dim=1)

    def scores(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """One second of sound ``[16000]`` to probabilities ``[K]``."""
        if view.shape != (self.base.config.features.view,):
            raise KwsError(f"a view has {self.base.config.features.view} samples, not {view.shape}")
        features = torch.from_numpy(self._features(clean_samples(view)[0]))
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

    def _put_head(self, weight: Tensor, bias: Tensor) -> None:
        head = self.network.get_submodule(HEAD)
        head.get_parameter("weight").data = weight
        head.get_parameter("bias").data = bias
