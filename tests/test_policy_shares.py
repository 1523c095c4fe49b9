"""Shares spend what is allowed, and go where a loss gains from them."""

import numpy as np
import pytest
import torch
from helpers import make_sites
from torch import nn

from kws.forms import Tied, positions
from kws.sites import find_sites
from policy.selection import spent
from policy.shares import SharePolicy, apportion, shares_that_spend

SITES = make_sites([1_000, 500, 250, 100, 50])


@pytest.mark.parametrize("seed", range(20))
def test_the_budget_is_spent_to_the_last_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(30):
        sites = make_sites(rng.integers(1, 1_000, rng.integers(1, 60)).tolist())
        total = spent(sites)
        budget = int(rng.integers(0, total * 6 // 5 + 1))
        chosen = apportion(torch.from_numpy(rng.normal(0, 2, len(sites))), sites, budget)
        assert spent(chosen) == min(budget, total)
        assert [site.start for site in chosen] == sorted({site.start for site in chosen})


def test_equal_scores_are_equal_shares(network: nn.Module) -> None:
    sites = find_sites(network)
    chosen = apportion(torch.zeros(len(sites)), sites, 883)
    counts = {site.module: site.size for site in chosen}
    for site in sites:
        assert counts.get(site.name, 0) == pytest.approx(site.size * 883 / 8_836, abs=1)
    assert all(isinstance(site.form, Tied) for site in chosen)


@pytest.mark.parametrize("sizes", [[7] * 100, list(range(7, 207, 2))])
def test_of_equal_fractions_the_first_are_rounded_up(sizes: list[int]) -> None:
    """On every machine: half of each site is some whole numbers and a half."""
    sites = make_sites(sizes)
    chosen = apportion(torch.zeros(100), sites, sum(sizes) // 2)
    up = [site.size - size // 2 for site, size in zip(chosen, sizes, strict=True)]
    assert up == [1] * 50 + [0] * 50


def test_everything_is_every_site_whole(network: nn.Module) -> None:
    sites = find_sites(network)
    assert apportion(torch.randn(len(sites)), sites, 8_836) == sites
    assert apportion(torch.randn(len(sites)), sites, 0) == ()


def test_a_share_never_exceeds_a_site_and_others_take_what_it_leaves() -> None:
    sizes = torch.tensor([10, 1_000])
    shares = shares_that_spend(torch.tensor([5.0, 0.0]), sizes, 110)
    torch.testing.assert_close(shares, torch.tensor([1.0, 0.1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("allowance", [0.02, 0.1, 0.5, 1.0])
def test_gates_are_open_within_the_share(allowance: float) -> None:
    policy = SharePolicy(SITES)
    policy.allow(allowance)
    gates = policy().detach()
    assert set(gates.tolist()) <= {0.0, 1.0}
    for gate, site in zip(gates.split([site.size for site in SITES]), SITES, strict=True):
        assert float(gate.sum()) == pytest.approx(allowance * site.size, abs=1)


def test_gates_are_as_many_as_the_numbers_that_are_kept() -> None:
    """As many numbers as were open in the policy's stage are what the last stage has."""
    policy = SharePolicy(SITES)
    policy.allow(0.1)
    gates = policy().detach().split([site.size for site in SITES])
    kept = apportion(policy.scores().detach(), SITES, 190)
    for site, gate in zip(kept, gates, strict=True):
        first = torch.from_numpy(positions(len(gate)) < site.size)
        assert (first != gate.bool()).sum() <= 1


def test_shares_go_where_the_loss_gains() -> None:
    torch.manual_seed(0)
    policy = SharePolicy(make_sites([100] * 8))
    policy.allow(1 / 8)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (-policy()[500:600].sum()).backward()  # the sixth site's gates
        optimizer.step()
    shares = policy.shares().detach()
    assert shares.argmax() == 5
    assert shares[5] > 2 * shares.median()
    assert float(shares.detach().mean()) == pytest.approx(1 / 8, abs=1e-3)


def test_no_site_is_given_up_and_none_takes_all() -> None:
    """Shares differ by e squared at most, however hard a loss pulls."""
    torch.manual_seed(0)
    policy = SharePolicy(make_sites([100] * 8))
    policy.allow(1 / 8)
    optimizer = torch.optim.Adam(policy.parameters(), 1.0)
    for _ in range(100):
        optimizer.zero_grad()
        (-100 * policy()[500:600].sum()).backward()
        optimizer.step()
    shares = policy.shares().detach()
    assert 5 < shares.max() / shares.min() < 7.4


def test_where_all_may_be_spent_every_gate_is_open() -> None:
    policy = SharePolicy(SITES)
    policy.allow(1.0)
    assert (policy() == 1).all()


def test_what_may_be_spent_is_resumed_with_the_rest() -> None:
    policy, resumed = SharePolicy(SITES), SharePolicy(SITES)
    policy.allow(0.1)
    resumed.load_state_dict(policy.state_dict())
    assert resumed.shares().tolist() == policy.shares().tolist()
