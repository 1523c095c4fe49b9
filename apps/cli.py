"""The ``kws`` command: one subcommand per module; errors are one line on standard error."""

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

import click

from kws import __version__
from kws.errors import KwsError, UsageError

from .signals import terminable
from .terminal import complain, fill_standard_streams, write_any_script

COMMANDS: Final = {
    "demo": "Try the supplied languages, learn another from text, and try it too.",
    "pretrain": "Train the network on one language; it is never changed again.",
    "adapt": "Learn one more language: what it adds to the base stays within the budget.",
    "evaluate": "Measure an adapter, or the base, on recordings.",
    "calibrate": "Set the thresholds of an adapter or of the base, one for each keyword.",
    "detect": "Find keywords in FILES.",
    "listen": "Listen to the microphone and report keywords in the active language.",
    "collect": "Record words with a microphone, for kws adapt --data FOLDER.",
    "adapters": "Look at adapters.",
    "export": "Write networks for ONNX Runtime.",
    "data": "Get public speech corpora, or make speech where there is none.",
    "bench": "Run grids of experiments and report them.",
    "report": "Turn records into tables and pictures; in this project also the README's table.",
}
RESUMED: Final = {"adapt", "bench run", "data", "demo", "pretrain"}  # after they were stopped
UNWRITTEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EBADF)
OURS: Final = ("apps", "audio_data", "kws", "models", "policy")
LISTENING: Final = (
    "numpy",
    "onnxruntime",
    "rich",
    "safetensors",
    "sounddevice",
    "soundfile",
    "soxr",
)


class Lazy(click.Group):
    """Imports a command's module when it is called for, so that listening never meets torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

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
    fill_standard_streams()
    write_any_script()
    try:
        with terminable():
            code = kws(standalone_mode=False)  # what --help, --version and Context.exit ask for
        if sys.stdout:
            sys.stdout.flush()  # what a disk had no room for
        sys.exit(code if isinstance(code, int) else 0)
    except (click.Abort, KeyboardInterrupt):
        if sentence := _stopped(sys.argv[1:]):
            complain(sentence)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()  # the help itself
        sys.exit(2)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(2)
    except KwsError as error:
        complain(str(error))
        _give_up_output()
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # a name that is too long, or a full disk behind standard output
        where = error.filename or ("standard output" if error.errno in UNWRITTEN else None)
        complain(f"{f'{where}: ' if where else ''}{error.strerror or error}")
        _give_up_output()
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
        extra = "runtime" if error.name.partition(".")[0] in LISTENING else "train"
        complain(f"this needs {error.name}, which is not installed; pip install 'kws[{extra}]'")
        sys.exit(1)


def _stopped(words: Sequence[str]) -> str:
    """What is said where a command was stopped; nothing by a job, whose grid says it."""
    if not RESUMED & {" ".join(words[:count]) for count in (1, 2)}:
        return "stopped"
    if "--job" in words:
        return ""
    if "--again" in words:
        return "stopped; repeat it with --only for what is left: --again redoes what is done"
    return "stopped; repeat the command to resume what it has begun"


def _give_up_output() -> None:
    """Do not try again at the end what cannot be written."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()


if __name__ == "__main__":
    main()
