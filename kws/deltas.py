r"""Deltas: what a language adds to the base, W'_s = W_s + g_s \Delta W_s.

Our reading of SWR, Scalable Weight Reparametrization, https://arxiv.org/abs/2302.13435.
"""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .forms import WHOLE, expand
from .sites import HEAD, Site, flatten, unflatten


class Adaptation(nn.Module):
    """A frozen network under a language's own numbers and head; only those are parameters.

    A new adaptation computes what the base computes, and the base's tensors are read, never
    written. What is trained is each delta relative to its own tensor of the base, so that one
    learning rate suits scales near one and weights near a tenth (as You et al. do by norms,
    https://arxiv.org/abs/1708.03888).

    Args:
        network: the base; it stays in evaluation mode, so that its normalisations keep their
            statistics and nothing is dropped of what few parameters learn.
        classes: K of the language's head.
        chosen: the sites that the language owns, n numbers in all. A place may come in several
            forms; their deltas add up.
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
        self.relative = nn.Parameter(_begin(chosen))
        # Every place once, whatever the forms it comes in.
        self._places = tuple({site.place: site.owned(WHOLE) for site in chosen}.values())
        for name, tensor in (
            ("base", flatten(network, self._places)),
            ("unit", _units(network, chosen)),
            ("spans", torch.tensor([site.span for site in chosen], dtype=torch.int64)),
            ("where", _where(chosen, self._places)),
        ):
            self.register_buffer(name, tensor, persistent=False)
        self._shared = len(self._places) < len(self.chosen)
        # A tuple: it is no part of our state, and our training mode is not its.
        self._network = (network.requires_grad_(False).eval(),)

    base: Tensor  # [m], the chosen places' weights
    unit: Tensor  # [n]
    spans: Tensor  # [S]
    where: Tensor  # of each site's weights in `base`

    @property
    def network(self) -> nn.Module:
        """The frozen base."""
        return self._network[0]

    @property
    def numbers(self) -> Tensor:
        """What the language owns beside its head, as it is stored: ``[n]``."""
        return self.relative * self.unit

    def delta(self) -> Tensor:
        """What is added where all gates are open: each site's weights one after another."""
        pieces = self.numbers.split([site.size for site in self.chosen])
        if all(site.form == WHOLE for site in self.chosen):
            return self.numbers
        shapes = [list(site.shapes.values()) for site in self.chosen]
        return torch.cat(
            [expand(s.form, p, f) for s, p, f in zip(self.chosen, pieces, shapes, strict=True)]
        )

    def vector(self) -> Tensor:
        """The chosen places' effective weights ``[m]``."""
        delta = self.delta()
        if self.gates is not None:
            delta = delta * self.gates().repeat_interleave(self.spans)
        if self._shared:
            return self.base.index_add(0, self.where, delta)
        return self.base + delta

    def weights(self) -> dict[str, Tensor]:
        """The parameters that differ from the base's, by name, head included."""
        named = unflatten(self.vector(), self._places)
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
        return list(self.delta().detach().split(self.spans.tolist()))

    def take(self, other: "Adaptation") -> Self:
        """Continue from another adaptation: its head, and its numbers where both own the site."""
        with torch.no_grad():
            self.head.load_state_dict(other.head.state_dict())
            theirs = other._by_site()
            for name, piece in self._by_site().items():
                if name in theirs:
                    piece.copy_(theirs[name])
        return self

    def _by_site(self) -> dict[str, Tensor]:
        pieces = self.relative.detach().split([site.size for site in self.chosen])
        return dict(zip([site.name for site in self.chosen], pieces, strict=True))


def _begin(chosen: Sequence[Site]) -> Tensor:
    """Numbers that make no delta: zeros, and of factors the left ones only, so that they learn."""
    pieces = []
    for site in chosen:
        piece = torch.zeros(site.size)
        if site.form != WHOLE:
            piece[_left(site) :].normal_()
        pieces.append(piece)
    return torch.cat(pieces) if pieces else torch.zeros(0)


def _units(network: nn.Module, chosen: Sequence[Site]) -> Tensor:
    """What a relative number is worth: its tensor's root mean square, or one where that is 0.

    Of factors the left ones bring the magnitude.
    """
    pieces = []
    for site in chosen:
        tensors = [network.get_parameter(name).detach() for name in site.shapes]
        sizes = [tensor.square().mean().sqrt().expand(tensor.numel()) for tensor in tensors]
        unit = torch.cat(sizes)
        if site.form != WHOLE:
            unit = torch.cat([unit[:1].expand(_left(site)), unit.new_ones(site.size - _left(site))])
        pieces.append(unit)
    units = torch.cat(pieces) if pieces else torch.zeros(0)
    return units.masked_fill(units == 0, 1.0)


def _left(site: Site) -> int:
    """Numbers of the left factor of a site that is not owned whole."""
    rows, *others = next(iter(site.shapes.values()))
    columns = torch.Size(others).numel()
    return site.size * rows // (rows + columns)


def _where(chosen: Sequence[Site], places: Sequence[Site]) -> Tensor:
    starts, stop = {}, 0
    for place in places:
        starts[place.place] = stop
        stop += place.span
    ranges = [torch.arange(starts[s.place], starts[s.place] + s.span) for s in chosen]
    return torch.cat(ranges) if ranges else torch.zeros(0, dtype=torch.int64)
