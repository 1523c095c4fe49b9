"""``kws export``: networks for ONNX Runtime."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import numpy as np
from numpy.typing import NDArray

from audio_data.logmel import hann, mel_filters
from kws.adapter import Adapter, check_base, load_adapter
from kws.base import MODEL, BaseConfig, read_base_config
from kws.config import FeatureConfig
from kws.errors import KwsError, UsageError
from kws.files import read_tensors, write_bytes
from kws.runtime import merged
from models.folded import Folded, fold
from models.session import FILE


@click.command()
@click.option("--base", required=True, type=click.Path(path_type=Path), help="folder of the base")
@click.option("--adapter", type=click.Path(path_type=Path), help="folder of a language's adapter")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=f"file to write; the base's own without it is {FILE} in its folder",
)
def export(base: Path, adapter: Path | None, out: Path | None) -> None:
    """Write networks for ONNX Runtime.

    Without --adapter: the base's network, once for all its languages, which listening needs beside
    the base where our compiled code is not there. Bases pretrained here have it already.

    With --adapter: one language in a file that needs nothing else of ours. It takes sound at
    16 kHz and a state, which begins as zeros, and gives scores and the next state.
    """
    config = read_base_config(base)
    tensors = read_tensors(base / MODEL)
    if adapter is None:
        out = out or base / FILE
        write_bytes(out, base_file(fold(config, tensors)))
    else:
        if out is None:
            raise UsageError("--adapter needs --out, the file to write")
        language, features = load_adapter(adapter), config.features
        check_base(language, config.sha256, features.digest, config.language)
        write_bytes(out, language_file(config, fold(config, merged(tensors, language)), language))
    click.echo(f"{out}: {out.stat().st_size:,} bytes")


def base_file(network: Folded) -> bytes:
    """The network whose weights are inputs."""
    data: bytes = _graph().base_model(network)
    return data


def language_file(config: BaseConfig, network: Folded, adapter: Adapter) -> bytes:
    """One language with its front end: from sound and state to scores and state."""
    metadata: dict[str, object] = {
        "language": adapter.config.language,
        "labels": list(adapter.config.labels),
        "sample_rate": config.features.sample_rate,
        "hop": config.features.hop,  # a causal network takes a multiple of these samples
        "history": network.history * config.features.hop,  # silence to feed it first
        "causal": config.causal,
        "threshold": adapter.config.detector.threshold,
    }
    matrices = front_end(config.features)
    data: bytes = _graph().language_model(network, matrices, config.features.hop, metadata)
    return data


def front_end(config: FeatureConfig) -> dict[str, NDArray[np.float32]]:
    """The front end as matrices: one for the spectrum, one for the bands, and the scale."""
    bins = np.arange(config.window // 2 + 1)
    wave = np.exp(-2j * np.pi * np.outer(bins, np.arange(config.window)) / config.window)
    dft = np.concatenate([wave.real, wave.imag]) * hann(config.window)
    return {
        "dft": dft.astype(np.float32),
        "mel": (mel_filters(config).T / config.floor).astype(np.float32),
        "scale": np.array(config.scale, np.float32),
    }


def _graph() -> ModuleType:
    try:
        return import_module("models.graph")
    except ImportError as error:
        raise KwsError(f"export needs onnx ({error}); pip install 'kws[serving]'") from error
