"""Hours of sound to hear: words and noise that must not be reported, and keywords among them.

A stream is made while it is played, piece by piece, and the same from the same seed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.stream_metrics import AFTER, Spoken

from .clips import Clip, Half
from .decode import decode
from .material import Material
from .noise import background, generator, parted, read_noise
from .place import speech_span

Wave = NDArray[np.float32]
Chunk = tuple[Wave, tuple[Spoken, ...]]  # samples [T], and the keywords that begin in them

SHARES: Final = {"speech": 0.7, "noise": 0.2, "silence": 0.1}  # of the time of a negative stream
STRETCH: Final = 20.0  # seconds of one room, roughly
FADE: Final = SAMPLE_RATE // 100  # samples, at the ends of what is laid in
PEAK: Final = 0.95  # of full scale, the most
PRESENT: Final = 0.1  # of its mean power, at least, a noise has while a word is said
EVERY: Final = 2  # one of so many keywords is said among other words
CLOSE: Final = (0.05, 0.3)  # seconds between two words of one breath
APART: Final = (0.1, 1.0)  # seconds between other words
ALONE: Final = (0.8, 1.6)  # seconds before a keyword
SPEECH_LEVEL: Final = (-36, -16)  # dBFS of other words
KEYWORD_LEVEL: Final = (-32, -16)  # dBFS
NOISE_LEVEL: Final = (-50, -16)  # dBFS of noise alone
HISS_LEVEL: Final = (-80, -60)  # dBFS
VARIES: Final = 4  # dB, either way, from word to word
BELOW: Final = (0, 40)  # dB that noise is below other words
DIGITAL: Final = 0.3  # of silences hold nothing at all
DRAWS: Final = 50  # of noise, before it is made
PART: Final = SAMPLE_RATE // 10  # samples, of which the ledger counts what was played


class Stream(Protocol):
    """Sound in pieces, in order; every ``iter`` begins anew with the same."""

    @property
    def expected_seconds(self) -> float:
        """About how long it lasts."""
        ...

    def __iter__(self) -> Iterator[Chunk]: ...


class Ledger:
    """Counts what was played, and how much of it was new."""

    def __init__(self) -> None:
        self._played: dict[tuple[str, str], tuple[float, float]] = {}  # seconds: played, there are
        self._parts: dict[tuple[str, str], set[int]] = {}  # of recordings

    def add(self, kind: str, name: str, played: float, whole: float) -> None:
        """Note ``played`` seconds of a recording that lasts ``whole`` seconds."""
        before, _ = self._played.get((kind, name), (0.0, 0.0))
        self._played[kind, name] = before + played, whole

    def add_part(self, kind: str, name: str, samples: NDArray[np.int64]) -> None:
        """Note some samples of a recording, by where they are in it."""
        parts = self._parts.setdefault((kind, name), set())
        parts.update(np.unique(samples // PART).tolist())
        self.add(kind, name, len(samples) / SAMPLE_RATE, len(parts) * PART / SAMPLE_RATE)

    @property
    def distinct_seconds(self) -> dict[str, float]:
        """Seconds of recordings by kind, each counted once however often it was played."""
        total: dict[str, float] = {}
        for (kind, _), pair in self._played.items():
            total[kind] = total.get(kind, 0.0) + min(pair)
        return total

    @property
    def played_seconds(self) -> float:
        """Seconds of recordings of all kinds; silence is none."""
        return sum(played for played, _ in self._played.values())


class Noise:
    """One half's stretch of every noise, each of unit power; made noise where there is none."""

    def __init__(self, paths: Sequence[Path], half: Half) -> None:
        self._pieces = [_held(path, half) for path in paths] or [
            background("pink", 20, generator(0, "noise", half))
        ]
        self._names = [str(path) for path in paths] or ["made"]
        self._pieces = [piece / (_rms(piece) or 1.0) for piece in self._pieces]

    def draw(
        self,
        samples: int,
        rng: np.random.Generator,
        ledger: Ledger | None = None,
        heard: int | None = None,
    ) -> Wave:
        """Return ``samples`` of one noise from anywhere in it, to and fro where it is shorter.

        The ledger notes the first ``heard`` of them, or all.
        """
        index = int(rng.integers(len(self._pieces)))
        piece = self._pieces[index]
        at = int(rng.integers(len(piece))) + np.arange(samples)
        at = np.abs((at + len(piece) - 1) % max(1, 2 * len(piece) - 2) - (len(piece) - 1))
        if ledger:
            ledger.add_part("noise", self._names[index], at[:heard])
        return np.asarray(piece[at], np.float32)


class NegativeStream:
    """Sound without any keyword: stretches of words, of noise, and of silence in turn.

    Words come at many levels with gaps between them, mostly over noise. All words are played
    before one comes again, then at another level, in another noise, between other words.

    Attributes:
        ledger: what was played so far since the last ``iter``.

    Args:
        material: one half's recordings.
        seconds: to play.
        seed: the same seed makes the same stream.

    """

    def __init__(self, material: Material, seconds: float, seed: int = 0) -> None:
        self._material = material
        self._noise = Noise(material.noise, material.half)
        self._seed = seed
        self.expected_seconds = seconds
        self.ledger = Ledger()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield stretches, without truth as there is no keyword in them."""
        rng = generator(self._seed, "negatives", self._material.half)
        self.ledger = Ledger()
        words = _cycle(self._material.others, rng)
        shares = {k: v for k, v in SHARES.items() if k != "speech" or self._material.others}
        played = dict.fromkeys(shares, 0)  # samples
        left = round(self.expected_seconds * SAMPLE_RATE)
        while left > 0:
            kind = min(shares, key=lambda kind: played[kind] / shares[kind])
            if kind == "speech":
                wave = self._speech(words, rng, left)
            else:
                wave = self._noise_alone(rng, left) if kind == "noise" else _silence(rng)
            played[kind] += len(wave)
            yield wave[:left], ()
            left -= len(wave)

    def _speech(self, words: Iterator[Clip], rng: np.random.Generator, left: int) -> Wave:
        level = rng.uniform(*SPEECH_LEVEL)
        pieces: list[Wave] = []
        while sum(map(len, pieces)) < STRETCH * SAMPLE_RATE:
            clip = next(words)
            wave = decode(clip.path)
            pieces.append(_gap(rng, *APART))
            heard = min(len(wave), left - sum(map(len, pieces)))
            pieces.append(_at_level(wave, level + rng.uniform(-VARIES, VARIES)))
            if heard > 0:
                whole = len(wave) / SAMPLE_RATE
                self.ledger.add("words", str(clip.path), heard / SAMPLE_RATE, whole)
        speech = np.concatenate(pieces)
        below = rng.uniform(*BELOW)
        noise = self._noise.draw(len(speech), rng)  # not noted: the ledger has this time as words
        return _bounded(_soft(speech + _gain(level - below) * noise))

    def _noise_alone(self, rng: np.random.Generator, left: int) -> Wave:
        samples = round(rng.uniform(0.3, 0.7) * STRETCH * SAMPLE_RATE)
        noise = self._noise.draw(samples, rng, self.ledger, left)
        return _bounded(_soft(_gain(rng.uniform(*NOISE_LEVEL)) * noise))


class PositiveStream:
    """Every keyword recording once, in noise, alone or among other words.

    Every second one is said as in speech: one to three words that are no keyword go before it
    and none or one comes after it, with hardly a gap. The others stand alone. Between two
    keywords lie at least 1.9 seconds.

    The signal-to-noise ratio is that of the keyword's active part: its power to that of the noise
    under it. Level and noise change from keyword to keyword.

    Args:
        material: one half's recordings; without other words, all keywords stand alone.
        snr: dB.
        seed: the same seed makes the same stream.

    """

    def __init__(self, material: Material, snr: float, seed: int = 0) -> None:
        self._material, self._snr, self._seed = material, snr, seed
        self._noise = Noise(material.noise, material.half)
        self.expected_seconds = (5.0 if material.others else 4.0) * len(material.keywords)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield one keyword at a time with what is around it."""
        rng = generator(self._seed, "positives", self._material.half, str(float(self._snr)))
        words = _cycle(self._material.others, rng)
        clips = self._material.keywords
        at = 0  # samples
        for number, index in enumerate(rng.permutation(len(clips)).tolist()):
            among = number % EVERY == 0 and bool(self._material.others)
            wave, begin, end = _laid(clips[index], words if among else None, rng)
            noise = self._under(len(wave), begin, end, rng)
            noise *= _rms(wave[begin:end]) / _rms(noise[begin:end]) * _gain(-self._snr)
            times = (at + begin) / SAMPLE_RATE, (at + end) / SAMPLE_RATE
            yield _bounded(_soft(wave + noise)), (Spoken(clips[index].word, *times, among),)
            at += len(wave)

    def _under(self, samples: int, begin: int, end: int, rng: np.random.Generator) -> Wave:
        """Noise that is there while the word is said."""
        for _ in range(DRAWS):
            noise = self._noise.draw(samples, rng)
            if _rms(noise[begin:end]) ** 2 >= PRESENT:
                break
        else:
            noise = background("pink", samples / SAMPLE_RATE, rng)
        return noise


def _laid(
    clip: Clip, words: Iterator[Clip] | None, rng: np.random.Generator
) -> tuple[Wave, int, int]:
    """Lay a keyword among ``words``, or alone; also where it begins and ends, in samples."""
    level = rng.uniform(*KEYWORD_LEVEL)
    wave = decode(clip.path)
    begin, end = speech_span(wave)
    wave = _at_level(wave, level)
    before, after = [_gap(rng, *ALONE)], [_gap(rng, AFTER + 0.1, AFTER + 0.6)]
    if words:
        wave, begin, end = _soft(wave[begin:end]), 0, end - begin
        for _ in range(rng.integers(1, 4)):
            before += [_word(next(words), level, rng), _gap(rng, *CLOSE)]
        for _ in range(rng.integers(2)):
            after[:0] = [_gap(rng, *CLOSE), _word(next(words), level, rng)]
    lead = sum(map(len, before))
    return np.concatenate([*before, wave, *after]), lead + begin, lead + end


def _word(clip: Clip, level: float, rng: np.random.Generator) -> Wave:
    """Another word at about the level of its neighbours, without the silence around it."""
    wave = decode(clip.path)
    begin, end = speech_span(wave)
    return _at_level(wave[begin:end], level + rng.uniform(-VARIES, VARIES))


def _held(path: Path, half: Half) -> Wave:
    """One half of the part of a noise that is never trained on."""
    _, held = parted(read_noise(path))
    middle = len(held) // 2
    return held[:middle] if half == "validation" else held[middle:]


def _cycle(clips: Sequence[Clip], rng: np.random.Generator) -> Iterator[Clip]:
    """All clips in one order, then all in another, without end."""
    while clips:
        for index in rng.permutation(len(clips)).tolist():
            yield clips[index]


def _silence(rng: np.random.Generator) -> Wave:
    """Digital silence, or the hiss of a quiet room."""
    samples = round(rng.uniform(0.25, 0.5) * STRETCH * SAMPLE_RATE)
    hiss = rng.standard_normal(samples).astype(np.float32)
    quiet = rng.random() < DIGITAL
    return np.asarray(hiss * (0 if quiet else _gain(rng.uniform(*HISS_LEVEL))), np.float32)


def _gap(rng: np.random.Generator, least: float, most: float) -> Wave:
    """Nothing, for so many seconds."""
    return np.zeros(round(rng.uniform(least, most) * SAMPLE_RATE), np.float32)


def _at_level(wave: Wave, level: float) -> Wave:
    """A clip with soft ends whose word has the level in dBFS, or less where it would clip."""
    begin, end = speech_span(wave)
    gain = _gain(level) / (_rms(wave[begin:end]) or 1.0)
    loudest = float(np.abs(wave).max()) or 1.0
    return _soft(np.asarray(wave * min(float(gain), PEAK / loudest), np.float32))


def _bounded(wave: Wave) -> Wave:
    return np.asarray(wave * min(1.0, PEAK / (float(np.abs(wave).max()) or 1.0)), np.float32)


def _soft(wave: Wave) -> Wave:
    """Fade both ends, so that laying it in makes no click."""
    out, fade = wave.copy(), min(FADE, len(wave) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    out[:fade] *= ramp
    out[len(out) - fade :] *= ramp[::-1]
    return out


def _rms(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def _gain(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
