"""The composition root: folders on disk to a base and a bank."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from audio_data.logmel import log_mel
from kws.adapter import load_adapter
from kws.bank import Bank
from kws.base import Base, load_base
from models.registry import build


def open_base(folder: Path) -> Base:
    """The base of a folder."""
    return load_base(folder, build)


def open_bank(base: Path, adapters: Sequence[Path] = (), language: str | None = None) -> Bank:
    """A base with adapters; active is ``language``, else the last adapter, else the base's own."""
    opened = open_base(base)
    bank = Bank(opened, partial(log_mel, config=opened.config.features))
    names = [bank.load_adapter(load_adapter(folder)) for folder in adapters]
    bank.set_adapter(language or (names[-1] if names else opened.config.language))
    return bank
