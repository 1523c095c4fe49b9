"""Work that must not keep the listener waiting."""

from collections.abc import Callable
from contextlib import suppress
from queue import Queue
from threading import Event, Thread
from typing import Final

CAPACITY: Final = 16  # jobs that may wait
Tell = Callable[[str], object]


class Worker:
    """Does one job after another on a thread of its own; what a job complains of is told.

    Args:
        name: of the jobs, for people.
        tell: takes a sentence.
        capacity: jobs that may wait; a job more is left out. None: any number.

    """

    def __init__(self, name: str, tell: Tell, capacity: int | None = CAPACITY) -> None:
        self._name, self._tell, self._capacity = name, tell, capacity
        self._jobs: Queue[Callable[[], None] | None] = Queue()
        self._done = Event()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have it done later; returns at once."""
        if self._capacity is not None and self._jobs.qsize() >= self._capacity:
            self._tell(f"{self._name}: {self._capacity} are already waiting; this one is skipped")
        else:
            self._jobs.put(job)

    def close(self, timeout: float | None = None) -> bool:
        """Wait until all is done, but no longer than ``timeout`` seconds; whether all is done.

        Who interrupts has waited long enough.
        """
        self._jobs.put(None)
        with suppress(KeyboardInterrupt):
            if self._done.wait(timeout):  # a join that is interrupted takes the thread for ended
                self._thread.join()
        return self._done.is_set()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # whatever it is, the next job may do
                with suppress(Exception):  # nor may one wait for ever where none can be told
                    self._tell(f"{self._name}: {error or type(error).__name__}")
        self._done.set()
