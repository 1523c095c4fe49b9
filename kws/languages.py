"""The languages that are loaded, and which of them is active: the verbs of every bank.

Names and verbs are those that people know from PEFT.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .adapter import Adapter, check_base, check_streamable, load_adapter
from .base import BaseConfig
from .detector import DetectorConfig
from .errors import KwsError, UsageError


class AdapterBank(ABC):
    """One base's adapters by language; the base's own language is there from the start.

    An adapter may be for that same language, for other words of it; it then takes the name.

    Args:
        config: of the base.

    """

    def __init__(self, config: BaseConfig) -> None:
        self.config = config
        self._adapters: dict[str, Adapter] = {}
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
            KwsError: the adapter is for another base, decides for each input anew, or the language
                is loaded already; or the folder holds none.

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
        self._admit(adapter)
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
        """Forget a language; if it was active, the base's own takes its place."""
        if language not in self._adapters:
            raise KwsError(f"no adapter for '{language}' is loaded")
        adapter = self._adapters.pop(language)
        if adapter is self._active:
            self._activate(None)
        self._forget(adapter)

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

    @abstractmethod
    def _admit(self, adapter: Adapter) -> None:
        """Refuse an adapter that does not fit the base, or make ready what it needs."""

    def _activate(self, adapter: Adapter | None) -> None:
        self._active = adapter

    def _forget(self, adapter: Adapter) -> None:  # noqa: B027
        """Drop what was made ready."""
