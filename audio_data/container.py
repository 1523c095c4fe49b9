"""What the bytes of a sound file say of its length, where libsndfile does not: if it breaks off."""

import os
from typing import BinaryIO, Final, Literal

ENDLESS: Final = 0x7FFF_0000  # WAV data sizes from here on are written by pipes: "until the end"
OGG_PAGE_HEADER: Final = 27  # bytes before the table of segments
LONGEST_OGG_PAGE: Final = OGG_PAGE_HEADER + 255 + 255 * 255  # bytes
XING_OFFSETS: Final = (13, 21, 36)  # bytes of an MP3 frame before its tag, by version and channels
XING_BYTES: Final = 16  # of the tag: its name, what it holds, how many frames, how many bytes
ID3V1_BYTES: Final = 128  # at the end of an MP3
MP3_KEPT: Final = 0.99  # of the bytes that an MP3 counts; of fewer missing libsndfile tells


def begins_like_audio(head: bytes) -> bool:
    """Whether a file begins like audio, so that a failure to decode means damage."""
    return _is_mpeg(head) or head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS")


def _is_mpeg(head: bytes) -> bool:
    frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # of layer III
    return head[:3] == b"ID3" or frame


def is_cut(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether a file breaks off; libsndfile tells of FLAC, but not of WAV, AIFF and Ogg."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _chunks_are_cut(file, size, b"data", "big" if head[3:4] == b"X" else "little")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunks_are_cut(file, size, b"SSND", "big")
    if _is_mpeg(head):
        return _mp3_is_cut(file, head, size)
    if head[:4] == b"OggS":
        file.seek(max(0, size - LONGEST_OGG_PAGE))
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
            return length < ENDLESS and at + 8 + length > size
        at += 8 + length + length % 2
    return True  # no sound: cut inside the header


def _mp3_is_cut(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether more than one in a hundred of the bytes are missing that the first frame counts.

    Of fewer libsndfile tells; of so many its decoder complains on standard error, by itself.
    """
    start, tag = _mp3_begin(file, head)
    if len(tag) < XING_BYTES or not tag[7] & 2:
        return False
    field = 8 + 4 * (tag[7] & 1)  # after the number of frames, if there is one
    return size - start < MP3_KEPT * int.from_bytes(tag[field : field + 4], "big")


def counts_mp3_frames(file: BinaryIO, head: bytes) -> bool:
    """Whether the first frame says how many there are."""
    _, tag = _mp3_begin(file, head)
    return len(tag) >= XING_BYTES and bool(tag[7] & 1)


def _mp3_begin(file: BinaryIO, head: bytes) -> tuple[int, bytes]:
    """Where the first frame begins, and the tag in it that counts frames and bytes, if any."""
    start = 0
    if head[:3] == b"ID3":  # ends after so many bytes, written in seven bits each
        start = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))
    file.seek(start)
    frame = file.read(max(XING_OFFSETS) + XING_BYTES)
    tags = (
        frame[at : at + XING_BYTES]
        for at in XING_OFFSETS
        if frame[at : at + 4] in (b"Xing", b"Info")
    )
    return start, next(tags, b"")


def _ogg_is_cut(tail: bytes) -> bool:
    """Whether the last page is incomplete or not marked as the last (RFC 3533, section 6)."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < OGG_PAGE_HEADER or len(page) < OGG_PAGE_HEADER + page[26]:
        return True
    last, segments = bool(page[5] & 4), page[OGG_PAGE_HEADER : OGG_PAGE_HEADER + page[26]]
    return not last or len(page) < OGG_PAGE_HEADER + len(segments) + sum(segments)


def end_without_title(file: BinaryIO) -> int:
    """How many bytes a file has before the title at its end (ID3v1), if it has one."""
    end = os.fstat(file.fileno()).st_size
    file.seek(max(0, end - ID3V1_BYTES))
    return end - ID3V1_BYTES if file.read(3) == b"TAG" else end
