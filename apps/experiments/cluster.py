"""A grid spread over a Ray cluster: a task for each run, begun again where a worker is lost."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from kws.errors import KwsError, UsageError

RETRIES: Final = 5  # of a run whose worker is lost; then the run failed


class Named(Protocol):
    """What has a name for the cluster's own screens."""

    @property
    def name(self) -> str: ...


Run = TypeVar("Run", bound=Named)
Record = dict[str, Any]


def spread(
    runs: Iterable[Run], do: Callable[[Run], Record], address: str
) -> Iterator[tuple[Run, Record | str]]:
    """Do every run somewhere on the cluster; each comes with its record, as it is done.

    A run takes one core. What it reads must lie at the same path on every machine, and what it
    leaves is shared by all, so that a run that lost its worker goes on where that one was. A run
    that could not be done comes with the sentence that says why, and the others go on.

    Args:
        runs: to do.
        do: one of them; it may be begun several times, of which one is brought to its end.
        address: of a cluster that is there, or ``auto``.

    Raises:
        UsageError: Ray, or its client, is not installed, or there is no cluster.

    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs Ray; install it with: pip install 'kws[ray]'") from error
    if address.startswith("ray://") and find_spec("grpc") is None:
        raise UsageError(
            "an address such as ray://... needs Ray's client; install it with: pip install "
            "'ray[client]'"
        )
    try:
        if address != "auto":
            _probe(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        where = "here" if address == "auto" else f"at {address}"
        raise UsageError(
            f"there is no Ray cluster {where}; start one with: ray start --head"
        ) from error
    try:
        task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(_answer)
        here = Path.cwd()
        waiting = {task.options(name=run.name).remote(do, run, here): run for run in runs}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            run = waiting.pop(done)
            try:
                yield run, ray.get(done)
            except ray.exceptions.RayTaskError as error:
                yield run, f"{type(error.cause).__name__}: {error.cause}"
            except ray.exceptions.RayError as error:
                yield run, f"its workers were lost {RETRIES + 1} times ({type(error).__name__})"
    finally:
        ray.shutdown()


def _probe(address: str) -> None:
    """Raise an OSError or a ValueError where nobody listens, for which Ray itself waits long."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.port is None:
        raise ValueError(f"{address} names no port")
    socket.create_connection((parts.hostname, parts.port), timeout=10).close()


def _answer(do: Callable[[Run], Record], run: Run, folder: Path) -> Record | str:
    """On a worker: the run's record, or what was wrong with what it was given."""
    os.chdir(folder)  # paths are told as they are meant where the grid was started
    try:
        return do(run)
    except KwsError as error:
        return str(error)
