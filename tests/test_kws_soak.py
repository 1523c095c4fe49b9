"""An hour of anything: no crash, no growth, and what is heard is what one pass hears."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.wiring import open_runtime
from kws.adapter import Adapter, save_adapter
from kws.base import Base, save_base
from kws.config import SAMPLE_RATE
from kws.detector import Detection
from kws.engine import Engine
from models import compiled

Wave = NDArray[np.float32]
MINUTES = 60
LONGEST = 10 * SAMPLE_RATE  # samples fed at once
STATM = Path("/proc/self/statm")
PAGE = 4_096  # bytes
GIVEN_BACK = 65_536  # bytes, from which on glibc keeps nothing for later
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


def ragged(wave: Wave) -> Iterator[Wave]:
    """Cut anywhere: one sample to ten seconds, all orders of magnitude alike."""
    rng = np.random.default_rng(len(wave))
    while len(wave):
        size = int(np.exp(rng.uniform(0, np.log(LONGEST))))
        yield wave[:size]
        wave = wave[size:]


def listen(folder: Path, cut_anywhere: bool) -> tuple[list[Detection], list[int]]:
    """What is heard in the hour, and resident bytes after every piece."""
    engine = Engine(open_runtime(folder / "ar", [folder / "de"], "ar"), threshold=0.5)
    found: list[Detection] = []
    resident: list[int] = []
    for piece in hour(seed=0):
        if piece.reset:
            engine.reset()
        if piece.language:
            engine.set_language(piece.language)
        wave = piece.wave()
        for block in ragged(wave) if cut_anywhere else [wave]:
            found += engine.feed(block)
        if STATM.is_file():
            resident.append(int(STATM.read_text(encoding="ascii").split()[1]) * PAGE)
    return found, resident


@pytest.fixture
def languages(base: Base, make_adapter: Callable[..., Adapter], tmp_path: Path) -> Path:
    """A folder of a causal base and an adapter, as a process of its own can open them."""
    base.network.get_parameter("head.weight").mul_(SURE)
    config = save_base(tmp_path / "ar", replace(base.config, causal=True), base.network)
    adapter = make_adapter("de", base_sha256=config.sha256)
    adapter = replace(adapter, head_weight=adapter.head_weight * SURE)
    save_adapter(tmp_path / "de", adapter, "card")
    return tmp_path


def test_an_hour_of_anything(languages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that does nothing else, where what is free is given back at once."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(GIVEN_BACK))
    expected, _ = listen(languages, cut_anywhere=False)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        found, resident = alone.submit(listen, languages, cut_anywhere=True).result()
    assert found == expected
    assert len(found) > 100, len(found)
    assert {event.language for event in found} == {"ar", "de"}
    if resident:
        sixth = len(resident) // 6
        assert median(resident[-sixth:]) - median(resident[:sixth]) < 2**20
