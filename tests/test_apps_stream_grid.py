"""A grid of streams runs each once, and the page says what their records say."""

import tomllib
from pathlib import Path
from typing import Any

from helpers import Kws

from apps.experiments.stream_grid import stream_cells
from apps.results.page import write_results
from apps.training.recordings import Selection
from kws.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
GRID = """
data = "{data}"
base = "{folder}/base"
hours = 0.004
snrs = [20, 0]
per_word = 1

[streams.own]
filter = ["language=en"]
keywords = ["yes", "no"]

[streams.german]
adapter = "{folder}/de"
filter = ["language=de"]
"""


def misses(rate: float | None) -> dict[str, Any]:
    return {"count": 100, "miss_rate": rate, "latency_seconds": {"median": 0.154, "p90": 0.3}}


def point(target_rate: float | None) -> dict[str, Any]:
    places = {"alone": misses(0.02), "among_words": misses(0.04)}
    return {
        "aim_per_hour": target_rate,
        "negatives": {"hours": 6.0, "bound_hours": 1.0, "per_hour": 0.667, "upper_95": 4.744},
        "snr": {"10": misses(0.03) | places, "0": misses(0.1) | places},
        "thresholds": {"go": 0.5, "stop": 0.6},
    }


def record(seed: int = 0) -> dict[str, Any]:
    curve = [{"threshold": 0.5, "false_accepts_per_hour": 2.0, "miss_rate": 0.1}]
    return {
        "cell": {"task": "english", "seed": seed},
        "stream": {
            "language": "eng",
            "hours": 6.0,
            "split_by": "files",
            "points": [point(0.5), point(None)],
            "det": {"10": curve, "0": curve},
            "notes": ["few people"],
        },
    }


def test_a_grid_spans_every_stream_and_seed() -> None:
    settings = tomllib.loads(GRID.format(data="d", folder="f")) | {"seeds": [0, 1]}
    found = stream_cells(settings)
    assert [cell.name for cell in found] == ["own-0", "german-0", "own-1", "german-1"]
    own, german = (cell.stream for cell in found[:2])
    assert (own.adapter, own.keywords, own.snrs) == (None, ("yes", "no"), (20.0, 0.0))
    assert all(isinstance(snr, float) for snr in own.snrs)  # a stream's seed has them as text
    assert (german.adapter, german.keywords, german.hours) == ("f/de", None, 0.004)


def test_what_a_stream_says_itself_comes_first() -> None:
    settings = tomllib.loads(GRID.format(data="d", folder="f"))
    settings["streams"]["own"] |= {"base": "other", "hours": 1}
    own, german = stream_cells(settings)
    assert (own.stream.base, own.stream.hours) == ("other", 1)
    assert (german.stream.base, german.stream.hours) == ("f/base", 0.004)


def test_a_stream_of_a_folder_knows_who_speaks() -> None:
    """By the pattern that its adapter was trained with, among the words of another corpus."""
    settings = tomllib.loads(GRID.format(data="words", folder="f"))
    own = {"language": "de", "speaker_pattern": "(.)_", "others": "more"}
    (cell,) = stream_cells(settings | {"streams": {"own": own}})
    assert cell.selection == Selection(
        data=Path("words"),
        others=Path("more"),
        language="de",
        speaker_pattern="(.)_",
        per_word=1,
    )


def test_the_grid_that_is_supplied_is_of_three_languages() -> None:
    path = ROOT / "configs" / "streams.toml"
    found = stream_cells(tomllib.loads(path.read_text(encoding="utf-8")))
    assert [cell.task for cell in found] == ["mandarin", "arabic", "english"]
    assert {cell.stream.hours for cell in found} == {6}
    assert {cell.stream.snrs for cell in found} == {(10.0, 0.0)}
    assert [len(cell.stream.keywords or ()) for cell in found] == [0, 10, 0]


def test_streams_run_once_and_are_reported(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    grid, records = tmp_path / "few.toml", tmp_path / "records"
    grid.write_text(GRID.format(data=spoken, folder=tiny), encoding="utf-8")
    run = ["bench", "run", grid, "--records", records, "--work", tmp_path / "work"]
    code, _, err = kws(*run)
    assert code == 0, err
    paths = sorted((records / "few").iterdir())
    assert [path.name for path in paths] == ["german-0.json", "own-0.json"]
    german, own = map(read_json, paths)
    assert set(own["stream"]["points"][0]["thresholds"]) == {"yes", "no"}
    assert german["network"]["method"] == "swr"
    assert german["cell"]["filter"] == ["language=de"]
    assert (tmp_path / "work" / "few" / "own-0" / "det.png").is_file()
    paths[0].unlink()
    written = paths[1].stat().st_mtime_ns
    assert kws(*run)[0] == 0
    assert read_json(paths[0]) == german
    assert paths[1].stat().st_mtime_ns == written
    other = german | {"network": german["network"] | {"adapter_sha256": "a" * 64}}
    write_json(paths[0], other)
    code, _, err = kws(*run)
    assert (code, "was recorded with adapter_sha256 aaa" in " ".join(err.split())) == (2, True)
    assert kws(*run, "--only", "german-*", "--again")[0] == 0
    assert read_json(paths[0]) == german
    code, _, err = kws("bench", "report", "--records", records)
    assert (code, "name an --out" in " ".join(err.split())) == (2, True)
    page = tmp_path / "page.md"
    assert kws("bench", "report", "--records", records, "--out", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "## On streams" in text
    assert "| german | 3 | 0.00 |" in text
    assert (tmp_path / "det_german_0.png").is_file()


def test_the_page_says_what_the_records_say(tmp_path: Path) -> None:
    """One row for each rate aimed at; what is stored with the adapter is none."""
    write_results([record(), record(seed=1)], tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    row = "6.00 | 1.00 | 0.5 | 0.67 | 4.74 | 3.0 (2.0, 4.0) | 10.0 (2.0, 4.0) | 0.15, 0.30 |"
    assert page.count(row) == 2
    assert f"| english | 2 | {row}" in page
    assert f"| english, seed 1 | 2 | {row}" in page
    assert "- english: few people" in page
    assert "chosen on other files, maybe of the same people" in page
    assert "![misses against false accepts per hour, english](det_english_0.png)" in page
    assert "## The base" not in page
