"""Settings that several rooms must agree on."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

from .errors import KwsError

SAMPLE_RATE: Final = 16_000  # Hz, of every waveform inside the project
LONGEST_VIEW: Final = 160_000  # samples
LONGEST_WINDOW: Final = 4_096  # samples
MOST_MELS: Final = 256
LOUDEST: Final = 1e6  # times full scale; powers of what is far beyond are no numbers

HEAD: Final = "head"  # a language's classifier, always its own and never a site

UNKNOWN: Final = "_unknown_"
SILENCE: Final = "_silence_"
NO_KEYWORDS: Final = (UNKNOWN, SILENCE)  # classes beside the keywords; they never fire

STEERING: Final = ("Cc", "Cs", "Zl", "Zp")  # categories: control characters, surrogates, line ends

INVISIBLE: Final = "\u200b\u2060\ufeff"  # without width; joiners are letters of some scripts
# What turns the order in which letters are written.
TURNING: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

Split = Literal["train", "validation", "test"]  # who is learnt from, chosen on, reported on
# Where a person is: in one split, or, where too few others were there, in several with train.
Where = Literal["train", "validation", "test", "several"]


def spotted(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels that are words to spot.

    >>> spotted(["ja", UNKNOWN, SILENCE])
    ('ja',)
    """
    return tuple(label for label in labels if label not in NO_KEYWORDS)


def composed(text: str) -> str:
    """Text as one sequence of characters where there are several (Unicode NFC)."""
    return unicodedata.normalize("NFC", text)


def steers(text: str) -> bool:
    r"""Whether a text holds what no word has, and what may steer a terminal or end its line.

    >>> steers("नहीं\u200d"), steers("go\n"), steers("\x1b[2J"), steers("\u202ego")
    (False, True, True, True)
    """
    odd = INVISIBLE + TURNING
    return any(unicodedata.category(letter) in STEERING or letter in odd for letter in text)


def check_shown(*texts: str) -> None:
    """Refuse texts that are shown to people, and hold what steers a terminal.

    Raises:
        KwsError: one does.

    """
    for text in texts:
        if steers(text):
            raise KwsError(f"{text!r} holds what cannot be shown")


def check_names(language: str, labels: Sequence[str]) -> None:
    """Refuse names that people cannot read in one line, or tell apart.

    Raises:
        KwsError: there is no label, one is there twice, or a name is empty or steers a terminal.

    """
    if not labels:
        raise KwsError("there is no label; a network tells one word from others at least")
    if odd := [name for name in (language, *labels) if not name.strip() or steers(name)]:
        raise KwsError(f"{odd[0]!r} is no name of a word or language; write letters alone")
    spelt = [composed(label) for label in labels]
    if len(set(spelt)) < len(spelt):
        twice = next(label for label in spelt if spelt.count(label) > 1)
        raise KwsError(f"the label {twice} is there twice")


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
