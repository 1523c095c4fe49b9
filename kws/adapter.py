"""An adapter: what one language adds to the base, as a folder of a few kilobytes.

``adapter_model.safetensors`` holds ``deltas``, the numbers of the chosen sites one after another in
the order that ``adapter_config.json`` lists them, each in the form that its name tells
(:mod:`kws.forms`); in fewer than 16 bits also ``peaks``, each site's largest number
(:mod:`kws.quantized`); of a method that decides for each recording ``router``; and the head. No
torch is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from .base import BaseConfig
from .config import Where
from .detector import DetectorConfig
from .errors import KwsError
from .files import (
    Arrays,
    read_json,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
    write_text,
)
from .forms import WHOLE, Form, Shapes, form_of, split_name
from .names import check_names, check_shown
from .quantized import CODES, Bits, Codes, Peaks, bits_of, dequantize, length
from .templates import Templates
from .typed import checked, naming, refuse_format

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_MODEL: Final = "adapter_model.safetensors"
CARD: Final = "README.md"
FORMAT: Final = 1
STORED: Final = np.float16  # of the head; what is measured is what is stored
TENSORS: Final = {"deltas": 1, "head.weight": 2, "head.bias": 1}  # name: dimensions
PEAKS: Final = "peaks"
NAMED: Final = 4  # tensors that do not belong there, at most
ROUTER: Final = "router"  # what decides for each input anew, of a method that has it


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """What an adapter is, whom it fits and how it came to be."""

    language: str  # BCP 47
    labels: tuple[str, ...]
    base_sha256: str
    base_language: str
    features_digest: str
    method: str
    budget: str | None  # as asked
    budget_parameters: int | None  # numbers that it allowed beside the head
    spent_parameters: int
    head_parameters: int
    stored_bytes: int
    sites: tuple[str, ...]
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    # Who was in which split: all who speak the language, and of others those whom no corpus splits.
    people: dict[str, Where] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    sha256: str = ""  # of the numbers' file; older adapters do not say
    format: int = FORMAT


@dataclass(frozen=True)
class Adapter:
    """A language in memory: its configuration and its numbers, as they are stored."""

    config: AdapterConfig
    deltas: Codes  # of [spent] numbers
    head_weight: NDArray[np.float16]  # [K, D]
    head_bias: NDArray[np.float16]  # [K]
    peaks: Peaks = field(default_factory=lambda: np.zeros(0, STORED))  # [S], or none in 16 bits
    router: NDArray[np.float16] = field(default_factory=lambda: np.zeros(0, STORED))  # mostly none

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def finite(self) -> bool:
        """Whether all are numbers: a rate that is too high leaves others."""
        return _finite(self.arrays())

    def arrays(self) -> Arrays:
        """As they are stored."""
        named = _arrays(self.deltas, self.peaks, self.head_weight, self.head_bias)
        return named | ({ROUTER: self.router} if len(self.router) else {})


def _arrays(
    deltas: Codes, peaks: Peaks, weight: NDArray[np.float16], bias: NDArray[np.float16]
) -> Arrays:
    named: Arrays = {"deltas": deltas, "head.weight": weight, "head.bias": bias}
    return named if bits_of(deltas) == 16 else named | {PEAKS: peaks}


def _finite(arrays: Arrays) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def stored_bytes(spent: int, classes: int, width: int, bits: Bits = 16, sites: int = 0) -> int:
    """Size in bytes of the file of an adapter's tensors.

    Args:
        spent: numbers beside the head.
        classes: K, rows of the head.
        width: D, columns of the head.
        bits: of each of these numbers; the head's are of 16.
        sites: that have numbers; in fewer than 16 bits each stores a peak.

    """
    deltas = np.zeros(length(spent, bits), CODES[bits])
    head = np.zeros((classes, width), STORED), np.zeros(classes, STORED)
    return file_bytes(_arrays(deltas, np.zeros(sites, STORED), *head))


def file_bytes(arrays: Arrays) -> int:
    """Size of the file of these."""
    return len(save(arrays))


def save_adapter(folder: Path, adapter: Adapter, card: str) -> AdapterConfig:
    """Write numbers and card first, and last the configuration that names the numbers' digest.

    After a kill in between, neither the old adapter nor the new one loads;
    :func:`load_adapter` says so.

    Raises:
        KwsError: a number is infinite or none; what was there stays.

    """
    if not adapter.finite:
        raise KwsError(f"training gave NaN or inf, so {folder} is not written; lower --lr")
    write_tensors(folder / ADAPTER_MODEL, adapter.arrays())
    write_text(folder / CARD, card)
    config = replace(adapter.config, sha256=sha256(folder / ADAPTER_MODEL))
    save_adapter_config(folder, config)
    return config


def save_adapter_config(folder: Path, config: AdapterConfig) -> None:
    """Replace the configuration alone, in one step; the numbers stay as they are."""
    write_json(folder / ADAPTER_CONFIG, asdict(config))


def read_adapter_config(folder: str | Path) -> AdapterConfig:
    """Only the configuration; quick."""
    folder = Path(folder)
    raw = read_json(folder / ADAPTER_CONFIG)
    refuse_format(raw.get("format"), FORMAT, f"{folder} holds an adapter")
    with naming(folder / ADAPTER_CONFIG, "adapter"):
        detector = DetectorConfig.from_dict(checked(DetectorConfig, raw["detector"]))
        config = AdapterConfig(**checked(AdapterConfig, raw | {"detector": detector}))
        check_names(config.language, config.labels)
        told = config.base_sha256, config.base_language, config.features_digest, *config.sites
        check_shown(config.method, config.budget or "", *told)
        detector.refuse_strangers(config.labels)
    return config


def load_adapter(folder: str | Path) -> Adapter:
    """Read an adapter and check that its numbers are those its configuration speaks of.

    Raises:
        KwsError: a file is missing, truncated or foreign, or tensors are missing or unexpected.

    """
    folder = Path(folder)
    config = read_adapter_config(folder)
    file = folder / ADAPTER_MODEL
    arrays = read_tensors(file)
    dtype = arrays["deltas"].dtype if "deltas" in arrays else None
    few = dtype in CODES.values() and dtype != CODES[16]
    dimensions = TENSORS | ({PEAKS: 1} if few else {})
    dimensions |= {ROUTER: 1} if ROUTER in arrays else {}
    if set(arrays) != set(dimensions):
        names = sorted(set(arrays) ^ set(dimensions))
        odd = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        raise KwsError(f"{file} lacks or has unexpected tensors ({odd}); it is no adapter")
    classes = len(config.labels)
    fits = (
        all(arrays[name].ndim == n for name, n in dimensions.items())
        and all(array.dtype == STORED for name, array in arrays.items() if name != "deltas")
        and dtype in CODES.values()
        and len(arrays["deltas"]) == length(config.spent_parameters, bits_of(arrays["deltas"]))
        and (not few or len(arrays[PEAKS]) == len(config.sites))
        and len(arrays["head.weight"]) == len(arrays["head.bias"]) == classes
        and _finite(arrays)
    )
    if not fits:
        raise KwsError(f"{file} does not fit its configuration; copy or make it again")
    if config.sha256 not in ("", sha256(file)):
        raise KwsError(
            f"{file} does not match its configuration: an interrupted save, or damage; "
            "copy or make it again"
        )
    rest = {name: arrays[name] for name in (PEAKS, ROUTER) if name in arrays}
    head = arrays["head.weight"], arrays["head.bias"]
    return Adapter(config, arrays["deltas"], *head, **rest)


class Piece(NamedTuple):
    """What an adapter changes in one module of the base."""

    module: str
    form: Form
    shapes: Shapes
    span: slice  # of the adapter's numbers
    where: NDArray[np.int64] | slice  # among the module's weights, counted flat
    templates: NDArray[np.float32] | None  # [n, w] that are mixed

    def changes(self, owned: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is added there, given all numbers ``[spent]`` that the language owns."""
        return self.form.changes(owned[self.span], self.shapes, self.templates)


def pieces(
    adapter: Adapter, shapes: Mapping[str, Shapes], templates: Templates
) -> tuple[Piece, ...]:
    """What an adapter changes in a base: one piece for each of its sites, in their order.

    A module may come in several forms, whose changes add up.

    Args:
        adapter: of that base.
        shapes: of the tensors of every module of the base, the weight first.
        templates: of the base.

    Raises:
        KwsError: the adapter names other sites than the base has.

    """
    config = adapter.config
    wrong = KwsError(f"the adapter for {config.language} names other sites than the base has")
    names = [split_name(site) for site in config.sites]
    named = {module for module, _ in names}
    if len(set(names)) < len(names) or not named <= shapes.keys():
        raise wrong
    found, start = [], 0
    for module, name in names:
        try:
            form = form_of(name)
            stop = start + form.size(shapes[module])
            common = templates.of(module, form)
        except KwsError:
            raise wrong from None
        where = form.weight_indices(shapes[module])
        some = len(where) < WHOLE.size(shapes[module])
        span = slice(start, stop)
        at = where if some else slice(None)
        found.append(Piece(module, form, shapes[module], span, at, common))
        start = stop
    if start != config.spent_parameters:
        raise wrong
    return tuple(found)


def numbers_of(adapter: Adapter, found: Sequence[Piece]) -> NDArray[np.float32]:
    """An adapter's numbers ``[spent]``, of which these are the pieces."""
    sizes = [piece.span.stop - piece.span.start for piece in found]
    return dequantize(adapter.deltas, adapter.peaks, sizes)


def check_streamable(adapter: Adapter) -> None:
    """Refuse an adapter with a router, which needs a whole clip to choose weights for it.

    Raises:
        KwsError: it has one.

    """
    if len(adapter.router):
        raise KwsError(
            f"the adapter for {adapter.config.language}, by {adapter.config.method}, decides "
            "anew for each recording and cannot run on a stream; kws evaluate measures it"
        )


def check_head(adapter: Adapter, width: int) -> None:
    """Refuse a head ``[K, D]``, ``[K]`` that does not classify ``width`` features.

    Raises:
        KwsError: says so.

    """
    if adapter.head_weight.shape != (len(adapter.head_bias), width):
        raise KwsError(
            f"the adapter for {adapter.config.language} has a head of another width than the "
            "base, or not a row for each class; make it again"
        )


def check_base(adapter: Adapter, base: BaseConfig) -> None:
    """Refuse an adapter of another base or front end.

    Raises:
        KwsError: the sentence names both languages.

    """
    config, features = adapter.config, base.features.digest
    if config.base_sha256 != base.sha256:
        raise KwsError(
            f"the adapter for {config.language} belongs to another base "
            f"({config.base_language} {config.base_sha256[:8]}, not {base.language} "
            f"{base.sha256[:8]}); name its own with --base, or adapt this one to {config.language}"
        )
    if config.features_digest != features:
        raise KwsError(
            f"the adapter for {config.language} hears through another front end "
            f"({config.features_digest}, not {features}); adapt again"
        )
