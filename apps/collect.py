"""``kws collect``: ask a person for words, and keep what can be learnt from."""

import shlex
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

import click
import numpy as np
from numpy.typing import NDArray

from audio_data.collection import Collection, Format, remaining
from audio_data.takes import Take, judge
from kws.config import SAMPLE_RATE
from kws.engine import clean_samples
from kws.errors import KwsError, UsageError
from kws.files import refuse_unwritable

from . import options
from .listening.keys import Keys, KeySource
from .listening.microphone import Microphone
from .listening.prompt import Prompt, PromptLines, PromptScreen
from .listening.screen import Source
from .terminal import can_draw, json_line

MOST_REJECTED: Final = 10  # recordings one after another, where nobody can press a key
LEAD_SECONDS: Final = 0.6  # between a key, whose click may be heard, and the recording
READ_SECONDS: Final = 1.5  # to read why a recording was rejected
LOST: Final = "some audio was lost meanwhile; the microphone was gone, or the computer is busy"

Wave = NDArray[np.float32]


class Session:
    """Asks for one word after another until all have been said as often as wanted.

    It is fed the blocks of a microphone and what was typed meanwhile, and is always in one of
    three states: waiting for the moment to record, recording, or waiting for a decision.

    Args:
        collection: keeps the clips.
        words: to be said, each ``repeats`` times, those that are there already counted.
        prompt: tells the person.
        seconds: of one recording.
        ask: whether a good recording is kept only when a key says so.

    """

    def __init__(
        self,
        collection: Collection,
        words: tuple[str, ...],
        repeats: int,
        prompt: Prompt,
        *,
        seconds: float,
        ask: bool,
    ) -> None:
        self._collection = collection
        self._words, self._repeats = words, repeats
        self._prompt = prompt
        self._length = round(seconds * SAMPLE_RATE)
        self._ask = ask
        self._word = ""  # that is asked for; none once all is said
        self._take: Take | None = None  # that waits for a decision
        self._ahead = 0  # samples to pass before the recording
        self._heard: Wave = np.zeros(0, np.float32)  # of the recording
        self._lost = 0  # losses of audio before it
        self.rejected = 0  # one recording after another
        self._next()

    @property
    def asks(self) -> bool:
        """Whether it waits for a key."""
        return self._take is not None

    @property
    def done(self) -> bool:
        """Whether nothing is left to say."""
        return not self._word

    def feed(self, block: Wave, typed: str, lost: int = 0) -> bool:
        """Take a block and what was typed; False once the person has had enough, or all is said.

        ``lost`` counts how often audio was lost so far: a recording with a gap is rejected.
        """
        for key in typed:
            if key in "qQ":
                return False
            self._press(key)
        if self._take is None and self._word:
            self._hear(block, lost)
        return bool(self._word)

    def _press(self, key: str) -> None:
        if self._take and key in "\r\n yYaA":
            self._keep(self._take)
        elif self._take and key in "rRuU":  # of two, the one that waits is the last
            self._prompt.note("once more")
            self._begin(LEAD_SECONDS)
        elif key in "uU":
            self._undo()

    def _hear(self, block: Wave, lost: int) -> None:
        """Let the lead pass, then record; where sound is lost meanwhile, the lead begins anew."""
        block, _ = clean_samples(block)
        if not len(self._heard) and lost != self._lost:
            self._lost = lost
            self._ahead = max(self._ahead, round(LEAD_SECONDS * SAMPLE_RATE))
            return
        ahead = min(len(block), self._ahead)
        self._ahead -= ahead
        if ahead == len(block):
            return
        if not len(self._heard):
            self._prompt.speak()
        self._heard = np.concatenate([self._heard, block[ahead:]])
        self._prompt.level(block)
        if len(self._heard) >= self._length:
            self._judge(gap=lost != self._lost)

    def _judge(self, gap: bool) -> None:
        take = judge(self._heard[: self._length])
        problem = LOST if gap else take.problem
        self._prompt.heard(take, problem)
        self.rejected = self.rejected + 1 if problem else 0
        if problem:
            self._begin(READ_SECONDS)
        elif self._ask:
            self._take = take
            self._prompt.ask()
        else:
            self._keep(take)

    def _keep(self, take: Take) -> None:
        path = self._collection.add(self._word, take.wave)
        self._prompt.note(f"kept {path}")
        self._next()

    def _undo(self) -> None:
        word = self._collection.undo()
        if word is None:
            self._prompt.note("there is nothing to undo")
            return
        self._prompt.note(f"the last clip of {word!r} is deleted")
        self._next()

    def _next(self) -> None:
        """Ask for what has been said least often."""
        left = remaining(self._words, self._repeats, self._collection.counts())
        self._word = left[0] if left else ""
        if self._word:
            total = len(self._words) * self._repeats
            self._prompt.word(self._word, total - len(left) + 1, total)
            self._begin(LEAD_SECONDS)

    def _begin(self, lead: float) -> None:
        """Record anew, after so many seconds."""
        self._take = None
        self._ahead = round(lead * SAMPLE_RATE)
        self._heard = np.zeros(0, np.float32)


class Keyboard(KeySource, Protocol):
    """Where keys come from, or come from no more."""

    @property
    def closed(self) -> bool:
        """Whether no key can come, or none yet."""
        ...


def run(session: Session, blocks: Iterable[Wave], keys: Keyboard, source: Source) -> None:
    """Record until all is said, ``q`` is typed, or the blocks end.

    Raises:
        UsageError: a key is needed, but none can come.

    """
    if session.done:
        return
    for block in blocks:
        if not session.feed(block, keys.poll(), source.dropped + source.overruns):
            break
        if session.asks and keys.closed:
            raise UsageError("no keys can be typed here; add --yes to keep every good clip")
        if session.rejected >= MOST_REJECTED and keys.closed:
            raise KwsError(
                f"{MOST_REJECTED} recordings in a row were rejected, and no key can be typed here; "
                "look at the microphone, then call this again to go on"
            )


@click.command(cls=options.Command)
@click.option("--language", required=True, callback=options.tag, help="BCP 47 tag, for example de")
@click.option("--words", required=True, callback=options.words_of, help="word,word,…: what to say")
@click.option(
    "--speaker",
    required=True,
    help="who speaks, always the same: a code such as s01, since adapters name who was heard",
)
@click.option(
    "--out",
    default="recordings",
    show_default=True,
    type=options.FOLDER,
    help="folder of words, and of their manifest.csv",
)
@click.option(
    "--repeats",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="clips of each word, those recorded before counted",
)
@options.microphone
@click.option(
    "--seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(1, 10),
    callback=options.finite,
    help="length of one recording, to say the word in",
)
@click.option("-y", "--yes", is_flag=True, help="keep every good clip without asking")
@click.option(
    "--format",
    "file_format",
    default="flac",
    show_default=True,
    type=click.Choice(["flac", "wav"]),
    help="of the files",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object about what is there now")
def collect(
    language: str,
    words: tuple[str, ...],
    speaker: str,
    out: Path,
    repeats: int,
    device: str | None,
    seconds: float,
    yes: bool,
    file_format: Format,
    as_json: bool,
) -> None:
    """Record words with a microphone, for kws adapt --data FOLDER.

    Each word is asked for in turn; what is clipped, silent, cut, too short or too long is redone.
    Keys: Enter keeps a clip, r records it again, q quits; while a word is asked for, u deletes the
    last clip. Run it again to resume, and with at least three speakers, so that nobody is in both
    training and test.
    """
    wanted = tuple(dict.fromkeys(words))
    collection = Collection(out, language, speaker, file_format)
    if not remaining(wanted, repeats, collection.counts()):
        report(collection, wanted, repeats, as_json=as_json)
        return
    refuse_unwritable(out)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        keys = stack.enter_context(Keys())
        microphone = stack.enter_context(Microphone(device))
        prompt = stack.enter_context(_prompt(microphone, keys))
        microphone.tell = prompt.note
        session = Session(collection, wanted, repeats, prompt, seconds=seconds, ask=not yes)
        run(session, microphone, keys, microphone)
    report(collection, wanted, repeats, as_json=as_json)


def _prompt(source: Source, keys: Keyboard) -> AbstractContextManager[Prompt]:
    if not can_draw(sys.stderr):
        return PromptLines()
    return PromptScreen(source, keyless=lambda: keys.closed)


def report(collection: Collection, words: tuple[str, ...], repeats: int, *, as_json: bool) -> None:
    """Print what there is of this person now, and what comes next."""
    counts = collection.counts()
    have = {word: counts[word] for word in words}
    if as_json:
        facts = {"manifest": str(collection.manifest), "speaker": collection.speaker, "clips": have}
        click.echo(json_line(facts))
        return
    for word, count in have.items():
        click.echo(f"{count:5} of {repeats}  {word}")
    if any(have.values()):
        command = shlex.join(["kws", "adapt", "--data", str(collection.folder)])
        click.echo(f"in {collection.manifest}, for {command}")
