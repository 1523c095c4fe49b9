"""A grid's groups in processes side by side on this machine, which share its cores."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from kws.errors import KwsError


@contextmanager
def threads_of(jobs: int) -> Iterator[None]:
    """Take as many threads as one of so many jobs, however few are left: results depend on them."""
    before = torch.get_num_threads()
    if jobs > 1:
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

    None takes more threads than its part of the cores where there are so many ``jobs``.

    Raises:
        KwsError: one of them failed; the others went on to their end.

    """
    command = [sys.executable, "-c", "from apps.cli import main; main()", "bench", "run"]
    command += map(str, arguments)
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--job", *(f"--groups={number}" for number in share)],
                    stdin=subprocess.PIPE,
                    env=os.environ | {"OMP_NUM_THREADS": str(_threads_each(jobs))},
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
    return max(1, (os.cpu_count() or 1) // jobs)
