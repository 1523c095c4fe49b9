"""SWR's three stages, and its plain form: a policy learns what a language owns, under a budget.

Kim, Lee, Yang, Chang, "Scalable Weight Reparametrization for Efficient Transfer Learning",
https://arxiv.org/abs/2302.13435. The three stages are the paper's; the form of
policy, gate and penalty is our reading:

1. transfer: W_s + dW_s with all gates open, cross-entropy;
2. policy: W_s + g_s dW_s, gates drawn from the policy, cross-entropy + penalty; the share that
   may be spent falls from everything to the budget, so that gates close one after another;
3. final: gates projected onto the budget, policy thrown away, chosen deltas and head trained on.

In the plain form, ``swr-layers``, a site is owned whole or not at all. The policy of ``swr``, which
gives each site a share, is :mod:`policy.shares`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.deltas import Adaptation
from kws.sites import Site

from .selection import project, spent
from .transfer import Transfer

WIDTH = 16  # of a site's embedding
TEMPERATURE = 1.0  # of the relaxation; higher gives smoother gradients
SHARPNESS = 5.0  # of logits, so that gates can close within a short stage
PENALTY = 1.0  # weight of what is spent beyond the allowance
FALL = 0.8  # share of the stage after which the allowance has come down to the budget


class Policy(nn.Module, ABC):
    """Gates that learn where a language should own something, under an allowance that falls.

    Shape:
        () -> gates ``[n]``, one for each weight of all sites

    """

    @abstractmethod
    def tighten(self, allowed: float) -> Tensor:
        """From now on this share of all weights may be spent; return what to add to the loss."""

    @abstractmethod
    def choose(self, budget: int) -> tuple[Site, ...]:
        """What the language owns, within the budget."""


def learn_where(
    transfer: Transfer,
    make: Callable[[Sequence[Site]], Policy],
    beside: Sequence[Site] = (),
) -> Adaptation:
    """Run the three stages of SWR.

    Args:
        transfer: the language to learn.
        make: the policy of these sites.
        beside: sites that are owned whatever the policy says; they learn in the last stage alone,
            and their numbers count in the budget.

    Raises:
        UsageError: there are too few epochs for stages.

    """
    budget = transfer.budget - spent(beside)
    transferred = transfer.learn_everything()
    policy = make(transfer.sites).to(transfer.device)
    share = max(budget, 1) / spent(transfer.sites)
    gated = transfer.grow(transfer.sites, policy).initialize_from(transferred)
    transfer.early("policy", gated, lambda done: policy.tighten(allowance(share, done)))
    return transfer.finish((*policy.choose(budget), *beside), gated)


def swr_layers(transfer: Transfer) -> Adaptation:
    """SWR with a gate for each site."""
    return learn_where(transfer, GatePolicy)


class SiteScores(nn.Module):
    """A score for each of ``count`` sites from a learnt embedding; it never hears the audio.

    So what is decided by scores can be baked into the weights. Before training all are zero: no
    site is preferred.

    Shape:
        () -> ``[count]``

    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, WIDTH)
        self.score = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))
        for parameter in self.score[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self) -> Tensor:
        scores: Tensor = self.score(self.embedding.weight).squeeze(1)
        return scores


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

    def __init__(
        self,
        sites: Sequence[Site],
        *,
        start: float = 2.0,
    ) -> None:
        super().__init__()
        self.sites = tuple(sites)
        self.start = start
        self.site_scores = SiteScores(len(sites))
        sizes = torch.tensor([site.size for site in sites])
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("shares", sizes / sizes.sum(), persistent=False)

    sizes: Tensor
    shares: Tensor

    def logits(self) -> Tensor:
        """``[S]``: how much rather each site is owned than shared."""
        scores: Tensor = self.site_scores()
        return SHARPNESS * scores + self.start

    def forward(self) -> Tensor:
        logits = self.logits()
        if not self.training:
            return (logits > 0).to(logits.dtype).repeat_interleave(self.sizes)
        both = torch.stack([logits, torch.zeros_like(logits)], dim=1)  # [S, own | share]
        drawn = functional.gumbel_softmax(both, tau=TEMPERATURE, hard=True)[:, 0]
        return drawn.repeat_interleave(self.sizes)

    def spending(self) -> Tensor:
        """Share of all parameters that the gates own in expectation: ``[]``."""
        return self.logits().sigmoid() @ self.shares

    def tighten(self, allowed: float) -> Tensor:
        """Return the penalty for spending beyond this share; nothing is limited otherwise."""
        return PENALTY * overspend(self.spending(), allowed)

    def choose(self, budget: int) -> tuple[Site, ...]:
        """Sites by falling logit, as many as the budget holds."""
        return project(self.logits().detach().cpu(), self.sites, budget)


def allowance(share: float, progress: float) -> float:
    """Share that may be spent: from 1 to the budget's, evenly on a logarithmic scale.

    >>> allowance(0.1, 0.0), round(allowance(0.1, 0.4), 3), allowance(0.1, 0.9)
    (1.0, 0.316, 0.1)
    """
    return float(share ** min(1.0, progress / FALL))


def overspend(spending: Tensor, allowed: float) -> Tensor:
    """Penalty that is zero up to the allowed share and grows quadratically beyond it.

    >>> overspend(torch.tensor(0.3), 0.1), overspend(torch.tensor(0.05), 0.1)
    (tensor(4.), tensor(0.))
    """
    return torch.relu(spending / allowed - 1).square()
