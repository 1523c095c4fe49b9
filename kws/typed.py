"""What JSON held, checked against the annotations of a dataclass."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from .errors import KwsError

UNIONS: Final = (UnionType, Union)
LARGEST: Final = sys.float_info.max  # of numbers; JSON knows larger integers


def checked(kind: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """A dataclass's fields from JSON, lists as the tuples that it has, and whole numbers as floats.

    What is missing, the class itself refuses.

    Raises:
        TypeError: it is no object, a name is unknown, or a value is of another type than its field.

    """
    if not isinstance(raw, Mapping):
        raise TypeError(f"{kind.__name__} must be an object, not {raw!r:.40}")
    types = get_type_hints(kind)
    for name, value in raw.items():
        if name not in types:
            raise TypeError(f"there is no '{name}' in {kind.__name__}, but {', '.join(types)}")
        wanted = types[name]
        if not fits(value, wanted):
            raise TypeError(f"{name} must be {called(wanted)}, not {value!r:.40}")
    return {name: _as(types[name], value) for name, value in raw.items()}


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Name the file whose configuration does not fit.

    Raises:
        KwsError: in place of a TypeError, a KeyError or another KwsError.

    """
    try:
        yield
    except (TypeError, KeyError, KwsError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise KwsError(f"{path} is no {what}'s configuration ({reason})") from error


def refuse_format(found: Any, known: int, what: str) -> None:
    """Raise a KwsError where a file is of another format than the one that is known.

    >>> refuse_format(2, 1, "de holds an adapter")
    Traceback (most recent call last):
    kws.errors.KwsError: de holds an adapter of format 2, not 1; update kws
    """
    if found != known:
        newer = isinstance(found, int) and found > known
        what_to_do = "update kws" if newer else "make it again with this version"
        raise KwsError(f"{what} of format {found}, not {known}; {what_to_do}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as JSON knows types: whole numbers are numbers too.

    >>> fits(3, float), fits(True, int), fits(["a", 1], tuple[str, ...]), fits(None, str | None)
    (True, False, False, True)
    >>> fits(4, Literal[8, 4]), fits(4.0, Literal[8, 4])
    (True, False)
    >>> fits(10**400, float), fits(float("nan"), float)
    (False, False)
    >>> fits({"a": "x"}, dict[str, Literal["x"]]), fits({"a": 1}, dict[str, Literal["x"]])
    (True, False)
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in UNIONS:
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if origin is dict and get_origin(inner[1]) is Literal:
        return isinstance(value, dict) and all(fits(item, inner[1]) for item in value.values())
    if origin is not None:
        return isinstance(value, Mapping)
    if kind in (int, float):
        number = isinstance(value, int | kind) and not isinstance(value, bool)
        return number and abs(value) <= LARGEST  # no infinity, no NaN
    return isinstance(value, kind)


def called(kind: Any) -> str:
    """A type for people.

    >>> called(tuple[str, ...] | None), called(Literal[8, 4])
    ('a list of str or None', '8 or 4')
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in UNIONS:
        return " or ".join(map(called, inner))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"a list of {called(inner[0])}"
    return "None" if kind is type(None) else getattr(origin or kind, "__name__", str(kind))


def _as(kind: Any, value: Any) -> Any:
    """A value that fits, as a field of this type has it."""
    if isinstance(value, list) and _is_tuple(kind):
        return tuple(value)
    return float(value) if kind is float else value


def _is_tuple(kind: Any) -> bool:
    """Or one of several, one of which is."""
    return tuple in (get_origin(kind), *map(get_origin, get_args(kind)))
