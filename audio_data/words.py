"""Words to say, whoever says them."""

from collections.abc import Iterable

from kws.config import NO_KEYWORDS, steers
from kws.errors import UsageError


def refuse_unsayable(words: Iterable[str]) -> None:
    """Raise a UsageError where one of the words cannot be said, or not be a label."""
    for word in words:
        if word in NO_KEYWORDS:
            raise UsageError(f"{word} is a class, not a word; leave it out")
        if steers(word):
            raise UsageError(f"{word!r} has invisible characters; write only its letters")
