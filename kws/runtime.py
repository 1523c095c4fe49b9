"""The bank that listens: one base and many languages, without torch.

Its verbs are those of :class:`kws.bank.Bank`, its scores those of the network with the adapter
merged. There is one network: switching copies the base's weights, adds the language's deltas, and
puts them there, so that a loaded language costs its own numbers alone. How features and networks
are computed is passed in.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .adapter import Adapter, Piece, numbers_of, pieces
from .base import BaseConfig
from .engine import Ear, Views
from .errors import KwsError
from .files import Arrays
from .languages import Languages
from .templates import Templates

HEAD: Final = "head"  # as in kws/sites.py, which needs torch
Array = NDArray[np.float32]


class Network(Protocol):
    """A base's network for one language after another; a stream's state goes in and is changed."""

    causal: bool
    history: int  # frames that a decision depends on
    names: tuple[str, ...]  # of the base's tensors that a language may change, as `put` takes them

    def put(self, vector: Array, weight: Array, bias: Array) -> None:
        """Hear with these weights from now on: all but the head's ``[n]``, ``[K, D]``, ``[K]``."""
        ...

    def start(self) -> Array:
        """A state in which nothing was heard, not even silence."""
        ...

    def hear(self, state: Array, features: Array) -> Array:
        """Take frames ``[F, n]``; return the probabilities ``[K]`` at the last of them.

        A causal network goes on from ``state``; another sees the ``history`` frames given, alone,
        and may keep in it what saves time at the next, heard with the same weights.
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


class Runtime(Languages):
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
        self._shapes, self._spans = _layout(self.network.names, tensors)
        self._base = np.concatenate([tensors[name].ravel() for name in self.network.names])
        self._live = self._base.copy()
        self._templates = Templates(
            {
                place: self._base[self._spans[place]].reshape(shapes[0])
                for place, shapes in self._shapes.items()
                if len(shapes) == 1
            }
        )
        self._head = tensors[f"{HEAD}.weight"], tensors[f"{HEAD}.bias"]
        self._activate(None)

    @property
    def active(self) -> Adapter | None:
        """The adapter that is heard; None is the base as it is."""
        return self._active

    def _admit(self, adapter: Adapter) -> None:
        _check_head(adapter, self._head[0])
        self._pieces(adapter)

    def _pieces(self, adapter: Adapter) -> tuple[Piece, ...]:
        """Found anew at every switch: they hold more than the numbers."""
        return pieces(adapter, self._shapes, self._templates)

    def _activate(self, adapter: Adapter | None) -> None:
        self._live[:] = self._base
        head = self._head
        if adapter is not None:
            found = self._pieces(adapter)
            deltas = numbers_of(adapter, found)
            for piece in found:
                self._live[self._spans[piece.place]][piece.where] += piece.changes(deltas)
            head = adapter.head_weight.astype(np.float32), adapter.head_bias.astype(np.float32)
        self.network.put(self._live, *head)
        super()._activate(adapter)

    def scores(self, view: Array) -> Array:
        """One second of sound ``[16000]`` to probabilities ``[K]``; nothing was before it."""
        if view.shape != (self.config.features.view,):
            raise KwsError(f"a view has {self.config.features.view} samples, not {view.shape}")
        network = self.network
        return network.hear(network.start(), self._clips.clip(view))

    def ear(self, hop: int) -> Ear:
        """What hears a stream with a decision every ``hop`` samples."""
        if hop % self.config.features.hop:
            if self.network.causal:
                raise KwsError(f"decisions must fall on frames, not every {hop} samples")
            return Views(self, hop)  # views that begin between two frames share none
        return Streaming(self, self._front_end(), hop // self.config.features.hop)


class Streaming:
    """An ear that computes each frame's features once, and a causal network's layers too.

    It follows the bank's active language. What a causal network remembers depends on the language;
    after a change the frames that it still depends on are heard once more.

    Args:
        bank: whose active language is heard.
        front_end: of this stream alone.
        frames: that every hop ends.

    """

    def __init__(self, bank: Runtime, front_end: FrontEnd, frames: int) -> None:
        self._bank = bank
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
        KwsError: the adapter names other sites than the base has.

    """
    tensors = dict(base)
    places = {name.removesuffix(".weight") for name in base if name.endswith(".weight")} - {HEAD}
    names = {p: [n for n in (f"{p}.weight", f"{p}.bias") if n in base] for p in places}
    shapes = {place: [base[name].shape for name in found] for place, found in names.items()}
    alone = {place: base[found[0]] for place, found in names.items() if len(found) == 1}
    changed = pieces(adapter, shapes, Templates(alone))
    deltas = numbers_of(adapter, changed)
    for piece in changed:
        found = [tensors[name] for name in names[piece.place]]
        weights = np.concatenate([tensor.reshape(-1) for tensor in found])
        weights[piece.where] += piece.changes(deltas)
        parts = np.split(weights, np.cumsum([tensor.size for tensor in found])[:-1])
        for name, part in zip(names[piece.place], parts, strict=True):
            tensors[name] = part.reshape(base[name].shape)
    _check_head(adapter, base[f"{HEAD}.weight"])
    return tensors | {
        f"{HEAD}.weight": adapter.head_weight.astype(np.float32),
        f"{HEAD}.bias": adapter.head_bias.astype(np.float32),
    }


def _check_head(adapter: Adapter, weight: Array) -> None:
    if adapter.head_weight.shape[1] != weight.shape[1]:
        raise KwsError(
            f"the adapter for {adapter.config.language} has a head of another width than the base"
        )


def _layout(
    names: Sequence[str], tensors: Arrays
) -> tuple[dict[str, list[tuple[int, ...]]], dict[str, slice]]:
    """Of every place the shapes of its tensors, and where they lie in the vector of all."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    spans: dict[str, slice] = {}
    start = 0
    for name in names:
        place, stop = name.rpartition(".")[0], start + tensors[name].size
        shapes.setdefault(place, []).append(tensors[name].shape)
        spans[place] = slice(spans[place].start if place in spans else start, stop)
        start = stop
    return shapes, spans
