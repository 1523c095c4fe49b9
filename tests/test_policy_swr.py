"""The budget is kept whatever the scores, and the policy learns where it is worth spending."""

import numpy as np
import pytest
import torch
from helpers import make_sites
from torch import Tensor

from kws.sites import Site, find_sites
from models.bcresnet import BCResNet
from policy.controls import largest_scores, last_scores, random_scores
from policy.fixed import norm_sites
from policy.gates import SHARPNESS, START, GatePolicy, overspend
from policy.selection import project, spent
from policy.swr import allowance

SITES = make_sites([100, 50, 25, 10, 5])


@pytest.mark.parametrize("seed", range(20))
def test_a_projection_never_exceeds_the_budget_nor_leaves_room(seed: int) -> None:
    """Over random sizes, scores and budgets: no site that still fits is left out."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        sites = make_sites(rng.integers(1, 1_000, rng.integers(1, 60)).tolist())
        budget = int(rng.integers(0, spent(sites) * 6 // 5 + 1))
        scores = torch.from_numpy(rng.normal(0, 1, len(sites)))
        if rng.random() < 0.3:
            scores = scores.round()  # many equal scores
        chosen = project(scores, sites, budget)
        left = budget - spent(chosen)
        assert left >= 0
        assert all(site.size > left for site in sites if site not in chosen)
        assert [site.start for site in chosen] == sorted({site.start for site in chosen})


@pytest.mark.parametrize("budget", range(0, 191, 5))
def test_a_site_passed_over_had_better_ones_in_its_place(budget: int) -> None:
    """Whatever is left out does not fit beside the chosen sites of higher score."""
    scores = torch.tensor([0.5, 0.9, 0.1, 0.8, 0.3])
    chosen = project(scores, SITES, budget)
    for number, site in enumerate(SITES):
        if site not in chosen:
            better = [one for one in chosen if scores[SITES.index(one)] > scores[number]]
            assert spent(better) + site.size > budget


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        (0, []),
        (4, []),
        (50, ["s1"]),
        (64, ["s1", "s3"]),
        (65, ["s1", "s3", "s4"]),
        (189, ["s0", "s1", "s3", "s4"]),
        (190, ["s0", "s1", "s2", "s3", "s4"]),
        (10**9, ["s0", "s1", "s2", "s3", "s4"]),
    ],
)
def test_projections_done_by_hand(budget: int, names: list[str]) -> None:
    scores = torch.tensor([0.5, 0.9, 0.1, 0.8, 0.3])
    assert [site.name for site in project(scores, SITES, budget)] == names


def test_equal_scores_give_the_same_choice_every_time() -> None:
    assert project(torch.zeros(5), SITES, 100) == project(torch.zeros(5), SITES, 100) == SITES[:1]


def policy(sites: tuple[Site, ...] = SITES, seed: int = 0, *, start: float = START) -> GatePolicy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return shift(GatePolicy(sites), start - START)


def last_bias(gates: GatePolicy) -> Tensor:
    """What moves all logits alike."""
    return list(gates.parameters())[-1]


def shift(gates: GatePolicy, logit: float) -> GatePolicy:
    """Move every gate's logit."""
    with torch.no_grad():
        last_bias(gates).add_(logit / SHARPNESS)
    return gates


def test_gates_are_hard_forward_and_soft_backward() -> None:
    """Exactly 0 or 1, so that training hears what will be stored; yet every gate can learn."""
    gates, seen = policy(start=0.0), set()
    for seed in range(50):
        torch.manual_seed(seed)
        each = gates().split([site.size for site in SITES])
        assert all((gate == gate[0]).all() for gate in each)  # a site is owned whole or not
        drawn = torch.stack([gate[0] for gate in each])
        seen |= set(drawn.tolist())
        for number in range(5):
            (gradient,) = torch.autograd.grad(drawn[number], last_bias(gates), retain_graph=True)
            assert gradient.item() > 0
    assert seen == {0.0, 1.0}


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
def test_gates_open_as_often_as_their_logit_says(logit: float) -> None:
    many = policy(make_sites([1] * 4_000), start=logit)
    torch.manual_seed(0)
    expected = torch.tensor(logit).sigmoid().item()
    assert many().mean().item() == pytest.approx(expected, abs=0.03)


def test_draws_follow_the_generator_and_decisions_do_not() -> None:
    gates = policy(make_sites([1] * 200), start=0.5)
    torch.manual_seed(1)
    first, second = gates(), gates()
    torch.manual_seed(1)
    assert torch.equal(gates(), first)
    assert not torch.equal(first, second)
    gates.eval()
    assert torch.equal(gates(), gates())
    assert torch.equal(gates(), torch.ones(200))
    assert torch.equal(shift(gates, -1.0)(), torch.zeros(200))


def test_gates_start_open_and_without_preference() -> None:
    logits = policy().logits()
    assert (logits > 0).all()
    assert (logits == logits[0]).all()


def test_spending_is_the_share_of_parameters_in_expectation() -> None:
    """By size, not by number of sites."""
    gates = policy(start=50.0)
    assert gates.spending().item() == pytest.approx(1)
    with torch.no_grad():
        last_bias(gates).fill_(-20.0)
    assert gates.spending().item() == pytest.approx(0)
    gates = policy(start=0.0)
    assert gates.spending().item() == pytest.approx(0.5)

    class Fixed(GatePolicy):
        def logits(self) -> Tensor:
            return torch.tensor([-50.0, 50.0, -50.0, -50.0, 50.0])

    assert Fixed(SITES).spending().item() == pytest.approx(55 / 190)


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.5, 1.0])
def test_the_penalty_is_zero_within_the_budget_and_grows_beyond(budget: float) -> None:
    within = torch.tensor([0.0, 0.5, 1.0]) * budget
    assert not overspend(within, budget).any()
    beyond = overspend(torch.tensor([1.1, 1.5, 2.0]) * budget, budget)
    torch.testing.assert_close(beyond, torch.tensor([0.01, 0.25, 1.0]), atol=1e-5, rtol=1e-4)


def test_the_allowance_falls_from_everything_to_the_budget() -> None:
    shares = [allowance(0.05, step / 100) for step in range(101)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.05)
    assert shares[85] == pytest.approx(0.05)  # the gates have time to settle


def test_the_penalty_closes_gates_until_the_budget_is_kept() -> None:
    gates = policy()
    optimizer = torch.optim.Adam(gates.parameters(), 3e-2)
    gates.allow(0.2)
    for _ in range(120):
        optimizer.zero_grad()
        gates.penalty().backward()
        optimizer.step()
    assert gates.spending().item() <= 0.21


def test_the_policy_keeps_what_the_loss_needs() -> None:
    """Where one site lowers the loss and the others do nothing, its gate stays open."""
    sites = make_sites([30] * 8)
    gates = policy(sites)
    optimizer = torch.optim.Adam(gates.parameters(), 3e-2)
    gates.allow(1 / 8)
    torch.manual_seed(0)
    for _ in range(120):
        optimizer.zero_grad()
        loss = 1 - gates()[5 * 30]  # the first of the sixth site
        (loss + gates.penalty()).backward()
        optimizer.step()
    logits = gates.logits()
    assert logits.argmax().item() == 5
    assert [site.name for site in project(logits.detach(), sites, 30)] == ["s5"]


def test_random_scores_repeat_by_their_generator() -> None:
    drawn = [random_scores(SITES, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    firsts = [
        int(random_scores(SITES, torch.Generator().manual_seed(seed)).argmax())
        for seed in range(200)
    ]
    assert min(firsts.count(site) for site in range(5)) > 20  # every site has its turn


def test_last_sites_come_first() -> None:
    assert [site.name for site in project(last_scores(SITES), SITES, 20)] == ["s3", "s4"]


def test_largest_is_by_the_length_of_the_delta() -> None:
    deltas = [torch.full((size,), value) for size, value in ((100, 0.1), (4, 0.6), (1, 1.1))]
    torch.testing.assert_close(largest_scores(deltas), torch.tensor([1.0, 1.2, 1.1]))


def test_norm_sites_are_all_scales_and_shifts(network: BCResNet) -> None:
    sites = find_sites(network)
    norms = norm_sites(sites)
    names = {name for site in norms for name in site.shapes}
    expected = {
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim == 1 and not name.startswith("head")
    }
    assert names == expected
