"""The network as compiled code: ``bcresnet.c``, where the installation could build it."""

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.base import BaseConfig
from kws.errors import KwsError
from kws.files import Arrays
from kws.native import address, open_library

from .folded import Array, Folded, fold, packed_statistics, weight_names
from .layout import MELS

MAX_BLOCKS: Final = 32  # as in bcresnet.h
MAX_SIZE: Final = 4_096  # as there, of frames too


@dataclass(frozen=True)
class Shape:
    """A network's form as the compiled code takes it.

    ``blocks`` has of each block the channels in and out, the stride over frequency, and the
    dilation.
    """

    causal: bool
    span: int
    stem: int
    last: int
    classes: int
    blocks: tuple[tuple[int, int, int, int], ...]

    def packed(self) -> NDArray[np.int32]:
        """The C structure of that name."""
        packed = np.zeros(6 + 4 * MAX_BLOCKS, np.int32)
        packed[:6] = self.causal, self.span, self.stem, self.last, self.classes, len(self.blocks)
        packed[6 : 6 + 4 * len(self.blocks)] = np.array(self.blocks).ravel()
        return packed


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled code, or None where there is none."""
    found = open_library(Path(__file__).with_name("_bcresnet"))
    if found is not None:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        found.kws_sizes.argtypes = (pointer, size, pointer)
        found.kws_hear.argtypes = (pointer, pointer, pointer, pointer, pointer, size, pointer)
        found.kws_needs.argtypes = (pointer, size, pointer)
        found.kws_fold.argtypes = (pointer,) * 4
        found.kws_trunk.argtypes = (pointer, pointer, pointer, size, size, pointer, pointer)
        found.kws_gradient.argtypes = (pointer,) * 4 + (size, size, pointer, pointer)
        found.kws_unfold.argtypes = (pointer,) * 5
    return found


class Compiled:
    """A folded network in compiled code, with the weights it has. A stream's state is the caller's.

    Calls come one at a time: they share buffers.

    Attributes:
        causal: whether decisions depend on the state.
        history: frames ``[F, history]`` that a decision depends on.

    Raises:
        KwsError: the code was not built, or the network is none that it can run.

    """

    def __init__(self, network: Folded) -> None:
        found = library()
        if found is None:
            raise KwsError("the compiled network is not there; install again with a C compiler")
        self.causal, self.history = network.causal, network.history
        self._shape, self._weights = _shape(network).packed(), _packed(network)
        sizes = np.zeros(3, np.int64)
        if (
            found.kws_sizes(self._shape.ctypes.data, network.span, sizes.ctypes.data)
            or sizes[0] != self._weights.size
        ):
            raise KwsError(
                "the compiled network cannot run this network; pretrain or copy it again"
            )
        self._state_size = int(sizes[1])
        self._scratch = np.empty(int(sizes[2]), np.float32)
        self._scores = np.empty(len(network.head[1]), np.float32)
        self._state = self.start()  # the one heard last
        self._state_at = self._state.ctypes.data
        self._hear = found.kws_hear
        self._locate()

    def _locate(self) -> None:
        arrays = self._shape, self._weights, self._scratch, self._scores
        self._at = tuple(array.ctypes.data for array in arrays)

    def start(self) -> Array:
        """A state in which nothing was heard, not even silence."""
        return np.zeros(self._state_size, np.float32)

    def hear(self, state: Array, features: Array) -> Array:
        """Take frames ``[F, n]``; return the probabilities ``[K]`` at the last of them.

        A causal network continues from ``state`` and updates it in place. Any other network decides
        from these frames alone; it caches early layers in ``state``, and reuses them if the frames
        are those of the call before moved on by eight, as at a decision every 80 ms.

        Raises:
            KwsError: the frames or the state do not fit the network.

        """
        if not (features.flags.c_contiguous and features.dtype == np.float32):
            features = np.ascontiguousarray(features, np.float32)
        if state is not self._state:  # what was heard last was checked then
            if state.shape != (self._state_size,):
                raise KwsError(f"a state {state.shape} of another network")
            if not (state.flags.carray and state.dtype == np.float32):
                raise KwsError("a state is float32 as start() gives it, in one piece and writable")
            self._state, self._state_at = state, state.ctypes.data
        if features.ndim != 2 or len(features) != MELS:
            raise KwsError(f"frames {features.shape} of another network")
        n = features.shape[1]
        shape, weights, scratch, scores = self._at
        if self._hear(
            shape, weights, self._state_at, scratch, address(features), n, scores
        ):  # fmt: skip
            raise KwsError(f"a decision takes {self.history} frames, not {n}")
        return self._scores.copy()


class CompiledNetwork(Compiled):
    """The network of a base, for the weights of one language after another.

    Attributes:
        names: of the weights in the vector that :meth:`put` takes.

    Args:
        config: of the base.
        tensors: of the base, by name; their statistics are those of every language.

    """

    def __init__(self, config: BaseConfig, tensors: Arrays) -> None:
        super().__init__(fold(config, tensors))
        found = library()
        assert found is not None
        self.names, self._statistics = weight_names(tensors), packed_statistics(tensors)
        self._fold = found.kws_fold
        needs = np.zeros(4, np.int64)
        found.kws_needs(self._shape.ctypes.data, config.features.frames, needs.ctypes.data)
        raw, normalised, self._trunk, _ = needs.tolist()
        sizes = sum(tensors[name].size for name in self.names), self._statistics.size
        if sizes != (raw, normalised):  # it would read beyond them
            raise KwsError("the compiled code is of another network; install this version again")

    def put(self, vector: Array, weight: Array, bias: Array) -> None:
        """Hear with these weights from now on: ``[n]``, and the head's ``[K, D], [K]``."""
        if len(bias) != len(self._scores):
            self._shape[4] = len(bias)
            self._weights = np.empty(self._trunk + weight.size + bias.size, np.float32)
            self._scores = np.empty(len(bias), np.float32)
            self._locate()
        shape, weights, *_ = self._at
        self._fold(shape, vector.ctypes.data, self._statistics.ctypes.data, weights)
        head = self._weights[self._trunk :]
        head[: weight.size], head[weight.size :] = weight.ravel(), bias


def _shape(network: Folded) -> Shape:
    classes, last = network.head[0].shape
    blocks = tuple((b.channels, len(b.point), b.stride, b.dilation) for b in network.blocks)
    return Shape(network.causal, network.span, len(network.stem[1]), last, classes, blocks)


def _packed(network: Folded) -> Array:
    """All weights in the order in which they are used."""
    arrays = [*network.stem]
    for block in network.blocks:
        taps, scale, shift = block.frequency
        filters = taps[:, None] * scale[:, :, None]  # [O, bands, 3]
        arrays += [*(block.widen or ()), filters, shift, *block.time, block.point]
    arrays += [network.neck, *network.last, *network.head]
    return np.concatenate([array.ravel() for array in arrays])
