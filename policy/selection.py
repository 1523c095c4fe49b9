"""From scores to sites, never beyond the budget."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.sites import Site


def project(scores: Tensor, sites: Sequence[Site], budget: int) -> tuple[Site, ...]:
    """Take sites by falling score, passing over those that no longer fit.

    Methods that choose sites choose through this one rule, and so differ in their scores alone.

    Args:
        scores: ``[S]``.
        sites: S of them.
        budget: parameters that all chosen sites together may have.

    Returns:
        The chosen sites in the network's order.

    """
    left = budget
    chosen: list[Site] = []
    for number in torch.argsort(scores, descending=True, stable=True).tolist():
        site = sites[number]
        if site.size <= left:
            left -= site.size
            chosen.append(site)
    return tuple(sorted(chosen, key=lambda site: site.start))


def spent(sites: Sequence[Site]) -> int:
    """Numbers that a language owns of the sites, its budget's currency."""
    return sum(site.size for site in sites)
