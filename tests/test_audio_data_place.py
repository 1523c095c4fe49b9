"""Placing: the word lies whole in the middle of the view, wherever it was in its recording."""

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio_data.decode import decode
from audio_data.manifest import read_manifest
from audio_data.place import FRAME, place, speech_span

RATE = 16_000
VIEW = 16_000
SLACK = 1_280  # samples, 80 ms: how far from the truth a span may lie at either end

Wave = NDArray[np.float32]


def word(seconds: float, seed: int = 0) -> Wave:
    """A burst of modulated tone and noise that begins and ends at a tenth of its loudness."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    shape = 0.1 + 0.9 * np.sin(np.pi * time / seconds)  # one hump
    shape *= 0.7 + 0.3 * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6))  # syllables
    voice = np.sin(2 * np.pi * rng.uniform(100, 600) * time) + rng.normal(0, 0.5, len(time))
    return (0.3 * shape * voice).astype(np.float32)


def recording(seconds: float, sound: Wave, at: float, noise: float = 1e-3, seed: int = 0) -> Wave:
    """``sound`` at second ``at`` of so much noise."""
    rng = np.random.default_rng(seed + 1_000)
    wave = rng.normal(0, noise, round(seconds * RATE)).astype(np.float32)
    first = round(at * RATE)
    wave[first : first + len(sound)] += sound[: len(wave) - first]
    return wave


CASES = [
    (seconds, length, share)
    for seconds in (0.5, 1.0, 1.5, 2.0, 3.0)
    for length in (0.25, 0.5, 0.8)
    for share in (0.0, 0.3, 0.6, 1.0)
    if length <= seconds
]


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize(("seconds", "length", "share"), CASES)
def test_a_word_is_found_wherever_it_lies(
    seconds: float, length: float, share: float, noise: float
) -> None:
    at = share * (seconds - length)
    begin, end = speech_span(recording(seconds, word(length), at, noise))
    assert abs(begin - at * RATE) <= SLACK
    assert abs(end - (at + length) * RATE) <= SLACK


@pytest.mark.parametrize("margin", [0, 1_600])
@pytest.mark.parametrize(("seconds", "length", "share"), CASES)
def test_a_word_lies_whole_in_the_middle(
    seconds: float, length: float, share: float, margin: int
) -> None:
    sound = word(length)
    at = share * (seconds - length)
    view = place(recording(seconds, sound, at, noise=0), VIEW, margin)
    assert view.shape == (VIEW + 2 * margin,)
    assert view.dtype == np.float32
    inside = view[margin : margin + VIEW]
    assert np.sum(inside**2) > 0.9999 * np.sum(sound**2)
    heard = np.flatnonzero(inside)
    middle = (heard[0] + heard[-1]) / 2
    assert abs(middle - VIEW / 2) <= SLACK


def test_around_the_word_is_the_recording_and_beyond_it_zeros() -> None:
    wave = recording(1.0, word(0.4), at=0.1)
    view = place(wave, VIEW, margin=VIEW)
    begin, end = speech_span(wave)
    first = VIEW + VIEW // 2 - (begin + end) // 2
    np.testing.assert_array_equal(view[first : first + len(wave)], wave)
    assert not view[:first].any()
    assert not view[first + len(wave) :].any()


def test_the_margin_adds_and_moves_nothing() -> None:
    wave = recording(2.0, word(0.5), at=1.2)
    np.testing.assert_array_equal(place(wave, VIEW, 800)[800:-800], place(wave, VIEW))


@pytest.mark.parametrize("noise", [0.01, 0.03])
@pytest.mark.parametrize("peak", [0.01, 0.1, 1.0])
def test_loudness_does_not_matter(peak: float, noise: float) -> None:
    wave = recording(2.0, word(0.5), at=0.9, noise=noise)
    scaled = (wave * (peak / np.abs(wave).max())).astype(np.float32)
    assert speech_span(scaled) == speech_span(wave)


@pytest.mark.parametrize("noise", [0.03, 0.06])  # 15 and 9 dB below the word
@pytest.mark.parametrize("seed", range(5))
def test_a_word_in_noise_is_kept(noise: float, seed: int) -> None:
    sound = word(0.6, seed)
    wave = recording(2.5, sound, at=1.5, noise=noise, seed=seed)
    begin, end = speech_span(wave)
    energy = np.cumsum(sound**2)
    lost = energy[max(0, begin - 24_000)] + energy[-1] - energy[min(len(sound), end - 24_000) - 1]
    assert lost < 0.02 * energy[-1]
    assert end - begin < VIEW


@pytest.mark.parametrize("loud", [0.1, 0.9])
@pytest.mark.parametrize("long", [0.001, 0.01, 0.029])
@pytest.mark.parametrize("at", [0.0, 0.203, 1.5, 1.91])
def test_a_click_does_not_widen_the_span(at: float, long: float, loud: float) -> None:
    quiet = recording(2.0, word(0.5), at=0.7)
    click = np.full(round(long * RATE), loud, np.float32)
    click[1::2] *= -1
    wave = quiet.copy()
    first = round(at * RATE)
    wave[first : first + len(click)] += click
    begin, end = speech_span(wave)
    assert abs(begin - 0.7 * RATE) <= SLACK
    assert abs(end - 1.2 * RATE) <= SLACK


def test_the_release_of_a_stop_belongs_to_the_word() -> None:
    wave = recording(2.0, word(0.4), at=0.6)
    release = np.random.default_rng(0).normal(0, 0.05, 320).astype(np.float32)
    wave[round(1.07 * RATE) :][:320] += release  # after 70 ms of closure
    assert speech_span(wave)[1] >= round(1.09 * RATE)


def test_a_soft_ending_belongs_to_the_word() -> None:
    wave = recording(2.0, word(0.4), at=0.6, noise=1e-4)
    hiss = np.random.default_rng(0).normal(0, 0.012, 2_400).astype(np.float32)  # 25 dB below
    wave[round(1.0 * RATE) :][:2_400] += hiss
    assert speech_span(wave)[1] >= round(1.15 * RATE)


def test_a_constant_offset_does_not_matter() -> None:
    wave = recording(2.0, word(0.5), at=0.9)
    assert speech_span(wave + np.float32(0.3)) == speech_span(wave)


def test_a_soft_breath_apart_does_not_count_but_a_second_word_does() -> None:
    quiet = recording(2.5, word(0.5), at=0.4, noise=1e-4)
    breath = recording(2.5, 0.08 * word(0.3, 1), at=1.8, noise=0) + quiet
    assert speech_span(breath)[1] < RATE
    second = recording(2.5, 0.5 * word(0.3, 1), at=1.8) + quiet
    assert abs(speech_span(second)[1] - 2.1 * RATE) <= SLACK


@pytest.mark.parametrize("shape", ["flat", "rising", "falling"])
def test_a_sound_longer_than_the_view_gives_its_loudest_stretch(shape: str) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    hump = np.ones(2 * RATE)
    if shape != "flat":
        hump[12_000:] = 3
    sound *= hump[::-1] if shape == "falling" else hump
    view = place(recording(3.0, sound.astype(np.float32), at=0.5, noise=1e-4), VIEW)
    total = np.cumsum(sound**2)
    most = (total[VIEW:] - total[:-VIEW]).max()
    assert view.shape == (VIEW,)
    assert np.sum(view**2) >= 0.98 * most


def test_a_word_with_a_long_soft_tail_lies_whole_in_the_view() -> None:
    tail = np.random.default_rng(0).normal(0, 0.004, 24_000).astype(np.float32)
    wave = np.concatenate([np.zeros(4_000, np.float32), word(0.6), tail])
    view = place(wave, VIEW)
    loud = np.flatnonzero(np.abs(view) > 0.03)
    assert loud[0] > 0.2 * RATE
    assert loud[-1] < 0.9 * RATE
    assert np.sum(view**2) > 0.98 * np.sum(wave**2)


@pytest.mark.parametrize("count", [1, 2, 159, 160, 161, 800, 16_000, 40_001])
def test_a_recording_without_differences_is_all_speech(count: int) -> None:
    for value in (0.0, 0.5):
        wave = np.full(count, value, np.float32)
        assert speech_span(wave) == (0, count)
        view = place(wave, VIEW, 400)
        assert view.shape == (VIEW + 800,)
        assert np.count_nonzero(view) == (min(count, VIEW + 800) if value else 0)


def test_nothing_at_all_is_silence() -> None:
    assert speech_span(np.zeros(0, np.float32)) == (0, 0)
    np.testing.assert_array_equal(place(np.zeros(0, np.float32), 100, 10), np.zeros(120))


@pytest.mark.parametrize("length", [1, 100, 8_000, 12_345])
def test_any_view_length_works(length: int) -> None:
    for seconds in (0.1, 0.7, 2.0):
        assert place(recording(seconds, word(seconds / 2), 0), length, 7).shape == (length + 14,)


def test_the_recording_is_left_as_it_is() -> None:
    wave = recording(1.0, word(0.5), at=0.2)
    before = wave.copy()
    view = place(wave, VIEW)
    view[:] = 0
    np.testing.assert_array_equal(wave, before)


def above_noise(wave: Wave) -> NDArray[np.float64]:
    """Energy by 10 ms above twice what the quieter frames hold: noise itself swings so far."""
    whole = np.asarray(wave[: len(wave) // FRAME * FRAME], np.float64).reshape(-1, FRAME)
    power: NDArray[np.float64] = whole.var(axis=1)
    return np.where(power > 4 * np.percentile(power, 25), power, 0)


def test_real_words_are_not_cut(shared_data: Path) -> None:
    clips = random.Random(0).sample(read_manifest(shared_data / "manifest.csv"), 200)
    kept = []
    for clip in clips:
        wave = decode(clip.path)
        begin, end = speech_span(wave)
        view = place(wave, VIEW)
        assert view.shape == (VIEW,)
        if end - begin <= VIEW:
            first = ((begin + end - VIEW) // 2) / FRAME
            power = above_noise(wave)
            inside = power[max(0, round(first)) : round(first + VIEW / FRAME)]
            kept.append(inside.sum() / power.sum() if power.any() else 1.0)
    assert len(kept) > 150
    assert sum(share >= 0.98 for share in kept) >= 0.98 * len(kept)
    assert np.mean(kept) >= 0.98
