"""Read one language of the Multilingual Spoken Words Corpus as it is unpacked."""

from pathlib import Path
from typing import Final

from kws.errors import KwsError, UsageError
from kws.names import composed

from .clips import Clip, Split
from .manifest import Row, check_files, named, read_rows

REQUIRED: Final = ("SET", "LINK", "WORD", "VALID", "SPEAKER")
SETS: Final[dict[str, Split]] = {"TRAIN": "train", "DEV": "validation", "TEST": "test"}
ENDING: Final = "_splits.csv"
LICENCE: Final = "CC-BY-4.0"


def read_mswc(root: Path, language: str | None = None) -> list[Clip]:
    """Read ``clips/<word>/*.opus`` as ``<language>_splits.csv`` lists them.

    Rows marked as invalid are left out, and so are words whose whole folder is absent
    (a part of the corpus is a corpus); any other missing file is an error.

    Args:
        root: the folder of ``clips`` and of the CSV.
        language: which CSV, where there are several.

    Raises:
        UsageError: there are several languages, or not the wanted one.
        KwsError: the CSV lacks a column or a file, has another set, or leaves nothing.

    """
    table = _table(Path(root), language)
    _, rows = read_rows(table, REQUIRED)
    folder = Path(root) / "clips"
    # A copy may spell a name in other characters than the table.
    words = {composed(path.name): path for path in folder.iterdir()} if folder.is_dir() else {}
    used = [
        (number, row)
        for number, row in rows
        if row["VALID"].upper() != "FALSE" and _word(row) in words
    ]
    if not used:
        raise KwsError(f"{folder} holds none of the clips that {table} lists; unpack it again")
    spoken = table.name.removesuffix(ENDING)
    clips = [_clip(row, number, table, spoken, words[_word(row)]) for number, row in used]
    check_files(clips, [number for number, _ in used], table)
    return clips


def _table(root: Path, language: str | None) -> Path:
    tables = {path.name.removesuffix(ENDING): path for path in sorted(root.glob(f"*{ENDING}"))}
    if not tables:
        raise UsageError(f"{root} has no {language or '<language>'}{ENDING}; unpack the splits too")
    there = ", ".join(tables)
    if language is None and len(tables) > 1:
        raise UsageError(f"{root} holds several languages ({there}); choose one with --language")
    language = language or there
    if language not in tables:
        raise UsageError(f"{root} holds {there}, not {language}; choose with --language")
    return tables[language]


def _word(row: Row) -> str:
    """The folder of a row's clip."""
    return composed(row["LINK"].partition("/")[0])


def _clip(row: Row, number: int, table: Path, language: str, folder: Path) -> Clip:
    if row["SET"] not in SETS:
        raise KwsError(
            f"{table} row {number} has SET {row['SET']!r}; allowed are {', '.join(SETS)}"
        )
    return Clip(
        path=folder / row["LINK"].partition("/")[2],
        word=row["WORD"],
        language=language,
        speaker=named(row["SPEAKER"]),
        split=SETS[row["SET"]],
        licence=LICENCE,
    )
