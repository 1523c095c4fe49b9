"""Twenty languages fit into the memory of a small board."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kws.adapter import load_adapter, save_adapter

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"
STATUS = Path("/proc/self/status")
LANGUAGES = 20
MOST = 120e6  # bytes

LISTEN = """
import json, sys
from pathlib import Path
import numpy as np
import apps.cli, apps.listen, apps.detect, soundfile, soxr
from apps.listening.live import LiveEngine
from apps.wiring import open_runtime

base, kernels, *adapters = sys.argv[1:]
engine = LiveEngine(open_runtime(Path(base), list(map(Path, adapters)), kernels=kernels == "True"))
wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
for language in engine.languages:
    engine.set_language(language)
    engine.feed(wave)
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "languages": engine.languages,
    "decisions": engine.decisions,
    "most": 1024 * int(status["VmHWM"].split()[0]),
}))
"""


@pytest.mark.skipif(not STATUS.is_file(), reason="no /proc to read memory from")
@pytest.mark.parametrize("kernels", [True, False])
def test_twenty_languages_are_heard_in_120_megabytes(tmp_path: Path, kernels: bool) -> None:
    """Resident at the most, of a process that does nothing else."""
    adapter = load_adapter(ZOO / "cmn")
    names = [f"language {number}" for number in range(LANGUAGES)]
    for name in names:
        config = replace(adapter.config, language=name)
        save_adapter(tmp_path / name, replace(adapter, config=config), "card")
    folders = [str(tmp_path / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", LISTEN, str(ZOO / "ara"), str(kernels), *folders],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["languages"] == ["ara", *names]
    assert found["decisions"] == (LANGUAGES + 1) * 16_000 // 1_280
    assert found["most"] < MOST
