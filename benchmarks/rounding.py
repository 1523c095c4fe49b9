"""What fewer bits cost: validation accuracy of adapters as they are, and rounded.

    python benchmarks/rounding.py BASE MANIFEST column=value ADAPTER…

Trained with 16 bits, rounded afterwards, closed as the grids are; nothing is trained anew.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from apps.training.measure import measure, network_of
from apps.training.recordings import Recordings, Selection, parse_filters
from apps.wiring import open_base
from kws.adapter import load_adapter
from kws.forms import form_of, split_name
from kws.quantized import ROUNDINGS, dequantize, quantize
from kws.sites import find_sites


def main(base: Path, manifest: Path, chosen: str, folders: list[Path]) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    opened = open_base(base)
    shapes = {site.name: site.tensor_shapes for site in find_sites(opened.network)}
    selection = Selection(data=manifest, filters=parse_filters([chosen]), closed=True)
    recordings = Recordings.to_learn(selection, opened.config)
    print(f"{'adapter':40}" + "".join(f"{bits:>4} bits" for bits in ROUNDINGS))
    for folder in folders:
        adapter = load_adapter(folder)
        named = map(split_name, adapter.config.sites)
        sizes = [form_of(form).size(shapes[module]) for module, form in named]
        exact = dequantize(adapter.deltas, adapter.peaks, sizes)
        row = f"{folder.name:40}"
        for bits in ROUNDINGS:
            deltas, peaks = quantize(exact, sizes, bits)
            network = network_of(opened, replace(adapter, deltas=deltas, peaks=peaks))
            accuracy = measure(network, recordings, "validation").report["accuracy"]
            row += f"{100 * accuracy:9.1f}"
        print(row, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], [Path(name) for name in sys.argv[4:]])
