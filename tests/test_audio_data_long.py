"""Long recordings are read piece by piece."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import refuse_folders

from audio_data.long import LongRecordings
from kws.config import SAMPLE_RATE
from kws.errors import KwsError


def test_a_long_recording_that_is_damaged_is_named(tmp_path: Path) -> None:
    """Whatever of it is whole."""
    path = tmp_path / "long.flac"
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * SAMPLE_RATE)
    soundfile.write(path, noise, SAMPLE_RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(KwsError, match=r"long.flac is truncated or damaged"):
        list(LongRecordings(path))


def test_recordings_behind_a_link_are_heard_and_sound_that_is_not_read_is_named(
    tmp_path: Path,
) -> None:
    """So that no hour that was given is missing without a word."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "given").mkdir()
    for path in (tmp_path / "elsewhere" / "b.wav", tmp_path / "given" / "a.wav"):
        soundfile.write(path, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    (tmp_path / "given" / "more").symlink_to(tmp_path / "elsewhere")
    found = LongRecordings(tmp_path / "given")
    assert [path.name for path in found.paths] == ["a.wav", "b.wav"]
    assert found.expected_seconds == 2
    (tmp_path / "elsewhere" / "c.m4a").write_bytes(b"")
    with pytest.raises(KwsError, match=r"c\.m4a is in a format that is not read"):
        LongRecordings(tmp_path / "given")


@pytest.mark.parametrize("kind", ["3gp", "3gpp", "3g2", "3gp2", "3ga", "m4b", "awb", "MKV", "ogv"])
def test_sound_that_is_not_read_is_named_whatever_wrote_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"day.{kind}").write_bytes(b"")
    with pytest.raises(KwsError, match=rf"day\.{kind} is in a format that is not read"):
        LongRecordings(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "closed").mkdir()
    soundfile.write(tmp_path / "a" / "1.wav", np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    refuse_folders(monkeypatch, "closed")
    with pytest.raises(KwsError, match="closed cannot be read: Permission denied"):
        LongRecordings(tmp_path)


def test_a_recording_is_heard_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    soundfile.write(path, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    for n in range(4):
        (tmp_path / f"{n}.wav").symlink_to(path)
    found = LongRecordings(tmp_path)
    assert (found.expected_seconds, len(list(found))) == (1.0, 1)
    assert found.ledger.distinct_seconds == {"recordings": 1.0}


@pytest.mark.parametrize(("share", "message"), [(0.5, "is truncated"), (0, "is empty: 0 bytes")])
def test_a_recording_that_is_cut_is_told_before_any_is_heard(
    share: float, message: str, tmp_path: Path
) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    data = (tmp_path / "b.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(data[: int(share * len(data))])
    with pytest.raises(KwsError, match=rf"b\.wav {message}"):
        LongRecordings(tmp_path)


def test_what_was_thrown_away_is_not_heard(tmp_path: Path) -> None:
    for path in (tmp_path / "a.wav", tmp_path / ".Trash" / "b.wav"):
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    assert [path.name for path in LongRecordings(tmp_path).paths] == ["a.wav"]


def test_a_recording_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    (tmp_path / "a.wav").rename(tmp_path / "caf\udce9.wav")
    assert LongRecordings(tmp_path).expected_seconds == 1
