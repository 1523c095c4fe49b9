"""The bank that listens: one base and many languages, without torch.

Verbs and switching are those of :class:`kws.bank.Bank` (:mod:`kws.languages`). Its scores equal
those of a network with the adapter merged in, whose tensors :func:`merged` returns. A loaded
language costs the memory of its own numbers, and of two integers a tensor (:mod:`kws.vector`). How
features and networks are computed is passed in.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .adapter import Adapter, check_head
from .base import BaseConfig, check_classes
from .config import HEAD
from .engine import HopScorer, WindowScorer
from .errors import KwsError
from .files import Arrays
from .languages import AdapterBank
from .vector import WeightVector

Array = NDArray[np.float32]


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
        tensors = {name: array.astype(np.float32, copy=False) for name, array in tensors.items()}
        self._front_end = front_end
        self._clips = front_end()
        self.network = build(config, tensors)
        _check_order(self.network.names)
        weights = WeightVector.of({name: tensors[name] for name in self.network.names})
        check_classes(config, tensors)
        super().__init__(config, weights, (tensors[f"{HEAD}.weight"], tensors[f"{HEAD}.bias"]))
        self._activate(None)

    def _put(self, weight: Array, bias: Array) -> None:
        self.network.put(self._live, weight, bias)

    def scores(self, view: Array) -> Array:
        """One view of sound ``[T]`` to probabilities ``[K]``; nothing was before it.

        Raises:
            KwsError: the sound is shorter or longer than a view.

        """
        network = self.network
        return network.hear(network.start(), self._clips.clip(self._clean_view(view)))

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
    weights = WeightVector.of({name: base[name] for name in owned})
    vector = weights.vector.copy()
    weights.add(adapter, weights.plan(adapter), vector)
    parts = np.split(vector, np.cumsum([base[name].size for name in owned])[:-1])
    pairs = zip(owned, parts, strict=True)
    head = adapter.head_weight.astype(np.float32), adapter.head_bias.astype(np.float32)
    return {
        **base,
        **{name: part.reshape(base[name].shape) for name, part in pairs},
        f"{HEAD}.weight": head[0],
        f"{HEAD}.bias": head[1],
    }


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
