"""Networks by name; a base's configuration says which."""

from dataclasses import replace

import torch

from kws.base import BaseConfig
from kws.errors import UsageError

from .bcresnet import BCResNet
from .layout import ARCHITECTURE, MELS, TAUS


def build(config: BaseConfig) -> BCResNet:
    """Make the network that the configuration describes, with fresh weights.

    Raises:
        UsageError: the architecture or its width is not known, or it hears other bands.

    """
    if config.architecture != ARCHITECTURE or config.tau not in TAUS:
        known = ", ".join(f"{tau:g}" for tau in TAUS)
        raise UsageError(
            f"unknown network {config.architecture} of width {config.tau:g}; "
            f"there is {ARCHITECTURE} with tau {known}"
        )
    if config.features.mels != MELS:
        raise UsageError(f"{config.architecture} hears {MELS} bands, not {config.features.mels}")
    return BCResNet(len(config.labels), config.tau, causal=config.causal, span=config.averaged)


def context(config: BaseConfig) -> int:
    """Frames before a view that the network hears, whatever its classes."""
    if not config.causal:
        return 0
    with torch.device("meta"):  # without weights, and without drawing any
        history = build(replace(config, labels=("any",))).history
    return max(0, history - config.features.frames)
