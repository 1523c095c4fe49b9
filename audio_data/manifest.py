"""Read and write manifests: one CSV row per clip."""

import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from kws.errors import KwsError, UsageError
from kws.files import write_text
from kws.names import as_tag, composed

from .clips import SPLITS, UNTOLD, Clip, Split

REQUIRED: Final = ("path", "language", "word", "speaker", "split")
OPTIONAL: Final = ("corpus", "licence")
UNSPLIT: Final = "unsplit"
MANIFEST: Final = "manifest.csv"
FEW: Final = 3  # values that a sentence names
# Values of the speaker column that name nobody, in lower case; spreadsheets and R write some.
NOBODY: Final = ("", "?", "unknown", "na", "n/a", "nan", "none", "null")

Filters = Mapping[str, Collection[str]]
Row = dict[str, str]


def read_manifest(
    path: Path, filters: Filters | None = None, *, partial: bool = False
) -> list[Clip]:
    """Read the rows that ``filters`` select, in the order of the file; what is there twice, once.

    Who has a split in some rows of a language and corpus has it in all of them.

    Args:
        path: a UTF-8 CSV with the columns path (relative to the CSV, or absolute), language,
            word, speaker and split; ``licence`` is kept, ``corpus`` limits to one corpus
            how a split is carried over to other rows, and all columns serve as filters.
        filters: wanted values by column; a row must have one of the values in every column.
        partial: leave out rows without a file, instead of refusing them.

    Raises:
        UsageError: a filter names no column or selects nothing.
        KwsError: the manifest cannot be read, lacks a column or a file, or has a wrong split.

    """
    path = Path(path)
    _, rows = read_rows(path, REQUIRED)
    if not rows:
        raise KwsError(f"{path} has a header but no rows; add at least one clip")
    for _, row in rows:
        row["language"] = row["language"] or UNTOLD
        row["split"] = row["split"] or UNSPLIT
    _complete(row for _, row in rows)
    chosen = select(rows, filters or {}, str(path))
    clips, absent = _as_on_disk([_clip(row, number, path) for number, row in chosen])
    if not partial:
        check_files([clips[at] for at in absent], [chosen[at][0] for at in absent], path)
    left_out = {*absent}
    return [*dict.fromkeys(clip for at, clip in enumerate(clips) if at not in left_out)]


def select(rows: Sequence[tuple[int, Row]], filters: Filters, source: str) -> list[tuple[int, Row]]:
    """Keep the numbered rows that have a wanted value in every filtered column.

    Capitals in a column's name tell it apart only from another of that name.

    Raises:
        UsageError: a filter names a column that no row has, or nothing is left.

    """
    columns = {name for _, row in rows for name in row} - {""}
    wanted: dict[str, list[str]] = {}
    for asked, values in filters.items():
        wanted.setdefault(_column(asked, columns, source), []).extend(values)
    for column, values in wanted.items():
        have = {row[column] for _, row in rows}
        same = as_tag if column == "language" else composed
        alike = {*map(same, values)}
        rows = [(number, row) for number, row in rows if same(row[column]) in alike]
        if not rows:
            wishes = " or ".join(f"{column}={value}" for value in sorted(values))
            raise UsageError(f"{wishes} selects nothing in {source}; there are {few(have, 8)}")
    return list(rows)


def _column(asked: str, columns: Collection[str], source: str) -> str:
    """The column of this name, or the one of it in other capitals."""
    alike = [name for name in columns if name.casefold() == asked.casefold()]
    if asked not in columns and len(alike) != 1:
        there = ", ".join(sorted(columns))
        raise UsageError(f"{source} has no column {asked!r} to filter by; it has {there}")
    return asked if asked in columns else alike[0]


def by_column(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Wanted values by column, as :func:`select` takes them.

    >>> by_column([("word", "ja"), ("word", "nein"), ("language", "de")])
    {'word': ['ja', 'nein'], 'language': ['de']}
    """
    found: dict[str, list[str]] = {}
    for column, value in pairs:
        found.setdefault(column, []).append(value)
    return found


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write ``clips`` so that :func:`read_manifest` returns them; replaces ``path`` at once.

    Paths inside the folder of the manifest are written relative to it, others absolute.

    Raises:
        KwsError: the name of a file is no text.

    """
    folder = Path(os.path.abspath(path)).parent
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*REQUIRED, "licence"])
    writer.writerows(_fields(clip, folder) for clip in clips)
    write_text(Path(path), text.getvalue())


def read_rows(path: Path, required: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, Row]]]:
    """Read a CSV's column names, and its rows with their line numbers in the file.

    Spaces around names and values are none of theirs, nor are capitals in those that are known.
    Where the header has semicolons and no comma, as spreadsheets write it in some languages, these
    separate.

    Raises:
        KwsError: the file is missing, empty, no UTF-8, lacks a required column, has two of one
            name, or a row has too many fields.

    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # with or without BOM
            header = file.readline()
            file.seek(0)
            delimiter = ";" if ";" in header and "," not in header else ","
            reader = csv.DictReader(file, restval="", delimiter=delimiter, strict=True)
            columns = _spelt([name.strip() for name in reader.fieldnames or ()], required)
            reader.fieldnames = columns
            rows = [(reader.line_num, _whole(row, reader.line_num, path)) for row in reader]
    except FileNotFoundError:
        raise KwsError(f"{path} does not exist; give the manifest's CSV file") from None
    except OSError as error:
        raise KwsError(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise KwsError(f"{path} is not a CSV file in UTF-8: {error}") from None
    if not columns:
        raise KwsError(f"{path} is empty; it needs a header with {', '.join(required or REQUIRED)}")
    if missing := [name for name in required if name not in columns]:
        raise KwsError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(columns)}, "
            f"split at {delimiter!r}"
        )
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise KwsError(f"{path} has two columns {twice[0]!r}; delete or rename one of them")
    return columns, rows


def _spelt(columns: Sequence[str], required: Sequence[str]) -> list[str]:
    """Names of columns, with those that are known as these are spelt.

    >>> _spelt(["Path", "word", "Word"], ["path", "word"])
    ['path', 'word', 'Word']
    """
    known = (*required, *OPTIONAL)
    lacking = {name.lower(): name for name in known if name not in columns}
    return [lacking.get(name.lower(), name) for name in columns]


def _complete(rows: Iterable[Row]) -> None:
    """Give people who have a split in some rows of a corpus that split in its others."""
    found: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        if name := named(row["speaker"]):
            who = composed(name), row["language"], row.get("corpus")
            found.setdefault(who, []).append(row)
    for same in found.values():
        if len(given := {row["split"] for row in same} - {UNSPLIT}) == 1:
            (split,) = given
            for row in same:
                row["split"] = split


def _whole(row: dict[str, str], number: int, manifest: Path) -> Row:
    if None in row:  # where csv puts what has no column
        raise KwsError(
            f"{manifest} row {number} has more fields than the header; "
            "quote its commas or semicolons"
        )
    return {name: value.strip() for name, value in row.items()}


def _clip(row: Row, number: int, manifest: Path) -> Clip:
    for column in ("path", "word"):
        if not row[column]:
            raise KwsError(f"{manifest} row {number} has an empty {column}; fill it in")
    return Clip(
        path=manifest.parent / row["path"],
        word=row["word"],
        language=as_tag(row["language"]),
        speaker=named(row["speaker"]),
        split=_split(row["split"], number, manifest),
        licence=row.get("licence") or None,
    )


def named(speaker: str) -> str | None:
    """Who speaks, or None where that is nobody's name; blanks at the ends are none of it.

    >>> named("s01"), named("Ada  L. "), named("NA"), named("")
    ('s01', 'Ada L.', None, None)
    """
    name = " ".join(speaker.split())
    return None if name.lower() in NOBODY else name


def _split(text: str, number: int, manifest: Path) -> Split | None:
    if text == UNSPLIT:
        return None
    if text not in SPLITS:
        allowed = ", ".join([*SPLITS, UNSPLIT])
        raise KwsError(f"{manifest} row {number} has split {text!r}; allowed are {allowed}")
    return text


def check_files(clips: Sequence[Clip], numbers: Sequence[int], manifest: Path) -> None:
    """Raise a KwsError for the first clip without a file."""
    for index in absent_files(clips):
        raise KwsError(
            f"{manifest} row {numbers[index]} names {clips[index].path}, which does not exist; "
            "correct the path or remove the row"
        )


def _as_on_disk(clips: Sequence[Clip]) -> tuple[list[Clip], list[int]]:
    """Clips with their files' names as these are, and the positions of those without a file.

    macOS takes letters and their marks apart (й), and archives made there keep them so.
    """

    @cache
    def names(folder: Path) -> dict[str, str]:
        listed = os.listdir(folder) if os.path.isdir(folder) else []
        return {composed(name): name for name in listed}

    @cache
    def there(path: Path) -> Path:
        if path == path.parent or os.path.exists(path):
            return path
        folder = there(path.parent)
        return folder / names(folder).get(composed(path.name), path.name)

    found, absent = [*clips], []
    for index in absent_files(clips):
        path = there(clips[index].path)
        found[index] = replace(clips[index], path=path)
        if not os.path.exists(path):
            absent.append(index)
    return found, absent


def absent_files(clips: Sequence[Clip]) -> Iterator[int]:
    """Positions of clips without a file; each folder is listed only once."""
    listed: dict[Path, set[str]] = {}
    for index, clip in enumerate(clips):
        folder = clip.path.parent
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        # The second look is for file systems that take other spellings of a name; unlike a
        # path's own methods it bears names of any length.
        if clip.path.name not in listed[folder] and not os.path.exists(clip.path):
            yield index


def _fields(clip: Clip, folder: Path) -> list[str]:
    path = Path(os.path.abspath(clip.path))
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes that are no text
        raise KwsError(
            f"{str(path)!r} cannot be written into a manifest; rename it in letters alone"
        ) from None
    written = path.relative_to(folder) if path.is_relative_to(folder) else path
    return [
        written.as_posix(),
        clip.language,
        clip.word,
        clip.speaker or "",
        clip.split or UNSPLIT,
        clip.licence or "",
    ]


def few(values: Collection[str], count: int = FEW) -> str:
    """Show the first of some values, sorted.

    >>> few({"b", "a", "c"}, 2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(value) for value in sorted(values)[:count])
    return shown if len(values) <= count else f"{shown} and {len(values) - count} more"
