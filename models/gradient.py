"""The trunk with fixed statistics, and its gradient, as compiled code: what a language learns with.

PyTorch computes the same layer by layer, each of which reads and writes all clips of a batch;
``gradient.c`` takes a clip through all layers and back while it is in the processor's cache.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kws.config import HEAD

from .compiled import MAX_SIZE, Shape, library
from .layout import MELS

if TYPE_CHECKING:
    from .bcresnet import BCResNet

TOLERANCE: Final = 1e-4  # of a gradient's largest value; sums over clips and frames differ in order
PIECE: Final = 4  # clips whose gradient is summed by itself, so that threads change no sum


def can_learn(network: "BCResNet", features: Tensor) -> bool:
    """Whether :func:`trunk` can stand in for PyTorch.

    It can where compiled code was built, in evaluation mode, on the CPU and in float32, if
    gradients of weights are wanted but none of the features, which are ``[B, F, T]`` with at most
    ``MAX_SIZE`` frames.
    """
    if network.training or not torch.is_grad_enabled() or library() is None:
        return False
    weights = _weights(network)
    return (
        not features.requires_grad
        and features.ndim == 3
        and features.shape[1] == MELS
        and 0 < features.shape[2] <= MAX_SIZE
        and network.span <= MAX_SIZE
        and all(one.dtype == torch.float32 and one.is_cpu for one in (features, *weights))
        and any(weight.requires_grad for weight in weights)
    )


def trunk(network: "BCResNet", features: Tensor) -> Tensor:
    """:meth:`BCResNet.trunk` of a network that :func:`can_learn`: ``[B, F, T] -> [B, D, T]``."""
    statistics = torch.cat([s for m in network.modules() for s in _statistics(m)])
    raw = torch.cat([weight.reshape(-1) for weight in _weights(network)])
    found: Tensor = _Trunk.apply(  # type: ignore[no-untyped-call]
        _Code(network.shape), statistics, features, raw
    )
    return found


def _weights(network: "BCResNet") -> list[Tensor]:
    """All but the head's, in the order of the network's modules."""
    return [p for name, p in network.named_parameters() if not name.startswith(f"{HEAD}.")]


def _statistics(layer: nn.Module) -> tuple[Tensor, ...]:
    """A normalisation's mean and one over its deviation; of other layers nothing."""
    if not isinstance(layer, nn.BatchNorm2d):
        return ()
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, (layer.running_var + layer.eps).rsqrt()


class _Code:
    """The compiled functions for one network's shape."""

    def __init__(self, shape: Shape) -> None:
        found = library()
        assert found is not None
        self.library, self.last, self.shape = found, shape.last, shape.packed()

    def needs(self, frames: int) -> NDArray[np.int64]:
        """Floats of raw weights, statistics, folded weights and scratch."""
        sizes, needs = np.zeros(2, np.int64), np.zeros(4, np.int64)
        refused = self.library.kws_sizes(self.shape.ctypes.data, frames, sizes.ctypes.data)
        assert not refused, "a shape that the compiled code does not know"
        self.library.kws_needs(self.shape.ctypes.data, frames, needs.ctypes.data)
        return needs


class _Trunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, code: _Code, statistics: Tensor, features: Tensor, raw: Tensor) -> Tensor:
        features, frames = features.contiguous(), features.shape[2]
        needs = code.needs(frames)
        assert list(needs[:2]) == [len(raw), len(statistics)]
        folded = raw.new_empty(int(needs[2]))
        shape = code.shape.ctypes.data
        code.library.kws_fold(shape, raw.data_ptr(), statistics.data_ptr(), folded.data_ptr())
        out = features.new_empty(len(features), code.last, frames)

        def run(clips: slice) -> None:
            scratch = np.empty(int(needs[3]), np.float32)
            some, to = features[clips], out[clips]
            code.library.kws_trunk(
                shape, folded.data_ptr(), some.data_ptr(), len(some), frames,
                scratch.ctypes.data, to.data_ptr(),
            )  # fmt: skip

        _share_out(run, len(features))
        ctx.code, ctx.scratch = code, int(needs[3])
        ctx.save_for_backward(statistics, features, raw, folded)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, Tensor]:
        if torch.is_grad_enabled():  # as with create_graph=True
            raise RuntimeError("the compiled code cannot be differentiated twice")
        statistics, features, raw, folded = ctx.saved_tensors
        grad = grad.contiguous()
        code: _Code = ctx.code
        shape, pieces = code.shape.ctypes.data, -(-len(features) // PIECE)
        grads = folded.new_zeros(pieces, len(folded))

        def run(clips: slice) -> None:
            scratch = np.empty(ctx.scratch, np.float32)
            some, of, to = features[clips], grad[clips], grads[clips.start // PIECE]
            code.library.kws_gradient(
                shape, folded.data_ptr(), some.data_ptr(), of.data_ptr(), len(some),
                some.shape[2], scratch.ctypes.data, to.data_ptr(),
            )  # fmt: skip

        _share_out(run, len(features))
        found, total = torch.zeros_like(raw), grads.sum(0)
        code.library.kws_unfold(
            shape, raw.data_ptr(), statistics.data_ptr(), total.data_ptr(), found.data_ptr()
        )
        return None, None, None, found


def _share_out(run: Callable[[slice], None], clips: int) -> None:
    """Run all pieces in as many threads as PyTorch would."""
    pieces = [slice(start, min(start + PIECE, clips)) for start in range(0, clips, PIECE)]
    threads = min(torch.get_num_threads(), len(pieces))
    if threads > 1:
        list(_threads(threads).map(run, pieces))
    else:
        for piece in pieces:
            run(piece)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="gradient")
