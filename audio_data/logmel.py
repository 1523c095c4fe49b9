"""Log-mel features without torch, for the runtime: the twin of :mod:`audio_data.features`.

A frame is a window of sound and nothing else; none is centred on a border or padded. Frame t of
a clip begins at sample t * hop. A stream has the same frames, and before them the few that begin
in the silence before its first sample, so that every hop of samples ends one frame.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig

Array = NDArray[np.float32]


def _hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))


def _mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


@functools.cache
def mel_filters(config: FeatureConfig) -> Array:
    """Triangular HTK filters, peak 1: ``[window // 2 + 1, F]``."""
    bins = np.linspace(0.0, config.sample_rate / 2, config.window // 2 + 1)
    low, high = _hertz_to_mel(np.array([config.low, config.high]))
    edges = _mel_to_hertz(np.linspace(low, high, config.mels + 2))
    rising = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


@functools.cache
def hann(length: int) -> Array:
    """The periodic window ``[length]``."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)  # periodic
    return np.asarray(window, dtype=np.float32)


def log_mel(wave: Array, config: FeatureConfig) -> Array:
    """``[N] -> [F, T]``, ``T = 1 + (N - window) // hop``, or 0; zero in digital silence.

    >>> log_mel(np.zeros(16_000, np.float32), FeatureConfig()).shape
    (40, 98)
    """
    wave = np.ascontiguousarray(wave, np.float32)
    shape = (max(0, 1 + (len(wave) - config.window) // config.hop), config.window)
    strides = (config.hop * wave.itemsize, wave.itemsize)
    # A view, as sliding_window_view makes it in the time of several spectra.
    frames = np.ndarray(shape, wave.dtype, wave, strides=strides)
    spectrum = np.fft.rfft(frames * hann(config.window))  # [T, window // 2 + 1]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = power @ mel_filters(config)  # [T, F]
    return np.asarray(np.log1p(mel / config.floor).T * config.scale, dtype=np.float32)


def front_end_matrices(config: FeatureConfig) -> dict[str, Array]:
    """The front end for networks in files: ``dft`` and ``mel``, and ``scale``.

    Shape:
        dft ``[window + 2, window]``, the windowed transform, real rows and then imaginary ones; mel
        ``[F, window // 2 + 1]``, the filters over the floor
    """
    bins = np.arange(config.window // 2 + 1)
    wave = np.exp(-2j * np.pi * np.outer(bins, np.arange(config.window)) / config.window)
    dft = np.concatenate([wave.real, wave.imag]) * hann(config.window)
    return {
        "dft": dft.astype(np.float32),
        "mel": (mel_filters(config).T / config.floor).astype(np.float32),
        "scale": np.array(config.scale, np.float32),
    }


def lead(config: FeatureConfig) -> int:
    """Frames of a stream that begin before its first sample; those after them are a clip's.

    >>> lead(FeatureConfig())
    2
    """
    return (config.window - 1) // config.hop


def initial_state(config: FeatureConfig) -> Array:
    """What a stream's front end remembers before the first sample: silence ``[lead * hop]``."""
    return np.zeros(lead(config) * config.hop, np.float32)


def feed(state: Array, samples: Array, config: FeatureConfig) -> tuple[Array, Array]:
    """Take the next samples ``[N]``, any number; give the frames that they end ``[F, n]``.

    The first ``lead`` frames of a stream begin in silence; without these it has the frames that
    :func:`log_mel` makes of all its samples, within :data:`audio_data.features.TOLERANCE`. Where
    the window is a multiple of the hop, N samples in all end N // hop frames, none of them later
    than its last sample. The hop may be no longer than the window.

    Args:
        state: of :func:`initial_state`, or that came with the samples before: the sound of the
            frames that have begun, less than a window. It is not changed.
        samples: that follow.
        config: of the front end.

    >>> config = FeatureConfig()
    >>> state = initial_state(config)
    >>> for _ in range(3):
    ...     features, state = feed(state, np.zeros(1_000, np.float32), config)
    ...     print(features.shape, state.shape)
    (40, 6) (360,)
    (40, 6) (400,)
    (40, 6) (440,)

    """
    wave = np.concatenate([state, np.asarray(samples, np.float32)])
    n = max(0, 1 + (len(wave) - config.window) // config.hop)
    features = log_mel(wave, config) if n else np.zeros((config.mels, 0), np.float32)
    return features, wave[n * config.hop :].copy()  # a view would keep all samples alive
