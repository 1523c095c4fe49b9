"""Read recordings in whichever of the known forms they come."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from kws.errors import KwsError, UsageError
from kws.names import UNKNOWN, composed

from .clips import UNTOLD, Clip
from .files import audio_files, is_recording, is_unread
from .folder import read_folder, word_folders
from .manifest import MANIFEST, UNSPLIT, Filters, Row, read_manifest, read_rows, select
from .mswc import ENDING, read_mswc
from .speech_commands import LISTS, read_speech_commands


def read_corpus(
    path: Path,
    filters: Filters | None = None,
    language: str | None = None,
    speaker_pattern: str | None = None,
    *,
    partial: bool = False,
) -> list[Clip]:
    """Read a manifest, Speech Commands, Multilingual Spoken Words, or a folder of words.

    Args:
        path: a CSV file, or a folder; what it holds says which reader is right.
        filters: wanted values by column of the manifest, else by word, language, speaker, split.
        language: BCP 47, for what does not say; which one, for a folder of several.
        speaker_pattern: how a plain folder's file names say who speaks, see :func:`read_folder`.
        partial: leave out what a manifest names and is not there, instead of refusing it.

    Raises:
        UsageError: a filter selects nothing, or an argument does not suit this corpus.
        KwsError: nothing readable is there.

    """
    path = Path(path)
    is_folder = os.path.isdir(path)  # unlike a path's own method it bears names of any length
    if manifest := find_manifest(path):
        _refuse(manifest, speaker_pattern=speaker_pattern)
        found = read_manifest(manifest, filters, partial=partial)
        if language and (partial or any(clip.language == UNTOLD for clip in found)):
            return [replace(c, language=language) if c.language == UNTOLD else c for c in found]
        _refuse(manifest, language=language)
        return found
    if not is_folder:
        what = "is neither a folder nor a .csv file" if os.path.exists(path) else "does not exist"
        raise KwsError(f"{path} {what}; give a manifest or a folder of recordings")
    clips = _read_folder(path, language, speaker_pattern)
    rows = [(index, _row(clip)) for index, clip in enumerate(clips)]
    return [clips[index] for index, _ in select(rows, filters or {}, str(path))]


def read_others(
    clips: Sequence[Clip],
    path: Path,
    filters: Filters | None = None,
    language: str | None = None,
    speaker_pattern: str | None = None,
    others: Path | None = None,
) -> list[Clip]:
    """Read what is recorded of other words than ``clips``, in whichever language.

    It is what ``filters`` leave out of the corpus at ``path``, and the corpus ``others``, as far as
    it is there; each file once. The pattern finds speakers there too, where it matches.

    Raises:
        UsageError: of the corpus ``others`` no recording is there.
        KwsError: a corpus cannot be read.

    """
    found = []
    if filters:
        found += read_corpus(path, None, language, speaker_pattern, partial=True)
    if others:
        beside = _of_others(others, speaker_pattern)
        if not beside:
            raise UsageError(f"no recording that {others} names exists; check its paths")
        found += beside
    chosen = {(clip.language, clip.word) for clip in clips if clip.word != UNKNOWN}
    left = [clip for clip in found if (clip.language, clip.word) not in chosen]
    taken, free = {*_places(clips)}, []
    for place, clip in zip(_places(left), left, strict=True):
        if place not in taken:
            taken.add(place)
            free.append(clip)
    return free


def _of_others(path: Path, speaker_pattern: str | None) -> list[Clip]:
    if speaker_pattern is not None:
        with suppress(UsageError):  # it says by itself who speaks, or names its files otherwise
            return read_corpus(path, None, None, speaker_pattern, partial=True)
    return read_corpus(path, partial=True)


def _places(clips: Iterable[Clip]) -> list[str]:
    """Where files are, however their paths are spelt."""
    folder = cache(os.path.realpath)  # of few folders; of every file it would take seconds
    return [
        os.path.realpath(path)
        if os.path.islink(path)
        else os.path.join(folder(path.parent), path.name)
        for path in (clip.path for clip in clips)
    ]


def unlisted(path: Path) -> list[Path]:
    """Recordings in a folder's word folders, and beside those listed, that its manifest leaves out.

    Those in formats that are not read are among them, unless a converted one is there. Empty for
    a manifest that is given itself, and for a folder without one.
    """
    manifest = find_manifest(path)
    if manifest is None or manifest == path:
        return []
    real = cache(os.path.realpath)  # of few folders
    named = (row["path"] for _, row in read_rows(manifest, ["path"])[1])
    listed = [path / name for name in named if name and "\0" not in name]
    names = {composed(os.path.join(real(file.parent), file.name)) for file in listed}
    root = Path(real(path))
    beside = [*_looked_at(root, word_folders), *(file.parent for file in listed)]
    folders = {Path(real(folder)) for folder in beside}
    inside = [folder for folder in folders if folder.is_relative_to(root)]
    there = [file for folder in inside for file in _looked_at(folder, Path.iterdir)]
    readable = (composed(str(file)) for file in there if is_recording(file))
    converted = {os.path.splitext(name)[0] for name in (*names, *readable)}
    left = (
        file
        for file in there
        if (is_recording(file) and composed(str(file)) not in names)
        or (is_unread(file) and composed(str(file.with_suffix(""))) not in converted)
    )
    return sorted(path / file.relative_to(root) for file in left)


def empty_words(path: Path) -> list[Path]:
    """The word folders of a plain folder that hold no recording, which no reader tells of."""
    if find_manifest(path) or _is_mswc(path):
        return []
    return [folder for folder in _looked_at(path, word_folders) if not audio_files(folder)]


def _looked_at(folder: Path, look: Callable[[Path], Iterable[Path]]) -> list[Path]:
    """What is in a folder; nothing where it may not be looked at, such as ``lost+found``."""
    try:
        return [*look(folder)]
    except (KwsError, OSError):
        return []


def find_manifest(path: Path) -> Path | None:
    """The manifest that ``path`` is or holds, if it is one or holds one."""
    is_folder = os.path.isdir(path)
    manifest = path / MANIFEST if is_folder else path
    there = manifest.suffix.lower() == ".csv" and (not is_folder or manifest.is_file())
    return manifest if there else None


def _read_folder(path: Path, language: str | None, speaker_pattern: str | None) -> list[Clip]:
    if (path / LISTS["test"]).is_file():
        _refuse(path, speaker_pattern=speaker_pattern)
        clips = read_speech_commands(path)
        return [replace(clip, language=language) for clip in clips] if language else clips
    if _is_mswc(path):
        _refuse(path, speaker_pattern=speaker_pattern)
        return read_mswc(path, language)
    if not word_folders(path):
        raise KwsError(
            f"{path} holds no corpus: expected {MANIFEST}, {LISTS['test']}, clips and "
            f"<language>{ENDING}, or one folder of recordings per word"
        )
    return read_folder(path, language or UNTOLD, speaker_pattern)


def _is_mswc(path: Path) -> bool:
    return (path / "clips").is_dir() and any(path.glob(f"*{ENDING}"))


def _refuse(source: Path, **arguments: str | None) -> None:
    """Raise a UsageError where an argument would be ignored."""
    for name, value in arguments.items():
        if value is not None:
            what, option = name.split("_")[0], name.replace("_", "-")
            choose = f", or choose with --filter language={value}" if what == "language" else ""
            raise UsageError(
                f"{source} says the {what} itself, in its column where it has one; leave "
                f"--{option} out{choose}"
            )


def _row(clip: Clip) -> Row:
    return {
        "word": clip.word,
        "language": clip.language,
        "speaker": clip.speaker or "",
        "split": clip.split or UNSPLIT,
    }
