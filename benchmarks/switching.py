"""How long a change of language takes, beside one decision of the same network.

    python benchmarks/switching.py BASE ADAPTER…

Prints medians over many rounds in one process, in milliseconds, and their ratio.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from apps.wiring import open_bank

ROUNDS = 300


def milliseconds(action: Callable[[], object]) -> float:
    """Median time of an action."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        action()
        taken.append(1_000 * (time.perf_counter() - begin))
    return median(taken)


def main(base: Path, adapters: list[Path]) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    bank = open_bank(base, adapters)
    view = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    decision = milliseconds(lambda: bank.scores(view))
    print(f"one decision          {decision:.3f} ms")
    for language in bank.languages:
        switch = milliseconds(lambda language=language: bank.set_adapter(language))  # type: ignore[misc]
        print(f"switch to {language:10}  {switch:.3f} ms, {switch / decision:.0%} of a decision")
    print(f"{len(adapters)} adapters hold {bank.nbytes:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
