"""Forms: how the numbers that a language owns of a site become changes of the site's weights.

A site's name says the form after a mark, ``blocks.3.point@rank1``, and :func:`form_of` reads it.
Once added, changes are ordinary weights: no form costs anything in listening.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import KwsError

if TYPE_CHECKING:  # listening does without torch
    from torch import Tensor

MARK: Final = "@"  # between a site's name and its form
SIGNS_SEED: Final = 1_000_000_007  # added to a size to seed its signs: no order has that seed
MOST: Final = 999_999  # numbers of a form that says how many

Shapes = Sequence[tuple[int, ...]]  # of a site's tensors, the weight first
Numbers = TypeVar("Numbers", NDArray[np.float32], "Tensor")
Indices = NDArray[np.int64]
Signs = NDArray[np.float32]


@dataclass(frozen=True)
class Form(ABC):
    """One way to own a site.

    Attributes:
        count: the number in its name; 0 where it has none.

    Raises:
        KwsError: it needs a number, or has none.

    """

    kind: ClassVar[str]
    counted: ClassVar[bool] = True
    count: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.count <= MOST if self.counted else self.count == 0):
            raise KwsError(f"there is no form '{self.kind}{self.count}'")

    def __str__(self) -> str:
        return f"{self.kind}{self.count}" if self.counted else self.kind

    def size(self, shapes: Shapes) -> int:
        """How many numbers a language owns of a site of these shapes.

        >>> [form_of(name).size([(40, 40, 1, 1)]) for name in ("", "tied160", "rank1")]
        [1600, 160, 80]

        Raises:
            KwsError: the form does not suit these shapes.

        """
        found = self._size(shapes)
        if found is None:
            raise KwsError(f"no form '{self}' suits a site of shapes {list(map(list, shapes))}")
        return found

    @abstractmethod
    def _size(self, shapes: Shapes) -> int | None:
        """The same, or None where it does not suit."""

    def weight_indices(self, shapes: Shapes) -> Indices:
        """Indices ``[c]`` of the weights that change, each once, in all of a site's weights, flat.

        >>> form_of("shift").weight_indices([(2,), (2,)]), form_of("rank1").weight_indices([(2, 2)])
        (array([2, 3]), array([0, 1, 2, 3]))
        """
        return _every(_weights(shapes))

    def sources(self, shapes: Shapes) -> tuple[Indices, Signs] | None:
        """For each weight that changes, the index of its number, and the sign: ``[c], [c]``.

        So that changes are ``signs * owned[indices]``. None for forms that are not of this kind:
        factors, mixtures and masks.

        >>> form_of("tied2").sources([(2, 2)])
        (array([0, 1, 1, 0]), array([ 1., -1.,  1., -1.], dtype=float32))
        """
        return None

    def shared(self, shapes: Shapes) -> tuple[int, ...]:
        """How many numbers the weights of each tensor share, one tensor's after another's.

        >>> form_of("tied9").shared([(100,), (2,)]), form_of("").shared([(100,), (2,)])
        ((7, 2), (0, 0))
        """
        return (0,) * len(shapes)

    @abstractmethod
    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        """What is added to these weights; arrays and tensors alike, and gradients pass.

        ``templates`` ``[n, w]`` are those of :meth:`kws.templates.Templates.of`.

        >>> form_of("rank1").changes(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), [(2, 3, 1, 1)])
        array([ 3.,  4.,  5.,  6.,  8., 10.])
        """

    @abstractmethod
    def scaled(self, shapes: Shapes) -> Indices:
        """Of each number trained relative to the base, a weight in the tensor it changes: ``[m]``.

        The root mean square of that weight's tensor is the number's unit (:mod:`kws.deltas`). The m
        such numbers come first: all n of them, but of low-rank factors only those of the left
        factor, and of a mask none.

        >>> form_of("tied2").scaled([(2,), (3,)]), form_of("rank1").scaled([(2, 5)])
        (array([1, 4]), array([0, 0]))
        """

    def drawn(self, shapes: Shapes) -> int:
        """How many numbers, the last ones, begin as random draws, not at zero.

        >>> form_of("rank1").drawn([(2, 5)]), form_of("tied2").drawn([(2,)])
        (5, 0)
        """
        return 0

    def balanced(self, owned: NDArray[np.float32], shapes: Shapes) -> NDArray[np.float32]:
        """Rescale low-rank factors, without altering their product, so that both are equally large.

        A site has one quantization scale (:mod:`kws.quantized`), under which the smaller factor
        would lose precision. The numbers of other forms are returned as they are.

        >>> form_of("rank1").balanced(np.array([0.01, 100.0]), [(1, 1)])
        array([1., 1.])
        """
        return owned


class _Added(Form):
    """Each change is one number with a sign."""

    @abstractmethod
    def sources(self, shapes: Shapes) -> tuple[Indices, Signs]: ...

    def scaled(self, shapes: Shapes) -> Indices:
        which = np.zeros(self.size(shapes), np.int64)
        which[self.sources(shapes)[0]] = self.weight_indices(shapes)
        return which


class _Direct(_Added):
    """A number for each weight that changes."""

    def sources(self, shapes: Shapes) -> tuple[Indices, Signs]:
        owned = self.size(shapes)
        return np.arange(owned), np.ones(owned, np.float32)

    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        return owned


class Whole(_Direct):
    """A number for each of the site's weights."""

    kind, counted = "", False

    def _size(self, shapes: Shapes) -> int:
        return _weights(shapes)


class Shift(_Direct):
    """Half of a normalisation: its shift.

    BitFit, Ben Zaken et al., https://arxiv.org/abs/2106.10199.
    """

    kind, counted = "shift", False

    def _size(self, shapes: Shapes) -> int | None:
        return math.prod(shapes[1]) if len(shapes) == 2 else None

    def weight_indices(self, shapes: Shapes) -> Indices:
        return np.arange(math.prod(shapes[0]), _weights(shapes))


class Tied(_Added):
    """Weight sharing: all weights change, by fewer numbers than there are weights.

    To each weight one of the numbers is added, or subtracted from it; which one, and the sign, is a
    fixed pseudo-random draw (HashedNets, Chen et al., https://arxiv.org/abs/1504.04788, eq. 3, 7).
    Unlike there, no number is shared by weights of two tensors, and those of a tensor are shared by
    equally many weights, to within one. Tensors get numbers evenly, at most as many as they have
    weights; a tensor that gets none does not change.
    """

    kind = "tied"

    def _size(self, shapes: Shapes) -> int | None:
        return self.count if self.count < _weights(shapes) else None

    def weight_indices(self, shapes: Shapes) -> Indices:
        found = [_every(weights.stop)[weights.start :] for weights, _ in self._dealt(shapes)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def sources(self, shapes: Shapes) -> tuple[Indices, Signs]:
        found = [
            (dealt.start + positions(len(weights)) % len(dealt), random_signs(len(weights)))
            for weights, dealt in self._dealt(shapes)
        ]
        if len(found) == 1:
            return found[0]
        which, signs = zip(*found, strict=True)
        return np.concatenate(which), np.concatenate(signs)

    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        which, signs = self.sources(shapes)
        return owned[which] * _like(owned, signs)

    def shared(self, shapes: Shapes) -> tuple[int, ...]:
        return _deal(self.count, tuple(map(math.prod, shapes)))

    def _dealt(self, shapes: Shapes) -> tuple[tuple[range, range], ...]:
        """Of each tensor that gets any: which of the site's weights it has, and which numbers."""
        return _dealt(self.count, tuple(map(math.prod, shapes)))


class _OfMatrix(Form):
    """What a convolution of O x I weights alone may be owned as."""

    def _size(self, shapes: Shapes) -> int | None:
        if len(shapes) != 1 or len(shapes[0]) < 2:
            return None
        return self._of(*_matrix(shapes))

    @abstractmethod
    def _of(self, rows: int, columns: int) -> int | None:
        """Numbers for a matrix of so many rows and columns; None where it does not suit."""


class _Factored(_OfMatrix):
    """dW is a product of two matrices; the numbers of the left one come first and begin at zero."""

    @abstractmethod
    def _left(self, rows: int) -> int:
        """How many numbers are of the left."""

    @abstractmethod
    def _factors(self, owned: Numbers, rows: int, columns: int) -> tuple[Numbers, Numbers]:
        """``[O, r], [r, I]``."""

    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        left, right = self._factors(owned, *_matrix(shapes))
        return (left @ right).reshape(-1)

    def scaled(self, shapes: Shapes) -> Indices:
        return np.zeros(self._left(shapes[0][0]), np.int64)

    def drawn(self, shapes: Shapes) -> int:
        return self.size(shapes) - self._left(shapes[0][0])

    def balanced(self, owned: NDArray[np.float32], shapes: Shapes) -> NDArray[np.float32]:
        rows = shapes[0][0]
        count = self._left(rows)
        columns = count // rows  # of the left numbers; each has its row among the right ones
        left, right = owned[:count].reshape(rows, columns), owned[count:].reshape(columns, -1).T
        tops = np.abs(left).max(0), np.abs(right).max(0)
        some = (tops[0] > 0) & (tops[1] > 0)
        factor = np.sqrt(np.divide(tops[1], tops[0], out=np.ones_like(tops[0]), where=some))
        left, right = left * factor, right / factor
        return np.concatenate([left.ravel(), right.T.ravel()]).astype(owned.dtype)


class Rank(_Factored):
    """The factors of dW = B A, of this rank.

    LoRA, Hu et al., https://arxiv.org/abs/2106.09685, eq. 3.
    """

    kind = "rank"

    def _of(self, rows: int, columns: int) -> int:
        return self.count * (rows + columns)

    def _left(self, rows: int) -> int:
        return rows * self.count

    def _factors(self, owned: Numbers, rows: int, columns: int) -> tuple[Numbers, Numbers]:
        left, right = owned[: rows * self.count], owned[rows * self.count :]
        return left.reshape(rows, self.count), right.reshape(self.count, columns)


class Vera(_Factored):
    """Scales of fixed factors of this rank, dW = diag(b) B diag(d) A.

    VeRA, Kopiczko et al., https://arxiv.org/abs/2310.11454, eq. 2. Unlike there, the factors are
    plus and minus one, drawn for each shape, and d begins as N(0, 1), not as a constant.
    """

    kind = "vera"

    def _of(self, rows: int, columns: int) -> int | None:
        return rows + self.count if self.count <= rows * columns else None

    def _left(self, rows: int) -> int:
        return rows

    def _factors(self, owned: Numbers, rows: int, columns: int) -> tuple[Numbers, Numbers]:
        left, right = (_like(owned, signs) for signs in _signs(rows, columns, self.count))
        return owned[:rows, None] * left, owned[rows:, None] * right


class Mix(_OfMatrix):
    """One number for each of the templates that are mixed (RECAST, :mod:`kws.templates`)."""

    kind = "mix"

    def _of(self, rows: int, columns: int) -> int:
        return self.count

    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        assert templates is not None
        return owned @ templates

    def scaled(self, shapes: Shapes) -> Indices:
        return np.zeros(self.count, np.int64)


class Mask(_OfMatrix):
    """How much of each weight is taken away, all or nothing.

    Piggyback, Mallya et al., https://arxiv.org/abs/1801.06519. The one template is the weights.
    """

    kind, counted = "mask", False

    def _of(self, rows: int, columns: int) -> int:
        return rows * columns

    def changes(self, owned: Numbers, shapes: Shapes, templates: Numbers | None = None) -> Numbers:
        assert templates is not None
        taken: Numbers = owned * -templates[0]
        return taken

    def scaled(self, shapes: Shapes) -> Indices:
        return np.zeros(0, np.int64)


WHOLE: Final = Whole()
SHIFT: Final = Shift()
MASK: Final = Mask()
_KINDS: Final[Mapping[str, type[Form]]] = MappingProxyType(
    {form.kind: form for form in (Whole, Shift, Tied, Rank, Vera, Mix, Mask)}
)


@cache
def form_of(name: str) -> Form:
    """The form of this name.

    >>> form_of("rank2"), str(Tied(7)), form_of("") == WHOLE
    (Rank(count=2), 'tied7', True)

    Raises:
        KwsError: there is no such form.

    """
    found = re.fullmatch(r"([a-z]*)([1-9][0-9]{0,5})?", name)
    kind = _KINDS.get(found[1]) if found else None
    if kind is None or found is None or kind.counted != bool(found[2]):
        raise KwsError(f"there is no form '{name}'")
    return kind(int(found[2] or 0))


def split_name(name: str) -> tuple[str, str]:
    """A module of the network, and the name of the form in which it is owned.

    >>> split_name("blocks.3.point@rank1"), split_name("stem.0")
    (('blocks.3.point', 'rank1'), ('stem.0', ''))
    """
    module, _, form = name.partition(MARK)
    return module, form


@cache
def _every(weights: int) -> Indices:
    return np.arange(weights)


@cache
def _deal(count: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How many numbers tensors of these sizes get: evenly, as far as each has weights."""
    amounts, rest = [0] * len(sizes), count
    smallest_first = sorted(range(len(sizes)), key=lambda tensor: (sizes[tensor], -tensor))
    for left, tensor in zip(range(len(sizes), 0, -1), smallest_first, strict=True):
        amounts[tensor] = min(sizes[tensor], rest // left)
        rest -= amounts[tensor]
    return tuple(amounts)


@cache
def _dealt(count: int, sizes: tuple[int, ...]) -> tuple[tuple[range, range], ...]:
    """Weights and numbers of each tensor of these sizes that gets any."""
    pairs = zip(_parts(sizes), _parts(_deal(count, sizes)), strict=True)
    return tuple(pair for pair in pairs if pair[1])


def _parts(lengths: Sequence[int]) -> list[range]:
    """One after another.

    >>> _parts([2, 3])
    [range(0, 2), range(2, 5)]
    """
    return [
        range(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)
    ]


@cache
def positions(weights: int) -> Indices:
    """When each of ``n`` weights, of a tensor or of a site, is taken, from 0: ``[n]``.

    In a shuffled order, by bits that no release of NumPy changes.
    """
    order = np.argsort(np.random.PCG64(weights).random_raw(weights), kind="stable")
    return np.argsort(order)


@cache
def random_signs(weights: int) -> Signs:
    """Plus or minus one for each of a tensor's ``n`` weights: ``[n]``."""
    return _plus_minus(weights + SIGNS_SEED, weights)


def _plus_minus(seed: int, count: int) -> Signs:
    """``[count]``, from bits that no release of NumPy changes."""
    return 1 - 2 * (np.random.PCG64(seed).random_raw(count) >> 63).astype(np.float32)


def _weights(shapes: Shapes) -> int:
    return sum(map(math.prod, shapes))


def _matrix(shapes: Shapes) -> tuple[int, int]:
    """O and I of a convolution's weights."""
    return shapes[0][0], math.prod(shapes[0][1:])


@cache
def _signs(rows: int, columns: int, rank: int) -> tuple[Signs, Signs]:
    """Factors of plus and minus one, left ones over the root of the rank: ``[O, r], [r, I]``."""
    signs = _plus_minus(rows * 1_000_003 + columns, rank * (rows + columns))
    left = signs[: rows * rank].reshape(rows, rank) / np.sqrt(np.float32(rank))
    return left, signs[rows * rank :].reshape(rank, columns)


def _like(owned: Numbers, constant: NDArray[np.float32]) -> Numbers:
    """A constant of the same kind."""
    return constant if isinstance(owned, np.ndarray) else owned.new_tensor(constant)
