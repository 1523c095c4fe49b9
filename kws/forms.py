"""Forms: how the numbers that a language owns of a site become changes of the site's weights.

Owned whole, a site has one number for each of its weights. Owned in part, it has n of them, taken
in a fixed shuffled order, so that no list of places is stored, and fewer are always among more.
Tied, all of its weights change and share n numbers, each of which is added to some weights and
taken from others by a fixed draw (HashedNets, Chen et al., https://arxiv.org/abs/1504.04788, eq. 3
and 7; here all numbers have equally many weights, and none has weights of two tensors).

A normalisation's shift alone is half of it (BitFit, Ben Zaken et al.,
https://arxiv.org/abs/2106.10199). Of a convolution of O x I weights, owned at rank r, there are
r (O + I), the factors of dW = B A (LoRA, Hu et al., https://arxiv.org/abs/2106.09685, eq. 3); or
O + r where the factors are fixed and only scaled, dW = diag(b) B diag(d) A (VeRA, Kopiczko et al.,
https://arxiv.org/abs/2310.11454, eq. 2); or n, of which each scales a template that it shares with
others (RECAST, :mod:`kws.templates`); or, masked, one for each weight that says how much of it is
taken away, all or nothing (Piggyback, Mallya et al., https://arxiv.org/abs/1801.06519). Once added
these are ordinary weights: no form costs anything in listening.
"""

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import KwsError

if TYPE_CHECKING:  # listening does without torch
    from torch import Tensor

WHOLE: Final = ""
MARK: Final = "@"  # between a site's name and its form

Shapes = Sequence[tuple[int, ...]]  # of a site's tensors, the weight first
Array = TypeVar("Array", NDArray[np.float32], "Tensor")


SHIFT: Final = "shift"
MASK: Final = "mask"


def part(count: int) -> str:
    """The form that owns so many of a site's weights."""
    return f"part{count}"


def tied(count: int) -> str:
    """The form in which so many numbers change all of a site's weights."""
    return f"tied{count}"


def rank(count: int) -> str:
    """The form in which a convolution changes by a matrix of such a rank."""
    return f"rank{count}"


def mix(count: int) -> str:
    """The form in which so many templates are mixed into a site's weights."""
    return f"mix{count}"


def mixed(form: str) -> int:
    """How many templates a form mixes; 0 if it mixes none."""
    kind, count = _parse(form)
    return count if kind == "mix" else 0


def split_name(name: str) -> tuple[str, str]:
    """A place of the network, and the form in which it is owned.

    >>> split_name("blocks.3.point@rank1"), split_name("stem.0")
    (('blocks.3.point', 'rank1'), ('stem.0', ''))
    """
    place, _, form = name.partition(MARK)
    return place, form


def numbers(form: str, shapes: Shapes) -> int:
    """How many numbers a language owns of a site of these shapes.

    >>> [numbers(form, [(40, 40, 1, 1)]) for form in ("", "part160", "rank1")]
    [1600, 160, 80]

    Raises:
        KwsError: there is no such form, or it does not suit these shapes.

    """
    kind, count = _parse(form)
    weights = sum(map(math.prod, shapes))
    if kind == WHOLE:
        return weights
    if kind in ("part", "tied") and count < weights:
        return count
    if kind == SHIFT and len(shapes) == 2:
        return math.prod(shapes[1])
    if len(shapes) == 1 and len(shapes[0]) > 1:
        if kind == MASK:
            return weights
        rows, columns = _matrix(shapes)
        if kind == "mix":
            return count
        if kind == "rank":
            return count * (rows + columns)
        if kind == "vera":
            return rows + count
    raise KwsError(f"no form '{form}' suits a site of shapes {list(map(list, shapes))}")


def places(form: str, shapes: Shapes) -> NDArray[np.int64]:
    """Which of a site's weights change, counted flat, each once.

    >>> places("part4", [(2, 5)]), places("rank1", [(2, 2)])
    (array([5, 3, 1, 8]), array([0, 1, 2, 3]))
    """
    kind, count = _parse(form)
    weights = sum(map(math.prod, shapes))
    if kind == SHIFT:
        return np.arange(math.prod(shapes[0]), weights)
    if kind == "part":
        return _order(weights)[:count]
    if kind == "tied" and count < len(shapes):
        weights = sum(map(math.prod, shapes[:count]))
    return _every(weights)


def sources(form: str, shapes: Shapes) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Which number is added at each of these places, and with which sign: ``[c], [c]``.

    None where a change is not one number with a sign: factors, mixtures and masks.

    >>> sources("tied2", [(2, 2)])
    (array([0, 1, 1, 0]), array([ 1., -1.,  1., -1.], dtype=float32))
    """
    kind, count = _parse(form)
    if kind in ("rank", "vera", "mix", MASK):
        return None
    if kind == "tied":
        return _ties(count, shapes)
    owned = numbers(form, shapes)
    return np.arange(owned), np.ones(owned, np.float32)


def changes(form: str, owned: Array, shapes: Shapes, templates: Array | None = None) -> Array:
    """What is added at these places; arrays and tensors alike, and gradients pass.

    ``templates`` ``[n, w]`` are the site's where the form mixes n of them; where it is masked, the
    one is the site's weights.

    >>> changes("rank1", np.array([1.0, 2.0, 3.0, 4.0, 5.0]), [(2, 3, 1, 1)])
    array([ 3.,  4.,  5.,  6.,  8., 10.])
    """
    kind, rank = _parse(form)
    if kind == "mix":
        assert templates is not None
        return owned @ templates
    if kind == MASK:
        assert templates is not None
        taken: Array = owned * -templates[0]
        return taken
    if kind == "tied":
        if isinstance(owned, np.ndarray):
            return _spread(owned, shapes)
        which, signs = _ties(rank, shapes)
        return owned[which] * _like(owned, signs)
    if kind not in ("rank", "vera"):
        return owned
    rows, columns = _matrix(shapes)
    if kind == "vera":
        left, right = (_like(owned, signs) for signs in _signs(rows, columns, rank))
        left, right = owned[:rows, None] * left, owned[rows:, None] * right
    else:
        left, right = owned[: rows * rank], owned[rows * rank :]  # B and A
    return (left.reshape(rows, rank) @ right.reshape(rank, columns)).reshape(-1)


def balanced(form: str, owned: NDArray[np.float32], shapes: Shapes) -> NDArray[np.float32]:
    """Numbers that make the same changes, of which no factor is much larger than the other.

    Low-rank factors are stored under one peak, so that the smaller would lose what it holds.

    >>> balanced("rank1", np.array([0.01, 100.0]), [(1, 1)])
    array([1., 1.])
    """
    kind, rank = _parse(form)
    if kind not in ("rank", "vera"):
        return owned
    rows = _matrix(shapes)[0]
    if kind == "vera":  # a factor for each row, and one for each rank
        left, right = owned[:rows, None], owned[rows:, None]
    else:
        left = owned[: rows * rank].reshape(rows, rank)
        right = owned[rows * rank :].reshape(rank, -1).T
    tops = np.abs(left).max(0), np.abs(right).max(0)
    some = (tops[0] > 0) & (tops[1] > 0)
    factor = np.sqrt(np.divide(tops[1], tops[0], out=np.ones_like(tops[0]), where=some))
    left, right = left * factor, right / factor
    return np.concatenate([left.ravel(), right.T.ravel()]).astype(owned.dtype)


def scaled(form: str, shapes: Shapes) -> NDArray[np.int64]:
    """For each number that is measured in units of weights, from the first: a weight it changes.

    That weight's tensor supplies the unit. All numbers are measured so, but of low-rank factors the
    left ones alone, which begin at zero, and of a mask none.

    >>> scaled("part2", [(2, 5)]), scaled("rank1", [(2, 5)])
    (array([5, 3]), array([0, 0]))
    """
    kind, rank = _parse(form)
    if kind == "mix":
        return np.zeros(rank, np.int64)
    if kind == MASK:
        return np.zeros(0, np.int64)
    found = sources(form, shapes)
    if found is None:
        return np.zeros(_matrix(shapes)[0] * (rank if kind == "rank" else 1), np.int64)
    which = np.zeros(numbers(form, shapes), np.int64)
    which[found[0]] = places(form, shapes)
    return which


@cache
def _order(weights: int) -> NDArray[np.int64]:
    """In which places are taken, shuffled by bits that no release of NumPy changes: ``[n]``."""
    return np.argsort(np.random.PCG64(weights).random_raw(weights), kind="stable")


@cache
def _every(weights: int) -> NDArray[np.int64]:
    return np.arange(weights)


@cache
def _ranks(weights: int) -> NDArray[np.int64]:
    """When each place is taken: ``[n]``."""
    return np.argsort(_order(weights))


def _ties(count: int, shapes: Shapes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of so many numbers each weight has, and its sign; of no tensor that gets none.

    Numbers are dealt to a site's tensors evenly, and then to a tensor's weights in their order.
    """
    which, signs, begin = [], [], 0
    for left, shape in zip(range(len(shapes), 0, -1), shapes, strict=True):
        share = -(-(count - begin) // left)
        if share:
            which.append(begin + _ranks(math.prod(shape)) % share)
            signs.append(_coins(math.prod(shape)))
        begin += share
    if len(which) == 1:
        return which[0], signs[0]
    return np.concatenate(which), np.concatenate(signs)


def _spread(owned: NDArray[np.float32], shapes: Shapes) -> NDArray[np.float32]:
    """What :func:`_ties` tells, at once: a change of language waits for it."""
    found, begin = [], 0
    for left, shape in zip(range(len(shapes), 0, -1), shapes, strict=True):
        share = -(-(len(owned) - begin) // left)
        if share:
            weights = math.prod(shape)
            again = np.empty((-(-weights // share), share), np.float32)
            again[:] = owned[begin : begin + share]
            found.append(again.ravel()[_ranks(weights)] * _coins(weights))
        begin += share
    return found[0] if len(found) == 1 else np.concatenate(found)


@cache
def _coins(weights: int) -> NDArray[np.float32]:
    """Plus or minus one: ``[n]``."""
    bits = np.random.PCG64(weights + 1_000_000_007).random_raw(weights) >> 63
    return 1 - 2 * bits.astype(np.float32)


def _matrix(shapes: Shapes) -> tuple[int, int]:
    """O and I of a convolution's weights."""
    return shapes[0][0], math.prod(shapes[0][1:])


def _signs(rows: int, columns: int, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors of plus and minus one, the left ones over the root of the rank: ``[O, r], [r, I]``.

    Like the order of places they come from bits that no release of NumPy changes.
    """
    bits = np.random.PCG64(rows * 1_000_003 + columns).random_raw(rank * (rows + columns)) >> 63
    signs = 1 - 2 * bits.astype(np.float32)
    left = signs[: rows * rank].reshape(rows, rank) / np.sqrt(np.float32(rank))
    return left, signs[rows * rank :].reshape(rank, columns)


def _like(owned: Array, constant: NDArray[np.float32]) -> Array:
    """A constant of the same kind."""
    return constant if isinstance(owned, np.ndarray) else owned.new_tensor(constant)


@cache
def _parse(form: str) -> tuple[str, int]:
    """Kind and count."""
    if form in (WHOLE, SHIFT, MASK):
        return form, 0
    found = re.fullmatch(r"(part|tied|rank|vera|mix)([1-9]\d{0,5})", form)
    if found is None:
        raise KwsError(f"there is no form '{form}'")
    return found[1], int(found[2])
