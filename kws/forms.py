"""Forms: how the numbers that a language owns of a site become changes of the site's weights.

Owned whole, a site has one number for each of its weights. Owned in part, it has n of them, spread
over its weights by a fixed rule, so that no list of places is stored, and fewer are always among
more. Owned at rank r, it has r (O + I), the factors of dW = B A (LoRA, Hu et al.,
https://arxiv.org/abs/2106.09685, eq. 3), for a convolution of O x I weights. Once added these are
ordinary weights: no form costs anything in listening.
"""

import math
import re
from collections.abc import Sequence
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


def part(count: int) -> str:
    """The form that owns so many of a site's weights."""
    return f"part{count}"


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
    if kind == "part" and count < weights:
        return count
    if kind == "rank" and len(shapes) == 1 and len(shapes[0]) > 1:
        return count * sum(matrix(shapes))
    raise KwsError(f"no form '{form}' suits a site of shapes {list(map(list, shapes))}")


def places(form: str, shapes: Shapes) -> NDArray[np.int64]:
    """Which of a site's weights change, counted flat, each once.

    In part, from each to the next is a stride near the golden section that has no divisor in
    common with the number of weights: any count of places is spread evenly.

    >>> places("part4", [(2, 5)]), places("rank1", [(2, 2)])
    (array([0, 7, 4, 1]), array([0, 1, 2, 3]))
    """
    kind, count = _parse(form)
    weights = sum(map(math.prod, shapes))
    if kind != "part":
        return np.arange(weights)
    stride = round(weights * (math.sqrt(5) - 1) / 2)
    while math.gcd(stride, weights) > 1:
        stride += 1
    return np.arange(count) * stride % weights


def changes(form: str, owned: Array, shapes: Shapes) -> Array:
    """What is added at these places; arrays and tensors alike, and gradients pass.

    >>> changes("rank1", np.array([1.0, 2.0, 3.0, 4.0, 5.0]), [(2, 3, 1, 1)])
    array([ 3.,  4.,  5.,  6.,  8., 10.])
    """
    kind, rank = _parse(form)
    if kind != "rank":
        return owned
    rows, columns = matrix(shapes)
    left, right = owned[: rows * rank], owned[rows * rank :]  # B and A
    return (left.reshape(rows, rank) @ right.reshape(rank, columns)).reshape(-1)


def scaled(form: str, shapes: Shapes) -> int:
    """How many of the numbers, from the first, are in units of the weights.

    All of them, but of factors the left ones, which begin at zero; the right ones only turn.
    """
    kind, rank = _parse(form)
    return rank * matrix(shapes)[0] if kind == "rank" else numbers(form, shapes)


def matrix(shapes: Shapes) -> tuple[int, int]:
    """O and I of a convolution's weights."""
    return shapes[0][0], math.prod(shapes[0][1:])


def _parse(form: str) -> tuple[str, int]:
    found = re.fullmatch(r"(part|rank)([1-9]\d{0,5})", form)
    if form != WHOLE and found is None:
        raise KwsError(f"there is no form '{form}'")
    return (found[1], int(found[2])) if found else (WHOLE, 0)
