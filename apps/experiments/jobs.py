"""A grid's groups in processes side by side on this machine, which share its cores."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import torch

from kws.cores import cores
from kws.errors import KwsError

THREADS: Final = "OMP_NUM_THREADS"  # in the environment; who sets it is obeyed
PATHS: Final = "PYTHONPATH"
HERE: Final = Path(__file__).resolve().parents[2]  # of the packages


@contextmanager
def threads_of(jobs: int) -> Iterator[None]:
    """Take as many threads as one of so many jobs, however few are left: results depend on them."""
    before = torch.get_num_threads()
    if jobs > 1 and not os.environ.get(THREADS):
        torch.set_num_threads(_threads_each(jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def end_with_input() -> None:
    """End at once where standard input does: whoever began this job is gone, however it ended.

    Checkpoints are whole at any moment, and whoever runs the grid again goes on from there.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


def side_by_side(shares: Sequence[Sequence[int]], arguments: Sequence[object], jobs: int) -> None:
    """Run a grid's groups in a process for each share of them.

    None takes more threads than its part of the cores where there are so many ``jobs``, unless
    ``OMP_NUM_THREADS`` says otherwise.

    Raises:
        KwsError: one of them failed; the others went on to their end.

    """
    # This program, not what lies in the current folder under the same name.
    command = [sys.executable, "-P", "-c", "from apps.cli import main; main()", "bench", "run"]
    command += map(str, arguments)
    paths = [str(HERE), os.environ.get(PATHS, "")]
    environment = os.environ | {
        PATHS: os.pathsep.join(filter(None, paths)),
        THREADS: os.environ.get(THREADS) or str(_threads_each(jobs)),
    }
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--job", *(f"--groups={number}" for number in share)],
                    stdin=subprocess.PIPE,
                    env=environment,
                )
            )
            for share in shares
        ]
        try:
            failed = sum(process.wait() != 0 for process in started)
        except BaseException:
            for process in started:
                process.terminate()
            raise
    if failed:
        raise KwsError(f"{failed} of {len(shares)} jobs failed; see their messages above")


def _threads_each(jobs: int) -> int:
    return max(1, cores() // jobs)
