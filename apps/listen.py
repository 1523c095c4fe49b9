"""``kws listen``: hear keywords live, and change the language with a key."""

import io
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.engine import Engine
from kws.errors import UsageError
from kws.files import refuse_unwritable

from . import options
from .listening.command import LONGEST_TIMEOUT, TIMEOUT, ProgramRunner, parse
from .listening.keep import LIMIT, Keeper
from .listening.keys import Keys, KeySource
from .listening.live import LiveEngine
from .listening.microphone import Microphone, list_devices
from .listening.panels import thresholds
from .listening.screen import Lines, Screen, Show, Source, Tee, no_terminal
from .listening.worker import CAPACITY
from .terminal import can_draw, json_line
from .zoo import NamedAdapter, adapters_to_load

FILE_BLOCK: Final = 1_280  # samples of a file that are fed at once, 80 ms
CLOSING: Final = 5.0  # seconds that files and commands may still take when somebody ends it


class Recording:
    """A file in blocks, like a microphone; ``real_time`` hands them out as they would come."""

    dropped = overruns = 0
    trouble = ""

    def __init__(
        self,
        path: Path,
        *,
        real_time: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        from audio_data.decode import decode_blocks

        self.name = path.name
        self._blocks = decode_blocks(path)
        self._real_time = real_time
        self._clock = clock
        self._sleep = sleep

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yield blocks ``[T]``, mono at 16 kHz, to the end of the file."""
        begun, heard = self._clock(), 0
        for wave in self._blocks:
            for start in range(0, len(wave), FILE_BLOCK):
                block = wave[start : start + FILE_BLOCK]
                heard += len(block)
                if self._real_time:
                    due = begun + heard / SAMPLE_RATE
                    self._sleep(max(0.0, due - self._clock()))
                yield block


def run(
    engine: Engine,
    blocks: Iterable[NDArray[np.float32]],
    keys: KeySource,
    show: Show,
    seconds: float = math.inf,
) -> bool:
    """Listen until the blocks end, ``q`` is typed, or so many seconds of audio were heard.

    Returns:
        Whether it ended by itself.

    """
    stopped = False
    try:
        for block in blocks:
            if stopped := not obey(keys.poll(), engine, show):
                break
            if len(block) and not engine.seconds:
                show.ready()
            left = min((seconds - engine.seconds) * SAMPLE_RATE, len(block))  # samples
            show.update(engine.feed(block[: max(1, round(left))]))
            if engine.seconds >= seconds:
                break
        show.update(engine.flush())
    finally:
        show.ended()
    return not stopped


def obey(typed: str, engine: Engine, show: Show) -> bool:
    """Do what the keys say, in their order; False once one of them says to stop."""
    for key in typed:
        if key in "qQ":
            return False
        language = _chosen(key, engine)
        if language and language != engine.language:
            engine.set_language(language)
            show.switched()
        elif isinstance(engine, LiveEngine):
            _turn(key, engine, show)
    return True


def _turn(key: str, engine: LiveEngine, show: Show) -> None:
    """Turn the thresholds, or mute and unmute, if the key says so."""
    if key in "mM":
        engine.muted = not engine.muted
        show.note("muted: nothing is heard" if engine.muted else "listening again")
    elif key in "+=-_":
        engine.turn(up=key in "+=")
        show.note(f"{engine.language}: threshold {thresholds(engine)}")


def _chosen(key: str, engine: Engine) -> str | None:
    """The language that a key asks for, if any."""
    languages = engine.languages
    if key in "\tnN":
        return languages[(languages.index(engine.language) + 1) % len(languages)]
    if key in "123456789" and int(key) <= len(languages):
        return languages[int(key) - 1]
    return None


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@click.command(cls=options.Command)
@options.base
@options.adapters
@click.option(
    "--language",
    help="active at the start; by default that of the last adapter named, or else the base's own",
)
@options.microphone
@click.option(
    "-l",
    "--list-devices",
    "listed",
    is_flag=True,
    help="list the microphones and stop",
)
@click.option("--wav", type=options.PATH, help="use this file instead")
@click.option("--real-time", is_flag=True, help="read the file in real time")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line for each detection")
@click.option("--seconds", type=float, default=math.inf, help="stop after so much audio")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    callback=options.finite,
    help="instead of the one kept in each adapter, 0 to 1",
)
@click.option(
    "--exec",
    "command",
    metavar="COMMAND",
    help="run this on each detection, one run after another, without a shell: it finds "
    "KWS_KEYWORD, KWS_LANGUAGE, KWS_SCORE and KWS_TIME in its environment and a JSON object on "
    "its standard input",
)
@click.option(
    "--exec-seconds",
    default=TIMEOUT,
    show_default=True,
    type=click.FloatRange(0, LONGEST_TIMEOUT, min_open=True),
    callback=options.finite,
    help="after which such a run is ended",
)
@click.option(
    "--save-dir",
    type=options.FOLDER,
    help="keep the second and a half around each hit and near miss here, as WAV, with its scores "
    "as JSON",
)
@click.option(
    "--save-limit",
    default=LIMIT,
    show_default=True,
    type=click.IntRange(1),
    help="hits kept, and as many near misses; the oldest are deleted (500 of both: 50 to 60 MB)",
)
@click.option(
    "--picture",
    type=options.OUTPUT,
    help="write the screen as it is at the end to this SVG",
)
def listen(
    base: Path,
    adapters: tuple[NamedAdapter, ...],
    language: str | None,
    device: str | None,
    listed: bool,
    wav: Path | None,
    real_time: bool,
    as_json: bool,
    seconds: float,
    threshold: float | None,
    command: str | None,
    exec_seconds: float,
    save_dir: Path | None,
    save_limit: int,
    picture: Path | None,
) -> None:
    """Listen to the microphone and report keywords in the active language.

    Keys: 1 to 9 choose a language, Tab or n the next one, + and - turn the threshold, m mutes,
    q quits. A microphone that is unplugged is looked for until it is back or, after half a minute,
    another that -d fits takes its place.

    No sound leaves this machine: nothing is sent, and nothing is kept without --save-dir.
    """
    if listed:
        devices = list_devices()
        lines = "\n".join(map(str, devices))
        click.echo(json_line([asdict(each) for each in devices]) if as_json else lines)
        return
    _refuse_contradictions(
        device, wav, seconds, command, save_dir, picture, real_time=real_time, as_json=as_json
    )
    if command is not None:
        parse(command)  # before anything is loaded
    # What a file holds may take its time; what a microphone hears must not pile up.
    live = not wav or real_time
    capacity = CAPACITY if live else None
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        from .wiring import open_runtime

        heard = adapters_to_load(adapters, language, of_a_base=options.is_given("base"))
        engine = LiveEngine(open_runtime(base, *heard), threshold=threshold)
        blocks: Recording | Microphone
        if wav:
            blocks = Recording(wav, real_time=real_time)
        else:
            blocks = stack.enter_context(Microphone(device))
        # A script that goes through files may read their names from the same input.
        keys = stack.enter_context(Keys(io.StringIO() if wav and not _at_terminal() else None))
        show = stack.enter_context(_show(engine, blocks, keys, as_json, picture, live))
        wait = None if wav else max(CLOSING, exec_seconds)
        if isinstance(blocks, Microphone):
            blocks.tell = show.note
        if save_dir:
            keeper = Keeper(save_dir, engine, show.note, limit=save_limit, capacity=capacity)
            stack.callback(lambda: keeper.close(wait))
            engine.reactions.append(keeper.hear)
        if command:
            quiet = isinstance(show, Screen)
            runs = ProgramRunner(
                command, show.note, timeout=exec_seconds, quiet=quiet, capacity=capacity
            )
            stack.callback(lambda: runs.close(wait))
            engine.reactions.append(runs.hear)
        try:
            ended = run(engine, blocks, keys, show, seconds)
        except BaseException:  # also that nobody reads standard output any more
            wait = CLOSING
            raise
        if not ended:
            wait = CLOSING  # whoever stops does not wait for all that a file held


def _refuse_contradictions(
    device: str | None,
    wav: Path | None,
    seconds: float,
    command: str | None,
    save_dir: Path | None,
    picture: Path | None,
    *,
    real_time: bool,
    as_json: bool,
) -> None:
    """Raise a UsageError where options contradict each other, or one would be ignored."""
    if not seconds > 0:
        raise UsageError(f"--seconds must be above 0, not {seconds}")
    if wav and device is not None:
        raise UsageError("give either --wav or --device, not both")
    if real_time and not wav:
        raise UsageError("--real-time is for --wav; a microphone is heard at its own pace anyway")
    for name, needs, there in (
        ("save_limit", "--save-dir", save_dir),
        ("exec_seconds", "--exec", command),
    ):
        if options.is_given(name) and there is None:
            raise UsageError(f"--{name.replace('_', '-')} needs {needs}; add it, or leave it out")
    if picture and as_json:
        raise UsageError("--picture draws the screen, which --json does without; leave one out")
    if picture:
        if picture.suffix.lower() != ".svg":
            raise UsageError(f"--picture {picture} is to be an SVG; name a file that ends in .svg")
        refuse_unwritable(picture.parent)


@contextmanager
def _show(
    engine: LiveEngine, source: Source, keys: Keys, as_json: bool, picture: Path | None, live: bool
) -> Iterator[Show]:
    seen = can_draw(sys.stdout) and not as_json

    def keyless() -> bool:
        return keys.closed

    lines = Lines(engine, source, as_json=as_json, live=live, keyless=keyless)
    if not (seen or picture):
        yield lines
        return
    with Screen(engine, source, None if seen else no_terminal(), keyless=keyless) as screen:
        try:
            yield screen if seen else Tee(lines, screen)
        finally:
            if picture:
                screen.save(picture)
