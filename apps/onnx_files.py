"""Networks as files for ONNX Runtime."""

from dataclasses import asdict
from importlib import import_module
from types import ModuleType

from audio_data.logmel import front_end_matrices
from kws.adapter import AdapterConfig
from kws.base import BaseConfig
from kws.config import FeatureConfig
from kws.engine import HOP, TAIL
from kws.errors import KwsError
from models.folded import Folded


def base_file(network: Folded) -> bytes:
    """The network whose weights are inputs."""
    data: bytes = _graph().base_model(network)
    return data


def language_file(
    features: FeatureConfig, network: Folded, language: AdapterConfig | BaseConfig
) -> bytes:
    """One language with its front end: from sound and state to scores and state."""
    metadata: dict[str, object] = {
        "language": language.language,
        "labels": list(language.labels),
        "sample_rate": features.sample_rate,
        "causal": network.causal,
        "hop": features.hop,
        "decision": round(HOP * features.sample_rate),
        "tail": round(TAIL * features.sample_rate),
        "detector": asdict(language.detector),
    }
    data: bytes = _graph().language_model(
        network, front_end_matrices(features), features.hop, metadata
    )
    return data


def _graph() -> ModuleType:
    try:
        return import_module("models.graph")
    except ImportError as error:
        raise KwsError(f"export needs onnx ({error}); pip install 'kws[serving]'") from error
