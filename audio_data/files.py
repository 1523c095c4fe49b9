"""Which files of a folder are recordings."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kws.errors import KwsError
from kws.files import below

SUFFIXES: Final = (".wav", ".flac", ".ogg", ".opus", ".mp3")
UNREAD: Final = re.compile(
    r"\.(m4[abprv]|aac|amr|awb|3g(2|a|pp?2?)|web[am]|wma|aiff?|aifc|caf|mp4|mov|mk[av]|og[av]|wave|mp2|"
    r"mpga|mpe?g|au|w64|wv|spx|ape|qta|sph|voc|avi|wmv|flv)",
    re.IGNORECASE,
)


def is_recording(file: Path) -> bool:
    """Whether its name is one of sound; hidden files are none, whatever wrote them."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def audio_files(folder: Path) -> list[Path]:
    """List the recordings directly in ``folder``, sorted by name, without hidden files.

    Raises:
        KwsError: there are some that cannot be read, or some that lie deeper.

    """
    with os.scandir(folder) as entries:
        there = [entry for entry in entries if not entry.name.startswith(".")]
    paths = [folder / entry.name for entry in there]
    refuse_unread(paths, folder)
    deeper = [path for entry in there if entry.is_dir() for path in below(folder / entry.name)]
    refuse_unread(deeper, folder)
    if deep := sorted(path for path in deeper if is_recording(path)):
        raise KwsError(
            f"{deep[0]} lies too deep, with {len(deep)} such in {folder}; put them into {folder} "
            f"itself, give --data {folder} if its folders are words, or list them in a manifest.csv"
        )
    return sorted(path for path in paths if is_recording(path))


def refuse_unread(files: Iterable[Path], folder: Path) -> None:
    """Raise a KwsError where some of the files of a folder are sound in a format that is not read.

    Hidden ones are nobody's.
    """
    there = (path for path in files if not path.name.startswith("."))
    if other := sorted(path for path in there if UNREAD.fullmatch(path.suffix)):
        raise KwsError(
            f"{other[0]} is in a format that is not read, with {len(other)} such in {folder}; "
            f"convert it: ffmpeg -i {other[0].name} {other[0].stem}.wav"
        )
