"""Piggyback: a language keeps or drops each of the base's weights, one bit for each.

Mallya, Davis, Lazebnik, "Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask
Weights", https://arxiv.org/abs/1801.06519: W_s 1[m_s >= threshold], m real while it learns, and its
gradient that of the binary mask. Convolutions are masked; normalisations stay the base's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.forms import MASK
from kws.sites import Site

from .fixed import plain_convolutions
from .transfer import Transfer

START = 0.5  # above the threshold, of every m: some tens of steps, as in the paper


class Masks(nn.Module):
    """Gates for what takes a weight away, open where its m has fallen below the threshold, zero.

    Shape:
        () -> gates ``[n]``, 1 to drop a weight and 0 to keep it

    """

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.full((sum(site.size for site in sites),), START))

    def forward(self) -> Tensor:
        hard = (self.real < 0).to(self.real.dtype)
        return hard + (self.real.detach() - self.real)


def piggyback(transfer: Transfer) -> Adaptation:
    """A mask on every convolution that has no bias.

    Raises:
        UsageError: the network has none.

    """
    sites = plain_convolutions(transfer.sites)
    transfer.refuse_nothing(sites)
    masks = Masks(sites).to(transfer.device)
    masked = transfer.untrained(sites, masks)
    with torch.no_grad():
        masked.relative.copy_(-masked.base / masked.unit)  # all that may be taken away
    masked.relative.requires_grad_(False)
    transfer.train("final", masked, transfer.train.left, transfer.train.plan.lr)
    model = transfer.untrained([site.with_form(MASK) for site in sites])
    with torch.no_grad():
        model.relative.copy_(masks())
        model.head.load_state_dict(masked.head.state_dict())
    return model
