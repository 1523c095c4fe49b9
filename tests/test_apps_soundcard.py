"""The microphone over a sound system made up here: every rate, and every mishap."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import soundfile
import soxr
from click.testing import CliRunner
from numpy.typing import NDArray

import apps.listen
import apps.listening.microphone
from apps.detect import detect
from apps.listen import listen
from apps.listening.microphone import (
    BLOCK_SECONDS,
    Device,
    Microphone,
    choose,
    find_again,
    list_devices,
)
from audio_data.synthesis import draw_speakers, say
from kws.config import SAMPLE_RATE
from kws.errors import KwsError

Wave = NDArray[np.float32]
FINE = SimpleNamespace(input_overflow=False)
DECISION = 0.08 + 1e-6  # seconds from one to the next


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
    starts: int = 1  # of PortAudio
    coming: Sequence[Sequence[dict[str, Any]]] = ()  # devices after each further start
    PortAudioError = SoundError

    def _terminate(self) -> None:
        self.starts += 1

    def _initialize(self) -> None:
        os.write(2, b"ALSA lib pcm.c: Unknown PCM\n")  # which libraries do unasked
        if self.coming:
            self.devices, *self.coming = self.coming

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

    monkeypatch.setattr(apps.listening.microphone, "POLL_SECONDS", 0.001)
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


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_blocks_of_any_length_join_without_clicks(install: Install, rate: int) -> None:
    """A tone cut into uneven blocks stays a tone: no seam rises above the resampler's own floor."""
    sound = install(Sound([device(0, "USB", 1, rate)], accepted=[(rate, 1)]))
    wave, cuts = tone(rate), np.cumsum([0, *[1, 7, 441, 1_764, 3, 999] * 12])
    heard = []
    with Microphone() as microphone:
        blocks = iter(microphone)
        for start, stop in pairwise(cuts):
            sound.streams[0].callback(wave[start:stop, None].copy(), stop - start, None, FINE)
            heard.append(next(blocks))
    joined = np.concatenate(heard)
    whole = soxr.resample(wave[: cuts[-1]], rate, SAMPLE_RATE)
    assert len(joined) > 0.5 * SAMPLE_RATE
    np.testing.assert_allclose(joined, whole[: len(joined)], atol=1e-5)


def test_a_device_is_opened_at_its_own_rate_even_if_it_would_take_another(install: Install) -> None:
    accepted = [(16_000, 1), (48_000, 1)]
    install(Sound([device(0, "USB", 1, 48_000)], accepted=accepted))
    with Microphone() as microphone:
        assert microphone.rate == 48_000


def test_a_device_that_refuses_its_own_rate_is_opened_at_16_khz(install: Install) -> None:
    sound = install(Sound([device(0, "default", 32)], accepted=[(16_000, 1)]))
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


def test_an_overrun_of_the_sound_system_is_counted(install: Install) -> None:
    sound = install(Sound([device(0, "USB")]))
    with Microphone() as microphone:
        sound.streams[0].hear(tone(SAMPLE_RATE)[:1_280, None], SimpleNamespace(input_overflow=True))
    assert (microphone.dropped, microphone.overruns) == (0, 2)


def heard_until(blocks: Iterator[Wave], enough: Callable[[Wave], bool]) -> Wave:
    """What comes until the last block is one that was waited for."""
    heard = []
    for block in islice(blocks, 10_000):
        heard.append(block)
        if enough(block):
            return np.concatenate(heard)
    pytest.fail("it never came")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is counted in tenths of what it is."""
    waits = {"LOST": 0.02, "BACK": 0.02, "RETRY": 0.002, "LONGEST": 0.008, "PATIENCE": 0.015}
    for name, seconds in waits.items():
        monkeypatch.setattr(apps.listening.microphone, f"{name}_SECONDS", seconds)


GONE: Sequence[dict[str, Any]] = [device(0, "HDMI", 0)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("wanted", "name"), [("1", "USB Audio (hw:1,0)"), ("usb", "USB Audio")])
def test_a_device_that_was_unplugged_is_found_again_under_another_number(
    install: Install, wanted: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    there = [device(0, "HDMI", 0), device(1, name)]
    back = [device(0, "HDMI", 0), device(1, "Camera"), device(2, name.replace("hw:1", "hw:2"))]
    sound = install(Sound(there, coming=[GONE] * 5 + [back]))
    said: list[str] = []
    before, after = tone(SAMPLE_RATE)[:640], tone(SAMPLE_RATE, 300)[:640]
    with Microphone(wanted) as microphone:
        microphone.tell = said.append
        blocks = iter(microphone)
        sound.streams[0].hear(before[:, None])
        sound.streams[0].active = False
        heard = heard_until(blocks, lambda block: len(block) == SAMPLE_RATE)
        np.testing.assert_array_equal(heard, np.r_[before, np.zeros(SAMPLE_RATE)])
        assert not len(heard_until(blocks, lambda block: len(sound.streams) == 2))
        assert said == [f"the microphone is lost: {name}; looking for it"]
        sound.streams[1].hear(after[:, None])
        np.testing.assert_array_equal(heard_until(blocks, lambda block: len(block) > 0), after)
    assert [stream.device for stream in sound.streams] == [1, 2]
    assert said[1:] == [f"the microphone is back: {name.replace('hw:1', 'hw:2')}"]
    assert all(stream.closed for stream in sound.streams)
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
def test_a_device_that_stays_silent_is_opened_again_and_said_to_be_lost_once(
    install: Install,
) -> None:
    sound = install(Sound([device(0, "USB Audio")]))
    said: list[str] = []
    with Microphone() as microphone:
        microphone.tell = said.append
        sound.streams[0].hear(tone(SAMPLE_RATE)[:640, None])
        heard_until(iter(microphone), lambda block: len(sound.streams) == 4)
    assert said == ["the microphone is lost: USB Audio; looking for it"]
    assert microphone.overruns == 1  # so that a word that was cut in two is not kept


def test_a_microphone_that_cannot_be_started_is_closed(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Stream) -> None:
        raise SoundError("Device unavailable [PaErrorCode -9985]")

    monkeypatch.setattr(Stream, "start", refuse)
    sound = install(Sound([device(0, "USB Audio")]))
    with pytest.raises(KwsError, match="cannot open the microphone"), Microphone():
        pass
    assert sound.streams[0].closed


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("wanted", [None, "usb"])
def test_another_default_takes_the_place_of_a_lost_one_but_not_of_one_asked_for(
    install: Install, wanted: str | None
) -> None:
    """Nor at once: a device that is unplugged for a moment must not be replaced."""
    sound = install(Sound([device(0, "USB Audio")], coming=[[device(0, "Built-in")]]))
    said: list[str] = []
    with Microphone(wanted) as microphone:
        microphone.tell = said.append
        blocks = iter(microphone)
        sound.streams[0].active = False
        heard_until(blocks, lambda block: sound.starts == 4)
        assert len(sound.streams) == 1
        for _ in range(100):
            next(blocks)
        assert microphone.name == ("USB Audio" if wanted else "Built-in")
        assert (len(sound.streams) == 1) == (wanted == "usb")
        if not wanted:
            sound.streams[-1].hear(tone(SAMPLE_RATE)[:640, None])
            heard_until(blocks, lambda block: len(block) > 0)
            assert said[1:] == ["USB Audio is gone; the microphone is now Built-in"]


@pytest.mark.usefixtures("impatient")
def test_a_card_that_comes_and_goes_keeps_no_other_from_its_place(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(apps.listening.microphone, "CARDS", tmp_path / "cards")
    sound = install(Sound([device(0, "USB Audio")], coming=[[device(0, "Built-in")]]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        sound.streams[0].active = False
        for number in range(100):
            (tmp_path / "cards").write_text(str(number))
            next(blocks)
        assert microphone.name == "Built-in"


def looks(sound: Sound, blocks: Iterator[Wave], count: int) -> list[int]:
    """After how many empty blocks of so many the sound system was asked again."""
    when = []
    for number in range(count):
        before = sound.starts
        next(blocks)
        if sound.starts > before:
            when.append(number)
    return when


@pytest.mark.usefixtures("impatient")
def test_it_is_looked_for_ever_less_often(install: Install) -> None:
    sound = install(Sound([device(0, "USB Audio")], coming=[GONE] * 1_000))
    with Microphone() as microphone:
        blocks = iter(microphone)
        sound.streams[0].active = False
        assert np.diff(looks(sound, blocks, 60)).tolist()[:4] == [2, 4, 8, 8]


def test_a_silent_device_is_opened_ever_less_often(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LOST", 0.002), ("RETRY", 0.004), ("LONGEST", 0.008)):
        monkeypatch.setattr(apps.listening.microphone, f"{name}_SECONDS", seconds)
    sound = install(Sound([device(0, "USB Audio")]))
    with Microphone() as microphone:
        assert np.diff(looks(sound, iter(microphone), 60)).tolist()[:3] == [4, 8, 8]


def test_a_device_that_comes_and_goes_is_opened_ever_less_often_and_said_to_be_lost_once(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is back when it has been heard for a while, and what it cuts is counted every time."""
    for name, seconds in (("BACK", 0.1), ("RETRY", 0.002), ("LONGEST", 0.016)):
        monkeypatch.setattr(apps.listening.microphone, f"{name}_SECONDS", seconds)
    sound = install(Sound([device(0, "USB Audio")]))
    said: list[str] = []
    pauses = []
    with Microphone() as microphone:
        microphone.tell = said.append
        blocks = iter(microphone)
        for _ in range(10):
            sound.streams[-1].hear(tone(SAMPLE_RATE)[:640, None])
            assert len(next(blocks)) == 640
            sound.streams[-1].active = False
            pauses += looks(sound, blocks, 20)[:1]
        assert pauses == [2, 3, 5, 9] + [17] * 6
        assert said == ["the microphone is lost: USB Audio; looking for it"]
        assert microphone.overruns == 10
        sound.streams[-1].hear(tone(SAMPLE_RATE)[:1_920, None])
        assert sum(len(next(blocks)) for _ in range(3)) == 1_920
        assert said[1:] == ["the microphone is back: USB Audio"]
        sound.streams[-1].active = False
        assert looks(sound, blocks, 20)[:1] == [2]


@pytest.mark.usefixtures("impatient")
def test_it_is_looked_for_at_once_when_a_sound_card_comes_or_goes(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(apps.listening.microphone, "CARDS", tmp_path / "cards")
    monkeypatch.setattr(apps.listening.microphone, "LONGEST_SECONDS", 1_000.0)
    sound = install(Sound([device(0, "USB Audio")], coming=[GONE] * 1_000))
    with Microphone() as microphone:
        blocks = iter(microphone)
        sound.streams[0].active = False
        looks(sound, blocks, 200)
        for cards in ("--- no soundcards ---", "1 [USB]"):
            (tmp_path / "cards").write_text(cards)
            assert looks(sound, blocks, 200) == [0, 2, 6, 14, 30, 62, 126]


@pytest.mark.usefixtures("impatient")
def test_a_device_is_found_at_another_rate_than_before(install: Install) -> None:
    back = [device(0, "USB Audio", 1, 48_000)]
    sound = install(Sound([device(0, "USB Audio")], coming=[back]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        sound.streams[0].active = False
        sound.accepted = [(48_000, 1)]
        heard_until(blocks, lambda block: len(sound.streams) == 2)
        sound.streams[1].hear(tone(48_000)[:, None])
        heard = received(microphone)
    assert microphone.rate == 48_000
    np.testing.assert_allclose(heard[9:], tone(SAMPLE_RATE)[9 : len(heard)], atol=1e-2)


def test_a_microphone_that_is_muted_is_told_of_once_and_that_it_is_heard_again(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.listening.microphone, "SILENT_SECONDS", 9.5 * BLOCK_SECONDS)
    sound = install(Sound([device(0, "USB Audio")]))
    silence, noise = np.zeros((640, 1), np.float32), np.full((640, 1), 2.0**-15, np.float32)
    said: list[str] = []
    told = []
    with Microphone() as microphone:
        microphone.tell = said.append
        blocks = iter(microphone)
        for block in [silence] * 9 + [noise] + [silence] * 25 + [noise] * 25 + [silence] * 9:
            sound.streams[0].hear(block)
            np.testing.assert_array_equal(next(blocks), block[:, 0])
            told.append(len(said))
    assert told == [0] * 19 + [1] * 16 + [2] * 34
    silent, again = said
    assert silent == "nothing but silence from USB Audio for ten minutes; is it muted?"
    assert again == "USB Audio is heard again"


@pytest.mark.usefixtures("impatient")
def test_the_silence_of_a_device_ends_when_it_is_lost(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.listening.microphone, "SILENT_SECONDS", 9.5 * BLOCK_SECONDS)
    sound = install(Sound([device(0, "USB Audio")]))
    said: list[str] = []
    with Microphone() as microphone:
        microphone.tell = said.append
        blocks = iter(microphone)
        for _ in range(3):
            sound.streams[-1].hear(np.zeros((640 * 9, 1), np.float32))
            assert sum(len(next(blocks)) for _ in range(9)) == 640 * 9
            sound.streams[-1].active = False
            looks(sound, blocks, 5)
    assert not any("silence" in sentence for sentence in said)


def test_a_pause_shorter_than_that_is_no_loss(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.listening.microphone, "LOST_SECONDS", 0.02)
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
        (SoundError("Error initializing PortAudio"), r"initializing PortAudio\); start it"),
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


def test_devices_that_cannot_be_asked_for_are_one_sentence(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Sound, kind: str | None = None) -> None:
        raise SoundError("PortAudio not initialized")

    monkeypatch.setattr(Sound, "query_devices", refuse)
    install(Sound([device(0, "USB Audio")]))
    for ask in (list_devices, Microphone):
        with pytest.raises(KwsError, match=r"does not answer \(PortAudio not initialized\)"):
            ask()


def test_the_command_lists_devices_without_a_base(install: Install) -> None:
    install(Sound([device(0, "HDMI", 0), device(1, "USB", 2, 48_000), device(2, "pulse")], 2))
    result = CliRunner().invoke(listen, ["-l"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "   1 USB (2 in, 48000 Hz)",
        "*  2 pulse (1 in, 44100 Hz)",
    ]
    (told,) = CliRunner().invoke(listen, ["-l", "--json"]).stdout.splitlines()
    usb, pulse = json.loads(told)
    assert usb == {"index": 1, "name": "USB", "channels": 2, "rate": 48_000, "default": False}
    assert (pulse["name"], pulse["default"]) == ("pulse", True)


class Player:
    """Plays to the sound card, in place of the keyboard: a block whenever keys are looked for."""

    closed = False

    def __init__(self, sound: Sound, wave: Wave) -> None:
        self._sound, self._wave = sound, wave

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, *_: object) -> None: ...

    def poll(self) -> str:
        stream = self._sound.streams[0]
        block, self._wave = np.split(self._wave, [stream.blocksize])
        stream.hear(np.pad(block, (0, stream.blocksize - len(block)))[:, None])
        return ""


def words(rate: int) -> Wave:
    """Mandarin words by a synthetic voice, with pauses; whole blocks."""
    person, rng = draw_speakers(4)[1], np.random.default_rng(0)
    pause = np.zeros(SAMPLE_RATE * 3 // 4, np.float32)
    said = [say("cmn", word, person, rng) for word in ("数字", "中国", "北京", "语音", "背景")]
    wave = np.concatenate([part for one in said for part in (pause, one)])
    wave = np.pad(wave, (0, -len(wave) % 640))
    return wave if rate == SAMPLE_RATE else soxr.resample(wave, SAMPLE_RATE, rate)


def heard_by(command: click.Command, *arguments: object) -> list[dict[str, Any]]:
    zoo = Path(__file__).resolve().parent.parent / "models" / "zoo"
    bank = "--base", zoo / "ara", "--adapter", zoo / "cmn", "--json"
    result = CliRunner().invoke(command, [str(one) for one in (*arguments, *bank)])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(("rate", "tolerance"), [(SAMPLE_RATE, 0.0), (48_000, DECISION)])
def test_listening_gives_the_events_of_detecting_in_a_file(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    rate: int,
    tolerance: float,
) -> None:
    """The same to the bit at our own rate; resampled, one decision earlier or later at most."""
    sound = install(Sound([device(0, "USB", 1, rate)], accepted=[(rate, 1)]))
    wave = words(rate)
    soundfile.write(tmp_path / "words.wav", wave, rate, subtype="FLOAT")
    monkeypatch.setattr(apps.listen, "Keys", lambda _: Player(sound, wave))
    expected = heard_by(detect, tmp_path / "words.wav")
    found = heard_by(listen, "--seconds", len(wave) / rate)
    assert len({event["keyword"] for event in expected}) >= 3
    assert len(found) == len(expected)
    for event, other in zip(found, expected, strict=True):
        assert (event["keyword"], event["language"]) == (other["keyword"], other["language"])
        assert abs(event["time"] - other["time"]) <= tolerance
        assert rate != SAMPLE_RATE or event == other


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("refusal", ["busy", "rate", "silence"])
@pytest.mark.parametrize(("wanted", "other"), [(None, "Built-in"), ("usb", "USB Camera")])
def test_a_lost_device_is_still_looked_for_after_another_was_tried_in_vain(
    install: Install, wanted: str | None, other: str, refusal: str
) -> None:
    """It is opened once it is back beside the other, and is the one that is named meanwhile."""
    usb, camera = device(1, "USB Audio"), device(0, other, rate=96_000.0)
    sound = install(Sound([usb], coming=[[camera]] * 6))
    sound.accepted = [(44_100, 1)] if refusal == "rate" else [(44_100, 1), (96_000, 1)]
    with Microphone(wanted) as microphone:
        blocks = iter(microphone)
        sound.streams[0].active, sound.busy = False, refusal == "busy"
        heard_until(blocks, lambda block: not sound.coming)
        assert microphone.name == (other if refusal == "silence" else "USB Audio")
        sound.devices, sound.busy = [camera, usb], False
        heard_until(blocks, lambda block: sound.streams[-1].device == 1 and sound.starts > 7)
        assert microphone.name == "USB Audio"


def test_of_two_alike_the_one_that_was_lost_is_found_again() -> None:
    alike = [Device(n, f"USB Audio (hw:{n},0)", 1, 48_000, default=False) for n in range(2)]
    assert find_again(alike, "USB Audio (hw:1,0)", "1", others=False) == alike[1]


def test_a_number_means_no_other_microphone() -> None:
    """Once that which had it is gone: nobody asked for what has it now."""
    webcam = Device(1, "Webcam", 1, 48_000, default=True)
    with pytest.raises(KwsError, match="no input device 'USB'"):
        find_again([webcam], "USB", "1", others=True)
    assert find_again([webcam], "USB", None, others=True) == webcam


def test_a_device_that_came_and_went_gives_its_place_to_another_as_soon_as_it_is_gone(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heard for a moment only, it counts as lost all the while."""
    waits = {"POLL": 0.002, "BACK": 0.1, "RETRY": 0.002, "LONGEST": 0.008, "PATIENCE": 0.03}
    for name, seconds in waits.items():
        monkeypatch.setattr(apps.listening.microphone, f"{name}_SECONDS", seconds)
    sound = install(Sound([device(0, "USB Audio")]))
    with Microphone() as microphone:
        blocks = iter(microphone)
        for name in (*["USB Audio"] * 6, "Built-in"):
            sound.devices, stream = [device(0, name)], sound.streams[-1]
            stream.hear(np.ones((stream.blocksize, stream.channels), np.float32))
            assert len(next(blocks))
            stream.active = False
            assert len(looks(sound, blocks, 10)) == 1
        assert microphone.name == "Built-in"
