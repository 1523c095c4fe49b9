"""Noise for training is never the noise that is measured with."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_data.noise import HELD_OUT_SHARE, find_noise, load_noise
from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError


def ramp(path: Path, seconds: float, level: float = 0.5) -> Path:
    """A recording whose samples grow, so that each tells where it stood."""
    path.parent.mkdir(exist_ok=True)
    wave = np.linspace(0.1, 1, round(seconds * SAMPLE_RATE)) * level
    soundfile.write(path, wave.astype(np.float32), SAMPLE_RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize("name", ["noise", "Noise", "_background_noise_"])
def test_noise_beside_a_corpus_is_found(tmp_path: Path, name: str) -> None:
    """Beside a manifest, or inside a folder of recordings; notes are passed over."""
    second = ramp(tmp_path / name / "rain.WAV", 10)
    first = ramp(tmp_path / name / "a.wav", 10)
    (tmp_path / name / "README.md").write_text("rain and a")
    (tmp_path / name / "._a.wav").write_bytes(b"of another system")
    assert find_noise(tmp_path) == find_noise(tmp_path / "manifest.csv") == (first, second)
    assert find_noise(tmp_path, tmp_path / name / "..", None) == (first, second)  # each once


def test_noise_of_several_corpora_stands_in_one_order(tmp_path: Path) -> None:
    """However they are given: another order would be other training."""
    paths = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        paths.append(ramp(tmp_path / name / "noise" / "hum.wav", 10))
    assert find_noise(*(tmp_path / name for name in "bca")) == tuple(paths)


def test_without_noise_there_is_none_to_find(tmp_path: Path) -> None:
    (tmp_path / "noise").touch()  # no folder
    assert find_noise(tmp_path / "manifest.csv") == ()


def test_the_end_of_every_recording_is_held_out(tmp_path: Path) -> None:
    paths = [ramp(tmp_path / "noise" / f"{n}.wav", seconds) for n, seconds in enumerate((10, 20))]
    train, held = load_noise(paths)
    assert len(held) == pytest.approx(HELD_OUT_SHARE * 30 * SAMPLE_RATE, abs=2)
    assert len(train) + len(held) == 30 * SAMPLE_RATE
    first, second = train[: 8 * SAMPLE_RATE], train[8 * SAMPLE_RATE :]
    assert first.max() < held[: 2 * SAMPLE_RATE].min()  # a ramp: what is held out comes after
    assert second.max() < held[2 * SAMPLE_RATE :].min()


@pytest.mark.parametrize("level", [1e-3, 1.0])
def test_recordings_have_unit_power_whatever_their_level(tmp_path: Path, level: float) -> None:
    """So that the SNR asked for is the one that is heard."""
    whole = np.concatenate(load_noise([ramp(tmp_path / "noise" / "a.wav", 12, level)]))
    assert float(np.square(whole).mean()) == pytest.approx(1, rel=1e-3)


def test_where_there_is_none_noise_is_made() -> None:
    train, held = load_noise([])
    assert len(train) + len(held) == 60 * SAMPLE_RATE
    assert float(np.square(train).mean()) == pytest.approx(1, rel=0.1)
    assert np.array_equal(train, load_noise([])[0])  # the same on every day
    assert not np.array_equal(train[: len(held)], held)


def test_digital_silence_stays_silent(tmp_path: Path) -> None:
    train, _ = load_noise([ramp(tmp_path / "noise" / "a.wav", 10, level=0.0)])
    assert not train.any()


def test_noise_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """Its held-out part would not fill a view."""
    with pytest.raises(
        UsageError, match=r"a\.wav lasts 9\.9 s; noise must last at least 10 seconds"
    ):
        load_noise([ramp(tmp_path / "noise" / "a.wav", 9.9)])


def test_noise_that_would_go_unheard_is_told(tmp_path: Path) -> None:
    """Of a format that is not read, or in folders of folders."""
    ramp(tmp_path / "noise" / "a.wav", 10)
    (tmp_path / "noise" / "room.m4a").touch()
    with pytest.raises(KwsError, match=r"room\.m4a is in a format that is not read"):
        find_noise(tmp_path)
    (tmp_path / "noise" / "room.m4a").unlink()
    (tmp_path / "noise" / "street").mkdir()
    (tmp_path / "noise" / "a.wav").rename(tmp_path / "noise" / "street" / "a.wav")
    with pytest.raises(KwsError, match=r"street/a\.wav lies too deep; put"):
        find_noise(tmp_path)
