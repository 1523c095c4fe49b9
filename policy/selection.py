"""From scores to sites, never beyond the budget."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.sites import Site


def project(scores: Tensor, sites: Sequence[Site], budget: int) -> tuple[Site, ...]:
    """Take sites by falling score, passing over those that no longer fit.

    Every method chooses through this one rule, so that methods differ in their scores alone.

    Args:
        scores: ``[S]``.
        sites: S of them.
        budget: parameters that all chosen sites together may have.

    Returns:
        The chosen sites in the network's order.

    """
    left, chosen = budget, []
    for number in torch.argsort(scores, descending=True, stable=True).tolist():
        if sites[number].size <= left:
            left -= sites[number].size
            chosen.append(sites[number])
    return tuple(sorted(chosen, key=lambda site: site.start))


def spent(sites: Sequence[Site]) -> int:
    """Parameters that the sites replace."""
    return sum(site.size for site in sites)
