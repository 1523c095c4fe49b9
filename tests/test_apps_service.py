"""``kws listen`` as a service: what becomes of it when its standard streams do."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.config import SAMPLE_RATE

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"
WORDS = 2


@pytest.fixture(scope="module")
def listen(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that finds words in bursts of noise, at a threshold that any sound reaches."""
    bursts = 0.3 * np.random.default_rng(0).standard_normal((WORDS, SAMPLE_RATE))
    bursts[:, : SAMPLE_RATE // 2] = 0
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    soundfile.write(path, bursts.ravel(), SAMPLE_RATE)
    kws = [sys.executable, "-c", "from apps.cli import main; main()"]
    bank = ["--base", str(ZOO / "ara"), "--adapter", str(ZOO / "cmn"), "--threshold", "0.01"]
    return [*kws, "listen", *bank, "--wav", str(path), "--json"]


def told(command: list[str], output: int) -> tuple[int, list[str]]:
    """The exit code, and what is said after the greeting."""
    plain = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=plain, stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stderr.splitlines()[1:]


def test_it_says_that_its_reader_has_ended(listen: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = told(listen, writing)
    os.close(writing)
    ended = "kws: the program that standard output went to has ended; start both again"
    assert found == (1, [ended])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize(
    ("pace", "said", "runs"),
    [
        (["--real-time"], ["standard output is full; listening goes on without it"], WORDS),
        ([], [], 1),
    ],
)
def test_a_full_disk_behind_standard_output_stops_only_what_can_be_heard_again(
    listen: list[str], pace: list[str], said: list[str], runs: int, tmp_path: Path
) -> None:
    """And no command that has begun."""
    command = shlex.join(["sh", "-c", f"echo >> {tmp_path / 'log'}"])
    full = os.open("/dev/full", os.O_WRONLY)
    found = told([*listen, *pace, "--exec", command, "--exec-seconds", "60"], full)
    os.close(full)
    assert found == (1, [*said, "kws: standard output: No space left on device"])
    assert (tmp_path / "log").stat().st_size == runs


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no files are listed here")
def test_where_standard_streams_are_closed_programs_meet_no_other_file(
    listen: list[str], tmp_path: Path
) -> None:
    log = shlex.quote(str(tmp_path / "log"))
    command = ["sh", "-c", f"readlink /proc/$$/fd/2 >> {log}"]
    kws = shlex.join([*listen, "--exec", shlex.join(command), "--exec-seconds", "60"])
    subprocess.run(["sh", "-c", f"exec {kws} <&- >&- 2>&-"], cwd=ROOT, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["/dev/null"] * WORDS
