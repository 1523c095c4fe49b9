"""SWR's three stages: a policy learns what a language owns, under a budget.

Kim, Lee, Yang, Chang, "Scalable Weight Reparametrization for Efficient Transfer Learning",
https://arxiv.org/abs/2302.13435. The three stages are the paper's; the form of
policy, gate and penalty is our reading:

1. transfer: W_s + dW_s with all gates open, cross-entropy;
2. policy: W_s + g_s dW_s, gates given by the policy, cross-entropy; what may be spent falls from
   everything to the budget. ``swr`` keeps it by construction, without a penalty; ``swr-layers``
   draws gates and adds a penalty to the cross-entropy;
3. final: the policy is thrown away; what it chose, within the budget, and the head are trained on.
   ``swr``: shares become whole counts of tied numbers; ``swr-layers``: whole sites.

The policy of ``swr`` gives each site a share (:mod:`policy.shares`); in that of ``swr-layers``, the
plain form, a site is owned whole or not at all (:mod:`policy.gates`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.sites import Site

from .selection import spent
from .transfer import Transfer

WIDTH = 16  # of a site's embedding
FALL = 0.8  # share of the stage after which the allowance has come down to the budget


class Policy(nn.Module, ABC):
    """Gates that learn where a language should own something, under an allowance that falls.

    Shape:
        () -> gates ``[n]``, one for each weight of all sites

    """

    @abstractmethod
    def allow(self, share: float) -> None:
        """From now on this share of all weights may be spent."""

    def penalty(self) -> Tensor:
        """What is added to the loss: nothing, where no more can be spent than is allowed."""
        return torch.zeros(())

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
    gated = transfer.untrained(transfer.sites, policy).initialize_from(transferred)

    def tightening(done: float) -> Tensor:
        policy.allow(allowance(share, done))
        return policy.penalty()

    transfer.early_stage("policy", gated, tightening)
    return transfer.finish((*policy.choose(budget), *beside), gated)


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


def allowance(share: float, progress: float) -> float:
    """Share that may be spent: from 1 to the budget's, evenly on a logarithmic scale.

    >>> allowance(0.1, 0.0), round(allowance(0.1, 0.4), 3), allowance(0.1, 0.9)
    (1.0, 0.316, 0.1)
    """
    return float(share ** min(1.0, progress / FALL))
