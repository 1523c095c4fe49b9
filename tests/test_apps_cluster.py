"""A grid on a Ray cluster of two workers here, some of which are killed meanwhile."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread

import pytest
from helpers import Kws

from apps.experiments.cluster import _probe, spread
from kws.errors import UsageError
from kws.files import read_json

GRID = """
data = "{data}"
base = "{base}"
epochs = {epochs}
[tasks]
german = ["language=de"]
[[cells]]
tasks = ["german"]
methods = ["head", "norms"]
seeds = [0, 1]
"""
NAMES = {f"german-{method}-fixed-{seed}" for method in ("head", "norms") for seed in (0, 1)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # as quick as all else here
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        started.add_node(num_cpus=1)
        yield started.address
        started.shutdown()


def working(name: str) -> list[int]:
    """The workers that do a run, by its name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(f"ray::{name}".encode()):
            found.append(int(folder.name))
    return found


class Killer(Thread):
    """Kills the worker of each of these runs once, soon after it began."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(daemon=True)
        self.left, self.killed, self.over = set(names), 0, Event()

    def run(self) -> None:
        while self.left and not self.over.wait(0.05):
            for name in sorted(self.left):
                for worker in working(name):
                    os.kill(worker, signal.SIGKILL)
                    self.killed += 1
                    self.left.discard(name)


def test_every_run_is_recorded_once_though_workers_are_killed(
    cluster: str, tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    grid, records = tmp_path / "grid.toml", tmp_path / "records"
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=2), encoding="utf-8")
    killer = Killer({"german-head-fixed-0", "german-norms-fixed-1"})
    killer.start()
    folders = ["--records", records, "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders, "--ray", cluster)
    killer.over.set()
    killer.join()
    assert code == 0, err
    assert killer.killed >= 2
    assert {path.stem for path in (records / "grid").iterdir()} == NAMES
    said = " ".join(err.split())
    assert all(said.count(f"{name}: test") == 1 for name in NAMES)
    for name in NAMES:
        record = read_json(records / "grid" / f"{name}.json")
        assert record["cell"]["method"] in name
    before = {path: path.stat().st_mtime_ns for path in (records / "grid").iterdir()}
    code, _, err = kws("bench", "run", grid, *folders, "--ray", cluster)
    assert "4 runs, 4 recorded already" in err
    assert before == {path: path.stat().st_mtime_ns for path in (records / "grid").iterdir()}


def test_a_run_that_cannot_be_done_leaves_the_others_alone(
    cluster: str, tiny: Path, spoken: Path, tmp_path: Path, kws: Kws
) -> None:
    grid, records = tmp_path / "grid.toml", tmp_path / "records"
    text = GRID.format(data=spoken, base=tiny / "base", epochs=1)
    text = text.replace("[[cells]]", 'other = ["language=xx"]\n[[cells]]')
    text = text.replace('tasks = ["german"]', 'tasks = ["other", "german"]')
    grid.write_text(text.replace("[0, 1]", "[0]"), encoding="utf-8")
    folders = ["--records", records, "--work", tmp_path / "work"]
    code, _, err = kws("bench", "run", grid, *folders, "--ray", cluster)
    assert code == 1
    assert "2 of 4 runs failed (see above); run the grid again to resume" in err
    assert "other-head-fixed-0 failed: " in err
    assert len(list((records / "grid").iterdir())) == 2


def test_no_cluster_is_told(tmp_path: Path, tiny: Path, spoken: Path, kws: Kws) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.format(data=spoken, base=tiny / "base", epochs=1), encoding="utf-8")
    code, _, err = kws("bench", "run", grid, "--records", tmp_path, "--ray", "127.0.0.1:9")
    assert code == 2
    assert "there is no Ray cluster at 127.0.0.1:9; start one with: ray start --head" in err


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://localhost:10001", ("localhost", 10001)),
        ("[::1]:6379", ("::1", 6379)),
        ("localhost", None),
        ("localhost:ray", None),
    ],
)
def test_an_address_is_probed_in_every_form_that_ray_takes(
    monkeypatch: pytest.MonkeyPatch, address: str, found: tuple[str, int] | None
) -> None:
    """One without a port is none."""
    probed: list[object] = []

    def connect(address: tuple[str, int], timeout: float) -> io.StringIO:
        probed.append(address)
        return io.StringIO()

    monkeypatch.setattr("apps.experiments.cluster.socket.create_connection", connect)
    with nullcontext() if found else pytest.raises(ValueError, match=r"[Pp]ort"):
        _probe(address)
    assert probed == ([found] if found else [])


def test_a_client_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr("apps.experiments.cluster.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs Ray's client; install it with"):
        next(spread([], lambda _: {}, "ray://localhost:10001"))


def test_help_says_where_ray_may_stand(kws: Kws) -> None:
    """Before the grid's name it would take that for an address."""
    told = " ".join(kws("bench", "run", "--help")[1].split())
    assert "write it after GRID, or as --ray=ADDRESS" in told


def test_ray_spreads_the_whole_grid(tmp_path: Path, kws: Kws) -> None:
    code, _, err = kws("bench", "run", tmp_path / "grid.toml", "--ray", "--jobs", 2)
    assert code == 2
    assert "leave --jobs and --part out" in err
