"""Decode one sound file to what the project computes with: mono float32 at 16 kHz."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError

RATES: Final = range(8_000, 192_001)  # Hz, what is resampled
INTEGERS_ABOVE: Final = 100.0  # times full scale: samples were stored as floats, not scaled
BLOCK: Final = 1 << 20  # samples read at once: a header that lies cannot ask for all memory

_NOT_TOLD: Final = 1 << 60  # frames from here on are how libsndfile says that no length is told
_ENDLESS: Final = 0x7FFF_0000  # WAV data sizes from here on are written by pipes: "until the end"
_HEADER: Final = 4_096  # bytes of a WAV that holds no sound, at most
_PAGE: Final = 27 + 255 + 255 * 255  # bytes, the longest Ogg page
_XING: Final = (13, 21, 36)  # bytes of a frame before its tag, by version and channels
_TAG: Final = 16  # bytes of it: its name, what it holds, how many frames, how many bytes
_TITLE: Final = 128  # bytes at the end
_REST: Final = 0.1  # of an MP3, what may come after its sound: a title, words
_SECOND: Final = (
    8_000  # bytes of one of WAV, at least: a byte at the lowest rate; telephones make less
)
_PACKED: Final = 2_000  # likewise, of what is compressed as usual
_MP3_FRAME: Final = 1_152  # samples; MP3 lengths are known only to a frame


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
    least = seconds * (_SECOND if path.suffix.lower() == ".wav" else _PACKED)
    try:
        if path.stat().st_size < least:  # as nearly all are, so that they need not be opened
            return False
        with path.open("rb") as opened, sound_of(opened) as sound:
            return bool(seconds * sound.samplerate < sound.frames < _NOT_TOLD)
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
        if not stat.S_ISREG(path.stat().st_mode):  # from a pipe nothing may ever come
            raise KwsError(f"{path} cannot be read: it is no regular file; give a recording")
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
        raise _truncated(path, head)
    try:
        with path.open("rb") as opened, sound_of(opened) as sound:
            if sound.frames >= _NOT_TOLD:  # it cannot be read to its end
                raise _endless(path)
            if sound.samplerate not in RATES:
                raise KwsError(
                    f"{path} has a sample rate of {sound.samplerate} Hz; convert it to one from "
                    f"{RATES[0]} to {RATES[-1]} Hz"
                )
    except soundfile.LibsndfileError:
        if _known(head):
            raise _truncated(path, head) from None
        raise KwsError(
            f"{path} is not audio this program reads; use wav, flac, ogg, opus or mp3"
        ) from None
    return path


def sound_of(file: BinaryIO) -> soundfile.SoundFile:
    """An open file as sound, whatever its name.

    libsndfile reads it by itself where it can: an interrupt is lost in what it calls back.
    """
    return soundfile.SoundFile(file if os.name == "nt" else file.fileno(), closefd=False)


def _joined(path: Path) -> KwsError:
    return KwsError(
        f"{path} holds several recordings that were joined, of which only the first can be read; "
        f"convert it: ffmpeg -i {path.name} {path.stem}-whole.wav"
    )


def _endless(path: Path) -> KwsError:
    return KwsError(
        f"{path} does not say how long it is, like a file written to a pipe; "
        f"convert it: ffmpeg -i {path.name} {path.stem}.wav"
    )


def _refuse_other_length(path: Path, opened: BinaryIO, missing: int) -> None:
    """Raise a KwsError where an MP3 or Ogg that was read holds less than it says, or more.

    Without a count of frames in the first, libsndfile guesses how many an MP3 has: by its guess
    none is missing, but it stops there. Of several files that were joined it reads one.
    """
    stopped, end = os.lseek(opened.fileno(), 0, os.SEEK_CUR), _without_title(opened)
    opened.seek(0)
    head = opened.read(12)
    ogg = head[:4] == b"OggS"
    counted = ogg or _mp3_counted(opened, head)
    if counted and not ogg and missing > _MP3_FRAME:
        raise _truncated(path)
    if end - stopped > _REST * end:
        raise _joined(path) if counted else _endless(path)


def _without_title(file: BinaryIO) -> int:
    """How many bytes a file has before the title at its end (ID3v1), if it has one."""
    end = os.fstat(file.fileno()).st_size
    file.seek(max(0, end - _TITLE))
    return end - _TITLE if file.read(3) == b"TAG" else end


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
            if not read and size > _HEADER and file.format in ("WAV", "WAVEX", "RF64"):
                raise KwsError(
                    f"{path} says that it holds no samples, like an interrupted recording; "
                    f"convert it: ffmpeg -ignore_length 1 -i {path.name} "
                    f"{path.stem}-whole.wav"
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
            f"end is missing; copy it again, or convert it: ffmpeg -i {path.name} {path.stem}.wav"
        )
    return KwsError(
        f"{path} is truncated or damaged: it ends before its own header says; "
        "copy or download it again"
    )


def _known(head: bytes) -> bool:
    """Whether a file begins like audio, so that a failure to decode means damage."""
    return _is_mpeg(head) or head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS")


def _is_mpeg(head: bytes) -> bool:
    frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # of layer III
    return head[:3] == b"ID3" or frame


def _is_cut(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether a file breaks off; libsndfile tells of FLAC, but not of WAV, AIFF and Ogg."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _chunks_are_cut(file, size, b"data", "big" if head[3:4] == b"X" else "little")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunks_are_cut(file, size, b"SSND", "big")
    if _is_mpeg(head):
        return _mp3_is_cut(file, head, size)
    if head[:4] == b"OggS":
        file.seek(max(0, size - _PAGE))
        return _ogg_is_cut(file.read())
    return False


def _chunks_are_cut(
    file: BinaryIO, size: int, sound: bytes, order: Literal["little", "big"]
) -> bool:
    """Walk the chunks to that of the sound and compare what it claims with what is there."""
    at, claimed = 12, None
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        if name == bytes(4):  # nothing was ever written here
            break
        if name == b"ds64":  # the sizes of a file that may be longer than 32 bits can say
            claimed = int.from_bytes(file.read(16)[8:], order)
        if name == sound and claimed is not None:
            return at + 8 + claimed > size
        if name == sound:
            return length < _ENDLESS and at + 8 + length > size
        at += 8 + length + length % 2
    return True  # no sound: cut inside the header


def _mp3_is_cut(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether more than one in a hundred of the bytes are missing that the first frame counts.

    Of fewer libsndfile tells; of so many its decoder complains on standard error, by itself.
    """
    start, tag = _mp3_begin(file, head)
    if len(tag) < _TAG or not tag[7] & 2:
        return False
    field = 8 + 4 * (tag[7] & 1)  # after the number of frames, if there is one
    return size - start < 0.99 * int.from_bytes(tag[field : field + 4], "big")


def _mp3_counted(file: BinaryIO, head: bytes) -> bool:
    """Whether the first frame says how many there are."""
    _, tag = _mp3_begin(file, head)
    return len(tag) >= _TAG and bool(tag[7] & 1)


def _mp3_begin(file: BinaryIO, head: bytes) -> tuple[int, bytes]:
    """Where the first frame begins, and the tag in it that counts frames and bytes, if any."""
    start = 0
    if head[:3] == b"ID3":  # ends after so many bytes, written in seven bits each
        start = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))
    file.seek(start)
    frame = file.read(max(_XING) + _TAG)
    tags = (frame[at : at + _TAG] for at in _XING if frame[at : at + 4] in (b"Xing", b"Info"))
    return start, next(tags, b"")


def _ogg_is_cut(tail: bytes) -> bool:
    """Whether the last page is incomplete or not marked as the last (RFC 3533, section 6)."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    last = bool(page[5] & 4)
    return not last or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
