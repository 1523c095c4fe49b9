"""SWR's plain form: one gate for each site, which a language owns whole or not at all.

Kim, Lee, Yang, Chang, https://arxiv.org/abs/2302.13435; the form of gate and penalty is our
reading. The stages are those of :mod:`policy.swr`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kws.deltas import Adaptation
from kws.sites import Site

from .selection import project
from .swr import Policy, SiteScores, learn_where
from .transfer import Transfer

START = 2.0  # logit of every gate at first: open, most of the time
TEMPERATURE = 1.0  # of the relaxation; higher gives smoother gradients
SHARPNESS = 5.0  # of logits, so that gates can close within a short stage
PENALTY = 1.0  # weight of what is spent beyond the allowance


def swr_layers(transfer: Transfer) -> Adaptation:
    """SWR with a gate for each site."""
    return learn_where(transfer, GatePolicy)


class GatePolicy(Policy):
    """One gate per site.

    Training draws straight-through Gumbel-Softmax samples (Jang et al.,
    https://arxiv.org/abs/1611.01144): hard forwards, soft backwards. Evaluation takes the likelier
    side.

    Args:
        sites: S of them, n weights in all.

    Shape:
        () -> gates ``[n]``, 1 where a change is added and 0 where the base stays; the same for all
        weights of a site

    """

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self.sites = tuple(sites)
        self.allowed = 1.0  # share of all weights; said anew in every step, so not saved
        self.site_scores = SiteScores(len(sites))
        sizes = torch.tensor([site.size for site in sites])
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("portions", sizes / sizes.sum(), persistent=False)

    sizes: Tensor  # [S]
    portions: Tensor  # [S], of all weights, those of each site

    def logits(self) -> Tensor:
        """``[S]``: log odds that a site is the language's own, not the base's."""
        scores: Tensor = self.site_scores()
        return SHARPNESS * scores + START

    def forward(self) -> Tensor:
        return hard_gates(self.logits(), drawn=self.training).repeat_interleave(self.sizes)

    def spending(self) -> Tensor:
        """Share of all parameters that the gates own in expectation: ``[]``."""
        return self.logits().sigmoid() @ self.portions

    def allow(self, share: float) -> None:
        """The penalty is for spending beyond this share; nothing is limited otherwise."""
        self.allowed = share

    def penalty(self) -> Tensor:
        """For what the gates spend beyond what is allowed."""
        return PENALTY * overspend(self.spending(), self.allowed)

    def choose(self, budget: int) -> tuple[Site, ...]:
        """Sites by falling logit, as many as the budget holds."""
        return project(self.logits().detach().cpu(), self.sites, budget)


def hard_gates(logits: Tensor, *, drawn: bool) -> Tensor:
    """1 where a gate is open, 0 where it is closed: of the logits' shape.

    What is ``drawn`` is open with the logit's probability, and a gradient passes straight through
    (Gumbel-Softmax, Jang et al., https://arxiv.org/abs/1611.01144). Else the likelier is taken.
    """
    if not drawn:
        return (logits > 0).to(logits.dtype)
    both = torch.stack([logits, torch.zeros_like(logits)], dim=-1)  # [..., open | closed]
    return functional.gumbel_softmax(both, tau=TEMPERATURE, hard=True)[..., 0]


def overspend(spending: Tensor, allowed: float) -> Tensor:
    """Penalty that is zero up to the allowed share and grows quadratically beyond it.

    >>> overspend(torch.tensor(0.3), 0.1), overspend(torch.tensor(0.05), 0.1)
    (tensor(4.), tensor(0.))
    """
    return torch.relu(spending / allowed - 1).square()
