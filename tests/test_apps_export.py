"""An exported language is the engine in a file: for those who use nothing else of ours."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import Kws
from numpy.typing import NDArray
from torch import nn

from apps.wiring import open_runtime
from audio_data.logmel import log_mel
from kws.adapter import Adapter, AdapterConfig, save_adapter
from kws.base import BaseConfig, read_base_config, save_base
from kws.config import LOUDEST, FeatureConfig
from kws.detector import DetectorConfig, Levels, Timing
from kws.engine import TAIL
from kws.forms import SHIFT, WHOLE, Rank, Tied
from kws.runtime import Runtime
from kws.sites import Site, find_sites
from models.bcresnet import BCResNet
from models.session import FILE

causal = pytest.mark.parametrize("folders", [True], indirect=True, ids=["causal"])
views = pytest.mark.parametrize("folders", [False], indirect=True, ids=["views"])

Wave = NDArray[np.float32]
TOLERANCE = 1e-5  # on probabilities
FRAME = 160  # samples from one frame to the next
HOP = 1_280  # samples between two decisions of the engine

LABELS = ("ja", "nein", "_unknown_", "_silence_")
DETECTOR = DetectorConfig(
    threshold=0.6,
    patience=2,
    keywords={"ja": Levels(0.81, 0.4)},
    timings={"nein": Timing(1, 5, 1.5)},
)


def sound(samples: int) -> Wave:
    """Noise and a tone that rises and falls, both swelling and fading."""
    at = np.arange(samples)
    tone = np.sin(20_000 * np.sin(at / 30_000))
    swell = 0.2 * np.sin(at / 5_000) ** 2
    hiss = np.random.default_rng(1).normal(0, 0.3, samples)
    return np.asarray(swell * (tone + hiss), np.float32)


def pretrained(causal: bool) -> BCResNet:
    """A network with the statistics of such sound."""
    clips = [log_mel(clip, FeatureConfig()) for clip in sound(20 * 16_000).reshape(20, -1)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = BCResNet(len(LABELS), causal=causal).train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network(torch.from_numpy(np.array(clips)))
    return network.eval().requires_grad_(False)


def owned(sites: tuple[Site, ...]) -> list[Site]:
    """Sites owned in every form: tied, at low rank, a shift alone, and whole."""
    forms = {"conv": (Tied(5), Rank(1), WHOLE), "norm": (SHIFT, Tied(7))}
    numbered = {"conv": 0, "norm": 0}
    chosen = []
    for site in sites[::2]:
        kind = forms[site.kind]
        chosen.append(site.with_form(kind[numbered[site.kind] % len(kind)]))
        numbered[site.kind] += 1
    return chosen


def make_adapter(config: BaseConfig, network: BCResNet) -> Adapter:
    rng = np.random.default_rng(0)
    sites = owned(find_sites(network))
    spent, width = sum(site.size for site in sites), network.width
    numbers = [
        rng.normal(0, 0.1, (spent,)),
        rng.normal(0, 0.2, (len(LABELS), width)),
        rng.normal(0, 0.3, (len(LABELS),)),
    ]
    adapter = AdapterConfig(
        language="de",
        labels=LABELS,
        base_sha256=config.sha256,
        base_language=config.language,
        features_digest=config.features.digest,
        method="swr",
        budget="10%",
        budget_parameters=spent,
        spent_parameters=spent,
        head_parameters=len(LABELS) * (width + 1),
        stored_bytes=1,
        sites=tuple(site.name for site in sites),
        detector=DETECTOR,
    )
    return Adapter(adapter, *(array.astype(np.float16) for array in numbers))


@pytest.fixture(scope="module", params=[False, True], ids=["views", "causal"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and an adapter ``de``, neither trained."""
    folder, network = tmp_path_factory.mktemp("folders"), pretrained(request.param)
    config = BaseConfig(
        architecture="bcresnet",
        tau=1.0,
        language="ar",
        labels=("a", "b", "c", "d"),
        causal=request.param,
        detector=replace(DETECTOR, threshold=0.7, keywords={}, timings={}),
    )
    config = save_base(folder / "base", config, network)
    save_adapter(folder / "de", make_adapter(config, network), "card")
    return folder


@pytest.fixture(params=["de", "ar"])
def language(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def exported(kws: Kws, folders: Path, language: str, tmp_path: Path) -> Any:
    """A session of the file that the command writes."""
    adapter = ["--adapter", folders / "de"] if language == "de" else []
    out = tmp_path / "language.onnx"
    code, told, err = kws("export", "--base", folders / "base", *adapter, "--out", out)
    assert (code, err) == (0, "")
    assert told == f"{out}: {out.stat().st_size:,} bytes\n"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(out, options, providers=["CPUExecutionProvider"])


def heard(session: Any, pieces: Iterator[Wave]) -> list[Wave]:
    """What each piece gives, from a state of zeros on."""
    (size,) = next(one.shape for one in session.get_inputs() if one.name == "state")
    state, rows = np.zeros(size, np.float32), []
    for piece in pieces:
        scores, state = session.run(["scores", "next_state"], {"audio": piece, "state": state})
        rows.append(scores)
    return rows


def cut(wave: Wave, sizes: Callable[[], int]) -> Iterator[Wave]:
    start = 0
    while start < len(wave):
        size = sizes()
        yield wave[start : start + size]
        start += size


def opened(folders: Path, language: str) -> Runtime:
    return open_runtime(folders / "base", [folders / "de"], language)


def live(folders: Path, language: str, wave: Wave, hop: int) -> Wave:
    """The engine's scores ``[n, K]`` at every hop."""
    scorer = opened(folders, language).hop_scorer(hop)
    ends = range(0, len(wave) - hop + 1, hop)
    return np.array([scorer.hear(wave[start : start + hop]) for start in ends])


def is_causal(folders: Path) -> bool:
    return read_base_config(folders / "base").causal


def test_the_file_has_the_scores_of_the_engine_from_the_first_sample(
    folders: Path, language: str, exported: Any
) -> None:
    """In pieces of the engine's own; of a causal base the newest row is the decision."""
    wave = sound(3 * 16_000)
    rows = heard(exported, cut(wave, lambda: HOP))
    expected = live(folders, language, wave, HOP)
    assert expected.std(axis=0).max() > 0.01  # they change
    found = np.array([row[-1] for row in rows[: len(expected)]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@causal
@pytest.mark.parametrize("seed", range(3))
def test_a_causal_file_gives_the_same_rows_however_the_sound_is_cut(
    folders: Path, language: str, exported: Any, seed: int
) -> None:
    wave = sound(2 * 16_000 + 101)
    rng = np.random.default_rng(seed)
    most = (4_000, 500, 200)[seed]  # 200: now and then no frame is whole
    rows = heard(exported, cut(wave, lambda: int(rng.integers(1, most))))
    found, (whole,) = np.concatenate(rows), heard(exported, iter([wave]))
    assert len(found) == len(whole) == len(wave) // FRAME
    np.testing.assert_allclose(found, whole, rtol=0, atol=TOLERANCE)
    expected = live(folders, language, wave, FRAME)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_frames_that_do_not_overlap_are_a_stream_too(kws: Kws, tmp_path: Path) -> None:
    """Between two pieces no sample may be left over."""
    features = FeatureConfig(window=FRAME, hop=FRAME)
    config = BaseConfig(
        architecture="bcresnet",
        tau=1.0,
        language="ar",
        labels=("a", "b", "c", "d"),
        features=features,
        causal=True,
    )
    save_base(tmp_path / "base", config, pretrained(causal=True))
    out = tmp_path / "out.onnx"
    code, _, err = kws("export", "--base", tmp_path / "base", "--out", out)
    assert (code, err) == (0, "")
    session, wave = onnxruntime.InferenceSession(out), sound(40 * FRAME)
    rows = heard(session, cut(wave, lambda: 8 * FRAME))
    (whole,) = heard(session, iter([wave]))
    np.testing.assert_allclose(np.concatenate(rows), whole, rtol=0, atol=TOLERANCE)


@causal
def test_a_causal_file_takes_single_samples(exported: Any) -> None:
    wave = sound(4 * FRAME + 3)
    rows = heard(exported, cut(wave, lambda: 1))
    assert [len(row) for row in rows] == [int(n % FRAME == 0) for n in range(1, len(wave) + 1)]
    (whole,) = heard(exported, iter([wave]))
    np.testing.assert_allclose(np.concatenate(rows), whole, rtol=0, atol=TOLERANCE)


def test_samples_that_are_no_number_are_silence(exported: Any) -> None:
    """They are not remembered either."""
    wave = sound(2 * 16_000)
    odd, silent = wave.copy(), wave.copy()
    odd[8_000:8_003], silent[8_000:8_003] = [np.nan, np.inf, -np.inf], 0.0
    found, expected = (heard(exported, cut(some, lambda: HOP)) for some in (odd, silent))
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))
    odd[8_000:8_003] = [1e30, -3e38, 3e38]
    silent[8_000:8_003] = [LOUDEST, -LOUDEST, LOUDEST]  # as loud as anything is
    found, expected = (heard(exported, cut(some, lambda: HOP)) for some in (odd, silent))
    assert np.isfinite(np.concatenate(found)).all()
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@views
def test_a_file_of_views_takes_any_number_of_samples(exported: Any) -> None:
    wave = sound(16_000)
    pieces = chain(cut(wave[:50], lambda: 1), cut(wave[50:], lambda: 777))
    rows, (whole,) = heard(exported, pieces), heard(exported, iter([wave]))
    assert all(len(row) == 1 for row in rows)
    np.testing.assert_allclose(rows[-1], whole, rtol=0, atol=TOLERANCE)


def test_the_file_says_all_that_its_detector_needs(
    folders: Path, language: str, exported: Any
) -> None:
    kept = exported.get_modelmeta().custom_metadata_map
    told = {key: json.loads(value) for key, value in kept.items()}
    runtime = opened(folders, language)
    assert DetectorConfig.from_dict(told.pop("detector")) == runtime.detector_config(language)
    assert told == {
        "language": language,
        "labels": list(runtime.labels),
        "sample_rate": 16_000,
        "causal": is_causal(folders),
        "hop": FRAME,
        "decision": HOP,
        "tail": round(TAIL * 16_000),
    }


def test_without_out_the_network_of_all_languages_goes_beside_the_base(
    kws: Kws, folders: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(folders / "base", tmp_path / "base"))
    code, out, err = kws("export", "--base", base)
    assert (code, err) == (0, "")
    assert out.startswith(f"{base / FILE}: ")
    view = sound(16_000)
    scores = [open_runtime(base, kernels=kernels).scores(view) for kernels in (True, False)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=TOLERANCE)


def test_a_language_needs_a_file(kws: Kws, folders: Path) -> None:
    code, out, err = kws("export", "--base", folders / "base", "--adapter", folders / "de")
    assert (code, out) == (2, "")
    assert err == "kws: --adapter needs --out, the file to write\n"


def test_a_base_is_not_written_over(kws: Kws, folders: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(folders / "base", tmp_path / "base"))
    (base / FILE).write_bytes(b"the network of all languages")
    for name in ("base_model.safetensors", FILE):
        file = base / name
        before = file.read_bytes()
        code, out, err = kws("export", "--base", base, "--out", file)
        assert (code, out) == (2, "")
        assert err.startswith(f"kws: --out {file} must end in .onnx and not be")
        assert file.read_bytes() == before


@causal
@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("de/adapter_config.json", {"base_sha256": "b" * 64}, "de belongs to another base"),
        ("base/base_config.json", {"labels": ["a", "b"]}, "2 labels and a head for 4"),
    ],
)
def test_what_does_not_fit_together_is_not_exported(
    kws: Kws, folders: Path, tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    copied = Path(shutil.copytree(folders, tmp_path / "copied"))
    raw = json.loads((copied / file).read_text(encoding="utf-8"))
    (copied / file).write_text(json.dumps(raw | changes), encoding="utf-8")
    adapter = ["--adapter", copied / "de"] if file.startswith("de") else []
    out = tmp_path / "out.onnx"
    code, _, err = kws("export", "--base", copied / "base", *adapter, "--out", out)
    assert (code, message in err, out.exists()) == (1, True, False), err
