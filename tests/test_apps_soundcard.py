"""The microphone over a sound system made up here: every rate, and every mishap."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soxr
from click.testing import CliRunner
from numpy.typing import NDArray

import apps.microphone
from apps.listen import listen
from apps.microphone import BLOCK_SECONDS, Microphone, choose, list_devices
from kws.config import SAMPLE_RATE
from kws.errors import KwsError

Wave = NDArray[np.float32]
FINE = SimpleNamespace(input_overflow=False)


class SoundError(Exception):
    """What PortAudio raises."""


@dataclass
class Stream:
    """An input stream that hears what a test says."""

    device: int
    samplerate: int
    blocksize: int
    channels: int
    dtype: str
    callback: Callable[[Wave, int, Any, Any], None]
    active: bool = False
    closed: bool = False

    def start(self) -> None:
        self.active = True

    def close(self, ignore_errors: bool) -> None:
        self.active, self.closed = False, True

    def hear(self, wave: Wave, status: Any = FINE) -> None:
        """Deliver ``[T, C]`` in blocks, in memory that is used again as PortAudio does."""
        memory = np.empty((self.blocksize, self.channels), np.float32)
        for start in range(0, len(wave) - self.blocksize + 1, self.blocksize):
            memory[:] = wave[start : start + self.blocksize]
            self.callback(memory, self.blocksize, None, status)
        memory[:] = np.nan


@dataclass
class Sound:
    """As much of the module sounddevice as is used."""

    devices: Sequence[dict[str, Any]]
    default: int = 0
    accepted: Sequence[tuple[int, int]] = ((SAMPLE_RATE, 1),)  # rates and channels
    busy: bool = False
    streams: list[Stream] = field(default_factory=list)
    PortAudioError = SoundError

    def query_devices(self, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        if self.default < 0:
            raise SoundError("Error querying device -1")
        return self.devices[self.default]

    def check_input_settings(
        self, *, device: int, channels: int, dtype: str, samplerate: int
    ) -> None:
        if (samplerate, channels) not in self.accepted:
            raise SoundError("Invalid sample rate [PaErrorCode -9997]")

    def InputStream(self, **settings: Any) -> Stream:  # noqa: N802
        if self.busy:
            raise SoundError("Device unavailable [PaErrorCode -9985]")
        self.streams.append(Stream(**settings))
        return self.streams[-1]


def device(index: int, name: str, channels: int = 1, rate: float = 44_100.0) -> dict[str, Any]:
    return {
        "index": index,
        "name": name,
        "max_input_channels": channels,
        "default_samplerate": rate,
    }


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sound], Sound]:
    """Make a sound system the one that is imported; nobody waits long in these tests."""

    def put(sound: Sound) -> Sound:
        monkeypatch.setitem(sys.modules, "sounddevice", sound)
        return sound

    monkeypatch.setattr(apps.microphone, "POLL_SECONDS", 0.001)
    return put


Install = Callable[[Sound], Sound]


def received(microphone: Microphone, seconds: float = 1.0) -> Wave:
    """What is heard of so many seconds that are waiting."""
    return np.concatenate(list(islice(microphone, round(seconds / BLOCK_SECONDS))))


def tone(rate: int, frequency: float = 1_000.0, seconds: float = 1.0) -> Wave:
    when = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * when)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_a_device_is_opened_at_its_own_rate_and_resampled_without_seams(
    install: Install, rate: int
) -> None:
    sound = install(Sound([device(0, "USB", 1, rate)], accepted=[(rate, 1)]))
    wave = tone(rate)
    with Microphone() as microphone:
        sound.streams[0].hear(wave[:, None])
        heard = received(microphone)
    assert sound.streams[0].samplerate == microphone.rate == rate
    whole = soxr.resample(wave, rate, SAMPLE_RATE)
    assert len(heard) > 0.9 * SAMPLE_RATE
    np.testing.assert_allclose(heard, whole[: len(heard)], atol=1e-5)


def test_a_device_that_takes_16_khz_is_opened_so(install: Install) -> None:
    sound = install(Sound([device(0, "default", 32)], accepted=[(44_100, 1), (16_000, 1)]))
    wave = tone(SAMPLE_RATE)
    with Microphone() as microphone:
        sound.streams[0].hear(wave[:, None])
        np.testing.assert_array_equal(received(microphone), wave)
    assert (microphone.rate, microphone.channels) == (16_000, 1)
    assert sound.streams[0].closed


def test_channels_are_averaged_where_a_device_has_no_mono(install: Install) -> None:
    sound = install(Sound([device(0, "Array", 4)], accepted=[(16_000, 4)]))
    wave = tone(SAMPLE_RATE)
    with Microphone() as microphone:
        sound.streams[0].hear(wave[:, None] * np.array([1, 1, 0, 0], np.float32))
        np.testing.assert_allclose(received(microphone), wave / 2, atol=1e-7)


def test_the_oldest_blocks_are_dropped_and_counted_when_the_reader_is_slow(
    install: Install,
) -> None:
    sound = install(Sound([device(0, "USB")]))
    ramp = np.arange(3 * SAMPLE_RATE, dtype=np.float32)
    with Microphone() as microphone:
        sound.streams[0].hear(ramp[:, None])
        heard = received(microphone, 2.0)
    assert microphone.dropped == 1 / BLOCK_SECONDS
    np.testing.assert_array_equal(heard, ramp[SAMPLE_RATE:])


def test_an_overflow_of_the_sound_system_is_counted(install: Install) -> None:
    sound = install(Sound([device(0, "USB")]))
    with Microphone() as microphone:
        sound.streams[0].hear(tone(SAMPLE_RATE)[:1_280, None], SimpleNamespace(input_overflow=True))
    assert microphone.dropped == 2


def test_unplugged_while_listening_is_one_sentence_after_what_was_heard(install: Install) -> None:
    sound = install(Sound([device(0, "USB Audio")]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        sound.streams[0].hear(tone(SAMPLE_RATE)[:640, None])
        sound.streams[0].active = False
        assert len(next(blocks)) == 640
        with pytest.raises(KwsError, match="delivering audio: USB Audio; plug it in again and"):
            next(blocks)
    assert sound.streams[0].closed


def test_a_device_that_stays_silent_is_given_up(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.microphone, "LOST_SECONDS", 0.02)
    install(Sound([device(0, "USB Audio")]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        assert sum(len(next(blocks)) for _ in range(15)) == 0
        with pytest.raises(KwsError, match="stopped delivering audio"):
            list(islice(blocks, 10))


def test_a_pause_shorter_than_that_is_no_loss(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.microphone, "LOST_SECONDS", 0.02)
    sound = install(Sound([device(0, "USB Audio")]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        for _ in range(5):
            assert sum(len(next(blocks)) for _ in range(10)) == 0
            sound.streams[0].hear(tone(SAMPLE_RATE)[:640, None])
            assert len(next(blocks)) == 640


def test_a_busy_device_is_one_sentence(install: Install) -> None:
    install(Sound([device(0, "USB Audio")], busy=True))
    with pytest.raises(KwsError, match="cannot open the microphone USB Audio: Device unavailable"):
        Microphone().__enter__()


def test_a_device_that_takes_no_rate_is_one_sentence(install: Install) -> None:
    install(Sound([device(0, "USB Audio", 2)], accepted=[]))
    with pytest.raises(KwsError, match="cannot open the microphone USB Audio: Invalid sample rate"):
        Microphone()


def test_no_microphone_at_all(install: Install) -> None:
    install(Sound([device(0, "HDMI", 0)], default=-1))
    for ask in (list_devices, Microphone):
        with pytest.raises(KwsError, match="no microphone was found"):
            ask()


def test_without_a_default_the_first_input_is_taken(install: Install) -> None:
    install(Sound([device(0, "HDMI", 0), device(1, "USB")], default=-1))
    assert Microphone().name == "USB"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(None, 3), ("1", 1), (1, 1), ("usb", 1), ("USB Audio Pro", 2), ("default", 3)],
)
def test_a_device_is_chosen_by_index_or_part_of_its_name(
    install: Install, wanted: int | str | None, index: int
) -> None:
    names = ["HDMI", "USB Audio Pro (hw:1)", "usb audio pro", "default"]
    devices = [device(n, name, channels=int(n > 0)) for n, name in enumerate(names)]
    install(Sound(devices, default=3))
    assert choose(list_devices(), wanted).index == index


@pytest.mark.parametrize("wanted", ["0", "9", "-1", "bluetooth"])
def test_an_unknown_device_is_answered_with_those_there_are(install: Install, wanted: str) -> None:
    install(Sound([device(0, "HDMI", 0), device(1, "USB"), device(2, "pulse")]))
    with pytest.raises(KwsError, match=f"no input device '{wanted}'; there are: 1 USB, 2 pulse"):
        Microphone(wanted)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
        (ModuleNotFoundError("No module named 'sounddevice'"), "pip install sounddevice"),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    class Failing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise error

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with pytest.raises(KwsError, match=advice):
        Microphone()


def test_the_command_lists_devices_without_a_base(install: Install) -> None:
    install(Sound([device(0, "HDMI", 0), device(1, "USB", 2, 48_000), device(2, "pulse")], 2))
    result = CliRunner().invoke(listen, ["-l"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "   1 USB (2 in, 48000 Hz)",
        "*  2 pulse (1 in, 44100 Hz)",
    ]
