"""Background noise: long recordings, their ends kept apart for measuring; or synthetic noise."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import UsageError

from .decode import decode
from .files import audio_files

Wave = NDArray[np.float32]

SHORTEST: Final = 10  # seconds
MADE_SECONDS: Final = 60.0  # of noise, where there is none
HELD_OUT_SHARE: Final = 0.2  # the last part of each recording is for validation and test
FOLDERS: Final = ("noise", "_background_noise_")


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
    waves = [read_noise(path) for path in paths] or [_pink(MADE_SECONDS)]
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
            f"{path} lasts {seconds:.1f} s; noise must last at least {SHORTEST} seconds: "
            "delete it, or record longer"
        )
    return wave


def parted(wave: Wave) -> tuple[Wave, Wave]:
    """What is learnt from, and what is held out for validation and test."""
    cut = round(len(wave) * (1 - HELD_OUT_SHARE))
    return wave[:cut], wave[cut:]


def _pink(seconds: float) -> Wave:
    """Noise ``[T]`` that falls by 3 dB an octave down to what is hardly heard.

    Unlike that of :func:`background`, which a corpus has in files: at equal power less of it is
    audible, and networks were trained so.
    """
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE)))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
    return np.fft.irfft(spectrum).astype(np.float32)


def generator(seed: int, *name: str) -> np.random.Generator:
    """Make the generator that belongs to one named thing of one seed."""
    digest = hashlib.sha256("\0".join(name).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def background(kind: str, seconds: float, rng: np.random.Generator) -> Wave:
    """Synthesize ``seconds`` of noise ``[T]`` at an RMS of 0.1.

    ``white``, ``pink`` and ``brown`` fall by 0, 3 and 6 dB an octave; ``hum`` is 50 Hz mains with
    harmonics over a little pink noise.
    """
    count = round(seconds * SAMPLE_RATE)
    if kind == "hum":
        time = np.arange(count) / SAMPLE_RATE  # s
        tones = sum(
            np.sin(2 * np.pi * (50 * order * time + rng.uniform())) / order for order in range(1, 9)
        )
        wave = tones + background("pink", seconds, rng)
    else:
        falling = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]  # exponent of 1/f amplitude
        spectrum = np.fft.rfft(rng.standard_normal(count))
        hertz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
        spectrum *= np.maximum(hertz, 20.0) ** -falling
        spectrum[0] = 0.0
        wave = np.fft.irfft(spectrum, count)
    rms = np.sqrt(np.mean(np.square(wave)))
    return np.asarray(np.clip(wave * (0.1 / rms), -1.0, 1.0), np.float32)
