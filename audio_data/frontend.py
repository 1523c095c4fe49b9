"""The features of a stream as it comes, by compiled code where there is some, else by NumPy."""

import ctypes
import functools
import math
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.errors import KwsError
from kws.native import address, open_library

from . import logmel
from .logmel import Array

MAX_STAGES: Final = 12  # as in logmel.c
LARGEST: Final = 128  # factor of a window, as there; a table grows as its square
LANES: Final = 8  # most frames of one vector


class NumpyFrontEnd:
    """Takes samples in any pieces, gives the frames that they end.

    Attributes:
        config: the settings.

    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Begin another stream, after silence."""
        self._state = logmel.initial_state(self.config)

    def feed(self, samples: Array) -> Array:
        """Take samples ``[N]``, return frames ``[F, n]``, as :func:`audio_data.logmel.feed`."""
        features, self._state = logmel.feed(self._state, samples, self.config)
        return features

    def clip(self, wave: Array) -> Array:
        """``[N] -> [F, T]``: the frames of a clip; the stream goes on as if it had not been."""
        return logmel.log_mel(wave, self.config)


class CompiledFrontEnd:
    """The same by ``logmel.c``, within :data:`audio_data.features.TOLERANCE` but for loud tones.

    A pure tone of full scale is off by up to 1.3e-3, in bands near the floor.

    Attributes:
        config: the settings.

    Raises:
        KwsError: the code was not built, or the window is odd, or has too many factors or too large
            a one.

    """

    def __init__(self, config: FeatureConfig) -> None:
        found = library()
        if found is None:
            raise KwsError("the compiled front end is not there; install again with a C compiler")
        self._log_mel = found.kws_log_mel
        self._plan, self._tables, self._spans = plan(config)
        self._scratch = np.empty((2 * config.window + 4) * LANES, np.float32)
        arrays = self._plan, self._tables, self._spans, self._scratch
        self._at = tuple(array.ctypes.data for array in arrays)
        self._wave = np.zeros(0, np.float32)  # as long as the longest piece asks for
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Begin another stream, after silence."""
        self._held = logmel.lead(self.config) * self.config.hop  # samples of frames begun
        self._room(self._held)[: self._held] = 0

    def feed(self, samples: Array) -> Array:
        """Take samples ``[N]``, return the frames that they end ``[F, n]``."""
        held, config = self._held, self.config
        hop, total = config.hop, held + len(samples)
        wave = self._wave if total <= len(self._wave) else self._room(total)
        wave[held:total] = samples
        n = (total - config.window) // hop + 1
        if n < 1:
            self._held = total
            return np.zeros((config.mels, 0), np.float32)
        features = np.empty((config.mels, n), np.float32)
        self._log_mel(*self._at, self._wave_at, n, config.scale, address(features))
        self._held = total - n * hop
        wave[: self._held] = wave[n * hop : total]
        return features

    def _room(self, samples: int) -> Array:
        """Room for so many samples; those held stay where they are."""
        before, self._wave = self._wave, np.zeros(samples, np.float32)
        self._wave[: len(before)] = before[:samples]
        self._wave_at = self._wave.ctypes.data
        return self._wave

    def clip(self, wave: Array) -> Array:
        """``[N] -> [F, T]``: the frames of a clip; the stream goes on as if it had not been."""
        wave = np.ascontiguousarray(wave, np.float32)
        n = max(0, 1 + (len(wave) - self.config.window) // self.config.hop)
        features = np.empty((self.config.mels, n), np.float32)
        self._log_mel(*self._at, wave.ctypes.data, n, self.config.scale, features.ctypes.data)
        return features


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled code, or None where there is none."""
    found = open_library(Path(__file__).with_name("_logmel"))
    if found is not None:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        found.kws_log_mel.argtypes = (*[pointer] * 5, size, ctypes.c_float, pointer)
        found.kws_log_mel.restype = None
    return found


@functools.cache
def plan(config: FeatureConfig) -> tuple[NDArray[np.int32], Array, NDArray[np.int32]]:
    """What ``logmel.c`` calls plan, tables and spans.

    Raises:
        KwsError: the window is odd, or has too many factors or too large a one.

    """
    half = config.window // 2
    stages = [] if config.window % 2 else factors(half)
    if config.window % 2 or len(stages) > MAX_STAGES or max(stages, default=1) > LARGEST:
        raise KwsError(f"the compiled front end takes no window of {config.window} samples")
    head = np.zeros(4 + MAX_STAGES, np.int32)
    head[: 4 + len(stages)] = (config.window, config.hop, config.mels, len(stages), *stages)
    twiddles, left = [], half
    for r in stages:
        p, j, k = np.ogrid[: left // r, :r, :r]
        twiddles.append(np.exp(-2j * np.pi * (p * j / left + j * k / r)).ravel())
        left //= r
    twiddles.append(np.exp(-1j * np.pi * np.arange(half + 1) / half))
    filters = logmel.mel_filters(config) / np.float32(config.floor)  # [bins, F]
    spans, weights = np.zeros((config.mels, 2), np.int32), []
    for band, weight in enumerate(filters.T):
        bins = np.flatnonzero(weight)
        if len(bins):
            spans[band] = bins[0], bins[-1] - bins[0] + 1
            weights.append(weight[bins[0] : bins[-1] + 1])
    pairs = np.concatenate(twiddles)
    complex_ = np.stack([pairs.real, pairs.imag], axis=1).ravel()
    window = logmel.hann(config.window)
    tables = np.concatenate([window, complex_, *weights]).astype(np.float32)
    return head, tables, spans


def factors(number: int) -> list[int]:
    """Small factors, fours before twos.

    >>> factors(240)
    [4, 4, 3, 5]
    """
    found = []
    for factor in (4, 2, 3, *range(5, math.isqrt(number) + 1, 2)):
        while number % factor == 0:
            found.append(factor)
            number //= factor
    return [*found, number] if number > 1 else found
