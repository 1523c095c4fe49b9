"""Switching languages: from the base, back to the base, at no cost while listening."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audio_data.logmel import log_mel
from kws.adapter import Adapter, save_adapter
from kws.bank import Bank
from kws.base import Base
from kws.config import HEAD
from kws.deltas import restored
from kws.detector import DetectorConfig
from kws.engine import Engine
from kws.errors import KwsError, UsageError
from kws.forms import Tied
from kws.sites import find_sites
from models.cost import macs, operations

Make = Callable[..., Adapter]


@pytest.fixture
def bank(base: Base, make_adapter: Make) -> Bank:
    """Arabic, and Mandarin and Turkish on top."""
    bank = Bank(base, partial(log_mel, config=base.config.features))
    for language, classes in (("cmn", 3), ("tr", 6)):
        bank.load_adapter(make_adapter(language, classes))
    return bank


@pytest.fixture
def view() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def test_a_base_of_another_view_hears_as_much_of_a_stream(base: Base) -> None:
    features = replace(base.config.features, view=24_000)
    config = replace(base.config, features=features, detector=DetectorConfig(smoothing=1))
    bank = Bank(replace(base, config=config), partial(log_mel, config=features))
    engine = Engine(bank)
    wave = np.random.default_rng(0).normal(0, 0.1, 30 * engine.hop).astype(np.float32)
    engine.feed(wave)
    np.testing.assert_allclose(engine.scores, bank.scores(wave[-24_000:]), atol=1e-6)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def arrays(value: Any, seen: set[int]) -> Iterator[Tensor | NDArray[Any]]:
    """Every tensor and array that an object holds, however deep."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays(item, seen)
    elif hasattr(value, "__dict__"):
        yield from arrays(vars(value), seen)


def held(bank: Bank) -> int:
    """Bytes of the memory behind all of them, shared memory counted once."""
    blocks = {}
    for array in arrays(bank, set()):
        if isinstance(array, Tensor):
            storage = array.untyped_storage()
            blocks[storage.data_ptr()] = storage.nbytes()
        else:
            blocks[array.ctypes.data] = array.nbytes
    return sum(blocks.values())


def test_the_base_itself_is_heard_at_first(bank: Bank, base: Base) -> None:
    assert bank.languages == ("ar", "cmn", "tr")
    assert bank.active_adapter == "ar"
    assert bank.labels == base.config.labels
    assert same(weights(bank.network), weights(base.network))


def test_back_and_forth_is_bit_identical(bank: Bank, view: NDArray[np.float32]) -> None:
    """Also after a hundred switches: nothing is ever subtracted."""
    first = {}
    for language in bank.languages:
        bank.set_adapter(language)
        first[language] = (bank.scores(view), weights(bank.network))
    scores = [tuple(scores.round(6)) for scores, _ in first.values()]
    assert len(set(scores)) == 3
    for number in range(100):
        language = bank.languages[(number * number + number // 3) % 3]
        bank.set_adapter(language)
        assert bank.active_adapter == language
        assert same(weights(bank.network), first[language][1])
    for language, (before, _) in first.items():
        bank.set_adapter(language)
        assert bank.scores(view).tobytes() == before.tobytes()


def test_a_language_is_base_plus_deltas_and_its_own_head(
    bank: Bank, base: Base, make_adapter: Make
) -> None:
    adapter = make_adapter("tr", 6)
    bank.set_adapter("tr")
    start, deltas = 0, torch.from_numpy(adapter.deltas).float()
    for site in find_sites(base.network):
        for name, shape in site.shapes.items():
            expected = base.network.get_parameter(name).clone()
            if site.name in adapter.config.sites:
                size = expected.numel()
                expected += deltas[start : start + size].reshape(shape)
                start += size
            elif f"{site.name}@rank1" in adapter.config.sites:
                rows, columns = shape[:2]
                left = deltas[start : start + rows]
                right = deltas[start + rows : start + rows + columns]
                expected += (left[:, None] * right).reshape(shape)
                start += rows + columns
            torch.testing.assert_close(bank.network.get_parameter(name), expected)
    assert any(name.endswith("@rank1") for name in adapter.config.sites)
    assert start == len(adapter.deltas)
    head = bank.network.get_submodule(HEAD).get_parameter("weight")
    assert torch.equal(head, torch.from_numpy(adapter.head_weight).float())
    assert bank.labels == adapter.config.labels


def test_shared_numbers_are_heard_as_they_were_learnt(
    bank: Bank, base: Base, make_adapter: Make
) -> None:
    """Signs and all, though they are added otherwise; also where a module has two such forms."""
    sites = find_sites(base.network)
    chosen = [site.with_form(Tied(max(1, site.size // 7))) for site in sites]
    twice = {site.kind: site for site in sites}.values()
    chosen += [site.with_form(Tied(max(1, site.size // 9))) for site in twice]
    spent = sum(site.size for site in chosen)
    adapter = make_adapter("sw")
    names = tuple(site.name for site in chosen)
    config = replace(adapter.config, sites=names, spent_parameters=spent, budget_parameters=spent)
    deltas = np.random.default_rng(0).normal(0, 0.3, spent).astype(np.float16)
    adapter = replace(adapter, config=config, deltas=deltas)
    bank.set_adapter(bank.load_adapter(adapter))
    with torch.no_grad():
        learnt = restored(base.network, adapter).weights()
    for site in sites:
        for name in site.shapes:
            torch.testing.assert_close(bank.network.get_parameter(name), learnt[name])


def test_the_base_is_never_written(bank: Bank, base: Base, view: NDArray[np.float32]) -> None:
    before = weights(base.network)
    for language in ("cmn", "tr", "ar", "cmn"):
        bank.set_adapter(language)
        bank.scores(view)
    bank.merge_and_unload()
    bank.delete_adapter("cmn")
    assert same(before, weights(base.network))


def test_listening_costs_what_the_base_costs(bank: Bank, base: Base) -> None:
    """The same operations in the same order, and as many multiply-accumulates."""
    features = torch.zeros(1, 40, 98)
    expected = operations(base.network, features), macs(base.network, 98)
    for language in ("cmn", "ar", "tr"):
        bank.set_adapter(language)
        classes = len(bank.labels)
        assert operations(bank.network, features) == expected[0]
        assert macs(bank.network, 98) - 32 * classes == expected[1] - 32 * 4


def test_ten_languages_cost_ten_adapters_bytes(base: Base, make_adapter: Make) -> None:
    """And two integers for each tensor. Loaded or active: there is one network, not eleven."""
    bank = Bank(base, partial(log_mel, config=base.config.features))
    alone = held(bank)
    measured = {"per_speaker": {str(number): 0.5 for number in range(1_000)}}
    made = [make_adapter(f"x{number}", classes=4) for number in range(10)]
    adapters = [
        replace(one, config=replace(one.config, metrics=measured, training=measured))
        for one in made
    ]
    for number, adapter in enumerate(adapters, start=1):
        bank.load_adapter(adapter)
        assert bank.nbytes == sum(loaded.nbytes for loaded in adapters[:number])
    assert bank.nbytes == 10 * adapters[0].nbytes
    planned = 10 * 2 * 4 * sum(len(site.shapes) for site in find_sites(base.network))
    assert planned < bank.nbytes / 4
    assert held(bank) - alone == bank.nbytes + planned
    configs = [loaded.config for loaded in bank._adapters.values()]
    assert not any(config.metrics or config.training for config in configs)
    for language in bank.languages:
        bank.set_adapter(language)
        active_head = 0 if language == "ar" else 4 * (4 * 32 + 4)  # in single precision
        assert held(bank) - alone == bank.nbytes + planned + active_head


def test_merging_gives_the_active_language_a_network_of_its_own(
    bank: Bank, view: NDArray[np.float32]
) -> None:
    bank.set_adapter("tr")
    features = torch.from_numpy(log_mel(view, bank.base.config.features))[None]
    merged = bank.merge_and_unload()
    expected = bank.network(features)
    assert torch.equal(merged(features), expected)
    bank.set_adapter("cmn")
    assert torch.equal(merged(features), expected)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    bank.set_adapter("tr")
    assert torch.equal(bank.network(features), expected)


def test_disabling_is_the_base_for_a_while(bank: Bank, view: NDArray[np.float32]) -> None:
    own = bank.scores(view)
    bank.set_adapter("cmn")
    mandarin = bank.scores(view)
    with bank.disable_adapter():
        assert bank.active_adapter == "ar"
        assert bank.scores(view).tobytes() == own.tobytes()
    assert bank.active_adapter == "cmn"
    assert bank.scores(view).tobytes() == mandarin.tobytes()
    with pytest.raises(ZeroDivisionError), bank.disable_adapter():
        _ = 1 / 0
    assert bank.active_adapter == "cmn"


def test_what_is_deleted_or_replaced_while_disabled_does_not_come_back(
    bank: Bank, make_adapter: Make, view: NDArray[np.float32]
) -> None:
    own = bank.scores(view)
    bank.set_adapter("tr")
    expected = bank.scores(view)
    bank.set_adapter("cmn")
    with bank.disable_adapter():
        bank.delete_adapter("cmn")
    assert bank.active_adapter == "ar"
    assert bank.scores(view).tobytes() == own.tobytes()
    turkish = bank._adapters["tr"]
    bank.load_adapter(make_adapter("cmn"))
    bank.set_adapter("cmn")
    with bank.disable_adapter():
        bank.delete_adapter("cmn")
        bank.load_adapter(turkish, "cmn")
    assert bank.labels == turkish.config.labels
    assert bank.scores(view).tobytes() == expected.tobytes()


def test_deleting_forgets_a_language(bank: Bank, base: Base, view: NDArray[np.float32]) -> None:
    own, before = bank.scores(view), bank.nbytes
    bank.set_adapter("cmn")
    bank.delete_adapter("tr")
    assert bank.active_adapter == "cmn"
    bank.delete_adapter("cmn")
    assert bank.languages == (bank.active_adapter,) == ("ar",)
    assert bank.scores(view).tobytes() == own.tobytes()
    assert bank.nbytes == 0 < before
    assert held(bank) == held(Bank(base, partial(log_mel, config=base.config.features)))
    with pytest.raises(KwsError, match="no adapter for 'cmn' is loaded; loaded: none"):
        bank.delete_adapter("cmn")


def test_an_unknown_language_names_the_known_and_changes_nothing(bank: Bank) -> None:
    bank.set_adapter("tr")
    before = weights(bank.network)
    with pytest.raises(KwsError, match="no adapter for 'sw' is loaded; there are ar, cmn, tr"):
        bank.set_adapter("sw")
    assert bank.active_adapter == "tr"
    assert same(before, weights(bank.network))


def test_a_language_is_loaded_once(bank: Bank, make_adapter: Make) -> None:
    with pytest.raises(KwsError, match=r"cmn is loaded already; delete_adapter\('cmn'\) first"):
        bank.load_adapter(make_adapter("cmn"))
    bank.delete_adapter("cmn")
    assert bank.load_adapter(make_adapter("cmn")) == "cmn"


def test_a_language_is_there_twice_under_two_names(
    bank: Bank, make_adapter: Make, view: NDArray[np.float32]
) -> None:
    more = make_adapter("cmn", 7)
    assert bank.load_adapter(more, "cmn-more") == "cmn-more"
    assert bank.languages == ("ar", "cmn", "tr", "cmn-more")
    bank.set_adapter("cmn-more")
    assert (bank.active_adapter, len(bank.scores(view))) == ("cmn-more", 7)
    bank.set_adapter("cmn")
    assert (bank.active_adapter, len(bank.scores(view))) == ("cmn", 3)
    with pytest.raises(KwsError, match="cmn-more is loaded already"):
        bank.load_adapter(more, "cmn-more")
    bank.delete_adapter("cmn-more")
    assert "cmn-more" not in bank.languages


def test_loading_does_not_switch(bank: Bank, make_adapter: Make) -> None:
    before = weights(bank.network)
    bank.load_adapter(make_adapter("sw"))
    assert bank.active_adapter == "ar"
    assert same(before, weights(bank.network))


def test_more_words_of_the_bases_own_language(
    bank: Bank, make_adapter: Make, view: NDArray[np.float32]
) -> None:
    """The adapter takes the name; without it, or disabled, the base is heard."""
    own = bank.scores(view)
    bank.load_adapter(make_adapter("ar", 5))
    assert bank.languages == ("ar", "cmn", "tr")
    assert len(bank.labels) == 4
    assert bank.detector_config("ar") is bank.config.detector  # of the labels that are heard
    bank.set_adapter("ar")
    assert bank.detector_config("ar") is not bank.config.detector
    assert bank.active_adapter == "ar"
    assert len(bank.scores(view)) == len(bank.labels) == 5
    with bank.disable_adapter():
        assert bank.scores(view).tobytes() == own.tobytes()
    assert len(bank.labels) == 5
    bank.delete_adapter("ar")
    assert bank.scores(view).tobytes() == own.tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_sha256": "b" * 64, "base_language": "en"}, r"another base \(en bbbbbbbb, not ar a"),
        ({"features_digest": "0"}, "another front end"),
        ({"sites": ("stem.0", "elsewhere")}, "names other sites"),
        ({"sites": ("stem.0",)}, "names other sites"),
        ({"sites": ("stem.0@rank0",)}, "names other sites"),
        ({"sites": ("stem.1@rank1",)}, "names other sites"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(
    bank: Bank, make_adapter: Make, changes: dict[str, Any], message: str
) -> None:
    """And leave no trace."""
    before = bank.nbytes
    with pytest.raises(KwsError, match=message):
        bank.load_adapter(make_adapter("sw", **changes))
    assert bank.languages == ("ar", "cmn", "tr")
    assert bank.nbytes == before


def test_a_site_named_twice_is_refused(bank: Bank, make_adapter: Make) -> None:
    adapter = make_adapter("sw", step=1_000)  # the first site alone
    twice = replace(adapter.config, sites=adapter.config.sites * 2)
    doubled = replace(adapter, config=twice, deltas=np.tile(adapter.deltas, 2))
    with pytest.raises(KwsError, match="names other sites"):
        bank.load_adapter(doubled)


def test_a_head_of_another_width_is_refused(bank: Bank, make_adapter: Make) -> None:
    """Before it is heard, not in the middle of a stream."""
    adapter = make_adapter("sw")
    width = adapter.head_weight.shape[1]
    for shape in ((len(adapter.head_bias), width + 1), (len(adapter.head_bias) - 1, width)):
        odd = replace(adapter, head_weight=np.zeros(shape, np.float16))
        with pytest.raises(KwsError, match="head of another width than the base, or not a row"):
            bank.load_adapter(odd)


def test_nothing_learns_and_nothing_drops_out(bank: Bank) -> None:
    for language in ("cmn", "ar", "tr"):
        bank.set_adapter(language)
        assert not any(module.training for module in bank.network.modules())
        assert not any(parameter.requires_grad for parameter in bank.network.parameters())
        assert not bank.merge_and_unload().training


def test_a_base_in_training_mode_is_heard_in_evaluation_mode(
    base: Base, view: NDArray[np.float32]
) -> None:
    """And its own mode is left alone."""
    features = partial(log_mel, config=base.config.features)
    expected = Bank(base, features).scores(view)
    base.network.train()
    assert Bank(base, features).scores(view).tobytes() == expected.tobytes()
    assert base.network.training


def test_scores_are_probabilities_of_one_view(bank: Bank, view: NDArray[np.float32]) -> None:
    bank.set_adapter("tr")
    scores = bank.scores(view)
    assert scores.shape == (6,)
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    batch = torch.from_numpy(log_mel(view, bank.base.config.features)).expand(3, -1, -1)
    torch.testing.assert_close(bank.probabilities(batch), torch.from_numpy(scores).expand(3, -1))
    with pytest.raises(KwsError, match="a view has 16000 samples"):
        bank.scores(view[:-1])


def test_every_language_has_its_own_thresholds(bank: Bank, make_adapter: Make) -> None:
    strict = DetectorConfig(threshold=0.9)
    bank.load_adapter(make_adapter("sw", detector=strict))
    assert bank.detector_config("sw") == strict
    assert bank.detector_config("ar") == DetectorConfig()
    with pytest.raises(UsageError, match="no adapter for 'xx' is loaded"):
        bank.detector_config("xx")
    own = replace(bank.base.config, detector=DetectorConfig(patience=7))
    again = Bank(replace(bank.base, config=own), partial(log_mel, config=own.features))
    assert again.detector_config("ar") == DetectorConfig(patience=7)


def test_a_folder_is_loaded_as_an_adapter_is(
    bank: Bank, base: Base, make_adapter: Make, tmp_path: Path
) -> None:
    save_adapter(tmp_path / "cmn", make_adapter("cmn", 3), "")
    again = Bank(base, partial(log_mel, config=base.config.features))
    assert again.load_adapter(str(tmp_path / "cmn")) == "cmn"
    assert again.load_adapter(tmp_path / "cmn", "mandarin") == "mandarin"
    assert again.labels == base.config.labels  # not active yet


def test_a_causal_base_is_not_listened_with_in_torch(bank: Bank) -> None:
    """It would hear silence before every view, which is not what it learnt."""
    assert Engine(bank).labels == bank.labels
    causal = replace(bank.base, config=replace(bank.base.config, causal=True))
    deaf = Bank(causal, partial(log_mel, config=causal.config.features))
    with pytest.raises(KwsError, match="listen with"):
        Engine(deaf)
