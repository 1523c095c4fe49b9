"""Find the word in a recording and lay it in the middle of a view."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE

FRAME: Final = SAMPLE_RATE // 100  # samples, 10 ms; the other lengths here count frames
CLICK: Final = 4  # no longer than this, and apart, is a click; a click of 30 ms touches four
APART: Final = 10  # of quiet set a click apart
PAUSE: Final = 25  # of quiet end a word; stops and gaps inside words are shorter
EDGE: Final = 3  # added at both ends, for soft onsets and endings
DEPTH: Final = 35.0  # dB below the loudest 50 ms that may still be speech
RISE: Final = 0.3  # of the way from the noise floor up to the loudest that counts as speech
QUIET: Final = 0.1  # of the frames, at least, hold noise alone
SPARE: Final = 0.01  # of the energy may go, to be rid of sounds beside the word

Span = tuple[int, int]  # begin, and one past the end


def speech_span(wave: NDArray[np.float32]) -> Span:
    """Find where a recording's word begins and ends, by its energy alone.

    Speech is what rises above the recording's own noise floor. A click apart from the word
    does not count, nor do sounds apart from it that together have a hundredth of the energy.
    Where all is equally loud, all is speech.

    Returns:
        First sample, and one past the last.

    """
    if not len(wave):
        return 0, 0
    begin, end = _active(_power(wave))
    return begin * FRAME, min(end * FRAME, len(wave))


def place(wave: NDArray[np.float32], length: int, margin: int = 0) -> NDArray[np.float32]:
    """Cut or pad a recording so that its word lies in the middle.

    A word longer than ``length`` gives its stretch of most energy instead. Around the word
    comes what the recording holds there, and zeros beyond its ends.

    Shape:
        wave ``[T]`` -> ``[length + 2 * margin]``.

    >>> place(np.ones(2, np.float32), length=4, margin=1)
    array([0., 0., 1., 1., 0., 0.], dtype=float32)
    """
    begin, end = speech_span(wave)
    if end - begin > length:
        begin += _loudest(_power(wave[begin:end]), max(1, length // FRAME)) * FRAME
        end = begin + length
    first = (begin + end - length) // 2 - margin
    out = np.zeros(length + 2 * margin, np.float32)
    source = wave[max(0, first) : max(0, first + len(out))]
    at = max(0, -first)
    out[at : at + len(source)] = source
    return out


def _power(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean square of each frame, the last filled up with zeros: ``[T] -> [ceil(T / FRAME)]``."""
    frames = np.zeros((-(-len(wave) // FRAME), FRAME), np.float32)
    frames.reshape(-1)[: len(wave)] = wave - wave.mean()
    return np.asarray(np.einsum("tn,tn->t", frames, frames) / FRAME, np.float32)


def _active(power: NDArray[np.float32]) -> Span:
    """First and one past the last frame of the word."""
    level = 10 * np.log10(power + 1e-12)  # dB; digital silence lies below any microphone's
    held = level
    for _ in range(min(CLICK, len(level) - 1)):  # least of five frames: a click cannot hold it
        held = np.minimum(held[:-1], level[len(level) - len(held) + 1 :])
    quiet = int(len(level) * QUIET)
    floor = float(np.partition(level, quiet)[quiet])
    top = max(float(held.max()), floor)
    runs = _runs(level > max(top - DEPTH, floor + RISE * (top - floor)))
    if not len(runs):
        return 0, len(level)
    above = np.maximum(power - 10 ** (floor / 10), 0)
    begin, end = _word(_without_clicks(runs), above)
    return max(0, begin - EDGE), min(len(level), end + EDGE)


def _runs(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Begin and end of each stretch of true values: ``[T] -> [N, 2]``."""
    edges = np.zeros(len(active) + 2, np.int8)
    edges[1:-1] = active
    return np.flatnonzero(edges[1:] != edges[:-1]).reshape(-1, 2)


def _without_clicks(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop short runs that stand apart from every long one, if there is a long one."""
    long = runs[runs[:, 1] - runs[:, 0] > CLICK]
    if not len(long):
        return runs
    gaps = np.maximum(long[:, 0] - runs[:, 1:], runs[:, :1] - long[:, 1])  # [N, long]
    return np.asarray(runs[gaps.min(axis=1) < APART])


def _word(runs: NDArray[np.int64], power: NDArray[np.float32]) -> Span:
    """Join runs into sounds, and leave off the outer sounds that hardly have any energy."""
    last = np.flatnonzero(runs[1:, 0] - runs[:-1, 1] >= PAUSE)
    begins = runs[np.append(0, last + 1), 0]
    ends = runs[np.append(last, len(runs) - 1), 1]
    total = np.append(0.0, np.cumsum(power, dtype=np.float64))
    energy = total[ends] - total[begins]
    spare = SPARE * energy.sum()
    left, right = 0, len(energy) - 1
    while left < right:
        outer = left if energy[left] < energy[right] else right
        spare -= energy[outer]
        if spare < 0:
            break
        left, right = left + (outer == left), right - (outer == right)
    return int(begins[left]), int(ends[right])


def _loudest(power: NDArray[np.float32], count: int) -> int:
    """Where the stretch of ``count`` frames with the most energy begins, maybe before 0.

    Of all stretches that have nearly as much, the middle one, so that a word with a
    long soft tail comes to lie in the middle too.
    """
    total = np.cumsum(np.pad(power, (count + 1, count)), dtype=np.float64)
    energy = total[count:] - total[:-count]  # of the stretch that begins at -count, ...
    best = np.flatnonzero(energy >= (1 - SPARE) * energy.max())
    return int(best[len(best) // 2]) - count
