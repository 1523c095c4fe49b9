"""One recording of one word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A file that holds one word by one person; what every corpus reader yields."""

    path: Path
    word: str
    language: str = "und"  # BCP 47; "und" where the corpus does not say
    speaker: str | None = None  # None where unknown: such clips cannot be split by people
    split: Split | None = None  # None where the corpus gives none
    licence: str | None = None
