"""What several test files share."""

import os

# Before torch is imported: one thread repeats bit for bit, here and in the processes tests start.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch
    from helpers import Kws
    from web import Site

    from kws.adapter import Adapter
    from kws.base import Base
    from kws.quantized import Bits
    from kws.train import EpochBatches
    from models.bcresnet import BCResNet

ROOT = Path(__file__).resolve().parent.parent

WORDS = {
    "en": ("yes", "no", "stop"),
    "de": ("ja", "nein", "links"),
    "es": ("alto", "arriba", "vamos"),
}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings: ``$KWS_DATA`` or ``../shared/data``; skips where absent."""
    folder = Path(os.environ.get("KWS_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no recordings at {folder}; set KWS_DATA to the folder of manifest.csv")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decoded audio goes to a folder of this run, whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("KWS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def kws() -> "Kws":
    """The command line in this process: arguments to exit code, standard output and error."""
    from apps.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["kws", *map(str, arguments)])
            with pytest.raises(SystemExit) as exit_:
                main()
        code = exit_.value.code
        assert isinstance(code, int)
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic speech, a manifest: three languages, three words each, six speakers, two takes."""
    from audio_data.synthesis import make_corpus

    return make_corpus(tmp_path_factory.mktemp("spoken"), WORDS, speakers=6, takes=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, spoken: Path, kws: "Kws") -> Path:
    """A folder with ``base`` (en) and the adapters ``de`` (swr) and ``es`` (last).

    Trained for few epochs by the public commands, whose JSON lies in ``<name>.json``.
    """
    folder = tmp_path_factory.mktemp("tiny")
    base = ["pretrain", "--tau", 1, "--epochs", 2, "--filter", "language=en"]
    adapter = ["adapt", "--base", folder / "base", "--epochs", 4]
    german = [*adapter, "--method", "swr", "--filter", "language=de"]
    spanish = [*adapter, "--method", "last", "--filter", "language=es"]
    for name, command in (("base", base), ("de", german), ("es", spanish)):
        code, out, err = kws(*command, "--data", spoken, "--out", folder / name, "--json")
        assert code == 0, err
        (folder / f"{name}.json").write_text(out, encoding="utf-8")
    return folder


@pytest.fixture
def network() -> "BCResNet":
    """The smallest network of four classes, as if pretrained: statistics unlike a new one's."""
    import torch

    from models.bcresnet import BCResNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BCResNet(4)
        network.train()
        with torch.no_grad():
            for _ in range(3):
                network(torch.randn(8, 40, 20) + 1)
    return network.eval().requires_grad_(False)


class Toy:
    """Two batches of noise an epoch, four classes; class k is louder in band 10 k."""

    def __len__(self) -> int:
        return 2

    def epoch(self, index: int) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        import torch

        generator = torch.Generator().manual_seed(index)
        for _ in range(len(self)):
            labels = torch.randint(4, (8,), generator=generator)
            features = torch.randn(8, 40, 20, generator=generator)
            features[torch.arange(8), 10 * labels] += 3
            yield features, labels


@pytest.fixture
def toy() -> "EpochBatches":
    """Something to learn in no time."""
    return Toy()


MakeAdapter = Callable[..., "Adapter"]


@pytest.fixture
def base(network: "BCResNet") -> "Base":
    """A base in memory, for ``ar``."""
    from kws.base import Base, BaseConfig

    labels = ("خلف", "أمام", "_unknown_", "_silence_")
    config = BaseConfig(
        architecture="bcresnet", tau=1.0, language="ar", labels=labels, sha256="a" * 64
    )
    return Base(config, network)


@pytest.fixture
def make_adapter(base: "Base") -> MakeAdapter:
    """Adapters for ``base`` in memory, every language another; fields may be changed.

    Pointwise convolutions are owned at rank 1, other sites whole.
    """
    import numpy as np

    from kws.adapter import Adapter, AdapterConfig, stored_bytes
    from kws.forms import Rank
    from kws.quantized import quantize
    from kws.sites import find_sites

    def make(
        language: str = "cmn", classes: int = 3, step: int = 5, bits: "Bits" = 16, **changes: Any
    ) -> Adapter:
        rng = np.random.default_rng(list(language.encode()))
        sites = find_sites(base.network)[::step]
        chosen = [s.with_form(Rank(1)) if s.name.endswith(".point") else s for s in sites]
        spent = sum(site.size for site in chosen)
        fields: dict[str, Any] = {
            "language": language,
            "labels": tuple(f"{language} {number}" for number in range(classes)),
            "base_sha256": base.config.sha256,
            "base_language": base.config.language,
            "features_digest": base.config.features.digest,
            "method": "swr",
            "budget": "10%",
            "budget_parameters": spent,
            "spent_parameters": spent,
            "head_parameters": classes * 33,
            "stored_bytes": stored_bytes(
                spent, classes, 32, bits, 0 if bits == 16 else len(chosen)
            ),
            "sites": tuple(site.name for site in chosen),
        }
        shapes = ((spent,), (classes, 32), (classes,))
        numbers, *head = (rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes)
        deltas, peaks = quantize(numbers, [site.size for site in chosen], bits)
        weight, bias = (array.astype(np.float16) for array in head)
        return Adapter(AdapterConfig(**(fields | changes)), deltas, weight, bias, peaks)

    return make


@pytest.fixture
def site() -> Iterator["Site"]:
    """A web server of this test's own."""
    from web import Site

    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()
