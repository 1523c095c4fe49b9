"""Long recordings are read piece by piece."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_data.long import Recordings
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
        list(Recordings(path))
