"""Decode one sound file to what the project computes with: mono float32 at 16 kHz."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError

from .container import begins_like_audio, counts_mp3_frames, end_without_title, is_cut
from .files import conversion

FULL_SCALE: Final = 32_768  # of 16-bit samples; decoded ones are from -1 to 1
RATES: Final = range(8_000, 192_001)  # Hz, what is resampled
INTEGERS_ABOVE: Final = 100.0  # times full scale: samples were stored as floats, not scaled
BLOCK: Final = 1 << 20  # samples read at once: a header that lies cannot ask for all memory

UNKNOWN_LENGTH: Final = 1 << 60  # frames from here on are how libsndfile says that none is told
WAV_HEADER: Final = 4_096  # bytes of a WAV that holds no sound, at most
TRAILER_SHARE: Final = 0.1  # of an MP3 or Ogg, what may come after its sound: a title, words
WAV_BYTES_PER_SECOND: Final = 8_000  # at least: a byte at the lowest rate; telephones make fewer
COMPRESSED_BYTES_PER_SECOND: Final = 2_000  # likewise, of what is compressed as usual
MP3_FRAME: Final = 1_152  # samples; MP3 lengths are known only to a frame


def decode(path: Path) -> NDArray[np.float32]:
    """Read wav, flac, ogg, opus or mp3; average the channels; resample to 16 kHz.

    Returns:
        The wave ``[T]``, mono; full scale is 1, and resampling may go beyond it.

    Raises:
        KwsError: the file is missing, empty, truncated, no audio, or holds NaN, infinity or
            numbers that are near it.

    """
    pieces, rates = zip(*_pieces(checked(Path(path))), strict=True)
    return resample(np.concatenate(pieces), rates[0])


def decode_blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Read a file as :func:`decode` does, but in blocks ``[T]``: hours need little memory.

    Raises:
        KwsError: as :func:`decode`; a file that is missing, cut or no audio is refused at once,
            what is wrong within it once it is reached.

    """
    return _resampled(checked(Path(path)))


def _resampled(path: Path) -> Iterator[NDArray[np.float32]]:
    stream: soxr.ResampleStream | None = None
    for piece, rate in _pieces(path):
        if rate == SAMPLE_RATE:
            yield piece
            continue
        stream = stream or soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        yield stream.resample_chunk(piece)
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def lasts_longer(path: Path, seconds: float) -> bool:
    """Whether a file says that it lasts longer; not one that cannot be read or has few bits."""
    least = seconds * (
        WAV_BYTES_PER_SECOND if path.suffix.lower() == ".wav" else COMPRESSED_BYTES_PER_SECOND
    )
    try:
        if path.stat().st_size < least:  # as nearly all are, so that they need not be opened
            return False
        with path.open("rb") as opened, sound_of(opened) as sound:
            return bool(seconds * sound.samplerate < sound.frames < UNKNOWN_LENGTH)
    except (OSError, soundfile.LibsndfileError):
        return False


def resample(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """``[T]`` at ``rate`` Hz to ``[T']`` at 16 kHz; at least one sample, unless it is empty.

    >>> len(resample(np.zeros(44_100, np.float32), 44_100))
    16000
    """
    if rate == SAMPLE_RATE or not len(wave):
        return np.asarray(wave, np.float32)
    length = max(1, round(len(wave) * SAMPLE_RATE / rate))
    out = soxr.resample(wave.astype(np.float32), rate, SAMPLE_RATE, quality="HQ")[:length]
    return np.pad(out, (0, length - len(out))).astype(np.float32, copy=False)


def checked(path: Path) -> Path:
    """Return ``path``, once it is known to be a file of sound that does not break off.

    Raises:
        KwsError: it is none.

    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise KwsError(
                f"{path} is a folder; name a recording, or all in it: kws detect "
                f"{shlex.quote(str(path))}/*.wav"
            )
        if not stat.S_ISREG(mode):  # from a pipe nothing may ever come
            raise KwsError(f"{path} cannot be read: it is no regular file; give a recording")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(12)
            cut = size > 0 and is_cut(file, head, size)
    except FileNotFoundError:
        raise KwsError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise KwsError(f"{path} cannot be read: {error.strerror or error}") from None
    if not size:
        raise KwsError(f"{path} is empty: 0 bytes; record or download it again")
    if cut:
        raise _truncated(path, head)
    try:
        with path.open("rb") as opened, sound_of(opened) as sound:
            if sound.frames >= UNKNOWN_LENGTH:  # it cannot be read to its end
                raise _endless(path)
            if sound.samplerate not in RATES:
                raise KwsError(
                    f"{path} has a sample rate of {sound.samplerate} Hz; convert it to one from "
                    f"{RATES[0]} to {RATES[-1]} Hz"
                )
    except soundfile.LibsndfileError:
        raise _unread(path, head) from None
    return path


def sound_of(file: BinaryIO) -> soundfile.SoundFile:
    """An open file as sound, whatever its name.

    libsndfile reads it by itself where it can: an interrupt is lost in what it calls back.
    """
    return soundfile.SoundFile(file if os.name == "nt" else file.fileno(), closefd=False)


def _unread(path: Path, head: bytes) -> KwsError:
    if begins_like_audio(head):
        return _truncated(path, head)
    if head[4:8] == b"ftyp":
        return KwsError(f"{path} is M4A or MP4 inside, whatever its name; {_advice(path)}")
    return KwsError(f"{path} is not audio this program reads; use wav, flac, ogg, opus or mp3")


def _joined(path: Path) -> KwsError:
    return KwsError(
        f"{path} holds several recordings that were joined, of which only the first can be read; "
        f"{_advice(path)}"
    )


def _endless(path: Path) -> KwsError:
    return KwsError(
        f"{path} does not say how long it is, like a file written to a pipe; {_advice(path)}"
    )


def _advice(path: Path, *options: str) -> str:
    """To convert it; the original must not be read again."""
    return (
        "convert it and use the new file instead (in a folder of words move this one away, in a "
        f"manifest change its row): {conversion(path, *options)}"
    )


def _refuse_other_length(path: Path, opened: BinaryIO, missing: int) -> None:
    """Raise a KwsError where an MP3 or Ogg that was read holds less than it says, or more.

    Without a count of frames in the first, libsndfile guesses how many an MP3 has: by its guess
    none is missing, but it stops there. Of several files that were joined it reads one.
    """
    stopped, end = os.lseek(opened.fileno(), 0, os.SEEK_CUR), end_without_title(opened)
    opened.seek(0)
    head = opened.read(12)
    if head[:4] == b"OggS":  # whose pages tell its length
        counted = True
    else:
        counted = counts_mp3_frames(opened, head)
        if counted and missing > MP3_FRAME:
            raise _truncated(path)
    if end - stopped > TRAILER_SHARE * end:
        raise _joined(path) if counted else _endless(path)


def _pieces(path: Path) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Mono samples ``[T]`` piece by piece, each with their rate; at least one sample in all."""
    read = 0
    try:
        with path.open("rb") as opened, sound_of(opened) as file:
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                read += len(block)
                _refuse_numbers(path, block)
                yield block.mean(axis=1), int(file.samplerate)
            size = os.fstat(opened.fileno()).st_size
            if file.format in ("MP3", "OGG"):
                _refuse_other_length(path, opened, file.frames - read)
            if not read and size > WAV_HEADER and file.format in ("WAV", "WAVEX", "RF64"):
                raise KwsError(
                    f"{path} says that it holds no samples, like an interrupted recording; "
                    f"{_advice(path, '-ignore_length', '1')}"
                )
    except soundfile.LibsndfileError:
        raise _truncated(path) from None
    if not read:
        raise KwsError(f"{path} is empty: it holds no samples; record it again")


def _refuse_numbers(path: Path, block: NDArray[np.float32]) -> None:
    if not np.isfinite(block).all():
        raise KwsError(f"{path} holds NaN or infinite samples; re-export it")
    if (top := np.abs(block).max()) > INTEGERS_ABOVE:
        raise KwsError(
            f"{path} holds samples as large as {top:.0e}, where full scale is 1; re-export it"
        )


def _truncated(path: Path, head: bytes = b"") -> KwsError:
    if head[:4] == b"OggS":
        return KwsError(
            f"{path} is truncated or damaged, or was never closed, as some phones leave it: its "
            f"end is missing; copy it again, or {_advice(path)}"
        )
    return KwsError(
        f"{path} is truncated or damaged: it ends before its own header says; "
        "copy or download it again"
    )
