"""Which files of a folder are recordings."""

import os
import re
import shlex
from collections.abc import Iterable, Sized
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


def is_unread(file: Path) -> bool:
    """Whether its name is one of sound in a format that is not read; hidden files are none."""
    return bool(UNREAD.fullmatch(file.suffix)) and not file.name.startswith(".")


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
            f"{deep[0]}{and_more(deep)} lies too deep; put recordings into {folder} itself, give "
            f"--data {folder} if its folders are words, or list them in a manifest.csv"
        )
    return sorted(path for path in paths if is_recording(path))


def refuse_unread(files: Iterable[Path], folder: Path) -> None:
    """Raise a KwsError where some of the files of a folder are sound in a format that is not read.

    Hidden ones are nobody's, and those with a recording of the same name beside them are converted.
    """
    there = list(files)
    converted = {path.with_suffix("") for path in there if is_recording(path)}
    unread = filter(is_unread, there)
    if other := sorted(path for path in unread if path.with_suffix("") not in converted):
        raise KwsError(
            f"{other[0]}{and_more(other)} is in a format that is not read; convert it: "
            f"{conversion(other[0])}"
        )


def and_more(found: Sized) -> str:
    """How many there are besides the first, which is named.

    >>> and_more(["a"]), and_more(["a", "b", "c"])
    ('', ' (and 2 more)')
    """
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def conversion(path: Path, *options: str) -> str:
    """The command, as a shell takes it, that makes a WAV of a file of sound beside it.

    >>> conversion(Path("my/a b.m4a")), conversion(Path("a.wav"), "-ignore_length", "1")
    ("ffmpeg -i 'my/a b.m4a' 'my/a b.wav'", 'ffmpeg -ignore_length 1 -i a.wav a-whole.wav')
    """
    ending = "-whole.wav" if path.suffix.lower() == ".wav" else ".wav"
    target = path.with_name(path.stem + ending)
    return shlex.join(["ffmpeg", *options, "-i", str(path), str(target)])
