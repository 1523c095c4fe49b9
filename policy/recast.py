"""RECAST: layers of equal shape as mixtures of templates, of which a language owns the mixture.

Tasnim and Plummer, "RECAST: Reparameterized, Compact weight Adaptation for Sequential Tasks",
https://arxiv.org/abs/2411.16870: W_l = (1/K) sum_k sum_i c_lki T_i. The K sets of coefficients are
averaged, so only their mean counts, and only it is stored. Templates and all other weights are
frozen; a language trains coefficients and its head.

In the paper the templates come from Neural Mimicry (:mod:`policy.mimicry`): with no data, they and
the coefficients are trained to reproduce the pretrained weights. With fewer templates than layers
that loses something, at best what the singular values left out hold. Ours (:mod:`kws.templates`)
are the best ones, and what a language mixes is added to the base as it is, so that a language that
has learnt nothing is the base, bit for bit.
"""

from collections.abc import Sequence

from torch import nn

from kws.deltas import Adaptation
from kws.forms import Mix
from kws.sites import Site, find_sites, lone_weights
from kws.templates import FEWEST, Templates

from .fixed import LORA_RANK, low_rank, pointwise_sites
from .selection import spent
from .shares import SharePolicy
from .swr import learn_where
from .transfer import Transfer


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
    return transfer.finish((*mixture(transfer), *low_rank(transfer.sites, LORA_RANK)))


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
