"""Get public speech corpora, laid out as their readers expect."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kws.errors import KwsError, UsageError

from .fetch import Progress, fetch
from .mswc import ENDING
from .speech_commands import LISTS
from .unpack import move_into, refuse_nonempty, stage_for, unpack

Watch = Callable[[str], Progress]  # what is being done -> its progress


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive on the web and what is known of it."""

    base_url: str
    path: str  # below the base; {language} is filled in
    size: int | None = None  # bytes
    sha256: str | None = None


ARCHIVES: Final = {
    "speech-commands": Archive(  # CC BY 4.0, P. Warden, https://arxiv.org/abs/1804.03209
        base_url="http://download.tensorflow.org/data",
        path="speech_commands_v0.02.tar.gz",
        size=2_428_923_189,
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
    "mswc-audio": Archive(  # CC BY 4.0, M. Mazumder et al., Multilingual Spoken Words Corpus
        base_url="https://mswc.mlcommons-storage.org", path="audio/{language}.tar.gz"
    ),
    "mswc-splits": Archive(
        base_url="https://mswc.mlcommons-storage.org", path="splits/{language}.tar.gz"
    ),
}


def get_speech_commands(
    folder: Path, *, base_url: str | None = None, watch: Watch | None = None, **how: Any
) -> Path:
    """Fetch Speech Commands v0.02 (2.4 GB) into ``folder``; does nothing where it is there.

    Args:
        folder: becomes the corpus folder, with ``testing_list.txt`` and a folder per word.
        base_url: a mirror of the archive.
        watch: called with a description, returns what hears of progress.
        how: ``timeout``, ``retries`` and ``pause`` of :func:`fetch`.

    Raises:
        UsageError: the folder holds something else, or has no name of its own.
        KwsError: the archive cannot be fetched or unpacked, or is another than expected.

    """
    folder = Path(folder)
    if folder.name in ("", ".."):  # is there, and will not be replaced
        raise UsageError(f"the corpus becomes a folder of its own: name one, as {folder / 'words'}")
    place = Path(os.path.realpath(folder))  # it may be a link to a larger disk
    packed = place.with_name(f"{place.name}.tar.gz")
    if (folder / LISTS["test"]).is_file():
        return folder
    refuse_nonempty(folder)
    _fetch_archive("speech-commands", packed, base_url, "", watch, how)
    unpack(packed, folder, progress=_told(watch, f"unpacking {packed.name}"))
    packed.unlink()
    return folder


def get_mswc(
    out: Path,
    language: str,
    *,
    base_url: str | None = None,
    watch: Watch | None = None,
    **how: Any,
) -> Path:
    """Fetch one language of the Multilingual Spoken Words Corpus; does nothing where it is there.

    Args:
        out: the corpus of ``de`` goes to ``<out>/de``, with ``clips/<word>/*.opus`` and
            ``de_splits.csv``.
        language: as the corpus writes it, such as ``de`` or ``zh-CN``.
        base_url: a mirror of the archives.
        watch: called with a description, returns what hears of progress.
        how: ``timeout``, ``retries`` and ``pause`` of :func:`fetch`.

    Returns:
        The folder of the language.

    Raises:
        UsageError: the corpus has no such language, or the folder holds something else.
        KwsError: an archive cannot be fetched or unpacked, or is another than expected.

    """
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,8})?", language):
        raise UsageError(f"{language!r} is no language of the corpus; write it as de or zh-CN")
    folder = Path(out) / language
    place = Path(os.path.realpath(folder))  # it may be a link to a larger disk
    table = language + ENDING
    stage = stage_for(place)
    shutil.rmtree(stage, ignore_errors=True)
    packed = {kind: place.with_name(f"{language}-{kind}.tar.gz") for kind in ("splits", "audio")}
    if (folder / "clips").is_dir() and (folder / table).is_file():
        return folder
    refuse_nonempty(folder)
    try:
        found = {}
        for kind, member in (("splits", table), ("audio", "clips")):
            file = packed[kind]
            _fetch_archive(f"mswc-{kind}", file, base_url, language, watch, how)
            unpack(file, stage / kind, progress=_told(watch, f"unpacking {file.name}"))
            found[kind] = _find(stage / kind, member, file)
        found["splits"].parent.rename(stage / "corpus")
        found["audio"].rename(stage / "corpus" / "clips")
        move_into(stage / "corpus", place)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    for file in packed.values():
        file.unlink()
    return folder


def _find(folder: Path, name: str, archive: Path) -> Path:
    """Find a member at the top of an unpacked archive or up to two folders down.

    Raises:
        KwsError: there is none; the archive is deleted, so that it is fetched again.

    """
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        for path in folder.glob(pattern):
            return path
    archive.unlink()
    raise KwsError(
        f"{archive.name} holds no {name}, so it is another archive than expected, and was deleted; "
        "run this again, and if --mirror was given, check it"
    )


def _fetch_archive(
    key: str,
    file: Path,
    base_url: str | None,
    language: str,
    watch: Watch | None,
    how: dict[str, Any],
) -> None:
    archive = ARCHIVES[key]
    url = f"{base_url or archive.base_url}/{archive.path.format(language=language)}"
    told = _told(watch, f"fetching {url}")
    fetch(url, file, size=archive.size, sha256=archive.sha256, progress=told, **how)


def _told(watch: Watch | None, what: str) -> Progress | None:
    return watch(what) if watch else None
