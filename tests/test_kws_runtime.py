"""Listening without torch: the scores of the network with the adapter merged, in every form."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apps.export import base_file
from audio_data import frontend
from audio_data.logmel import log_mel
from kws.adapter import Adapter
from kws.bank import Bank
from kws.base import Base, BaseConfig
from kws.engine import Engine
from kws.errors import KwsError
from kws.files import Arrays
from kws.runtime import Network, Runtime, merged
from models import compiled
from models.bcresnet import BCResNet
from models.folded import Folded, fold
from models.session import SessionNetwork, open_session

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

            def front_end() -> frontend.FrontEnd:
                return frontend.CompiledFrontEnd(config.features)

            return Runtime(
                config,
                tensors(base),
                lambda config, arrays: compiled.Compiled(fold(config, arrays)),
                front_end,
            )
        path = tmp_path / "base.onnx"
        path.write_bytes(base_file(fold(config, tensors(base))))
        session = open_session(path)
        return Runtime(
            config,
            tensors(base),
            lambda config, arrays: SessionNetwork(session, fold(config, arrays)),
            lambda: frontend.FrontEnd(config.features),
        )

    return make


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
    ear = runtime.ear(HOP)
    for _ in range(2):
        ear.reset()
        for row in range(40):
            language = ("ar", "cmn")[row // 6 % 2]
            runtime.set_adapter(language)
            scores = ear.hear(wave[row * HOP : (row + 1) * HOP])
            np.testing.assert_allclose(scores, expected[language][row], rtol=0, atol=TOLERANCE)


@needs_code
@pytest.mark.parametrize("tau", [1.0, 1.5, 3.0])
def test_compiled_code_is_the_same_bit_for_bit_however_frames_come(tau: float) -> None:
    network = folded(tau, causal=True)
    made = compiled.Compiled(network)
    features = np.random.default_rng(0).standard_normal((40, 90)).astype(np.float32)
    found = set()
    for size in (1, 3, 8, 9, 30, 90):
        state = made.start()
        for start in range(0, 90, size):
            scores = made.hear(state, features[:, start : start + size])
        found.add(scores.tobytes() + state.tobytes())
    assert len(found) == 1


@needs_code
def test_compiled_code_takes_no_other_sizes() -> None:
    view = compiled.Compiled(folded(1.0, causal=False))
    with pytest.raises(KwsError, match="98 frames, not 97"):
        view.hear(view.start(), np.zeros((40, 97), np.float32))
    stream = compiled.Compiled(folded(1.0, causal=True))
    with pytest.raises(KwsError, match="another network"):
        stream.hear(view.start(), np.zeros((40, 8), np.float32))
    with pytest.raises(KwsError, match="another network"):
        stream.hear(stream.start(), np.zeros((39, 8), np.float32))
    whole = folded(1.0, causal=True)
    with pytest.raises(KwsError, match="cannot run"):
        compiled.Compiled(replace(whole, blocks=whole.blocks[1:]))


def folded(tau: float, *, causal: bool) -> Folded:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BCResNet(5, tau, causal=causal).eval()
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return fold(config_of(tau, causal), arrays)


def config_of(tau: float, causal: bool) -> BaseConfig:
    return BaseConfig(
        architecture="bcresnet", tau=tau, language="ar", labels=tuple("abcde"), causal=causal
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_engine_hears_a_stream_as_it_hears_views(
    base_of: BaseOf, runtime_of: RuntimeOf, form: str
) -> None:
    """The features that neighbouring views share are computed once; the scores are the same."""
    runtime = runtime_of(base_of(False), form)

    class Plain:
        """The same spotter without an ear of its own."""

        languages, active_adapter, labels = runtime.languages, "ar", runtime.labels
        set_adapter, detector_config = runtime.set_adapter, runtime.detector_config
        scores = staticmethod(runtime.scores)

    wave = noise(16_000 * 2 + 77)
    streamed, viewed = Engine(runtime), Engine(Plain())
    for start in range(0, len(wave), 1_001):
        streamed.feed(wave[start : start + 1_001])
        viewed.feed(wave[start : start + 1_001])
        np.testing.assert_allclose(streamed.scores, viewed.scores, rtol=0, atol=TOLERANCE)
    assert streamed.decisions == viewed.decisions > 20


def test_verbs_of_the_bank(base: Base, make_adapter: MakeAdapter) -> None:
    class Silent:
        causal, history = False, 98

        def start(self) -> Wave:
            return np.zeros(0, np.float32)

        def hear(self, state: Wave, features: Wave) -> Wave:
            return np.zeros(4, np.float32)

    def build(config: object, arrays: Arrays) -> Network:
        return Silent()

    features = base.config.features
    runtime = Runtime(base.config, tensors(base), build, lambda: frontend.FrontEnd(features))
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
