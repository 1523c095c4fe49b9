"""The core: words everyone uses, deltas, adapters, training, metrics, detector."""

__version__ = "0.1.0"
