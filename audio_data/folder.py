"""Read a plain folder of recordings: one folder per word."""

import re
from pathlib import Path
from typing import Final

from kws.errors import KwsError, UsageError
from kws.names import INVISIBLE, NO_KEYWORDS, TURNING

from .clips import UNTOLD, Clip
from .files import SUFFIXES, audio_files
from .manifest import named
from .noise import FOLDERS

ENDS: Final = re.compile(rf"\A[\s{INVISIBLE}{TURNING}]+|[\s{INVISIBLE}{TURNING}]+\Z")


def read_folder(
    root: Path, language: str = UNTOLD, speaker_pattern: str | None = None
) -> list[Clip]:
    """Read ``<word>/*.wav`` (flac, ogg, opus and mp3 too), sorted by word and file name.

    Args:
        root: the folder of words; ``noise`` is none, nor are names that begin with ``_`` or ``.``,
            but for those of the classes unknown and silence.
        language: BCP 47, the same for all.
        speaker_pattern: regular expression searched in each file name; its group ``speaker``,
            or else its first, is who speaks. Where it does not match nobody is named.

    Raises:
        UsageError: the pattern is wrong, has no group, or matches no file.
        KwsError: the folder is missing, holds no words, or recordings that would go unheard.

    """
    pattern = _compile(speaker_pattern) if speaker_pattern is not None else None
    clips = [
        Clip(
            path=path,
            word=_word(folder.name),
            language=language,
            speaker=_speaker(path.name, pattern),
        )
        for folder in word_folders(root)
        for path in audio_files(folder)
    ]
    if not clips:
        raise KwsError(
            f"{root} holds no recordings: expected <word>/<file> with {', '.join(SUFFIXES)}"
        )
    if pattern and not any(clip.speaker for clip in clips):
        raise UsageError(
            f"speaker pattern {speaker_pattern!r} matches no file name in {root}, "
            f"for example {clips[0].path.name!r}"
        )
    return clips


def word_folders(root: Path) -> list[Path]:
    """List the folders in ``root`` that may be words, sorted by name."""
    try:
        entries = sorted(Path(root).iterdir())
    except OSError as error:
        raise KwsError(f"{root} cannot be read as a folder: {error.strerror or error}") from None
    return [path for path in entries if _is_word(path.name) and path.is_dir()]


def _is_word(name: str) -> bool:
    word = _word(name)
    if word in NO_KEYWORDS:
        return True
    return bool(word) and word[0] not in "_." and word.casefold() not in FOLDERS


def _word(name: str) -> str:
    """A folder's word, without blanks and marks that nobody sees at its ends."""
    return ENDS.sub("", name)


def _compile(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"speaker pattern {text!r} is no regular expression: {error}") from None
    if not pattern.groups:
        raise UsageError(f"speaker pattern {text!r} has no group; put (...) around the speaker")
    return pattern


def _speaker(name: str, pattern: re.Pattern[str] | None) -> str | None:
    match = pattern.search(name) if pattern else None
    if not match:
        return None
    return named(match["speaker" if "speaker" in match.re.groupindex else 1] or "")
