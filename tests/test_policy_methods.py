"""One promise over every method: the budget is kept, the base is not touched."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from helpers import make_sites, make_trainer
from torch import Tensor, nn

from apps.training.stored import pack
from audio_data.task import Task
from kws.adapter import load_adapter, save_adapter
from kws.bank import Bank
from kws.base import Base
from kws.deltas import Adaptation, restored
from kws.errors import UsageError
from kws.files import read_tensors
from kws.runtime import merged
from kws.sites import find_sites
from kws.train import Epoch, EpochBatches
from models.bcresnet import BCResNet
from models.cost import operations
from policy import piggyback
from policy.fixed import pointwise_sites
from policy.methods import METHODS, Method, adapt, methods_where
from policy.piggyback import Masks
from policy.scratch import PLAIN
from policy.selection import spent
from policy.taps import ScoreGates
from policy.transfer import FASTEST, RATE, Trainer, Transfer

TOTAL = 8_836
CLASSES = 5  # one more than the base has
BUDGETED = methods_where(lambda method: method.budgeted)
FIXED = methods_where(lambda method: not method.budgeted)


@pytest.fixture
def trainer(toy: EpochBatches, tmp_path: Path) -> Trainer:
    return make_trainer(toy, tmp_path)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def names(adaptation: Adaptation) -> list[str]:
    return [site.name for site in adaptation.chosen]


def test_few_recordings_are_validated_some_times_not_hundreds(
    network: BCResNet, toy: EpochBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth epoch, but 25 times at most."""
    asked: list[int] = []

    def fitted(*_: object, validate_every: int, **__: object) -> list[Epoch]:
        asked.append(validate_every)
        return []

    monkeypatch.setattr("policy.transfer.fit", fitted)
    for epochs in (10, 200):
        adapt(network, CLASSES, "head", 0, make_trainer(toy, tmp_path, epochs=epochs))
    assert asked == [4, 8]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_leaves_the_base_alone(
    method: str, network: BCResNet, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piggyback, "START", 0.01)  # within reach of a few steps
    before = state(network)
    trained = adapt(network, CLASSES, method, 883, trainer)
    assert same(before, state(network))
    assert trained.head.weight.shape == (CLASSES, 32)
    assert trained.gates is None  # the policy is thrown away
    assert sum(len(epochs) for epochs in trainer.history.values()) == 4
    assert list(trainer.history)[-1] == "final"
    if method != "head":
        assert all(piece.any() for piece in trained.changes_by_site())
        forms = Counter(site.module for site in trained.chosen)
        assert max(forms.values()) == METHODS[method].forms


@pytest.mark.parametrize("method", methods_where(lambda method: method.streams))
def test_what_is_stored_computes_what_was_trained(
    method: str, base: Base, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bank, merged by it, and without torch; a change and back is exact and costs nothing."""
    monkeypatch.setattr(piggyback, "START", 0.01)
    trained = adapt(base.network, CLASSES, method, 883, trainer).eval()
    task = Task("cmn", tuple(f"word {number}" for number in range(CLASSES)), {})
    save_adapter(trainer.folder, pack(base, trained, task, 16), "card")
    adapter = load_adapter(trainer.folder)
    bank = Bank(base, lambda wave: wave)
    features = next(iter(trainer.batches.epoch(0)))[0]
    cost, own = operations(bank.network, features), bank.probabilities(features)
    bank.set_adapter(bank.load_adapter(adapter))
    assert operations(bank.network, features) == cost
    found = bank.probabilities(features)
    for language in ("ar", "cmn"):
        bank.set_adapter(language)
        assert torch.equal(bank.probabilities(features), own if language == "ar" else found)
    state = {name: tensor.numpy() for name, tensor in base.network.state_dict().items()}
    apart = BCResNet(CLASSES).eval()
    apart.load_state_dict({n: torch.from_numpy(a) for n, a in merged(state, adapter).items()})
    with torch.no_grad():
        logits = bank.network(features)
        torch.testing.assert_close(logits, trained(features), atol=1e-2, rtol=1e-2)  # rounded
        for same in (bank.merge_and_unload(), apart, restored(base.network, adapter).eval()):
            torch.testing.assert_close(logits, same(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", [name for name in BUDGETED if name != "lora-budget"])
@pytest.mark.parametrize("budget", [1, 40, 883, TOTAL])
def test_the_budget_is_never_exceeded(
    method: str, budget: int, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    trainer = make_trainer(toy, tmp_path, epochs=1 if method in ("random", "last", "even") else 4)
    trained = adapt(network, CLASSES, method, budget, trainer)
    used = spent(trained.chosen)
    assert used == trained.numbers.numel() <= budget
    if method == "cacl":
        return  # owns as few components as have the energy
    left = [site for site in find_sites(network) if site not in trained.chosen]
    assert all(site.size > budget - used for site in left)  # and all of it is put to use
    if method in ("swr", "even", "recast-swr"):
        assert used == budget  # parts of sites fit any budget
    elif budget < 8:
        assert not trained.chosen  # a head alone
    if budget == TOTAL:
        assert used == TOTAL


@pytest.mark.parametrize(("budget", "rank"), [(528, 1), (1_055, 1), (1_056, 2), (TOTAL, 20)])
def test_lora_takes_the_highest_rank_that_the_budget_holds(
    budget: int, rank: int, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """But none higher than a convolution's full one, beyond which nothing is gained."""
    trained = adapt(network, CLASSES, "lora-budget", budget, make_trainer(toy, tmp_path, epochs=1))
    points = pointwise_sites(find_sites(network))
    wanted = {f"{site.module}@rank{min(rank, *site.tensor_shapes[0][:2])}" for site in points}
    assert set(names(trained)) == wanted


def test_a_budget_that_holds_no_rank_is_refused(network: BCResNet, trainer: Trainer) -> None:
    told = "owns 528 numbers at rank 1, and the budget holds 527 beside the head; raise --budget"
    with pytest.raises(UsageError, match=f"--method lora-budget {told}"):
        adapt(network, CLASSES, "lora-budget", 527, trainer)
    assert trainer.history == {}


def test_a_method_that_spends_too_much_is_found_out(
    network: BCResNet, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a method of one's own does: the budget is the promise of all."""
    greedy = Method(lambda transfer: transfer.finish(transfer.sites))
    monkeypatch.setattr("policy.methods.METHODS", {"greedy": greedy})
    with pytest.raises(ValueError, match=r"greedy spent 8,836 of 10 numbers"):
        adapt(network, CLASSES, "greedy", 10, trainer)


def test_a_method_that_finds_nothing_in_a_network_is_refused(
    network: BCResNet, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be recorded under its name, and be the head alone."""
    idle = Method(lambda transfer: transfer.finish(()), budgeted=False)
    monkeypatch.setattr("policy.methods.METHODS", {"idle": idle})
    with pytest.raises(UsageError, match="--method idle finds nothing to own in this network"):
        adapt(network, CLASSES, "idle", 10, trainer)
    assert trainer.history == {}  # found out before anything is learnt


class OneOfOurOwn(nn.Module):
    """A network unlike the project's: a normalisation comes first, and convolutions have biases."""

    def __init__(self, *, biases: tuple[bool, ...], affine: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=affine)
        self.stem = nn.Conv2d(1, 4, 3, bias=biases[0])
        self.points = nn.Sequential(*(nn.Conv2d(4, 4, 1, bias=bias) for bias in biases[1:]))
        self.head = nn.Linear(4, 4)

    def forward(self, features: Tensor) -> Tensor:
        x = self.stem(self.norm(features.unsqueeze(1)))
        logits: Tensor = self.head(self.points(x).relu().mean(dim=(2, 3)))
        return logits


@pytest.mark.parametrize(
    ("method", "owned"),
    [
        ("lora", {"points.1"}),
        ("lora-budget", {"points.1"}),
        ("vera", {"points.1"}),
        ("recast-lora", {"points.1"}),
        ("cacl", {"stem", "points.1"}),
        ("piggyback", {"stem", "points.1"}),
    ],
)
def test_convolutions_with_a_bias_are_left_to_others(
    trainer: Trainer, method: str, owned: set[str]
) -> None:
    trained = adapt(OneOfOurOwn(biases=(False, True, False)), CLASSES, method, 40, trainer)
    assert {name.partition("@")[0] for name in names(trained)} == owned


@pytest.mark.parametrize(
    "method", ["lora", "lora-budget", "vera", "recast-lora", "cacl", "piggyback"]
)
def test_where_all_convolutions_have_a_bias_these_have_nothing_to_learn(
    trainer: Trainer, method: str
) -> None:
    with pytest.raises(UsageError, match=f"--method {method} finds nothing to own in this network"):
        adapt(OneOfOurOwn(biases=(True, True)), CLASSES, method, 40, trainer)
    assert trainer.history == {}


class HeadAlone(nn.Module):
    """A network without a site."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(40, 4)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.mean(dim=2))
        return logits


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_a_site_has_a_head_to_learn_and_nothing_else(
    method: str, trainer: Trainer
) -> None:
    if METHODS[method].head_alone:
        assert not adapt(HeadAlone(), CLASSES, method, 40, trainer).chosen
        return
    with pytest.raises(UsageError, match=f"--method {method} finds nothing to own in this network"):
        adapt(HeadAlone(), CLASSES, method, 40, trainer)
    assert trainer.history == {}


def test_a_network_that_learns_what_nothing_stores_is_not_begun_anew(trainer: Trainer) -> None:
    """A normalisation without scale and shift has statistics alone."""
    other = OneOfOurOwn(biases=(False,), affine=False)
    with pytest.raises(UsageError, match="scratch does not store what norm learns"):
        adapt(other, CLASSES, "scratch", 40, trainer)
    assert trainer.history == {}


def test_two_stages_of_one_name_are_refused(
    network: BCResNet, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would go on from the first one's checkpoint, at its end."""

    def twice(transfer: Transfer) -> Adaptation:
        transfer.learn_everything()
        return transfer.finish(transfer.sites[:1], transfer.learn_everything())

    monkeypatch.setattr("policy.methods.METHODS", {"twice": Method(twice)})
    with pytest.raises(ValueError, match="two stages are called 'transfer'"):
        adapt(network, CLASSES, "twice", 1_000, trainer)


def test_random_numbers_of_others_are_left_as_they_were(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    adapt(network, CLASSES, "lora", 40, make_trainer(toy, tmp_path, epochs=1))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_fixed_methods_own_what_they_own(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    sites = find_sites(network)
    owned = {
        method: adapt(
            network, CLASSES, method, 5, make_trainer(toy, tmp_path / method, epochs=1)
        ).chosen
        for method in FIXED
    }
    assert owned["full"] == sites
    assert owned["head"] == ()
    assert owned["norms"] == tuple(site for site in sites if site.kind == "norm")
    counts = {method: spent(chosen) for method, chosen in owned.items()}
    assert counts == {
        **{"head": 0, "norms": 2_416, "bitfit": 1_208},
        **{
            "lora": 528,
            "vera": 340,
            "full": TOTAL,
            "joint": TOTAL,
            "scratch": TOTAL,
            "spottune": TOTAL,
        },
        **{"recast": 24, "recast-all": 120, "recast-lora": 552, "piggyback": 6_420},
    }


def test_a_network_from_scratch_is_kept_as_differences_from_the_base(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """With statistics of its own, which the base's scales and shifts take over."""
    trainer = make_trainer(toy, tmp_path)
    trained = adapt(network, CLASSES, "scratch", 0, trainer)
    state = read_tensors(trainer.stage("final").path)
    own = BCResNet(CLASSES)
    own.load_state_dict(
        {n.removeprefix("model."): torch.from_numpy(a) for n, a in state.items() if "model." in n}
    )
    features = next(iter(toy.epoch(0)))[0]
    with torch.no_grad():
        torch.testing.assert_close(
            trained.eval()(features), own.eval()(features), atol=1e-4, rtol=1e-4
        )
    means = [layer.running_mean for layer in own.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(mean is not None and mean.any() for mean in means)


def test_a_score_that_falls_closes_its_site_and_one_that_rises_opens_it() -> None:
    """TAPS: the loss rewards the gate of the second site alone, and scores have a price."""
    sites = make_sites([2] * 3)
    gates = ScoreGates(sites)
    optimizer = torch.optim.SGD(gates.parameters(), 0.05)
    assert gates().tolist() == [1.0] * 6
    for _ in range(30):
        optimizer.zero_grad()
        (gates.price() - gates()[2]).backward()
        optimizer.step()
    assert gates().tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_a_weight_that_does_harm_is_dropped_and_one_that_helps_is_kept() -> None:
    """Piggyback: the loss falls without the first weight, and rises without the second."""
    masks = Masks(make_sites([2] * 1))
    optimizer = torch.optim.SGD(masks.parameters(), 0.05)
    assert masks().tolist() == [0.0, 0.0]
    for _ in range(30):
        optimizer.zero_grad()
        (masks()[1] - masks()[0]).backward()
        optimizer.step()
    assert masks().tolist() == [1.0, 0.0]


@dataclass(frozen=True)
class Told(Trainer):
    """Notes the rate of each stage, and what its penalty adds to the loss when it begins."""

    rates: dict[str, float] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)

    def apart(self, method: str) -> "Told":
        return replace(self, folder=self.folder / method, history={})

    def __call__(
        self,
        name: str,
        model: nn.Module,
        epochs: int,
        lr: float,
        penalty: Callable[[float], Tensor] | None = None,
    ) -> None:
        self.rates[name] = lr
        self.penalties[name] = 0.0 if penalty is None else penalty(0.9).item()
        super().__call__(name, model, epochs, lr, penalty)


@pytest.fixture
def told(trainer: Trainer) -> Told:
    return Told(**vars(trainer))


def test_stages_have_their_penalties(network: BCResNet, told: Told) -> None:
    """Scores that are not zero, gates beyond the budget, components that are alike."""
    for method, stage in (("taps", "scores"), ("swr-layers", "policy"), ("cacl", "components")):
        adapt(network, CLASSES, method, 883, told.apart(method))
        assert told.penalties.pop(stage) > 0.1
    assert set(told.penalties.values()) == {0.0}


def test_few_weights_are_trained_faster_and_others_at_the_plans_rate(
    network: BCResNet, told: Told
) -> None:
    """Shared numbers move all weights; a network of its own learns as a base does."""
    rates = {}
    for method in ("full", "even", "head", "norms", "piggyback", "scratch"):
        adapt(network, CLASSES, method, 883, told.apart(method))
        rates[method] = told.rates["final"] / told.plan.lr
    few = (TOTAL / 2_416) ** 0.5
    assert rates == pytest.approx(
        {"full": 1, "even": 1, "head": 1, "norms": few, "piggyback": 1, "scratch": PLAIN / RATE}
    )
    adapt(network, CLASSES, "last", 300, told.apart("last"))
    assert told.rates["final"] == FASTEST * told.plan.lr


def test_last_takes_the_sites_nearest_the_output(network: BCResNet, trainer: Trainer) -> None:
    assert names(adapt(network, CLASSES, "last", 1_000, trainer))[-2:] == ["neck.1", "neck.2"]


def test_largest_takes_the_sites_that_moved_furthest(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """In the stage that trains all of them."""
    full = adapt(network, CLASSES, "full", 0, make_trainer(toy, tmp_path / "a", epochs=1, lr=3e-3))
    moved = {s.name: p.norm() for s, p in zip(full.chosen, full.changes_by_site(), strict=True)}
    ranked = sorted(moved, key=lambda name: -moved[name])
    chosen = names(
        adapt(network, CLASSES, "largest", 2_000, make_trainer(toy, tmp_path / "b", epochs=4))
    )
    assert ranked[0] in chosen
    assert sum(moved[name] for name in chosen) > sum(moved[n] for n in ranked[-len(chosen) :])


@pytest.mark.parametrize("method", ["random", "swr", "swr-layers"])
def test_the_seed_decides(
    method: str, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    trained = [
        adapt(network, CLASSES, method, 883, make_trainer(toy, tmp_path / str(run), seed=seed))
        for run, seed in enumerate((0, 0, 1))
    ]
    assert same(state(trained[0]), state(trained[1]))
    assert names(trained[0]) == names(trained[1])
    assert not same(state(trained[0]), state(trained[2]))
    if method != "swr":  # whose shares so few steps hardly move
        assert names(trained[0]) != names(trained[2])


@pytest.mark.parametrize("method", ["swr", "swr-layers", "largest", "taps"])
def test_the_last_stage_goes_on_with_what_was_learnt(
    method: str, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """Deltas and head: with a rate of nearly nothing they stay what the stages before found."""
    trainer = make_trainer(toy, tmp_path, lr=1e-12)
    trained = adapt(network, CLASSES, method, 883, trainer)
    assert trained.numbers.abs().max() > 1e-4
    before = trainer.stage(list(trainer.history)[-2]).path
    head = torch.from_numpy(read_tensors(before)["model.head.weight"])
    torch.testing.assert_close(trained.head.weight.detach(), head)


class CutError(Exception):
    pass


@pytest.mark.parametrize(
    "method", ["swr", "swr-layers", "largest", "taps", "cacl", "recast-swr", "spottune"]
)
@pytest.mark.parametrize("steps", [3, 5, 7])
def test_a_run_cut_in_any_stage_goes_on_as_if_it_was_not(
    method: str, steps: int, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """Two steps an epoch: after transfer, in the policy's stage, in the last one."""
    whole = adapt(network, CLASSES, method, 883, make_trainer(toy, tmp_path / "whole"))
    left = steps

    def cut(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise CutError

    broken = make_trainer(toy, tmp_path / "cut")
    with pytest.raises(CutError):
        adapt(network, CLASSES, method, 883, Trainer(**(vars(broken) | {"watch": cut})))
    torch.rand(steps)  # another process has another global generator
    resumed = adapt(network, CLASSES, method, 883, make_trainer(toy, tmp_path / "cut"))
    assert names(resumed) == names(whole)
    assert same(state(resumed), state(whole))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epochs", [1, 3])
def test_stages_need_four_epochs(
    method: str, epochs: int, network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    if not METHODS[method].staged:
        adapt(network, CLASSES, method, 883, make_trainer(toy, tmp_path, epochs=epochs))
        return
    with pytest.raises(UsageError, match=f"--method {method} trains in stages: .* 4 epochs"):
        adapt(network, CLASSES, method, 883, make_trainer(toy, tmp_path, epochs=epochs))


def test_unknown_methods_are_answered_with_the_known(network: BCResNet, trainer: Trainer) -> None:
    with pytest.raises(UsageError, match="unknown method 'ia3'; there are swr, swr-layers, even"):
        adapt(network, CLASSES, "ia3", 883, trainer)


def test_epochs_of_all_stages_are_those_asked_for(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    """A method with stages trains no longer than one without."""
    for method in BUDGETED:
        trainer = make_trainer(toy, tmp_path / method, epochs=6)
        adapt(network, CLASSES, method, 883, trainer)
        history: list[Epoch] = [epoch for stage in trainer.history.values() for epoch in stage]
        assert len(history) == 6


def test_piggyback_keeps_or_drops_each_weight(
    network: BCResNet, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piggyback, "START", 0.01)
    base = state(network)
    trained = adapt(network, CLASSES, "piggyback", 0, trainer)
    assert {site.kind for site in trained.chosen} == {"conv"}
    assert set(trained.numbers.unique().tolist()) == {0.0, 1.0}
    for name, weight in trained.weights().items():
        if not name.startswith("head"):
            assert ((weight == base[name]) | (weight == 0)).all()


@pytest.mark.parametrize("method", ["lora", "vera", "cacl", "recast-lora", "swr", "recast-all"])
def test_four_bits_change_little(method: str, base: Base, trainer: Trainer) -> None:
    """Of factors neither is much larger than the other, or the smaller would be lost."""
    trained = adapt(base.network, CLASSES, method, 883, trainer).eval()
    task = Task("cmn", tuple(f"word {number}" for number in range(CLASSES)), {})
    exact = trained.changes().detach()
    for bits, share in ((8, 0.03), (4, 0.4)):
        save_adapter(trainer.folder, pack(base, trained, task, bits), "card")  # type: ignore[arg-type]
        stored = restored(base.network, load_adapter(trainer.folder)).changes().detach()
        assert (stored - exact).norm() < share * exact.norm()


def test_a_score_below_zero_has_a_price_too() -> None:
    """So that a closed site of TAPS is no farther from opening than its gradients took it."""
    gates = ScoreGates(make_sites([2] * 2))
    with torch.no_grad():
        gates.scores.copy_(torch.tensor([0.2, -0.4]))
    assert float(gates.price().detach()) == pytest.approx(0.3)
