"""Three ways to the same log-mel features: torchaudio's, NumPy's, librosa's."""

from dataclasses import replace
from functools import partial

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apps.wiring import _front_end
from audio_data.features import TOLERANCE, LogMel
from audio_data.frontend import CompiledFrontEnd, NumpyFrontEnd
from audio_data.logmel import feed, initial_state, lead, log_mel, mel_filters
from kws.config import FeatureConfig
from kws.errors import KwsError

Array = NDArray[np.float32]

CONFIG = FeatureConfig()
TIME = np.arange(CONFIG.view) / CONFIG.sample_rate
RNG = np.random.default_rng(0)
SOUNDS: dict[str, Array] = {
    name: np.asarray(wave, np.float32)
    for name, wave in {
        "noise": RNG.normal(0, 0.1, CONFIG.view),
        "faint noise": RNG.normal(0, 1e-4, CONFIG.view),
        "clipped noise": np.clip(RNG.normal(0, 2, CONFIG.view), -1, 1),
        "low tone": 0.5 * np.sin(2 * np.pi * 60 * TIME),
        "tone": 0.5 * np.sin(2 * np.pi * 1_000 * TIME),
        "high tone": 0.5 * np.sin(2 * np.pi * 7_500 * TIME),
        "sweep": 0.5 * np.sin(2 * np.pi * (20 + 3_700 * TIME) * TIME),
        "click": np.eye(1, CONFIG.view, 8_000)[0],
        "offset": np.full(CONFIG.view, 0.3),
        "silence": np.zeros(CONFIG.view),
    }.items()
}
CONFIGS = {"default": CONFIG, "other": replace(CONFIG, mels=20, low=100.0, hop=200, view=8_000)}


def from_librosa(wave: Array, config: FeatureConfig) -> Array:
    mel = librosa.feature.melspectrogram(
        y=wave,
        sr=config.sample_rate,
        n_fft=config.window,
        hop_length=config.hop,
        window="hann",
        center=False,
        power=2.0,
        n_mels=config.mels,
        fmin=config.low,
        fmax=config.high,
        htk=True,
        norm=None,
    )
    return np.asarray(np.log1p(mel / config.floor) * config.scale)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_torchaudio_numpy_and_librosa_agree(sound: str, config: FeatureConfig) -> None:
    wave = SOUNDS[sound][: config.view]
    ours, theirs = log_mel(wave, config), LogMel(config)(torch.from_numpy(wave)[None])[0].numpy()
    assert ours.shape == theirs.shape == (config.mels, config.frames)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(ours, from_librosa(wave, config), atol=TOLERANCE, rtol=0)


def test_tolerance_is_far_below_what_is_heard() -> None:
    """A tenth of a decibel moves features by more than the three ways differ."""
    louder = SOUNDS["noise"] * np.float32(10 ** (0.1 / 20))
    moved = np.abs(log_mel(louder, CONFIG) - log_mel(SOUNDS["noise"], CONFIG))
    assert moved.min() > 5 * TOLERANCE


def test_silence_is_exactly_zero() -> None:
    """So that a frame of padding, a masked frame and digital silence are the same."""
    silence = SOUNDS["silence"]
    assert not log_mel(silence, CONFIG).any()
    assert not LogMel(CONFIG)(torch.from_numpy(silence)[None]).any()


@pytest.mark.parametrize("band", [5, 20, 39])
def test_a_tone_at_a_bands_middle_is_loudest_there(band: int) -> None:
    filters = mel_filters(CONFIG)  # [bins, F]
    hertz = filters[:, band].argmax() * CONFIG.sample_rate / CONFIG.window
    features = log_mel((0.1 * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32), CONFIG)
    assert set(features.argmax(axis=0)) == {band}


def test_a_batch_is_its_rows() -> None:
    """What is heard does not depend on what else is in the batch."""
    waves = torch.from_numpy(np.stack([SOUNDS["noise"], SOUNDS["tone"]]))
    module = LogMel(CONFIG)
    torch.testing.assert_close(module(waves)[1], module(waves[1:])[0], atol=TOLERANCE, rtol=0)


def test_a_frame_hears_its_own_window_only() -> None:
    wave = SOUNDS["noise"].copy()
    before = log_mel(wave, CONFIG)
    wave[CONFIG.hop * 10 + CONFIG.window :] = 0  # all after the window of frame 10
    after = log_mel(wave, CONFIG)
    np.testing.assert_array_equal(before[:, :11], after[:, :11])
    assert not np.array_equal(before[:, 11], after[:, 11])


@pytest.mark.parametrize(
    "change", [{"floor": 1e-7}, {"mels": 41}, {"high": 8_000.0}, {"scale": 0.5}, {"hop": 161}]
)
def test_every_setting_changes_the_digest(change: dict[str, float]) -> None:
    """An adapter made for one front end is told from another's by it."""
    assert replace(CONFIG, **change).digest != CONFIG.digest  # type: ignore[arg-type]
    assert replace(CONFIG).digest == CONFIG.digest


def streamed(wave: Array, sizes: list[int], config: FeatureConfig) -> Array:
    """Features of a stream that comes in pieces of these sizes, the last to its end."""
    state, pieces = initial_state(config), []
    for piece in np.split(wave, np.cumsum(sizes)):
        features, state = feed(state, piece, config)
        assert len(state) < config.window  # memory does not grow
        assert features.dtype == np.float32
        pieces.append(features)
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [1, 7, 159, 160, 161, 480, 1_280, 5_000, 20_000])
def test_a_stream_has_a_clips_frames(size: int, config: FeatureConfig) -> None:
    """After those that begin in the silence before it, however it is cut."""
    wave = SOUNDS["sweep"] + SOUNDS["faint noise"]
    found = streamed(wave, [size] * (len(wave) // size), config)
    silence = np.zeros(lead(config) * config.hop, np.float32)
    np.testing.assert_allclose(found[:, lead(config) :], log_mel(wave, config), atol=TOLERANCE)
    whole = log_mel(np.concatenate([silence, wave]), config)
    np.testing.assert_allclose(found, whole, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_may_be_cut_at_random(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 0.1, 3 * CONFIG.view).astype(np.float32)
    sizes = rng.integers(0, [2, 400, 3_000][seed % 3], 60).tolist()
    found = streamed(wave, sizes, CONFIG)
    np.testing.assert_allclose(found[:, lead(CONFIG) :], log_mel(wave, CONFIG), atol=TOLERANCE)


@pytest.mark.parametrize("size", [0, 1, 100, 479])
def test_less_than_a_window_has_no_frame(size: int) -> None:
    wave = SOUNDS["noise"][:size]
    compiled = CompiledFrontEnd(CONFIG).clip
    for features in (partial(log_mel, config=CONFIG), NumpyFrontEnd(CONFIG).clip, compiled):
        assert features(wave).shape == (CONFIG.mels, 0)


@pytest.mark.parametrize("name", ["view", "window", "mels"])
def test_a_front_end_has_an_end(name: str) -> None:
    """Else a broken base would take all memory."""
    with pytest.raises(KwsError, match="sample rate, view, window, hop and bands cannot be"):
        FeatureConfig(**{"view": 100_000} | {name: 10**9})


def test_where_compiled_code_takes_no_such_window_there_is_another() -> None:
    """Only a base of somebody else's has one."""
    odd = FeatureConfig(window=401)
    for window in (1, 401, 2 * 2_003):  # a large prime factor, whose table would be its square
        with pytest.raises(KwsError, match=f"no window of {window} samples"):
            CompiledFrontEnd(replace(odd, window=window, hop=1))
    assert type(_front_end(odd, kernels=True)) is NumpyFrontEnd
    assert type(_front_end(CONFIG, kernels=True)) is CompiledFrontEnd


def test_every_hop_of_a_stream_ends_a_frame() -> None:
    """So that a decision every eight hops has eight new frames, from the first on."""
    state = initial_state(CONFIG)
    for piece in np.split(SOUNDS["noise"][: 10 * 1_280], 10):
        features, state = feed(state, piece, CONFIG)
        assert features.shape == (CONFIG.mels, 8)
    nothing, same = feed(state, piece[:0], CONFIG)
    assert nothing.shape == (CONFIG.mels, 0)
    np.testing.assert_array_equal(same, state)


def test_equal_front_ends_have_one_digest() -> None:
    assert FeatureConfig(low=20, high=7_600).digest == CONFIG.digest
    assert FeatureConfig(high=7_601).digest != CONFIG.digest


def test_a_streams_frame_hears_its_newest_samples() -> None:
    """And the state it began from stays as it was."""
    state = initial_state(CONFIG)
    _, state = feed(state, SOUNDS["noise"][:1_600], CONFIG)
    before = state.copy()
    piece = SOUNDS["noise"][1_600:1_760].copy()
    heard, _ = feed(state, piece, CONFIG)
    piece[-20:] += 10  # the window is near zero at its border
    louder, _ = feed(state, piece, CONFIG)
    assert heard.shape[1] == 1
    assert not np.allclose(heard, louder, atol=TOLERANCE)
    np.testing.assert_array_equal(before, state)


def test_a_silent_stream_is_exactly_zero() -> None:
    assert not streamed(SOUNDS["silence"], [1_000, 3], CONFIG).any()
