"""From a stream of samples to detections, in any language of a bank."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import LONGEST_VIEW, LOUDEST, SAMPLE_RATE
from .detector import Detection, Detector, DetectorConfig
from .errors import KwsError

HOP: Final = 0.08  # seconds between two decisions
TAIL: Final = 0.72  # seconds of silence that end a stream: the last word passes mid-view
LONGEST_TAIL: Final = 60.0  # seconds
QUIETEST: Final = -100.0  # dBFS, the level of digital silence


class Spotter(Protocol):
    """What the engine needs of a bank: scores for one view, in the language that is active."""

    @property
    def languages(self) -> tuple[str, ...]:
        """All loaded languages, the base's own first."""
        ...

    @property
    def active_adapter(self) -> str:
        """The language that is active."""
        ...

    @property
    def active(self) -> object:
        """What that language is heard by: while nothing else is, the same object."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the active language."""
        ...

    def set_adapter(self, language: str) -> None:
        """Activate a language; a KwsError names the known ones where it is not among them."""
        ...

    def scores(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveform ``[T]`` of one view to probabilities ``[K]``."""
        ...

    def hop_scorer(self, hop: int) -> "HopScorer":
        """Return what hears one stream, and decides every ``hop`` samples."""
        ...

    def detector_config(self, language: str) -> DetectorConfig:
        """Return the thresholds that belong to a language."""
        ...


class HopScorer(Protocol):
    """One stream's way to decisions; remembers what it must, and follows the active language."""

    view: int  # samples within which a word is said

    def reset(self) -> None:
        """Begin another stream, after silence."""
        ...

    def hear(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next hop ``[T]``; return the probabilities ``[K]`` at its end."""
        ...


class WindowScorer:
    """A scorer for any spotter: shows it its last ``view`` samples at every decision."""

    def __init__(self, spotter: Spotter, view: int) -> None:
        self._spotter, self.view = spotter, view
        self._audio = np.zeros(view, np.float32)

    def reset(self) -> None:
        """Begin another stream, after silence."""
        self._audio[:] = 0

    def hear(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next hop; the spotter may keep the view it is given."""
        self._audio = np.concatenate((self._audio, samples))[-self.view :]
        return self._spotter.scores(self._audio.copy())


class HopBuffer:
    """Cuts a stream that comes in blocks of any length into hops, and gives each to a scorer.

    A decision falls on every multiple of the hop, counted in samples since the start; before the
    stream there was silence. Samples that are NaN or infinite count as silence.

    Attributes:
        hop: samples between two decisions.
        view: samples within which a word is said.
        last: ``[hop]``, the samples of the last whole hop.
        non_finite: samples so far that were NaN or infinite.

    Raises:
        KwsError: the hop is shorter than a sample or longer than a view, or the spotter cannot
            decide at it.

    """

    def __init__(self, spotter: Spotter, hop_seconds: float = HOP) -> None:
        refusal = f"the hop must lie between one sample and one view, not {hop_seconds} s"
        if not 1 <= hop_seconds * SAMPLE_RATE <= LONGEST_VIEW:
            raise KwsError(refusal)
        self.hop = round(hop_seconds * SAMPLE_RATE)
        self._scorer = spotter.hop_scorer(self.hop)
        self.view = self._scorer.view
        if self.hop > self.view:
            raise KwsError(refusal)
        self._audio = np.zeros(self.hop, np.float32)  # the hop being filled
        self.last = np.zeros(self.hop, np.float32)
        self.reset()

    def reset(self) -> None:
        """Begin another stream."""
        self._scorer.reset()
        self.last[:] = 0
        self._filled = 0  # samples of the hop being filled
        self.non_finite = 0

    def feed(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Take samples ``[T]``, mono at 16 kHz, while yielding ``[K]`` of each hop they fill."""
        samples, odd = clean_samples(samples)
        self.non_finite += odd
        taken, total = 0, len(samples)
        while (end := taken + self.hop - self._filled) <= total:
            self._audio[self._filled :] = samples[taken:end]
            self._audio, self.last = self.last, self._audio
            self._filled, taken = 0, end
            yield self._scorer.hear(self.last)
        if taken < total:
            filled = self._filled + total - taken
            self._audio[self._filled : filled] = samples[taken:]
            self._filled = filled


def clean_samples(samples: ArrayLike) -> tuple[NDArray[np.float32], int]:
    """Check samples ``[T]``, set NaN and infinity to 0, and clip the rest to ±``LOUDEST``.

    Returns:
        The samples as float32, and how many of them were NaN or infinite.

    Raises:
        KwsError: they are not one-dimensional, or not floating-point.

    >>> clean_samples([0.5, float("nan"), 1e30])
    (array([5.e-01, 0.e+00, 1.e+06], dtype=float32), 1)

    """
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise KwsError(
            "samples must be mono and floating-point, from -1 to 1 at full scale, not "
            f"{array.dtype} of shape {array.shape}; divide 16-bit ones by 32768"
        )
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, counted below
            array = array.astype(np.float32)
    if np.vdot(array, array) <= LOUDEST**2:  # so none is louder, nor no number; it never warns
        return array, 0
    finite = np.isfinite(array)
    loud = np.clip(np.where(finite, array, 0), -LOUDEST, LOUDEST)
    return loud.astype(np.float32), len(array) - int(finite.sum())


class Engine:
    """Hears a stream, hop by hop, and reports what the detector makes of it.

    What a decision depends on is the scorer's: a view, or what a causal network remembers. Memory
    does not grow with the stream. Several engines may share a bank: each hears its own language,
    which :meth:`set_language` alone changes, whatever the bank is set to meanwhile. A bank and its
    engines belong to one thread; another thread needs a bank of its own.

    Attributes:
        language: the active one; ``languages`` are all.
        scores: ``[K]`` of the active language, averaged as the detector sees them.
        decisions: taken so far.
        seconds: of audio fed so far.
        non_finite: samples that were NaN or infinite, heard as silence.

    Args:
        spotter: a bank.
        hop_seconds: between two decisions.
        tail_seconds: of silence that :meth:`flush` appends.
        threshold: instead of that of every language.

    """

    def __init__(
        self,
        spotter: Spotter,
        *,
        hop_seconds: float = HOP,
        tail_seconds: float = TAIL,
        threshold: float | None = None,
    ) -> None:
        if not 0 <= tail_seconds <= LONGEST_TAIL:
            raise KwsError(f"the tail must be 0 to {LONGEST_TAIL:g} seconds, not {tail_seconds}")
        self._buffer = HopBuffer(spotter, hop_seconds)
        self.hop = self._buffer.hop  # samples
        self._tail = round(tail_seconds * SAMPLE_RATE)  # samples
        self._spotter = spotter
        self._threshold = threshold
        self.language, self._heard = spotter.active_adapter, spotter.active
        self._detector = self._new_detector()
        self.reset()

    @property
    def languages(self) -> tuple[str, ...]:
        """All loaded languages, the base's own first."""
        return self._spotter.languages

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the active language, as ``scores`` has them."""
        return self._detector.labels

    @property
    def scores(self) -> NDArray[np.float32]:
        """``[K]``, zeros until the first decision in this language."""
        return self._detector.smoothed

    @property
    def level(self) -> float:
        """DBFS of the last hop, at least -100."""
        return _dbfs(self._buffer.last)

    @property
    def seconds(self) -> float:
        """Audio fed so far."""
        return self._fed / SAMPLE_RATE

    @property
    def non_finite(self) -> int:
        """Samples so far that were NaN or infinite."""
        return self._buffer.non_finite

    def reset(self) -> None:
        """Begin another stream, in the same language."""
        self._buffer.reset()
        self._fed = 0  # samples
        self.decisions = 0
        self._left: dict[str, tuple[Detector, int]] = {}  # by language, and after which decision
        self._detector.reset()

    def set_language(self, language: str) -> None:
        """Listen in another language from the next decision on; no sample is lost.

        The sound of the last view is kept, so a word that is being said can be detected in the new
        language. If that language was active within the last view, what was reported then is not
        reported again. Given the active language, this takes up an adapter that was loaded under
        its name meanwhile.

        Raises:
            KwsError: the language is not loaded.

        """
        self._switch(language)
        if language != self.language:
            self._left[self.language] = self._detector, self.decisions
            self.language = language
            self._detector = self._new_detector()
            if left := self._left.get(language):
                before, decisions = left
                if (self.decisions - decisions) * self.hop < self._buffer.view:  # it is heard again
                    self._detector.keep_silent(before)
        else:
            self._renew_detector()

    def feed(self, samples: NDArray[np.float32]) -> list[Detection]:
        """Take any number of samples ``[T]``, mono at 16 kHz; return what they complete.

        Full scale is from -1 to 1.

        Raises:
            UsageError: the engine's language was deleted from the bank; call :meth:`set_language`.
            KwsError: they are not mono, or no floating-point numbers.

        """
        self._follow()
        found = self._detect(self._buffer.feed(samples))
        self._fed += len(samples)
        return found

    def flush(self) -> list[Detection]:
        """End the stream: a little silence lets the last word pass the middle of a view.

        No detection is later than the audio that was fed. Call :meth:`reset` before another
        stream.

        Raises:
            UsageError: the engine's language was deleted from the bank; call :meth:`set_language`.

        """
        return self._end(self._tail)

    def _end(self, samples: int) -> list[Detection]:
        """Take so many samples of silence, whose decisions count as the end's."""
        self._follow()
        found = self._detect(self._buffer.feed(np.zeros(samples, np.float32)))
        return [replace(event, time=min(event.time, self.seconds)) for event in found]

    def _follow(self) -> None:
        """Take the bank back to this language where something else is heard, be it by its name.

        Another adapter may have taken the place of the one that was heard.
        """
        if self._spotter.active is not self._heard:
            self._switch(self.language)
        self._renew_detector()

    def _switch(self, language: str) -> None:
        self._spotter.set_adapter(language)
        self._heard = self._spotter.active

    def _detect(self, decisions: Iterable[NDArray[np.float32]]) -> list[Detection]:
        found: list[Detection] = []
        for scores in decisions:
            self.decisions += 1
            event = self._detector.step(scores, self.decisions * self.hop / SAMPLE_RATE)
            if event:
                found.append(event)
        return found

    def _renew_detector(self) -> None:
        """Make another if the bank has other labels or settings than this one was made for."""
        if self._stored() != self._made_of:
            before, self._detector = self._detector, self._new_detector()
            self._detector.keep_silent(before)

    def _stored(self) -> tuple[tuple[str, ...], DetectorConfig]:
        """What the bank has for the detector, in this language."""
        return self._spotter.labels, self._spotter.detector_config(self.language)

    def _new_detector(self) -> Detector:
        self._made_of = self._stored()
        labels, config = self._made_of
        return Detector(labels, self.language, self._adjusted(config))

    def _adjusted(self, stored: DetectorConfig) -> DetectorConfig:
        """What the bank has, with the engine's own threshold if it was given one."""
        return stored if self._threshold is None else stored.at(self._threshold)


def _dbfs(samples: NDArray[np.float32]) -> float:
    """Level of ``[T]`` relative to a full-scale square wave, in dB."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(QUIETEST, 10 * float(np.log10(max(power, 1e-30))))
