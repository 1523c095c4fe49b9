"""Which files of a folder are recordings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kws.errors import KwsError

SUFFIXES: Final = (".wav", ".flac", ".ogg", ".opus", ".mp3")
UNREAD: Final = (".m4a", ".aac", ".amr", ".3gp", ".webm", ".wma", ".aif", ".aiff", ".caf", ".mp4")


def is_recording(file: Path) -> bool:
    """Whether its name is one of sound; hidden files are none, whatever wrote them."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def audio_files(folder: Path) -> list[Path]:
    """List the recordings directly in ``folder``, sorted by name, without hidden files.

    Raises:
        KwsError: there are some that cannot be read, or all of them lie deeper.

    """
    there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = sorted(path for path in there if is_recording(path))
    refuse_unread(there, folder)
    if not found and (deep := [path for path in folder.rglob("*") if is_recording(path)]):
        raise KwsError(f"{min(deep)} lies too deep; put the recordings into {folder}")
    return found


def refuse_unread(files: Iterable[Path], folder: Path) -> None:
    """Raise a KwsError where some of the files of a folder are sound in a format that is not read.

    Hidden ones are nobody's.
    """
    there = (path for path in files if not path.name.startswith("."))
    if other := sorted(path for path in there if path.suffix.lower() in UNREAD):
        raise KwsError(
            f"{other[0]} is in a format that is not read, with {len(other)} such in {folder}; "
            f"convert it: ffmpeg -i {other[0].name} {other[0].stem}.wav"
        )
