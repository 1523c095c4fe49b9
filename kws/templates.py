"""Templates: what the convolutions of one shape have in common.

Layers of equal shape form a group; each is a mixture of the group's templates, and what a language
owns of a layer is how it is mixed (RECAST, Tasnim and Plummer, https://arxiv.org/abs/2411.16870).
There the templates are found by imitating the pretrained weights, which loses something of them
(:mod:`policy.recast` does it to compare). Here they are the best ones, the leading right singular
vectors of the group's weights, and a language's mixture is added to weights that are left whole: so
the base stays what it is, and nothing but the mixture is stored.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .errors import KwsError
from .forms import MASK, Form, Mix

Array = NDArray[np.float32]
FEWEST: Final = 2  # layers of a group
ROUNDING: Final = 1e-7  # of the largest direction; what is smaller is none


class Templates:
    """The templates of one base, made when they are first asked for.

    Args:
        weights: of every module that has one tensor and no more, by the module's name.

    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = dict(weights)
        self._found: dict[tuple[str, ...], Array] = {}

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Every module's group, itself among it: same shape, and same name in its block."""
        found: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for module, weight in self._weights.items():
            found.setdefault((module.rpartition(".")[2], weight.shape), []).append(module)
        return {module: tuple(group) for group in found.values() for module in group}

    def of(self, module: str, form: Form) -> Array | None:
        """Templates ``[n, w]`` of a module that is owned as their mixture, or masked; else None.

        Rows are flat as the module's weights are, and have a root mean square of one; a mask has a
        single row, the module's own weights.

        Raises:
            KwsError: the module's group has not so many.

        """
        if form == MASK:
            if module not in self._weights:
                raise KwsError(f"{module} has not the one tensor that a mask is for")
            return self._weights[module].reshape(1, -1)
        if not isinstance(form, Mix):
            return None
        group = self.groups.get(module, ())
        if len(group) < max(FEWEST, form.count):
            raise KwsError(f"{module} has not {form.count} templates in common with others")
        if group not in self._found:
            self._found[group] = leading([self._weights[member].ravel() for member in group])
        return self._found[group][: form.count]


def leading(weights: list[Array]) -> Array:
    """Right singular vectors of the stacked weights ``[G, w]``, of root mean square one.

    Through the eigenvectors of a matrix of G x G, each turned such that its largest entry is
    positive: so every machine finds the same. Where the weights have fewer directions than G, the
    rest are zeros, not what rounding left of them.
    """
    stacked = np.stack(weights).astype(np.float64)
    _, vectors = np.linalg.eigh(stacked @ stacked.T)
    vectors = vectors[:, ::-1]  # falling
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(weights))])
    found = vectors.T @ stacked
    sizes = np.sqrt(np.square(found).mean(axis=1, keepdims=True))
    there = sizes > ROUNDING * sizes.max()
    scaled: Array = np.where(there, found / np.where(there, sizes, 1), 0).astype(np.float32)
    return scaled
