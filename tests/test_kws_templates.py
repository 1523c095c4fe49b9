"""What layers of one shape have in common, and what a language mixes of it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kws.deltas import Adaptation
from kws.errors import KwsError
from kws.forms import Mix
from kws.sites import find_sites, lone_weights
from kws.templates import Templates, leading
from models.bcresnet import BCResNet

CLASSES = 4


def stack(layers: int = 4, width: int = 60) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(layers, width)).astype(np.float32)


@pytest.fixture
def templates(network: BCResNet) -> Templates:
    return Templates(lone_weights(network, find_sites(network)))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_first_templates_lose_least(count: int) -> None:
    """What they cannot make of the weights is what the other singular values hold."""
    weights = stack()
    kept = leading(list(weights))[:count].astype(np.float64)
    mixture, *_ = np.linalg.lstsq(kept.T, weights.T, rcond=None)
    lost = np.square(kept.T @ mixture - weights.T).sum()
    singular = np.linalg.svd(weights.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(lost, np.square(singular[count:]).sum(), rtol=1e-4, atol=1e-6)


def test_templates_are_orthogonal_and_of_one_size() -> None:
    found = leading(list(stack()))
    np.testing.assert_allclose(found @ found.T / found.shape[1], np.eye(4), atol=1e-5)


def test_layers_all_alike_have_one_template_and_zeros_for_the_rest() -> None:
    one = stack(1)[0]
    found = leading([one, one])
    np.testing.assert_allclose(found[0], one / np.sqrt(np.square(one).mean()), rtol=1e-5)
    assert not found[1].any()
    two = stack(2)
    assert not leading([*two, two[0] - two[1], 2 * two[0]])[2:].any()


def test_groups_are_layers_of_one_name_and_shape(templates: Templates) -> None:
    """The stages of two, two, four and four blocks."""
    points = {module: group for module, group in templates.groups.items() if "point" in module}
    assert [len(group) for group in points.values()] == [2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4]
    assert points["blocks.0.point"] == ("blocks.0.point", "blocks.1.point")


@pytest.mark.parametrize(
    ("module", "count"), [("blocks.0.point", 3), ("stem.0", 1), ("head", 1), ("stem.1", 1)]
)
def test_more_templates_than_layers_are_refused(
    templates: Templates, module: str, count: int
) -> None:
    with pytest.raises(KwsError, match=f"{module} has not {count} templates in common"):
        templates.of(module, Mix(count))


def test_a_mixture_is_added_to_the_base(network: BCResNet, templates: Templates) -> None:
    site = next(site for site in find_sites(network) if site.name == "blocks.4.point")
    adaptation = Adaptation(network, CLASSES, [site.with_form(Mix(2))])
    assert not adaptation.changes_by_site()[0].any()  # it begins as the base
    with torch.no_grad():
        adaptation.relative.copy_(torch.tensor([0.5, -2.0]))
    common = templates.of(site.module, Mix(2))
    assert common is not None
    size = network.get_parameter("blocks.4.point.weight").square().mean().sqrt()
    expected = size * (0.5 * torch.from_numpy(common[0]) - 2 * torch.from_numpy(common[1]))
    torch.testing.assert_close(adaptation.changes_by_site()[0], expected)
    adaptation(torch.zeros(1, 40, 101)).sum().backward()
    assert adaptation.relative.grad is not None
    assert adaptation.relative.grad.all()  # both are learnt
