"""Judge and trim what was recorded when somebody was asked to say a word."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE

from .place import FRAME, Span, speech_span

Wave = NDArray[np.float32]

FULL: Final = 0.985  # of full scale; what reaches it was cut off by the converter
CLIPPED: Final = 3  # such samples are no accident
SILENT: Final = -50.0  # dBFS of the loudest 50 ms, below which nobody spoke
CONTRAST: Final = 10.0  # dB that a word must stand out from the room
SHORTEST: Final = 0.12  # seconds of sound; less is a click
LONGEST: Final = 1.5  # seconds; the network hears one of them
EDGE: Final = 0.05  # seconds at either end that must be quiet
MARGIN: Final = 0.3  # seconds kept on either side of the word
LEVEL_FRAMES: Final = 5  # 50 ms
FLOOR: Final = 1e-10  # power of digital silence, -100 dBFS


@dataclass(frozen=True)
class Take:
    """A recording of one word, trimmed, and what is wrong with it."""

    wave: Wave  # [T], mono at 16 kHz
    seconds: float  # that the word itself lasts
    level: float  # dBFS of its loudest 50 ms
    problem: str | None = None  # None: it can be kept


def judge(wave: Wave) -> Take:
    """Find the word in a recording ``[T]``, trim around it, and say what is wrong, if anything.

    >>> judge(np.zeros(16_000, np.float32)).problem
    'nothing was heard; speak up, or choose another microphone'
    """
    powers = frame_powers(wave)
    level = loudness(powers)
    begin, end = speech_span(wave)
    seconds = (end - begin) / SAMPLE_RATE
    problem = _problem(wave, powers, level, (begin, end))
    if level < SILENT:
        return Take(wave, 0.0, level, problem)
    return Take(trim(wave, (begin, end)), seconds, level, problem)


def trim(wave: Wave, span: Span, margin: float = MARGIN) -> Wave:
    """Keep a stretch and a margin of seconds on either side, as far as the recording goes."""
    samples = round(margin * SAMPLE_RATE)
    return wave[max(0, span[0] - samples) : span[1] + samples]


def frame_powers(wave: Wave) -> NDArray[np.float64]:
    """Mean square of each whole frame of 10 ms: ``[T] -> [T // 160]``.

    The recording's mean is subtracted before.
    """
    count = len(wave) // FRAME
    if not count:
        return np.zeros(0)
    frames = wave[: count * FRAME].astype(np.float64).reshape(count, FRAME)
    return np.asarray(np.mean((frames - wave.mean(dtype=np.float64)) ** 2, axis=1))


def loudness(powers: NDArray[np.float64]) -> float:
    """Level of the loudest 50 ms in dBFS, at least -100."""
    if not len(powers):
        return decibels(0)
    count = min(LEVEL_FRAMES, len(powers))
    means = np.convolve(powers, np.full(count, 1 / count), "valid")
    return decibels(means.max())


def held(powers: NDArray[np.float64]) -> float:
    """Highest level in dBFS that lasts for 50 ms; a click does not."""
    if len(powers) < LEVEL_FRAMES:
        return decibels(0)
    windows = np.lib.stride_tricks.sliding_window_view(powers, LEVEL_FRAMES)
    return decibels(windows.min(axis=1).max())


def decibels(power: float) -> float:
    """DBFS, at least that of ``FLOOR``."""
    return 10 * float(np.log10(max(power, FLOOR)))


def _problem(wave: Wave, powers: NDArray[np.float64], level: float, span: Span) -> str | None:
    """One sentence for the person who speaks, about what matters most."""
    if level < SILENT:
        return "nothing was heard; speak up, or choose another microphone"
    clipped = int(np.count_nonzero(np.abs(wave) >= FULL))
    if clipped >= CLIPPED:
        return "too loud: the sound is clipped; speak softer or move away from the microphone"
    floor = decibels(float(np.quantile(powers, 0.1)))
    if level - floor >= CONTRAST > held(powers) - floor:
        return "too short: only a click was heard"
    if level - floor < CONTRAST:
        return "nothing stands out from the noise of the room; come closer to the microphone"
    begin, end = span
    edge = round(EDGE * SAMPLE_RATE)
    if begin < edge:
        return "cut: the sound begins before the recording; wait for the sign to speak"
    if end > len(wave) - edge:
        return "cut: the sound goes on after the recording; speak sooner"
    seconds = (end - begin) / SAMPLE_RATE
    if seconds < SHORTEST:
        return f"too short: {seconds:.2f} s of sound is no word"
    if seconds > LONGEST:
        return f"too long: {seconds:.2f} s; say the word alone, in at most {LONGEST:g} s"
    return None
