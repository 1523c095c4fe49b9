"""What another language costs a bank, as the bank grows.

    python benchmarks/growth.py BASE ADAPTER

Reads the adapter from its folder sixty times, each time as another language. Prints medians of the
first ten and of the last ten, in milliseconds of this thread's CPU: to read and load one, to
change to it, and one decision with it; and the bytes that one adds to the memory in use.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from apps.wiring import open_runtime
from kws.adapter import load_adapter
from kws.runtime import Runtime

LANGUAGES, GROUP = 60, 10
NAMES = "read and load", "change to it", "decide"


def milliseconds(action: Callable[[], object]) -> float:
    """Time of an action, once."""
    begin = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - begin) / 1e6


def add(bank: Runtime, folder: Path, name: str) -> list[float]:
    """Add a language and hear with it; how long each step took."""
    view = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    return [
        milliseconds(lambda: bank.load_adapter(load_adapter(folder), name)),
        milliseconds(lambda: bank.set_adapter(name)),
        milliseconds(lambda: bank.scores(view)),
    ]


def main(base: Path, folder: Path) -> None:
    """Measure and print."""
    bank = open_runtime(base)
    add(bank, folder, "warm")
    times = [add(bank, folder, f"x{number}") for number in range(LANGUAGES)]
    bank = open_runtime(base)
    add(bank, folder, "warm")
    held = []
    tracemalloc.start()
    for number in range(LANGUAGES):
        before, _ = tracemalloc.get_traced_memory()
        add(bank, folder, f"x{number}")
        after, _ = tracemalloc.get_traced_memory()
        held.append(after - before)
    tracemalloc.stop()
    first, last = slice(0, GROUP), slice(LANGUAGES - GROUP, LANGUAGES)
    print(f"{'':14} languages 1 to {GROUP}   {LANGUAGES - GROUP + 1} to {LANGUAGES}")
    for name, taken in zip(NAMES, zip(*times, strict=True), strict=True):
        one, other = median(taken[first]), median(taken[last])
        print(f"{name:14} {one:10.3f} ms   {other:8.3f} ms   x {other / one:.2f}")
    one, other = median(held[first]), median(held[last])
    print(f"{'memory':14} {one:10,.0f} B    {other:8,.0f} B    x {other / one:.2f}")
    print(f"the adapter's numbers: {load_adapter(folder).nbytes:,} B")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
