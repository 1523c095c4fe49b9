"""Languages known at once: batches of each in turn, and one head of which each has some rows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Kws, make_trainer
from torch import Tensor

from apps.training.recordings import Recordings, Selection
from audio_data.manifest import read_manifest, write_manifest
from kws.base import BaseConfig
from kws.files import read_json
from kws.train import EpochBatches
from models.bcresnet import BCResNet
from policy.joint import Together, first_classes
from policy.methods import adapt


def test_an_epoch_holds_one_of_every_language(toy: EpochBatches) -> None:
    both = Together([toy, toy], [4, 3])
    batches = list(both.epoch(1))
    assert len(batches) == len(both) == 2 * len(toy)
    first = [labels for _, labels in batches if labels.min() < 4]
    second = [labels - 4 for _, labels in batches if labels.min() >= 4]
    for some in (first, second):
        wanted = [labels for _, labels in toy.epoch(1)]
        assert all(torch.equal(a, b) for a, b in zip(some, wanted, strict=True))


class Alike:
    """Batches of one class, so that a label tells the language."""

    def __len__(self) -> int:
        return 5

    def epoch(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(len(self)):
            yield torch.zeros(2, 40, 20), torch.zeros(2, dtype=torch.int64)


def test_languages_come_in_another_order_each_epoch() -> None:
    both = Together([Alike()] * 4, [1] * 4)
    orders = [[int(labels[0]) for _, labels in both.epoch(index)] for index in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == [n for n in range(4) for _ in range(5)]
    other = Together([Alike()] * 4, [1] * 4, seed=1)
    assert [int(labels[0]) for _, labels in other.epoch(0)] != orders[0]  # of another seed


def test_a_language_has_its_own_rows_of_the_head(
    network: BCResNet, toy: EpochBatches, tmp_path: Path
) -> None:
    both = Together([toy, toy], [4, 4])
    trained = adapt(network, 8, "joint", 0, make_trainer(both, tmp_path, epochs=1))
    features = next(iter(toy.epoch(0)))[0]
    with torch.no_grad():
        logits = first_classes(trained, 4)(features)
        torch.testing.assert_close(logits, trained(features)[:, :4])


@pytest.mark.parametrize("beside", [["language=es"], ["language=es", "language=en"]])
def test_a_language_is_learnt_beside_others(
    tiny: Path,
    kws: Kws,
    spoken: Path,
    tmp_path: Path,
    beside: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People stay where the first language has them."""
    told: list[object] = []
    to_learn, people = Recordings.to_learn, {"somebody": "test"}

    def spied(selection: Selection, base: BaseConfig, known: Any) -> Recordings:
        told.append(known)
        return to_learn(selection, base, known)

    monkeypatch.setattr(Recordings, "to_learn", spied)
    monkeypatch.setattr(Recordings, "people", people)
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn += ["--method", "joint", "--epochs", 1, "--out", tmp_path / "joint"]
    code, _, err = kws(*learn, *(part for other in beside for part in ("--beside", other)))
    assert code == 0, err
    config = read_json(tmp_path / "joint" / "adapter_config.json")
    assert config["labels"][:3] == ["ja", "links", "nein"]
    assert config["method"] == "joint"
    assert told == [{}, *[people] * len(beside)]


def test_who_is_learnt_from_beside_is_remembered(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Else they would be tested in their own language, some time."""
    path = tmp_path / "manifest.csv"
    clips = read_manifest(spoken, {"language": ["de", "es"]})
    named = [replace(c, speaker=f"{c.language}-{c.speaker}", licence=None) for c in clips]
    write_manifest(path, named)
    learn = ["adapt", "--base", tiny / "base", "--data", path, "--filter", "language=de"]
    learn += ["--method", "joint", "--beside", "language=es", "--closed", "--epochs", 1]
    code, _, err = kws(*learn, "--out", tmp_path / "joint")
    assert code == 0, err
    people = read_json(tmp_path / "joint" / "adapter_config.json")["people"]
    assert people == {str(clip.speaker): clip.split for clip in named}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["joint"], "--method joint needs other languages: --beside corpus=NAME"),
        (["swr", "--beside", "language=es"], "--beside is for --method joint; leave it out"),
    ],
)
def test_only_joint_learns_beside_others(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    code, _, err = kws(*learn, "--out", tmp_path / "out", "--method", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()
