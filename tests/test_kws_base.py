"""A base is read back bit for bit, or refused in one sentence."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kws.base import (
    BASE_CONFIG,
    BASE_MODEL,
    Base,
    load_base,
    read_base_config,
    read_base_tensors,
    save_base,
    save_base_config,
    tensors_of,
)
from kws.config import FeatureConfig
from kws.detector import DetectorConfig, Levels, Timing
from kws.errors import KwsError
from kws.files import sha256, write_json, write_tensors
from models.bcresnet import BCResNet
from models.registry import build


@pytest.fixture
def folder(tmp_path: Path, base: Base) -> Path:
    config = replace(base.config, features=FeatureConfig(floor=1e-5), licences=("CC0-1.0",))
    save_base(tmp_path / "base", config, base.network)
    return tmp_path / "base"


def rewrite(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / BASE_CONFIG).read_text(encoding="utf-8")) | changes
    (folder / BASE_CONFIG).write_text(json.dumps(raw), encoding="utf-8")


def test_a_base_comes_back_equal(folder: Path, base: Base) -> None:
    """Every tensor with its shape and type, and the front end's settings."""
    found = load_base(folder, build)
    expected, tensors = base.network.state_dict(), found.network.state_dict()
    assert expected.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name])
        assert tensor.dtype == expected[name].dtype
    assert found.config.labels == base.config.labels
    assert found.config.features == FeatureConfig(floor=1e-5)
    assert found.config.sha256 == sha256(folder / BASE_MODEL)


def test_a_loaded_base_listens_and_does_not_learn(folder: Path) -> None:
    network = load_base(folder, build).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_equal_weights_are_equal_bytes(tmp_path: Path, base: Base, folder: Path) -> None:
    """So that the digest in an adapter names the base wherever it was copied."""
    again = save_base(tmp_path / "again", base.config, load_base(folder, build).network)
    assert (tmp_path / "again" / BASE_MODEL).read_bytes() == (folder / BASE_MODEL).read_bytes()
    assert again.sha256 == read_base_config(folder).sha256


def test_a_causal_base_comes_back_causal(folder: Path, base: Base) -> None:
    """Its weights are those of any base; only the configuration tells."""
    digest = read_base_config(folder).sha256
    config = save_base(folder, replace(base.config, causal=True), base.network)
    found = load_base(folder, build)
    assert found.config.causal
    assert found.config.sha256 == config.sha256 == digest
    assert isinstance(found.network, BCResNet)
    assert found.network.causal


def test_older_bases_are_not_causal(folder: Path) -> None:
    """Their configuration does not speak of it."""
    raw = json.loads((folder / BASE_CONFIG).read_text(encoding="utf-8"))
    del raw["causal"]
    (folder / BASE_CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    found = load_base(folder, build)
    assert isinstance(found.network, BCResNet)
    assert not found.network.causal
    assert not found.config.causal


def test_older_bases_have_the_detector_of_new_ones(folder: Path) -> None:
    raw = json.loads((folder / BASE_CONFIG).read_text(encoding="utf-8"))
    del raw["detector"]
    (folder / BASE_CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    assert read_base_config(folder).detector == DetectorConfig()


def test_new_settings_leave_the_weights_and_their_digest_alone(folder: Path) -> None:
    before = (folder / BASE_MODEL).stat().st_mtime_ns
    config = read_base_config(folder)
    detector = DetectorConfig(
        keywords={"خلف": Levels(0.9, 0.3)}, timings={"خلف": Timing(1, 2, 1.5)}
    )
    save_base_config(folder, replace(config, detector=detector))
    assert load_base(folder, build).config == replace(config, detector=detector)
    assert (folder / BASE_MODEL).stat().st_mtime_ns == before
    assert len(list(folder.iterdir())) == 2


def test_one_changed_byte_is_seen(folder: Path) -> None:
    data = bytearray((folder / BASE_MODEL).read_bytes())
    data[-1] ^= 1
    (folder / BASE_MODEL).write_bytes(data)
    with pytest.raises(KwsError, match=r"base_model\.safetensors is damaged or of another base"):
        load_base(folder, build)


@pytest.mark.parametrize("missing", [BASE_CONFIG, BASE_MODEL])
def test_missing_files_are_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(KwsError, match=missing.replace(".", r"\.")):
        load_base(folder, build)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 0}, "base of format 0, not 1"),
        ({"features": {"mels": 40, "colour": "red"}}, "is no base's configuration .*colour"),
        ({"features": None}, "is no base's configuration"),
        ({"labels": 3}, "is no base's configuration"),
        ({"causal": "no"}, "is no base's configuration .*causal must be bool, not 'no'"),
        ({"tau": "two"}, "is no base's configuration .*tau must be float, not 'two'"),
        ({"tau": float("nan")}, "is no base's configuration .*tau must be float, not nan"),
        ({"labels": ["a", 1]}, r"is no base's configuration .*labels must be a list of str"),
        ({"sha256": None}, "is no base's configuration .*sha256 must be str"),
        ({"metrics": []}, "is no base's configuration .*metrics must be dict"),
        ({"features": "log"}, "is no base's configuration"),
        ({"features": {"window": "a"}}, "is no base's configuration .*window must be int"),
        ({"features": {"hop": 0}}, "is no base's configuration .*hop and bands cannot be"),
        ({"features": {"hop": 481}}, "is no base's configuration .*bands cannot be"),
        ({"features": {"window": 16_001}}, "is no base's configuration .*bands cannot be"),
        ({"features": {"sample_rate": 8_000}}, "is no base's configuration .*bands cannot be"),
        ({"features": {"low": 9_000.0}}, "is no base's configuration .*scale cannot be"),
        ({"features": {"mels": 80}}, "bcresnet hears 40 bands, not 80"),
        ({"detector": None}, "is no base's configuration"),
        ({"detector": {"loudness": 1}}, "is no base's configuration .*loudness"),
        ({"more": 3}, "is no base's configuration .*more"),
        ({"tau": 2.0}, "holds another network than bcresnet of width 2 with 4 classes"),
        ({"labels": ["a", "b"]}, "holds another network than bcresnet of width 1 with 2 classes"),
        ({"architecture": "dscnn"}, "unknown network dscnn"),
        ({"labels": []}, "is no base's configuration .*there is no label"),
        ({"language": "\x07"}, "is no base's configuration .*is no name"),
        (
            {"span": 1, "causal": True},
            "is no base's configuration .*averages 2 to 4096 frames, not 1",
        ),
        (
            {"span": 10**12, "causal": True},
            "is no base's configuration .*averages 2 to 4096 frames",
        ),
        ({"span": 40, "causal": False}, "is no base's configuration .*give it no span"),
    ],
)
def test_foreign_configurations_are_refused_in_one_line(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(folder, **changes)
    with pytest.raises(KwsError, match=message) as error:
        load_base(folder, build)
    assert "\n" not in str(error.value)


def test_a_foreign_safetensors_file_is_refused(folder: Path) -> None:
    """Even where the configuration names its digest."""
    write_tensors(folder / BASE_MODEL, {"weights": np.zeros(3, np.float32)})
    rewrite(folder, sha256=sha256(folder / BASE_MODEL))
    with pytest.raises(KwsError, match="holds another network than bcresnet"):
        load_base(folder, build)
    (folder / BASE_MODEL).write_bytes(b"no tensors")
    rewrite(folder, sha256=sha256(folder / BASE_MODEL))
    with pytest.raises(KwsError, match="is truncated or no safetensors file"):
        load_base(folder, build)


def test_an_adapter_is_no_base(tmp_path: Path, base: Base) -> None:
    write_json(tmp_path / BASE_CONFIG, {"format": 1, "language": base.config.language})
    with pytest.raises(KwsError, match=r"is no base's configuration .*features"):
        load_base(tmp_path, build)


def test_a_whole_number_for_a_fraction_is_the_same_front_end(folder: Path) -> None:
    """As editors and other languages write 20.0; adapters name the digest of what is heard."""
    before = read_base_config(folder)
    raw = json.loads((folder / BASE_CONFIG).read_text(encoding="utf-8"))
    rewrite(folder, features=raw["features"] | {"low": 20, "high": 7600})
    assert read_base_config(folder).features.digest == before.features.digest


def test_every_setting_is_written(folder: Path) -> None:
    raw = json.loads((folder / BASE_CONFIG).read_text(encoding="utf-8"))
    config = read_base_config(folder)
    assert raw == json.loads(json.dumps(asdict(config)))


def test_weights_that_are_no_numbers_are_refused(folder: Path, base: Base) -> None:
    """They would be heard as silence."""
    tensors = tensors_of(base.network)
    tensors["stem.0.weight"] = tensors["stem.0.weight"] * np.nan
    write_tensors(folder / BASE_MODEL, tensors)
    rewrite(folder, sha256=sha256(folder / BASE_MODEL))
    for read in (read_base_tensors, lambda path: load_base(path, build)):
        with pytest.raises(KwsError, match="holds NaN or infinite weights; pretrain or copy"):
            read(folder)
