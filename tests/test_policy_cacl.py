"""Languages in sequence: each adds components to those before, which stay as they are."""

from pathlib import Path

import pytest
import torch
from helpers import make_trainer
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.forms import Rank
from kws.sites import find_sites
from kws.train import EpochBatches
from models.bcresnet import BCResNet
from policy.cacl import factored_sites, factors, prune, regulariser, sigmas
from policy.methods import adapt
from policy.selection import spent

CLASSES = 4


def pair(*found: float, rows: int = 6, columns: int = 9) -> tuple[Tensor, Tensor]:
    """Orthogonal components of these sigmas."""
    count = len(found)
    left = torch.eye(rows)[:, :count] * torch.tensor(found)
    return left, torch.eye(columns)[:count]


def test_sigmas_are_those_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(6, 1, generator=generator), torch.randn(1, 9, generator=generator)
    torch.testing.assert_close(sigmas((left, right)), torch.linalg.svdvals(left @ right)[:1])
    torch.testing.assert_close(sigmas(pair(3.0, 0.5)), torch.tensor([3.0, 0.5]))


def test_orthogonal_components_of_which_one_matters_cost_nothing() -> None:
    assert regulariser([pair(2.0, 0.0, 0.0)]) == pytest.approx(0.0, abs=1e-3)


def test_components_that_matter_alike_or_are_alike_cost() -> None:
    """Hoyer's ratio less one is the root of their number less one, at most."""
    alike = float(regulariser([pair(1.0, 1.0, 1.0, 1.0)]))
    assert alike == pytest.approx(0.1, rel=1e-3)
    left, right = pair(1.0, 0.0)
    right = right[[0, 0]]
    assert regulariser([(left, right)]) == pytest.approx(2.0, rel=1e-3)


def test_the_regulariser_makes_components_orthogonal_and_few() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(6, 4, generator=generator).requires_grad_()
    right = torch.randn(4, 9, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([left, right], 1e-2)
    before = float(regulariser([(left, right)]).detach())
    for _ in range(300):
        optimizer.zero_grad()
        loss = regulariser([(left, right)])
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * before


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (1_000, [[5.0, 1.0], [3.0]]),  # 0.001 has less than 3e-5 of the first site's energy
        (45, [[5.0, 1.0], [3.0]]),
        (44, [[5.0], [3.0]]),
        (15, [[5.0], []]),
        (14, [[], []]),
    ],
)
def test_the_heaviest_components_are_kept(budget: int, kept: list[list[float]]) -> None:
    found = prune([pair(1.0, 0.001, 5.0), pair(3.0)], budget)
    assert [sigmas(one).tolist() for one in found] == kept


def test_components_that_have_learnt_nothing_are_not_kept() -> None:
    assert [left.shape[1] for left, _ in prune([pair(0.0, 0.0)], 1_000)] == [0]


def test_the_stem_and_the_pointwise_convolutions_are_factored(network: BCResNet) -> None:
    sites = factored_sites(find_sites(network))
    assert sites[0].name == "stem.0"
    assert len(sites) == 18
    assert sum(site.with_form(Rank(1)).size for site in sites) == 569  # and a sigma each: 587


def effective(model: Adaptation) -> dict[str, Tensor]:
    with torch.no_grad():
        return {n: w.clone() for n, w in model.weights().items() if not n.startswith("head")}


def test_a_language_builds_on_the_one_before_and_leaves_it_alone(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    first = adapt(network, CLASSES, "cacl", 600, make_trainer(toy, tmp_path / "a"))
    before = effective(first)
    trainer = make_trainer(toy, tmp_path / "b", seed=1)
    second = adapt(network, CLASSES, "cacl", 300, trainer, earlier=first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in effective(first).items())
    assert 0 < spent(second.chosen) - spent(first.chosen) <= 300
    older = {s.module: f for s, f in zip(first.chosen, factors(first), strict=True)}
    for site, (left, right) in zip(second.chosen, factors(second), strict=True):
        if site.module in older:
            count = older[site.module][0].shape[1]
            torch.testing.assert_close(left[:, :count], older[site.module][0])
            torch.testing.assert_close(right[:count], older[site.module][1])
    assert {site.module for site in second.chosen} >= older.keys()


def test_what_is_kept_together_is_what_was_trained(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """A second language computes with the base, the first one's components and its own."""
    first = adapt(network, CLASSES, "cacl", 600, make_trainer(toy, tmp_path / "a"))
    seen: list[nn.Module] = []
    trainer = make_trainer(toy, tmp_path / "b", seed=1, seen=seen)
    second = adapt(network, CLASSES, "cacl", 100, trainer, earlier=first)
    features = next(iter(toy.epoch(0)))[0]
    with torch.no_grad():
        torch.testing.assert_close(second(features), seen[-1](features), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(second(features), first(features), atol=1e-2)


def test_components_of_the_left_are_orthogonal_along_their_rows() -> None:
    """Each column is a component."""
    apart = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.eye(2)
    alike = torch.tensor([[1.0, 2.0], [2.0, 4.0]]), torch.eye(2)
    crossed = torch.tensor([[1.0, 1.0], [2.0, -0.5]]), torch.eye(2)  # orthogonal columns
    assert regulariser([crossed]) < regulariser([alike])
    assert float(regulariser([crossed])) == pytest.approx(0.034, abs=1e-3)
    assert torch.isfinite(regulariser([apart]))


def test_a_component_that_does_not_fit_is_passed_over_for_one_that_does() -> None:
    found = prune([pair(5.0), pair(3.0, rows=20, columns=20), pair(1.0)], 30)
    assert [sigmas(one).tolist() for one in found] == [[5.0], [], [1.0]]
