r"""Deltas: what a language adds to the base, W'_s = W_s + g_s \Delta W_s.

Our reading of SWR, Scalable Weight Reparametrization, https://arxiv.org/abs/2302.13435.
"""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .sites import HEAD, Site, flatten, unflatten


class Adaptation(nn.Module):
    """A frozen network under a language's own deltas and head; only those are parameters.

    Deltas start at zero, so that a new adaptation computes what the base computes, and the
    base's tensors are read, never written. What is trained is each delta relative to its own
    tensor of the base, so that one learning rate suits scales near one and weights near a tenth
    (as You et al. do by norms, https://arxiv.org/abs/1708.03888).

    Args:
        network: the base; it stays in evaluation mode, so that its normalisations keep their
            statistics and nothing is dropped of what few parameters learn.
        classes: K of the language's head.
        chosen: the sites that the language owns.
        gates: if given, called at each forward for g ``[len(chosen)]``; else all gates are open.

    Shape:
        features ``[B, F, T]`` -> logits ``[B, K]``, or as the network does at each of ``ends``

    """

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        chosen: Sequence[Site],
        gates: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__()
        head = network.get_submodule(HEAD)
        assert isinstance(head, nn.Linear)
        self.chosen = tuple(chosen)
        self.gates = gates
        self.head = nn.Linear(head.in_features, classes)
        self.relative = nn.Parameter(torch.zeros(sum(site.size for site in chosen)))
        self.register_buffer("base", flatten(network, self.chosen), persistent=False)
        self.register_buffer("unit", _magnitudes(self.base, self.chosen), persistent=False)
        sizes = torch.tensor([site.size for site in chosen], dtype=torch.int64)
        self.register_buffer("sizes", sizes, persistent=False)
        # A tuple: it is no part of our state, and our training mode is not its.
        self._network = (network.requires_grad_(False).eval(),)

    base: Tensor
    unit: Tensor
    sizes: Tensor

    @property
    def network(self) -> nn.Module:
        """The frozen base."""
        return self._network[0]

    @property
    def delta(self) -> Tensor:
        """What the language adds to the chosen sites' parameters where all gates are open."""
        return self.relative * self.unit

    def vector(self) -> Tensor:
        """The chosen sites' effective parameters ``[n]``."""
        delta = self.delta
        if self.gates is not None:
            delta = delta * self.gates().repeat_interleave(self.sizes)
        return self.base + delta

    def weights(self) -> dict[str, Tensor]:
        """The parameters that differ from the base's, by name, head included."""
        named = unflatten(self.vector(), self.chosen)
        return named | {f"{HEAD}.weight": self.head.weight, f"{HEAD}.bias": self.head.bias}

    def forward(self, features: Tensor, *ends: Sequence[int]) -> Tensor:
        logits: Tensor = functional_call(self.network, self.weights(), (features, *ends))
        return logits

    def to_device(self, device: str) -> Self:
        """Move this and the base together."""
        self.network.to(device)
        return self.to(device)

    def pieces(self) -> list[Tensor]:
        """Each chosen site's delta, flat."""
        return list(self.delta.detach().split(self.sizes.tolist()))

    def take(self, other: "Adaptation") -> Self:
        """Continue from another adaptation: its head, and its deltas where both own the site."""
        with torch.no_grad():
            self.head.load_state_dict(other.head.state_dict())
            mine, theirs = self._by_site(), other._by_site()
            for name, piece in mine.items():
                piece.copy_(theirs.get(name, torch.zeros(())))
        return self

    def _by_site(self) -> dict[str, Tensor]:
        pieces = self.relative.detach().split(self.sizes.tolist())
        return dict(zip([site.name for site in self.chosen], pieces, strict=True))


def _magnitudes(vector: Tensor, sites: Sequence[Site]) -> Tensor:
    """``[n] -> [n]``: for each number the root mean square of its tensor, one where that is 0."""
    pieces = unflatten(vector, sites).values()
    found = [piece.square().mean().sqrt().expand(piece.numel()) for piece in pieces]
    sizes = torch.cat(found) if found else vector
    return sizes.masked_fill(sizes == 0, 1.0)
