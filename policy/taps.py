"""TAPS: each layer's own score says whether the language owns it.

Wallingford et al., "Task Adaptive Parameter Sharing for Multi-Task Learning",
https://arxiv.org/abs/2203.16708: W_s + 1[score_s >= threshold] dW_s, and cross-entropy + a price on
the mean size of scores. The paper has no budget; ours is kept by taking sites by falling score.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.sites import Site

from .selection import project
from .transfer import Transfer

START, THRESHOLD = 0.15, 0.1  # of scores, as in the paper's code
PRICE = 1.0


class ScoreGates(nn.Module):
    """A gate for each site, open while its score is not below the threshold.

    Backwards the gate is its score, so that a closed site may open again.

    Shape:
        () -> gates ``[n]``, the same for all weights of a site

    """

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.full((len(sites),), START))
        sizes = torch.tensor([site.size for site in sites])
        self.register_buffer("sizes", sizes, persistent=False)

    sizes: Tensor

    def forward(self) -> Tensor:
        hard = (self.scores >= THRESHOLD).to(self.scores.dtype)
        return (hard + (self.scores - self.scores.detach())).repeat_interleave(self.sizes)

    def price(self) -> Tensor:
        """What scores cost: ``[]``."""
        return PRICE * self.scores.abs().mean()


def taps(transfer: Transfer) -> Adaptation:
    """Scores and deltas learn together, then the chosen sites alone."""
    gates = ScoreGates(transfer.sites).to(transfer.device)
    gated = transfer.untrained(transfer.sites, gates)
    transfer.early_stage("scores", gated, lambda _: gates.price())
    chosen = project(gates.scores.detach().cpu(), transfer.sites, transfer.budget)
    return transfer.finish(chosen, gated)
