"""Words to say, whoever says them."""

from collections.abc import Iterable

from kws.config import SILENCE, UNKNOWN, steers
from kws.errors import UsageError


def refuse_unsayable(words: Iterable[str]) -> None:
    """Raise a UsageError where one of the words cannot be said, or not be a label."""
    for word in words:
        if word in (UNKNOWN, SILENCE):
            raise UsageError(f"{word} is no word to say; it is there anyway")
        if steers(word):
            raise UsageError(f"{word!r} holds what cannot be seen; write its letters alone")
