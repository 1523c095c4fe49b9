"""Numbers in few bits: symmetric uniform quantization, with one scale for each site.

A number is code * peak / 127 in 8 bits and code * peak / 7 in 4, where peak is the largest
magnitude of the site's numbers. In 16 bits each number is a float16 of its own, and there is no
peak. In one bit, which is for masks, a number is the peak or zero.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Bits = Literal[16, 8, 4, 1]
BITS: Final[tuple[Bits, ...]] = (16, 8, 4, 1)
ROUNDINGS: Final = BITS[:-1]  # one bit is a mask's, which is no rounding
DEFAULT_BITS: Final[Bits] = 8  # decision 12 says what fewer cost
CODES: Final[dict[int, np.dtype[Any]]] = {
    16: np.dtype(np.float16),
    8: np.dtype(np.int8),
    4: np.dtype(np.uint8),
    1: np.dtype(np.uint16),
}

# float16 [n], int8 [n], uint8 [ceil(n / 2)] of two numbers each, or uint16 [ceil(n / 16)] of 16
Codes = NDArray[Any]
Peaks = NDArray[np.float16]  # [S]; of 16 bits none


def quantize(numbers: NDArray[np.float32], sizes: Sequence[int], bits: Bits) -> tuple[Codes, Peaks]:
    """Round numbers ``[n]`` to codes, and one peak for each of S sites.

    ``sizes`` ``[S]`` are how many numbers each site has. In 16 bits there are no peaks.
    """
    if bits == 16:
        return to_float16(numbers), np.zeros(0, np.float16)
    levels = _levels(bits)
    exact = [np.abs(site).max(initial=0.0) for site in np.split(numbers, np.cumsum(sizes)[:-1])]
    peaks = to_float16(np.array(exact[: len(sizes)], np.float32))
    spread = np.repeat(peaks.astype(np.float32), sizes)
    steps = np.rint(numbers * levels / np.where(spread > 0, spread, 1))
    codes = np.clip(steps, -levels if bits > 1 else 0, levels).astype(np.int8)
    return (codes if bits == 8 else _pack(codes, bits)), peaks


def to_float16(numbers: NDArray[np.float32]) -> NDArray[np.float16]:
    """In half as many bits; what is too large becomes infinite, which whoever stores it refuses."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float16)


def dequantize(codes: Codes, peaks: Peaks, sizes: Sequence[int]) -> NDArray[np.float32]:
    """What was rounded: ``[n]``.

    >>> dequantize(*quantize(np.float32([1, 0.5, -0.02]), [2, 1], 8), [2, 1]).round(3)
    array([ 1.   ,  0.504, -0.02 ], dtype=float32)
    """
    bits = bits_of(codes)
    if bits == 16:
        return codes.astype(np.float32)
    whole = (codes if bits == 8 else _unpack(codes, bits)[: sum(sizes)]).astype(np.float32)
    steps: NDArray[np.float32] = peaks.astype(np.float32) / np.float32(_levels(bits))
    return whole * np.repeat(steps, sizes)


def bits_of(codes: Codes) -> Bits:
    """In which bits these are."""
    return next(bits for bits in BITS if CODES[bits] == codes.dtype)


def length(numbers: int, bits: Bits) -> int:
    """Codes of so many numbers."""
    return -(-numbers * bits // CODES[bits].itemsize // 8)


def _levels(bits: Bits) -> int:
    return max(1, int(2 ** (bits - 1) - 1))


def _pack(codes: NDArray[np.int8], bits: Bits) -> Codes:
    """Whole numbers of so many bits side by side, the first in the lowest ones."""
    single = np.unpackbits(codes.view(np.uint8)[:, None], axis=1, count=bits, bitorder="little")
    packed = np.zeros(length(len(codes), bits) * CODES[bits].itemsize, np.uint8)
    whole = np.packbits(single.reshape(-1), bitorder="little")
    packed[: len(whole)] = whole
    return packed.view(CODES[bits].newbyteorder("<")).astype(CODES[bits])


def _unpack(packed: Codes, bits: Bits) -> NDArray[np.int8]:
    """What was packed, and zeros to the end."""
    ordered = packed.astype(CODES[bits].newbyteorder("<")).view(np.uint8)
    single = np.unpackbits(ordered, bitorder="little").reshape(-1, bits)
    sign = single[:, -1:] if bits > 1 else np.zeros((len(single), 1), np.uint8)
    whole = np.concatenate([single, np.repeat(sign, 8 - bits, axis=1)], axis=1)
    return np.packbits(whole, axis=1, bitorder="little").reshape(-1).view(np.int8)
