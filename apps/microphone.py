"""The microphone as an iterator of blocks, mono at 16 kHz whatever the device delivers."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from types import TracebackType
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
    """All inputs, in the order of the sound system; a KwsError where there is none."""
    sound = _sounddevice()
    default = _default_index(sound)
    devices = [
        Device(
            index=index,
            name=info["name"],
            channels=info["max_input_channels"],
            rate=round(info["default_samplerate"]),
            default=index == default,
        )
        for index, info in enumerate(sound.query_devices())
        if info["max_input_channels"] > 0
    ]
    if not devices:
        raise KwsError("no microphone was found; plug one in, or read a file with --wav")
    return devices


def choose(devices: Sequence[Device], wanted: int | str | None) -> Device:
    """Find a device by index, by name or a part of it, or else the default one.

    >>> usb = Device(3, "USB Audio (hw:1,0)", 1, 44_100, default=False)
    >>> choose([Device(0, "pulse", 32, 44_100, default=True), usb], "usb").index
    3
    """
    if wanted is None:
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

    Attributes:
        name: of the device.
        rate, channels: in which it was opened.
        dropped: blocks that were lost so far.

    Raises:
        KwsError: there is no such device, it cannot be opened, or it stopped delivering audio.

    """

    def __init__(self, device: int | str | None = None) -> None:
        self._sound = _sounddevice()
        self._device = choose(list_devices(), device)
        self.name = self._device.name
        self.rate, self.channels = _accepted(self._sound, self._device)
        self.dropped = 0
        self._stream: Any = None
        self._queue: Queue[NDArray[np.float32]] = Queue(round(QUEUE_SECONDS / BLOCK_SECONDS))
        self._resampler = soxr.ResampleStream(self.rate, SAMPLE_RATE, 1, dtype="float32")

    def __enter__(self) -> Self:
        """Start the stream."""
        try:
            self._stream = self._sound.InputStream(
                device=self._device.index,
                samplerate=self.rate,
                blocksize=round(self.rate * BLOCK_SECONDS),
                channels=self.channels,
                dtype="float32",
                callback=self._heard,
            )
            self._stream.start()
        except self._sound.PortAudioError as error:
            raise KwsError(f"cannot open the microphone {self.name}: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the device, also one that is gone."""
        self._stream.close(ignore_errors=True)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yield what is heard until the reader stops iterating."""
        waited = 0.0  # counted, not read from a clock: a suspended process has not waited
        while True:
            try:
                block = self._queue.get(timeout=POLL_SECONDS)
            except Empty:
                waited += POLL_SECONDS
                self._check_alive(waited)
                yield np.zeros(0, np.float32)
            else:
                waited = 0.0
                yield self._converted(block)

    def _heard(self, block: NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        self.dropped += bool(status.input_overflow)
        block = block.copy()  # the sound system uses its memory again
        try:
            self._queue.put_nowait(block)
        except Full:
            self.dropped += 1
            with suppress(Empty):  # the reader may get there first
                self._queue.get_nowait()
            self._queue.put_nowait(block)

    def _check_alive(self, waited: float) -> None:
        if not self._stream.active or waited >= LOST_SECONDS:
            raise KwsError(
                f"the microphone stopped delivering audio: {self.name}; "
                "plug it in again and restart"
            )

    def _converted(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        mono: NDArray[np.float32] = block.mean(axis=1, dtype=np.float32)  # [T, C] -> [T]
        if self.rate != SAMPLE_RATE:
            mono = self._resampler.resample_chunk(mono)
        return mono


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
    return sounddevice


def _default_index(sound: Any) -> int | None:
    try:
        return int(sound.query_devices(kind="input")["index"])
    except (sound.PortAudioError, ValueError):  # none is set, or the default cannot record
        return None


def _accepted(sound: Any, device: Device) -> tuple[int, int]:
    """Return the rate and channels to open a device with; mono and 16 kHz where it can."""
    refusal: Exception | None = None
    for channels in dict.fromkeys((1, device.channels)):
        for rate in dict.fromkeys((SAMPLE_RATE, device.rate)):
            try:
                sound.check_input_settings(
                    device=device.index, channels=channels, dtype="float32", samplerate=rate
                )
            except sound.PortAudioError as error:
                refusal = error
            else:
                return rate, channels
    raise KwsError(f"cannot open the microphone {device.name}: {refusal}") from refusal
