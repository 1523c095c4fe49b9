"""Training goes on after a kill as if none was, and says what is wrong."""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kws.deltas import Adaptation
from kws.errors import KwsError
from kws.sites import find_sites
from kws.train import DivergedError, EpochBatches, Plan, Stage, fingerprint, fit, predict, prefetch
from models.bcresnet import BCResNet

EPOCHS = 4


def pretraining() -> nn.Module:
    """With dropout and running statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return BCResNet(4, dropout=0.1)


def adapting() -> nn.Module:
    """Deltas over a frozen network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = BCResNet(4)
        return Adaptation(network, 4, find_sites(network)[::2])


MODELS = {"pretraining": pretraining, "adapting": adapting}


class CutError(Exception):
    pass


class Cut:
    """Batches that break off in the middle of an epoch."""

    def __init__(self, batches: EpochBatches, epoch: int) -> None:
        self.batches, self.last = batches, epoch

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        for number, batch in enumerate(self.batches.epoch(index)):
            if (index, number) == (self.last, 1):
                raise CutError
            yield batch


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def plan(**changes: object) -> Plan:
    return replace(Plan(epochs=EPOCHS, lr=1e-2, seed=3), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "optimizer"), [("pretraining", "sgd"), ("pretraining", "adamw"), ("adapting", "adamw")]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    toy: EpochBatches, tmp_path: Path, kind: str, optimizer: str
) -> None:
    """Whichever epoch is cut; the process that goes on starts from scratch."""
    make, settings = MODELS[kind], plan(optimizer=optimizer)
    whole = make()
    history = fit(whole, toy, settings)
    for epoch in range(EPOCHS):
        stage = Stage(tmp_path, str(epoch), "settings")
        with pytest.raises(CutError):
            fit(make(), Cut(toy, epoch), settings, stage=stage)
        assert stage.path.is_file() == (epoch > 0)
        torch.rand(epoch + 1)  # another process has another global generator
        resumed = make()
        again = fit(resumed, toy, settings, stage=stage)
        assert same(weights(whole), weights(resumed))
        assert [e.loss for e in again] == [e.loss for e in history]
        assert [e.accuracy for e in again] == [e.accuracy for e in history]


def test_a_run_can_be_cut_again_and_again(toy: EpochBatches, tmp_path: Path) -> None:
    whole, stage = pretraining(), Stage(tmp_path, "x", "settings")
    fit(whole, toy, plan())
    for epoch in range(1, EPOCHS):
        with pytest.raises(CutError):
            fit(pretraining(), Cut(toy, epoch), plan(), stage=stage)
    resumed = pretraining()
    fit(resumed, toy, plan(), stage=stage)
    assert same(weights(whole), weights(resumed))


def test_a_finished_stage_is_read_back_without_training(toy: EpochBatches, tmp_path: Path) -> None:
    model, stage = pretraining(), Stage(tmp_path, "x", "settings")
    history = fit(model, toy, plan(), stage=stage)
    other = pretraining()
    assert fit(other, Cut(toy, 0), plan(), stage=stage) == history
    assert same(weights(model), weights(other))
    (tmp_path / f".{stage.path.name}.123.tmp").touch()  # of a program that was killed
    stage.remove()
    stage.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "stage before x"])
def test_a_checkpoint_of_other_settings_is_refused(
    toy: EpochBatches, tmp_path: Path, name: str
) -> None:
    """And kept: the run it belongs to can still go on."""
    fit(pretraining(), toy, plan(epochs=1), stage=Stage(tmp_path, "x", fingerprint({"lr": 1})))
    before = (tmp_path / "checkpoint-x.safetensors").read_bytes()
    with pytest.raises(KwsError, match=r"unfinished run with other .*choose another --out"):
        fit(pretraining(), toy, plan(), stage=Stage(tmp_path, name, fingerprint({"lr": 2})))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-x.safetensors"]
    assert (tmp_path / "checkpoint-x.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_network_is_named(toy: EpochBatches, tmp_path: Path) -> None:
    """As of another version of this program, which calls the same settings by the same names."""
    stage = Stage(tmp_path, "x", fingerprint({}))
    fit(pretraining(), toy, plan(epochs=1), stage=stage)
    other = nn.Linear(3, 4)
    with pytest.raises(KwsError, match="is of another version of this program; delete it"):
        fit(other, toy, plan(), stage=stage)


def test_a_truncated_checkpoint_is_named(toy: EpochBatches, tmp_path: Path) -> None:
    stage = Stage(tmp_path, "x", "settings")
    fit(pretraining(), toy, plan(epochs=1), stage=stage)
    stage.path.write_bytes(stage.path.read_bytes()[:-9])
    with pytest.raises(KwsError, match=r"checkpoint-x\.safetensors is truncated"):
        fit(pretraining(), toy, plan(), stage=stage)


def test_fingerprints_see_every_change() -> None:
    settings = {"seed": 0, "words": ["yes", "no"], "plan": {"lr": 0.1}}
    assert fingerprint(settings) == fingerprint(dict(reversed(settings.items())))
    for change in ({"seed": 1}, {"words": ["no", "yes"]}, {"plan": {"lr": 0.2}}, {"new": None}):
        assert fingerprint(settings | change) != fingerprint(settings)


def test_the_seed_decides_and_nothing_else(toy: EpochBatches) -> None:
    models = [pretraining() for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        fit(model, toy, plan(seed=seed))
    assert torch.equal(torch.random.get_rng_state(), before)  # global randomness is left alone
    first, again, other = map(weights, models)
    assert same(first, again)
    assert not same(first, other)


def test_training_learns(toy: EpochBatches) -> None:
    history = fit(pretraining(), toy, plan(epochs=16))
    assert max(epoch.loss for epoch in history[-3:]) < history[0].loss - 0.2
    assert min(epoch.accuracy for epoch in history[-3:]) > history[0].accuracy


@pytest.mark.parametrize("rate", [math.inf, 1e30])
def test_a_loss_that_is_not_finite_stops_the_run(
    toy: EpochBatches, tmp_path: Path, rate: float
) -> None:
    """No checkpoint of it is kept, nor one from before."""
    stage = Stage(tmp_path, "x", "settings")
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in epoch 1; lower --lr"):
        fit(pretraining(), toy, plan(lr=rate, optimizer="sgd"), stage=stage)
    assert not stage.path.exists()
    with pytest.raises(CutError):
        fit(pretraining(), Cut(toy, 1), plan(optimizer="sgd"), stage=stage)
    assert stage.path.exists()
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in epoch 2; lower --lr"):
        fit(pretraining(), toy, plan(lr=rate, optimizer="sgd"), stage=stage)
    assert not stage.path.exists()


class Numb(nn.Module):
    """Hears nothing of weights that are no numbers, as compiled layers may."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        return self.number.where(self.number.isfinite(), 1.0) * features.mean(dim=2)[:, :4]


def test_weights_that_are_no_numbers_stop_the_run(toy: EpochBatches, tmp_path: Path) -> None:
    stage = Stage(tmp_path, "x", "settings")
    with pytest.raises(
        DivergedError, match="weights became NaN or infinite in epoch 1; lower --lr"
    ):
        fit(Numb(), toy, plan(lr=math.inf, optimizer="sgd"), stage=stage)
    assert not stage.path.exists()


class Drawing(nn.Module):
    """Notes what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(1))
        self.drawn: list[float] = []

    def forward(self, features: Tensor) -> Tensor:
        self.drawn.append(torch.rand(()).item())
        return self.number * features.mean(dim=2)[:, :4]


def test_every_epoch_draws_anew(toy: EpochBatches) -> None:
    model, again = Drawing(), Drawing()
    for one in (model, again):
        fit(one, toy, plan())
    assert len({*model.drawn}) == EPOCHS * len(toy)
    assert again.drawn == model.drawn


class Deaf(nn.Module):
    """Says the same whatever it hears, until its one number is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(1))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.number * self.frozen * features.new_zeros(len(features), 4)


def test_a_penalty_is_minimised_and_told_how_far_training_is(toy: EpochBatches) -> None:
    model, told = Deaf(), []

    def penalty(progress: float) -> Tensor:
        told.append(progress)
        return model.number.square().sum()

    fit(model, toy, plan(lr=0.1), penalty=penalty)
    assert told == [step / 8 for step in range(8)]
    assert model.number.item() < 0.7
    assert model.frozen.item() == 1


def test_validation_is_asked_now_and_then_and_at_the_end(toy: EpochBatches) -> None:
    """In any mode it leaves the model in."""
    modes: list[bool] = []

    def validate(model: nn.Module) -> float:
        modes.append(model.training)
        model.eval()
        return 0.5

    history = fit(Deaf(), toy, plan(epochs=5), validate=validate, validate_every=2)
    assert [epoch.validation for epoch in history] == [None, 0.5, None, 0.5, 0.5]
    assert modes == [True] * 3


def test_watching_sees_every_step(toy: EpochBatches) -> None:
    seen: list[tuple[int, int]] = []
    fit(
        Deaf(),
        toy,
        plan(),
        watch=lambda step, steps, loss, accuracy: seen.append((step, steps)),
    )
    assert seen == [(step, 8) for step in range(1, 9)]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(warmup: float) -> None:
    rates = [plan(warmup=warmup).lr_factor(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert top == pytest.approx(100 * warmup, abs=1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 <= rates[-1] < 0.002
    assert rates[0] > 0  # the first step is not lost


def test_prediction_is_in_evaluation_mode_and_restores_the_mode(network: BCResNet) -> None:
    features = torch.randn(7, 40, 20, generator=torch.Generator().manual_seed(0))
    expected = network(features)
    network.train()
    before = weights(network)
    torch.testing.assert_close(predict(network, features, batch=3), expected)
    assert network.training
    assert same(before, weights(network))
    assert not predict(network.eval(), features).requires_grad
    assert not network.training


def test_a_batch_is_made_while_the_one_before_is_in_use() -> None:
    second_is_made = threading.Event()

    def made() -> Iterator[int]:
        yield 1
        second_is_made.set()
        yield 2

    batches = prefetch(made())
    assert next(batches) == 1
    assert second_is_made.wait(timeout=60)
    assert list(batches) == [2]


def test_what_fails_while_it_is_made_ahead_fails_where_it_is_asked_for() -> None:
    def made() -> Iterator[int]:
        yield 1
        raise CutError

    batches = prefetch(made())
    assert next(batches) == 1
    with pytest.raises(CutError):
        next(batches)


def test_an_epochs_loss_and_accuracy_are_means_over_its_clips(toy: EpochBatches) -> None:
    """As whoever watches is told, too."""
    told: list[tuple[float, float]] = []
    history = fit(Deaf(), toy, plan(epochs=2), watch=lambda *now: told.append(now[2:]))
    for index, epoch in enumerate(history):
        labels = torch.cat([labels for _, labels in toy.epoch(index)])
        assert epoch.loss == pytest.approx(math.log(4))  # all four classes are alike to it
        assert epoch.accuracy == (labels == 0).float().mean().item()
    assert told[-1] == (history[-1].loss, history[-1].accuracy)


def test_two_seeds_have_no_epoch_in_common(toy: EpochBatches) -> None:
    """Else runs of several seeds would be nearly one."""
    first, other = Drawing(), Drawing()
    fit(first, toy, plan(seed=0))
    fit(other, toy, plan(seed=1))
    assert not {*first.drawn} & {*other.drawn}
