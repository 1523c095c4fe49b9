"""From a stream of samples to detections, in any language of a bank."""

from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .config import SAMPLE_RATE, FeatureConfig
from .detector import Detection, Detector, DetectorConfig
from .errors import KwsError

VIEW: Final = FeatureConfig.view  # samples a decision looks at
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
    def labels(self) -> tuple[str, ...]:
        """The classes of the active language."""
        ...

    def set_adapter(self, language: str) -> None:
        """Activate a language; a KwsError names the known ones where it is not among them."""
        ...

    def scores(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveform ``[T]`` of one view to probabilities ``[K]``."""
        ...

    def detector_config(self, language: str) -> DetectorConfig:
        """Return the thresholds that belong to a language."""
        ...


class Engine:
    """Cuts a stream into views, scores each, and reports what the detector makes of it.

    A decision falls on every multiple of the hop, counted in samples since the start, however
    the stream is cut into blocks. It sees the last second; before the stream there was silence.
    Memory does not grow with the stream.

    Attributes:
        language: the active one; ``languages`` are all.
        scores: ``[K]`` of the active language, averaged as the detector sees them.
        level: dBFS of the last hop, at least -100.
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
        hop_seconds: float = 0.08,
        tail_seconds: float = 0.72,
        threshold: float | None = None,
    ) -> None:
        if not 1 <= hop_seconds * SAMPLE_RATE <= VIEW:
            raise KwsError(f"the hop must lie between one sample and one view, not {hop_seconds} s")
        self.hop = round(hop_seconds * SAMPLE_RATE)  # samples
        self._tail = round(tail_seconds * SAMPLE_RATE)  # samples
        self._spotter = spotter
        self._threshold = threshold
        self._audio = np.zeros(VIEW + self.hop, np.float32)  # one view, then the hop being filled
        self.language = spotter.active_adapter
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
    def seconds(self) -> float:
        """Audio fed so far."""
        return self._fed / SAMPLE_RATE

    def reset(self) -> None:
        """Begin another stream, in the same language."""
        self._audio[:] = 0
        self._filled = 0  # samples of the hop being filled
        self._fed = 0  # samples
        self.decisions = 0
        self.non_finite = 0
        self.level = QUIETEST
        self._detector.reset()

    def set_language(self, language: str) -> None:
        """Listen in another language from the next decision on; no sample is lost.

        The language that is active already stays as it is.

        Raises:
            KwsError: the language is not loaded.

        """
        if language != self.language:
            self._spotter.set_adapter(language)
            self.language = language
            self._detector = self._new_detector()

    def feed(self, samples: NDArray[np.float32]) -> list[Detection]:
        """Take any number of samples ``[T]``, mono at 16 kHz; return what they complete."""
        samples = np.asarray(samples)
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise KwsError(
                f"samples must be mono and floating-point, "
                f"not {samples.dtype} of shape {samples.shape}"
            )
        with np.errstate(over="ignore"):  # beyond float32 is infinite, counted below
            samples = samples.astype(np.float32, copy=False)
        finite = np.isfinite(samples)
        self.non_finite += len(samples) - int(finite.sum())
        self._fed += len(samples)
        return self._advance(np.where(finite, samples, np.float32(0)))

    def flush(self) -> list[Detection]:
        """End the stream: a little silence lets the last word pass the middle of a view.

        No detection is later than the audio that was fed. Call :meth:`reset` before another
        stream.
        """
        found = self._advance(np.zeros(self._tail, np.float32))
        return [replace(event, time=min(event.time, self.seconds)) for event in found]

    def _advance(self, samples: NDArray[np.float32]) -> list[Detection]:
        found: list[Detection] = []
        while len(samples):
            piece = samples[: self.hop - self._filled]
            samples = samples[len(piece) :]
            start = VIEW + self._filled
            self._audio[start : start + len(piece)] = piece
            self._filled += len(piece)
            if self._filled == self.hop:
                found += self._decide()
        return found

    def _decide(self) -> list[Detection]:
        self._audio[:VIEW] = self._audio[self.hop :]
        self._filled = 0
        self.decisions += 1
        view = self._audio[:VIEW].copy()  # the spotter's to keep
        self.level = _dbfs(view[-self.hop :])
        time = self.decisions * self.hop / SAMPLE_RATE
        event = self._detector.step(self._spotter.scores(view), time)
        return [event] if event else []

    def _new_detector(self) -> Detector:
        config = self._spotter.detector_config(self.language)
        if self._threshold is not None:
            config = config.at(self._threshold)
        return Detector(self._spotter.labels, self.language, config)


def _dbfs(samples: NDArray[np.float32]) -> float:
    """Level of ``[T]`` relative to a full-scale square wave, in dB."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(QUIETEST, 10 * float(np.log10(max(power, 1e-30))))
