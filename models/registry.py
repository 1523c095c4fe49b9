"""Networks by name; a base's configuration says which."""

from kws.base import BaseConfig
from kws.errors import UsageError

from .bcresnet import BCResNet
from .layout import ARCHITECTURE, BEFORE, MELS, TAUS


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
    return max(0, BEFORE + config.averaged - config.features.frames) if config.causal else 0
