"""Long recordings as a stream, a piece at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr

from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError

from .decode import RATES
from .noise import is_recording
from .streams import Chunk, Ledger, Wave

BLOCK: Final = 30  # seconds in memory at once


class Recordings:
    """Long recordings as they are, one after another.

    Args:
        path: a folder, read with those below it, or one file.

    Raises:
        UsageError: there is no recording.

    """

    def __init__(self, path: Path) -> None:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        self.paths = [file for file in found if is_recording(file) and file.is_file()]
        if not self.paths:
            raise UsageError(
                f"{path} holds no recordings; give a folder of wav, flac, ogg, opus or mp3 files"
            )
        self.expected_seconds = sum(_seconds(file) for file in self.paths)
        self.ledger = Ledger()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield half a minute at a time."""
        self.ledger = Ledger()
        for path in self.paths:
            for block in _blocks(path):
                self.ledger.add("recordings", str(path), len(block) / SAMPLE_RATE, _seconds(path))
                yield block, ()


def _blocks(path: Path) -> Iterator[Wave]:
    """One recording in pieces ``[T]``, mono at 16 kHz."""
    with _open(path) as file:
        stream = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32")
        last = False
        while not last:
            try:
                block = file.read(BLOCK * file.samplerate, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                raise KwsError(
                    f"{path} is damaged {file.tell() / file.samplerate:.0f} s from its begin; copy "
                    "it again or leave it out"
                ) from None
            last = len(block) < BLOCK * file.samplerate
            if not np.isfinite(block).all():
                raise KwsError(f"{path} holds NaN or infinite samples; re-export it")
            yield stream.resample_chunk(block.mean(axis=1), last=last)


def _open(path: Path) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        raise KwsError(
            f"{path} is not audio this program reads; use wav, flac, ogg, opus or mp3"
        ) from None
    if file.samplerate not in RATES or not file.frames:
        file.close()
        raise KwsError(f"{path} is empty or not of 8000 to 192000 Hz; record or convert it again")
    return file


def _seconds(path: Path) -> float:
    with _open(path) as file:
        return float(file.frames / file.samplerate)
