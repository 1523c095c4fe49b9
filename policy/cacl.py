"""CACL: every language adds a few components of low rank to those of the languages before it.

Pavan Teja and Panda, "Compression-aware Continual Learning using Singular Value Decomposition",
https://arxiv.org/abs/2009.01956: a convolution's weights, as a matrix of N x (C k k), are kept as
sum_j sigma_j n_j c_j. A new language trains components of its own beside the older ones, which get
no gradient, under two regularisers, so that they are orthogonal and few sigmas matter (Hoyer's
ratio of norms); then those with nearly all of the energy are kept. A language hears with all
components up to its own: older languages stay as they are, bit for bit, and newer ones build on
them, so that their order matters.

Here the base, whole, stands for the first components. A language's adapter holds all that it hears
with, so that it works by itself; those of older languages stand in each, rounded anew. The budget
bounds what a language adds.
"""

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.config import HEAD
from kws.deltas import Adaptation
from kws.errors import UsageError
from kws.forms import Rank
from kws.sites import Site

from .fixed import plain_convolutions, pointwise_sites
from .transfer import RATE, Transfer

CANDIDATES: Final = 4  # components of a site, before the fewest are kept
ENERGY: Final = 1 - 3e-5  # share of a site's energy that is kept
ORTHOGONAL, SPARSE = 1.0, 0.1  # weights of the regularisers
EPSILON: Final = 1e-8

Factors = tuple[Tensor, Tensor]  # [N, r] and [r, M], the sigmas within


def cacl(transfer: Transfer) -> Adaptation:
    """Components under the regularisers, then the best of them alone."""
    transfer.refuse_few_epochs()
    if transfer.train.plan.optimizer == "sgd":  # the regularisers are steep where factors are zero
        raise UsageError("--method cacl learns by adamw alone; leave --optimizer out")
    network = copy.deepcopy(transfer.network)
    if transfer.earlier is not None:
        merge(transfer.earlier, network)
    sites = factored_sites(transfer.sites)
    transfer.refuse_nothing(sites)
    half = max(1, transfer.train.plan.epochs // 2)
    first = _grow(transfer, network, [site.with_form(Rank(candidates(site))) for site in sites])
    transfer.train("components", first, half, RATE, lambda _: regulariser(factors(first)))
    kept = prune(factors(first), transfer.budget)
    last = _grow(transfer, network, _owned(sites, kept))
    last.head.load_state_dict(first.head.state_dict())
    assign(last, kept)
    transfer.train("final", last, transfer.train.left, transfer.rate(last))
    return _together(transfer, sites, last)


def factored_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The pointwise convolutions and the first of all, the stem, if they have no bias."""
    found, point = plain_convolutions(sites), pointwise_sites(sites)
    return tuple(site for site in found if site is found[0] or site in point)


def candidates(site: Site) -> int:
    """As many components as are tried, and never so many that they cost more than the weights."""
    return max(1, min(CANDIDATES, site.num_weights // site.with_form(Rank(1)).size))


def factors(model: Adaptation) -> list[Factors]:
    """Of each site its components."""
    pieces = model.numbers.split([site.size for site in model.chosen])
    found = []
    for site, piece in zip(model.chosen, pieces, strict=True):
        assert isinstance(site.form, Rank)
        rows, count = site.tensor_shapes[0][0], site.form.count
        left, right = piece.split([rows * count, site.size - rows * count])
        found.append((left.view(rows, count), right.view(count, -1)))
    return found


def sigmas(pair: Factors) -> Tensor:
    """How much each component weighs: ``[r]``."""
    left, right = pair
    found: Tensor = left.norm(dim=0) * right.norm(dim=1)
    return found


def regulariser(pairs: Sequence[Factors]) -> Tensor:
    """Penalty ``[]``, zero for orthogonal components of which one alone matters; summed over sites.

    ``ORTHOGONAL`` times the sum of squared cosines between different components, on the left and on
    the right, plus ``SPARSE`` times Hoyer's ratio of norms, less one: |sigma|_1 / |sigma|_2 - 1.
    """
    total = torch.zeros((), device=pairs[0][0].device)
    for left, right in pairs:
        for vectors in (functional.normalize(left, dim=0).T, functional.normalize(right, dim=1)):
            likeness = vectors @ vectors.T
            others = likeness - torch.diag(likeness.diagonal())
            total = total + ORTHOGONAL * others.square().sum()
        found = sigmas((left, right))
        length = found.square().sum().add(EPSILON).sqrt()
        total = total + SPARSE * (found.sum() / length - 1).clamp(min=0)
    return total


@torch.no_grad()
def prune(pairs: Sequence[Factors], budget: int) -> list[Factors]:
    """Of each site the fewest components that hold ``ENERGY`` of its sum of squared sigmas.

    Where they are more numbers than the budget, the largest sigmas of all sites come first, and
    components that no longer fit are passed over.
    """
    wanted: list[tuple[float, int, int]] = []  # sigma, site, component
    for number, pair in enumerate(pairs):
        found = sigmas(pair)
        order = found.argsort(descending=True, stable=True)
        energy = found[order].square().cumsum(0)
        fewest = int((energy < ENERGY * energy[-1]).sum()) + 1 if energy[-1] > 0 else 0
        wanted += [(float(found[i]), number, int(i)) for i in order[:fewest]]
    kept: list[list[int]] = [[] for _ in pairs]
    for _, number, component in sorted(wanted, key=lambda item: -item[0]):
        left, right = pairs[number]
        if len(left) + right.shape[1] <= budget:
            budget -= len(left) + right.shape[1]
            kept[number].append(component)
    return [(left[:, at], right[at]) for (left, right), at in zip(pairs, kept, strict=True)]


@torch.no_grad()
def assign(model: Adaptation, pairs: Sequence[Factors]) -> None:
    """Give an adaptation these components, of which sites without any are left out."""
    pieces = [part.reshape(-1) for pair in pairs for part in pair]
    model.relative.copy_(torch.cat([*pieces, torch.zeros_like(model.unit[:0])]) / model.unit)


@torch.no_grad()
def merge(model: Adaptation, network: nn.Module) -> None:
    """Make a copy of the base what the adaptation computes with, but for the head."""
    for name, tensor in model.weights().items():
        if not name.startswith(f"{HEAD}."):
            network.get_parameter(name).copy_(tensor)


def _grow(transfer: Transfer, network: nn.Module, chosen: Sequence[Site]) -> Adaptation:
    return Adaptation(network, transfer.classes, chosen).to_device(transfer.device)


def _owned(sites: Sequence[Site], pairs: Sequence[Factors]) -> list[Site]:
    """The sites that have components, owned at as many ranks."""
    counts = [left.shape[1] for left, _ in pairs]
    return [site.with_form(Rank(count)) for site, count in zip(sites, counts, strict=True) if count]


@torch.no_grad()
def _together(transfer: Transfer, sites: Sequence[Site], own: Adaptation) -> Adaptation:
    """Over the base alone: the components of earlier languages, then a language's own."""
    parts: dict[str, list[Factors]] = {site.module: [] for site in sites}
    for model in (transfer.earlier, own):
        if model is not None:
            for site, (left, right) in zip(model.chosen, factors(model), strict=True):
                parts[site.module].append((left.to(own.unit.device), right.to(own.unit.device)))
    pairs = [
        (torch.cat([left for left, _ in found], 1), torch.cat([right for _, right in found]))
        if (found := parts[site.module])
        else (own.unit.new_zeros(0, 0), own.unit.new_zeros(0, 0))
        for site in sites
    ]
    model = transfer.untrained(_owned(sites, pairs))
    assign(model, pairs)
    model.head.load_state_dict(own.head.state_dict())
    return model
