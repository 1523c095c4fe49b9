"""The network in ONNX Runtime: one session for every language, whose weights are its inputs."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from kws.errors import KwsError
from kws.files import read_bytes

from .folded import Array, Folded, weights

FILE: Final = "base_model.onnx"  # beside the base's weights
CPU: Final = "cpu"


def open_session(path: Path) -> Any:
    """A session of one thread that does not spin while it waits.

    Raises:
        KwsError: the file is missing or cannot be run.

    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            read_bytes(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        if isinstance(error, KwsError):
            raise
        raise KwsError(f"{path} cannot be run ({error}); make it again with kws export") from error


class SessionNetwork:
    """One language's network on a session of the base's; it keeps no state.

    Attributes:
        causal: whether a state goes on.
        history: frames ``[F, history]`` that a decision depends on.

    """

    def __init__(self, session: Any, network: Folded) -> None:
        self.causal, self.history = network.causal, network.history
        self._session, self._binding = session, session.io_binding()
        given = {one.name: one.shape for one in session.get_inputs()}
        named = weights(network)
        stateful = network.causal == ("state" in given)
        if not stateful or set(given) - {"state", "features"} != set(named):
            raise KwsError("the exported network is another than the base's; kws export it again")
        for name, array in named.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            self._binding.bind_ortvalue_input(name, value)
        self._state_size = given["state"][0] if network.causal else 0

    def start(self) -> Array:
        """A state in which nothing was heard, not even silence."""
        return np.zeros(self._state_size, np.float32)

    def hear(self, state: Array, features: Array) -> Array:
        """Take frames ``[F, n]``; return the probabilities ``[K]`` at the last of them.

        A causal network goes on from ``state``, which is changed; another sees these frames alone.
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
