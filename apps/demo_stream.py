"""What the demonstrations share: a corpus's words heard while keys change the language; the end."""

import random
import shlex
import shutil
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.table import Table

from audio_data.clips import Clip
from audio_data.decode import decode
from audio_data.encode import encode
from audio_data.noise import background
from kws.config import SAMPLE_RATE
from kws.detector import Detection
from kws.engine import Engine
from kws.errors import UsageError
from kws.files import write_bytes

from . import listen
from .listening.live import LiveEngine
from .listening.screen import Screen, no_terminal
from .terminal import can_draw

GAP: Final = 1.0  # seconds of quiet after each word: by then it has left the view
SCREEN: Final = "screen.svg"  # the last picture of the stream
ROOM: Final = 0.01  # of the background noise's own level, under all


@dataclass(frozen=True)
class Said:
    """One word of the stream, from ``begin`` seconds on."""

    word: str
    language: str
    begin: float


Heard = tuple[Said, Sequence[Detection]]  # a word, and what was detected from it


class ScriptedKeys:
    """Types a language's key once the stream has come to its words."""

    def __init__(self, engine: Engine, said: Sequence[Said]) -> None:
        self._engine, self._said = engine, said
        self._begins = [one.begin for one in said]

    def poll(self) -> str:
        due = self._said[max(0, bisect_right(self._begins, self._engine.seconds) - 1)]
        return str(self._engine.languages.index(due.language) + 1)


def play(
    engine: LiveEngine,
    clips: Iterable[Clip],
    turns: Sequence[str],
    words: int,
    seed: int,
    wav: Path,
    picture: Path,
) -> list[Heard]:
    """Hear a stream of some words of each turn's language, on the terminal where there is one."""
    said = record(compose(clips, turns, words, seed), wav)
    found = hear(engine, wav, said, picture, seen=can_draw(sys.stdout))
    return list(zip(said, found, strict=True))


def compose(clips: Iterable[Clip], turns: Sequence[str], words: int, seed: int) -> list[Clip]:
    """Draw the words of each turn's language, none twice in a turn, from the test split."""
    rng = random.Random(seed)
    chosen: list[Clip] = []
    held = [clip for clip in clips if clip.split == "test"]
    for language in turns:
        own = [clip for clip in held if clip.language == language]
        known = sorted({clip.word for clip in own})
        if len(known) < words:
            raise UsageError(
                f"the recordings have {len(known)} words by test speakers in {language}, but "
                f"{words} are needed; give recordings of more words"
            )
        drawn = rng.sample(known, words)
        chosen += [rng.choice([clip for clip in own if clip.word == word]) for word in drawn]
    return chosen


def record(clips: Sequence[Clip], path: Path) -> list[Said]:
    """Write clips one after another, with quiet between and a room's noise under all."""
    said: list[Said] = []
    pieces, samples = [], 0
    for clip in clips:
        said.append(Said(clip.word, clip.language, samples / SAMPLE_RATE))
        pieces.append(np.pad(decode(clip.path), (0, round(GAP * SAMPLE_RATE))))
        samples += len(pieces[-1])
    noise = background("pink", samples / SAMPLE_RATE, np.random.default_rng(0))
    wave = np.concatenate(pieces) + np.float32(ROOM) * noise
    write_bytes(path, encode(wave))
    return said


def hear(
    engine: LiveEngine, wav: Path, said: Sequence[Said], picture: Path, *, seen: bool = False
) -> list[list[Detection]]:
    """Hear the stream as ``kws listen --wav`` does, and sort it by :func:`matched`.

    Where it is to be ``seen``, at its own pace on the terminal; the last ``picture`` is an SVG.
    """
    recording = listen.Recording(wav, real_time=seen)
    console = None if seen else no_terminal()
    with Screen(engine, recording, console, keyless=lambda: True) as screen:
        listen.run(engine, recording, ScriptedKeys(engine, said), screen)
    screen.save(picture)
    return matched(said, screen.found)


def matched(said: Sequence[Said], events: Iterable[Detection]) -> list[list[Detection]]:
    """What was heard from each word's beginning to that of the next.

    >>> said = [Said("go", "en", 0.0), Said("stop", "en", 2.0)]
    >>> [len(heard) for heard in matched(said, [Detection("stop", "en", 0.9, 2.0)])]
    [0, 1]
    """
    begins = [one.begin for one in said]
    heard: list[list[Detection]] = [[] for _ in said]
    for event in events:
        heard[max(0, bisect_right(begins, event.time) - 1)].append(event)
    return heard


def is_right(said: Said, heard: Sequence[Detection]) -> bool:
    """Whether the word was heard, once, and nothing else."""
    return [(event.language, event.keyword) for event in heard] == [(said.language, said.word)]


def count_right(heard: Iterable[Heard]) -> int:
    """How many words were heard rightly."""
    return sum(is_right(said, events) for said, events in heard)


def stream_table(heard: Iterable[Heard], names: Mapping[str, str]) -> Table:
    """What was said and what was heard, word by word; languages by their names."""
    table = Table("from", "language", "said", "heard", "at", "score", "", title="The stream")
    before = ""
    for one, events in heard:
        if before and one.language != before:
            table.add_section()
        before = one.language
        table.add_row(
            f"{one.begin:.1f} s",
            names[one.language],
            one.word,
            "\n".join(event.keyword for event in events) or "-",
            "\n".join(f"{event.time:.1f} s" for event in events),
            "\n".join(f"{event.score:.2f}" for event in events),
            "right" if is_right(one, events) else "wrong" if events else "missed",
        )
    return table


def tell_next(out: Path, commands: Mapping[str, str]) -> None:
    """Say where the pictures are and what to try; unwrapped, so that it can be copied.

    Each of the commands, which come without the program's name, with what it does.
    """
    program = shlex.quote("kws" if shutil.which("kws") else sys.argv[0])
    click.echo("\nPictures:")
    for path in sorted([*out.rglob("*.png"), *out.glob(f"*{SCREEN}")]):
        click.echo(f"  {path}")
    click.echo("\nTry next:")
    for command, does in commands.items():
        click.echo(f"  {program} {command}\n      {does}")
