"""Neural Mimicry, beside the best that its templates could do."""

import pytest
import torch
from torch import Tensor

from policy.mimicry import error, least_error, mimic


@pytest.fixture
def weights() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(4, 256, generator=generator)


@pytest.mark.parametrize("templates", [1, 2, 3])
def test_mimicry_comes_near_the_best_and_never_beyond(weights: Tensor, templates: int) -> None:
    made = mimic(weights, templates, generator=torch.Generator().manual_seed(1))
    best = least_error(weights, templates)
    assert best - 1e-6 <= error(made, weights) <= 1.02 * best


def test_as_many_templates_as_layers_give_the_weights(weights: Tensor) -> None:
    made = mimic(weights, 4, generator=torch.Generator().manual_seed(1))
    assert least_error(weights, 4) == 0
    assert error(made, weights) < 1e-3


def test_mimicry_is_decided_by_its_generator(weights: Tensor) -> None:
    first, again, other = (
        mimic(weights, 2, generator=torch.Generator().manual_seed(seed), iterations=20)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
