"""An hour of anything: no crash, no growth, and what is heard is what one pass hears."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio_data import frontend
from kws.adapter import Adapter
from kws.base import Base
from kws.config import SAMPLE_RATE
from kws.detector import Detection
from kws.engine import Engine
from kws.runtime import Runtime
from models import compiled

Wave = NDArray[np.float32]
MINUTES = 60
LONGEST = 10 * SAMPLE_RATE  # samples fed at once
STATM = Path("/proc/self/statm")
PAGE = 4_096  # bytes
SURE = 30  # by which the head of an untrained network is raised to have opinions

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="no compiler built the code")


@dataclass(frozen=True)
class Piece:
    """A stretch of sound, and what is done before it."""

    seed: int
    kind: str
    samples: int
    language: str | None
    reset: bool

    def wave(self) -> Wave:
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal(self.samples, np.float32)
        if self.kind == "silence":
            return np.zeros(self.samples, np.float32)
        if self.kind == "loud":
            return np.where(noise < 0, np.float32(-1), np.float32(1))
        if self.kind == "broken":
            broken = np.array([np.nan, np.inf, -np.inf], np.float32)
            return np.where(noise < 0, 0.1 * noise, broken[self.seed % 3])
        swell = np.sin(np.arange(self.samples, dtype=np.float32) / 2_000) ** 2
        return np.asarray(np.float32(0.2) * noise * swell)


def hour(seed: int) -> Iterator[Piece]:
    rng = np.random.default_rng(seed)
    left = MINUTES * 60 * SAMPLE_RATE
    while left:
        samples = min(left, int(rng.integers(1, 2 * LONGEST)))
        left -= samples
        yield Piece(
            int(rng.integers(2**31)),
            str(rng.choice(["speech", "speech", "silence", "loud", "broken"])),
            samples,
            str(rng.choice(["ar", "de"])) if rng.random() < 0.5 else None,
            bool(rng.random() < 0.1),
        )


def whole(wave: Wave) -> Iterator[Wave]:
    yield wave


def ragged(wave: Wave) -> Iterator[Wave]:
    """Cut anywhere: one sample to ten seconds, all orders of magnitude alike."""
    rng = np.random.default_rng(len(wave))
    while len(wave):
        size = int(np.exp(rng.uniform(0, np.log(LONGEST))))
        yield wave[:size]
        wave = wave[size:]


def listen(
    engine: Engine, cut: Callable[[Wave], Iterator[Wave]]
) -> tuple[list[Detection], list[int]]:
    """What is heard in the hour, and resident bytes after every piece."""
    found: list[Detection] = []
    resident: list[int] = []
    for piece in hour(seed=0):
        if piece.reset:
            engine.reset()
        if piece.language:
            engine.set_language(piece.language)
        for block in cut(piece.wave()):
            found += engine.feed(block)
        if STATM.is_file():
            resident.append(int(STATM.read_text(encoding="ascii").split()[1]) * PAGE)
    return found, resident


@pytest.fixture
def make_engine(base: Base, make_adapter: Callable[..., Adapter]) -> Callable[[], Engine]:
    config = replace(base.config, causal=True)
    tensors = {name: tensor.numpy() for name, tensor in base.network.state_dict().items()}

    tensors["head.weight"] = tensors["head.weight"] * SURE
    other = make_adapter("de")
    other = replace(other, head_weight=other.head_weight * SURE)

    def make() -> Engine:
        runtime = Runtime(
            config,
            tensors,
            compiled.Switchable,
            lambda: frontend.CompiledFrontEnd(config.features),
        )
        runtime.load_adapter(other)
        return Engine(runtime, threshold=0.5)

    return make


def test_an_hour_of_anything(make_engine: Callable[[], Engine]) -> None:
    expected, _ = listen(make_engine(), whole)
    found, resident = listen(make_engine(), ragged)
    assert found == expected
    assert len(found) > 100, len(found)
    assert {event.language for event in found} == {"ar", "de"}
    if resident:
        early = max(resident[: len(resident) // 6])
        assert max(resident[-len(resident) // 6 :]) - early < 2**20
