"""Names of words and languages, and the two classes that are no words."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from .errors import KwsError

UNKNOWN: Final = "_unknown_"
SILENCE: Final = "_silence_"
NO_KEYWORDS: Final = (UNKNOWN, SILENCE)  # classes beside the keywords; they never fire

STEERING: Final = ("Cc", "Cs", "Zl", "Zp")  # categories: control characters, surrogates, line ends

LONGEST_SUBTAG: Final = 3  # letters that name a language in a tag (BCP 47)
INVISIBLE: Final = "\u200b\u2060\ufeff"  # without width; joiners are letters of some scripts
APOSTROPHES: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u02b9\u02bc\uff07", "'"))
# What turns the order in which letters are written.
TURNING: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def spotted(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels that are words to spot.

    >>> spotted(["ja", UNKNOWN, SILENCE])
    ('ja',)
    """
    return tuple(label for label in labels if label not in NO_KEYWORDS)


def is_closed_set(labels: Iterable[str]) -> bool:
    """Whether there is no class for unknown words or none for silence: a closed task.

    >>> is_closed_set(["ja", UNKNOWN, SILENCE]), is_closed_set(["ja", UNKNOWN])
    (False, True)
    """
    return not {*NO_KEYWORDS} <= {*labels}


def folded(word: str) -> str:
    """A word as it sounds alike in other letters: no capitals, and one apostrophe for all kinds.

    >>> folded("П\u2019ять") == folded("п'ять")
    True
    """
    return word.translate(APOSTROPHES).casefold()


def as_tag(language: str) -> str:
    """A BCP 47 tag without capitals in the language itself, where they mean nothing.

    >>> as_tag("TR"), as_tag("pt-BR"), as_tag("Klingon")
    ('tr', 'pt-BR', 'Klingon')
    """
    first, mark, rest = language.partition("-")
    return first.lower() + mark + rest if len(first) <= LONGEST_SUBTAG else language


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
