"""``kws adapt``: learn one more language under a budget."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from audio_data.clips import UNTOLD
from audio_data.corpus import empty_words, unlisted
from audio_data.files import is_unread
from audio_data.task import only_language
from kws.adapter import AdapterConfig
from kws.base import BASE_CONFIG
from kws.budget import Budget
from kws.errors import UsageError
from kws.files import plain_name, refuse_unwritable
from kws.names import spotted
from kws.quantized import DEFAULT_BITS, ROUNDINGS, Bits
from kws.train import HIGHEST, Optimizer
from policy.methods import METHODS, method_of, methods_where
from policy.transfer import RATE, SHORTEST

from . import options, progress, spoken
from .terminal import json_line
from .training.card import command
from .training.learn import BATCH, DEFAULT_STEPS, Recipe, learn_language, summary
from .training.recordings import Recordings, Selection
from .training.stored import heard_before, refuse_after, refuse_foreign, refuse_taken
from .wiring import open_base, open_runtime

SEQUENTIAL: Final = methods_where(lambda method: method.sequential)
TOGETHER: Final = methods_where(lambda method: method.together)
RUNS: Final = Path("runs")
FEW: Final = 6  # sites that are printed by name; sites.png shows all


@click.command(cls=options.Command)
@options.base
@options.data_if_any
@options.words
@options.respelt
@click.option(
    "--tts",
    is_flag=True,
    help="synthesise --words in --language, learn them, and set thresholds; any recordings of "
    "people in --data are also used to train and validate",
)
@options.keywords
@options.closed
@options.per_word
@click.option("--licence", help="of recordings that do not state theirs, such as CC-BY-4.0")
@click.option("--note", help="a sentence about them for the adapter's card")
@click.option(
    "--method",
    default=Recipe.method,
    show_default=True,
    type=click.Choice([*METHODS]),
    help="what a language owns; docs/comparing.md says what each does, and which to take",
)
@click.option(
    "--budget",
    default=Recipe.budget,
    show_default=True,
    help="10%, 900 (parameters) or 2KiB (all bytes)",
)
@click.option(
    "--bits",
    default=DEFAULT_BITS,
    show_default=True,
    type=click.Choice(ROUNDINGS),
    help="that a number is stored in; the head's are of 16",
)
@click.option(
    "--after",
    type=options.FOLDER,
    help="adapter of the language learnt before, for methods that build on it: "
    + ", ".join(SEQUENTIAL),
)
@click.option(
    "--beside",
    multiple=True,
    callback=options.pairs,
    help="column=value, another language of --data that is learnt at the same time; repeat for "
    f"more; for {', '.join(TOGETHER)}",
)
@click.option("--epochs", type=click.IntRange(1), help="of all stages together")
@click.option(
    "--steps",
    default=DEFAULT_STEPS,
    show_default=True,
    type=click.IntRange(1),
    help=f"of {BATCH} clips each, rounded up to whole epochs, where --epochs is not given; methods "
    f"in stages take {SHORTEST} epochs at least",
)
@click.option(
    "--lr",
    default=RATE,
    show_default=True,
    type=click.FloatRange(0, HIGHEST, min_open=True),
    callback=options.finite,
    help="peak of the last stage, relative to the base's weights; fewer deltas get a higher rate",
)
@options.optimizer
@options.seed
@options.device
@click.option("--out", type=options.FOLDER, help="folder for the adapter  [default: runs/LANGUAGE]")
@options.as_json
def adapt(**given: Any) -> None:
    """Learn one more language: what it adds to the base stays within the budget."""
    asked = _Asked(**given)
    asked.refuse_contradictions()
    asked.tell_doubts()
    device = options.pick_device(asked.device)
    base, selection = open_base(asked.base), asked.selection()
    out = asked.out or asked.usual_folder(selection)
    asked.refuse_folder(out)
    before = heard_before(asked.after)
    if asked.words:
        open_runtime(asked.base)  # for thresholds, in the end
        known = {**base.config.people, **before}
        selection = spoken.speak(
            selection, asked.words, asked.data, out / spoken.SPEECH, asked.respelt, known
        )
    recordings = Recordings.to_learn(selection, base.config, before)
    if asked.data and not asked.words:
        _tell_unlisted(asked.data)
        _tell_empty(asked.data)
    thresholds: dict[str, Any] = {}

    def calibrate(config: AdapterConfig) -> None:
        thresholds.update(spoken.calibrated(asked.base, out, selection, config))

    config = learn_language(
        base,
        recordings,
        asked.recipe(),
        out,
        after=asked.after,
        beside=recordings.beside(asked.neighbours(selection), base.config),
        device=device,
        made_by=command(),
        about=asked.note and " ".join(asked.note.split()),
        finish=calibrate if asked.words else None,
    )
    trust = {"trust": spoken.trust(config, recordings)} if asked.words else {}
    if asked.as_json:
        click.echo(json_line(summary(config) | thresholds | trust))
        return
    told = spoken.for_people(thresholds) if asked.words else {}
    click.echo(_lines({"words": spotted(config.labels)} | summary(config) | told | trust))
    if method_of(asked.method).streams:
        named = asked.base if options.is_given("base") else None
        click.echo(_next(named, out, selection, tts=asked.tts))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the command line asks for, as the options above have it."""

    base: Path
    data: Path | None
    filters: tuple[tuple[str, str], ...]
    language: str | None
    speaker_pattern: str | None
    others: Path | None
    words: tuple[str, ...] | None
    respelt: dict[str, str]
    tts: bool
    keywords: tuple[str, ...] | None
    closed: bool
    per_word: int | None
    licence: str | None
    note: str | None
    method: str
    budget: str
    bits: Bits
    after: Path | None
    beside: tuple[tuple[str, str], ...]
    epochs: int | None
    steps: int
    lr: float
    optimizer: Optimizer
    seed: int
    device: str
    out: Path | None
    as_json: bool

    def refuse_contradictions(self) -> None:
        """Raise a UsageError where options do not go together, or one would be ignored."""
        method = method_of(self.method)
        if self.tts != bool(self.words) or (self.tts and (self.keywords or self.closed)):
            raise UsageError(
                "--tts and --words go together, without --keywords and --closed: "
                '--tts --words "ja,nein" --language de'
            )
        if self.others and not (self.data and not self.tts):
            raise UsageError("--others is for recordings in --data; --tts makes other words itself")
        if self.speaker_pattern is not None and not self.data:
            raise UsageError("--speaker-pattern is for recordings in --data; leave it out")
        if self.filters and not self.data:
            raise UsageError("--filter selects recordings in --data; leave it out")
        if self.licence is not None and not self.data:
            raise UsageError("--licence is for recordings in --data; leave it out")
        if self.respelt and not self.tts:
            raise UsageError("--spell is for words that --tts speaks")
        if self.tts and (method.together or not method.streams):
            raise UsageError(
                f"--method {self.method} cannot go with --tts; adapt to recordings with it"
            )
        if not (self.data or self.tts):
            raise UsageError(
                "there is nothing to learn from; give recordings with --data, or words with --tts"
            )
        if self.tts and not (self.language or self.data):
            raise UsageError(spoken.WHOSE)
        if method.together and not self.beside:
            raise UsageError(f"--method {self.method} needs other languages: --beside corpus=NAME")
        if self.beside and not method.together:
            raise UsageError(f"--beside is for --method {', '.join(TOGETHER)}; leave it out")
        if any(pair in self.filters for pair in self.beside):
            raise UsageError("--beside repeats --filter; use it to name the other languages")
        if self.after:
            refuse_after(self.method)

    def tell_doubts(self) -> None:
        """Say where a budget, bits, or a list of words may not be what was meant.

        Raises:
            UsageError: the budget is none.

        """
        budget, method = Budget.parse(self.budget), method_of(self.method)
        if method.masks and options.is_given("bits"):
            progress.note(f"{self.method} stores one bit per weight; --bits is ignored")
        if not method.budgeted:
            if options.is_given("budget"):
                progress.note(f"{self.method} takes no budget; --budget is ignored")
        elif budget.kind == "parameters" and budget.amount <= 100:
            progress.note(
                f"--budget {self.budget} is in parameters; for a share, write {budget.amount:g}%"
            )
        if self.words and len(self.words) == 1 and re.search(r"[\s;؛]", self.words[0]):
            progress.note(f"'{self.words[0]}' is one keyword; separate several with commas")

    def selection(self) -> Selection:
        """The recordings; speech that is made takes their place later."""
        return Selection(
            data=self.data or Path(),
            others=self.others,
            filters=self.filters,
            keywords=self.keywords,
            language=self.language,
            speaker_pattern=self.speaker_pattern,
            licence=self.licence,
            closed=self.closed,
            per_word=self.per_word,
            seed=self.seed,
        )

    def neighbours(self, selection: Selection) -> list[Selection]:
        """The other languages that are learnt at the same time."""
        return [
            replace(selection, filters=_beside(pair, selection.filters), keywords=None)
            for pair in self.beside
        ]

    def recipe(self) -> Recipe:
        """How it is learnt."""
        return Recipe(
            method=self.method,
            budget=self.budget,
            bits=self.bits,
            epochs=self.epochs,
            steps=self.steps,
            lr=self.lr,
            optimizer=self.optimizer,
            seed=self.seed,
        )

    def usual_folder(self, selection: Selection) -> Path:
        """Where the adapter goes if nobody says: ``runs/``, and the language."""
        languages = (
            {clip.language for clip in selection.clips()}
            if self.language is None
            else {self.language}
        )
        language = only_language(languages - {UNTOLD} or languages)
        # A manifest writes it as it likes.
        return RUNS / (plain_name(language, "_.").strip(".") or UNTOLD)

    def refuse_folder(self, out: Path) -> None:
        """Raise an error where the adapter would go among, or over, something else."""
        if (out / BASE_CONFIG).exists():
            raise UsageError(f"{out} holds a base, which is never changed; name another --out")
        if self.after and self.after.resolve() == out.resolve():
            raise UsageError(
                f"--after {self.after} is what --out would replace; name another --out"
            )
        recorded = self.data if self.words and self.data and self.data.is_dir() else None
        if recorded and out.resolve().is_relative_to(recorded.resolve()):
            raise UsageError(
                f"--out {out} is, or lies in, the folder of the recordings; name another --out"
            )
        refuse_foreign(out)
        if self.words:
            refuse_unwritable(out)
            if self.language:
                refuse_taken(out, self.language, self.words)


def _beside(
    pair: tuple[str, str], filters: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """What selects a neighbour: other words, of another language or corpus if that is not said too.

    >>> _beside(("corpus", "b"), [("language", "de"), ("licence", "CC0-1.0")])
    (('corpus', 'b'), ('licence', 'CC0-1.0'))
    >>> _beside(("language", "fr"), [("language", "de"), ("corpus", "a"), ("word", "ja")])
    (('language', 'fr'), ('corpus', 'a'))
    >>> _beside(("Language", "fr"), [("language", "de"), ("corpus", "a")])
    (('Language', 'fr'), ('corpus', 'a'))
    """
    column = pair[0].casefold()
    own = {column, "word"}
    if column not in {name.casefold() for name, _ in filters}:
        own |= {"language", "corpus"}
    return (pair, *(other for other in filters if other[0].casefold() not in own))


def _next(base: Path | None, out: Path, selection: Selection, *, tts: bool) -> str:
    """What is typed next: the same recordings, and an adapter of a base that is named or not.

    Where words are made, thresholds are there, but for what people say that is no keyword.
    """
    network = [*(["--base", base] if base else []), "--adapter", out]
    named = {
        "--data": selection.data,
        "--language": selection.language,
        "--speaker-pattern": selection.speaker_pattern,
        "--others": selection.others,
    }
    where = [part for name, value in named.items() if value for part in (name, value)]
    where += [part for pair in selection.filters for part in ("--filter", "=".join(pair))]
    calibrate, listen = (
        shlex.join(["kws", *map(str, parts)])
        for parts in (["calibrate", *network, *where], ["listen", *network])
    )
    if tts:
        why, calibrate = "on other words that people say", f"{calibrate} --others FOLDER"
    else:
        why = "(all keywords still share one)"
    return f"next, set thresholds {why}: {calibrate}\nthen: {listen}"


def _lines(result: Mapping[str, Any]) -> str:
    """For people: a line for each that there is."""
    found = {name: value for name, value in result.items() if value is not None}
    return "\n".join(f"{name:20} {_text(value)}" for name, value in found.items())


def _text(value: Any) -> str:
    """For people.

    >>> _text(("stem.0", "stem.1", "head")), _text(tuple("abcdefgh"))
    ('stem.0, stem.1, head', 'a, b, c, d, e, f, and 2 more')
    >>> _text(5 / 6), _text(0.9996), _text(1234.5), _text(1.0)
    ('0.8333', '0.9996', '1,234', '1')
    """
    if isinstance(value, float):
        return f"{value:.4g}" if value < 100 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item:g}" for key, item in value.items())
    if isinstance(value, tuple):
        rest = [f"and {len(value) - FEW} more"] if len(value) > FEW else []
        return ", ".join([*value[:FEW], *rest])
    return str(value)


def _tell_empty(data: Path) -> None:
    """Say which words of a folder have no recordings."""
    if left := empty_words(data):
        progress.note(
            f"no recordings are in {', '.join(map(str, left))}, so there is no such word; record "
            "it, or delete the folder"
        )


def _tell_unlisted(data: Path) -> None:
    """Say which recordings of a folder its manifest leaves out."""
    if left := unlisted(data):
        what = "1 recording" if len(left) == 1 else f"{len(left)} recordings"
        name = left[0].relative_to(data)
        first = "convert them to wav and " if any(map(is_unread, left)) else ""
        listed = name.with_suffix(".wav") if is_unread(name) else name
        word = f"word {name.parent.name}" if name.parent.name else "word"
        row = f"path {listed.as_posix()}, language, {word}, speaker, split"
        progress.note(
            f"{data} holds {what} not in its manifest and so not used, such as {name}; to use "
            f"them, {first}add rows to it: {row}"
        )
