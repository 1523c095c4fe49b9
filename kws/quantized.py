"""Numbers in few bits: what a language owns, rounded site by site.

A site's numbers are whole multiples of its largest one over 7 or 127, in 4 or 8 bits; or, in 16,
each is a float16 of its own.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Bits = Literal[16, 8, 4]
BITS: Final[tuple[Bits, ...]] = (16, 8, 4)
CODES: Final[dict[int, np.dtype[Any]]] = {
    16: np.dtype(np.float16),
    8: np.dtype(np.int8),
    4: np.dtype(np.uint8),
}

Codes = NDArray[Any]  # float16 [n], int8 [n], or uint8 [ceil(n / 2)], two numbers each
Peaks = NDArray[np.float16]  # [S]; of 16 bits none


def quantize(numbers: NDArray[np.float32], sizes: Sequence[int], bits: Bits) -> tuple[Codes, Peaks]:
    """Round numbers ``[n]``, of each site in turn so many."""
    if bits == 16:
        return numbers.astype(np.float16), np.zeros(0, np.float16)
    levels = _levels(bits)
    exact = [np.abs(site).max(initial=0.0) for site in np.split(numbers, np.cumsum(sizes)[:-1])]
    peaks = np.array(exact[: len(sizes)], np.float32).astype(np.float16)
    spread = np.repeat(peaks.astype(np.float32), sizes)
    steps = np.rint(numbers * levels / np.where(spread > 0, spread, 1))
    codes = np.clip(steps, -levels, levels).astype(np.int8)
    return (codes if bits == 8 else _pack(codes)), peaks


def dequantize(codes: Codes, peaks: Peaks, sizes: Sequence[int]) -> NDArray[np.float32]:
    """What was rounded: ``[n]``.

    >>> dequantize(*quantize(np.float32([1, 0.5, -0.02]), [2, 1], 8), [2, 1]).round(3)
    array([ 1.   ,  0.504, -0.02 ], dtype=float32)
    """
    bits = bits_of(codes)
    if bits == 16:
        return codes.astype(np.float32)
    whole = (codes if bits == 8 else _unpack(codes)[: sum(sizes)]).astype(np.float32)
    steps: NDArray[np.float32] = peaks.astype(np.float32) / np.float32(_levels(bits))
    return whole * np.repeat(steps, sizes)


def bits_of(codes: Codes) -> Bits:
    """In which bits these are."""
    return next(bits for bits in BITS if CODES[bits] == codes.dtype)


def length(numbers: int, bits: Bits) -> int:
    """Codes of so many numbers."""
    return (numbers + 1) // 2 if bits == 4 else numbers


def _levels(bits: Bits) -> int:
    return int(2 ** (bits - 1) - 1)


def _pack(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two numbers from -8 to 7 in each byte, the first in its lower half."""
    even = np.zeros(2 * length(len(codes), 4), np.uint8)
    even[: len(codes)] = codes.view(np.uint8) & 15
    packed: NDArray[np.uint8] = np.bitwise_or(even[::2], even[1::2] << 4)
    return packed


def _unpack(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    halves = np.stack([packed << 4, packed & 240], axis=1).reshape(-1)
    return halves.view(np.int8) >> 4
