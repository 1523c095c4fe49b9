"""Choices without a policy, at the same budget: what SWR must beat to have proved anything."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.sites import Site


def random_scores(sites: Sequence[Site], generator: torch.Generator) -> Tensor:
    """Any order is as likely as any other."""
    return torch.rand(len(sites), generator=generator)


def last_scores(sites: Sequence[Site]) -> Tensor:
    """The sites nearest the output first."""
    return torch.arange(len(sites), dtype=torch.float32)


def largest_scores(deltas: Sequence[Tensor]) -> Tensor:
    """The sites that moved furthest in full fine-tuning first, by the length of their delta."""
    return torch.stack([delta.norm() for delta in deltas])


def norm_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Every normalisation's scale and shift."""
    return tuple(site for site in sites if site.kind == "norm")


def pointwise_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Every convolution that mixes channels alone: O x I weights, 1 x 1."""
    found = [site for site in sites if site.kind == "conv"]
    return tuple(site for site in found if next(iter(site.shapes.values()))[2:] == (1, 1))
