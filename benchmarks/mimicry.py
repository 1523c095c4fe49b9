"""What Neural Mimicry makes of a base's weights, beside the best that as many templates could.

    python benchmarks/mimicry.py BASE [TEMPLATES]

For each group of layers of one shape: the share of the weights' energy that is lost, in per cent.
With two templates, or as many as are asked for.
"""

import sys
from pathlib import Path

import torch

from apps.wiring import open_base
from kws.sites import find_sites, lone_weights
from kws.templates import FEWEST, Templates
from policy.mimicry import error, least_error, mimic


def main(base: Path, templates: int) -> None:
    """Measure and print."""
    network = open_base(base).network
    weights = lone_weights(network, find_sites(network))
    groups = dict.fromkeys(Templates(weights).groups.values())
    print(f"{'first layer':24} {'layers':>6} {'mimicry':>9} {'best':>9}")
    for group in groups:
        if len(group) < FEWEST:
            continue
        stacked = torch.stack([torch.from_numpy(weights[module]).flatten() for module in group])
        count = min(templates, len(group))
        made = mimic(stacked, count, generator=torch.Generator().manual_seed(0))
        lost, best = error(made, stacked), least_error(stacked, count)
        print(f"{group[0]:24} {len(group):6} {lost:9.2%} {best:9.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else FEWEST)
