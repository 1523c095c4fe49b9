r"""Deltas: what a language adds to the base, W'_s = W_s + g_s \Delta W_s.

Our reading of SWR, Scalable Weight Reparametrization, https://arxiv.org/abs/2302.13435.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from .adapter import Adapter, check_head, numbers_of, pieces
from .config import HEAD
from .forms import WHOLE
from .sites import Site, find_sites, flatten, lone_weights, unflatten
from .templates import Templates


class Adaptation(nn.Module):
    """A frozen network under a language's own numbers and head, which alone are parameters.

    So training (:func:`kws.train.fit`) moves only these, and the parameters of ``gates`` if that is
    a module: assigned here, it is part of this one, and that is how a policy learns.

    A new adaptation computes what the base computes, and the base's tensors are read, never
    written. What is trained is each delta relative to its own tensor of the base, so that one
    learning rate suits scales near one and weights near a tenth (as You et al. do by norms,
    https://arxiv.org/abs/1708.03888).

    Args:
        network: the base; it stays in evaluation mode, so that its normalisations keep their
            statistics and nothing is dropped of what few parameters learn.
        classes: K of the language's head.
        chosen: the sites that the language owns, n numbers in all. A module may come in several
            forms; their deltas add up.
        gates: if given, called at each forward for g ``[c]``, one for each change of a weight, the
            sites' in turn; else all gates are open.

    Numbers that do not begin at zero, and the head, are drawn from torch's global generator.

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
        # Every module of the network once, whatever the forms it comes in.
        self._whole = tuple({site.module: site.with_form(WHOLE) for site in chosen}.values())
        where = _where(chosen, self._whole)
        for name, tensor in (
            ("base", flatten(network, self._whole)),
            ("unit", _units(network, chosen)),
            ("where", torch.cat([*where, torch.zeros(0, dtype=torch.int64)])),
        ):
            self.register_buffer(name, tensor, persistent=False)
        self._lengths = [len(piece) for piece in where]
        common = Templates(lone_weights(network, find_sites(network)))
        for number, site in enumerate(chosen):
            found = common.of(site.module, site.form)
            array = None if found is None else torch.from_numpy(found)
            self.register_buffer(f"templates{number}", array, persistent=False)
        for name, tensor in zip(("source", "sign"), _sources(chosen), strict=True):
            self.register_buffer(name, tensor, persistent=False)
        # A tuple: it is no part of our state, and our training mode is not its.
        self._network = (network.requires_grad_(False).eval(),)

    base: Tensor  # [m], the chosen modules' weights
    unit: Tensor  # [n]
    where: Tensor  # [c], of each change in `base`
    source: Tensor  # [c], of each change among the numbers, or nothing where one is a product
    sign: Tensor  # [c]

    @property
    def network(self) -> nn.Module:
        """The frozen base."""
        return self._network[0]

    @property
    def numbers(self) -> Tensor:
        """What the language owns beside its head, as it is stored: ``[n]``."""
        return self.relative * self.unit

    def changes(self) -> Tensor:
        """What is added to weights where all gates are open: ``[c]``, each site's in turn."""
        if len(self.source) == len(self.where):
            return self.numbers.index_select(0, self.source) * self.sign
        parts = self.numbers.split([site.size for site in self.chosen])
        found = zip(self.chosen, parts, self._templates(), strict=True)
        return torch.cat([s.form.changes(part, s.tensor_shapes, mixed) for s, part, mixed in found])

    def vector(self) -> Tensor:
        """The chosen modules' effective weights ``[m]``."""
        added = self.changes()
        if self.gates is not None:
            added = added * self.gates()
        return self.base.index_add(0, self.where, added)

    def weights(self) -> dict[str, Tensor]:
        """The parameters that differ from the base's, by name, head included."""
        named = unflatten(self.vector(), self._whole)
        return named | {f"{HEAD}.weight": self.head.weight, f"{HEAD}.bias": self.head.bias}

    def forward(self, features: Tensor, *ends: Sequence[int]) -> Tensor:
        logits: Tensor = functional_call(self.network, self.weights(), (features, *ends))
        return logits

    def to_device(self, device: str) -> Self:
        """Move this and the base together."""
        self.network.to(device)
        return self.to(device)

    def changes_by_site(self) -> list[Tensor]:
        """Each chosen site's changes, flat."""
        return list(self.changes().detach().split(self._lengths))

    def initialize_from(self, other: "Adaptation") -> Self:
        """Begin from another adaptation, in place: copy its head, and what it learnt of each site.

        Of a site that both own in the same form, numbers are copied. Where ``other`` owned it whole
        and this one has it tied, or its shift, each number begins as the mean of sign times change
        over its weights. All others stay as they are.
        """
        with torch.no_grad():
            self.head.load_state_dict(other.head.state_dict())
            theirs = other._by_site()
            for site, part in zip(self.chosen, self._relative_by_site(), strict=True):
                if site.name in theirs:
                    part.copy_(theirs[site.name])
                elif site.module in theirs and (found := site.form.sources(site.tensor_shapes)):
                    which, signs = (torch.from_numpy(array).to(part.device) for array in found)
                    values = theirs[site.module][site.weight_indices().to(part.device)] * signs
                    total = torch.zeros_like(part).index_add(0, which, values)
                    part.copy_(total / which.bincount(minlength=len(part)))
        return self

    def _templates(self) -> list[Tensor | None]:
        """Of each site those that it mixes, if it does."""
        return [getattr(self, f"templates{number}") for number in range(len(self.chosen))]

    def _relative_by_site(self) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = self.relative.detach().split([s.size for s in self.chosen])
        return parts

    def _by_site(self) -> dict[str, Tensor]:
        return dict(zip([site.name for site in self.chosen], self._relative_by_site(), strict=True))


def restored(network: nn.Module, adapter: Adapter) -> Adaptation:
    """An adapter as the adaptation that it was stored from, rounded as it is.

    Raises:
        KwsError: the adapter names other sites than the base has, or its head is of another width.

    """
    check_head(adapter, network.get_parameter(f"{HEAD}.weight").shape[1])
    sites = {site.module: site for site in find_sites(network)}
    shapes = {module: site.tensor_shapes for module, site in sites.items()}
    found = pieces(adapter, shapes, Templates(lone_weights(network, tuple(sites.values()))))
    chosen = [sites[piece.module].with_form(piece.form) for piece in found]
    model = Adaptation(network, len(adapter.config.labels), chosen)
    with torch.no_grad():
        model.relative.copy_(torch.from_numpy(numbers_of(adapter, found)) / model.unit)
        model.head.weight.copy_(torch.from_numpy(adapter.head_weight.astype(np.float32)))
        model.head.bias.copy_(torch.from_numpy(adapter.head_bias.astype(np.float32)))
    return model


def _begin(chosen: Sequence[Site]) -> Tensor:
    """Numbers ``[n]`` that change nothing yet: zeros, but right factors are drawn from N(0, 1).

    As in LoRA (VeRA's right factor is its d): the left factor learns from the first step on, the
    right one as soon as the left is not zero. Were both zero, neither would receive a gradient.
    """
    parts = [torch.zeros(site.size) for site in chosen]
    for site, part in zip(chosen, parts, strict=True):
        part[len(part) - site.form.drawn(site.tensor_shapes) :].normal_()
    return torch.cat([*parts, torch.zeros(0)])


def _units(network: nn.Module, chosen: Sequence[Site]) -> Tensor:
    """What a relative number is worth: its tensor's root mean square, or one where that is 0."""
    parts = [torch.zeros(0)]
    for site in chosen:
        tensors = [network.get_parameter(name).detach().cpu() for name in site.shapes]
        sizes = [tensor.square().mean().sqrt().expand(tensor.numel()) for tensor in tensors]
        weights = torch.from_numpy(site.form.scaled(site.tensor_shapes))
        parts += [torch.cat(sizes)[weights], torch.ones(site.size - len(weights))]
    units = torch.cat(parts)
    return units.masked_fill(units == 0, 1.0)


def _sources(chosen: Sequence[Site]) -> tuple[Tensor, Tensor]:
    """For each change the index of its number and its sign.

    Both are empty if a site's changes are not single numbers (:meth:`kws.forms.Form.sources`).
    """
    which, signs, begin = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0)], 0
    for site in chosen:
        found = site.form.sources(site.tensor_shapes)
        if found is None:
            return which[0], signs[0]
        which.append(torch.from_numpy(found[0]) + begin)
        signs.append(torch.from_numpy(found[1]))
        begin += site.size
    return torch.cat(which), torch.cat(signs)


def _where(chosen: Sequence[Site], whole: Sequence[Site]) -> list[Tensor]:
    """Indices of each chosen site's changes in the weights of all modules, ``whole``, in a row."""
    begins = accumulate((site.num_weights for site in whole), initial=0)
    starts = {site.module: begin for site, begin in zip(whole, begins, strict=False)}
    return [starts[site.module] + site.weight_indices() for site in chosen]
