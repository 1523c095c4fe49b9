"""How long a change of language takes, beside one decision of the same network.

    python benchmarks/switching.py BASE ADAPTER…

Three banks: in torch, and those that listen without it, in compiled code and in ONNX Runtime.
Prints medians over many rounds in one process, in milliseconds of this thread's CPU, their ratio,
and how many bytes all adapters are, and how many the bank holds beside these.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from apps.wiring import bank_of, open_base, open_runtime
from kws.adapter import load_adapter
from kws.bank import Bank
from kws.runtime import Runtime
from models import compiled

ROUNDS = 300


def milliseconds(action: Callable[[], object]) -> float:
    """Median time of an action."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.thread_time_ns()
        action()
        taken.append((time.thread_time_ns() - begin) / 1e6)
    return median(taken)


def measure(name: str, bank: Bank | Runtime, adapters: list[Path]) -> None:
    """Measure one bank and print."""
    loaded = [load_adapter(folder) for folder in adapters]
    tracemalloc.start()
    for number, adapter in enumerate(loaded):
        bank.load_adapter(adapter, f"{adapter.config.language} {number}")
    beside, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    view = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    decision = milliseconds(lambda: bank.scores(view))
    print(f"{name}: one decision {decision:.3f} ms")
    for language in bank.languages:
        switch = milliseconds(lambda language=language: bank.set_adapter(language))  # type: ignore[misc]
        print(f"  switch to {language:10}  {switch:.3f} ms, {switch / decision:.0%} of a decision")
    print(f"  {len(adapters)} adapters hold {bank.nbytes:,} bytes, and {beside:,} beside them")


def main(base: Path, adapters: list[Path]) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    measure("torch", bank_of(open_base(base)), adapters)
    if compiled.library() is not None:
        measure("compiled", open_runtime(base), adapters)
    measure("ONNX Runtime", open_runtime(base, kernels=False), adapters)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
