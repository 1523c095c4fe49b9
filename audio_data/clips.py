"""One recording of one word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kws.config import Split as Split
from kws.names import composed

UNTOLD: Final = "und"  # BCP 47, where a corpus does not say the language
SYNTHETIC: Final = "synthetic, eSpeak NG"  # the licence of what no person said
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Half = Literal["validation", "test"]
HALVES: Final[tuple[Half, Half]] = ("validation", "test")  # people not trained on


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A file that holds one word by one person; what every corpus reader yields.

    Words and names are composed (Unicode NFC), so that one written in two ways is one.

    >>> Clip(path=Path("a.wav"), word="cafe\u0301").word == "caf\u00e9"
    True
    """

    path: Path
    word: str
    language: str = UNTOLD  # BCP 47
    speaker: str | None = None  # None where unknown: such clips cannot be split by people
    split: Split | None = None  # None where the corpus gives none
    licence: str | None = None

    def __post_init__(self) -> None:
        """Compose; a frozen dataclass can be written to in no other way."""
        object.__setattr__(self, "word", composed(self.word))
        if self.speaker is not None:
            object.__setattr__(self, "speaker", composed(self.speaker))

    @property
    def is_synthetic(self) -> bool:
        """Whether a synthetic voice says it, and no person."""
        return self.licence == SYNTHETIC
