"""A stream in any pieces has the decisions of the whole, layer by layer."""

import copy
import functools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.errors import KwsError
from kws.sites import find_sites
from models.bcresnet import BCResNet
from models.layout import MELS
from models.streaming import POOL, TOLERANCE, State, advance, feed, initial_state

Make = Callable[..., BCResNet]


@pytest.fixture(scope="module")
def make() -> Make:
    """Networks as if trained: other scales, shifts and statistics than a new one's."""

    @functools.cache
    def make(tau: float = 1.0, span: int = 98) -> BCResNet:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            network = BCResNet(5, tau, dropout=0, causal=True, span=span).train()
            for norm in network.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.momentum = None  # running statistics are those of the one batch below
                    norm.weight.uniform_(0.1, 0.5)
                    norm.bias.normal_(0, 0.2)
            network.head.weight.normal_()
            network(torch.randn(4, MELS, 250) + 1)
        return network.eval().requires_grad_(False)

    return make


def sound(frames: int, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, MELS, frames, generator=generator) + 1


def streamed(network: BCResNet, features: Tensor, sizes: Sequence[int]) -> Tensor:
    """Logits ``[B, T, K]`` of pieces of these sizes; zeros between them are allowed."""
    state, pieces = initial_state(network, len(features)), []
    shapes = {name: past.shape for name, past in state.items()}
    for piece in features.split(list(sizes), dim=2):
        logits, state = feed(network, state, piece)
        assert {name: past.shape for name, past in state.items()} == shapes
        pieces.append(logits)
    return torch.cat(pieces, dim=1)


@contextmanager
def tapped(network: BCResNet) -> Iterator[dict[str, list[Tensor]]]:
    """What stem, blocks and neck give out inside the ``with``, in the order of their runs."""
    seen = defaultdict[str, list[Tensor]](list)
    parts: dict[str, nn.Module] = {"stem": network.stem, "neck": network.neck}
    parts |= {f"block {index}": block for index, block in enumerate(network.blocks)}
    handles = [
        part.register_forward_hook(lambda _, __, out, name=name: seen[name].append(out))
        for name, part in parts.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("tau", [1.0, 2.0])
@pytest.mark.parametrize("size", range(1, 21))
def test_pieces_of_any_size_are_the_whole(make: Make, tau: float, size: int) -> None:
    """After stem, every block, neck and head; the last piece is what remains."""
    network, features = make(tau, span=20), sound(41, batch=1)
    state = initial_state(network)
    with tapped(network) as whole:
        expected = network.frames(features)
    with tapped(network) as pieces:
        found = []
        for piece in features.split(size, dim=2):
            logits, state = feed(network, state, piece)
            found.append(logits)
    assert len(whole) == 14
    assert expected.std(dim=1).min() > 1_000 * TOLERANCE  # the network hears something
    for name, (out,) in whole.items():
        size_of_one = out.abs().max().clamp(min=1)  # layers of random weights give out up to 100
        close(torch.cat(pieces[name], dim=3) / size_of_one, out / size_of_one)
    close(torch.cat(found, dim=1), expected)


def test_only_rounding_differs(make: Make) -> None:
    """In numbers of twice the length it is a millionth of what it is in ordinary ones."""
    network = copy.deepcopy(make()).double()
    features = sound(230, batch=1).double()
    found = streamed(network, features, [1, 2, 3, 5, 19, 200])
    torch.testing.assert_close(found, network.frames(features), atol=1e-12, rtol=0)


@pytest.mark.parametrize("tau", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_random_pieces_are_the_whole(make: Make, tau: float, seed: int) -> None:
    """Longer than a decision's history, so that all that is forgotten is forgotten rightly."""
    network, draw = make(tau), random.Random(seed)
    sizes = [draw.choice([0, 1, 2, 5, 8, 13, 20, 60]) for _ in range(24)]
    frames = sum(sizes) + 230
    features = sound(frames, seed=seed)
    close(streamed(network, features, [*sizes, 230]), network.frames(features))


def test_a_streams_decision_is_that_of_a_clip(make: Make) -> None:
    """One that ends at the same frame and holds its history, as training sees it."""
    network = make(span=30)
    frames = network.history
    features = sound(frames + 40, batch=1)
    decisions = streamed(
        network, features, [8] * (features.shape[2] // 8) + [features.shape[2] % 8]
    )
    for end in (frames, frames + 1, frames + 17, frames + 40):
        close(decisions[:, end - 1], network(features[..., end - frames : end]))
    short = network(features[..., -frames + 40 :])
    assert (decisions[:, -1] - short).abs().max() > 10 * TOLERANCE


def test_an_adapters_weights_are_heard(make: Make) -> None:
    """With a head of another size; the base's own tensors stay as they are."""
    network = make(span=20)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adaptation = Adaptation(network, 3, find_sites(network)[::3]).eval()
    features, state = sound(40), initial_state(network, 2)
    with torch.no_grad():
        nn.init.normal_(adaptation.relative, std=0.1, generator=torch.Generator().manual_seed(0))
        weights = adaptation.weights()
        for start, end in ((0, 7), (7, 8), (8, 8), (8, 40)):
            logits, state = feed(network, state, features[..., start:end], weights)
            assert logits.shape == (2, end - start, 3)
            for frame in range(start, end, 6):
                close(logits[:, frame - start], adaptation(features[..., : frame + 1]))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not torch.allclose(network(features), network.frames(features)[:, 0])


def test_streams_do_not_mix_and_states_are_not_changed(make: Make) -> None:
    """A batch is its rows, and a state may be fed twice."""
    network, features = make(span=20), sound(24)
    _, state = feed(network, initial_state(network, 2), features[..., :16])
    kept = {name: past.clone() for name, past in state.items()}
    both, _ = feed(network, state, features[..., 16:])
    again, _ = feed(network, state, features[..., 16:])
    assert torch.equal(both, again)
    assert all(torch.equal(kept[name], past) for name, past in state.items())
    second: State = {name: past[1:] for name, past in state.items()}
    close(feed(network, second, features[1:, :, 16:])[0], both[1:])


def test_no_frames_change_nothing(make: Make) -> None:
    network = make(span=20)
    _, state = feed(network, initial_state(network, 2), sound(9))
    logits, after = feed(network, state, sound(0))
    assert logits.shape == (2, 0, 5)
    assert all(torch.equal(state[name], past) for name, past in after.items())


def test_who_wants_the_newest_decision_only_may_save_the_others(make: Make) -> None:
    network, features = make(), sound(8)
    state = initial_state(network, 2)
    every, _ = feed(network, state, features)
    seen, _ = advance(network, state, features)
    close(network.decide(seen[..., -network.span :]), every[:, -1:])


def test_silence_settles(make: Make) -> None:
    """After its history of silence a stream is in a state that more silence does not change."""
    network = make(span=20)
    silence = torch.zeros(1, MELS, network.history)
    begun = initial_state(network)
    _, settled = feed(network, begun, silence)
    _, later = feed(network, settled, silence[..., :50])
    assert not torch.allclose(begun["neck.0"], settled["neck.0"])
    for name, past in settled.items():
        close(later[name], past)


def test_the_state_is_as_small_as_its_layers_need(make: Make) -> None:
    """Done by hand for the smallest network: stem, four stages, neck and the mean."""
    network = make()
    numbers = 40 * 4 + 2 * 8 * 2 + 2 * 12 * 4 + 4 * 16 * 8 + 4 * 20 * 16 + 20 * 5 * 4 + 32 * 97
    state = initial_state(network)
    assert sum(past.nbytes for past in state.values()) == 4 * numbers == 22_336
    assert len(state) == 15
    assert list(state)[-1] == POOL
    assert not any(past.any() for past in state.values())


def test_what_cannot_stream_is_refused(make: Make) -> None:
    with pytest.raises(KwsError, match="not causal cannot stream"):
        initial_state(BCResNet(3).eval())
    network = copy.deepcopy(make())
    state = initial_state(network)
    network.train()
    with pytest.raises(KwsError, match="evaluation mode"):
        feed(network, state, sound(3, batch=1))
    with pytest.raises(KwsError, match="evaluation mode"):
        initial_state(network)
