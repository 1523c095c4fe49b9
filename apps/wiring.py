"""The composition root: folders on disk to a base, a bank or a runtime."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from audio_data import frontend
from audio_data.logmel import log_mel
from kws.adapter import AdapterConfig, load_adapter, read_adapter_config
from kws.base import BaseConfig, read_base_config, read_base_tensors
from kws.config import FeatureConfig
from kws.errors import KwsError, UsageError
from kws.files import Arrays
from kws.runtime import FrontEnd, Network, Runtime
from models import compiled

if TYPE_CHECKING:  # training needs torch, listening does not
    from kws.bank import Bank
    from kws.base import Base


Folder = str | Path
AdapterFolder = Folder | tuple[str, Folder]  # or what to call it, and its folder


def read_config(base: Folder, adapter: Folder | None) -> AdapterConfig | BaseConfig:
    """The configuration of the adapter, or of the base where there is none."""
    return read_adapter_config(adapter) if adapter else read_base_config(base)


def read_again(
    base: Path, adapter: Path | None, measured: AdapterConfig | BaseConfig
) -> AdapterConfig | BaseConfig:
    """The configuration that figures of what was ``measured`` are to be kept in.

    Others may have written to it meanwhile.

    Raises:
        KwsError: it is of other weights or thresholds now.

    """
    now = read_config(base, adapter)
    if now.sha256 != measured.sha256 or now.detector != measured.detector:
        raise KwsError(
            f"{adapter or base} was changed while it was measured, so nothing was stored; run this "
            "again"
        )
    return now


def open_base(folder: Folder) -> "Base":
    """The base of a folder."""
    from kws.base import load_base
    from models.registry import build

    return load_base(folder, build)


def bank_of(base: "Base") -> "Bank":
    """A bank in torch of a base, without adapters yet."""
    from kws.bank import Bank

    return Bank(base, partial(log_mel, config=base.config.features))


def open_runtime(
    base: Folder,
    adapters: Sequence[AdapterFolder] | str | Path = (),
    language: str | None = None,
    *,
    kernels: bool = True,
) -> Runtime:
    """A base with adapters for listening, without torch.

    Active is ``language``, else the last adapter, else the base's own. It runs as compiled code.
    Where that was not built, or ``kernels`` is false, NumPy and ONNX Runtime take its place.

    Raises:
        UsageError: the language is not loaded, or two adapters have one name.
        KwsError: a folder holds no base or no adapter of it, or ONNX Runtime lacks its file.

    """
    base = Path(base)
    config = read_base_config(base)
    tensors = read_base_tensors(base)
    build = _network_builder(base, kernels and compiled.library() is not None)
    front_end = partial(_front_end, config.features, kernels)
    runtime = Runtime(config, tensors, build, front_end)
    _load(runtime, adapters, language)
    return runtime


def _load(
    runtime: Runtime, adapters: Sequence[AdapterFolder] | str | Path, language: str | None
) -> None:
    """Load all, or the one, and activate one."""
    names = [runtime.config.language]
    for source in [adapters] if isinstance(adapters, str | Path) else adapters:
        name, folder = source if isinstance(source, tuple) else ("", source)
        adapter = load_adapter(folder)
        name = name or adapter.config.language
        if name in names[1:]:
            raise UsageError(
                f"two adapters are called {name}; call one otherwise: "
                f"--adapter NAME={shlex.quote(str(folder))}"
            )
        names.append(runtime.load_adapter(adapter, name))
    runtime.set_adapter(language or names[-1])


def _network_builder(base: Path, kernels: bool) -> Callable[[BaseConfig, Arrays], Network]:
    if kernels:
        return compiled.CompiledNetwork
    from models.session import FILE, SessionNetwork, open_session

    if not (base / FILE).is_file():
        raise KwsError(
            f"{base} has no {FILE}; make it once with: kws export --base {shlex.quote(str(base))}"
        )
    session = open_session(base / FILE)
    return partial(SessionNetwork, session)


def _front_end(config: FeatureConfig, kernels: bool) -> FrontEnd:
    if kernels and frontend.library() is not None:
        with suppress(KwsError):  # of odd windows it takes none
            return frontend.CompiledFrontEnd(config)
    return frontend.NumpyFrontEnd(config)
