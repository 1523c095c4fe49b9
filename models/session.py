"""The network in ONNX Runtime: one session for every language, whose weights are its inputs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from kws.base import BaseConfig
from kws.errors import KwsError
from kws.files import Arrays, read_bytes

from .folded import (
    Array,
    Folded,
    fold,
    fold_unchecked,
    graph_weights,
    state_shapes,
    weight_names,
    with_deviations,
)
from .layout import MELS

FILE: Final = "base_model.onnx"  # beside the base's weights
CPU: Final = "cpu"


def session_of(model: bytes) -> Any:
    """A session of one thread that does not spin while it waits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_session(path: Path) -> Any:
    """:func:`session_of` a file.

    Raises:
        KwsError: the file is missing or cannot be run.

    """
    model = read_bytes(path)
    try:
        return session_of(model)
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        raise KwsError(f"{path} cannot be run ({error}); make it again with kws export") from error


class SessionNetwork:
    """The network of a base on its session, for one language after another; state is the caller's.

    Attributes:
        causal: whether decisions depend on the state.
        history: frames ``[F, history]`` that a decision depends on.
        names: of the weights in the vector that :meth:`put` takes.

    Args:
        session: of the base's exported network.
        config: of the base.
        tensors: of the base, by name; their statistics are those of every language.

    """

    def __init__(self, session: Any, config: BaseConfig, tensors: Arrays) -> None:
        network = fold(config, tensors)
        self.causal, self.history, self.names = (
            network.causal,
            network.history,
            weight_names(tensors),
        )
        self._config = config
        self._shapes = {name: tensors[name].shape for name in self.names}
        stops = np.cumsum([tensors[name].size for name in self.names]).tolist()
        self._spans = list(zip([0, *stops], stops, strict=False))
        self._fixed = with_deviations(tensors)
        self._session, self._binding = session, session.io_binding()
        given = {one.name: one.shape for one in session.get_inputs()}
        told = [one.name for one in session.get_outputs()]
        wanted: dict[str, tuple[int | str, ...]] = {
            name: array.shape for name, array in graph_weights(network).items()
        }
        wanted["features"] = (MELS, "frames" if network.causal else network.span)
        size = sum(map(math.prod, state_shapes(network))) if network.causal else 0
        if network.causal:
            wanted["state"] = (size,)
        outputs = ["next_state", "scores"] if network.causal else ["scores"]
        if not (_alike(given, wanted) and sorted(told) == outputs):
            raise KwsError("the exported network is another than the base's; kws export it again")
        self._state_size = size
        self._bound: Arrays = {}
        self._bind(network)

    def put(self, vector: Array, weight: Array, bias: Array) -> None:
        """Hear with these weights from now on: ``[n]``, and the head's ``[K, D], [K]``."""
        exact = vector.astype(np.float64)  # as folding computes
        layout = zip(self._shapes.items(), self._spans, strict=True)
        found = {name: exact[a:b].reshape(shape) for (name, shape), (a, b) in layout}
        tensors: dict[str, NDArray[Any]] = self._fixed | found
        tensors |= {"head.weight": weight, "head.bias": bias}
        self._bind(fold_unchecked(self._config, tensors))

    def _bind(self, network: Folded) -> None:
        for name, array in graph_weights(network).items():
            if name in self._bound and self._bound[name].shape == array.shape:
                self._bound[name][:] = array  # the session reads it where it lies
                continue
            self._bound[name] = np.array(array, order="C")
            value = onnxruntime.OrtValue.ortvalue_from_numpy(self._bound[name])
            self._binding.bind_ortvalue_input(name, value)

    def start(self) -> Array:
        """A state in which nothing was heard, not even silence."""
        return np.zeros(self._state_size, np.float32)

    def hear(self, state: Array, features: Array) -> Array:
        """Take frames ``[F, n]``; return the probabilities ``[K]`` at the last of them.

        A causal network continues from ``state`` and updates it in place. Any other network decides
        from these frames alone.

        Raises:
            KwsError: the network is not causal, and the frames are not those of one view.

        """
        if not self.causal and features.shape[1] != self.history:
            raise KwsError(f"a decision takes {self.history} frames, not {features.shape[1]}")
        self._binding.bind_cpu_input("features", np.ascontiguousarray(features, np.float32))
        if self.causal:
            self._binding.bind_cpu_input("state", state)
            self._binding.bind_output("next_state", CPU)
        self._binding.bind_output("scores", CPU)  # anew: the number of frames may be another
        self._session.run_with_iobinding(self._binding)
        found = [value.numpy() for value in self._binding.get_outputs()]
        if self.causal:
            state[:] = found[0]
        last: Array = found[-1][-1]
        return last


def _alike(
    given: Mapping[str, Sequence[int | str]], wanted: Mapping[str, tuple[int | str, ...]]
) -> bool:
    """Whether a graph's inputs are these; dimensions that have names may be any."""
    return set(given) == set(wanted) and all(
        len(given[name]) == len(shape)
        and all(isinstance(a, str) or a == b for a, b in zip(given[name], shape, strict=True))
        for name, shape in wanted.items()
    )
