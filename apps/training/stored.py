"""Adapters as they are stored: what training found becomes one, and what is there already."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from audio_data.manifest import few
from audio_data.task import Task
from kws.adapter import (
    ADAPTER_CONFIG,
    CARD,
    Adapter,
    AdapterConfig,
    check_base,
    file_bytes,
    load_adapter,
    read_adapter_config,
)
from kws.base import BASE_CONFIG, Base
from kws.config import Where
from kws.deltas import Adaptation, restored
from kws.errors import KwsError, UsageError
from kws.forms import MASK
from kws.names import spotted
from kws.quantized import Bits, quantize, to_float16
from policy.methods import method_of
from policy.spottune import stored_router

from ..progress import note

HISTORY: Final = "history.json"  # of training, epoch by epoch


def refuse_foreign(out: Path) -> None:
    """Raise a UsageError where a folder of other things has a file that would be replaced."""
    ours = any((out / name).exists() for name in (ADAPTER_CONFIG, BASE_CONFIG))
    if ours or is_unfinished(out):
        return
    for name in (CARD, HISTORY):
        if (out / name).exists():
            raise UsageError(f"{out} holds a {name} that is not ours; name another --out")


def is_unfinished(out: Path, stage: str = "*") -> bool:
    """Whether a folder holds what a run had learnt in a stage, or in any, when it was stopped.

    The last files of such a run may be missing, also where its base or adapter is there.
    """
    return any(out.glob(f"checkpoint-{stage}.safetensors"))


def tell_unfinished(out: Path) -> None:
    """Say that a run goes on, where one was stopped."""
    if is_unfinished(out):
        note(f"{out} holds an unfinished run, which goes on if it is of the same settings")


def refuse_taken(out: Path, language: str, words: Collection[str]) -> None:
    """Raise a UsageError where a folder holds an adapter of another language, or of other words."""
    try:
        there = read_adapter_config(out)
    except KwsError:  # there is none, or none that could be read again
        return
    if there.language != language:
        raise UsageError(
            f"{out} holds an adapter of {there.language}, not of {language}; name another --out, "
            "or delete it"
        )
    theirs = spotted(there.labels)
    if {*map(str.casefold, theirs)}.isdisjoint(map(str.casefold, words)):
        raise UsageError(
            f"{out} holds an adapter of other words, {few(theirs)}; name another --out, or "
            "delete it"
        )


def heard_before(after: Path | None) -> dict[str, Where]:
    """People whose splits were decided when the language before was learnt, if there is one.

    Raises:
        KwsError: there is no such adapter.

    """
    return read_adapter_config(after).people if after else {}


def refuse_after(method: str) -> None:
    """Raise a UsageError where a method builds on no language before."""
    if not method_of(method).sequential:
        raise UsageError(f"--method {method} builds on no language before; leave out --after")


def open_earlier(base: Base, folder: Path, method: str) -> Adaptation:
    """The language that a new one builds on.

    Raises:
        UsageError: the method builds on no language before, or that one was learnt by another.
        KwsError: there is no such adapter, or it is another base's.

    """
    refuse_after(method)
    adapter = load_adapter(folder)
    if adapter.config.method != method:
        raise UsageError(
            f"--after {folder} was made by {adapter.config.method}; {method} builds on its own kind"
        )
    config = base.config
    check_base(adapter, config)
    return restored(base.network, adapter)


def pack(base: Base, trained: Adaptation, task: Task, bits: Bits) -> Adapter:
    """What training found, rounded to what is stored.

    Raises:
        ValueError: it has gates, which nothing stores.

    """
    if trained.gates is not None:
        raise ValueError("gates are not stored; a method returns what finish() gives")
    numbers, weight, bias = (
        tensor.detach().cpu().numpy()
        for tensor in (trained.numbers, trained.head.weight, trained.head.bias)
    )
    if trained.chosen and all(site.form == MASK for site in trained.chosen):
        bits = 1
    sizes = [site.size for site in trained.chosen]
    parts = np.split(numbers, np.cumsum(sizes)[:-1]) if sizes else []
    even = [
        site.form.balanced(part, site.tensor_shapes)
        for site, part in zip(trained.chosen, parts, strict=True)
    ]
    deltas, peaks = quantize(np.concatenate(even) if even else numbers, sizes, bits)
    classes, width = weight.shape
    config = AdapterConfig(
        language=task.language,
        labels=task.labels,
        base_sha256=base.config.sha256,
        base_language=base.config.language,
        features_digest=base.config.features.digest,
        method="",
        budget=None,
        budget_parameters=None,
        spent_parameters=len(numbers),
        head_parameters=classes * (width + 1),
        stored_bytes=0,
        sites=tuple(site.name for site in trained.chosen),
        licences=task.licences,
    )
    head = to_float16(weight), to_float16(bias)
    adapter = Adapter(config, deltas, *head, peaks, stored_router(trained))
    return replace(adapter, config=replace(config, stored_bytes=file_bytes(adapter.arrays())))


def source_of(*modules: ModuleType) -> str:
    """Their code, of a package that of all its files; nothing where only compiled files are."""
    files: list[Path] = []
    for module in modules:
        assert module.__file__ is not None
        file = Path(module.__file__)
        files += sorted(file.parent.glob("*.py")) if hasattr(module, "__path__") else [file]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.suffix == ".py")
