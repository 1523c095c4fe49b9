"""Learning by compiled code: what PyTorch computes layer by layer, whatever the network's form."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.forms import Tied
from kws.sites import find_sites
from models import gradient
from models.bcresnet import BCResNet
from models.compiled import MAX_SIZE, library
from models.layout import MELS

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler built the code")

CLASSES = 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(tau: float, causal: bool) -> BCResNet:
    """Statistics, scales and shifts that are far from those of a new network."""
    torch.manual_seed(0)
    network = BCResNet(CLASSES, tau, causal=causal).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, -1.5, 1.5)
            nn.init.normal_(layer.bias)
    return network


def clips(count: int, frames: int) -> Tensor:
    return torch.randn(count, MELS, frames, generator=torch.Generator().manual_seed(1))


def learn(network: BCResNet, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The trunk, and the gradient of a sum in which everything has another weight."""
    network.zero_grad()
    out = network.trunk(features)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    (out * weights.to(out.dtype)).sum().backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return out.detach(), found


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("tau", "frames", "count"), [(1, 98, 1), (1.5, 37, 5), (2, 98, 9), (3, 1, 4), (1, 333, 2)]
)
def test_gradient_is_pytorchs(
    tau: float, frames: int, count: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch computes the reference in double precision."""
    network, features = random_network(tau, causal), clips(count, frames)
    assert gradient.can_learn(network, features)
    out, found = learn(network, features)
    monkeypatch.setattr(gradient, "can_learn", lambda *_: False)
    exact, expected = learn(network.double(), features.double())
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-5)
    assert found.keys() == expected.keys()
    for name, slope in expected.items():
        error = (found[name] - slope).abs().max()
        assert error <= gradient.TOLERANCE * slope.abs().max(), name


def test_threads_change_nothing() -> None:
    network, features = random_network(1, False), clips(11, 50)
    out, found = learn(network, features)
    torch.set_num_threads(3)
    again, also = learn(network, features)
    assert torch.equal(out, again)
    assert all(torch.equal(found[name], also[name]) for name in found)


def test_an_adaptation_learns_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The language's numbers get the gradient; the base's tensors are not touched."""
    network, features = random_network(1, False), clips(4, 98)
    sites = [site.with_form(Tied(3)) if site.size > 3 else site for site in find_sites(network)]
    model, before = Adaptation(network, 3, sites), network.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    called = []

    def trunk(network: BCResNet, features: Tensor) -> Tensor:
        called.append(features)
        return learnt(network, features)

    learnt = gradient.trunk
    monkeypatch.setattr(gradient, "trunk", trunk)

    def slope() -> Tensor:
        model.zero_grad()
        nn.functional.cross_entropy(model(features), torch.tensor([0, 1, 2, 0])).backward()
        assert model.relative.grad is not None
        return model.relative.grad.clone()

    found = slope()
    assert called
    monkeypatch.setattr(gradient, "can_learn", lambda *_: False)
    expected = slope()
    assert (found - expected).abs().max() <= gradient.TOLERANCE * expected.abs().max()
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


def test_a_second_derivative_is_refused() -> None:
    """Instead of one that lacks what PyTorch would add."""
    network, features = random_network(1, False), clips(2, 98)
    total = network.trunk(features).sum()
    with pytest.raises(RuntimeError, match="differentiated twice"):
        torch.autograd.grad(total, [*network.stem.parameters()], create_graph=True)


def test_only_what_it_can_do_is_asked_of_it() -> None:
    """Batch statistics, evaluation without gradients, double precision stay with PyTorch."""
    network, features = random_network(1, False), clips(2, 98)
    assert gradient.can_learn(network, features)
    with torch.no_grad():
        assert not gradient.can_learn(network, features)
    assert gradient.can_learn(network, clips(1, MAX_SIZE))
    assert not gradient.can_learn(network, clips(1, MAX_SIZE + 1))
    assert not gradient.can_learn(BCResNet(3, causal=True, span=MAX_SIZE + 1).eval(), features)
    assert not gradient.can_learn(network, features.double())
    assert not gradient.can_learn(network, features.clone().requires_grad_())
    assert not gradient.can_learn(network, features[..., None])
    assert not gradient.can_learn(copy.deepcopy(network).to("meta"), features)
    assert not gradient.can_learn(network.train(), features)
    network.eval().requires_grad_(False)
    network.head.requires_grad_(True)
    assert not gradient.can_learn(network, features)  # a head alone needs no trunk's gradient
