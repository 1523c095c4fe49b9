"""The whole path where nothing is at hand, neither recordings nor a base: ``kws demo --whole``.

Speech is made, a small base learns one language, two more are learnt under a budget, and a stream
of all three is heard while keys change the language. What a folder holds is not done again.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from audio_data.corpus import read_corpus
from audio_data.synthesis import DEFAULT_WORDS, make_corpus
from kws.adapter import Adapter, load_adapter, read_adapter_config
from kws.base import BASE_MODEL, Base, read_base_config
from kws.errors import KwsError, UsageError
from kws.sites import find_sites
from kws.train import Plan
from policy.transfer import RATE

from .demo_stream import SCREEN, count_right, play, stream_table, tell_next
from .listening.live import LiveEngine
from .progress import counting, step
from .training import learn, pictures, pretraining
from .training.card import COMMAND
from .training.measure import measure, network_of
from .training.recordings import Recordings, Selection
from .training.stored import is_unfinished
from .wiring import open_base, open_runtime

NAMES: Final = {"en": "English", "cmn": "Mandarin", "ar": "Arabic"}  # that of the base first
BASE, *OTHERS = NAMES
STREAM: Final = "stream.wav"
TURNS: Final = (BASE, *OTHERS, BASE)  # languages of the stream
TAU, METHOD, BUDGET = 1.0, "swr", "10%"
THRESHOLD: Final = 0.7  # above the usual one: a network is surer of synthetic voices than of people


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is made and learnt; the default takes minutes."""

    words: int = 10
    speakers: int = 24
    takes: int = 4
    base_epochs: int = 30
    adapter_epochs: int = 32
    turn: int = 3  # words of the stream between two changes of language


@dataclass(frozen=True)
class Row:
    """What one language is and can do."""

    language: str
    words: int
    method: str
    budget: str
    parameters: int
    stored_bytes: int
    accuracy: float  # over people of the test split


def run(out: Path, size: Size, seed: int, device: str) -> tuple[list[Row], float]:
    """Do all that is not done yet, and tell about it.

    Returns:
        A row per language, and the share of the stream's words that were heard rightly.

    Raises:
        UsageError: the folder holds a base that was not made here.

    """
    _refuse_base(out / "base")
    begun, console = time.monotonic(), Console(highlight=False)
    click.echo(
        f"No recordings are needed. About four minutes on two cores; all of it goes to {out}.\n"
        "What is there already is not done again.\n"
    )
    with step(console, f"Speech: {size.words} words a language, {size.speakers} synthetic voices"):
        manifest = _speak(out / "speech", size, seed)
    with step(console, f"Base: a small network learns {NAMES[BASE]}, and never changes again"):
        base = _learn_base(_select(manifest, BASE, seed), size, device, out / "base")
    adapters = []
    for language in OTHERS:
        title = (
            f"{NAMES[language]}: it may own numbers for {BUDGET} of the base; a policy learns where"
        )
        with step(console, title):
            selection = _select(manifest, language, seed)
            adapters.append(_adapt(base, selection, size, device, out / language))
    with step(console, "Measuring on voices that were never trained on"):
        rows = [_base_row(base, manifest, out / "base" / BASE_MODEL)]
        rows += [_adapter_row(base, adapter, manifest) for adapter in adapters]
        owned = [pictures.row_of(adapter.config) for adapter in adapters]
        pictures.choices(owned, find_sites(base.network), out / "sites.png")
    with step(console, "Listening to a stream of such voices, changing the language by key"):
        bank = open_runtime(out / "base", [out / name for name in OTHERS], BASE)
        engine, clips = LiveEngine(bank, threshold=THRESHOLD), read_corpus(manifest)
        heard = play(engine, clips, TURNS, size.turn, seed, out / STREAM, out / SCREEN)
    right = count_right(heard)
    console.print(stream_table(heard, NAMES))
    console.print(f"{right} of {len(heard)} words were recognised correctly.\n")
    console.print(_result_table(rows))
    _tell_next(out)
    console.print(f"\nDone in {time.monotonic() - begun:.0f} seconds.")
    return rows, right / len(heard)


def _refuse_base(folder: Path) -> None:
    """Raise a UsageError where a folder holds a base that was not made here."""
    try:
        config = read_base_config(folder)
    except KwsError:  # there is none, or none that could be read again
        return
    learnt = config.training.get("recordings", {"clips": 0, "made": None})
    ours = (config.language, config.tau, learnt["made"]) == (BASE, TAU, learnt["clips"])
    if config.training.get(COMMAND) or not ours:
        raise UsageError(f"{folder} holds a base, which is never changed; name another --out")


def _speak(folder: Path, size: Size, seed: int) -> Path:
    words = {language: DEFAULT_WORDS[language][: size.words] for language in NAMES}
    with counting("speaking") as progress:
        return make_corpus(
            folder, words, speakers=size.speakers, takes=size.takes, seed=seed, progress=progress
        )


def _select(manifest: Path, language: str, seed: int = 0) -> Selection:
    return Selection(data=manifest, filters=(("language", language),), seed=seed)


def _learn_base(selection: Selection, size: Size, device: str, folder: Path) -> Base:
    plan = Plan(epochs=size.base_epochs, lr=pretraining.LR, seed=selection.seed)
    if not _finished(folder, plan, lambda: read_base_config(folder).training):
        pretraining.run(selection, TAU, plan, device, folder, replaces=True)
    return open_base(folder)


def _adapt(base: Base, selection: Selection, size: Size, device: str, folder: Path) -> Adapter:
    plan = Plan(epochs=size.adapter_epochs, lr=RATE, seed=selection.seed)
    finished = _finished(folder, plan, lambda: read_adapter_config(folder).training)
    if not finished or read_adapter_config(folder).base_sha256 != base.config.sha256:
        recordings = Recordings.to_learn(selection, base.config)
        recipe = learn.Recipe(
            method=METHOD, budget=BUDGET, epochs=size.adapter_epochs, seed=selection.seed
        )
        learn.learn_language(base, recordings, recipe, folder, device=device)
    return load_adapter(folder)


def _finished(folder: Path, plan: Plan, read: Callable[[], dict[str, Any]]) -> bool:
    """Whether a folder holds all that this plan makes; what cannot be read is made anew."""
    if is_unfinished(folder):
        return False
    try:
        return bool(read().get("plan") == asdict(plan))
    except KwsError:
        return False


def _base_row(base: Base, manifest: Path, weights: Path) -> Row:
    config = base.config
    parameters, size = config.metrics["parameters"], weights.stat().st_size
    words, accuracy = _accuracy(base, None, manifest)
    return Row(config.language, words, "pretrained", "-", parameters, size, accuracy)


def _adapter_row(base: Base, adapter: Adapter, manifest: Path) -> Row:
    config = adapter.config
    words, accuracy = _accuracy(base, adapter, manifest)
    return Row(
        config.language,
        words,
        config.method,
        config.budget or "-",
        config.spent_parameters,
        config.stored_bytes,
        accuracy,
    )


def _accuracy(base: Base, adapter: Adapter | None, manifest: Path) -> tuple[int, float]:
    """How many keywords, and the share of their test clips that is told right."""
    config = adapter.config if adapter else base.config
    selection = _select(manifest, config.language)
    recordings = Recordings.to_measure(selection, base.config, config)
    report = measure(network_of(base, adapter), recordings, "test").report
    return len(recordings.task.keywords), report["accuracy"]


def _result_table(rows: Sequence[Row]) -> Table:
    table = Table(title="What each language owns, and its accuracy on unseen voices")
    for name in ("language", "words", "method", "budget", "parameters", "bytes", "accuracy"):
        table.add_column(name, justify="left" if name in ("language", "method") else "right")
    for row in rows:
        table.add_row(
            NAMES[row.language],
            str(row.words),
            row.method,
            row.budget,
            f"{row.parameters:,}",
            f"{row.stored_bytes:,}",
            f"{row.accuracy:.1%}",
        )
    return table


def _tell_next(out: Path) -> None:
    base = f"--base {shlex.quote(str(out / 'base'))}"
    loaded = " ".join(f"--adapter {shlex.quote(str(out / name))}" for name in OTHERS)
    listen = f"listen {base} {loaded} --language {BASE}"
    stream = f"--wav {shlex.quote(str(out / STREAM))} --real-time --threshold {THRESHOLD}"
    adapt = f"adapt {base} --data FOLDER --language TAG --budget {BUDGET} --out runs/mine"
    commands = {
        listen: "speak to it; keys 1, 2 and 3 change the language",
        f"{listen} {stream}": "or let it hear the stream again",
        adapt: "learn your own words from recordings in FOLDER/<word>/*.wav",
    }
    tell_next(out, commands)
    click.echo(
        "Synthetic voices are not people: for real use, pretrain on recordings, as "
        "docs/comparing.md shows."
    )
