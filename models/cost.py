"""What a network computes, counted by running it rather than by trusting a formula."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode

from .bcresnet import BCResNet
from .layout import MELS
from .streaming import feed, initial_state


@torch.no_grad()
def macs(network: nn.Module, frames: int) -> int:
    """Multiply-accumulates of all convolutions and linear layers for one clip ``[1, F, frames]``.

    The paper's figures (3.1, 5.5, 8.5, 16.2, 53.1 and 89.1 million) are for 100 frames and count
    normalisations too; with these added, ours are within 5 % of them, as a test shows.

    >>> from .bcresnet import BCResNet
    >>> from .layout import TAUS
    >>> for tau in TAUS:
    ...     print(f"{tau} {macs(BCResNet(12, tau), frames=98):>10,}")
    1.0  2,408,440
    1.5  4,471,140
    2.0  7,106,160
    3.0 14,093,160
    6.0 48,789,840
    8.0 83,367,360

    """
    mode = network.training
    try:
        network.eval()
        return _counted(lambda: network(torch.zeros(1, MELS, frames)))
    finally:
        network.train(mode)


@torch.no_grad()
def stream_macs(network: BCResNet, frames: int = 1) -> int:
    """Multiply-accumulates of a stream's next frames, with a decision at each.

    Every frame costs the same, however many are fed at once. The means that the decisions are
    made of are additions and not counted: span times the network's width at each decision.

    >>> from .layout import TAUS
    >>> for tau in TAUS:  # of one frame, and of the 100 frames of a second
    ...     network = BCResNet(12, tau, causal=True).eval()
    ...     print(f"{tau} {stream_macs(network):>9,} {stream_macs(network, 100):>11,}")
    1.0    24,956   2,495,600
    1.5    46,194   4,619,400
    2.0    73,272   7,327,200
    3.0   144,948  14,494,800
    6.0   500,136  50,013,600
    8.0   853,728  85,372,800

    """
    state = initial_state(network)
    return _counted(lambda: feed(network, state, torch.zeros(1, MELS, frames)))


def _counted(run: Callable[[], object]) -> int:
    """Multiply-accumulates of every layer that ``run`` runs, as often as it does.

    Each output is a sum over as many products as one filter has weights.
    """
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            counts.append(output.numel() * math.prod(layer.weight.shape[1:]))

    with register_module_forward_hook(count):
        run()
    return sum(counts)


@torch.no_grad()
def operations(network: nn.Module, features: Tensor) -> list[str]:
    """Names of the tensor operations that ``network(features)`` executes, in their order.

    >>> operations(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), torch.zeros(1, 4))
    ['aten.t.default', 'aten.addmm.default', 'aten.relu.default']
    """
    seen: list[str] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Recorder():  # type: ignore[no-untyped-call] # torch leaves the initializer untyped
        network(features)
    return seen
