"""Read a Speech Commands folder (https://arxiv.org/abs/1804.03209) as it is unpacked."""

from pathlib import Path
from typing import Final

from kws.errors import KwsError
from kws.names import composed

from .clips import Clip, Split
from .files import audio_files
from .folder import word_folders

LISTS: Final[dict[Split, str]] = {
    "validation": "validation_list.txt",
    "test": "testing_list.txt",
}
LICENCE: Final = "CC-BY-4.0"


def read_speech_commands(root: Path) -> list[Clip]:
    """Read ``<word>/<speaker>_nohash_<n>.wav``; what neither list names is for training.

    Raises:
        KwsError: a list is missing, or there are no recordings.

    """
    root = Path(root)
    listed = {name: split for split in LISTS for name in _read_list(root / LISTS[split])}
    clips = [
        Clip(
            path=path,
            word=folder.name,
            language="en",
            speaker=_speaker(path),
            split=listed.get(composed(f"{folder.name}/{path.name}"), "train"),
            licence=LICENCE,
        )
        for folder in word_folders(root)
        for path in audio_files(folder)
    ]
    if not clips:
        raise KwsError(f"{root} holds no recordings; unpack the archive again")
    return clips


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KwsError(f"{path} cannot be read ({error}); unpack the archive again") from None
    return [composed(line.strip()) for line in lines]


def _speaker(path: Path) -> str | None:
    name, mark, _ = path.name.partition("_nohash_")
    return name if mark else None
