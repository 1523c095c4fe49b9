"""Decode one sound file to what the project computes with: mono float32 at 16 kHz."""

import os
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError

RATES: Final = range(8_000, 192_001)  # Hz, what is resampled
BLOCK: Final = 1 << 20  # samples read at once: a header that lies cannot ask for all memory

_ENDLESS: Final = 0x7FFF_0000  # WAV data sizes from here on are written by pipes: "until the end"
_PAGE: Final = 27 + 255 + 255 * 255  # bytes, the longest Ogg page
_MP3_FRAME: Final = 1_152  # samples; MP3 lengths are known only to a frame


def decode(path: Path) -> NDArray[np.float32]:
    """Read wav, flac, ogg, opus or mp3; average the channels; resample to 16 kHz.

    Returns:
        The wave ``[T]``, mono, in [-1, 1] unless a floating-point file holds more.

    Raises:
        KwsError: the file is missing, empty, truncated, no audio, or holds NaN or infinity.

    """
    wave, rate = _read(Path(path))
    if not len(wave):
        raise KwsError(f"{path} is empty: it holds no samples; record it again")
    if not np.isfinite(wave).all():
        raise KwsError(f"{path} holds NaN or infinite samples; re-export it")
    if rate not in RATES:
        raise KwsError(
            f"{path} has a sample rate of {rate} Hz; convert it to one from 8000 to 192000 Hz"
        )
    return resample(wave.mean(axis=1), rate)


def resample(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """``[T]`` at ``rate`` Hz to ``[T']`` at 16 kHz; never shorter than one sample.

    >>> len(resample(np.zeros(44_100, np.float32), 44_100))
    16000
    """
    if rate == SAMPLE_RATE or not len(wave):
        return np.asarray(wave, np.float32)
    length = max(1, round(len(wave) * SAMPLE_RATE / rate))
    out = soxr.resample(wave.astype(np.float32), rate, SAMPLE_RATE, quality="HQ")[:length]
    return np.pad(out, (0, length - len(out))).astype(np.float32, copy=False)


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    """All samples ``[T, C]`` and their rate."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(12)
            cut = size > 0 and _is_cut(file, head, size)
    except FileNotFoundError:
        raise KwsError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise KwsError(f"{path} cannot be read: {error.strerror or error}") from None
    if not size:
        raise KwsError(f"{path} is empty: 0 bytes; record or download it again")
    if cut:
        raise _truncated(path)
    try:
        return _samples(path)
    except soundfile.LibsndfileError:
        if _known(head):
            raise _truncated(path) from None
        raise KwsError(
            f"{path} is not audio this program reads; use wav, flac, ogg, opus or mp3"
        ) from None


def _samples(path: Path) -> tuple[NDArray[np.float32], int]:
    with soundfile.SoundFile(path) as file:
        blocks = [file.read(BLOCK, dtype="float32", always_2d=True)]
        while len(blocks[-1]) == BLOCK:
            blocks.append(file.read(BLOCK, dtype="float32", always_2d=True))
        wave = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
        if file.format == "MP3" and file.frames - len(wave) > _MP3_FRAME:
            raise _truncated(path)
        return wave, int(file.samplerate)


def _truncated(path: Path) -> KwsError:
    return KwsError(
        f"{path} is truncated or damaged: it ends before its own header says; "
        "copy or download it again"
    )


def _known(head: bytes) -> bool:
    """Whether a file begins like audio, so that a failure to decode means damage."""
    mpeg = head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    return mpeg or head[:4] in (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS")


def _is_cut(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether a file breaks off; libsndfile tells of FLAC, but not of WAV and Ogg."""
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _wav_is_cut(file, size)
    if head[:4] == b"OggS":
        file.seek(max(0, size - _PAGE))
        return _ogg_is_cut(file.read())
    return False


def _wav_is_cut(file: BinaryIO, size: int) -> bool:
    """Walk the chunks to ``data`` and compare what it claims with what is there."""
    at = 12
    while at + 8 <= size:
        file.seek(at)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            return length < _ENDLESS and at + 8 + length > size
        at += 8 + length + length % 2
    return True  # no data chunk: cut inside the header


def _ogg_is_cut(tail: bytes) -> bool:
    """Whether the last page is incomplete or not marked as the last (RFC 3533, section 6)."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    last = bool(page[5] & 4)
    return not last or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
