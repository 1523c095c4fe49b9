"""Decoded audio on disk, so that an epoch waits for the network and not for the codec."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.cores import cores
from kws.errors import KwsError
from kws.files import make_private, replacing

from .decode import FULL_SCALE, decode
from .manifest import few
from .place import place

VERSION = 1  # of what placing does; a change makes every cached file stale
OURS = re.compile(r"\.?[0-9a-f]{32}\.npy(\.[0-9a-f]{8}\.tmp)?")  # files that may be deleted
MOST = 4_000_000_000  # bytes of all that is kept; what was not used for longest makes room


def cache_folder() -> Path:
    """``$KWS_CACHE``, or ``kws`` in the user's cache folder; without a home, a temporary one.

    Raises:
        KwsError: the temporary one may be another user's work.

    """
    if own := os.environ.get("KWS_CACHE"):
        return Path(own)
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if folder.is_absolute():  # as its standard asks
        return folder / "kws"
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "kws"
    folder = Path(tempfile.gettempdir()) / f"kws-{os.getuid()}"
    with suppress(OSError):  # a cache that cannot be made costs time, not the run
        make_private(folder)
    with suppress(FileNotFoundError):
        there = folder.lstat()
        if there.st_uid != os.getuid() or there.st_mode & 0o077:
            raise KwsError(
                f"{folder} is another user's, or open to others; name a folder of your own in "
                "KWS_CACHE"
            )
    return folder


def load_views(
    paths: Sequence[Path],
    *,
    length: int,
    margin: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.int16]:
    """Decode and place every file, or read all of it back from the cache.

    The cache key holds every path, size and modification time, so a changed file is seen.

    Returns:
        ``[N, length + 2 * margin]``, 16-bit, memory-mapped where it could be cached.

    Raises:
        KwsError: recordings cannot be read; all are tried, so that it names them together;
            or the cache may be another user's.

    """
    cached = cache_folder() / f"{_key(paths, length, margin)}.npy"
    shape = len(paths), length + 2 * margin
    if (known := _load(cached, shape)) is not None:
        with suppress(OSError):  # one that may only be read
            os.utime(cached)  # used now
        return known
    views = np.zeros(shape, np.int16)
    errors: dict[int, KwsError] = {}

    def fill(index: int) -> None:
        try:
            wave = place(decode(paths[index]), length, margin)
        except KwsError as error:
            errors[index] = error
        else:
            views[index] = np.clip(np.round(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)

    with ThreadPoolExecutor(cores()) as threads:
        for done, _ in enumerate(threads.map(fill, range(len(paths))), start=1):
            progress(done, len(paths))
    if errors:
        raise _together(errors, paths)
    _save(cached, views)
    saved = _load(cached, shape)
    return views if saved is None else saved


def _together(errors: Mapping[int, KwsError], paths: Sequence[Path]) -> KwsError:
    """After how many they are and some of their names, what is wrong with one."""
    first = errors[min(errors, key=lambda index: str(paths[index]))]
    if len(errors) == 1:
        return first
    names = few([str(paths[index]) for index in errors])
    return KwsError(f"{len(errors)} recordings cannot be read: {names}; {first}")


def _key(paths: Sequence[Path], length: int, margin: int) -> str:
    digest = hashlib.sha256(f"{VERSION} {length} {margin}".encode())
    for path in paths:
        digest.update(os.fsencode(os.path.realpath(path)) + b" ")
        with suppress(OSError):  # decoding names what is wrong with it
            stat = path.stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _load(path: Path, shape: tuple[int, int]) -> NDArray[np.int16] | None:
    """What is cached, or None where nothing is or where it is damaged or of another shape."""
    try:
        known: NDArray[np.int16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    return known if known.shape == shape else None


def _save(path: Path, views: NDArray[np.int16]) -> None:
    """A cache that cannot be written costs time, not the run."""
    with suppress(KwsError, OSError):
        make_private(path.parent)
        with replacing(path) as file:
            np.save(file, views, allow_pickle=False)
        _make_room(path)


def _make_room(newest: Path) -> None:
    """Delete what was not used for longest, as long as all that is ours is more than ``MOST``.

    What a program that was killed had begun to write counts too.
    """
    ours = [path for path in newest.parent.iterdir() if OURS.fullmatch(path.name)]
    total = 0
    for path in sorted(ours, key=lambda path: -path.stat().st_mtime):
        total += path.stat().st_size
        if total > MOST and path != newest:
            path.unlink()
