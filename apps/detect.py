"""``kws detect``: find keywords in files, with the engine that listens."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from kws.detector import Detection
from kws.engine import Engine
from kws.errors import KwsError

from . import options
from .listening.screen import line
from .terminal import complain, json_line, one_line
from .zoo import NamedAdapter, adapters_to_load


def hear(engine: Engine, file: Path) -> Iterator[Detection]:
    """Every keyword of one file, in the language that is active, as it is heard."""
    from audio_data.decode import decode_blocks

    engine.reset()
    for block in decode_blocks(file):
        yield from engine.feed(block)
    yield from engine.flush()


def report(
    file: Path, found: Iterable[Detection], language: str, *, as_json: bool, named: bool
) -> None:
    """Print what one file holds in a language; ``named`` says which file it is."""
    if as_json:
        for event in found:
            name = {"file": str(file)} if named else {}
            click.echo(json_line(name | event.as_dict()))
        return
    events = iter(found)
    first = next(events, None)
    if named:
        click.echo(f"{one_line(str(file))}:")
    click.echo(line(first) if first else f"no keyword of {language} found")
    for event in events:
        click.echo(line(event))


@click.command(cls=options.Command)
@click.argument("files", nargs=-1, required=True, type=options.FILE)
@options.base
@options.adapters
@click.option(
    "--language",
    help="to detect; by default the last adapter's, or the base's own; if neither a base nor "
    "adapters are named, it may be any supplied one",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line for each detection")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    callback=options.finite,
    help="instead of the one kept in the adapter, 0 to 1",
)
def detect(
    files: tuple[Path, ...],
    base: Path,
    adapters: tuple[NamedAdapter, ...],
    language: str | None,
    as_json: bool,
    threshold: float | None,
) -> None:
    """Find keywords in FILES."""
    from .wiring import open_runtime

    heard = adapters_to_load(adapters, language, of_a_base=options.is_given("base"))
    engine = Engine(open_runtime(base, *heard), threshold=threshold)
    failed = False
    for file in files:
        try:
            found = hear(engine, file)
            report(file, found, engine.language, as_json=as_json, named=len(files) > 1)
        except KwsError as error:  # the other files are heard all the same
            complain(error)
            failed = True
    if failed:
        sys.exit(1)
