"""Log-mel features without torch, for the runtime: the twin of :mod:`audio_data.features`."""

import functools

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig


def _hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))


def _mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


@functools.cache
def mel_filters(config: FeatureConfig) -> NDArray[np.float32]:
    """Triangular HTK filters, peak 1: ``[window // 2 + 1, F]``."""
    bins = np.linspace(0.0, config.sample_rate / 2, config.window // 2 + 1)
    low, high = _hertz_to_mel(np.array([config.low, config.high]))
    edges = _mel_to_hertz(np.linspace(low, high, config.mels + 2))
    rising = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


@functools.cache
def _hann(length: int) -> NDArray[np.float32]:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)  # periodic
    return np.asarray(window, dtype=np.float32)


def log_mel(wave: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float32]:
    """``[N] -> [F, T]``, ``T = 1 + (N - window) // hop``; zero in digital silence.

    >>> log_mel(np.zeros(16_000, np.float32), FeatureConfig()).shape
    (40, 98)
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, config.window)[:: config.hop]
    spectrum = np.fft.rfft(frames * _hann(config.window))  # [T, window // 2 + 1]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = power @ mel_filters(config)  # [T, F]
    return np.asarray(np.log1p(mel / config.floor).T * config.scale, dtype=np.float32)
