"""Neural Mimicry, by which RECAST's authors find templates, and the least error it could have.

Tasnim and Plummer, https://arxiv.org/abs/2411.16870; what is done instead: :mod:`policy.recast`.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

ITERATIONS: Final = 2_000
RATE: Final = 1e-2  # a tenth after every third of the iterations
CLIP: Final = 1.0  # of the gradient's norm
SETS: Final = 2  # of coefficients, which are averaged


def mimic(
    weights: Tensor,
    templates: int,
    *,
    generator: torch.Generator,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Neural Mimicry: templates and coefficients that reproduce a group's weights; no data is used.

    Smooth L1 between what they make and the weights, by RMSprop with clipped gradients.

    Args:
        weights: ``[G, w]``, of one group's layers, flat.
        templates: n.
        generator: draws where they begin.
        iterations: of training.

    Returns:
        The weights as they make them, ``[G, w]``.

    """
    group, width = weights.shape
    size = float(weights.square().mean().sqrt())
    wanted = weights / size  # so that one rate suits all; the loss is that of the weights
    made = nn.Parameter(torch.randn(templates, width, generator=generator))
    coefficients = nn.Parameter(torch.randn(SETS, group, templates, generator=generator))
    optimizer = torch.optim.RMSprop([made, coefficients], RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, iterations // 3))
    for _ in range(iterations):
        optimizer.zero_grad()
        loss = functional.smooth_l1_loss(coefficients.mean(0) @ made, wanted, beta=1 / size)
        loss.backward()
        nn.utils.clip_grad_norm_([made, coefficients], CLIP)
        optimizer.step()
        schedule.step()
    return (coefficients.mean(0) @ made).detach() * size


def error(made: Tensor, weights: Tensor) -> float:
    """Share of the weights' energy that is missing in what was made of them."""
    return float((made - weights).square().sum() / weights.square().sum())


def least_error(weights: Tensor, templates: int) -> float:
    """What n templates miss at best: the energy of the singular values left out."""
    energy = torch.linalg.svdvals(weights).square()
    return float(energy[templates:].sum() / energy.sum())
