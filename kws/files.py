"""Files that are whole or absent: written beside their name, flushed, then renamed."""

import errno
import glob
import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .errors import DiskFullError, KwsError

Arrays = dict[str, NDArray[Any]]

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors that more room would mend


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once it is whole; else the old one stays.

    What it links to is replaced, not the link; who may read the old file may read the new one.
    Without ``flush`` it is sooner done, but a power cut may leave an empty file.

    Raises:
        KwsError: it cannot be written; a DiskFullError where there is no room.

    """
    if os.path.isdir(path):  # unlike a path's own method it bears names of any length
        raise KwsError(f"cannot write {path}: it is a folder; name a file")
    if os.path.islink(path):
        path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{token_hex(4)}.tmp")  # as others may write it too
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            with suppress(OSError):  # there is no old file, or one of somebody else
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"cannot write {path}: the disk is full; free some space and run the same command "
                "again"
            ) from error
        raise KwsError(
            f"cannot write {path}: {error.strerror or error}; write elsewhere"
        ) from error
    finally:
        with suppress(OSError):  # it has its name, or the folder lets nothing be deleted
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step, as :func:`replacing` does."""
    with replacing(path) as file:
        file.write(data)


def remove(path: Path) -> None:
    """Delete a file, if it is there, and what programs that were killed left of writing it."""
    path.unlink(missing_ok=True)
    for rest in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        rest.unlink(missing_ok=True)


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone can read, for people's speech; one that is there stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Raise a KwsError where no file can be written in a folder, which need not be there yet.

    A DiskFullError where there is no room.
    """
    above = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    probe = above / f".{token_hex(4)}.tmp"
    try:
        with suppress(FileNotFoundError):
            folder.stat()  # of a name that no disk takes
        probe.touch()
        probe.unlink()
    except OSError as error:
        kind = DiskFullError if error.errno in FULL else KwsError
        raise kind(f"cannot write in {folder} ({error.strerror}); name another folder") from error


def plain_name(text: str, beside: str = "") -> str:
    """A text as a part of a file's name that every file system takes.

    Letters, marks and digits of any script stay, and those ``beside``; all else becomes a hyphen.

    >>> plain_name("../ja nein"), plain_name("हाँ"), plain_name("it's", "'"), plain_name("///")
    ('ja-nein', 'हाँ', "it's", '')
    """
    letters = [c if unicodedata.category(c)[0] in "LMN" or c in beside else "-" for c in text]
    return re.sub("-+", "-", "".join(letters)).strip("-")


def read_bytes(path: Path) -> bytes:
    """A whole file, or one sentence that says why not."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise KwsError(_unread(path, error)) from error


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` of a text in UTF-8.

    Lone surrogates, which names of files that are no UTF-8 have, become backslash escapes.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Indented, in UTF-8, every script readable."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _missing(path: Path) -> KwsError:
    """What to say of a file that is not there: where there is one, or what is there instead."""
    folder = path.parent
    told = f"{path} does not exist; is {folder} the right folder?"
    if nearby := sorted(folder.glob(f"*/{glob.escape(path.name)}")):
        told += f" {nearby[0].parent} has one"
    elif instead := sorted(folder.glob("*_config.json")):
        told += f" It has {instead[0].name}"
    return KwsError(told)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or one sentence that says why not."""
    data = read_bytes(path)
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise KwsError(
            f"{path} cannot be read as JSON ({error}); correct it there, or make it again"
        ) from error
    if not isinstance(value, dict):
        raise KwsError(f"{path} must hold a JSON object; make it again")
    return value


def _unread(path: Path, error: OSError) -> str:
    """What kept a file from being read, and what to do."""
    do = "change its permissions" if isinstance(error, PermissionError) else "try another copy"
    if isinstance(error, NotADirectoryError):
        do = f"give the folder that {path.parent.name} is in"
    return f"{path} cannot be read ({error.strerror or error}); {do}"


def write_tensors(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file; there is no pickle in this project."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, save(whole, dict(metadata) if metadata else None))


def read_tensors(path: Path) -> Arrays:
    """All tensors of a safetensors file, or one sentence that says what is wrong with it."""
    return _tensors(path, read_bytes(path))


def read_metadata(path: Path) -> dict[str, str]:
    """What :func:`write_tensors` put beside the tensors."""
    data = read_bytes(path)
    _tensors(path, data)  # says what is wrong with a damaged file
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _tensors(path: Path, data: bytes) -> Arrays:
    try:
        return load(data)
    # A type that NumPy lacks is a KeyError, a shape that no memory holds a ValueError.
    except (SafetensorError, KeyError, ValueError) as error:
        raise KwsError(
            f"{path} is truncated or no safetensors file ({error}); copy or make it again"
        ) from error


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def below(folder: Path, closed: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Every file below a folder, also behind links to folders; each folder once, no hidden one.

    ``closed`` is told of folders that may not be read; without it they are passed over.
    """
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=closed, followlinks=True):
        place = os.path.realpath(here)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(files))
