"""Settings that several rooms must agree on."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from .errors import KwsError

SAMPLE_RATE: Final = 16_000  # Hz, of every waveform inside the project
LONGEST_VIEW: Final = 160_000  # samples
LONGEST_WINDOW: Final = 4_096  # samples
MOST_MELS: Final = 256
LOUDEST: Final = 1e6  # times full scale; powers of what is far beyond are no numbers

SEED_STEP: Final = 1_000_003  # more epochs than any run has, so that no two seeds share one

HEAD: Final = "head"  # a language's classifier, always its own and never a site

Split = Literal["train", "validation", "test"]  # who is learnt from, chosen on, reported on
# Where a person is: in one split, or, where too few others were there, in several with train.
Where = Literal["train", "validation", "test", "several"]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """The log-mel front end: what a network hears.

    A network and its adapters are bound to these settings by :attr:`digest`.

    >>> FeatureConfig().frames
    98
    """

    sample_rate: int = SAMPLE_RATE  # Hz
    view: int = 16_000  # samples of one decision
    window: int = 480  # samples, 30 ms; also the FFT length
    hop: int = 160  # samples, 10 ms
    mels: int = 40  # bands, HTK scale, not normalised
    low: float = 20.0  # Hz
    high: float = 7_600.0  # Hz
    floor: float = 1e-6  # power that counts as silence; features are zero there
    scale: float = 0.25  # brings speech to about unit variance

    def __post_init__(self) -> None:
        """Refuse what no sound could be heard through."""
        sizes = self.sample_rate, self.view, self.window, self.hop, self.mels
        ordered = 1 <= self.hop <= self.window <= self.view
        ends = self.window <= LONGEST_WINDOW and self.view <= LONGEST_VIEW
        bands = 1 <= self.mels <= MOST_MELS
        if not (ordered and ends and bands and self.sample_rate == SAMPLE_RATE):
            raise KwsError(f"sample rate, view, window, hop and bands cannot be {sizes}")
        levels = self.low, self.high, self.floor, self.scale
        if not (0 <= self.low < self.high <= SAMPLE_RATE / 2 and min(levels[2:]) > 0):
            raise KwsError(f"low, high, floor and scale cannot be {levels}")

    @property
    def frames(self) -> int:
        """T, the frames of one view (no padding at either end)."""
        return 1 + (self.view - self.window) // self.hop

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any setting does."""
        levels = {name: float(getattr(self, name)) for name in ("low", "high", "floor", "scale")}
        text = json.dumps(asdict(self) | levels, sort_keys=True)  # 20 and 20.0 are one setting
        return hashlib.sha256(text.encode()).hexdigest()[:16]
