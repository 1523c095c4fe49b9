"""Methods whose sites are known beforehand; :mod:`kws.forms` names the papers."""

from collections.abc import Sequence

from kws.deltas import Adaptation
from kws.errors import UsageError
from kws.forms import SHIFT, Rank, Vera
from kws.sites import Site

from .selection import spent
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
    """The pointwise convolutions at rank 1."""
    return transfer.finish(low_rank(transfer.sites, LORA_RANK))


def lora_budget(transfer: Transfer) -> Adaptation:
    """The pointwise convolutions at the highest rank that the budget holds, the same for all.

    Raises:
        UsageError: there are none, or the budget does not hold rank 1.

    """
    most = max((_full_rank(site) for site in pointwise_sites(transfer.sites)), default=1)
    ranks = [low_rank(transfer.sites, rank) for rank in range(1, most + 1)]
    transfer.refuse_nothing(ranks[0])
    fitting = [chosen for chosen in ranks if spent(chosen) <= transfer.budget]
    if not fitting:
        raise UsageError(
            f"--method {transfer.method} owns {spent(ranks[0]):,} numbers at rank 1, and the "
            f"budget holds {transfer.budget:,} beside the head; raise --budget"
        )
    return transfer.finish(fitting[-1])


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


def low_rank(sites: Sequence[Site], rank: int) -> tuple[Site, ...]:
    """Those at this rank, or at their full one where that is lower."""
    found = pointwise_sites(sites)
    return tuple(site.with_form(Rank(min(rank, _full_rank(site)))) for site in found)


def _full_rank(site: Site) -> int:
    return min(site.tensor_shapes[0][:2])
