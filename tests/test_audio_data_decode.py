"""Decoding: every format and rate arrives the same; what is broken is refused in one sentence."""

import os
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audio_data.container import _chunks_are_cut
from audio_data.decode import decode, decode_blocks, lasts_longer, resample
from kws.config import SAMPLE_RATE
from kws.errors import KwsError

FORMATS = {
    "wav": {},
    "flac": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "aiff": {},
    "aifc": {"format": "AIFF", "subtype": "FLOAT"},
    "rf64": {"format": "RF64", "subtype": "PCM_16"},
    "rifx": {"format": "WAV", "subtype": "PCM_16", "endian": "BIG"},
}


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def noisy(seconds: float) -> NDArray[np.float32]:
    """Sound that does not compress away, so that a cut file lacks something."""
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))
    return (tone(seconds) + noise).astype("f4")


def write(path: Path, wave: NDArray[np.float32], rate: int = 16_000, **kwargs: str) -> Path:
    soundfile.write(path, wave, rate, **(kwargs or FORMATS[path.suffix[1:]]))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(KwsError) as caught:
        decode(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_tone_back(tmp_path: Path, kind: str) -> None:
    wave = decode(write(tmp_path / f"a.{kind}", tone(1.0)))
    assert wave.dtype == np.float32
    assert wave.shape == (16_000,)
    middle = slice(4_000, 12_000)  # codecs smear the ends
    assert np.abs(wave[middle] - tone(1.0)[middle]).max() < 0.05


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_is_the_same_tone_at_16_khz(tmp_path: Path, rate: int) -> None:
    wave = decode(write(tmp_path / "a.wav", tone(0.48, rate), rate, subtype="FLOAT"))
    assert wave.shape == (7_680,)
    middle = slice(800, 6_880)
    assert np.abs(wave[middle] - tone(0.48)[middle]).max() < 2e-3


def test_resampling_removes_what_16_khz_cannot_hold() -> None:
    wave = resample(tone(0.5, 48_000, hertz=10_000), 48_000)
    assert np.abs(wave[800:7_200]).max() < 1e-3


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_a_rate_out_of_range_is_refused(tmp_path: Path, rate: int) -> None:
    assert f"{rate} Hz" in refusal(write(tmp_path / "a.wav", tone(0.1, rate), rate))


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.2), tone(0.2, hertz=1_000)
    stereo = np.stack([left, right], axis=1)
    wave = decode(write(tmp_path / "a.wav", stereo, subtype="FLOAT"))
    np.testing.assert_allclose(wave, (left + right) / 2, atol=1e-6)


def test_silence_is_audio(tmp_path: Path) -> None:
    wave = decode(write(tmp_path / "a.wav", np.zeros(1_600, np.float32)))
    assert wave.shape == (1_600,)
    assert not wave.any()


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 192_000])
def test_one_sample_is_audio(tmp_path: Path, rate: int) -> None:
    wave = decode(write(tmp_path / "a.wav", np.full(1, 0.5, np.float32), rate))
    assert 1 <= len(wave) <= 2
    assert np.isfinite(wave).all()


def test_a_long_file_is_read_whole(tmp_path: Path) -> None:
    wave = np.linspace(0, 0.5, 1_100_000, dtype=np.float32)  # longer than one block
    path = write(tmp_path / "a.wav", wave, subtype="FLOAT")
    np.testing.assert_array_equal(decode(path), wave)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("kind", FORMATS)
def test_no_bytes_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.touch()
    assert "is empty: 0 bytes" in refusal(path)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_no_samples_are_refused(tmp_path: Path, kind: str) -> None:
    assert "is empty" in refusal(write(tmp_path / f"a.{kind}", tone(0)))


def test_a_long_recording_that_was_killed_is_told_from_silence(tmp_path: Path) -> None:
    """Of a file that may be longer than 4 GB another chunk says how long it is."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16_000, format="RF64", subtype="PCM_16")
    whole = bytearray(path.read_bytes())
    where = whole.index(b"ds64") + 8
    whole[where : where + 16] = bytes(16)  # of the file and of its sound
    path.write_bytes(whole)
    assert refusal(path).endswith(f": ffmpeg -ignore_length 1 -i {path} {tmp_path}/a-whole.wav")


def test_a_recorder_that_was_killed_is_told_from_silence(tmp_path: Path) -> None:
    """It leaves sound behind a header that says that there is none."""
    path = write(tmp_path / "a.wav", tone(1.0))
    whole = bytearray(path.read_bytes())
    where = whole.index(b"data") + 4
    whole[where : where + 4] = bytes(4)
    path.write_bytes(whole)
    assert refusal(path).endswith(f": ffmpeg -ignore_length 1 -i {path} {tmp_path}/a-whole.wav")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused(
    tmp_path: Path, kind: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one sentence: the decoders print none of their own."""
    path = write(tmp_path / f"a.{kind}", noisy(3.0))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "truncated" in refusal(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_truncated_mp3_of_any_rate_is_refused_in_silence(
    tmp_path: Path, rate: int, channels: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where its first frame counts the bytes depends on both."""
    noise = np.random.default_rng(0).normal(0, 0.1, (3 * rate, channels))
    path = write(tmp_path / "a.mp3", noise.astype("f4"), rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in refusal(path)
    assert capfd.readouterr().err == ""


def test_an_mp3_that_counts_its_frames_alone_is_whole(tmp_path: Path) -> None:
    """What stands where others count their bytes is no count."""
    path = write(tmp_path / "a.mp3", noisy(3.0))
    data = bytearray(path.read_bytes())
    tag = data.index(b"Xing")
    data[tag + 7], data[tag + 12 : tag + 16] = 1, bytes([0xFF] * 4)
    path.write_bytes(data)
    assert len(decode(path)) == pytest.approx(48_000, abs=3_000)


def test_an_mp3_with_a_title_cut_short_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The title stands before the first frame."""
    path = write(tmp_path / "a.mp3", noisy(3.0))
    title = b"ID3\x04\0\0" + bytes([0, 0, 1, 72]) + bytes(200)
    path.write_bytes(title + path.read_bytes())
    assert len(decode(path)) == 48_000
    path.write_bytes(path.read_bytes()[:-1_000])
    assert "truncated" in refusal(path)
    assert capfd.readouterr().err == ""


def uncounted(path: Path, wave: NDArray[np.float32]) -> Path:
    """An MP3 of varying rate without the first frame, which counts the others."""
    soundfile.write(path, wave, SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE")
    data = path.read_bytes()
    assert b"Xing" in data[:64]
    path.write_bytes(data[data.index(data[:2], 4) :])
    return path


def test_an_mp3_that_counts_no_frames_is_read_where_it_can_be(tmp_path: Path) -> None:
    """Its length is a guess: one that is too long does no harm, one that is too short would."""
    silence = np.zeros(8 * SAMPLE_RATE, np.float32)
    path = uncounted(tmp_path / "a.mp3", np.r_[silence, noisy(3.0)])
    with soundfile.SoundFile(path) as file:
        assert file.frames > 12 * SAMPLE_RATE
    assert len(decode(path)) == pytest.approx(11 * SAMPLE_RATE, abs=3_000)
    path = uncounted(tmp_path / "b.mp3", np.r_[noisy(3.0), silence])
    with soundfile.SoundFile(path) as file:
        assert file.frames < 8 * SAMPLE_RATE
    assert refusal(path).endswith(f": ffmpeg -i {path} {tmp_path}/b.wav")


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_recordings_that_were_joined_are_told(tmp_path: Path, kind: str) -> None:
    """Of them only the first could be read."""
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, noisy(2.0), SAMPLE_RATE, format=kind)
    path.write_bytes(2 * path.read_bytes())
    assert "holds several recordings that were joined" in refusal(path)


def test_the_title_at_the_end_of_a_short_mp3_is_no_sound(tmp_path: Path) -> None:
    path = uncounted(tmp_path / "a.mp3", np.zeros(SAMPLE_RATE // 2, np.float32))
    before = len(decode(path))
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert len(decode(path)) == before


@pytest.mark.parametrize("kind", ["wav", "rifx", "rf64", "aiff", "aifc"])
def test_a_whole_file_with_a_damaged_header_is_no_other_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", tone(0.1))
    data = path.read_bytes()
    format_chunk = b"COMM" if kind.startswith("aif") else b"fmt "
    path.write_bytes(data.replace(format_chunk, b"gone", 1))
    assert "truncated or damaged" in refusal(path)


@pytest.mark.parametrize("kept", [20, 40, 43])
def test_a_wav_cut_within_its_header_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in refusal(path)


def test_a_wav_that_lacks_its_last_sample_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    path.write_bytes(path.read_bytes()[:-2])
    assert "truncated" in refusal(path)


def test_an_opus_file_cut_between_pages_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.opus", noisy(3.0))
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])
    assert "truncated" in refusal(path)
    advice = f"in a manifest change its row): ffmpeg -i {path} {tmp_path}/a.wav"
    assert refusal(path).endswith(advice)  # a phone may leave it so


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000])
def test_a_wav_written_to_a_pipe_has_no_size_and_is_read(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    data = bytearray(path.read_bytes())
    data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)
    assert decode(path).shape == (1_600,)


def test_a_wav_with_other_chunks_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    data = path.read_bytes()
    odd = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"  # odd sizes are padded
    path.write_bytes(data[:36] + odd + data[36:] + odd)
    assert decode(path).shape == (1_600,)


@pytest.mark.parametrize("name", ["a.wav", "a.opus", "a.mp3", "a.txt"])
def test_what_is_no_audio_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for encoding in ("utf-8", "utf-16"):  # which begins nearly as an MP3 does
        path.write_text("to whom it may concern, this is a letter\n" * 50, encoding)
        assert "is not audio" in refusal(path)


@pytest.mark.parametrize(("name", "made"), [("a.m4a", "a.wav"), ("a.wav", "a-whole.wav")])
def test_what_a_phone_recorded_is_to_be_converted_whatever_its_name(
    tmp_path: Path, name: str, made: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x1cftypM4A " + bytes(2_000))
    told = refusal(path)
    assert "is M4A or MP4 inside, whatever its name; convert it" in told
    assert told.endswith(f": ffmpeg -i {path} {tmp_path / made}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, value: float) -> None:
    wave = tone(0.1)
    wave[700] = value
    assert "NaN or infinite" in refusal(write(tmp_path / "a.wav", wave, subtype="FLOAT"))


@pytest.mark.parametrize("value", [3e38, -3e38, 1e10, 32_767])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_near_infinity_are_refused(tmp_path: Path, value: float, channels: int) -> None:
    wave = np.full((1_600, channels), value, np.float32)
    assert "samples as large as" in refusal(write(tmp_path / "a.wav", wave, subtype="FLOAT"))


def test_a_flac_that_does_not_say_how_long_it_is_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    """As an encoder leaves it that writes into a pipe."""
    path = write(tmp_path / "a.flac", tone(0.1))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the count of samples, 36 bits of the first block
    data[22:26] = bytes(4)
    path.write_bytes(data)
    told = refusal(path)
    assert "does not say how long it is" in told
    assert f"ffmpeg -i {path} {tmp_path}/a.wav" in told


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Rather than waited for."""
    os.mkfifo(tmp_path / "a.wav")
    assert "no regular file" in refusal(tmp_path / "a.wav")


def test_a_folder_is_refused_with_how_its_recordings_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "my words"
    folder.mkdir()
    assert refusal(folder).endswith(f"name a recording, or all in it: kws detect '{folder}'/*.wav")


def test_all_noise_and_a_clip_of_each_corpus_decode(shared_data: Path) -> None:
    folders = [path for path in shared_data.iterdir() if path.is_dir()]
    files = [next(path for path in sorted(folder.rglob("*.*"))) for folder in folders]
    assert len(files) >= 2
    for path in [*files, *(shared_data / "noise").iterdir()]:
        wave = decode(path)
        assert len(wave) > 1_600
        assert wave.std() > 1e-5


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_in_blocks_is_the_file(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", 0.1 * rng.standard_normal((3 * rate, 2)), rate)
    monkeypatch.setattr("audio_data.decode.BLOCK", 7_000)
    blocks = list(decode_blocks(tmp_path / "a.flac"))
    assert max(map(len, blocks)) <= 7_000
    whole, parts = decode(tmp_path / "a.flac"), np.concatenate(blocks)
    assert len(whole) == len(parts)
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_a_file_in_blocks_is_refused_before_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(KwsError, match="is not audio this program reads"):
        decode_blocks(tmp_path / "a.wav")


def test_a_header_before_nothing_but_zeros_is_cut_without_a_long_walk(tmp_path: Path) -> None:
    """As of a recording for which room was made, and nothing written."""
    path, looks = tmp_path / "a.wav", 0
    path.write_bytes(b"RIFF\xff\xff\xff\x7fWAVE" + bytes(1 << 16))

    class Watched(FileIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            nonlocal looks
            looks += 1
            return super().seek(offset, whence)

    with Watched(path) as file:
        assert _chunks_are_cut(file, 1 << 16, b"data", "little")
    assert looks < 4
    assert refusal(path)


@pytest.mark.parametrize("name", ["a.raw", "A.RAW"])
def test_a_name_says_nothing_of_what_a_file_holds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, noisy(1.0), SAMPLE_RATE, format="WAV")
    assert len(decode(path)) == SAMPLE_RATE
    assert lasts_longer(path, 0.5)
    path.write_bytes(bytes(40_000))
    assert "is not audio this program reads" in refusal(path)
    assert not lasts_longer(path, 0.5)
