"""An adapter folder is read back as it was written, or refused in one sentence."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from kws.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_MODEL,
    CARD,
    Adapter,
    AdapterConfig,
    check_base,
    load_adapter,
    read_adapter_config,
    save_adapter,
    save_adapter_config,
    stored_bytes,
)
from kws.base import BaseConfig
from kws.config import FeatureConfig
from kws.detector import DetectorConfig, Levels, Timing
from kws.errors import KwsError
from kws.quantized import BITS, CODES

Make = Callable[..., Adapter]


@pytest.fixture
def folder(tmp_path: Path, make_adapter: Make) -> Path:
    save_adapter(tmp_path / "cmn", make_adapter("cmn"), "# card\n")
    return tmp_path / "cmn"


def base_of(adapter: Adapter) -> BaseConfig:
    """The configuration of the base that it is for."""
    config = adapter.config
    base = BaseConfig(
        architecture="", tau=1.0, language="ar", labels=("a",), sha256=config.base_sha256
    )
    assert base.features.digest == config.features_digest
    return base


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the configuration; a value of ... deletes the field."""
    raw = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")) | changes
    raw = {name: value for name, value in raw.items() if value is not ...}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(raw), encoding="utf-8")


def retensor(folder: Path, **changes: Any) -> None:
    """Change tensors; None deletes one."""
    tensors = load((folder / ADAPTER_MODEL).read_bytes()) | {
        name.replace("__", "."): array for name, array in changes.items()
    }
    (folder / ADAPTER_MODEL).write_bytes(save({n: t for n, t in tensors.items() if t is not None}))


@pytest.mark.parametrize("bits", BITS)
def test_an_adapter_comes_back_equal(tmp_path: Path, make_adapter: Make, bits: int) -> None:
    """Configuration, thresholds and every bit of every number."""
    detector = DetectorConfig(
        threshold=0.7,
        patience=5,
        keywords={"cmn 0": Levels(0.8, 0.2)},
        timings={"cmn 1": Timing(1, 2, 1.5)},
    )
    metrics = {"validation": {"accuracy": 0.9, "per_word": {"北京": {"count": 3}}}}
    changes = {"detector": detector, "metrics": metrics, "licences": ("MIT",)}
    adapter = make_adapter("cmn", bits=bits, **changes)
    saved = save_adapter(tmp_path / "a" / "b", adapter, "# card\n")
    found = load_adapter(tmp_path / "a" / "b")
    assert found.config == saved == replace(adapter.config, sha256=saved.sha256)
    assert found.config.detector.threshold == 0.7
    for name, array in adapter.arrays().items():
        assert found.arrays()[name].tobytes() == array.tobytes()
        assert found.arrays()[name].dtype == array.dtype
    assert read_adapter_config(tmp_path / "a" / "b") == saved


@pytest.mark.parametrize("newer", [{"timings"}, {"timings", "keywords"}])
def test_older_adapters_have_one_detector_for_all_keywords(folder: Path, newer: set[str]) -> None:
    detector = asdict(DetectorConfig(threshold=0.7))
    detector = {name: value for name, value in detector.items() if name not in newer}
    rewrite(folder, detector=detector)
    assert read_adapter_config(folder).detector == DetectorConfig(threshold=0.7)


def test_new_settings_leave_the_numbers_and_the_card_alone(folder: Path) -> None:
    before = {name: (folder / name).stat().st_mtime_ns for name in (ADAPTER_MODEL, CARD)}
    config = read_adapter_config(folder)
    detector = DetectorConfig(keywords={"cmn 1": Levels(0.9, 0.3)})
    save_adapter_config(folder, replace(config, detector=detector))
    assert load_adapter(folder).config == replace(config, detector=detector)
    assert {name: (folder / name).stat().st_mtime_ns for name in (ADAPTER_MODEL, CARD)} == before
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    "keywords", [["a"], "a", 3, {"a": 0.5}, {"a": {"threshold": 0.5}}, {"a": None}]
)
def test_levels_that_are_none_are_refused(folder: Path, keywords: Any) -> None:
    rewrite(folder, detector=asdict(DetectorConfig()) | {"keywords": keywords})
    with pytest.raises(KwsError, match="is no adapter's configuration"):
        read_adapter_config(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"keywords": {"xx": {"threshold": 0.5, "release": 0.3}}},
        {"timings": {"xx": {"patience": 5}}},
    ],
)
def test_settings_of_a_word_that_is_not_spotted_are_refused(
    folder: Path, settings: dict[str, Any]
) -> None:
    """When it is loaded, not when a key chooses its language."""
    rewrite(folder, detector=asdict(DetectorConfig()) | settings)
    with pytest.raises(KwsError, match="settings for xx, which is not spotted: correct or remove"):
        load_adapter(folder)


@pytest.mark.parametrize(
    "timings", [["a"], "a", 3, {"a": 2}, {"a": {"speed": 2}}, {"a": {"patience": "b"}}, {"a": None}]
)
def test_timings_that_are_none_are_refused(folder: Path, timings: Any) -> None:
    rewrite(folder, detector=asdict(DetectorConfig()) | {"timings": timings})
    with pytest.raises(KwsError, match="is no adapter's configuration"):
        read_adapter_config(folder)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("step", [1, 5, 1_000])
@pytest.mark.parametrize("classes", [1, 40])
def test_stored_bytes_are_the_files(
    tmp_path: Path, make_adapter: Make, step: int, classes: int, bits: int
) -> None:
    """What a budget in bytes buys; memory holds the numbers alone."""
    adapter = make_adapter("cmn", classes, step, bits)
    save_adapter(tmp_path, adapter, "")
    assert (tmp_path / ADAPTER_MODEL).stat().st_size == adapter.config.stored_bytes
    word = CODES[bits].itemsize
    deltas = -(-adapter.config.spent_parameters * bits // (8 * word)) * word
    peaks = 0 if bits == 16 else 2 * len(adapter.config.sites)
    assert adapter.nbytes == deltas + peaks + 2 * 33 * classes
    assert adapter.nbytes < adapter.config.stored_bytes < adapter.nbytes + 400


def test_a_language_without_deltas_is_a_head(tmp_path: Path, make_adapter: Make) -> None:
    whole = make_adapter("cmn")
    config = replace(whole.config, sites=(), spent_parameters=0)
    head = Adapter(config, np.zeros(0, np.float16), whole.head_weight, whole.head_bias)
    save_adapter(tmp_path, head, "")
    assert load_adapter(tmp_path).deltas.shape == (0,)
    assert (tmp_path / ADAPTER_MODEL).stat().st_size == stored_bytes(0, 3, 32)


@pytest.mark.parametrize(
    "tensors",
    [
        {"peaks": np.zeros(3, np.float16)},
        {"peaks": np.full(15, np.nan, np.float16)},
        {"peaks": np.zeros(15, np.float32)},
        {"deltas": np.zeros(9, np.uint8)},
        {"deltas": np.zeros(9, np.int8)},
    ],
)
def test_few_bits_of_another_adapter_are_refused(
    tmp_path: Path, make_adapter: Make, tensors: dict[str, Any]
) -> None:
    adapter = make_adapter(bits=4)
    assert len(adapter.peaks) == 15
    save_adapter(tmp_path, adapter, "")
    retensor(tmp_path, **tensors)
    with pytest.raises(KwsError, match="does not fit its configuration"):
        load_adapter(tmp_path)


@pytest.mark.parametrize(("bits", "peaks"), [(4, None), (16, np.zeros(15, np.float16))])
def test_peaks_come_with_few_bits_and_only_then(
    tmp_path: Path, make_adapter: Make, bits: int, peaks: Any
) -> None:
    save_adapter(tmp_path, make_adapter(bits=bits), "")
    retensor(tmp_path, peaks=peaks)
    with pytest.raises(KwsError, match=r"lacks or has unexpected tensors \(peaks\)"):
        load_adapter(tmp_path)


def test_the_folder_is_what_people_know(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [CARD, ADAPTER_CONFIG, ADAPTER_MODEL]
    )
    assert (ADAPTER_CONFIG, ADAPTER_MODEL) == ("adapter_config.json", "adapter_model.safetensors")
    raw = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    assert set(raw) == {field.name for field in fields(AdapterConfig)}


def test_the_configuration_is_written_last(
    tmp_path: Path, make_adapter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a configuration is a whole adapter, also after a kill."""
    monkeypatch.setattr("kws.adapter.write_json", lambda *_: None)
    save_adapter(tmp_path, make_adapter("cmn"), "# card\n")
    assert (tmp_path / ADAPTER_MODEL).is_file()
    with pytest.raises(KwsError, match=r"adapter_config\.json does not exist"):
        load_adapter(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(folder: Path, keep: int) -> None:
    data = (folder / ADAPTER_MODEL).read_bytes()
    (folder / ADAPTER_MODEL).write_bytes(data[:keep])
    with pytest.raises(KwsError, match=r"adapter_model\.safetensors is truncated or no safe"):
        load_adapter(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    """What torch.save and pickle write is no safetensors file."""
    for data in (b"PK\x03\x04" + bytes(60), b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."):
        (folder / ADAPTER_MODEL).write_bytes(data)
        with pytest.raises(KwsError, match="is truncated or no safetensors file"):
            load_adapter(folder)


@pytest.mark.parametrize(
    ("tensors", "odd"),
    [
        ({"extra": np.zeros(3, np.float16)}, "extra"),
        ({"deltas": None}, "deltas"),
        ({"head__bias": None, "bias": np.zeros(3, np.float16)}, "bias, head.bias"),
    ],
)
def test_unexpected_and_missing_tensors_are_named(
    folder: Path, tensors: dict[str, Any], odd: str
) -> None:
    retensor(folder, **tensors)
    with pytest.raises(KwsError, match=rf"lacks or has unexpected tensors \({odd}\)"):
        load_adapter(folder)


@pytest.mark.parametrize("name", ["deltas", "head__weight", "head__bias"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(folder: Path, name: str, bad: float) -> None:
    array = load((folder / ADAPTER_MODEL).read_bytes())[name.replace("__", ".")].copy()
    array.reshape(-1)[-1] = bad
    retensor(folder, **{name: array})
    with pytest.raises(KwsError, match="does not fit its configuration"):
        load_adapter(folder)


@pytest.mark.parametrize(
    "tensors",
    [
        {"deltas": np.zeros(7, np.float16)},
        {"deltas": np.zeros((2, 2), np.float16)},
        {"head__weight": np.zeros((4, 32), np.float16)},
        {"head__weight": np.zeros((3, 32), np.float32)},
        {"head__bias": np.zeros(3, np.int16)},
        {"head__bias": np.zeros((), np.float16)},
    ],
)
def test_tensors_of_another_adapter_are_refused(folder: Path, tensors: dict[str, Any]) -> None:
    retensor(folder, **tensors)
    with pytest.raises(KwsError, match="does not fit its configuration"):
        load_adapter(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "adapter of format 2, not 1"),
        ({"format": ...}, "adapter of format None, not 1"),
        ({"labels": ...}, "is no adapter's configuration .*labels"),
        ({"method": ...}, "is no adapter's configuration .*method"),
        ({"sites": None}, "is no adapter's configuration"),
        ({"sites": [1, 2]}, r"is no adapter's configuration .*sites must be a list of str"),
        ({"base_sha256": None}, "is no adapter's configuration .*base_sha256 must be str"),
        ({"base_sha256": 5}, "is no adapter's configuration .*base_sha256 must be str, not 5"),
        ({"spent_parameters": "x"}, "is no adapter's configuration .*spent_parameters must be int"),
        ({"stored_bytes": None}, "is no adapter's configuration .*stored_bytes must be int"),
        ({"metrics": None}, "is no adapter's configuration .*metrics must be dict"),
        ({"budget": 10}, r"is no adapter's configuration .*budget must be str or None, not 10"),
        ({"detector": {"smoothing": 2.5}}, "is no adapter's configuration .*smoothing must be int"),
        ({"detector": {"keywords": {"a": {"threshold": "x"}}}}, "is no adapter's configuration"),
        ({"detector": {"loudness": 1}}, "is no adapter's configuration .*loudness"),
        ({"detector": None}, "is no adapter's configuration"),
        ({"detector": {"threshold": 2.0}}, "threshold must lie above 0 and at most 1"),
        ({"surprise": 1}, "is no adapter's configuration .*surprise"),
        ({"labels": []}, "is no adapter's configuration .*there is no label"),
        ({"labels": ["a", "b", "a"]}, "is no adapter's configuration .*label a is there twice"),
        ({"labels": ["\x1b[2J", "b"]}, r"is no adapter's configuration .*x1b\[2J' is no name"),
        ({"labels": ["a\nb", "c"]}, r"is no adapter's configuration .*a\\nb' is no name"),
        ({"labels": ["go", "go\u200b"]}, r"is no adapter's configuration .*u200b' is no name"),
        ({"labels": ["\u202ego", "c"]}, r"is no adapter's configuration .*u202ego' is no name"),
        ({"labels": ["\u00e9", "e\u0301"]}, "is no adapter's configuration .*is there twice"),
        ({"language": " "}, "is no adapter's configuration .*' ' is no name"),
        ({"detector": {"smoothing": 10**30}}, "smoothing and patience count decisions, 1 to"),
    ],
)
def test_foreign_configurations_are_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(folder, **changes)
    with pytest.raises(KwsError, match=message):
        load_adapter(folder)


def test_an_empty_folder_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"adapter_config\.json does not exist; is .* the right"):
        load_adapter(tmp_path)


def test_another_base_is_refused_with_both_languages(make_adapter: Make) -> None:
    adapter = make_adapter("cmn")
    with pytest.raises(KwsError, match=r"adapter for cmn .* another base \(ar aaaaaaaa, not tr b"):
        check_base(adapter, replace(base_of(adapter), sha256="b" * 64, language="tr"))


def test_another_front_end_is_refused(make_adapter: Make) -> None:
    adapter = make_adapter("cmn")
    base = base_of(adapter)
    other = FeatureConfig(low=100.0)
    with pytest.raises(KwsError, match=rf"another front end .*, not {other.digest}"):
        check_base(adapter, replace(base, features=other))
    check_base(adapter, base)


def test_one_that_was_being_replaced_is_refused(
    folder: Path, make_adapter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the numbers and the configuration: neither the old one nor the new."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kws.adapter.save_adapter_config", killed)
    adapter = make_adapter("cmn")
    with pytest.raises(KeyboardInterrupt):
        save_adapter(folder, replace(adapter, head_bias=adapter.head_bias + 1), "# card\n")
    with pytest.raises(KwsError, match="interrupted save"):
        load_adapter(folder)


def test_older_adapters_name_no_digest(folder: Path) -> None:
    rewrite(folder, sha256=...)
    assert load_adapter(folder).config.sha256 == ""


def test_numbers_that_are_none_are_not_saved_over_those_that_are(
    folder: Path, make_adapter: Make
) -> None:
    adapter = make_adapter()
    adapter.head_bias[0] = np.nan
    with pytest.raises(KwsError, match=r"training gave NaN or inf.*lower --lr"):
        save_adapter(folder, adapter, "card")
    load_adapter(folder)
