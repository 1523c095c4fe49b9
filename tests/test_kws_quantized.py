"""Few bits lose little, and what a site's largest number allows."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.quantized import Bits, bits_of, dequantize, length, quantize

LEVELS = {8: 127, 4: 7}
SIZES = [5, 1, 0, 300, 7]


def numbers() -> NDArray[np.float32]:
    """Of sites of quite different sizes."""
    rng = np.random.default_rng(0)
    sites = [rng.normal(0, 10.0**-i, size) for i, size in enumerate(SIZES)]
    return np.concatenate(sites).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_number_is_off_by_half_a_step_at_most(bits: Bits) -> None:
    """And by what the largest one, a float16, is off itself."""
    exact = numbers()
    found = dequantize(*quantize(exact, SIZES, bits), SIZES)
    begin = 0
    for size in SIZES:
        site = exact[begin : begin + size]
        peak = np.abs(site).max(initial=0)
        off = np.abs(found[begin : begin + size] - site)
        assert off.max(initial=0) <= peak * (0.5 / LEVELS[bits] + 1e-3)
        begin += size


@pytest.mark.parametrize("bits", [16, 8, 4, 1])
def test_rounding_again_changes_nothing(bits: Bits) -> None:
    first = quantize(numbers(), SIZES, bits)
    again = quantize(dequantize(*first, SIZES), SIZES, bits)
    assert all(one.tobytes() == two.tobytes() for one, two in zip(first, again, strict=True))
    assert bits_of(first[0]) == bits
    assert len(first[0]) == length(sum(SIZES), bits)


def test_four_bits_are_two_numbers_a_byte() -> None:
    codes, peaks = quantize(np.array([7, -7, 1], np.float32), [3], 4)
    assert codes.tolist() == [0x97, 0x01]
    assert dequantize(codes, peaks, [3]).tolist() == [7, -7, 1]
    assert quantize(numbers(), SIZES, 4)[0].nbytes == 157  # of 313 numbers


def test_one_bit_is_all_or_nothing() -> None:
    mask = np.array([1, 0, 0, 1, 1] * 7, np.float32)
    codes, peaks = quantize(mask, [5, 30], 1)
    assert codes.nbytes == 6  # of 35 numbers, in whole words
    assert dequantize(codes, peaks, [5, 30]).tolist() == mask.tolist()
    assert bits_of(codes) == 1


@pytest.mark.parametrize("bits", [16, 8, 4, 1])
@pytest.mark.parametrize(
    ("exact", "sizes"),
    [
        ([], []),
        ([0.0, 0.0], [2]),
        ([0.0, 0.0, 1.0], [2, 1]),
        ([1e-30, 1.0], [1, 1]),  # the first is too small for a float16
        ([0.0], [1]),
    ],
)
def test_nothing_and_next_to_nothing(bits: Bits, exact: list[float], sizes: list[int]) -> None:
    found = dequantize(*quantize(np.array(exact, np.float32), sizes, bits), sizes)
    np.testing.assert_allclose(found, exact, atol=1e-7)


def test_a_largest_number_that_rounds_down_stays_the_largest() -> None:
    """A float16 next below it must not make of it more steps than there are."""
    exact = np.array([1.0004, -1.0004], np.float32)
    for bits in (8, 4):
        codes, peaks = quantize(exact, [2], bits)
        assert peaks.tolist() == [1.0]
        assert dequantize(codes, peaks, [2]).tolist() == [1.0, -1.0]


def test_the_file_shrinks_with_the_bits(make_adapter: Any) -> None:
    sizes = [make_adapter(step=1, bits=bits).config.stored_bytes for bits in (16, 8, 4)]
    assert sizes[0] > 1.6 * sizes[1] > 2.4 * sizes[2]


@pytest.mark.parametrize("bits", [8, 4])
def test_next_to_nothing_overflows_no_code(bits: Bits) -> None:
    """A float16 so small is two thirds of the number: it would be half as many steps again."""
    exact = np.array([8.9e-8, -8.9e-8], np.float32)
    codes, peaks = quantize(exact, [2], bits)
    found = dequantize(codes, peaks, [2])
    assert found.tolist() == [float(peaks[0]), -float(peaks[0])]
