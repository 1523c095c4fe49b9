"""The bank: one base and many languages in memory; switching is one vector operation.

Names and verbs are those that people know from PEFT.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .adapter import Adapter, check_base
from .base import Base
from .config import SAMPLE_RATE
from .detector import DetectorConfig
from .errors import KwsError
from .sites import HEAD, find_sites, flatten, unflatten

Features = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Bank:
    """One base and its adapters; the base's own language is there from the start.

    An adapter may be for that same language, for other words of it; it then takes the name.

    The live network's parameters are views into one vector. ``set_adapter`` copies the base's
    vector over it and adds the language's deltas, so that it always computes from the base and
    going back and forth is bit-identical. The operations executed are the base's own.

    Args:
        base: read, never written; the live network is a copy, on the CPU.
        features: waveform ``[N]`` to features ``[F, T]``.

    """

    def __init__(self, base: Base, features: Features) -> None:
        self.base = base
        self._features = features
        self.network = copy.deepcopy(base.network).cpu().eval().requires_grad_(False)
        self._sites = find_sites(self.network)
        self._by_name = {site.name: site for site in self._sites}
        self._base_vector = flatten(self.network, self._sites)
        head = self.network.get_submodule(HEAD)
        self._base_head = head.get_parameter("weight").data, head.get_parameter("bias").data
        self._live = self._base_vector.clone()
        for name, view in unflatten(self._live, self._sites).items():
            self.network.get_parameter(name).data = view
        self._adapters: dict[str, Adapter] = {}
        self._active: Adapter | None = None  # None: the base as it is

    @property
    def languages(self) -> tuple[str, ...]:
        """The base's own language, then the adapters' in the order of loading."""
        return tuple(dict.fromkeys((self.base.config.language, *self._adapters)))

    @property
    def active_adapter(self) -> str:
        """The language that is heard."""
        return self._active.config.language if self._active else self.base.config.language

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of the active language."""
        return self._active.config.labels if self._active else self.base.config.labels

    @property
    def nbytes(self) -> int:
        """Bytes that all loaded adapters hold, the base not counted."""
        return sum(adapter.nbytes for adapter in self._adapters.values())

    def load_adapter(self, adapter: Adapter) -> str:
        """Add a language and return its name; it is not active yet.

        Raises:
            KwsError: the adapter is for another base, or the language is loaded already.

        """
        config = self.base.config
        check_base(adapter, config.sha256, config.features.digest, config.language)
        language = adapter.config.language
        if language in self._adapters:
            raise KwsError(f"{language} is loaded already; delete_adapter('{language}') first")
        sites = set(adapter.config.sites)
        size = sum(site.size for site in self._sites if site.name in sites)
        known = sites <= self._by_name.keys() and len(sites) == len(adapter.config.sites)
        if not known or size != len(adapter.deltas):
            raise KwsError(f"the adapter for {language} names other sites than the base has")
        if adapter.head_weight.shape[1] != self._base_head[0].shape[1]:
            raise KwsError(f"the adapter for {language} has a head of another width than the base")
        self._adapters[language] = adapter
        return language

    def set_adapter(self, language: str) -> None:
        """Switch to a loaded language.

        Raises:
            KwsError: it is not loaded; the sentence names those that are.

        """
        if language not in self.languages:
            known = ", ".join(self.languages)
            raise KwsError(f"no adapter for '{language}' is loaded; there are {known}")
        self._activate(self._adapters.get(language))

    def _activate(self, adapter: Adapter | None) -> None:
        self._live.copy_(self._base_vector)
        if adapter is None:
            self._put_head(*self._base_head)
        else:
            deltas = torch.from_numpy(adapter.deltas).float()
            start = 0
            for name in adapter.config.sites:
                site = self._by_name[name]
                self._live[site.start : site.stop] += deltas[start : start + site.size]
                start += site.size
            weight, bias = adapter.head_weight, adapter.head_bias
            self._put_head(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
        self._active = adapter

    def delete_adapter(self, language: str) -> None:
        """Forget a language; if it was active, the base's own takes its place."""
        if language not in self._adapters:
            raise KwsError(f"no adapter for '{language}' is loaded")
        if self._adapters.pop(language) is self._active:
            self._activate(None)

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The base's own language inside the ``with``, the one before after it."""
        before = self._active
        self._activate(None)
        try:
            yield
        finally:
            self._activate(before)

    def merge_and_unload(self) -> nn.Module:
        """A network of its own with the active language's weights."""
        return copy.deepcopy(self.network)  # copies each parameter by itself: no view is left

    def detector_config(self, language: str) -> DetectorConfig:
        """A language's thresholds."""
        adapter = self._adapters.get(language)
        return adapter.config.detector if adapter else DetectorConfig()

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, K]`` in the active language."""
        logits: Tensor = self.network(features)
        return logits.softmax(dim=1)

    def scores(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """One second of sound ``[16000]`` to probabilities ``[K]``."""
        if view.shape != (self.base.config.features.view,):
            raise KwsError(f"a view has {SAMPLE_RATE} samples, not {view.shape}")
        features = torch.from_numpy(self._features(view))
        scores: NDArray[np.float32] = self.probabilities(features[None])[0].numpy()
        return scores

    def _put_head(self, weight: Tensor, bias: Tensor) -> None:
        head = self.network.get_submodule(HEAD)
        head.get_parameter("weight").data = weight
        head.get_parameter("bias").data = bias
