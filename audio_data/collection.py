"""A folder of recordings that grows clip by clip: ``<word>/<speaker>_<number>`` and a manifest."""

import csv
import hashlib
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from kws.errors import KwsError, UsageError
from kws.files import make_private, plain_name, write_bytes, write_text
from kws.names import as_tag, composed, steers

from .encode import encode
from .files import audio_files
from .folder import word_folders
from .manifest import MANIFEST, REQUIRED, UNSPLIT, Row, named, read_rows

Format = Literal["flac", "wav"]
LETTERS: Final = 40  # of a word, in a name
RESERVED: Final = ("noise", "clips")  # folders that other readers know


class Collection:
    """What one person says in one language, kept beside what others have said.

    The manifest is replaced after each clip, so a program that is killed loses none. It names
    no split: who trains and who tests is decided when the recordings are used, by people.

    Args:
        folder: that holds, or will hold, ``manifest.csv``.
        language: BCP 47.
        speaker: a name of the person's own, a pseudonym will do.
        file_format: of the files that are added; what is there may be in another.

    Raises:
        UsageError: language or speaker is empty, the speaker is there in other capitals, or
            recordings lie there that no manifest lists.
        KwsError: there is a manifest that cannot be read, or lacks a column.

    """

    def __init__(
        self, folder: Path, language: str, speaker: str, file_format: Format = "flac"
    ) -> None:
        self.folder = folder
        self.language, self.speaker = as_tag(composed(language.strip())), _who(speaker)
        self._format = file_format
        if not self.language:
            raise UsageError("--language must be a BCP 47 tag, for example de")
        if not self.speaker or steers(speaker.strip()):
            raise UsageError("--speaker must name the person, for example s01")
        if not self.manifest.exists() and (unlisted := _recordings(folder)):
            raise UsageError(
                f"{folder} holds recordings that no manifest lists, such as {unlisted[0]}; the "
                "manifest written here would hide them: choose another --out"
            )
        self._mine: list[str] = []  # paths added here, as the manifest has them
        self._refuse_other_spelling()

    @property
    def manifest(self) -> Path:
        """The CSV file."""
        return self.folder / MANIFEST

    def counts(self) -> Counter[str]:
        """How many clips of each word this person has."""
        rows = (row for row in self._read()[1] if self._is_mine(row))
        there = (row for row in rows if (self.folder / row["path"]).exists())
        return Counter(composed(row["word"]) for row in there)

    def add(self, word: str, wave: NDArray[np.float32]) -> Path:
        """Keep a clip ``[T]``, mono at 16 kHz: first the file, then its row."""
        data = encode(wave, self._format)
        with _alone(self.folder):  # others may record too, even under the same name
            if not self.manifest.exists():
                self._write(REQUIRED, [])  # so that what is recorded here is never without one
            path = self._free(word)
            write_bytes(path, data)
            name = path.relative_to(self.folder).as_posix()
            row = {
                "path": name,
                "language": self.language,
                "word": word,
                "speaker": self.speaker,
                "split": UNSPLIT,
            }
            columns, rows = self._read()
            left = [other for other in rows if other["path"] != name]  # whose file was deleted
            self._write(columns, [*left, row])
        self._mine.append(name)
        return path

    def undo(self) -> str | None:
        """Remove the clip that was added last, and return its word; None if there is none."""
        if not self._mine:
            return None
        name = self._mine[-1]
        with _alone(self.folder):
            columns, rows = self._read()
            word = next((row["word"] for row in rows if row["path"] == name), None)
            self._write(columns, [row for row in rows if row["path"] != name])
        self._mine.pop()
        with suppress(OSError):  # the row is gone; a file that stays is in nobody's way
            (self.folder / name).unlink()
        return word

    def _refuse_other_spelling(self) -> None:
        """Raise a UsageError where somebody there has the same name but for capitals."""
        there = {_who(row["speaker"]) for row in self._read()[1]}
        folded = self.speaker.casefold()
        alike = sorted(name for name in there if name.casefold() == folded)
        if alike and self.speaker not in there:
            raise UsageError(
                f"{self.manifest} has a speaker {alike[0]!r}; write --speaker so, or choose "
                "another name"
            )

    def _is_mine(self, row: Row) -> bool:
        who = as_tag(composed(row["language"].strip())), _who(row["speaker"])
        return who == (self.language, self.speaker)

    def _free(self, word: str) -> Path:
        """A file that does not exist yet."""
        folder = self.folder / safe(word)
        number = 1
        while (path := folder / f"{safe(self.speaker)}_{number:03}.{self._format}").exists():
            number += 1
        return path

    def _read(self) -> tuple[list[str], list[Row]]:
        """Columns and rows, as they are on the disk now."""
        if not self.manifest.exists():
            return list(REQUIRED), []
        try:
            columns, numbered = read_rows(self.manifest, REQUIRED)
        except KwsError as error:
            raise KwsError(f"{error}; or choose another --out") from error
        if columns.count("") > 1:
            raise KwsError(f"{self.manifest} has columns without a name; name or delete them")
        return columns, [row for _, row in numbered]

    def _write(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.manifest, text.getvalue())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep out others that change a folder too, where the system can: not on Windows.

    The folder is made where it is missing.
    """
    try:
        make_private(folder)
    except OSError as error:
        raise KwsError(
            f"cannot write in {folder} ({error.strerror}); choose another --out"
        ) from error
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that has no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # and opens it to others


def _who(speaker: str) -> str:
    """A speaker as the reader of manifests has it; nothing where that is nobody's name."""
    return named(composed(speaker)) or ""


def _recordings(folder: Path) -> list[Path]:
    """Those of a plain folder of words."""
    words = word_folders(folder) if folder.is_dir() else []
    return [path for word in words for path in audio_files(word)]


def remaining(words: Sequence[str], repeats: int, have: Counter[str]) -> list[str]:
    """What is still to be said: every word once, then every word again, and so on.

    >>> remaining(["ja", "nein"], 2, Counter({"ja": 1}))
    ['nein', 'ja', 'nein']
    """
    return [word for turn in range(repeats) for word in words if have[word] <= turn]


def safe(name: str) -> str:
    """Name a file or folder after a word, in its own script, wherever it lies.

    >>> safe("ja"), safe("你好"), safe("../x"), safe("noise")
    ('ja', '你好', 'x-d6b96a97', 'noise-efe2a5c0')
    """
    name = unicodedata.normalize("NFC", name)
    letters = plain_name(name[:LETTERS], "'_").strip("-_")
    if letters == name and letters.casefold() not in RESERVED:
        return letters
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{letters or 'word'}-{digest}"
