"""A policy that hears each input: between the base's blocks and the language's, at a cost."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Kws
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from apps.training.measure import routing_macs
from kws.adapter import Adapter, load_adapter
from kws.base import load_base
from kws.deltas import Adaptation, restored
from kws.errors import KwsError
from kws.sites import find_sites
from models.bcresnet import VIEW_FRAMES, BCResNet
from models.registry import build
from policy.spottune import Routed, rerouted, stored_router


@pytest.fixture
def routed(network: BCResNet) -> Routed:
    """A language that has learnt something, at random, and decides nothing yet."""
    torch.manual_seed(0)
    model = Routed(network, 5, find_sites(network))
    with torch.no_grad():
        model.relative.normal_(0, 0.3)
    return model.eval()


def decide(routed: Routed, logits: Tensor) -> None:
    """These gates for every input: ``[blocks]``."""
    last = routed.router[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(logits)


def outside(routed: Routed) -> Adaptation:
    """The same language, of whose blocks none is its own."""
    sites = routed.chosen
    plain = Adaptation(routed.network, 5, sites)
    plain.head.load_state_dict(routed.head.state_dict())
    pieces = routed.relative.detach().clone().split([site.size for site in sites])
    for site, piece in zip(sites, pieces, strict=True):
        if site.module.startswith("blocks."):
            piece.zero_()
    with torch.no_grad():
        plain.relative.copy_(torch.cat(pieces))
    return plain.eval()


def test_open_gates_are_the_language_and_closed_ones_the_bases_blocks(routed: Routed) -> None:
    features = torch.randn(3, 40, 30)
    whole = Adaptation(routed.network, 5, routed.chosen).initialize_from(routed).eval()
    for logit, wanted in ((1.0, whole), (-1.0, outside(routed))):
        decide(routed, torch.full((12,), logit))
        torch.testing.assert_close(routed(features), wanted(features), atol=1e-4, rtol=1e-4)


def test_each_input_has_its_own_gates_which_the_loss_teaches(routed: Routed) -> None:
    features = torch.randn(4, 40, 30) * torch.tensor([0.1, 0.1, 4.0, 4.0])[:, None, None]
    with torch.no_grad():
        for layer in (routed.router[0], routed.router[-1]):
            assert isinstance(layer, nn.Linear)
            layer.weight.normal_(0, 1.0)
            layer.bias.zero_()
    gates = routed.route(features)
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(gates[0], gates[2])
    alone = torch.cat([routed(row[None]) for row in features])
    torch.testing.assert_close(routed(features), alone, atol=1e-4, rtol=1e-4)
    routed.train()
    nn.functional.cross_entropy(routed(features), torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None and p.grad.any() for p in routed.router.parameters())


def test_gates_hear_how_far_bands_spread_too(routed: Routed) -> None:
    """Of sounds whose means are the same."""
    swing = torch.randn(40, 1) * torch.tensor([1.0, -1.0]).repeat(15)
    features = torch.stack([0.1 * swing, 4.0 * swing])
    with torch.no_grad():
        for layer in (routed.router[0], routed.router[-1]):
            assert isinstance(layer, nn.Linear)
            layer.weight.normal_(0, 1.0)
            layer.bias.zero_()
    first, second = routed.route(features)
    assert not torch.equal(first, second)


def test_at_first_all_blocks_are_the_languages_and_drawn_gates_are_one_or_the_other(
    network: BCResNet,
) -> None:
    model, features = Routed(network, 5, find_sites(network)), torch.randn(40, 40, 30)
    drawn = model.train().route(features)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean() > 0.7  # at a logit of 2
    assert model.eval().route(features).all()


def test_a_stored_language_is_the_one_that_was_learnt(
    routed: Routed, network: BCResNet, make_adapter: Callable[..., Adapter]
) -> None:
    adapter = replace(make_adapter("cmn"), router=stored_router(routed))
    found, whole = rerouted(network, adapter), restored(network, adapter)
    assert torch.equal(found.relative, whole.relative)
    assert torch.equal(found.head.weight, whole.head.weight)
    assert torch.equal(found.head.bias, whole.head.bias)
    assert np.array_equal(stored_router(found), adapter.router)


def executed(model: nn.Module) -> int:
    """Multiply-accumulates of a view, of the products that torch ran."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 40, VIEW_FRAMES, requires_grad=True))  # not by compiled code
    return int(counter.get_total_flops() // 2)


def test_both_blocks_of_every_clip_run(routed: Routed) -> None:
    """Whatever its gates say."""
    whole = executed(Adaptation(routed.network, 5, routed.chosen))
    for logit in (1.0, -1.0):
        decide(routed, torch.full((12,), logit))
        added, share = routing_macs(routed)
        assert added == executed(routed) - whole == 1_513_808
        assert share == pytest.approx(added / whole)


def test_it_is_stored_and_measured_but_cannot_be_listened_with(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    language = ["--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn = ["--method", "spottune", "--epochs", 1, "--out", tmp_path / "de", "--json"]
    code, out, err = kws("adapt", *language, *learn)
    assert code == 0, err
    assert "1,513,808 multiply-accumulates to those of a second (63%)" in err
    adapted = json.loads(out)
    model = tmp_path / "de" / "adapter_model.safetensors"
    assert adapted["stored_bytes"] == model.stat().st_size > 8_836
    heard = [*language, "--adapter", tmp_path / "de", "--split", "validation", "--json"]
    code, out, err = kws("evaluate", *heard)
    assert code == 0, err
    assert json.loads(out)["accuracy"] == adapted["validation_accuracy"]
    adapter, base = load_adapter(tmp_path / "de"), load_base(tiny / "base", build)
    with pytest.raises(KwsError, match="a policy for another network"):
        rerouted(base.network, replace(adapter, router=adapter.router[:-1]))
    clip = next(spoken.parent.rglob("*.wav"))
    bank = ["--base", tiny / "base", "--adapter", tmp_path / "de"]
    code, _, err = kws("detect", clip, *bank)
    assert (code, "spottune, decides anew for each recording" in err) == (1, True), err
    code, _, err = kws("export", *bank, "--out", tmp_path / "de.onnx")
    assert (code, "spottune, decides anew for each recording" in err) == (1, True), err
    code, _, err = kws("adapt", *bank[:2], *learn[:2], "--tts", "--words", "ja,nein", *learn[4:])
    assert (code, "--method spottune cannot go with --tts" in err) == (2, True), err
