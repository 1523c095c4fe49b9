"""Deltas add to the base and never touch it."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kws.config import HEAD
from kws.deltas import Adaptation
from kws.forms import Rank, Tied
from kws.sites import Site, find_sites, flatten, unflatten
from kws.train import EpochBatches, Plan, fit
from models.bcresnet import BCResNet

CLASSES = 4


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[name], after[name]) for name in before | after)


def clips(count: int = 6) -> Tensor:
    return torch.randn(count, 40, 20, generator=torch.Generator().manual_seed(5))


def with_head_of(network: nn.Module, adaptation: Adaptation) -> Adaptation:
    """So that only the deltas can make a difference."""
    adaptation.head.load_state_dict(network.get_submodule(HEAD).state_dict())
    return adaptation.eval()


def changed(adaptation: Adaptation) -> Adaptation:
    """Deltas that are not zero."""
    with torch.no_grad():
        adaptation.relative.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return adaptation


def constantly(gates: Tensor, sites: Sequence[Site]) -> Callable[[], Tensor]:
    """One gate a site, for all changes of its weights."""
    return lambda: gates.repeat_interleave(torch.tensor([site.num_weights for site in sites]))


def test_sites_are_all_parameters_but_the_heads(network: nn.Module) -> None:
    sites = find_sites(network)
    names = [name for site in sites for name in site.shapes]
    assert set(names) == {n for n, _ in network.named_parameters() if not n.startswith(HEAD)}
    assert len(names) == len(set(names))
    assert sites[0].start == 0
    assert [site.stop for site in sites[:-1]] == [site.start for site in sites[1:]]
    assert sum(site.size for site in sites) == 8_836 == len(flatten(network, sites))


def test_a_normalisation_without_scale_and_shift_is_no_site() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4))
    assert [site.name for site in find_sites(network)] == ["0", "2"]


def test_a_vector_and_its_parameters_are_each_other(network: nn.Module) -> None:
    sites = find_sites(network)
    named = unflatten(flatten(network, sites), sites)
    assert same(named, {name: network.get_parameter(name) for name in named})
    vector = torch.arange(8_836.0)
    for site in sites:
        mine = torch.cat([unflatten(vector, sites)[name].reshape(-1) for name in site.shapes])
        assert torch.equal(mine, vector[site.start : site.stop])


@torch.no_grad()
def test_a_new_adaptation_computes_what_the_base_computes(network: nn.Module) -> None:
    """Bit for bit, in every choice of sites."""
    expected, sites = network(clips()), find_sites(network)
    for chosen in ((), sites[:1], sites[3:9], sites):
        adaptation = with_head_of(network, Adaptation(network, CLASSES, chosen))
        assert torch.equal(adaptation(clips()), expected)


def test_training_moves_neither_the_bases_tensors_nor_its_statistics(
    network: nn.Module, toy: EpochBatches
) -> None:
    """In training mode, where normalisations would move theirs although nothing is required."""
    before, sites = state(network), find_sites(network)
    adaptation = Adaptation(network, CLASSES, sites)
    fit(adaptation, toy, Plan(epochs=2, lr=1e-2))
    assert adaptation.numbers.abs().max() > 1e-3  # something was learnt
    assert same(before, state(network))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.grad is not None for parameter in network.parameters())


def test_the_network_stays_in_evaluation_mode(network: nn.Module) -> None:
    """Statistics stay the base's, and nothing is dropped of what few parameters learn."""
    adaptation = Adaptation(network.train(), CLASSES, find_sites(network)).train()
    assert adaptation.training
    assert not any(module.training for module in network.modules())


def test_all_sites_are_as_many_deltas_as_full_fine_tuning(network: nn.Module) -> None:
    """And what is to be trained is deltas and head, nothing else."""
    sites = find_sites(network)
    full = sum(p.numel() for n, p in network.named_parameters() if not n.startswith(HEAD))
    adaptation = Adaptation(network, CLASSES, sites)
    assert adaptation.numbers.numel() == full
    trained = {name: p.numel() for name, p in adaptation.named_parameters() if p.requires_grad}
    assert trained == {"relative": full, "head.weight": 4 * 32, "head.bias": 4}
    assert set(adaptation.state_dict()) == set(trained)  # a checkpoint holds no base


def test_deltas_of_all_sites_can_express_any_network(network: nn.Module) -> None:
    sites = find_sites(network)
    wanted = torch.randn(8_836, generator=torch.Generator().manual_seed(3))
    adaptation = Adaptation(network, CLASSES, sites)
    with torch.no_grad():
        adaptation.relative.copy_((wanted - adaptation.base) / adaptation.unit)
    torch.testing.assert_close(adaptation.vector(), wanted)


def test_shared_sites_are_the_bases(network: nn.Module) -> None:
    """What a language does not own stays the base's own, and costs no gradient."""
    sites = find_sites(network)
    chosen = (sites[2], sites[7], sites[-1])
    adaptation = changed(Adaptation(network, CLASSES, chosen))
    owned = {name for site in chosen for name in site.shapes}
    weights = adaptation.weights()
    assert set(weights) == owned | {f"{HEAD}.weight", f"{HEAD}.bias"}
    for name in owned:
        assert not torch.equal(weights[name], network.get_parameter(name)), name


@torch.no_grad()
def test_closed_gates_are_the_base(network: nn.Module) -> None:
    sites = find_sites(network)
    gates = torch.zeros(len(sites))
    adaptation = changed(Adaptation(network, CLASSES, sites, constantly(gates, sites)))
    assert torch.equal(with_head_of(network, adaptation)(clips()), network(clips()))


def test_open_gates_are_no_gates(network: nn.Module) -> None:
    sites = find_sites(network)
    gated = changed(Adaptation(network, CLASSES, sites, constantly(torch.ones(len(sites)), sites)))
    plain = changed(Adaptation(network, CLASSES, sites))
    assert torch.equal(gated.vector(), plain.vector())


def test_every_gate_closes_its_own_site(network: nn.Module) -> None:
    """W' = W + g dW, site by site."""
    sites = find_sites(network)
    for closed, site in enumerate(sites):
        gates = torch.ones(len(sites))
        gates[closed] = 0
        adaptation = changed(Adaptation(network, CLASSES, sites, constantly(gates, sites)))
        moved = adaptation.vector() != adaptation.base
        expected = torch.ones_like(moved)
        expected[site.start : site.stop] = False
        assert torch.equal(moved, expected), site.name


def test_gradients_reach_chosen_deltas_gates_and_head(network: nn.Module) -> None:
    sites = find_sites(network)[:4]
    gates = torch.ones(4, requires_grad=True)
    adaptation = changed(Adaptation(network, CLASSES, sites, constantly(gates, sites))).eval()
    adaptation(clips()).square().sum().backward()
    for tensor in (adaptation.relative, gates, adaptation.head.weight, adaptation.head.bias):
        assert tensor.grad is not None
        assert tensor.grad.any()


def test_a_step_is_as_large_for_every_tensor(network: nn.Module) -> None:
    """In units of its own magnitude; of a tensor of zeros the magnitude is one."""
    sites = find_sites(network)
    with torch.no_grad():
        network.get_parameter("stem.1.bias").zero_()
    adaptation = Adaptation(network, CLASSES, sites)
    with torch.no_grad():
        adaptation.relative.fill_(0.5)
    for name, weight in adaptation.weights().items():
        if not name.startswith(HEAD):
            before = network.get_parameter(name)
            expected = before.square().mean().sqrt() if before.any() else torch.tensor(1.0)
            torch.testing.assert_close(weight - before, (expected / 2).expand_as(before))


def test_pieces_are_each_sites_own_delta(network: nn.Module) -> None:
    sites = find_sites(network)
    chosen = (sites[1], sites[5])
    adaptation = changed(Adaptation(network, CLASSES, chosen))
    pieces = adaptation.changes_by_site()
    assert [len(piece) for piece in pieces] == [site.size for site in chosen]
    assert torch.equal(torch.cat(pieces), adaptation.numbers)


def test_taking_over_keeps_the_sites_that_both_own(network: nn.Module) -> None:
    sites = find_sites(network)
    old = changed(Adaptation(network, CLASSES, (sites[2], sites[4], sites[6])))
    new = Adaptation(network, CLASSES, (sites[1], sites[4], sites[6], sites[8])).initialize_from(
        old
    )
    assert torch.equal(new.changes_by_site()[1], old.changes_by_site()[1])
    assert torch.equal(new.changes_by_site()[2], old.changes_by_site()[2])
    assert not new.changes_by_site()[0].any()
    assert not new.changes_by_site()[3].any()
    assert torch.equal(new.head.weight, old.head.weight)
    assert torch.equal(new.head.bias, old.head.bias)
    with torch.no_grad():
        old.relative.zero_()
    assert new.changes_by_site()[1].any()  # a copy


@pytest.mark.parametrize("classes", [1, 4, 40])
def test_a_language_has_its_own_number_of_words(network: nn.Module, classes: int) -> None:
    adaptation = Adaptation(network, classes, find_sites(network)[:2])
    assert adaptation.eval()(clips()).shape == (6, classes)
    assert network(clips()).shape == (6, 4)


def pointwise(network: nn.Module) -> Site:
    return next(site for site in find_sites(network) if site.name == "blocks.3.point")


def test_factors_begin_as_the_base_and_learn(network: nn.Module, toy: EpochBatches) -> None:
    site = pointwise(network).with_form(Rank(2))
    adaptation = Adaptation(network, CLASSES, [site])
    assert adaptation.numbers.numel() == site.size == 2 * (12 + 12)
    assert torch.equal(adaptation.vector(), adaptation.base)
    fit(adaptation, toy, Plan(epochs=2, lr=1e-2))
    delta = adaptation.changes_by_site()[0].view(12, 12)
    assert torch.linalg.matrix_rank(delta) == 2


def test_forms_of_one_module_add_up_and_have_their_own_gates(network: nn.Module) -> None:
    whole = pointwise(network)
    norm = find_sites(network)[1]
    chosen = [whole, norm, whole.with_form(Rank(1))]
    adaptation = changed(Adaptation(network, CLASSES, chosen))
    pieces = adaptation.changes_by_site()
    for gates in ([1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]):
        adaptation.gates = constantly(torch.tensor(gates), chosen)
        weights = adaptation.weights()
        delta = weights[f"{whole.name}.weight"] - network.get_parameter(f"{whole.name}.weight")
        expected = gates[0] * pieces[0] + gates[2] * pieces[2]
        torch.testing.assert_close(delta.reshape(-1), expected)
        moved = weights[f"{norm.name}.weight"] != network.get_parameter(f"{norm.name}.weight")
        assert moved.any() == bool(gates[1])


def test_a_step_of_factors_is_as_large_as_one_of_weights(network: nn.Module) -> None:
    """Relative to the tensor's magnitude, where the right factor is as drawn."""
    site = pointwise(network)
    adaptation = Adaptation(network, CLASSES, [site.with_form(Rank(1))])
    with torch.no_grad():
        adaptation.relative[:12] = 0.02
    rms = network.get_parameter("blocks.3.point.weight").square().mean().sqrt()
    right = adaptation.numbers[12:]
    torch.testing.assert_close(adaptation.changes_by_site()[0].view(12, 12)[5], 0.02 * rms * right)


def test_tied_numbers_begin_as_the_means_of_what_their_weights_learnt(network: nn.Module) -> None:
    """With signs undone, so that of all that so many numbers can be they are the nearest."""
    whole = pointwise(network)
    learnt = changed(Adaptation(network, CLASSES, [whole]))
    tied = Adaptation(network, CLASSES, [whole.with_form(Tied(5))]).initialize_from(learnt)
    which, signs = Tied(5).sources(whole.tensor_shapes)
    spread = np.zeros((whole.size, 5), np.float32)
    spread[np.arange(whole.size), which] = signs
    nearest = np.linalg.lstsq(spread, learnt.changes().detach().numpy(), rcond=None)[0]
    np.testing.assert_allclose(tied.numbers.detach().numpy(), nearest, atol=1e-6)


def test_threads_change_no_gradient() -> None:
    """Of many weights that share a number, several threads may take their parts."""
    network = BCResNet(4, tau=3).eval()
    model = Adaptation(
        network, 4, [s.with_form(Tied(s.size // 10 or 1)) for s in find_sites(network)]
    )
    weights = torch.randn(len(model.where), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = []
        for _ in range(20):
            model.zero_grad()
            (model.changes() * weights).sum().backward()
            assert model.relative.grad is not None
            found.append(model.relative.grad.clone())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found)
