"""The microphone as an iterator of blocks, mono at 16 kHz whatever the device delivers."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Final, Self

import numpy as np
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError

BLOCK_SECONDS: Final = 0.04
QUEUE_SECONDS: Final = 2.0  # how far the reader may fall behind before audio is dropped
POLL_SECONDS: Final = 0.1  # longest wait for a block before an empty one is handed out
LOST_SECONDS: Final = 5.0  # without a block; the first one can take two
BACK_SECONDS: Final = 5.0  # of sound from a device that was lost: it may come and go
SILENT_SECONDS: Final = 600.0  # of digital silence before it is told; a live input has noise
CARDS: Final = Path("/proc/asound/cards")  # changes when a sound card comes or goes; on Linux
RETRY_SECONDS: Final = 0.5  # before a lost device is looked for again; then twice as long, ...
# ... up to this; every look leaks 12 kB in ALSA, and is seldom needed where cards are watched
LONGEST_SECONDS: Final = 120.0 if CARDS.is_file() else 10.0
PATIENCE_SECONDS: Final = 30.0  # after the loss, from which on another device will do
CARD: Final = re.compile(r" \(hw:[^)]*\)$")  # the number that ALSA gives a card

Wave = NDArray[np.float32]


@dataclass(frozen=True)
class Device:
    """An input of the sound system."""

    index: int
    name: str
    channels: int
    rate: int  # Hz, its own default
    default: bool

    def __str__(self) -> str:
        """Return one line of a list of devices."""
        mark = "*" if self.default else " "
        return f"{mark}{self.index:3} {self.name} ({self.channels} in, {self.rate} Hz)"


def list_devices() -> list[Device]:
    """All inputs, in the order of the sound system; a KwsError where none can be found."""
    sound = _sounddevice()
    default = _default_index(sound)
    try:
        known = sound.query_devices()
    except sound.PortAudioError as error:
        raise _unstarted(error) from error
    devices = [
        Device(
            index=index,
            name=info["name"],
            channels=info["max_input_channels"],
            rate=round(info["default_samplerate"]),
            default=index == default,
        )
        for index, info in enumerate(known)
        if info["max_input_channels"] > 0
    ]
    if not devices:
        raise KwsError("no microphone was found; plug one in")
    return devices


def choose(devices: Sequence[Device], wanted: int | str | None) -> Device:
    """Find a device by index, by name or a part of it, or else the default one.

    >>> usb = Device(3, "USB Audio (hw:1,0)", 1, 44_100, default=False)
    >>> choose([Device(0, "pulse", 32, 44_100, default=True), usb], "usb").index
    3
    """
    if wanted in (None, ""):
        return next((device for device in devices if device.default), devices[0])
    text = str(wanted).casefold()
    if text.isdecimal():
        found = [device for device in devices if device.index == int(text)]
    else:
        same = [device for device in devices if device.name.casefold() == text]
        found = same or [device for device in devices if text in device.name.casefold()]
    if not found:
        known = ", ".join(f"{device.index} {device.name}" for device in devices)
        raise KwsError(f"no input device {str(wanted)!r}; there are: {known}")
    return found[0]


class Microphone:
    """An open input device; iterating yields blocks ``[T]``, float32, mono at 16 kHz.

    The sound system's own thread only copies into a bounded queue. Where the reader is too slow,
    the oldest block is dropped and counted. An empty block is handed out when none came for a
    tenth of a second, so that the reader can look after other things.

    A device that is lost is looked for ever less often, and at once when a sound card comes or
    goes, until it is found again or, after half a minute, another takes its place. Meanwhile come
    empty blocks, after one second of silence: so no word is heard that begins before the loss and
    ends after it.

    Attributes:
        name: of the device.
        rate, channels: in which it was opened.
        dropped: blocks that the reader was too slow for.
        overruns: times that the sound system itself lost audio, or the device.
        trouble: a sentence while the device is lost or not yet heard for long, else nothing.
        tell: is called with a sentence when the device is lost or gives mere zeros for ten minutes,
            and when that is over.

    Raises:
        KwsError: there is no such device, or it cannot be opened; at the start only.

    """

    def __init__(self, device: int | str | None = None) -> None:
        self._sound = _sounddevice()
        self._wanted = device
        self._use(choose(list_devices(), device))
        self.name = self._first = self._device.name  # the first is looked for after every loss
        self.dropped = self.overruns = 0
        self.trouble = ""
        self.tell: Callable[[str], object] = lambda sentence: None
        self._stream: Any = None

    def __enter__(self) -> Self:
        """Start the stream."""
        try:
            self._open()
        except self._sound.PortAudioError as error:
            self._close()
            raise KwsError(f"cannot open the microphone {self.name}: {error}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the device, also one that is gone."""
        self._close()

    def __iter__(self) -> Iterator[Wave]:
        """Yield what is heard until the reader stops iterating."""
        lost, cards = self.name, b""
        waited = pause = 0.0  # counted, not read from a clock: a suspended process has not waited
        heard, missed = 0.0, 0.0  # seconds, since the device was opened and since it was lost
        while True:
            try:
                block = self._queue.get(timeout=POLL_SECONDS)
            except Empty:
                waited, missed = waited + POLL_SECONDS, missed + POLL_SECONDS
                yield np.zeros(0, np.float32)
                if (now := _cards()) != cards:
                    cards, pause = now, 0.0
                if waited < max(pause, LOST_SECONDS if self._delivers() else 0.0):
                    continue
                known = bool(self.trouble)
                lost = lost if known else self.name
                self.trouble = f"the microphone is lost: {lost}; looking for it"
                if not known:
                    self.tell(self.trouble)
                if heard:
                    self.overruns += 1  # what was being said is cut
                    yield np.zeros(SAMPLE_RATE, np.float32)
                self._reopen(others=missed >= PATIENCE_SECONDS)
                waited = heard = 0.0
                pause = min(max(2 * pause, RETRY_SECONDS), LONGEST_SECONDS)
            else:
                waited, heard = 0.0, heard + BLOCK_SECONDS
                if self.trouble and heard >= BACK_SECONDS:
                    pause, self.trouble = 0.0, ""
                    self._tell_found(lost)
                elif self.trouble:
                    self.trouble = f"{self.name} is heard again; waiting whether it stays"
                missed = missed if self.trouble else 0.0
                self._heed_silence(block)
                yield self._converted(block)

    def _tell_found(self, lost: str) -> None:
        if CARD.sub("", self.name) == CARD.sub("", lost):
            self.tell(f"the microphone is back: {self.name}")
        else:
            self.tell(f"{lost} is gone; the microphone is now {self.name}")

    def _use(self, device: Device) -> None:
        """Settle how a device will be opened, with nothing left of the one before."""
        self.rate, self.channels = _accepted(self._sound, device)
        self._device = device
        self._silent = 0.0  # seconds of nothing but zeros
        self._queue: Queue[Wave] = Queue(round(QUEUE_SECONDS / BLOCK_SECONDS))
        self._resampler = soxr.ResampleStream(self.rate, SAMPLE_RATE, 1, dtype="float32")

    def _open(self) -> None:
        self._stream = self._sound.InputStream(
            device=self._device.index,
            samplerate=self.rate,
            blocksize=round(self.rate * BLOCK_SECONDS),
            channels=self.channels,
            dtype="float32",
            callback=self._heard,
        )
        self._stream.start()
        self.name = self._device.name

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close(ignore_errors=True)
            self._stream = None

    def _delivers(self) -> bool:
        with suppress(self._sound.PortAudioError):  # of a device that is gone
            return self._stream is not None and self._stream.active
        return False

    def _reopen(self, *, others: bool) -> None:
        """Try once; what fails now may succeed later."""
        with _stderr_discarded():
            self._close()
            with suppress(self._sound.PortAudioError):
                self._sound._terminate()  # PortAudio learns of devices when it is started only
            with suppress(KwsError, self._sound.PortAudioError):
                self._sound._initialize()
                self._use(find_again(list_devices(), self._first, self._wanted, others=others))
                self._open()

    def _heard(self, block: Wave, frames: int, time: Any, status: Any) -> None:
        self.overruns += bool(status.input_overflow)
        block = block.copy()  # the sound system uses its memory again
        try:
            self._queue.put_nowait(block)
        except Full:
            self.dropped += 1
            with suppress(Empty):  # the reader may get there first
                self._queue.get_nowait()
            self._queue.put_nowait(block)

    def _heed_silence(self, block: Wave) -> None:
        before = self._silent
        self._silent = 0.0 if block.any() else before + BLOCK_SECONDS
        if before < SILENT_SECONDS <= self._silent:
            self.tell(f"nothing but silence from {self.name} for ten minutes; is it muted?")
        elif before >= SILENT_SECONDS and not self._silent:
            self.tell(f"{self.name} is heard again")

    def _converted(self, block: Wave) -> Wave:
        mono: Wave = block.mean(axis=1, dtype=np.float32)  # [T, C] -> [T]
        if self.rate != SAMPLE_RATE:
            mono = self._resampler.resample_chunk(mono)
        return mono


def find_again(
    devices: Sequence[Device], name: str, wanted: int | str | None, *, others: bool
) -> Device:
    """Find a device that was lost: its number, and its card's, may be others by now.

    With ``others``, another takes its place: the default one where none was asked for, one of the
    same part of a name, or none where a number was asked for.

    >>> back = Device(3, "USB Audio (hw:2,0)", 1, 48_000, default=False)
    >>> find_again([back], "USB Audio (hw:1,0)", "1", others=False).index
    3
    """
    alike = [device for device in devices if CARD.sub("", device.name) == CARD.sub("", name)]
    if found := [device for device in alike if device.name == name] or alike:
        return found[0]
    if not others or (wanted is not None and str(wanted).isdecimal()):
        raise KwsError(f"no input device {name!r}")
    return choose(devices, wanted)


def _cards() -> bytes:
    """What tells whether a sound card has come or gone; nothing where the system does not say."""
    with suppress(OSError):
        return CARDS.read_bytes()
    return b""


@contextmanager
def _stderr_discarded() -> Iterator[None]:
    """Drop what sound libraries write to standard error, a screenful at every try."""
    try:
        before = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _sounddevice() -> Any:
    try:
        import sounddevice  # loads PortAudio, which only a live microphone needs
    except ImportError as error:
        raise KwsError(
            "the microphone needs the Python package sounddevice: pip install sounddevice"
        ) from error
    except OSError as error:
        raise KwsError(
            "the microphone needs the PortAudio library: apt install libportaudio2"
        ) from error
    except Exception as error:  # PortAudio's own, of the module that could not be loaded
        raise _unstarted(error) from error
    return sounddevice


def _unstarted(error: Exception) -> KwsError:
    return KwsError(f"the sound system does not answer ({error}); start it, or plug a device in")


def _default_index(sound: Any) -> int | None:
    try:
        return int(sound.query_devices(kind="input")["index"])
    except (sound.PortAudioError, ValueError):  # none is set, or the default cannot record
        return None


def _accepted(sound: Any, device: Device) -> tuple[int, int]:
    """Return the rate and channels to open a device with; mono at its own rate where it can.

    Asked for another rate, ALSA would let sound alias: its own conversion has no filter.
    """
    refusal: Exception | None = None
    for channels in dict.fromkeys((1, device.channels)):
        for rate in dict.fromkeys((device.rate, SAMPLE_RATE)):
            try:
                sound.check_input_settings(
                    device=device.index, channels=channels, dtype="float32", samplerate=rate
                )
            except sound.PortAudioError as error:
                refusal = error
            else:
                return rate, channels
    raise KwsError(f"cannot open the microphone {device.name}: {refusal}") from refusal
