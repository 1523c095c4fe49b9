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

INTERFACE: Final = 2  # as in bcresnet.h
MAX_BLOCKS: Final = 32  # as there
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
    """The compiled code, or None where there is none.

    Raises:
        KwsError: it was built of another version, and would write where it should not.

    """
    found = open_library(Path(__file__).with_name("_bcresnet"))
    if found is not None:
        if not hasattr(found, "kws_interface") or found.kws_interface() != INTERFACE:
            raise KwsError("the compiled code is of another version; install this one again")
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        found.kws_sizes.argtypes = (pointer, size, pointer)
        found.kws_hear.argtypes = (pointer, pointer, pointer, pointer, pointer, size, pointer)
        found.kws_needs.argtypes = (pointer, size, pointer)
        found.kws_fold.argtypes = (pointer,) * 4
        found.kws_trunk.argtypes = (pointer, pointer, pointer, size, size, pointer, pointer)
        found.kws_gradient.argtypes = (pointer,) * 4 + (size, size, pointer, pointer)
        found.kws_unfold.argtypes = (pointer,) * 5
    return found


class CompiledNetwork:
    """The network of a base as compiled code, for one language after another.

    Calls come one at a time: they share buffers. A stream's state is the caller's.

    Attributes:
        causal: whether decisions depend on the state.
        history: frames ``[F, history]`` that a decision depends on.
        names: of the weights in the vector that :meth:`put` takes.

    Args:
        config: of the base.
        tensors: of the base, by name; their statistics are those of every language.

    Raises:
        KwsError: the code was not built, or the network is none that it can run.

    """

    def __init__(self, config: BaseConfig, tensors: Arrays) -> None:
        network = fold(config, tensors)
        found = library()
        if found is None:
            raise KwsError("the compiled network is not there; install again with a C compiler")
        self.causal, self.history = network.causal, network.history
        self.names, self._statistics = weight_names(tensors), packed_statistics(tensors)
        self._shape = _shape(network).packed()
        sizes, needs = np.zeros(2, np.int64), np.zeros(4, np.int64)
        shape = self._shape.ctypes.data
        if found.kws_sizes(shape, network.span, sizes.ctypes.data):
            raise KwsError(
                "the compiled network cannot run this network; pretrain or copy it again"
            )
        found.kws_needs(shape, network.span, needs.ctypes.data)
        vector = np.concatenate([tensors[name].ravel() for name in self.names], dtype=np.float32)
        if needs[:2].tolist() != [vector.size, self._statistics.size]:  # it would read beyond them
            raise KwsError("the compiled code is of another network; install this version again")
        self._state_size, scratch = sizes.tolist()
        self._trunk = int(needs[2])  # floats of all folded weights but the head's
        self._scratch = np.empty(scratch, np.float32)
        self._hear, self._fold = found.kws_hear, found.kws_fold
        self._state = self.start()  # the one heard last
        self._state_at = self._state.ctypes.data
        self._make_room(*network.head)
        self.put(vector, *network.head)

    def _make_room(self, weight: Array, bias: Array) -> None:
        """Room for the weights and scores of a head of this size."""
        self._shape[4] = len(bias)
        self._weights = np.empty(self._trunk + weight.size + bias.size, np.float32)
        self._scores = np.empty(len(bias), np.float32)
        arrays = self._shape, self._weights, self._scratch, self._scores
        self._at = tuple(array.ctypes.data for array in arrays)

    def put(self, vector: Array, weight: Array, bias: Array) -> None:
        """Hear with these weights from now on: ``[n]``, and the head's ``[K, D], [K]``."""
        if len(bias) != len(self._scores):
            self._make_room(weight, bias)
        shape, weights, *_ = self._at
        self._fold(shape, vector.ctypes.data, self._statistics.ctypes.data, weights)
        head = self._weights[self._trunk :]
        head[: weight.size], head[weight.size :] = weight.ravel(), bias

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
        refused = self._hear(shape, weights, self._state_at, scratch, address(features), n, scores)
        if refused:
            least = "at least one frame" if self.causal else f"{self.history} frames"
            raise KwsError(f"a decision takes {least}, not {n}")
        return self._scores.copy()


def _shape(network: Folded) -> Shape:
    classes, last = network.head[0].shape
    blocks = tuple((b.channels, len(b.point), b.stride, b.dilation) for b in network.blocks)
    return Shape(network.causal, network.span, len(network.stem[1]), last, classes, blocks)
