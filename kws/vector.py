"""A base's weights in one vector, and what a language adds to it: the same for every bank."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from .adapter import Adapter, pieces
from .files import Arrays
from .forms import positions, random_signs
from .quantized import dequantize
from .templates import Templates

Array = NDArray[np.float32]
Indices = NDArray[np.uint32]


@dataclass(frozen=True)
class DeltaPlan:
    """How a language's numbers become changes, found once: a change of language waits for it.

    Where weights of a tensor share numbers (:class:`kws.forms.Tied`), all tensors of the base are
    changed at once, and that takes two integers a tensor, beside a size for each site. Other
    changes are made piece by piece, which are found anew each time: they would take more memory
    than the numbers.

    Attributes:
        sizes: numbers of each of the adapter's sites.
        firsts: ``[t]``, the first number of each tensor; one beyond all where it shares none.
        amounts: ``[t]``, how many each tensor shares; 1 where it shares none.
        others: sites whose weights share none, by their place among the adapter's.

    """

    sizes: tuple[int, ...]
    firsts: Indices
    amounts: Indices
    others: tuple[int, ...]


@dataclass(frozen=True)
class WeightVector:
    """All that a language may change of a base: t tensors in one vector, module by module.

    Attributes:
        vector: ``[n]``, the base's weights.
        shapes: of every module's tensors, the weight's first.
        spans: of every module, where its weights lie in the vector.
        templates: of the base.
        sizes: of each tensor.
        positions: ``[n]``, of each weight in its tensor (:func:`kws.forms.positions`).
        signs: ``[n]``, of each weight in its tensor (:func:`kws.forms.random_signs`).

    """

    vector: Array
    shapes: dict[str, list[tuple[int, ...]]]
    spans: dict[str, slice]
    templates: Templates
    sizes: list[int]
    positions: Indices
    signs: Array

    @classmethod
    def of(cls, tensors: Arrays) -> "WeightVector":
        """Lay out tensors in their order: module by module, the weight before the bias."""
        shapes: dict[str, list[tuple[int, ...]]] = {}
        spans: dict[str, slice] = {}
        start = 0
        for name, tensor in tensors.items():
            module, stop = name.rpartition(".")[0], start + tensor.size
            shapes.setdefault(module, []).append(tensor.shape)
            spans[module] = slice(spans[module].start if module in spans else start, stop)
            start = stop
        alone = {p: tensors[f"{p}.weight"] for p, found in shapes.items() if len(found) == 1}
        vector = np.concatenate([tensor.ravel() for tensor in tensors.values()])
        sizes = [tensor.size for tensor in tensors.values()]
        order = np.concatenate([positions(size) for size in sizes]).astype(np.uint32)
        signs = np.concatenate([random_signs(size) for size in sizes])
        return cls(vector, shapes, spans, Templates(alone), sizes, order, signs)

    def plan(self, adapter: Adapter) -> DeltaPlan:
        """How this adapter's numbers become changes.

        Raises:
            KwsError: it names other sites than the base has.

        """
        found = pieces(adapter, self.shapes, self.templates)
        amounts = {module: (0,) * len(shapes) for module, shapes in self.shapes.items()}
        starts = dict.fromkeys(self.shapes, 0)
        others = []
        for site, piece in enumerate(found):
            shared = piece.form.shared(piece.shapes)
            # Of a module's forms the first that shares numbers; a second one is among the others.
            if not any(shared) or any(amounts[piece.module]):
                others.append(site)
            else:
                amounts[piece.module], starts[piece.module] = shared, piece.span.start
        firsts = [
            starts[module] + before
            for module, shared in amounts.items()
            for before in accumulate(shared[:-1], initial=0)
        ]
        numbers = np.concatenate(list(amounts.values())).astype(np.uint32)
        return DeltaPlan(
            tuple(piece.span.stop - piece.span.start for piece in found),
            np.where(numbers, firsts, adapter.config.spent_parameters).astype(np.uint32),
            np.maximum(numbers, 1),
            tuple(others),
        )

    def add(self, adapter: Adapter, plan: DeltaPlan, vector: Array) -> None:
        """Add a language's deltas, by its plan, to a vector ``[n]`` of these tensors, in place."""
        owned = dequantize(adapter.deltas, adapter.peaks, plan.sizes)
        which = self.positions % np.repeat(plan.amounts, self.sizes)
        which += np.repeat(plan.firsts, self.sizes)
        vector += np.append(owned, np.float32(0))[which] * self.signs
        found = pieces(adapter, self.shapes, self.templates) if plan.others else ()
        for piece in (found[site] for site in plan.others):
            vector[self.spans[piece.module]][piece.where] += piece.changes(owned)
