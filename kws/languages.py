"""The languages that are loaded, and which of them is active: the verbs of every bank.

Names and verbs are those that people know from PEFT.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .adapter import Adapter, check_base, check_head, check_streamable, load_adapter
from .base import BaseConfig
from .detector import DetectorConfig
from .engine import clean_samples
from .errors import KwsError, UsageError
from .vector import DeltaPlan, WeightVector

Array = NDArray[np.float32]


class AdapterBank(ABC):
    """One base's adapters by language; the base's own language is there from the start.

    An adapter may be for that same language, for other words of it; it then takes the name.

    There is one network. Every switch copies the base's weights and adds the language's deltas, so
    it always computes from the base, and going back and forth is bit-identical.

    Args:
        config: of the base.
        weights: of the base, all that a language may change but the head.
        head: of the base, ``[K, D]`` and ``[K]``.

    """

    def __init__(
        self, config: BaseConfig, weights: WeightVector, head: tuple[Array, Array]
    ) -> None:
        self.config = config
        self._weights, self._head = weights, head
        self._live = weights.vector.copy()  # those of the active language
        self._adapters: dict[str, Adapter] = {}
        self._plans: dict[str, DeltaPlan] = {}
        self._active: Adapter | None = None  # None: the base as it is

    @property
    def languages(self) -> tuple[str, ...]:
        """The base's own language, then the adapters' in the order of loading."""
        return tuple(dict.fromkeys((self.config.language, *self._adapters)))

    @property
    def active_adapter(self) -> str:
        """The language that is heard."""
        return self._active.config.language if self._active else self.config.language

    @property
    def active(self) -> Adapter | None:
        """The adapter that is heard; None is the base as it is."""
        return self._active

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of the active language."""
        return self._active.config.labels if self._active else self.config.labels

    @property
    def nbytes(self) -> int:
        """Bytes that all loaded adapters hold as they are stored, the base not counted."""
        return sum(adapter.nbytes for adapter in self._adapters.values())

    def load_adapter(self, adapter: Adapter | str | Path, name: str | None = None) -> str:
        """Add a language and return its name; it is not active yet.

        Args:
            adapter: of this base, or its folder.
            name: what the language is called here, so that one may be there twice.

        Raises:
            KwsError: the folder holds no adapter; or the adapter is for another base or front end,
                names other sites or has a head of another width than the base, or decides for each
                input anew; or its name is taken.

        """
        if not isinstance(adapter, Adapter):
            adapter = load_adapter(adapter)
        check_base(adapter, self.config)
        check_streamable(adapter)
        language = name or adapter.config.language
        # What was measured of it stays on the disk: it is many times what the language owns.
        config = replace(adapter.config, language=language, metrics={}, training={})
        adapter = replace(adapter, config=config)
        if language in self._adapters:
            raise KwsError(f"{language} is loaded already; delete_adapter('{language}') first")
        check_head(adapter, self._head[0].shape[1])
        self._plans[language] = self._weights.plan(adapter)
        self._adapters[language] = adapter
        return language

    def set_adapter(self, language: str) -> None:
        """Switch to a loaded language.

        Raises:
            UsageError: it is not loaded; the sentence names those that are.

        """
        if language not in self.languages:
            raise self._unknown(language)
        self._activate(self._adapters.get(language))

    def delete_adapter(self, language: str) -> None:
        """Forget a language; if it was active, the base's own takes its place.

        Raises:
            UsageError: no adapter for it is loaded; the base's own language cannot be deleted.

        """
        if language not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise UsageError(f"no adapter for '{language}' is loaded; loaded: {known}")
        adapter = self._adapters.pop(language)
        if adapter is self._active:
            self._activate(None)
        del self._plans[language]

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Activate the base's own language inside the ``with``, and the one before after it.

        That one is looked up by name: an adapter loaded under it meanwhile is activated, and if it
        was deleted, the base's own language. An engine that is fed inside the ``with`` switches the
        bank to its own language.
        """
        before = self._active
        self._activate(None)
        try:
            yield
        finally:
            self._activate(before and self._adapters.get(before.config.language))

    def detector_config(self, language: str) -> DetectorConfig:
        """A language's detector settings.

        Of the active language those of the adapter that is active, not of one that was loaded
        under its name since.

        Raises:
            UsageError: it is not loaded.

        """
        if language == self.active_adapter:
            return (self._active or self).config.detector
        if language not in self.languages:
            raise self._unknown(language)
        return (self._adapters.get(language) or self).config.detector

    def _unknown(self, language: str) -> UsageError:
        known = ", ".join(self.languages)
        return UsageError(f"no adapter for '{language}' is loaded; there are {known}")

    def _clean_view(self, view: Array) -> Array:
        """One view of sound ``[T]`` without samples that are no numbers.

        Raises:
            KwsError: it is shorter or longer than a view.

        """
        if view.shape != (self.config.features.view,):
            raise KwsError(f"a view has {self.config.features.view} samples, not {view.shape}")
        return clean_samples(view)[0]

    def _activate(self, adapter: Adapter | None) -> None:
        """Hear with the base's weights, and with what an adapter adds to them."""
        self._live[:] = self._weights.vector
        head = self._head
        if adapter is not None:
            self._weights.add(adapter, self._plans[adapter.config.language], self._live)
            head = adapter.head_weight.astype(np.float32), adapter.head_bias.astype(np.float32)
        self._put(*head)
        self._active = adapter

    @abstractmethod
    def _put(self, weight: Array, bias: Array) -> None:
        """Hear with the live weights and this head, ``[K, D]`` and ``[K]``, from now on."""
