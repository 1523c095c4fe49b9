"""How long a step of learning a language takes, by compiled code and by PyTorch, side by side.

    python benchmarks/learning.py

Prints milliseconds of CPU time for each clip of a batch of 32, forward and backward, one thread,
and their ratio: medians of steps that alternate in one process.
"""

import time
from collections.abc import Callable
from statistics import median
from unittest.mock import patch

import torch

from kws.config import FeatureConfig
from kws.deltas import Adaptation
from kws.sites import find_sites
from models import gradient
from models.bcresnet import BCResNet
from models.layout import MELS

BATCH, CLASSES, STEPS = 32, 12, 20


def step_of(tau: float) -> Callable[[], None]:
    """One step on everything that a language may own."""
    network = BCResNet(CLASSES, tau)
    model = Adaptation(network, CLASSES, find_sites(network))
    features = torch.randn(BATCH, MELS, FeatureConfig().frames)
    labels = torch.arange(BATCH) % CLASSES

    def step() -> None:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(features), labels).backward()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    """CPU time of a step for each clip."""
    begin = time.process_time()
    step()
    return 1_000 * (time.process_time() - begin) / BATCH


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    for tau in (1.0, 2.0, 3.0):
        step = step_of(tau)
        compiled, eager = [], []
        for _ in range(STEPS):
            compiled.append(milliseconds(step))
            with patch.object(gradient, "can_learn", return_value=False):
                eager.append(milliseconds(step))
        ours, theirs = median(compiled), median(eager)
        print(
            f"tau {tau:g}: {ours:.2f} ms compiled, {theirs:.2f} ms PyTorch, {theirs / ours:.1f} x"
        )


if __name__ == "__main__":
    main()
