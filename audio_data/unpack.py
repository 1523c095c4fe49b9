"""Unpack an archive without letting a member out of its folder."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from kws.errors import KwsError, UsageError

from .fetch import BLOCK, Progress

HAS_FILTERS = hasattr(tarfile, "data_filter")  # Python before 3.11.4 has none
FILTER: dict[str, Any] = {"filter": "data"} if HAS_FILTERS else {}
REFUSED = (tarfile.FilterError, KeyError) if HAS_FILTERS else (KeyError,)
MODE = 0o755  # what of a member's rights is kept, as that filter does


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> Path:
    """Unpack a ``.tar.gz`` into a new ``folder``, all of it or nothing.

    Members that would land outside the folder, links that are absolute or go up, and devices are
    refused.

    Args:
        archive: the file to unpack; it is left alone.
        folder: must not exist, or be empty.
        progress: called with bytes of the archive read, and in all.

    Raises:
        UsageError: ``folder`` holds something.
        KwsError: a dangerous member, a damaged archive, or a full disk.

    """
    place = Path(os.path.realpath(folder))  # it may be a link to a larger disk
    stage = stage_for(place)
    shutil.rmtree(stage, ignore_errors=True)
    refuse_nonempty(folder)
    try:
        stage.mkdir(parents=True)
        _extract(archive, stage, progress)
        move_into(stage, place)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise KwsError(f"cannot unpack {archive} into {folder}: {error.strerror}") from error
        raise KwsError(
            f"{archive} is damaged or no .tar.gz ({error}); delete it and fetch it again"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return folder


def refuse_nonempty(folder: Path) -> None:
    """Raise UsageError where ``folder`` is there and not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} already holds something else; name another folder")


def stage_for(folder: Path) -> Path:
    """Where to prepare what :func:`move_into` moves to ``folder``: on the same disk."""
    name = f".{folder.name}.part"
    return folder / name if os.path.ismount(folder) else folder.with_name(name)


def move_into(stage: Path, folder: Path) -> None:
    """Rename ``stage`` to ``folder``, which is absent or empty.

    One that is a disk of its own takes what the stage holds, files last: by them a corpus is known.
    """
    if os.path.ismount(folder):
        for path in sorted(stage.iterdir(), key=Path.is_file):
            path.rename(folder / path.name)
        stage.rmdir()
        return
    if folder.exists():
        folder.rmdir()  # it is empty
    stage.rename(folder)


def _extract(archive: Path, folder: Path, progress: Progress | None) -> None:
    total = archive.stat().st_size
    with (
        archive.open("rb") as packed,
        gzip.GzipFile(fileobj=packed) as data,
        tarfile.open(fileobj=data, mode="r:") as tar,
    ):
        while (member := tar.next()) is not None:
            _refuse_escape(archive, member)
            member.mode = member.mode & MODE | (0o700 if member.isdir() else 0o600)
            try:
                tar.extract(member, folder, **FILTER)
            except REFUSED as error:  # a link to what is not there
                raise KwsError(f"{archive} is refused: {error}") from error
            # Else it remembers all members, and a large language has millions.
            tar.members = []  # type: ignore[attr-defined]
            if progress:
                progress(packed.tell(), total)
        while data.read(BLOCK):
            pass  # to the checksum at its end


def _refuse_escape(archive: Path, member: tarfile.TarInfo) -> None:
    """Refuse what the ``data`` filter of some Python versions lets pass or quietly renames."""
    names = [member.name, *([member.linkname] if member.issym() or member.islnk() else [])]
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise KwsError(
                f"{archive} is refused: its member {member.name!r} leads out of the folder, or "
                f"may: {name!r}"
            )
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise KwsError(f"{archive} is refused: its member {member.name!r} is a device")
