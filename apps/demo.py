"""``kws demo``: the supplied languages are heard, and one that is not supplied is learnt.

Words are spoken by synthetic voices that no network has learnt from, or taken from recordings; a
stream of them is heard while keys change the language. Then an adapter is learnt from words as
text, and heard beside the others. Speech that a folder holds is not made again.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from audio_data.clips import Clip
from audio_data.corpus import read_corpus
from audio_data.mixture import KEYWORDS, SPEAKERS
from audio_data.synthesis import make_corpus
from kws.adapter import AdapterConfig, read_adapter_config
from kws.base import read_base_config
from kws.errors import KwsError, UsageError
from kws.names import spotted

from . import options, spoken, whole
from .demo_stream import SCREEN, Heard, count_right, play, stream_table, tell_next
from .listening.live import LiveEngine
from .progress import counting, step
from .training.card import counted
from .training.learn import Recipe, learn_language
from .training.recordings import Recordings, Selection
from .wiring import open_base, open_runtime
from .zoo import BASE, ZOO

OWN: Final = "ara"
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType(
    {"de": "deu", "fr": "fra", "hi": "hin"}  # by language, the folder of its adapter
)
RECORDED: Final[Mapping[str, str]] = MappingProxyType(
    {"cmn": "cmn", "eng": "eng"}  # likewise, those that --data is heard in
)
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ara": "Arabic",
        "cmn": "Mandarin",
        "de": "German",
        "eng": "English",
        "es": "Spanish",
        "fr": "French",
        "hi": "Hindi",
    }
)
MINE: Final = "es"  # which is not supplied
WORDS: Final = ("sí", "no", "alto", "vamos", "arriba", "abajo")
BUDGET: Final = "5%"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is heard and learnt; the default takes a minute."""

    turn: int = 3  # words between two changes of language
    steps: int = 600


@dataclass(frozen=True)
class Row:
    """What one language is, and how it did."""

    language: str
    config: AdapterConfig
    right: int
    said: int


@click.command(cls=options.Command)
@click.option(
    "--out",
    default=Path("runs/demo"),
    show_default=True,
    type=options.FOLDER,
    help="folder for what is learnt",
)
@click.option(
    "--data",
    type=options.PATH,
    help="manifest of recordings, heard in the supplied languages instead of synthetic voices",
)
@click.option("--whole", "everything", is_flag=True, help="pretrain a base too: four minutes")
@options.seed
@options.device
def demo(out: Path, data: Path | None, everything: bool, seed: int, device: str) -> None:
    """Try the supplied languages, learn another from text, and try it too."""
    if everything and data:
        raise UsageError("--whole makes all of its speech; leave --data out")
    if everything:
        whole.run(out, whole.Size(), seed, options.pick_device(device))
    else:
        run(out, Size(), seed, options.pick_device(device), data)


def run(out: Path, size: Size, seed: int, device: str, data: Path | None = None) -> list[Row]:
    """Do all of it, and tell about it: a row for each language."""
    begun, console = time.monotonic(), Console(highlight=False)
    click.echo(f"About a minute on two cores; all of it goes to {out}.\n")
    folders = {name: ZOO / folder for name, folder in (RECORDED if data else LANGUAGES).items()}
    with step(console, _title(data, folders)):
        clips = _recorded(data, folders) if data else _spoken(out / "speech", folders)
    with step(console, "Listening: a base of one language, an adapter each for the others"):
        turns = [*([OWN] if data else []), *folders, next(iter(folders))]
        heard = _hear(folders, clips, turns, size, seed, out / "stream.wav", out / SCREEN)
    console.print(stream_table(heard, NAMES))
    with step(console, f"{NAMES[MINE]} is not supplied: it is learnt from words as text"):
        folders[MINE] = out / MINE
        trust = _learn(out / MINE, size, seed, device)
    console.print(f"How far to trust it: {trust}.\n")
    with step(console, f"Listening to {NAMES[MINE]} among the others"):
        speech = read_corpus(out / MINE / spoken.SPEECH / KEYWORDS)
        turns = [MINE, next(iter(folders)), MINE]
        found = _hear(
            folders, [*clips, *speech], turns, size, seed, out / "mine.wav", out / f"mine-{SCREEN}"
        )
    console.print(stream_table(found, NAMES))
    heard += found
    rows = _rows(folders, heard)
    console.print(f"{count_right(heard)} of {len(heard)} words were recognised correctly.")
    if not all(events for _, events in heard):
        console.print("Those missed scored too low, or too briefly.")
    console.print()
    console.print(_table(rows))
    _tell_next(out, folders)
    console.print(f"\nDone in {time.monotonic() - begun:.0f} seconds.")
    return rows


def _title(data: Path | None, folders: Mapping[str, Path]) -> str:
    names = ", ".join(NAMES[language] for language in folders)
    return f"{names}: recordings of people" if data else f"Speech: {names}, by synthetic voices"


def _spoken(folder: Path, folders: Mapping[str, Path]) -> list[Clip]:
    """The zoo's words by all voices; those of the test split none of its languages learnt from.

    That holds for the zoo's own number of voices and its own seed.
    """
    words = {name: spotted(read_adapter_config(path).labels) for name, path in folders.items()}
    with counting("speaking") as progress:
        manifest = make_corpus(folder, words, speakers=SPEAKERS, takes=1, progress=progress)
    return read_corpus(manifest)


def _recorded(data: Path, folders: Mapping[str, Path]) -> list[Clip]:
    """What test people say of the words of each language, that of the base among them."""
    known = {name: spotted(read_adapter_config(path).labels) for name, path in folders.items()}
    known[OWN] = spotted(read_base_config(BASE).labels)
    held = [clip for clip in read_corpus(data) if clip.split == "test"]
    clips = [clip for clip in held if clip.word in known.get(clip.language, ())]
    if missing := known.keys() - {clip.language for clip in clips}:
        raise KwsError(f"{data} holds no test recordings in {', '.join(sorted(missing))}")
    return clips


def _hear(
    folders: Mapping[str, Path],
    clips: Sequence[Clip],
    turns: Sequence[str],
    size: Size,
    seed: int,
    wav: Path,
    picture: Path,
) -> list[Heard]:
    """A stream of some words in each language in turn, and what is heard of each."""
    bank = open_runtime(BASE, list(folders.items()), turns[0])
    return play(LiveEngine(bank), clips, turns, size.turn, seed, wav, picture)


def _learn(folder: Path, size: Size, seed: int, device: str) -> str:
    """Learn the words as ``kws adapt --tts`` does; how far to trust it."""
    base = open_base(BASE)
    wanted = Selection(data=folder, language=MINE, seed=seed)
    selection = spoken.speak(wanted, WORDS, None, folder / spoken.SPEECH)
    recordings = Recordings.to_learn(selection, base.config)
    recipe = Recipe(budget=BUDGET, steps=size.steps, seed=seed)
    finish = partial(spoken.calibrated, BASE, folder, selection)  # before that, a run goes on
    config = learn_language(base, recordings, recipe, folder, device=device, finish=finish)
    return spoken.trust(config, recordings)


def _rows(folders: Mapping[str, Path], heard: Sequence[Heard]) -> list[Row]:
    rows = []
    for language, folder in folders.items():
        own = [(said, events) for said, events in heard if said.language == language]
        rows.append(Row(language, read_adapter_config(folder), count_right(own), len(own)))
    return rows


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="What each language owns, and how it did")
    for name in ("language", "words", "learnt from", "parameters", "bytes", "heard right"):
        table.add_column(name, justify="left" if name in ("language", "learnt from") else "right")
    for row in rows:
        learnt = row.config.training["recordings"]
        table.add_row(
            NAMES[row.language],
            str(len(spotted(row.config.labels))),
            counted(learnt["people"], learnt["clips"], learnt["made"]),
            f"{row.config.spent_parameters:,}",
            f"{row.config.stored_bytes:,}",
            f"{row.right} of {row.said}",
        )
    return table


def _tell_next(out: Path, folders: Mapping[str, Path]) -> None:
    base = f"--base {_typed(BASE)}"
    loaded = " ".join(f"--adapter {name}={_typed(at)}" for name, at in folders.items())
    adapt, mine = f"adapt {base}", "--out runs/mine"
    commands = {
        f"listen {base} {loaded}": "speak to it; keys 1 to 9 change the language",
        f'{adapt} --tts --words "oui,non" --language fr {mine}': "words of your own, from text",
        f"{adapt} --data FOLDER --language TAG --budget 10% {mine}": "or from recordings in "
        "FOLDER/<word>/*.wav: real use needs recordings of people",
        "demo --whole --out runs/whole": "the whole path from nothing, a base included",
    }
    tell_next(out, commands)


def _typed(path: Path) -> str:
    """As it is typed from here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
