"""Background noise: one long recording, its end kept apart for measuring."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import UsageError

from .decode import decode
from .files import audio_files

Wave = NDArray[np.float32]

SHORTEST = 10  # seconds
HELD_OUT = 0.2  # the last part of each recording is for validation and test
FOLDERS = ("noise", "_background_noise_")


def find_noise(*corpora: Path | None) -> tuple[Path, ...]:
    """The noise beside the corpora that are given, in ``noise/`` or ``_background_noise_/``.

    Capitals do not matter.

    Raises:
        KwsError: a recording there cannot be read, or lies deeper.

    """
    there = filter(None, corpora)
    roots: dict[str, Path] = {}  # each once, however it is spelt
    for data in there:
        root = data if data.is_dir() else data.parent
        roots.setdefault(os.path.realpath(root), root)
    readable = [root for root in roots.values() if os.access(root, os.R_OK)]
    beside = [path for root in readable for path in root.iterdir()]
    folders = [path for path in beside if path.name.casefold() in FOLDERS and path.is_dir()]
    return tuple(sorted(file for folder in folders for file in audio_files(folder)))


def load_noise(paths: Sequence[Path]) -> tuple[Wave, Wave]:
    """Training and held-out noise, each ``[M]``, together of unit power; made if there is none."""
    waves = [read_noise(path) for path in paths] or [_pink(60)]
    pairs = [parted(wave / (float(np.sqrt(np.mean(wave**2))) or 1.0)) for wave in waves]
    train, held = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return train, held


def read_noise(path: Path) -> Wave:
    """One recording ``[N]``.

    Raises:
        UsageError: it is too short to be parted.

    """
    wave = decode(path)
    if len(wave) < SHORTEST * SAMPLE_RATE:
        seconds = len(wave) / SAMPLE_RATE
        raise UsageError(
            f"{path} lasts {seconds:.1f} s; noise must last at least {SHORTEST} seconds"
        )
    return wave


def parted(wave: Wave) -> tuple[Wave, Wave]:
    """What is learnt from, and what is held out for validation and test."""
    cut = round(len(wave) * (1 - HELD_OUT))
    return wave[:cut], wave[cut:]


def _pink(seconds: int) -> Wave:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(seconds * SAMPLE_RATE))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
    return np.fft.irfft(spectrum).astype(np.float32)
