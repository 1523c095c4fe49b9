"""Methods that own what they own, whatever the budget; :mod:`kws.forms` names the papers."""

from collections.abc import Sequence

from kws.deltas import Adaptation
from kws.forms import SHIFT, Rank, Vera
from kws.sites import Site

from .transfer import Transfer

LORA_RANK, VERA_RANK = 1, 4


def head(transfer: Transfer) -> Adaptation:
    """Nothing but the head."""
    return transfer.finish(())


def norms(transfer: Transfer) -> Adaptation:
    """Every normalisation's scale and shift."""
    return transfer.finish(norm_sites(transfer.sites))


def bitfit(transfer: Transfer) -> Adaptation:
    """Every normalisation's shift."""
    return transfer.finish([site.with_form(SHIFT) for site in norm_sites(transfer.sites)])


def lora(transfer: Transfer) -> Adaptation:
    """The pointwise convolutions at low rank."""
    found = pointwise_sites(transfer.sites)
    return transfer.finish([site.with_form(Rank(LORA_RANK)) for site in found])


def vera(transfer: Transfer) -> Adaptation:
    """The scales of fixed factors of the pointwise convolutions."""
    found = pointwise_sites(transfer.sites)
    return transfer.finish([site.with_form(Vera(VERA_RANK)) for site in found])


def full(transfer: Transfer) -> Adaptation:
    """Everything."""
    return transfer.finish(transfer.sites)


def norm_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Every normalisation's scale and shift."""
    return tuple(site for site in sites if site.kind == "norm")


def plain_convolutions(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Every convolution without a bias, whose site is one tensor."""
    return tuple(site for site in sites if site.kind == "conv" and len(site.shapes) == 1)


def pointwise_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Those of them that mix channels alone: O x I weights, 1 x 1."""
    found = plain_convolutions(sites)
    return tuple(site for site in found if site.tensor_shapes[0][2:] == (1, 1))
