"""The network as an ONNX graph, with the weights of :mod:`models.folded`. Needs onnx.

Two files come of it: the base's, whose weights are inputs, so that one session serves every
language; and a language's own, with weights, front end and labels inside, which needs nothing
else of this project.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kws.config import LOUDEST

from .folded import Array, Folded, graph_weights, state_shapes
from .layout import MELS, REACH
from .session import session_of

OPSET: Final = 17
IR: Final = 8
END: Final = np.iinfo(np.int64).max  # of any axis


class Graph:
    """Nodes in the making; every method returns the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: dict[bytes, str] = {}
        self._prefix = ""

    def branch(self, name: str) -> "Graph":
        """What an ``If`` may run: nodes of its own, the constants of all."""
        branch = Graph()
        branch.constants, branch._names, branch._prefix = self.constants, self._names, name
        return branch

    def giving(self, *outputs: str) -> onnx.GraphProto:
        """A branch that is done, with its outputs."""
        floats = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        return helper.make_graph(self.nodes, self._prefix, [], floats)

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """One node; the name of its output, or a list where there are several."""
        names = [f"{self._prefix}{kind}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, name: str = "") -> str:
        """An initializer; integers are those of shapes."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = array.dtype.str.encode() + str(array.shape).encode() + array.tobytes()
        if name or key not in self._names:
            self._names[key] = name or f"constant{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._names[key]))
        return self._names[key]

    def last(self, x: str, count: int, axis: int) -> str:
        """The last of an axis."""
        ends = self.constant([END]), self.constant([axis])
        at: str = self.add("Slice", x, self.constant([-count]), *ends)
        return at

    def reshape(self, x: str, *shape: int) -> str:
        """Another shape; -1 is what is left."""
        name: str = self.add("Reshape", x, self.constant(list(shape)))
        return name


class _State:
    """One vector, taken apart at the begin and put together from what comes after."""

    def __init__(self, graph: Graph, shapes: list[tuple[int, ...]], name: str) -> None:
        self._graph = graph
        sizes = [math.prod(shape) for shape in shapes]
        self.size = sum(sizes)
        parts = graph.add("Split", name, graph.constant(sizes), outputs=len(sizes), axis=0)
        reshaped = [graph.reshape(x, *shape) for x, shape in zip(parts, shapes, strict=True)]
        self._before = iter(zip(reshaped, shapes, strict=True))
        self._after: list[str] = []

    def seen(self, x: str) -> str:
        """What came before, then x, on the last axis."""
        before, shape = next(self._before)
        axis = len(shape) - 1
        seen: str = self._graph.add("Concat", before, x, axis=axis)
        self._after.append(self._graph.reshape(self._graph.last(seen, shape[-1], axis), -1))
        return seen

    def after(self) -> str:
        """The state that follows."""
        name: str = self._graph.add("Concat", *self._after, axis=0)
        return name


def base_model(network: Folded) -> bytes:
    """Features ``[F, n]``, state and weights to scores ``[n, K]`` and state.

    A network that is not causal has no state and gives one row. It is heard by
    :class:`models.session.SessionNetwork`.
    """
    graph = Graph()
    inputs: list[tuple[str, tuple[object, ...]]] = [
        ("features", (MELS, "n" if network.causal else network.span))
    ]
    for name, array in graph_weights(network).items():
        shape = ("K", *array.shape[1:]) if name.startswith("head") else array.shape
        inputs.append((name, shape))
    scores, after, size = _network(graph, network, "features", "state")
    return _model(graph, inputs, scores, after, size, {})


def language_model(
    network: Folded, front: Mapping[str, Array], hop: int, metadata: Mapping[str, object]
) -> bytes:
    """Sound and state to scores and state, with everything inside.

    Args:
        network: of the language.
        front: the front end's matrices: ``dft`` ``[2 * bins, window]`` with the window in it,
            ``mel`` ``[F, bins]`` divided by the floor, and ``scale``.
        hop: samples of one frame.
        metadata: kept in the file as JSON.

    """
    graph = Graph()
    for name, array in graph_weights(network).items():
        graph.constant(array, name)
    made = _stream if network.causal else _view
    return _model(graph, [("audio", ("N",))], *made(graph, network, front, hop), metadata)


def settled(network: Folded) -> Array:
    """The state of a causal network that has heard silence for ever, in which features are zero."""
    session = session_of(base_model(network))
    (size,) = next(one.shape for one in session.get_inputs() if one.name == "state")
    silence = {
        "features": np.zeros((MELS, network.history), np.float32),
        "state": np.zeros(size, np.float32),
    }
    (state,) = session.run(["next_state"], silence | graph_weights(network))
    heard: Array = state
    return heard


def _view(
    graph: Graph, network: Folded, front: Mapping[str, Array], hop: int
) -> tuple[str, str, int]:
    """Scores of the last second; the state is its sound."""
    view = (network.span - 1) * hop + front["dft"].shape[1]
    heard = graph.last(graph.add("Concat", "state", _finite(graph, "audio"), axis=0), view, 0)
    scores, _, _ = _network(graph, network, _features(graph, front, heard, hop), "")
    return scores, heard, view


def _stream(
    graph: Graph, network: Folded, front: Mapping[str, Array], hop: int
) -> tuple[str, str, int]:
    """Scores of every frame that is whole.

    The state is the last sound, one more than the samples of it that begin the next frame, and what
    the network remembers. So a state of zeros is that of a stream that begins, after silence.
    """
    window, first = front["dft"].shape[1], settled(network)
    kept = window - 1  # samples
    sizes = graph.constant([kept, 1, first.size])
    heard, held, inner = graph.add("Split", "state", sizes, outputs=3, axis=0)
    goes_on = graph.add("Greater", held, graph.constant([0.0]))
    before = graph.add("Sub", held, graph.constant([1.0]))
    held = graph.add("Where", goes_on, before, graph.constant([float(kept // hop * hop)]))
    inner = graph.add("Where", goes_on, inner, graph.constant(first))
    held = graph.add("Cast", held, to=TensorProto.INT64)
    total = graph.add("Add", held, graph.add("Shape", "audio"))
    begun = graph.add("Sub", total, graph.constant([window - hop]))
    frames = graph.add("Div", begun, graph.constant([hop]))
    joined = graph.add("Concat", heard, _finite(graph, "audio"), axis=0)
    start = graph.add("Sub", graph.constant([kept]), held)
    some, none = graph.branch("some"), graph.branch("none")
    sound = some.add("Slice", joined, start, some.constant([END]), some.constant([0]))
    scores, after, _ = _network(some, network, _features(some, front, sound, hop), inner)
    nothing = none.constant(np.zeros((0, len(network.head[1]))))
    same = none.add("Identity", nothing), none.add("Identity", inner)
    scores, after = graph.add(
        "If", graph.add("Greater", frames, graph.constant([0])), outputs=2,
        then_branch=some.giving(scores, after), else_branch=none.giving(*same),
    )  # fmt: skip
    left = graph.add("Sub", total, graph.add("Mul", frames, graph.constant([hop])))
    left = graph.add("Add", left, graph.constant([1]))
    left = graph.add("Cast", left, to=TensorProto.FLOAT)
    after = graph.add("Concat", graph.last(joined, kept, 0), left, after, axis=0)
    return scores, after, kept + 1 + first.size


def _finite(graph: Graph, sound: str) -> str:
    """Sound in which samples that are no number are silence, and none is too loud, as engines hear.

    They would stay in the state.
    """
    odd = graph.add("Or", graph.add("IsNaN", sound), graph.add("IsInf", sound))
    finite = graph.add("Where", odd, graph.constant(0.0), sound)
    bounds = graph.constant(-LOUDEST), graph.constant(LOUDEST)
    bounded: str = graph.add("Clip", finite, *bounds)
    return bounded


def _features(graph: Graph, front: Mapping[str, Array], sound: str, hop: int) -> str:
    """Samples ``[T]`` to features of the frames that are whole, ``[F, n]``."""
    dft, bins = graph.constant(front["dft"][:, None]), len(front["dft"]) // 2
    spectrum = graph.add("Conv", graph.reshape(sound, 1, 1, -1), dft, strides=[hop])
    squares = graph.add("Mul", spectrum, spectrum)  # [1, 2 bins, n]
    halves = graph.add("Split", squares, graph.constant([bins, bins]), outputs=2, axis=1)
    power = graph.reshape(graph.add("Add", *halves), bins, -1)
    mel = graph.add("MatMul", graph.constant(front["mel"]), power)
    loud = graph.add("Log", graph.add("Add", mel, graph.constant(1.0)))
    features: str = graph.add("Mul", loud, graph.constant(front["scale"]))
    return features


def _network(graph: Graph, network: Folded, features: str, state: str) -> tuple[str, str, int]:
    """Names of scores ``[n, K]`` and of the state after ``state``, and the state's size."""
    memory = _State(graph, state_shapes(network), state) if network.causal else None
    x = graph.reshape(features, 1, 1, MELS, -1)
    x = _over_time(graph, memory, x, "stem", REACH, pads=2, stride=2, bias=True)
    x = graph.add("Relu", x)
    for index, block in enumerate(network.blocks):
        b, out, shortcut = f"block{index}", len(block.point), x
        if block.widen:
            x = graph.add("Relu", graph.add("Conv", x, f"{b}.widen.w", f"{b}.widen.b"))
        x = graph.add(
            "Conv", x, f"{b}.frequency.w", group=out, pads=[1, 0, 1, 0], strides=[block.stride, 1]
        )  # fmt: skip
        wide = graph.add("Mul", x, f"{b}.frequency.scale")
        wide = graph.add("Add", wide, f"{b}.frequency.b")
        mean = graph.add("ReduceMean", wide, axes=[2], keepdims=1)
        reach, dilation = block.reach, block.dilation
        y = _over_time(
            graph, memory, mean, f"{b}.time", reach, group=out, dilation=dilation, bias=True
        )
        y = graph.add("Mul", y, graph.add("Sigmoid", y))
        y = graph.add("Conv", y, f"{b}.point")
        y = graph.add("Add", wide, y)
        x = graph.add("Relu", y if block.widen else graph.add("Add", y, shortcut))
    x = _over_time(graph, memory, x, "neck", REACH, group=len(network.neck))
    x = graph.add("Relu", graph.add("Conv", x, "last.w", "last.b"))
    width = network.head[0].shape[1]
    x = graph.reshape(x, 1, width, -1)
    x = memory.seen(x) if memory else x
    x = graph.add("AveragePool", x, kernel_shape=[network.span])  # [1, D, n]
    x = graph.add("Transpose", graph.reshape(x, width, -1), perm=[1, 0])
    x = graph.add("Gemm", x, "head.w", "head.b", transB=1)
    scores = graph.add("Softmax", x, axis=1)
    return scores, memory.after() if memory else "", memory.size if memory else 0


def _over_time(
    graph: Graph,
    state: _State | None,
    x: str,
    name: str,
    reach: int,
    *,
    pads: int = 0,
    stride: int = 1,
    group: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> str:
    beside = 0 if state else reach // 2
    inputs = [state.seen(x) if state else x, f"{name}.w", *([f"{name}.b"] if bias else [])]
    y: str = graph.add(
        "Conv", *inputs, pads=[pads, beside, pads, beside], strides=[stride, 1], group=group,
        dilations=[1, dilation],
    )  # fmt: skip
    return y


def _model(
    graph: Graph,
    inputs: list[tuple[str, tuple[Any, ...]]],
    scores: str,
    after: str,
    size: int,
    metadata: Mapping[str, object],
) -> bytes:
    nodes = [*graph.nodes, helper.make_node("Identity", [scores], ["scores"])]
    outputs: list[tuple[str, tuple[Any, ...]]] = [("scores", ("frames", "classes"))]
    if size:
        nodes.append(helper.make_node("Identity", [after], ["next_state"]))
        inputs = [*inputs, ("state", (size,))]
        outputs.append(("next_state", (size,)))
    made = helper.make_graph(
        nodes,
        "kws",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(
        model, {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
