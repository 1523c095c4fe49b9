"""Judging and trimming recordings, on made signals."""

import numpy as np
import pytest
from numpy.typing import NDArray

from audio_data.takes import MARGIN, judge, loudness, trim
from kws.config import SAMPLE_RATE

Wave = NDArray[np.float32]


def spoken(
    begin: float = 0.7, seconds: float = 0.5, peak: float = 0.3, noise: float = 0.001
) -> Wave:
    """Two seconds of a room, in which somebody says something."""
    rng = np.random.default_rng(0)
    wave = noise * rng.standard_normal(2 * SAMPLE_RATE)
    time = np.arange(len(wave)) / SAMPLE_RATE
    inside = (time >= begin) & (time < begin + seconds)
    wave[inside] += peak * np.sin(2 * np.pi * 300 * time[inside])
    return wave.astype(np.float32)


@pytest.mark.parametrize("peak", [0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("begin", [0.2, 0.7, 1.3])
def test_a_good_recording_is_trimmed_to_the_word_and_a_margin(peak: float, begin: float) -> None:
    wave = spoken(begin, 0.4, peak)
    take = judge(wave)
    assert take.problem is None
    assert take.seconds == pytest.approx(0.4, abs=0.1)
    assert take.level == pytest.approx(20 * np.log10(peak / 2**0.5), abs=0.5)
    first = wave.tolist().index(take.wave[0])
    np.testing.assert_array_equal(take.wave, wave[first : first + len(take.wave)])
    assert first / SAMPLE_RATE == pytest.approx(max(0, begin - MARGIN), abs=0.06)
    end = (first + len(take.wave)) / SAMPLE_RATE
    assert end == pytest.approx(min(2, begin + 0.4 + MARGIN), abs=0.06)


@pytest.mark.parametrize(
    ("wave", "problem"),
    [
        (np.zeros(2 * SAMPLE_RATE, np.float32), "nothing was heard"),
        (np.zeros(0, np.float32), "nothing was heard"),
        (np.full(2 * SAMPLE_RATE, 0.4, np.float32), "nothing was heard"),  # a constant offset
        (spoken(peak=0.002, noise=0.0001), "nothing was heard"),
        (np.clip(spoken(peak=1.5), -1, 1), "clipped"),
        (1.01 * np.clip(spoken(peak=0.99), -0.98, 0.98), "clipped"),
        (spoken(peak=0), "nothing was heard"),
        (spoken(peak=0.02, noise=0.05), "nothing stands out"),
        (spoken(peak=0.15, noise=0.05), "nothing stands out"),  # by 8 dB
        (spoken(begin=0.0), "begins before"),
        (spoken(begin=1.7), "goes on after"),
        (spoken(seconds=0.01), "too short: only a click"),
        (spoken(seconds=0.05), "too short: 0.11 s of sound is no word"),
        (spoken(begin=0.1, seconds=1.7), "too long: 1.76 s"),
    ],
)
def test_what_cannot_be_kept_is_rejected_with_a_reason(wave: Wave, problem: str) -> None:
    take = judge(wave)
    assert take.problem
    assert problem in take.problem


@pytest.mark.parametrize(
    "wave", [spoken(peak=0.25, noise=0.05), spoken(seconds=0.06), spoken(begin=0.2, seconds=1.4)]
)
def test_what_is_hardly_loud_or_long_or_short_enough_is_kept(wave: Wave) -> None:
    assert judge(wave).problem is None


def test_one_loud_sample_is_no_clipping() -> None:
    wave = spoken()
    wave[15_000:15_002] = 1.0
    assert judge(wave).problem is None


def test_trimming_ends_at_the_recording() -> None:
    wave = np.arange(16_000, dtype=np.float32)
    np.testing.assert_array_equal(trim(wave, (1_000, 15_000)), wave)
    np.testing.assert_array_equal(trim(wave, (6_000, 7_000), 0.1), wave[4_400:8_600])


def test_loudness_is_that_of_the_loudest_stretch() -> None:
    powers = np.zeros(100)
    powers[40:45] = 0.01
    assert loudness(powers) == pytest.approx(-20)
    assert loudness(np.zeros(0)) == loudness(np.zeros(3)) == pytest.approx(-100)
    assert loudness(np.full(3, 0.01)) == pytest.approx(-20)  # of less than that, all of it


def test_three_samples_at_full_scale_are_clipping() -> None:
    wave = spoken()
    wave[15_000:15_003] = 1.0
    assert "clipped" in str(judge(wave).problem)
