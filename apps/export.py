"""``kws export``: networks for ONNX Runtime."""

from pathlib import Path

import click

from kws.adapter import check_base, check_streamable, load_adapter
from kws.base import BaseConfig, check_classes, read_base_config, read_base_tensors
from kws.errors import UsageError
from kws.files import Arrays, write_bytes
from kws.runtime import merged
from models.folded import Folded, fold
from models.session import FILE

from . import options
from .onnx_files import base_file, language_file


@click.command(cls=options.Command)
@options.base
@click.option("--adapter", type=options.PATH, help="folder of a language's adapter")
@click.option("--out", type=options.PATH, help="file for one language")
def export(base: Path, adapter: Path | None, out: Path | None) -> None:
    """Write networks for ONNX Runtime.

    Without --out: the base's network, once for all its languages, into the base's folder.
    Listening needs it where our compiled code is not there. Bases pretrained here have it already.

    With --out: one language, that of --adapter or else the base's own, in a file that needs
    nothing else of ours. Its inputs are audio, float32 [N], mono at 16 kHz, N at least 1, and
    state, float32 [S], zeros before the first sound and next_state from then on. Its outputs are
    scores, float32 [n, K], probabilities in the order of the labels, and next_state.

    Of a causal base every hop of samples since the first gives one row, and the state keeps what
    is left over: however the sound is cut, the rows are the same. Of any other base every call
    gives one row, of the second that ends with its last sample.

    The file's metadata are JSON: language, labels, sample_rate, causal, hop (samples), decision
    (samples from one decision of our detector to the next, which takes the newest row), tail
    (samples of zeros that end a recording; else its last word is not decided) and detector (its
    settings; keywords and timings hold what single keywords have of their own).
    docs/adapter-format.md says how scores become detections. Give the session one thread
    (intra_op_num_threads = 1): more would spin between two calls.
    """
    if out and (out.suffix != ".onnx" or out.name == FILE):
        raise UsageError(f"--out {out} must end in .onnx and not be {FILE}, which is the base's")
    config = read_base_config(base)
    tensors = read_base_tensors(base)
    if out is None:
        if adapter:
            raise UsageError("--adapter needs --out, the file to write")
        out, data = base / FILE, base_file(_own(config, tensors))
    elif adapter is None:
        data = language_file(config.features, _own(config, tensors), config)
    else:
        language, features = load_adapter(adapter), config.features
        check_base(language, config)
        check_streamable(language)
        network = fold(config, merged(tensors, language))
        data = language_file(features, network, language.config)
    write_bytes(out, data)
    click.echo(f"{out}: {out.stat().st_size:,} bytes")


def _own(config: BaseConfig, tensors: Arrays) -> Folded:
    """The network of the base's own language."""
    network = fold(config, tensors)
    check_classes(config, tensors)
    return network
