"""``kws adapters``: what languages there are in a folder."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kws.adapter import CONFIG, read_adapter_config
from kws.errors import KwsError, UsageError


@click.group()
def adapters() -> None:
    """Look at adapters."""


@adapters.command("list")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON array, nothing else")
def list_adapters(folder: Path, as_json: bool) -> None:
    """List the adapters in FOLDER and the folders below it."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds your adapters")
    rows = []
    for path in sorted(folder.rglob(CONFIG)):
        try:
            config = read_adapter_config(path.parent)
        except KwsError as error:
            click.echo(f"kws: {error}", err=True)
            continue
        rows.append(
            {
                "folder": str(path.parent),
                "language": config.language,
                "words": len(config.labels),
                "method": config.method,
                "budget": config.budget,
                "spent_parameters": config.spent_parameters,
                "stored_bytes": config.stored_bytes,
                "validation_accuracy": config.metrics["validation"]["accuracy"],
                "base_sha256": config.base_sha256,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        click.echo(f"no adapters in {folder}; make one with kws adapt")
        return
    table = Table("folder", "language", "method", "budget", "spent", "bytes", "validation", "base")
    for row in rows:
        table.add_row(
            str(row["folder"]),
            str(row["language"]),
            str(row["method"]),
            str(row["budget"] or "-"),
            f"{row['spent_parameters']:,}",
            f"{row['stored_bytes']:,}",
            f"{row['validation_accuracy']:.1%}",
            str(row["base_sha256"])[:8],
        )
    Console().print(table)
