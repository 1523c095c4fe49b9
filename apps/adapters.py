"""``kws adapters``: what languages there are in a folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from kws.adapter import ADAPTER_CONFIG, AdapterConfig, load_adapter
from kws.errors import KwsError, UsageError
from kws.files import below
from kws.names import spotted
from kws.quantized import DEFAULT_BITS

from . import options
from .progress import counted
from .terminal import complain, json_line, one_line
from .training.card import whose

SUFFIXES: Final = {"synthetic voices": " TTS", "people and synthetic voices": " mixed"}
WIDE: Final = 100  # columns, in which there is room for some words
NARROW: Final = 76  # in which there is none for all figures
SLIM: Final = 60  # in which there is room for what tells adapters apart
TIGHT: Final = 45  # in which there is none but for names
FLEXIBLE: Final = ("words", "method", "folder")  # columns that may take several lines
FEW: Final = 3  # of these


@click.group(cls=options.Group)
def adapters() -> None:
    """Look at adapters."""


@adapters.command("list")
@click.argument("folder", type=options.PATH)
@click.option("--json", "as_json", is_flag=True, help="one JSON array, nothing else")
def list_adapters(folder: Path, as_json: bool) -> None:
    """List the adapters in FOLDER and the folders below it."""
    rows = []
    found, broken = _configs(folder)
    for path, config in found:
        rows.append(
            {
                "folder": str(path),
                "language": config.language,
                "words": len(spotted(config.labels)),
                "keywords": spotted(config.labels),
                "method": config.method,
                "budget": config.budget,
                "bits": config.training.get("bits"),
                "spent_parameters": config.spent_parameters,
                "stored_bytes": config.stored_bytes,
                "validation_accuracy": _accuracy(config),
                "validated_on": _validated_on(config),
                "base_sha256": config.base_sha256,
            }
        )
    if as_json:
        click.echo(json_line(rows))
    elif rows:
        console = Console(markup=False, emoji=False, highlight=False)
        console.print(_table(rows, folder, console.width))
    elif not broken:
        click.echo(f"no adapters in {folder}; make one with kws adapt")
    click.get_current_context().exit(int(broken))


@adapters.command("picture")
@click.argument("folder", type=options.PATH)
@options.base
@click.option(
    "--out",
    default=Path("sites.png"),
    show_default=True,
    type=options.PATH,
    callback=options.png,
    help="the picture",
)
def picture(folder: Path, base: Path, out: Path) -> None:
    """Draw which sites of the base the adapters in FOLDER own, one row a language."""
    from kws.sites import find_sites

    from .training.pictures import choices, row_of
    from .wiring import open_base

    opened = open_base(base)
    found, broken = _configs(folder)
    rows = [
        row_of(config, "" if path == folder else str(path.relative_to(folder)))
        for path, config in found
        if config.base_sha256 == opened.config.sha256
    ]
    if not rows:
        raise UsageError(
            f"no adapter in {folder} belongs to the base in {base}; name theirs with --base"
        )
    choices(rows, find_sites(opened.network), out)
    click.echo(f"{out}: {counted(len(rows), 'adapter')}")
    click.get_current_context().exit(int(broken))


def _table(rows: Sequence[Mapping[str, Any]], folder: Path, width: int) -> Table:
    """For people: folders below the one that was asked for, and bases where there are several."""
    several = len({row["base_sha256"] for row in rows}) > 1
    words = FEW if width >= WIDE else 0
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "language": lambda row: row["language"],
        "words": lambda row: _some(row["keywords"], words),
        "method": _method,
        "parameters": lambda row: f"{row['spent_parameters']:,}",
        "bytes": lambda row: f"{row['stored_bytes']:,}",
        "validation": _validation,
        "base": lambda row: row["base_sha256"][:8],
        "folder": lambda row: one_line(str(Path(row["folder"]).relative_to(folder))),
    }
    left_out = [*([] if several else ["base"]), *(["parameters"] if width < NARROW else [])]
    if width < SLIM:
        left_out += ["method", "bytes"]
    if width < TIGHT:
        left_out += ["words", "validation"]
    table = Table()
    for name in (shown := [name for name in columns if name not in left_out]):
        table.add_column(name, no_wrap=name not in FLEXIBLE, overflow="fold")
    for row in rows:
        table.add_row(*(columns[name](row) for name in shown))
    return table


def _method(row: Mapping[str, Any]) -> str:
    """With its budget if it has one, and its bits where they are not the usual ones."""
    own = f"{row['method']} {row['budget'] or ''}".strip()
    return own if row["bits"] in (None, DEFAULT_BITS) else f"{own} {row['bits']}-bit"


def _validation(row: Mapping[str, Any]) -> str:
    right = row["validation_accuracy"]
    return "-" if right is None else f"{right:.1%}{SUFFIXES.get(row['validated_on'], '')}"


def _accuracy(config: AdapterConfig) -> float | None:
    """What was measured on validation, if it was."""
    found = _validated(config).get("accuracy")
    return found if isinstance(found, float) else None


def _validated_on(config: AdapterConfig) -> str | None:
    """Who said what it was validated on, if that is known."""
    found = _validated(config)
    made, count = found.get("made"), found.get("count")
    return None if made is None or count is None else whose(count, made)


def _validated(config: AdapterConfig) -> Mapping[str, Any]:
    """The figures of validation, whatever a file holds in their place."""
    found = config.metrics.get("validation")
    return found if isinstance(found, dict) else {}


def _some(words: Sequence[str], shown: int) -> str:
    """How many there are, and some of them.

    >>> _some(["ja", "nein"], 3), _some(["a", "b", "c", "d"], 3), _some(["a", "b"], 0)
    ('2: ja, nein', '4: a, b, c, ...', '2')
    """
    few = ", ".join([*words[:shown], *(["..."] if len(words) > shown else [])])
    return f"{len(words)}: {few}" if shown else str(len(words))


def _configs(folder: Path) -> tuple[list[tuple[Path, AdapterConfig]], bool]:
    """All adapters below a folder, and whether any cannot be read, which is named and left out."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds your adapters")
    found, unread = [], list[OSError]()
    paths = sorted(file for file in below(folder, unread.append) if file.name == ADAPTER_CONFIG)
    for closed in unread:
        complain(f"{closed.filename} cannot be read: {closed.strerror or closed}")
    broken = bool(unread)
    for path in paths:
        try:
            found.append((path.parent, load_adapter(path.parent).config))
        except KwsError as error:
            broken = True
            complain(error)
    return found, broken
