"""CPU time per second of audio: this pipeline, stage by stage, beside two others in one run.

    python benchmarks/speed.py BASE [ADAPTER…] [--peers PYTHON] [--seconds 20]
    python benchmarks/speed.py --tau 1 --classes 12

The second measures a causal network of that size with fresh weights, on which no cost depends.
The audio is noise of changing loudness, the same for all. One decision falls on every 80 ms. A
base that is not causal is measured as it is, and its weights in the causal form, which costs what
a trained one costs. ``--peers`` names the interpreter of an environment of its own:

    python -m venv peers && peers/bin/pip install -r benchmarks/peers.txt

Times are of this thread's CPU, medians and minima over blocks of 80 ms; a busy machine disturbs
them all the same. Engine and buffers are what the whole takes beyond its parts. The floor is what
the multiply-accumulates alone would take at the rate of a single-threaded matrix product of this
machine.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.wiring import open_runtime
from audio_data import frontend
from kws.adapter import Adapter, load_adapter
from kws.base import BASE_MODEL, BaseConfig, read_base_config, save_base
from kws.config import SAMPLE_RATE
from kws.detector import Detector
from kws.engine import Engine
from kws.files import Arrays, read_tensors
from kws.runtime import FrontEnd, Network, Runtime
from models import compiled
from models.folded import ROWS, Folded, fold
from models.layout import ARCHITECTURE, MELS

BLOCK: Final = 1_280  # samples of a decision
FRAMES: Final = 8  # of a decision
FRONT_END_MACS: Final = 480 * 9  # of a frame: about n log2 n, and two filters a bin
LANGUAGES = 20
Wave = NDArray[np.float32]
Figures = NDArray[np.float64]  # least, median and mean microseconds of a block

PEERS = '''
import json, sys, time
import numpy as np
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model as Micro
from pyopen_wakeword import OpenWakeWord, OpenWakeWordFeatures, Model as Open
pcm = sys.stdin.buffer.read()
def measure(features, word):
    taken = []
    for start in range(0, len(pcm) - 2559, 2560):
        begin = time.process_time_ns()
        for row in features.process_streaming(pcm[start : start + 2560]):
            found = word.process_streaming(row)
            if found is not None and not isinstance(found, bool):
                list(found)
        taken.append((time.process_time_ns() - begin) / 1000)
    return taken
print(json.dumps({
    "pymicro-wakeword 2.5.0": measure(MicroWakeWordFeatures(), MicroWakeWord.from_builtin(list(Micro)[0])),
    "pyopen-wakeword 1.1.0": measure(OpenWakeWordFeatures.from_builtin(), OpenWakeWord.from_builtin(list(Open)[0])),
}))
'''  # fmt: skip # noqa: E501


def sound(seconds: float) -> Wave:
    """Noise that swells and fades."""
    rng = np.random.default_rng(0)
    samples = round(seconds * SAMPLE_RATE)
    envelope = np.sin(np.arange(samples) / 4_000) ** 2
    return (0.2 * envelope * rng.standard_normal(samples)).astype(np.float32)


def times(action: Callable[[Wave], object], wave: Wave) -> list[float]:
    """Microseconds of CPU for each block."""
    taken = []
    for start in range(0, len(wave) - BLOCK + 1, BLOCK):
        block = wave[start : start + BLOCK]
        begin = time.thread_time_ns()
        action(block)
        taken.append((time.thread_time_ns() - begin) / 1_000)
    return taken


def figures(taken: list[float]) -> Figures:
    """Minimum, median and mean."""
    return np.array([min(taken), median(taken), fmean(taken)])


def row(name: str, found: Figures) -> None:
    """Print one line: per block in microseconds, per second of audio in milliseconds."""
    low, middle, mean = found * SAMPLE_RATE / BLOCK / 1_000
    print(f"{name:46} {found[0]:9.1f} {found[1]:9.1f} {low:10.3f} {middle:10.3f} {mean:10.3f}")


def macs(network: Folded) -> int:
    """Multiply-accumulates of one causal frame; the head's, once a decision, are shared out."""
    rows = ROWS
    count = rows * network.stem[0].size
    for block in network.blocks:
        out = len(block.point)
        count += rows * out * block.channels if block.widen else 0
        rows //= block.stride
        count += 3 * rows * out + 3 * out + out * out
    return count + network.neck.size + network.last[0].size + network.head[0].size // FRAMES


def machine_rate() -> float:
    """Multiply-accumulates a microsecond of a matrix product on one core."""
    a = np.ones((384, 384), np.float32)
    taken = []
    for _ in range(50):
        begin = time.thread_time_ns()
        a @ a
        taken.append((time.thread_time_ns() - begin) / 1_000)
    return float(384**3 / min(taken))


def causal_form(base: Path, adapters: list[Path], kernels: bool) -> Runtime:
    """The base's weights as a causal network."""
    config = replace(read_base_config(base), causal=True)
    tensors = read_tensors(base / BASE_MODEL)
    runtime = Runtime(config, tensors, _build(config, tensors, kernels), _front(config, kernels))
    for folder in adapters:
        runtime.set_adapter(runtime.load_adapter(load_adapter(folder)))
    return runtime


def _front(config: BaseConfig, kernels: bool) -> Callable[[], FrontEnd]:
    kind = frontend.CompiledFrontEnd if kernels else frontend.NumpyFrontEnd
    return partial(kind, config.features)


def _build(
    config: BaseConfig, tensors: Arrays, kernels: bool
) -> Callable[[BaseConfig, Arrays], Network]:
    if kernels:
        return compiled.CompiledNetwork
    from apps.onnx_files import base_file
    from models.session import SessionNetwork, open_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.onnx"
        path.write_bytes(base_file(fold(config, tensors)))
        session = open_session(path)
    return partial(SessionNetwork, session)


def stages(name: str, runtime: Runtime, wave: Wave, kernels: bool) -> None:
    """Measure a pipeline whole and in its parts."""
    engine = Engine(runtime)
    engine.feed(wave[: 20 * BLOCK])
    whole = times(engine.feed, wave)
    network = runtime.network
    state = network.start()
    frames = np.zeros((MELS, FRAMES if network.causal else network.history), np.float32)
    scores = np.full(len(runtime.labels), 0.01, np.float32)
    detector = Detector(runtime.labels, engine.language, runtime.detector_config(engine.language))
    parts = {
        "features": times(_front(runtime.config, kernels)().feed, wave),
        "network": times(lambda block: network.hear(state, frames), wave),
        "detector": times(lambda block: detector.step(scores, 0.0), wave),
    }
    row(f"{name}, whole", left := figures(whole))
    for part, taken in parts.items():
        row(f"    {part}", found := figures(taken))
        left = left - found
    row("    engine and buffers", left)


def memory(base: Path, adapter: Path | None) -> None:
    """In a process of its own: start, twenty languages, an hour of audio."""
    begin = time.perf_counter()
    runtime = causal_form(base, [], compiled.library() is not None)
    engine = Engine(runtime)
    engine.feed(np.zeros(BLOCK, np.float32))
    print(
        f"first decision {_age():.2f} s after the process began, "
        f"{time.perf_counter() - begin:.3f} s after its imports"
    )
    if adapter:
        switch(runtime, engine, load_adapter(adapter))
    wave = sound(60)
    times(engine.feed, wave)
    before = _resident()
    print(f"resident, languages {len(runtime.languages)}: {before / 2**20:.1f} MiB")
    for _ in range(60):
        times(engine.feed, wave)
    after = _resident()
    print(f"an hour of audio later: {(after - before) / 2**20:+.2f} MiB")
    print(f"peak: {_peak() / 2**20:.1f} MiB; torch imported: {'torch' in sys.modules}")


def switch(runtime: Runtime, engine: Engine, adapter: Adapter) -> None:
    """Load one adapter as many languages, and change between them."""
    for index in range(LANGUAGES):
        config = replace(adapter.config, language=f"x{index}")
        runtime.load_adapter(replace(adapter, config=config))
    taken = []
    block = sound(1)[:BLOCK]
    for index in range(500):
        engine.set_language(runtime.languages[index % len(runtime.languages)])
        begin = time.thread_time_ns()
        engine.feed(block)
        taken.append((time.thread_time_ns() - begin) / 1_000)
    print(f"decision right after a switch: {min(taken):.0f} us, median {median(taken):.0f} us")


def _age() -> float:
    """Seconds since this process began, to a hundredth, on Linux."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _resident() -> int:
    """Bytes, on Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    """Bytes, on Linux; resource.getrusage would tell the parent's, where that had more."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def fresh_base(folder: Path, tau: float, classes: int) -> Path:
    """A causal base that has learnt nothing, saved in the folder."""
    from models.registry import build

    labels = tuple(f"word{number}" for number in range(classes))
    config = BaseConfig(
        architecture=ARCHITECTURE, tau=tau, language="fresh", labels=labels, causal=True
    )
    save_base(folder, config, build(config))
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, nargs="?")
    parser.add_argument("adapters", type=Path, nargs="*")
    parser.add_argument("--peers", type=Path, help="interpreter that has them")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--memory", action="store_true", help="only memory and start")
    parser.add_argument("--tau", type=float, help="width of a network with fresh weights")
    parser.add_argument("--classes", type=int, default=12, help="of --tau's network")
    given = parser.parse_args()
    if (given.base is None) == (given.tau is None):
        parser.error("name a BASE, or give --tau")
    if given.memory and given.tau is not None:
        parser.error("--memory needs a BASE: fresh weights take torch, which would be counted")
    with tempfile.TemporaryDirectory() as folder:
        given.base = given.base or fresh_base(Path(folder), given.tau, given.classes)
        measure(given)


def measure(given: argparse.Namespace) -> None:
    """Measure the base that is given."""
    if given.memory:
        memory(given.base, given.adapters[0] if given.adapters else None)
        return
    wave = sound(given.seconds)
    print(f"{'':46} {'us a decision':>19} {'ms of CPU per second of audio':>32}")
    print(f"{'':46} {'min':>9} {'median':>9} {'min':>10} {'median':>10} {'mean':>10}")
    for kernels in (True, False):
        if kernels and (compiled.library() is None or frontend.library() is None):
            print("no compiled code: install again with a C compiler")
            continue
        how = "compiled" if kernels else "NumPy and ONNX Runtime"
        stages(f"causal, {how}", causal_form(given.base, given.adapters, kernels), wave, kernels)
        if not read_base_config(given.base).causal:
            windowed = open_runtime(given.base, given.adapters, kernels=kernels)
            stages(f"windows, {how}", windowed, wave, kernels)
    if given.peers:
        pcm = np.clip(wave * 32_767, -32_768, 32_767).astype(np.int16).tobytes()
        command = [str(given.peers), "-c", PEERS]
        done = subprocess.run(command, input=pcm, capture_output=True, check=True)
        for name, taken in json.loads(done.stdout).items():
            row(name, figures(taken))
    config = replace(read_base_config(given.base), causal=True)
    network = fold(config, read_tensors(given.base / BASE_MODEL))
    rate, total = machine_rate(), FRAMES * (macs(network) + FRONT_END_MACS)
    print(f"floor, causal: {total:,} multiply-accumulates a decision at {rate:,.0f} a microsecond:")
    floor = total / rate  # microseconds
    print(f"    {floor:.1f} us, {floor * SAMPLE_RATE / BLOCK / 1_000:.3f} ms per second of audio")
    command = [sys.executable, __file__, str(given.base), *map(str, given.adapters), "--memory"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
