"""Long recordings as a stream, a piece at a time."""

import os
from collections.abc import Iterator
from pathlib import Path

from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError
from kws.files import below

from .decode import checked, decode_blocks, sound_of
from .files import is_recording, refuse_unread
from .streams import Chunk, Ledger


class LongRecordings:
    """Long recordings as they are, one after another, each once however many links lead to it.

    Args:
        path: a folder, read with those below it, or one file.

    Raises:
        UsageError: there is no recording.
        KwsError: one of them is in a format that is not read, or breaks off, or a folder may not be
            read.

    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"{path} does not exist; name a recording or a folder")
        found = sorted(below(path, _refuse)) if path.is_dir() else [path]
        refuse_unread(found, path)
        there = (file for file in found if is_recording(file) and file.is_file())
        self.paths = [*{os.path.realpath(file): file for file in there}.values()]
        if not self.paths:
            raise UsageError(
                f"{path} holds no recordings; give a folder of wav, flac, ogg, opus or mp3 files"
            )
        self._seconds = {file: _seconds(file) for file in self.paths}
        self.expected_seconds = sum(self._seconds.values())
        self.ledger = Ledger()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield a block at a time."""
        self.ledger = Ledger()
        for path in self.paths:
            for block in decode_blocks(path):
                seconds = len(block) / SAMPLE_RATE
                self.ledger.add("recordings", str(path), seconds, self._seconds[path])
                yield block, ()


def _refuse(error: OSError) -> None:
    raise KwsError(f"{error.filename} cannot be read: {error.strerror or error}") from None


def _seconds(path: Path) -> float:
    with checked(path).open("rb") as opened, sound_of(opened) as file:
        if file.frames:
            return float(file.frames / file.samplerate)
    raise KwsError(f"{path} is empty: it holds no samples; record it again")
