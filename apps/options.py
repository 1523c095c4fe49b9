"""Options that several commands share."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kws.errors import UsageError
from kws.names import NO_KEYWORDS, as_tag, composed, steers

from .zoo import BASE, NamedAdapter

F = TypeVar("F", bound=Callable[..., Any])
COMMA = re.compile("[,\u060c\u3001\uff0c]")  # Latin, Arabic, Chinese
LAST_SEED = 2**32 - 1
SOURCES = {
    "--adapter",
    "--after",
    "--data",
    "--keywords",
    "--negatives",
    "--others",
    "--wav",
    "--words",
}
LONGEST_HELP = 200  # characters of a sentence about a command
TAG = re.compile("([A-Za-z]{2,3}|[xi])(-[A-Za-z0-9]{1,8})*", re.IGNORECASE)  # of BCP 47


def at_home(path: str) -> str:
    """The path, with the user's folder for ``~`` and a leading ``~/``.

    >>> at_home("~") == os.path.expanduser("~"), at_home("~kept"), at_home("a/~")
    (True, '~kept', 'a/~')
    """
    return os.path.expanduser(path) if path == "~" or path.startswith("~/") else path


class Command(click.Command):
    """A command that refuses a second source where it takes one: the first would be ignored."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(given).items():
            several = isinstance(parameter, click.Option) and parameter.multiple
            if times > 1 and not several and (odd := SOURCES.intersection(parameter.opts)):
                raise click.UsageError(f"{odd.pop()} is given {times} times; give it once")
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands, whose help has the whole first sentence of each."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, self.commands[name].get_short_help_str(limit=LONGEST_HELP))
                    for name in self.list_commands(ctx)
                ]
            )


class _UserPath(click.Path):
    """A path as people type it: ``~`` of ``--out=~/adapter``, which shells leave, is their folder.

    It is not empty, which would be the folder that one happens to be in.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; name a file or a folder", param, ctx)
        return super().convert(at_home(value) if isinstance(value, str) else value, param, ctx)


FOLDER = _UserPath(path_type=Path, file_okay=False)
PATH = _UserPath(path_type=Path)
OUTPUT = _UserPath(path_type=Path, dir_okay=False)
FILE = _UserPath(path_type=Path, readable=False)  # read at its turn


def is_given(name: str) -> bool:
    """Whether the parameter of this name was given on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def pick_device(name: str) -> str:
    """What ``--device`` means here: ``auto`` takes a GPU where there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no GPU that torch can use here; choose --device cpu")
    return name


def refuse_to_change_ours(adapter: Path | None, what: str) -> None:
    """Raise a UsageError where a command would write to the supplied base."""
    if not (adapter or is_given("base")):
        raise UsageError(
            f"name the adapter {what}, or the base itself with --base: the supplied base is "
            "changed only if it is named"
        )


def pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """What --filter and its like give: columns and wanted values."""
    found = []
    for value in values:
        column, equals, wanted = value.partition("=")
        if not (column and equals):
            raise click.BadParameter(f"'{value}' is not of the form column=value")
        found.append((column, wanted))
    return tuple(found)


def _respelt(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Words, and what is said for them."""
    parted = [value.partition("=") for value in values]
    for value, (word, _, spoken) in zip(values, parted, strict=True):
        if not (word.strip() and spoken.strip()):
            raise click.BadParameter(f"'{value}' is not of the form word=spoken, as kws=kay-us")
        if steers(spoken.strip()):
            raise click.BadParameter(f"{value!r} has invisible characters; write only its letters")
    return {composed(word.strip()): spoken.strip() for word, _, spoken in parted}


def split_words(text: str) -> tuple[str, ...]:
    """Words parted by the comma of any script; a UsageError where one cannot be said.

    >>> split_words("ja, nein،لا,")
    ('ja', 'nein', 'لا')
    """
    words = tuple(word.strip() for word in COMMA.split(composed(text)) if word.strip())
    for word in words:
        if word in NO_KEYWORDS:
            raise UsageError(f"{word} is a class, not a word; leave it out")
        if steers(word):
            raise UsageError(f"{word!r} has invisible characters; write only its letters")
    return words


def words_of(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """The words that an option names; one that is given and names none is refused."""
    if value is None:
        return None
    words = split_words(value)
    if not words:
        rest = "" if parameter.required else ", or leave it out"
        raise click.BadParameter(f"'{value}' names no word; write ja,nein{rest}")
    return words


def _named_adapters(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[NamedAdapter, ...]:
    """NAME=FOLDER, or a folder alone, whose path may hold an equals sign too."""
    found = []
    for value in values:
        if not value:  # of a variable that is not set; else it would be the folder one is in
            raise click.BadParameter("it is empty; name a folder")
        name, equals, folder = value.partition("=")
        if not equals or "/" in name or os.path.exists(value):
            name, folder = "", value
        elif not (name and folder):
            raise click.BadParameter(f"'{value}' is not of the form NAME=FOLDER")
        found.append((name, Path(at_home(folder))))
    return tuple(found)


def tag(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no BCP 47 tag."""
    if value is not None and not TAG.fullmatch(value):
        raise click.BadParameter(f"'{value}' is no language; write it as de, cmn or pt-BR")
    return value and as_tag(value)


def png(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a picture that would not be what its name says."""
    if value is not None and value.suffix.lower() != ".png":
        raise click.BadParameter(f"pictures are PNG files; write it as {value.stem or 'name'}.png")
    return value


def finite(
    context: click.Context, parameter: click.Parameter, value: float | tuple[float, ...] | None
) -> float | tuple[float, ...] | None:
    """Refuse what is no number; the ranges let it pass."""
    given = value if isinstance(value, tuple) else (value,)
    if not all(number is None or math.isfinite(number) for number in given):
        raise click.BadParameter(f"{value} is no number")
    return value


def apply(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """Several options as one decorator, in the order given."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def recordings(*, required: bool) -> Callable[[F], F]:
    """Where recordings are, and which of them."""
    return apply(
        [
            click.option(
                "--data",
                required=required,
                type=PATH,
                help="manifest (CSV), or folder of recordings",
            ),
            click.option(
                "--filter",
                "filters",
                multiple=True,
                callback=pairs,
                help="column=value; repeat for more",
            ),
            click.option(
                "--language",
                callback=tag,
                help="BCP 47 tag, if the recordings do not state it",
            ),
            click.option(
                "--speaker-pattern", help="regular expression that finds the speaker in a file name"
            ),
            click.option(
                "--others",
                type=PATH,
                help="manifest or folder of other words (any language) that must not be detected",
            ),
        ]
    )


data = recordings(required=True)
data_if_any = recordings(required=False)
words = click.option("--words", callback=words_of, help="word,word,… that --tts speaks")
respelt = click.option(
    "--spell",
    "respelt",
    multiple=True,
    callback=_respelt,
    help="word=spoken, a respelling of a word that eSpeak NG mispronounces; repeatable",
)
keywords = click.option(
    "--keywords", callback=words_of, help="word,word,…; the rest of the language becomes unknown"
)
closed = click.option("--closed", is_flag=True, help="keywords only: no unknown, no silence")
per_word = click.option("--per-word", type=click.IntRange(1), help="at most N training clips each")
optimizer = click.option(
    "--optimizer",
    default="adamw",
    show_default=True,
    type=click.Choice(["adamw", "sgd"]),
    help="sgd wants another --lr",
)
seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, LAST_SEED),
    help="of all that is drawn at random",
)
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="where to compute; auto: on a GPU if there is one",
)
microphone = click.option("-d", "--device", help="microphone: index, or a part of its name")
as_json = click.option("--json", "as_json", is_flag=True, help="one JSON object, nothing else")
base = click.option(
    "--base",
    default=BASE,
    show_default="the supplied base",
    type=PATH,
    help="folder of the base",
)
adapter = click.option("--adapter", type=FOLDER, help="without it, the base in its own language")
adapters = click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="[NAME=]FOLDER",
    callback=_named_adapters,
    help="folder of an adapter; repeat for more; a NAME replaces its language, to distinguish two "
    "of one language",
)
