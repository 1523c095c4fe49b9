"""Choices without a policy, at the same budget: what SWR must beat to have proved anything."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.deltas import Adaptation
from kws.sites import Site

from .selection import project
from .shares import apportion
from .transfer import Transfer


def even(transfer: Transfer) -> Adaptation:
    """The same share of every site, as SWR's policy begins."""
    equal = torch.zeros(len(transfer.sites))
    return transfer.finish(apportion(equal, transfer.sites, transfer.budget))


def random(transfer: Transfer) -> Adaptation:
    """Whole sites in an order drawn from the seed."""
    generator = torch.Generator().manual_seed(transfer.train.plan.seed)
    scores = random_scores(transfer.sites, generator)
    return transfer.finish(project(scores, transfer.sites, transfer.budget))


def last(transfer: Transfer) -> Adaptation:
    """Whole sites from the output on."""
    scores = last_scores(transfer.sites)
    return transfer.finish(project(scores, transfer.sites, transfer.budget))


def largest(transfer: Transfer) -> Adaptation:
    """Whole sites that moved furthest while everything learnt."""
    transferred = transfer.learn_everything()
    scores = largest_scores(transferred.changes_by_site())
    return transfer.finish(project(scores, transfer.sites, transfer.budget), transferred)


def random_scores(sites: Sequence[Site], generator: torch.Generator) -> Tensor:
    """Any order is as likely as any other."""
    return torch.rand(len(sites), generator=generator)


def last_scores(sites: Sequence[Site]) -> Tensor:
    """The sites nearest the output first."""
    return torch.arange(len(sites), dtype=torch.float32)


def largest_scores(deltas: Sequence[Tensor]) -> Tensor:
    """The sites that moved furthest in full fine-tuning first, by the length of their delta."""
    return torch.stack([delta.norm() for delta in deltas])
