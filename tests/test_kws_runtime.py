"""Listening without torch: the scores of the network with the adapter merged, in every form."""

import copy
import gc
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apps.onnx_files import base_file
from audio_data import frontend
from audio_data.logmel import log_mel
from kws.adapter import Adapter, AdapterConfig, stored_bytes
from kws.bank import Bank
from kws.base import Base, BaseConfig
from kws.config import LOUDEST, SAMPLE_RATE, FeatureConfig
from kws.detector import DetectorConfig
from kws.engine import Engine, WindowScorer
from kws.errors import KwsError, UsageError
from kws.files import Arrays
from kws.forms import MASK, SHIFT, Mix, Rank, Tied
from kws.quantized import Bits, quantize
from kws.runtime import FrontEnd, Network, Runtime, merged
from kws.sites import Site, find_sites
from models import compiled
from models.bcresnet import BCResNet
from models.folded import (
    fold,
    fold_unchecked,
    graph_weights,
    tensor_shapes,
    weight_names,
    with_deviations,
)
from models.layout import BLOCKS, TAUS
from models.session import SessionNetwork, open_session, session_of

Wave = NDArray[np.float32]
MakeAdapter = Callable[..., Adapter]
TOLERANCE = 1e-5  # on probabilities
HOP = 1_280  # samples of a decision

needs_code = pytest.mark.skipif(compiled.library() is None, reason="no compiler built the code")
FORMS = [pytest.param("compiled", marks=needs_code), "session"]


def tensors(base: Base) -> Arrays:
    return {name: tensor.numpy() for name, tensor in base.network.state_dict().items()}


@pytest.fixture
def base_of(base: Base) -> Callable[[bool], Base]:
    """The same weights, causal or not."""

    def make(causal: bool) -> Base:
        network = BCResNet(4, causal=causal).eval().requires_grad_(False)
        network.load_state_dict(base.network.state_dict())
        return Base(replace(base.config, causal=causal), network)

    return make


@pytest.fixture
def runtime_of(tmp_path: Path) -> Callable[[Base, str], Runtime]:
    def make(base: Base, form: str) -> Runtime:
        config = base.config
        if form == "compiled":

            def front_end() -> FrontEnd:
                return frontend.CompiledFrontEnd(config.features)

            return Runtime(
                config,
                tensors(base),
                compiled.CompiledNetwork,
                front_end,
            )
        path = tmp_path / "base.onnx"
        path.write_bytes(base_file(fold(config, tensors(base))))
        session = open_session(path)
        return Runtime(
            config,
            tensors(base),
            partial(SessionNetwork, session),
            lambda: frontend.NumpyFrontEnd(config.features),
        )

    return make


def test_a_graph_of_another_span_is_refused(base: Base, tmp_path: Path) -> None:
    """All its weights are the same, but it would take its decisions over other frames."""
    path, network = tmp_path / "base.onnx", tensors(base)
    config = replace(base.config, causal=True, span=40)
    path.write_bytes(base_file(fold(config, network)))
    session = open_session(path)
    SessionNetwork(session, config, network)
    for other in (replace(config, span=98), replace(config, causal=False, span=None)):
        with pytest.raises(KwsError, match="is another than the base's; kws export it again"):
            SessionNetwork(session, other, network)


def test_a_graph_of_another_view_is_refused(base: Base, tmp_path: Path) -> None:
    path, network = tmp_path / "base.onnx", tensors(base)
    short = replace(base.config, features=FeatureConfig(view=12_800))
    path.write_bytes(base_file(fold(short, network)))
    with pytest.raises(KwsError, match="is another than the base's; kws export it again"):
        SessionNetwork(open_session(path), base.config, network)


def test_a_graph_of_another_width_is_refused(base: Base, tmp_path: Path) -> None:
    """Its weights have the same names."""
    path = tmp_path / "base.onnx"
    path.write_bytes(base_file(fold(base.config, tensors(base))))
    wide = Base(replace(base.config, tau=2.0), BCResNet(4, 2.0).eval())
    with pytest.raises(KwsError, match="is another than the base's; kws export it again"):
        SessionNetwork(open_session(path), wide.config, tensors(wide))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_a_base_may_be_stored_in_other_numbers(
    base: Base, form: str, kind: type, tmp_path: Path
) -> None:
    stored = {
        name: array.astype(kind) if array.dtype == np.float32 else array
        for name, array in tensors(base).items()
    }
    make: Callable[..., Network] = compiled.CompiledNetwork
    if form == "session":
        path = tmp_path / "base.onnx"
        path.write_bytes(base_file(fold(base.config, tensors(base))))
        make = partial(SessionNetwork, open_session(path))
    found = [
        Runtime(
            base.config, arrays, make, lambda: frontend.NumpyFrontEnd(base.config.features)
        ).scores(noise(SAMPLE_RATE))
        for arrays in (tensors(base), stored)
    ]
    tolerance = 2e-2 if kind is np.float16 else TOLERANCE
    np.testing.assert_allclose(found[0], found[1], atol=tolerance)


BaseOf = Callable[[bool], Base]
RuntimeOf = Callable[[Base, str], Runtime]


def noise(samples: int, seed: int = 0) -> Wave:
    wave = np.random.default_rng(seed).standard_normal(samples)
    loud = 0.1 * (1 + np.sin(np.arange(samples) / 3_000))
    return (wave * loud).astype(np.float32)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_views_have_the_scores_of_the_bank(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str, causal: bool
) -> None:
    base = base_of(causal)
    bank = Bank(base, lambda wave: log_mel(wave, base.config.features))
    runtime = runtime_of(base, form)
    for language, classes in (("cmn", 3), ("eng", 7)):
        adapter = make_adapter(language, classes)
        assert runtime.load_adapter(adapter) == bank.load_adapter(adapter)
    assert runtime.languages == bank.languages
    view = noise(16_000)
    for language in ("cmn", "ar", "eng", "cmn"):
        runtime.set_adapter(language)
        bank.set_adapter(language)
        assert runtime.labels == bank.labels
        np.testing.assert_allclose(runtime.scores(view), bank.scores(view), rtol=0, atol=TOLERANCE)


def truth(base: Base, wave: Wave) -> Wave:
    """Scores ``[hops, K]`` by torch: of a stream before which there was silence."""
    network, config = base.network, base.config.features
    assert isinstance(network, BCResNet)
    silence = network.history * config.hop if network.causal else config.view
    padded = np.concatenate([np.zeros(silence, np.float32), wave])
    features = torch.from_numpy(log_mel(padded, config))[None]
    ends = [features.shape[2] - (len(wave) - end) // config.hop for end in
            range(HOP, len(wave) + 1, HOP)]  # fmt: skip
    if network.causal:
        return np.asarray(network.frames(features)[0, [end - 1 for end in ends]].softmax(1))
    views = torch.stack([features[0, :, end - config.frames : end] for end in ends])
    return np.asarray(network(views).softmax(1))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_streams_have_the_scores_of_torch_through_switches(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str, causal: bool
) -> None:
    base = base_of(causal)
    runtime = runtime_of(base, form)
    merged_network = copy.deepcopy(base.network)
    adapter = make_adapter("cmn", 4)
    runtime.load_adapter(adapter)
    named = {n: torch.from_numpy(np.array(a)) for n, a in merged(tensors(base), adapter).items()}
    merged_network.load_state_dict(named)
    wave = noise(40 * HOP, seed=1)
    expected = {"ar": truth(base, wave), "cmn": truth(Base(base.config, merged_network), wave)}
    assert np.abs(expected["ar"] - expected["cmn"]).max() > 0.05
    scorer = runtime.hop_scorer(HOP)
    for _ in range(2):
        scorer.reset()
        for row in range(40):
            language = ("ar", "cmn")[row // 6 % 2]
            runtime.set_adapter(language)
            scores = scorer.hear(wave[row * HOP : (row + 1) * HOP])
            np.testing.assert_allclose(scores, expected[language][row], rtol=0, atol=TOLERANCE)


def in_parts(base: Base, language: str, classes: int = 4, bits: Bits = 16) -> Adapter:
    """An adapter that owns a part of every site: shared numbers, shifts, mixtures, masks."""
    chosen = [
        site.with_form(SHIFT)
        if site.kind == "norm" and number % 3 == 0
        else site.with_form(Mix(2))
        if site.name.endswith((".point", ".time"))
        else site.with_form(MASK)
        if site.name.endswith(".frequency")
        else site.with_form(Tied(max(1, site.size // 7)))
        for number, site in enumerate(find_sites(base.network))
    ]
    return owning(chosen, base, language, classes, bits)


def owning(
    chosen: Sequence[Site], base: Base, language: str, classes: int = 4, bits: Bits = 16
) -> Adapter:
    """A language with random numbers for these sites."""
    rng = np.random.default_rng(list(language.encode()))
    spent = sum(site.size for site in chosen)
    shapes = (spent,), (classes, 32), (classes,)
    config = AdapterConfig(
        language=language,
        labels=tuple(map(str, range(classes))),
        base_sha256=base.config.sha256,
        base_language=base.config.language,
        features_digest=base.config.features.digest,
        method="swr",
        budget=None,
        budget_parameters=None,
        spent_parameters=spent,
        head_parameters=classes * 33,
        stored_bytes=stored_bytes(spent, classes, 32),
        sites=tuple(site.name for site in chosen),
    )
    numbers, *head = (rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes)
    deltas, peaks = quantize(numbers, [site.size for site in chosen], bits)
    weight, bias = (array.astype(np.float16) for array in head)
    return Adapter(config, deltas, weight, bias, peaks)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_back_and_forth_is_bit_identical(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str, causal: bool
) -> None:
    """Whatever languages own, and however many classes they have; as the bank in torch hears."""
    base = base_of(causal)
    bank = Bank(base, lambda wave: log_mel(wave, base.config.features))
    runtime = runtime_of(base, form)
    owned = in_parts(base, "eng"), in_parts(base, "spa", 9, 8), in_parts(base, "deu", 2, 4)
    for adapter in (make_adapter("cmn", 3), *owned):
        runtime.load_adapter(adapter)
        bank.load_adapter(adapter)
    view, first = noise(16_000), {}
    for language in runtime.languages:
        runtime.set_adapter(language)
        bank.set_adapter(language)
        first[language] = runtime.scores(view)
        np.testing.assert_allclose(first[language], bank.scores(view), rtol=0, atol=TOLERANCE)
    assert len({scores.tobytes() for scores in first.values()}) == 5
    for number in range(60):
        language = runtime.languages[(number * number + number // 3) % 4]
        runtime.set_adapter(language)
        assert runtime.scores(view).tobytes() == first[language].tobytes()
    with runtime.disable_adapter():
        assert runtime.scores(view).tobytes() == first["ar"].tobytes()
    assert runtime.scores(view).tobytes() == first[language].tobytes()


def test_a_switch_between_languages_that_share_numbers_looks_for_nothing_anew(
    base_of: BaseOf, runtime_of: RuntimeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes longest is done when a language is loaded."""
    base = base_of(True)
    runtime = runtime_of(base, "session")
    sites = find_sites(base.network)
    for number, language in enumerate(("eng", "spa"), start=5):
        chosen = [site.with_form(Tied(max(1, site.size // number))) for site in sites]
        runtime.load_adapter(owning(chosen, base, language))
    view = noise(16_000)
    runtime.set_adapter("spa")
    before = runtime.scores(view)
    monkeypatch.setattr("kws.vector.pieces", None)
    runtime.set_adapter("eng")
    assert not np.array_equal(runtime.scores(view), before)
    runtime.set_adapter("spa")
    assert np.array_equal(runtime.scores(view), before)


def test_a_module_that_shares_numbers_twice_gets_both(
    base_of: BaseOf, runtime_of: RuntimeOf
) -> None:
    """And one whose weights have numbers of their own beside shared ones."""
    base = base_of(True)
    bank = Bank(base, lambda wave: log_mel(wave, base.config.features))
    runtime = runtime_of(base, "session")
    norm, point = (
        next(site for site in find_sites(base.network) if site.name.endswith(end))
        for end in (".norm", ".point")
    )
    forms = [(norm, Tied(9)), (point, Tied(7)), (norm, Tied(5)), (point, Rank(2)), (norm, SHIFT)]
    adapter = owning([site.with_form(form) for site, form in forms], base, "eng")
    for verbs in (runtime, bank):
        verbs.load_adapter(adapter)
        verbs.set_adapter("eng")
    features = log_mel(noise(16_000), base.config.features)
    expected = bank.probabilities(torch.from_numpy(features)[None])[0].numpy()
    heard = runtime.network.hear(runtime.network.start(), features)
    assert heard == pytest.approx(expected, abs=1e-5)
    assert np.abs(expected - 1 / len(expected)).max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_ten_languages_cost_ten_adapters_bytes(
    base_of: BaseOf, runtime_of: RuntimeOf, form: str
) -> None:
    """Measured: the runtime keeps less beside them than their own numbers, and no network each."""
    base = base_of(True)
    runtime = runtime_of(base, form)
    shared = in_parts(base, "shared")  # the draws that all have in common
    runtime.set_adapter(runtime.load_adapter(shared))
    adapters = [in_parts(base, f"x{number}") for number in range(10)]
    gc.collect()
    tracemalloc.start()
    for adapter in adapters:
        runtime.set_adapter(runtime.load_adapter(adapter))
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert runtime.nbytes == 11 * shared.nbytes
    assert grown < 10 * shared.nbytes


@pytest.mark.parametrize("form", FORMS)
def test_away_and_back_between_two_decisions_is_as_if_nothing_was(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str
) -> None:
    runtime = runtime_of(base_of(True), form)
    runtime.load_adapter(make_adapter("cmn"))
    wave, steady, moved = noise(30 * HOP), runtime.hop_scorer(HOP), runtime.hop_scorer(HOP)
    steady.reset()
    moved.reset()
    for row in range(30):
        block = wave[row * HOP : (row + 1) * HOP]
        expected = steady.hear(block)
        runtime.set_adapter("cmn")
        runtime.set_adapter("ar")
        assert moved.hear(block).tobytes() == expected.tobytes()


@needs_code
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tau", [1.0, 1.5, 3.0])
def test_weights_that_are_put_are_those_of_a_network_of_their_own(tau: float, causal: bool) -> None:
    """At every width, whose weights the compiled code folds by itself."""
    arrays = [arrays_of(tau, seed=seed) for seed in (0, 1)]
    config = config_of(tau, causal)
    made = compiled.CompiledNetwork(config, arrays[0])
    features = np.random.default_rng(0).standard_normal((40, made.history)).astype(np.float32)
    for tensors in (arrays[1], arrays[0]):
        vector = np.concatenate([tensors[name].ravel() for name in made.names])
        made.put(vector, tensors["head.weight"], tensors["head.bias"])
        statistics = {name: array for name, array in arrays[0].items() if "running_" in name}
        folded = fold(config, tensors | statistics)
        own = SessionNetwork(session_of(base_file(folded)), config, tensors | statistics)
        expected = own.hear(own.start(), features)
        found = made.hear(made.start(), features)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@needs_code
@pytest.mark.parametrize("tau", [1.0, 1.5, 3.0])
def test_compiled_code_is_the_same_bit_for_bit_however_frames_come(tau: float) -> None:
    made = compiled_network(tau, causal=True)
    features = np.random.default_rng(0).standard_normal((40, 90)).astype(np.float32)
    found = set()
    for size in (1, 3, 8, 9, 30, 90):
        state = made.start()
        for start in range(0, 90, size):
            scores = made.hear(state, features[:, start : start + size])
        found.add(scores.tobytes() + state.tobytes())
    assert len(found) == 1


@needs_code
@pytest.mark.parametrize("tau", [1.0, 1.5, 3.0])
def test_views_that_share_frames_score_bit_for_bit_as_each_alone(tau: float) -> None:
    """Moved on by eight frames or by others, the same again, broken, altered, or another stream."""
    made = compiled_network(tau, causal=False)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 400)).astype(np.float32)
    features[5, 200] = np.nan
    other = rng.standard_normal((40, 98)).astype(np.float32)
    at = [*range(0, 240, 8), 232, 235, 243, 251, 259, 0]
    views = [features[:, start : start + 98] for start in at]
    altered = features[:, 8:106].copy()
    altered[:, 84] += 9  # a frame that the view before has too
    shared = made.start()
    for view in [*views[:20], other, *views[20:], altered]:
        np.testing.assert_array_equal(made.hear(shared, view), made.hear(made.start(), view))


@needs_code
def test_compiled_code_takes_no_other_sizes() -> None:
    view = compiled_network(1.0, causal=False)
    with pytest.raises(KwsError, match="98 frames, not 97"):
        view.hear(view.start(), np.zeros((40, 97), np.float32))
    stream = compiled_network(1.0, causal=True)
    with pytest.raises(KwsError, match="another network"):
        stream.hear(view.start(), np.zeros((40, 8), np.float32))
    with pytest.raises(KwsError, match="another network"):
        stream.hear(stream.start(), np.zeros((39, 8), np.float32))
    with pytest.raises(KwsError, match="a state is float32 as start"):
        stream.hear(stream.start().astype(np.float16), np.zeros((40, 8), np.float32))
    saved = np.frombuffer(stream.start().tobytes(), np.float32)
    with pytest.raises(KwsError, match="in one piece and writable"):
        stream.hear(saved, np.zeros((40, 8), np.float32))
    with pytest.raises(KwsError, match="takes at least one frame, not 0"):
        stream.hear(stream.start(), np.zeros((40, 0), np.float32))


@needs_code
def test_compiled_code_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which a function may write where this one has no room."""
    monkeypatch.setattr(compiled, "INTERFACE", compiled.INTERFACE + 1)
    with pytest.raises(KwsError, match="of another version; install this one again"):
        compiled.library.__wrapped__()


@needs_code
def test_compiled_code_tells_any_number_of_words_apart() -> None:
    classes = compiled.MAX_SIZE + 1
    head = {
        "head.weight": np.zeros((classes, 32), np.float32),
        "head.bias": np.zeros(classes, np.float32),
    }
    network = compiled.CompiledNetwork(config_of(1.0, causal=True), arrays_of(1.0) | head)
    scores = network.hear(network.start(), np.zeros((40, 8), np.float32))
    np.testing.assert_allclose(scores, np.full(classes, 1 / classes), rtol=1e-5)


@needs_code
@pytest.mark.parametrize(("out", "refused"), [(8, True), (9, False)])
def test_compiled_code_knows_no_shortcut_past_a_stride(out: int, refused: bool) -> None:
    """A block that keeps its channels adds its input, row by row."""
    found = compiled.library()
    assert found is not None
    blocks = (16, 8, 2, 1), (8, 8, 1, 1), (8, out, 2, 2)
    shape = compiled.Shape(True, 98, 16, 32, 5, blocks).packed()
    sizes = np.zeros(2, np.int64)
    assert bool(found.kws_sizes(shape.ctypes.data, 98, sizes.ctypes.data)) == refused


@pytest.mark.parametrize(("block", "widths"), [(2, (8, 8, 16, 20)), (4, (8, 12, 12, 20))])
def test_blocks_that_halve_their_rows_have_other_channels(
    block: int, widths: tuple[int, int, int, int]
) -> None:
    points = [width for width, count in zip(widths, BLOCKS, strict=True) for _ in range(count)]
    shapes = tensor_shapes(16, points, 32, 5)
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(KwsError, match=f"blocks.{block} halves its rows and keeps its channels"):
        fold(config_of(1.0, causal=True), arrays)


@pytest.mark.parametrize("name", ["stem.0.weight", "blocks.0.point.weight", "head.bias"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_weights_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    arrays = arrays_of(1.0) | {name: np.zeros(shape, np.float32)}
    with pytest.raises(KwsError, match="are not those of bcresnet of width 1"):
        fold(config_of(1.0, causal=True), arrays)


@pytest.mark.parametrize("name", ["stem.1.deviation", "stem.1.odd"])
def test_tensors_that_no_network_has_are_refused(name: str) -> None:
    """What takes the place of a variance once it is known, too: files hold none."""
    with pytest.raises(KwsError, match="are not those of bcresnet of width 1"):
        fold(config_of(1.0, causal=True), arrays_of(1.0) | {name: np.full(16, 7, np.float32)})


@pytest.mark.parametrize("tau", TAUS)
def test_every_weight_has_its_shape(tau: float) -> None:
    network = BCResNet(5, tau)
    points = [len(network.get_parameter(f"blocks.{index}.point.weight")) for index in range(12)]
    found = tensor_shapes(len(network.get_parameter("stem.0.weight")), points, network.width, 5)
    whole = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == {name: shape for name, shape in whole.items() if not name.endswith("tracked")}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("stem.1.running_mean", np.zeros(1)),  # which NumPy would take for all channels
        ("blocks.3.subnorm.norm.weight", np.ones(())),
        ("head.weight", np.ones((5, 32, 1))),
        ("stem.0.weight", np.ones((16, 2, 5, 5))),
        ("neck.0.bias", np.zeros(16)),
        ("neck.2.running_var", -np.ones(32)),
    ],
)
def test_weights_of_no_one_network_are_refused(name: str, array: NDArray[np.float64]) -> None:
    """The compiled code would read beyond them, or hear what the others do not."""
    arrays = arrays_of(1.0) | {name: array.astype(np.float32)}
    for make in (compiled.CompiledNetwork, fold):
        with pytest.raises(KwsError, match=f"the weights are not those of bcresnet .*{name}"):
            make(config_of(1.0, causal=True), arrays)


def test_a_base_has_a_name_for_each_class(base: Base) -> None:
    config = replace(base.config, labels=base.config.labels[1:], detector=DetectorConfig())
    told = f"{len(config.labels)} labels and a head for {len(base.config.labels)}"
    with pytest.raises(KwsError, match=told):
        Runtime(
            config,
            tensors(base),
            compiled.CompiledNetwork,
            lambda: frontend.NumpyFrontEnd(config.features),
        )


def compiled_network(tau: float, *, causal: bool) -> compiled.CompiledNetwork:
    return compiled.CompiledNetwork(config_of(tau, causal), arrays_of(tau))


def arrays_of(tau: float, seed: int = 0) -> Arrays:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BCResNet(5, tau).train()
        network(torch.randn(8, 40, 20) + 1)  # statistics unlike a new one's
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def config_of(tau: float, causal: bool) -> BaseConfig:
    return BaseConfig(
        architecture="bcresnet", tau=tau, language="ar", labels=tuple("abcde"), causal=causal
    )


@pytest.mark.parametrize("form", FORMS)
def test_an_adapter_for_the_bases_own_language_is_heard_once_it_is_chosen(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str
) -> None:
    runtime = runtime_of(base_of(True), form)
    engine = Engine(runtime)
    before = engine.labels
    runtime.load_adapter(make_adapter("ar", 3))
    engine.feed(noise(HOP))
    assert engine.labels == before
    engine.set_language("ar")
    assert engine.labels == runtime.labels != before
    assert engine.feed(noise(HOP)) == []
    assert engine.scores.shape == (3,)


@pytest.mark.parametrize("form", FORMS)
def test_an_engine_hears_its_adapter_where_the_base_is_active_under_the_same_name(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter, form: str
) -> None:
    """And the base where that was what it heard."""
    runtime = runtime_of(base_of(True), form)
    runtime.load_adapter(make_adapter("ar", 3))
    for language in ("ar", None):
        if language:
            runtime.set_adapter(language)
        else:
            runtime.delete_adapter("ar")
        wave, engine, steady = noise(6 * HOP), Engine(runtime), Engine(runtime)
        with runtime.disable_adapter():
            found = engine.feed(wave) + engine.flush()
        assert found == steady.feed(wave) + steady.flush()
        assert engine.labels == steady.labels == runtime.labels
        np.testing.assert_array_equal(engine.scores, steady.scores)


def test_an_engine_whose_language_was_deleted_is_told_to_choose(
    base_of: BaseOf, runtime_of: RuntimeOf, make_adapter: MakeAdapter
) -> None:
    runtime = runtime_of(base_of(True), "session")
    runtime.set_adapter(runtime.load_adapter(make_adapter("cmn")))
    engine = Engine(runtime)
    runtime.delete_adapter("cmn")
    with pytest.raises(UsageError, match="no adapter for 'cmn' is loaded; there are ar"):
        engine.feed(noise(HOP))
    with pytest.raises(UsageError, match="no adapter for 'cmn' is loaded; there are ar"):
        engine.flush()
    engine.set_language("ar")
    assert engine.feed(noise(HOP)) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("view", [8_000, 24_000])
@pytest.mark.parametrize("hop", [0.08, 0.085])
def test_a_base_of_another_view_hears_as_much_at_every_hop(
    base_of: BaseOf, runtime_of: RuntimeOf, form: str, view: int, hop: float
) -> None:
    base = base_of(False)
    config = replace(base.config, features=FeatureConfig(view=view))
    runtime = runtime_of(Base(config, base.network), form)
    engine = Engine(runtime, hop_seconds=hop)
    wave = noise(32 * engine.hop)
    engine.feed(wave)
    smoothing = runtime.detector_config(engine.language).smoothing
    ends = [len(wave) - past * engine.hop for past in range(smoothing)]
    expected = np.mean([runtime.scores(wave[end - view : end]) for end in ends], axis=0)
    np.testing.assert_allclose(engine.scores, expected, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_engine_hears_a_stream_as_it_hears_views(
    base_of: BaseOf, runtime_of: RuntimeOf, form: str
) -> None:
    """The features that neighbouring views share are computed once; the scores are the same."""
    runtime = runtime_of(base_of(False), form)

    class Plain:
        """The same spotter, shown a whole view for every decision."""

        languages, active_adapter, active = runtime.languages, "ar", None
        labels = runtime.labels
        set_adapter, detector_config = runtime.set_adapter, runtime.detector_config
        scores = staticmethod(runtime.scores)

        def hop_scorer(self, hop: int) -> WindowScorer:
            return WindowScorer(self, runtime.config.features.view)

    wave = noise(16_000 * 2 + 77)
    streamed, viewed = Engine(runtime), Engine(Plain())
    for start in range(0, len(wave), 1_001):
        streamed.feed(wave[start : start + 1_001])
        viewed.feed(wave[start : start + 1_001])
        np.testing.assert_allclose(streamed.scores, viewed.scores, rtol=0, atol=TOLERANCE)
    assert streamed.decisions == viewed.decisions > 20


def test_a_network_that_names_its_tensors_in_another_order_is_refused(base: Base) -> None:
    """Of one's own; languages would be added in the wrong places."""

    class Turned:
        causal, history, names = False, 98, weight_names(tensors(base))[::-1]

        def put(self, vector: Wave, weight: Wave, bias: Wave) -> None: ...

        def start(self) -> Wave:
            return np.zeros(0, np.float32)

        def hear(self, state: Wave, features: Wave) -> Wave:
            return np.zeros(4, np.float32)

    with pytest.raises(ValueError, match=r"bias must follow .*weight"):
        Runtime(
            base.config,
            tensors(base),
            lambda *_: Turned(),
            lambda: frontend.NumpyFrontEnd(base.config.features),
        )


def test_verbs_of_the_bank(base: Base, make_adapter: MakeAdapter) -> None:
    class Silent:
        causal, history, names = False, 98, weight_names(tensors(base))

        def put(self, vector: Wave, weight: Wave, bias: Wave) -> None: ...

        def start(self) -> Wave:
            return np.zeros(0, np.float32)

        def hear(self, state: Wave, features: Wave) -> Wave:
            return np.zeros(4, np.float32)

    def build(config: object, arrays: Arrays) -> Network:
        return Silent()

    features = base.config.features
    runtime = Runtime(base.config, tensors(base), build, lambda: frontend.NumpyFrontEnd(features))
    runtime.load_adapter(make_adapter("cmn"))
    with pytest.raises(KwsError, match="loaded already"):
        runtime.load_adapter(make_adapter("cmn"))
    with pytest.raises(KwsError, match="there are ar, cmn"):
        runtime.set_adapter("xx")
    with pytest.raises(KwsError, match="another base"):
        runtime.load_adapter(make_adapter("de", base_sha256="b" * 64))
    with pytest.raises(KwsError, match="other sites"):
        runtime.load_adapter(make_adapter("de", sites=("head",)))
    with pytest.raises(KwsError, match="a view has"):
        runtime.scores(np.zeros(15_999, np.float32))
    runtime.set_adapter("cmn")
    with runtime.disable_adapter():
        assert runtime.active_adapter == "ar"
    assert runtime.active_adapter == "cmn"
    runtime.delete_adapter("cmn")
    assert runtime.active_adapter == "ar"
    assert runtime.languages == ("ar",)
    with pytest.raises(KwsError, match="no adapter"):
        runtime.delete_adapter("cmn")


@pytest.mark.parametrize("form", ["torch", *FORMS])
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e30, -3e38])
def test_what_no_ear_can_hear_is_the_same_for_all(
    base: Base, runtime_of: Callable[[Base, str], Runtime], form: str, odd: float
) -> None:
    """A view by itself, too; whole numbers are refused there as in a stream."""
    features = partial(log_mel, config=base.config.features)
    bank = Bank(base, features) if form == "torch" else runtime_of(base, form)
    view = np.full(SAMPLE_RATE, 0.1, np.float32)
    view[5_000:5_100] = odd
    bounded = np.clip(np.where(np.isfinite(view), view, 0), -LOUDEST, LOUDEST).astype(np.float32)
    np.testing.assert_array_equal(bank.scores(view), bank.scores(bounded))
    assert np.isfinite(bank.scores(view)).all()
    with pytest.raises(KwsError, match="divide 16-bit ones by 32768"):
        bank.scores(np.zeros(SAMPLE_RATE, np.int16))


@pytest.mark.parametrize("form", FORMS)
def test_scores_that_are_kept_stay(
    base: Base, runtime_of: Callable[[Base, str], Runtime], form: str
) -> None:
    runtime = runtime_of(base, form)
    rng = np.random.default_rng(0)
    first, other = rng.normal(0, 0.1, (2, SAMPLE_RATE)).astype(np.float32)
    found = runtime.scores(first)
    kept = found.copy()
    assert not np.array_equal(runtime.scores(other), kept)
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("form", FORMS)
def test_a_causal_base_decides_on_frames(
    base_of: Callable[[bool], Base], runtime_of: Callable[[Base, str], Runtime], form: str
) -> None:
    """Between them it would hear every view as if nothing had been before."""
    with pytest.raises(KwsError, match="decisions must fall on frames, not every 1360 samples"):
        Engine(runtime_of(base_of(True), form), hop_seconds=0.085)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_of_the_stream_before_nothing_is_heard_after_a_reset(
    base_of: BaseOf, runtime_of: RuntimeOf, form: str, causal: bool
) -> None:
    """Not even in the frames that begin before its first sample."""
    runtime = runtime_of(base_of(causal), form)
    used, fresh = runtime.hop_scorer(HOP), runtime.hop_scorer(HOP)
    used.hear(np.full(HOP, 0.5, np.float32))
    used.reset()
    block = noise(HOP)
    assert used.hear(block).tobytes() == fresh.hear(block).tobytes()


@needs_code
def test_compiled_scores_of_a_network_that_is_very_sure_are_probabilities() -> None:
    """Even those of classes that hardly any single precision is small enough for."""
    tensors = arrays_of(1.0)
    spread = -100 * np.arange(len(tensors["head.bias"]), dtype=np.float32)
    tensors |= {"head.weight": 0 * tensors["head.weight"], "head.bias": spread}
    made = compiled.CompiledNetwork(config_of(1.0, causal=False), tensors)
    scores = made.hear(made.start(), np.zeros((40, made.history), np.float32))
    np.testing.assert_allclose(scores, np.eye(len(spread))[0], rtol=0, atol=TOLERANCE)


def test_deviations_that_are_known_already_fold_as_the_variances_do(base: Base) -> None:
    """Also where what stands beside them under the root is most of it."""
    small = {
        name: 1e-6 * array if name.endswith("running_var") else array
        for name, array in tensors(base).items()
    }
    given, known = (
        graph_weights(fold_unchecked(base.config, arrays))
        for arrays in (small, small | with_deviations(small))
    )
    for name, array in given.items():
        np.testing.assert_array_equal(known[name], array)
