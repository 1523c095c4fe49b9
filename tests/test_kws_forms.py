"""Few numbers make many weights, alike in NumPy and torch."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kws.errors import KwsError
from kws.forms import Form, Mask, Mix, Rank, Tied, Vera, Whole, form_of, split_name

CONV, NORM, DEPTHWISE = ((40, 24, 1, 1),), ((32,), (32,)), ((16, 1, 3, 1),)
BIASED = ((8, 40, 1, 1), (8,))  # a convolution with a bias
FITTING = [
    ("", CONV, 960),
    ("", NORM, 64),
    ("tied7", CONV, 7),
    ("tied959", CONV, 959),
    ("tied1", NORM, 1),
    ("tied9", NORM, 9),
    ("tied98", BIASED, 98),
    ("tied1", BIASED, 1),
    ("shift", NORM, 32),
    ("rank1", CONV, 64),
    ("rank3", CONV, 192),
    ("vera4", CONV, 44),
    ("mask", CONV, 960),
]


@pytest.mark.parametrize(("form", "shapes", "count"), FITTING)
def test_arrays_and_tensors_change_the_same_weights_alike(
    form: str, shapes: tuple[tuple[int, ...], ...], count: int
) -> None:
    owned = np.random.default_rng(0).normal(size=count).astype(np.float32)
    common = np.random.default_rng(1).normal(size=(1, 960)).astype(np.float32)
    found = form_of(form).changes(owned, shapes, common)
    tensors = torch.from_numpy(owned), shapes, torch.from_numpy(common)
    assert form_of(form).size(shapes) == count
    np.testing.assert_allclose(form_of(form).changes(*tensors), found, atol=1e-5)
    where = form_of(form).weight_indices(shapes)
    assert len(where) == len(found) == len(set(where.tolist()))
    assert where.min() >= 0
    assert where.max() < sum(map(math.prod, shapes))
    assert len(form_of(form).scaled(shapes)) <= count
    assert len(form_of(form).scaled(shapes)) or form == "mask"


@pytest.mark.parametrize(
    ("form", "shapes"),
    [
        ("rank1", NORM),
        ("vera4", NORM),
        ("shift", CONV),
        ("mask", NORM),
        ("mask4", CONV),
        ("vera999999", CONV),
        ("tied960", CONV),
        ("tied0", CONV),
        ("rank0", CONV),
        ("rank", CONV),
        ("tied-3", CONV),
        ("else", CONV),
    ],
)
def test_a_form_that_does_not_suit_is_refused(
    form: str, shapes: tuple[tuple[int, ...], ...]
) -> None:
    with pytest.raises(KwsError, match=f"form '{form}'"):
        form_of(form).size(shapes)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(Whole, 3), (Mask, 1), (Tied, 0), (Tied, 1_000_000), (Rank, -1), (Vera, 0), (Mix, 0)],
)
def test_a_form_of_no_name_cannot_be_made(kind: type[Form], count: int) -> None:
    with pytest.raises(KwsError, match="there is no form"):
        kind(count)


def test_every_form_is_read_from_its_name() -> None:
    for kind in (Tied, Rank, Vera, Mix):
        assert form_of(str(kind(12))) == kind(12)
    assert form_of("mask") == Mask()
    with pytest.raises(KwsError, match="there is no form"):
        form_of("tied1\N{ARABIC-INDIC DIGIT THREE}")


def test_weights_that_share_a_number_are_spread() -> None:
    found = form_of("tied4").sources([(40, 40, 1, 1)])
    assert found is not None
    for number in range(4):
        for axis in (0, 1):
            sums = (found[0] == number).reshape(40, 40).sum(axis)  # ten each, where drawn well
            assert sums.min() >= 2
            assert sums.max() <= 20


def test_tied_numbers_have_equally_many_weights_of_one_tensor_each() -> None:
    which = form_of("tied9").sources(NORM)
    assert which is not None
    scale, shift = np.split(which[0], 2)
    assert set(scale.tolist()).isdisjoint(shift.tolist())
    counts = np.bincount(which[0], minlength=9)
    assert set(counts.tolist()) <= {6, 7, 8}
    assert set(which[1].tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("count", [1, 2, 9, 15, 16, 17, 98, 327])
def test_every_tied_number_has_a_weight_however_small_a_tensor_is(count: int) -> None:
    found = Tied(count).sources(BIASED)
    assert found is not None
    assert set(found[0].tolist()) == set(range(count))
    assert len(found[0]) == len(Tied(count).weight_indices(BIASED))


def test_a_single_tied_number_changes_the_scale_alone() -> None:
    assert form_of("tied1").weight_indices(NORM).tolist() == list(range(32))


def test_shifts_are_the_second_half() -> None:
    assert form_of("shift").weight_indices(NORM).tolist() == list(range(32, 64))


def test_a_low_rank_is_a_product_of_factors() -> None:
    owned = np.arange(1, 11, dtype=np.float32)
    found = form_of("rank2").changes(owned, [(2, 3)]).reshape(2, 3)
    np.testing.assert_allclose(found, owned[:4].reshape(2, 2) @ owned[4:].reshape(2, 3))


def test_scaled_factors_are_of_their_rank_and_the_same_every_time() -> None:
    owned = np.random.default_rng(1).normal(size=44).astype(np.float32)
    found = form_of("vera4").changes(owned, CONV).reshape(40, 24)
    assert np.linalg.matrix_rank(found) == 4
    owned[:40], owned[40:] = 0, 1
    assert not form_of("vera4").changes(owned, CONV).any()
    ones = form_of("vera4").changes(np.ones(44, np.float32), CONV)
    assert np.abs(ones).max() == 2.0  # four signs, each over the root of four
    assert set(np.unique(ones)) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert ones[:8].tolist() == form_of("vera4").changes(np.ones(44, np.float32), CONV)[:8].tolist()


def test_names_tell_module_and_form() -> None:
    assert split_name("blocks.0.point@tied12") == ("blocks.0.point", "tied12")
    assert split_name("blocks.0.point") == ("blocks.0.point", "")


@pytest.mark.parametrize("shapes", [[(8, 3)], [(5,), (5,)], [(4, 6), (3,)]])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shared_numbers_are_what_the_page_on_adapters_says(
    shapes: list[tuple[int, ...]], count: int
) -> None:
    """So that others can read them without this code."""

    def draw(seed: int, words: int) -> NDArray[np.uint64]:
        return np.random.PCG64(seed).random_raw(words)

    sizes = [math.prod(shape) for shape in shapes]
    got, left = {}, count
    for nth, tensor in enumerate(sorted(range(len(sizes)), key=lambda t: (sizes[t], -t))):
        got[tensor] = min(sizes[tensor], left // (len(sizes) - nth))
        left -= got[tensor]
    numbers, wanted, begin = np.arange(1, count + 1, dtype=np.float32), [], 0
    for tensor, size in enumerate(sizes):
        change = np.zeros(size, np.float32)
        if got[tensor]:
            positions = np.argsort(np.argsort(draw(size, size), kind="stable"))
            signs = 1 - 2 * (draw(size + 1_000_000_007, size) >> np.uint64(63)).astype(np.float32)
            change = numbers[begin + positions % got[tensor]] * signs
        begin += got[tensor]
        wanted.append(change)
    form, found = Tied(count), np.zeros(sum(sizes), np.float32)
    found[form.weight_indices(shapes)] = form.changes(numbers, shapes)
    np.testing.assert_array_equal(found, np.concatenate(wanted))
