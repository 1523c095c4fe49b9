"""``kws report``, and ``kws bench report``: tables and pictures made of records."""

from pathlib import Path
from typing import Final

import click

from kws.errors import UsageError

from . import options
from .experiments.records import RECORDS, read_record
from .zoo import ZOO

RESULTS: Final = Path("docs/results.md")
SUMMARY: Final = Path("README.md")


@click.command("report")
@click.option(
    "--records",
    default=RECORDS,
    show_default=True,
    type=options.PATH,
    help="folder of records, with those in folders below it",
)
@click.option(
    "--out",
    default=RESULTS,
    show_default=True,
    type=options.PATH,
    help="the page; its pictures go beside it",
)
def report(records: Path, out: Path) -> None:
    """Turn records into tables and pictures; in this project also the README's table."""
    from .results.page import write_results, write_summary

    found = [read_record(path) for path in sorted(records.rglob("*.json"))]
    if not found:
        raise UsageError(f"there are no records in {records}; make some with kws bench run")
    home = out.absolute().parent.parent
    ours = out.resolve() == (home / RESULTS).resolve() and (home / "apps" / "bench.py").is_file()
    if not ours:
        write_results(found, out, None, records)
    elif records.resolve() != (home / RECORDS).resolve():
        raise UsageError(f"{RESULTS} is made of {RECORDS}; name an --out for those in {records}")
    else:
        write_results(found, out, ZOO, RECORDS)
        write_summary(found, home / SUMMARY)
    click.echo(f"{out} from {len(found)} records")
