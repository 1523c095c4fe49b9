"""The bank that listens: one base and many languages, without torch.

Its verbs are those of :class:`kws.bank.Bank`, and its scores equal: those of the network with the
adapter merged, which :func:`merged` returns. There is one network: switching copies the base's
weights, adds the language's deltas and hands the sum to the network, so that a loaded language
costs the memory of its own numbers alone. How features and networks are computed is passed in.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .adapter import Adapter, check_head, pieces
from .base import BaseConfig, check_classes
from .config import HEAD
from .engine import HopScorer, WindowScorer, clean_samples
from .errors import KwsError
from .files import Arrays
from .forms import coins, ranks
from .languages import AdapterBank
from .quantized import dequantize
from .templates import Templates

Array = NDArray[np.float32]
Indices = NDArray[np.uint32]


class Network(Protocol):
    """A base's network for one language after another; a stream's state goes in and is changed."""

    causal: bool
    history: int  # frames that a decision depends on
    # Of the base's tensors that a language may change, all but the head's, as `put` takes them: one
    # module after another, of each the weight before the bias.
    names: tuple[str, ...]

    def put(self, vector: Array, weight: Array, bias: Array) -> None:
        """Hear with these weights from now on: all but the head's ``[n]``, ``[K, D]``, ``[K]``."""
        ...

    def start(self) -> Array:
        """A state in which nothing was heard, not even silence."""
        ...

    def hear(self, state: Array, features: Array) -> Array:
        """Take frames ``[F, n]``; return the probabilities ``[K]`` at the last of them.

        A causal network continues from ``state`` and updates it in place. Any other network takes
        exactly ``history`` frames and may use ``state`` as a cache between calls. A state is for
        the weights that it was begun with.
        """
        ...


class FrontEnd(Protocol):
    """Features of a stream, and of clips."""

    def reset(self) -> None:
        """Begin another stream."""
        ...

    def feed(self, samples: Array) -> Array:
        """Take samples ``[N]``, return the frames that they end ``[F, n]``."""
        ...

    def clip(self, wave: Array) -> Array:
        """``[N] -> [F, T]``, whatever the stream is."""
        ...


class Runtime(AdapterBank):
    """One base and its adapters, for listening.

    Args:
        config: of the base.
        tensors: of the base, by name.
        build: a base's configuration and tensors to its network.
        front_end: makes one for each stream.

    """

    def __init__(
        self,
        config: BaseConfig,
        tensors: Arrays,
        build: Callable[[BaseConfig, Arrays], Network],
        front_end: Callable[[], FrontEnd],
    ) -> None:
        super().__init__(config)
        tensors = {name: array.astype(np.float32, copy=False) for name, array in tensors.items()}
        self._front_end = front_end
        self._clips = front_end()
        self.network = build(config, tensors)
        _check_order(self.network.names)
        self._layout = _Layout.of(self.network.names, tensors)
        self._live = self._layout.vector.copy()
        self._plans: dict[str, _Plan] = {}
        self._head = tensors[f"{HEAD}.weight"], tensors[f"{HEAD}.bias"]
        check_classes(config, tensors)
        self._activate(None)

    @property
    def active(self) -> Adapter | None:
        """The adapter that is heard; None is the base as it is."""
        return self._active

    def _admit(self, adapter: Adapter) -> None:
        check_head(adapter, self._head[0].shape[1])
        self._plans[adapter.config.language] = self._layout.plan(adapter)

    def _activate(self, adapter: Adapter | None) -> None:
        self._live[:] = self._layout.vector
        head = self._head
        if adapter is not None:
            self._layout.add(adapter, self._plans[adapter.config.language], self._live)
            head = adapter.head_weight.astype(np.float32), adapter.head_bias.astype(np.float32)
        self.network.put(self._live, *head)
        super()._activate(adapter)

    def _forget(self, adapter: Adapter) -> None:
        del self._plans[adapter.config.language]

    def scores(self, view: Array) -> Array:
        """One second of sound ``[16000]`` to probabilities ``[K]``; nothing was before it."""
        if view.shape != (self.config.features.view,):
            raise KwsError(f"a view has {self.config.features.view} samples, not {view.shape}")
        network = self.network
        return network.hear(network.start(), self._clips.clip(clean_samples(view)[0]))

    def hop_scorer(self, hop: int) -> HopScorer:
        """What hears a stream with a decision every ``hop`` samples.

        Raises:
            KwsError: the base is causal, and the hop no multiple of the features' hop.

        """
        if hop % self.config.features.hop:
            if self.network.causal:
                raise KwsError(f"decisions must fall on frames, not every {hop} samples")
            # Views that begin between two frames share none.
            return WindowScorer(self, self.config.features.view)
        return IncrementalScorer(self, self._front_end(), hop // self.config.features.hop)


class IncrementalScorer:
    """A scorer that computes each frame's features once, and a causal network's layers too.

    It follows the bank's active language. What a causal network remembers depends on the language;
    after a change the frames that it still depends on are heard once more.

    Args:
        bank: whose active language is heard.
        front_end: of this stream alone.
        frames: that every hop ends.

    """

    def __init__(self, bank: Runtime, front_end: FrontEnd, frames: int) -> None:
        self._bank = bank
        self.view = bank.config.features.view
        self._front_end = front_end
        self._silence = np.zeros((bank.config.features.mels, frames), np.float32)
        # Whole hops that hold a decision's history, newest last.
        self._recent: deque[Array] = deque(maxlen=-(-bank.network.history // frames))
        self.reset()

    def reset(self) -> None:
        """Begin another stream, after silence, in which features are zero."""
        self._front_end.reset()
        self._recent.extend([self._silence] * (self._recent.maxlen or 0))
        self._state: Array | None = None
        self._heard: Adapter | None = None  # whose state it is

    def hear(self, samples: Array) -> Array:
        """Take one hop; return the probabilities ``[K]`` in the active language."""
        features = self._front_end.feed(samples)
        self._recent.append(features)
        network, active = self._bank.network, self._bank.active
        if self._state is None or active is not self._heard:
            self._heard, self._state = active, network.start()
        elif network.causal:
            return network.hear(self._state, features)
        recent = np.concatenate(self._recent, axis=1)[:, -network.history :]
        return network.hear(self._state, recent)


def merged(base: Arrays, adapter: Adapter) -> Arrays:
    """The base's tensors with a language's deltas added and its head in place.

    Raises:
        KwsError: the adapter names other sites than the base has, or its head does not fit.

    """
    check_head(adapter, base[f"{HEAD}.weight"].shape[1])
    owned = [name for name in base if name.endswith((".weight", ".bias"))]
    owned = [name for name in sorted(owned, key=_weight_first) if name.rpartition(".")[0] != HEAD]
    layout = _Layout.of(owned, base)
    layout.add(adapter, layout.plan(adapter), layout.vector)
    parts = np.split(layout.vector, np.cumsum([base[name].size for name in owned])[:-1])
    pairs = zip(owned, parts, strict=True)
    head = adapter.head_weight.astype(np.float32), adapter.head_bias.astype(np.float32)
    return {
        **base,
        **{name: part.reshape(base[name].shape) for name, part in pairs},
        f"{HEAD}.weight": head[0],
        f"{HEAD}.bias": head[1],
    }


@dataclass(frozen=True)
class _Plan:
    """How a language's numbers become changes, found once: a change of language waits for it.

    Where weights of a tensor share numbers (:class:`kws.forms.Tied`), all tensors of the base are
    changed at once, and that takes two integers a tensor. Other changes are made piece by piece,
    which are found anew each time: they would take more memory than the numbers.
    """

    sizes: tuple[int, ...]  # numbers of each site
    firsts: Indices  # [t], of each tensor the first number; one beyond all where it shares none
    amounts: Indices  # [t], how many they are; 1 where it shares none
    others: tuple[int, ...]  # sites, by their place among the adapter's


@dataclass(frozen=True)
class _Layout:
    """What a language may change of a base: its t tensors in one vector, module by module."""

    vector: Array  # [n], the base's
    shapes: dict[str, list[tuple[int, ...]]]  # of every module's tensors, the weight first
    spans: dict[str, slice]  # where they lie
    templates: Templates
    sizes: list[int]  # of each tensor
    ranks: Indices  # [n], of each weight in its tensor (kws.forms.ranks)
    signs: Array  # [n], likewise

    @classmethod
    def of(cls, names: Sequence[str], tensors: Arrays) -> "_Layout":
        """Lay out the tensors of these names; those of one module follow one another."""
        shapes: dict[str, list[tuple[int, ...]]] = {}
        spans: dict[str, slice] = {}
        start = 0
        for name in names:
            module, stop = name.rpartition(".")[0], start + tensors[name].size
            shapes.setdefault(module, []).append(tensors[name].shape)
            spans[module] = slice(spans[module].start if module in spans else start, stop)
            start = stop
        alone = {p: tensors[f"{p}.weight"] for p, found in shapes.items() if len(found) == 1}
        vector = np.concatenate([tensors[name].ravel() for name in names])
        sizes = [tensors[name].size for name in names]
        order = np.concatenate([ranks(size) for size in sizes]).astype(np.uint32)
        signs = np.concatenate([coins(size) for size in sizes])
        return cls(vector, shapes, spans, Templates(alone), sizes, order, signs)

    def plan(self, adapter: Adapter) -> _Plan:
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
        return _Plan(
            tuple(piece.span.stop - piece.span.start for piece in found),
            np.where(numbers, firsts, adapter.config.spent_parameters).astype(np.uint32),
            np.maximum(numbers, 1),
            tuple(others),
        )

    def add(self, adapter: Adapter, plan: _Plan, vector: Array) -> None:
        """Add a language's deltas, by its plan, to a vector that is laid out so."""
        owned = dequantize(adapter.deltas, adapter.peaks, plan.sizes)
        which = self.ranks % np.repeat(plan.amounts, self.sizes)
        which += np.repeat(plan.firsts, self.sizes)
        vector += np.append(owned, np.float32(0))[which] * self.signs
        found = pieces(adapter, self.shapes, self.templates) if plan.others else ()
        for piece in (found[site] for site in plan.others):
            vector[self.spans[piece.module]][piece.where] += piece.changes(owned)


def _check_order(names: Sequence[str]) -> None:
    """Refuse names that are not in the order of :attr:`Network.names`.

    Raises:
        ValueError: a module's bias does not follow its weight.

    """
    for before, name in zip(("", *names), names, strict=False):
        module, _, kind = name.rpartition(".")
        if kind == "bias" and before != f"{module}.weight":
            raise ValueError(f"{name} must follow {module}.weight, not {before or 'nothing'}")


def _weight_first(name: str) -> tuple[str, bool]:
    """Sorts the names of tensors module by module."""
    module, _, kind = name.rpartition(".")
    return module, kind != "weight"
