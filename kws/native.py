"""Compiled code beside a module, where the installation could build it."""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def open_library(stem: Path) -> ctypes.CDLL | None:
    """``<stem>.<suffix>``, or ``<stem>_wide`` where the processor can run that; None without.

    The library must have ``kws_has_avx2_fma()``, which says whether it can.
    """
    plain = _open(stem)
    if plain is not None and plain.kws_has_avx2_fma():
        return _open(stem.with_name(f"{stem.name}_wide")) or plain
    return plain


def address(array: NDArray[np.float32]) -> Any:
    """Where a contiguous array begins, as a foreign function takes it.

    In a third of the time of ``array.ctypes.data``, which is left for arrays that are read-only or
    empty.
    """
    buffer: Any = array
    try:
        return ctypes.byref(ctypes.c_char.from_buffer(buffer))
    except (TypeError, ValueError):
        return array.ctypes.data


def _open(stem: Path) -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError:  # made for another machine
                return None
    return None
