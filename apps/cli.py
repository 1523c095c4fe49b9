"""The ``kws`` command: one subcommand per module; errors are one line on standard error."""

import sys
from contextlib import suppress
from importlib import import_module

import click

from kws import __version__
from kws.errors import KwsError, UsageError

COMMANDS = (
    "demo",
    "pretrain",
    "adapt",
    "evaluate",
    "calibrate",
    "detect",
    "listen",
    "collect",
    "adapters",
    "export",
    "data",
    "bench",
)


class Lazy(click.Group):
    """Imports a command's module when it is called for, so that listening never meets torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"apps.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kws")
def kws() -> None:
    """Spot keywords in any language: one frozen network, a few kilobytes per language."""


def main() -> None:
    """Run the command line; exit code 2 for wrong use, 1 for failure, 130 when interrupted."""
    try:
        code = kws(standalone_mode=False)  # what --help, --version and Context.exit ask for
        sys.exit(code if isinstance(code, int) else 0)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()  # the help itself
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(2)
    except KwsError as error:
        _complain(str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # a name that is too long, or a full disk behind standard output
        _complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
        _give_up_output()
        sys.exit(1)


def _give_up_output() -> None:
    """Do not try again at the end what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()


def _complain(sentence: str) -> None:
    """One line, whatever a file name or a library put into it."""
    click.echo(f"kws: {' '.join(sentence.splitlines())}", err=True)
