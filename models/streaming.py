"""A causal network on a stream: what it remembers goes in and comes out, nothing is kept inside.

The layers are those of the offline form; only where a convolution over time begins in zeros
there, it continues here from the frames before. A stream that was fed in any pieces has the
decisions of :meth:`BCResNet.frames`, within ``TOLERANCE``. Listening does without torch
(:mod:`models.compiled`, :mod:`models.graph`); this is what tests hold those equal to.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kws.errors import KwsError

from .bcresnet import BCResNet, TimeConv
from .layout import MELS

TOLERANCE = 1e-5  # on logits, and on a layer's outputs of size one; float32 sums differ in order
POOL = "pool"

# By the name of a convolution over time, the inputs [B, C, F, past] it will look back upon, and
# as POOL the frames [B, D, span - 1] that later means are taken over.
State = dict[str, Tensor]


@torch.no_grad()
def initial_state(network: BCResNet, batch: int = 1) -> State:
    """What a network remembers before the first frame: zeros, as at the border of a clip.

    Zeros between the layers are no sound. ``history`` frames of silence, fed first, leave the
    state of a stream that was silent for ever.

    Raises:
        KwsError: the network is not causal, or is in training mode.

    """
    if not network.causal:
        raise KwsError("a network that is not causal cannot stream; pretrain one that is")
    _check(network)
    names, state = _names(network), State()

    def remember(conv: TimeConv, x: Tensor) -> Tensor:
        past = state[names[conv]] = x.new_zeros(*x.shape[:3], conv.past)
        y: Tensor = conv(torch.cat([past, x], dim=3))
        return y

    like = next(network.parameters())
    network.trunk(like.new_zeros(batch, MELS, 1), remember)
    state[POOL] = like.new_zeros(batch, network.width, network.span - 1)
    return state


def advance(network: BCResNet, state: State, features: Tensor) -> tuple[Tensor, State]:
    """Take the next frames ``[B, F, n]``, n at least 1, as far as the mean over time.

    The result ``[B, D, span - 1 + n]`` is for :meth:`BCResNet.decide`. To decide at the newest
    frame only, pass that the last ``span`` frames, which saves n - 1 means.
    """
    _check(network)
    names, after = _names(network), State()

    def continued(conv: TimeConv, x: Tensor) -> Tensor:
        seen = torch.cat([state[names[conv]], x], dim=3)  # [B, C, F, past + n]
        after[names[conv]] = seen[..., x.shape[3] :]
        y: Tensor = conv(seen)
        return y

    x = network.trunk(features, continued)  # [B, D, n]
    seen = torch.cat([state[POOL], x], dim=2)
    after[POOL] = seen[..., x.shape[2] :]
    return seen, after


class Streaming(nn.Module):
    """:func:`feed` as a module, so that ``functional_call`` can give it a language's weights.

    Shape:
        state, features ``[B, F, n]`` -> logits ``[B, n, K]``, state
    """

    def __init__(self, network: BCResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: State, features: Tensor) -> tuple[Tensor, State]:
        if features.shape[2] == 0:
            nothing = features.new_zeros(len(features), 0, self.network.width)
            return self.network.head(nothing), state
        x, state = advance(self.network, state, features)
        return self.network.decide(x), state


def feed(
    network: BCResNet,
    state: State,
    features: Tensor,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, State]:
    """Take the next frames ``[B, F, n]``, any number; decide at each: logits ``[B, n, K]``.

    Args:
        network: causal, in evaluation mode.
        state: of :func:`initial_state`, or that came with the frames before; it is not changed.
        features: of the frames that follow.
        weights: parameters by name to use instead of the network's own, as
            :meth:`kws.deltas.Adaptation.weights` gives them.

    Raises:
        KwsError: the network is in training mode.

    """
    named = {f"network.{name}": weight for name, weight in (weights or {}).items()}
    logits, state = functional_call(Streaming(network), named, (state, features))
    return logits, state


def _names(network: BCResNet) -> dict[TimeConv, str]:
    """The convolutions over time."""
    return {m: name for name, m in network.named_modules() if isinstance(m, TimeConv)}


def _check(network: BCResNet) -> None:
    if network.training:
        raise KwsError("a stream needs a network in evaluation mode; call its eval() first")
