"""How much of each site a language owns: SWR's policy where a site may be owned by degrees.

Owned whole or not at all, a site of 2,560 weights takes most of a budget of a tenth, and small ones
are hardly worth a decision. So the policy gives each site a share. While it is learnt, the weights
of a site are taken in one fixed order (:mod:`kws.forms`), and the gate of each is open while its
rank is within the share: what a share is worth is learnt from the gates at its edge. In the end a
site's weights have in common as many numbers as its share says. Our own, in place of one gate for
each site (:mod:`policy.gates`); the stages are those of :mod:`policy.swr`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.deltas import Adaptation
from kws.forms import Tied, positions
from kws.sites import Site

from .swr import Policy, SiteScores, learn_where
from .transfer import Transfer

SPREAD = 1.0  # most that a log share departs from even: even is good, and single batches deceive
SOFTNESS = 0.5  # width of a gate's edge backwards, in log shares
BRACKET, HALVINGS = 60.0, 60  # of the logarithm of c, and how often it is halved


def swr(transfer: Transfer) -> Adaptation:
    """SWR with a share for each site."""
    return learn_where(transfer, SharePolicy)


class SharePolicy(Policy):
    """A share for each site; together they spend what is allowed.

    Shares are min(1, c exp(a_s)): ``a`` is learnt, between -SPREAD and SPREAD, and c is the one
    number at which the shares spend the allowance. So the budget is kept without a penalty, and a
    site gains only what others lose. Before training all shares are alike.

    Args:
        sites: S of them, whole, n weights in all.

    Shape:
        () -> gates ``[n]``, 1 where a change is added and 0 where the base stays

    """

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self.sites = tuple(sites)
        # Share of all weights that may be owned. It is set after each forward pass, for the next
        # step, and saved: else a resumed run would begin with another.
        self.register_buffer("allowance", torch.ones(()))
        self.site_scores = SiteScores(len(sites))
        sizes = torch.tensor([site.size for site in sites])
        shares_before = [
            (torch.from_numpy(positions(site.size)).float() + 0.5) / site.size for site in sites
        ]
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("log_positions", torch.cat(shares_before).log(), persistent=False)

    allowance: Tensor  # []
    sizes: Tensor  # [S]
    log_positions: Tensor  # [n], of each weight among its site's, as a share

    def scores(self) -> Tensor:
        """``[S]``: logarithms of shares, before the price of all is known."""
        found: Tensor = self.site_scores()
        return SPREAD * found.tanh()

    def shares(self) -> Tensor:
        """``[S]``: how much of each site is owned."""
        numbers = float(self.allowance) * len(self.log_positions)
        return shares_that_spend(self.scores(), self.sizes, numbers)

    def forward(self) -> Tensor:
        edges = self.shares().log().repeat_interleave(self.sizes) - self.log_positions
        hard = (edges > 0).to(edges.dtype)
        soft = (edges / SOFTNESS).sigmoid()
        return hard + (soft - soft.detach())  # hard forwards, soft backwards

    def allow(self, share: float) -> None:
        self.allowance.fill_(share)

    def choose(self, budget: int) -> tuple[Site, ...]:
        """Sites in whole numbers of weights, all of the budget."""
        return apportion(self.scores().detach().cpu(), self.sites, budget)


def shares_that_spend(scores: Tensor, sizes: Tensor, budget: float) -> Tensor:
    """min(1, c exp(a_s)), c such that of ``sizes`` together ``budget`` numbers are owned: ``[S]``.

    Gradients take c as given.
    """
    low, high = -BRACKET, BRACKET
    with torch.no_grad():
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            spending = (scores + middle).clamp(max=0).exp() @ sizes.to(scores.dtype)
            low, high = (low, middle) if spending > budget else (middle, high)
    return (scores + low).clamp(max=0).exp()


def apportion(scores: Tensor, sites: Sequence[Site], budget: int) -> tuple[Site, ...]:
    """Sites owned in the shares of these scores, in whole numbers and to the budget's last.

    Args:
        scores: ``[S]``, logarithms of shares; equal ones give equal shares.
        sites: S of them, whole.
        budget: numbers that all together may have.

    Returns:
        Those of which something is owned, in their order.

    """
    sizes = torch.tensor([site.size for site in sites])
    budget = min(budget, int(sizes.sum()))
    exact = shares_that_spend(scores.double(), sizes, budget) * sizes
    counts = exact.floor().long()
    # What is left goes to the largest fractions where there is room, of equal ones to the first;
    # rounded, so that no machine tells these apart by its last digits.
    fractions = (exact - counts).round(decimals=9).masked_fill(counts == sizes, -1)
    order = torch.argsort(fractions, descending=True, stable=True)
    counts[order[: budget - int(counts.sum())]] += 1
    return tuple(
        site if count == site.size else site.with_form(Tied(count))
        for site, count in zip(sites, counts.tolist(), strict=True)
        if count
    )
