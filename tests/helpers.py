"""What tests share, mostly those of the command line."""

import csv
import errno
import io
import json
import os
import tarfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import nn

from kws.config import SAMPLE_RATE, FeatureConfig
from kws.engine import Spotter, WindowScorer
from kws.sites import Site
from kws.train import EpochBatches, Plan
from policy.transfer import Trainer

Kws = Callable[..., tuple[int, str, str]]
VIEW = FeatureConfig.view  # samples


class WholeViews:
    """A spotter that is shown a whole view for every decision, and has one network a language."""

    @property
    def active(self: Spotter) -> object:
        return self.active_adapter

    def hop_scorer(self: Spotter, hop: int) -> WindowScorer:
        return WindowScorer(self, VIEW)


def succeed(kws: Kws, *arguments: object) -> Any:
    """Run with ``--json``: one object on standard output, nothing else there."""
    code, out, err = kws(*arguments, "--json")
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def fail(kws: Kws, code: int, *arguments: object) -> str:
    """Run what cannot be done: one line on standard error, nothing on standard output."""
    found, out, err = kws(*arguments)
    assert (found, out) == (code, ""), err
    assert err.startswith("kws: ")
    assert err.count("\n") == 1, err
    return err


def said(tiny: Path, name: str) -> Any:
    """What the command that made ``tiny/<name>`` printed."""
    return json.loads((tiny / f"{name}.json").read_text(encoding="utf-8"))


def rows(spoken: Path, language: str, split: str) -> list[dict[str, str]]:
    with spoken.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["language"] == language]
    return [row for row in found if row["split"] == split]


def record(path: Path, frequency: float, seconds: float = 0.5) -> Path:
    """A tone that swells and fades, as a recording of a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.4 * np.sin(2 * np.pi * frequency * time) * np.sin(np.pi * time / seconds)
    soundfile.write(path, wave, SAMPLE_RATE)
    return path


def refuse_folders(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Folders of this name may not be listed, whoever runs the tests."""
    allowed = os.scandir

    def scandir(path: str = ".") -> Any:
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return allowed(path)

    monkeypatch.setattr(os, "scandir", scandir)


def make_sites(sizes: list[int]) -> tuple[Site, ...]:
    """Of a network that there is not, one after another."""
    starts = accumulate(sizes, initial=0)
    return tuple(
        Site(f"s{number}", "conv", {f"s{number}.weight": (size,)}, start, size, size)
        for number, (start, size) in enumerate(zip(starts, sizes, strict=False))
    )


def make_trainer(
    batches: EpochBatches,
    folder: Path,
    *,
    epochs: int = 4,
    lr: float = 1e-2,
    seed: int = 0,
    seen: list[nn.Module] | None = None,
) -> Trainer:
    """What it trains is in ``seen`` at the end of each stage."""

    def validate(model: nn.Module) -> float:
        if seen is not None:
            seen.append(model)
        return 0.0

    plan = Plan(epochs=epochs, lr=lr, seed=seed)
    return Trainer(batches, plan, validate, folder, "settings", lambda *_: None, {})


def packed(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    """An archive, compressed."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path
