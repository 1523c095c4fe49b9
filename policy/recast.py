"""RECAST: layers of equal shape as mixtures of templates, of which a language owns the mixture.

Tasnim and Plummer, "RECAST: Reparameterized, Compact weight Adaptation for Sequential Tasks",
https://arxiv.org/abs/2411.16870: W_l = (1/K) sum_k sum_i c_lki T_i. The K sets of coefficients are
averaged, so only their mean counts, and only it is stored. Templates and all other weights are
frozen; a language trains coefficients and its head.

In the paper the templates come from Neural Mimicry: with no data, they and the coefficients are
trained to reproduce the pretrained weights (:func:`mimic`). With fewer templates than layers that
loses something, at best what the singular values left out hold (:func:`least_error`). Ours
(:mod:`kws.templates`) are the best ones, and what a language mixes is added to the base as it is,
so that a language that has learnt nothing is the base, bit for bit.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.deltas import Adaptation
from kws.forms import Mix, Rank
from kws.sites import Site, find_sites, lone_weights
from kws.templates import FEWEST, Templates

from .fixed import LORA_RANK, pointwise_sites
from .selection import spent
from .shares import SharePolicy
from .swr import learn_where
from .transfer import Transfer

ITERATIONS: Final = 2_000
RATE: Final = 1e-2  # of mimicry, a tenth after every third of its iterations
CLIP: Final = 1.0


def recast(transfer: Transfer) -> Adaptation:
    """The smallest setting: two templates in each group of pointwise convolutions."""
    return transfer.finish(mixture(transfer))


def recast_all(transfer: Transfer) -> Adaptation:
    """The largest: in every group as many templates as layers, which give the weights exactly."""
    return transfer.finish(mixed_sites(transfer.network, transfer.sites, len(transfer.sites)))


def recast_swr(transfer: Transfer) -> Adaptation:
    """SWR on what of the budget the smallest setting leaves, and that too."""
    beside = mixture(transfer)
    fits = spent(beside) < transfer.budget
    return learn_where(transfer, SharePolicy, beside if fits else ())


def recast_lora(transfer: Transfer) -> Adaptation:
    """The smallest setting, and the pointwise convolutions at low rank."""
    low = [site.with_form(Rank(LORA_RANK)) for site in pointwise_sites(transfer.sites)]
    return transfer.finish((*mixture(transfer), *low))


def mixture(transfer: Transfer) -> tuple[Site, ...]:
    """What the smallest setting owns."""
    return mixed_sites(transfer.network, pointwise_sites(transfer.sites), FEWEST)


def mixed_sites(network: nn.Module, sites: Sequence[Site], templates: int) -> tuple[Site, ...]:
    """Those of the sites that have templates in common, each mixing at most so many."""
    groups = Templates(lone_weights(network, find_sites(network))).groups
    sizes = {site.module: len(groups.get(site.module, ())) for site in sites}
    return tuple(
        site.with_form(Mix(min(templates, sizes[site.module])))
        for site in sites
        if sizes[site.module] >= FEWEST
    )


def mimic(
    weights: Tensor,
    templates: int,
    *,
    generator: torch.Generator,
    sets: int = 2,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Neural Mimicry: templates and coefficients that reproduce a group's weights; no data is used.

    Smooth L1 between what they make and the weights, by RMSprop with clipped gradients.

    Args:
        weights: ``[G, w]``, of one group's layers, flat.
        templates: n.
        generator: draws where they begin.
        sets: K, of coefficients, which are averaged.
        iterations: of training.

    Returns:
        The weights as they make them, ``[G, w]``.

    """
    group, width = weights.shape
    size = float(weights.square().mean().sqrt())
    wanted = weights / size  # so that one rate suits all; the loss is that of the weights
    made = nn.Parameter(torch.randn(templates, width, generator=generator))
    coefficients = nn.Parameter(torch.randn(sets, group, templates, generator=generator))
    optimizer = torch.optim.RMSprop([made, coefficients], RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, iterations // 3))
    for _ in range(iterations):
        optimizer.zero_grad()
        loss = functional.smooth_l1_loss(coefficients.mean(0) @ made, wanted, beta=1 / size)
        loss.backward()
        nn.utils.clip_grad_norm_([made, coefficients], CLIP)
        optimizer.step()
        schedule.step()
    return (coefficients.mean(0) @ made).detach() * size


def error(made: Tensor, weights: Tensor) -> float:
    """Share of the weights' energy that is missing in what was made of them."""
    return float((made - weights).square().sum() / weights.square().sum())


def least_error(weights: Tensor, templates: int) -> float:
    """What n templates miss at best: the energy of the singular values left out."""
    energy = torch.linalg.svdvals(weights).square()
    return float(energy[templates:].sum() / energy.sum())
