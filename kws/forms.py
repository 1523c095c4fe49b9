"""Forms: how the numbers that a language owns of a site make the site's delta.

A site owned whole has one number for each of its weights. One owned at rank r has r (O + I), the
factors of dW = B A (LoRA, Hu et al., https://arxiv.org/abs/2106.09685, eq. 3), for a convolution
of O x I weights. Once multiplied, these are ordinary weights: no form costs anything in listening.

The functions take NumPy arrays and torch tensors alike, so that training, bank and runtime share
one definition.
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


def split_name(name: str) -> tuple[str, str]:
    """A place of the network, and the form in which it is owned.

    >>> split_name("blocks.3.point@rank1"), split_name("stem.0")
    (('blocks.3.point', 'rank1'), ('stem.0', ''))
    """
    place, _, form = name.partition(MARK)
    return place, form


def numbers(form: str, shapes: Shapes) -> int:
    """How many numbers a language owns of a site of these shapes.

    >>> numbers("", [(40, 40, 1, 1)]), numbers("rank1", [(40, 40, 1, 1)])
    (1600, 80)

    Raises:
        KwsError: there is no such form, or it does not suit these shapes.

    """
    if form == WHOLE:
        return sum(map(math.prod, shapes))
    rows, columns, rank = _factors(form, shapes)
    return rank * (rows + columns)


def expand(form: str, owned: Array, shapes: Shapes) -> Array:
    """The delta of all the site's weights, flat: ``[numbers] -> [weights]``.

    >>> expand("rank1", np.array([1.0, 2.0, 3.0, 4.0, 5.0]), [(2, 3, 1, 1)])
    array([ 3.,  4.,  5.,  6.,  8., 10.])
    """
    if form == WHOLE:
        return owned
    rows, columns, rank = _factors(form, shapes)
    left, right = owned[: rows * rank], owned[rows * rank :]  # B and A
    return (left.reshape(rows, rank) @ right.reshape(rank, columns)).reshape(-1)


def _factors(form: str, shapes: Shapes) -> tuple[int, int, int]:
    """O, I and r."""
    rank = re.fullmatch(r"rank([1-9]\d?)", form)
    if rank is None or len(shapes) != 1 or len(shapes[0]) < 2:
        raise KwsError(f"no form '{form}' suits a site of shapes {list(map(list, shapes))}")
    return shapes[0][0], math.prod(shapes[0][1:]), int(rank[1])
