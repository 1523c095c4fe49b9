"""BC-ResNet has the paper's size and cost, and behaves as the paper says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kws.base import BaseConfig
from kws.config import FeatureConfig
from kws.errors import KwsError, UsageError
from kws.sites import find_sites
from models.bcresnet import BCResNet, BroadcastedBlock, SubSpectralNorm
from models.cost import macs, operations, stream_macs
from models.layout import MELS, TAUS
from models.registry import build

FRAMES = FeatureConfig().frames
PARAMETERS = {1.0: 9_232, 1.5: 17_154, 2.0: 27_284, 3.0: 54_168, 6.0: 187_812, 8.0: 321_068}
PAPER_MACS = {1.0: 3.1e6, 1.5: 5.5e6, 2.0: 8.5e6, 3.0: 16.2e6, 6.0: 53.1e6, 8.0: 89.1e6}
PAPER_FRAMES = 100
PAPER_TOLERANCE = 0.05  # relative; means and activations, which grow with the width, are left out


@pytest.mark.parametrize("tau", TAUS)
def test_parameters_are_the_papers(tau: float) -> None:
    network = build(BaseConfig(architecture="bcresnet", tau=tau, language="en", labels=("w",) * 12))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[tau]


@pytest.mark.parametrize("tau", TAUS)
def test_cost_is_the_papers(tau: float) -> None:
    """The paper's count includes a scale and a shift for each normalised number."""
    network, normalised = BCResNet(12, tau), []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, out: normalised.append(out.numel()))
    cost = macs(network, PAPER_FRAMES) + 2 * sum(normalised)
    assert cost == pytest.approx(PAPER_MACS[tau], rel=PAPER_TOLERANCE)
    assert macs(network, FRAMES) < PAPER_MACS[tau]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv1d(MELS, 8, 5), 96 * 8 * MELS * 5),
        (nn.Conv1d(MELS, MELS, 3, groups=MELS), 98 * MELS * 3),
        (nn.Conv1d(MELS, 4, 1, stride=2), 50 * 4 * MELS),
        (nn.Linear(100, 7), MELS * 7 * 100),
        (nn.BatchNorm1d(MELS), 0),
    ],
)
def test_macs_are_those_done_by_hand(layer: nn.Module, expected: int) -> None:
    assert macs(nn.Sequential(layer), frames=100) == expected


def test_counting_leaves_the_network_as_it_was() -> None:
    network = BCResNet(3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert macs(network, FRAMES) == macs(network, FRAMES)  # no hook is left behind
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_operations_are_what_is_executed() -> None:
    """In evaluation mode nothing is drawn, and one convolution runs for each of the layers."""
    network = BCResNet(3, dropout=0.1).eval()
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    executed = operations(network, torch.zeros(1, MELS, FRAMES))
    assert sum("convolution" in name for name in executed) == convolutions
    assert not any("bernoulli" in name for name in executed)
    assert any("bernoulli" in name for name in operations(network.train(), torch.zeros(2, MELS, 9)))


@pytest.mark.parametrize("frames", [1, 7, FRAMES])
def test_any_number_of_frames_gives_scores(frames: int) -> None:
    network = BCResNet(5, 1.5).eval()
    features = torch.randn(2, MELS, frames, generator=torch.Generator().manual_seed(0))
    logits = network(features)
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits[1:], network(features[1:]))  # clips do not mix


def test_blocks_see_as_far_as_their_dilation() -> None:
    """A click at the middle reaches ``dilation`` frames to either side, over all frequencies."""
    torch.manual_seed(0)
    block = BroadcastedBlock(4, 4, stride=1, dilation=4, dropout=0.1).eval()
    quiet = torch.zeros(1, 4, 10, 21)
    click = quiet.clone()
    click[..., 5, 10] = 1.0
    with torch.no_grad():
        moved = (block(click) - block(quiet)).abs().amax(dim=(0, 1, 2))
    assert moved.nonzero().flatten().tolist() == [6, 10, 14]


def test_causal_blocks_see_what_came_before_only() -> None:
    torch.manual_seed(0)
    block = BroadcastedBlock(4, 4, stride=1, dilation=4, dropout=0.1, causal=True).eval()
    click = torch.zeros(1, 4, 10, 21)
    click[..., 5, 10] = 1.0
    with torch.no_grad():
        moved = (block(click) - block(torch.zeros_like(click))).abs().amax(dim=(0, 1, 2))
    assert moved.nonzero().flatten().tolist() == [10, 14, 18]


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_a_causal_network_has_the_same_parameters(tau: float) -> None:
    """Names, shapes, order and sites: what is made for one form fits the other."""
    plain, causal = BCResNet(5, tau), BCResNet(5, tau, causal=True)
    shapes = [[(name, p.shape) for name, p in n.state_dict().items()] for n in (plain, causal)]
    assert shapes[0] == shapes[1]
    assert find_sites(plain) == find_sites(causal)
    causal.load_state_dict(plain.state_dict())


def test_no_later_frame_changes_a_causal_decision() -> None:
    """Which it does in a network that is not causal."""
    torch.manual_seed(0)
    causal, plain = BCResNet(5, causal=True).eval(), BCResNet(5).eval()
    features = torch.randn(1, MELS, 40)
    later = features.clone()
    later[..., 25:] += 3
    with torch.no_grad():
        before, after = causal.frames(features), causal.frames(later)
        assert (plain.trunk(features) != plain.trunk(later))[..., 24].any()
    assert torch.equal(before[:, :25], after[:, :25])
    assert (before != after)[:, 25:].any(dim=2).all()


@pytest.mark.parametrize("frames", [1, 20, FRAMES, 230])
def test_a_causal_network_decides_at_the_last_frame(frames: int) -> None:
    network = BCResNet(5, causal=True).eval()
    features = torch.randn(2, MELS, frames, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        every = network.frames(features)
        assert every.shape == (2, frames, 5)
        torch.testing.assert_close(every[:, -1], network(features), atol=1e-5, rtol=0)


def test_a_causal_network_decides_where_it_is_asked() -> None:
    """At the ends of several words of one row: row after row, as at every frame."""
    network = BCResNet(5, causal=True).eval()
    features = torch.randn(3, 40, 260)
    ends = [40, 213, 259]
    expected = network.frames(features)[:, ends].flatten(0, 1)  # [3 * 3, K]
    torch.testing.assert_close(network(features, ends), expected)


def test_history_is_what_a_causal_decision_depends_on() -> None:
    """No frame more and no frame less, in numbers fine enough to see the weakest."""
    torch.manual_seed(0)
    network = BCResNet(3, causal=True, span=10).double().eval()
    assert network.receptive_field == 117
    assert network.history == 126
    features = torch.randn(1, MELS, 140, dtype=torch.float64, requires_grad=True)
    network(features).square().sum().backward()
    assert features.grad is not None
    touched = features.grad.abs().amax(dim=(0, 1)).nonzero().flatten()
    assert touched.tolist() == list(range(140 - network.history, 140))


def test_only_causal_networks_decide_at_every_frame() -> None:
    with pytest.raises(KwsError, match="not causal decides once a view"):
        BCResNet(3).frames(torch.zeros(1, MELS, FRAMES))


def test_a_causal_decision_spans_one_view() -> None:
    config = BaseConfig(
        architecture="bcresnet",
        tau=1.0,
        language="en",
        labels=("a", "b"),
        causal=True,
        features=FeatureConfig(hop=200),
    )
    network = build(config)
    assert isinstance(network, BCResNet)
    assert network.causal
    assert network.span == config.averaged == config.features.frames == 78
    assert build(replace(config, span=40)).span == 40


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_a_streams_frame_costs_what_a_clips_frame_costs(tau: float) -> None:
    """And its decision one head more; ten frames cost ten times one, in one piece or in ten."""
    network = BCResNet(12, tau, causal=True).eval()
    head = network.width * 12
    assert stream_macs(network) - head == (macs(network, FRAMES) - head) / FRAMES
    assert stream_macs(network, 10) == 10 * stream_macs(network)


def test_stages_widen_their_view_and_halve_the_bands() -> None:
    """As the paper's table has it, from 40 bands over the stem's 20 to 5."""
    network, shapes = BCResNet(3).eval(), []
    for block in network.blocks:
        block.register_forward_hook(lambda block, _, out: shapes.append((block, out.shape)))
    with torch.no_grad():
        network(torch.zeros(1, MELS, FRAMES))
    seen = [(block.time.dilation[1], shape[1], shape[2]) for block, shape in shapes]
    assert seen == [(1, 8, 20)] * 2 + [(2, 12, 10)] * 2 + [(4, 16, 5)] * 4 + [(8, 20, 5)] * 4
    assert all(shape[3] == FRAMES for _, shape in shapes)


def test_each_band_is_normalised_by_itself() -> None:
    """A loud band does not change how a quiet one comes out."""
    norm = SubSpectralNorm(2, bands=5).train()
    wave = torch.randn(8, 2, 20, 6, generator=torch.Generator().manual_seed(0))
    loud = wave.clone()
    loud[:, :, 16:] *= 100  # the highest of the five bands
    before, after = norm(wave), norm(loud)
    torch.testing.assert_close(before[:, :, :16], after[:, :, :16])
    torch.testing.assert_close(before[:, :, 16:], after[:, :, 16:], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("architecture", "tau"), [("bcresnet", 2.5), ("transformer", 1.0)])
def test_unknown_networks_are_refused_with_the_known(architecture: str, tau: float) -> None:
    config = BaseConfig(architecture=architecture, tau=tau, language="en", labels=("a", "b"))
    with pytest.raises(UsageError, match=r"bcresnet with tau 1, 1\.5, 2, 3, 6, 8"):
        build(config)
