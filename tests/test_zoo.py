"""The supplied networks are what their cards say, and fit together."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers import Kws

from apps.results.supplied import zoo_rows
from apps.training.card import base_card, card, command
from apps.wiring import open_runtime
from apps.zoo import adapters_to_load
from audio_data import synthesis
from audio_data.clips import HALVES
from audio_data.mixture import SPEAKERS, make_mixture
from kws.adapter import ADAPTER_CONFIG, check_base, load_adapter, read_adapter_config
from kws.base import read_base_config
from kws.names import spotted

ZOO = Path(__file__).resolve().parent.parent / "models" / "zoo"
BASE = ZOO / "ara"
ADAPTERS = sorted(path.parent.name for path in ZOO.glob("*/adapter_config.json"))
HEARD = {  # on which people: what follows the folder of recordings
    "ara": ["manifest.csv", "--filter", "corpus=arabic-speech-commands"],
    "cmn": ["manifest.csv", "--filter", "corpus=dspspeech20-mandarin"],
    "eng": ["manifest.csv", "--filter", "corpus=dspspeech20-english"],
    "eng-digits": ["manifest.csv", "--filter", "corpus=fsdd-english"],
    "eng-commands": ["manifest.csv", "--filter", "corpus=speech-commands-excerpt"],
    "eng-alexa": ["wake-word-benchmark", "--language", "eng", "--speaker-pattern", r"_0(\d)\d"],
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_fits_the_base_and_its_card_says_how_it_was_made(name: str) -> None:
    base, adapter = read_base_config(BASE), load_adapter(ZOO / name)
    check_base(adapter, base)
    card = (ZOO / name / "README.md").read_text("utf-8")
    assert f"--out {name}`" in card
    assert "Licences of the recordings: not stated" not in card
    assert set(adapter.config.detector.keywords) <= set(adapter.config.labels)


@pytest.mark.parametrize("name", ["ara", *ADAPTERS])
def test_cards_say_what_the_figures_are(name: str) -> None:
    folder = ZOO / name
    made = base_card(read_base_config(BASE)) if name == "ara" else card(read_adapter_config(folder))
    assert (folder / "README.md").read_text("utf-8") == made


@pytest.mark.parametrize(
    ("made", "people", "told"),
    [
        ((100, 100, 0), 0.5, ["- People: 40.0 points fewer than synthetic voices (90.0% → 50.0%)"]),
        ((100, 100, 0), 0.95, ["- People: 5.0 points more than synthetic voices (90.0% → 95.0%)"]),
        ((40, 100, 0), 0.5, []),  # people were learnt from too
        ((100, 40, 0), 0.5, []),
        ((100, 100, 100), 0.5, []),
    ],
)
def test_what_people_lose_is_said_where_only_synthetic_voices_were_learnt(
    made: tuple[int, int, int], people: float, told: list[str]
) -> None:
    config = read_adapter_config(ZOO / "eng-commands")
    learnt, *heard = ({"count": 100, "clips": 100, "people": 5, "made": each} for each in made)
    for found, accuracy, split in zip(heard, (0.9, people), HALVES, strict=True):
        config.metrics[split].update(found, accuracy=accuracy)
    config.training["recordings"] = learnt
    assert [line for line in card(config).splitlines() if line.startswith("- People")] == told


def test_a_card_names_nobodys_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters are shared; the folder is often called as its owner is."""
    monkeypatch.setenv("HOME", "/home/ann")
    typed = [
        "adapt",
        "--data",
        "/home/ann/my words",
        "--out=/home/ann/de",
        "/home/anna",
        "/home/ann",
    ]
    monkeypatch.setattr(sys, "argv", ["kws", *typed])
    assert command() == "kws adapt --data '~/my words' '--out=~/de' /home/anna '~'"
    monkeypatch.setenv("HOME", "/")
    assert "/home/ann/my words" in command()


@pytest.mark.parametrize("name", HEARD)
def test_test_people_are_understood_as_the_card_says(
    name: str, kws: Kws, shared_data: Path
) -> None:
    """Computed anew, on people that nothing was learnt from or chosen on."""
    recordings, *which = HEARD[name]
    others = ["--others", shared_data / "manifest.csv"] if name == "eng-alexa" else []
    compare(name, kws, [shared_data / recordings, *which, *others])


@pytest.mark.parametrize("name", ["deu", "fra", "hin"])
def test_other_synthetic_voices_are_understood_as_the_card_says(
    name: str, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spoken anew, by the test voices alone; another eSpeak NG may say a word otherwise."""
    voices = [voice for voice in synthesis.draw_speakers(SPEAKERS) if voice.split == "test"]
    monkeypatch.setattr(synthesis, "draw_speakers", lambda count, seed: voices)
    config = read_adapter_config(ZOO / name)
    make_mixture(tmp_path, spotted(config.labels), config.language)
    compare(name, kws, [tmp_path], clips=5)


def compare(name: str, kws: Kws, data: Sequence[object], clips: float = 0.5) -> None:
    """What is measured on these recordings is what the folder says, but for so many clips."""
    adapter = [] if name == "ara" else ["--adapter", ZOO / name]
    code, out, err = kws("evaluate", "--base", BASE, *adapter, "--data", *data, "--json")
    assert code == 0, err
    found = json.loads(out)
    read = read_base_config if name == "ara" else read_adapter_config
    kept = read(ZOO / name).metrics["test"]
    assert found["count"] == kept["count"]
    assert found["accuracy"] == pytest.approx(kept["accuracy"], abs=clips / found["count"])
    card = (ZOO / name / "README.md").read_text("utf-8")
    assert re.search(rf"Accuracy {kept['accuracy']:.1%} over {found['count']} test clips", card)


@pytest.mark.parametrize("name", ["ara", *ADAPTERS])
def test_whoever_was_trained_on_is_told(name: str) -> None:
    """So that nobody of them is tested, whatever other recordings say."""
    config = read_base_config(BASE) if name == "ara" else read_adapter_config(ZOO / name)
    learnt = config.training["recordings"]
    known = read_base_config(BASE).people if name != "ara" else {}
    own = {who for who, where in config.people.items() if where == "train" and who not in known}
    # Synthetic voices are nobody; some unknown words were said by others.
    assert len(own) >= (0 if learnt["made"] else learnt["people"])


def test_where_nothing_is_named_all_that_is_supplied_is_heard() -> None:
    """Each by the name of its folder, since several are for one language."""
    found, language = adapters_to_load((), None, of_a_base=False)
    runtime = open_runtime(BASE, found, language)
    assert (runtime.languages, runtime.active_adapter) == (("ara", *ADAPTERS), "ara")
    assert adapters_to_load((), "cmn", of_a_base=False)[1] == "cmn"
    one = [("", ZOO / "cmn")]
    assert adapters_to_load(one, None, of_a_base=False) == (one, None)
    assert adapters_to_load((), None, of_a_base=True) == ((), None)  # a base of one's own


def test_a_language_is_learnt_where_neither_base_nor_folder_is_named(
    kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    learn = ["adapt", "--data", spoken, "--filter", "language=de", "--method", "head"]
    code, _, err = kws(*learn, "--epochs", 1)
    assert code == 0, err
    own = read_base_config(BASE)
    assert read_adapter_config(tmp_path / "runs" / "de").base_sha256 == own.sha256


def test_the_thresholds_of_what_is_supplied_stay(kws: Kws, spoken: Path) -> None:
    code, _, err = kws("calibrate", "--data", spoken, "--filter", "language=en")
    assert (code, "the supplied base is changed only if it is named" in err) == (2, True)


def test_the_table_has_a_row_for_each() -> None:
    assert [row[0] for row in zoo_rows(ZOO)] == ["ara", *ADAPTERS]


def test_figures_of_validation_are_no_figures_of_a_test(tmp_path: Path) -> None:
    """All that is supplied was tested; what was not stands in no row."""
    tested = {name: read_adapter_config(ZOO / name).metrics["test"] for name in ADAPTERS}
    rows = {row[0]: row[5] for row in zoo_rows(ZOO) if row[0] != "ara"}
    assert rows == {name: f"{100 * found['accuracy']:.1f}" for name, found in tested.items()}
    shutil.copytree(ZOO / "deu", tmp_path / "deu")
    file = tmp_path / "deu" / ADAPTER_CONFIG
    config = json.loads(file.read_text("utf-8"))
    del config["metrics"]["test"]
    file.write_text(json.dumps(config), "utf-8")
    assert zoo_rows(tmp_path) == []


def test_people_among_synthetic_voices_are_told_of(tmp_path: Path) -> None:
    """In what was learnt and in what was tested, as the card does."""
    shutil.copytree(ZOO / "deu", tmp_path / "deu")
    file = tmp_path / "deu" / ADAPTER_CONFIG
    config = json.loads(file.read_text("utf-8"))
    config["training"]["recordings"] = {"clips": 100, "people": 10, "made": 4}
    for split in HALVES:
        config["metrics"][split]["made"] = 4
    file.write_text(json.dumps(config), "utf-8")
    (row,) = zoo_rows(tmp_path)
    assert row[3] == "10 people and synthetic voices"
    assert row[4].endswith("people and synthetic voices")
    told = card(read_adapter_config(tmp_path / "deu"))
    assert f"by {row[3]}\n" in told
    assert told.count(" by person or voice\n") == len(HALVES)


def test_people_and_synthetic_voices_are_called_what_they_are() -> None:
    cards = [(ZOO / name / "README.md").read_text("utf-8") for name in ("deu", "cmn")]
    assert [text.count(" by voice\n") for text in cards] == [2, 0]
    assert [text.count(" by person\n") for text in cards] == [0, 2]


@pytest.mark.parametrize(
    ("made", "whose"), [(0, ""), (3, " (some synthetic voices)"), (64, " (synthetic voices)")]
)
def test_streams_tell_how_many_synthetic_voices_there_are(
    made: int, whose: str, tmp_path: Path
) -> None:
    shutil.copytree(ZOO / "deu", tmp_path / "deu")
    file = tmp_path / "deu" / ADAPTER_CONFIG
    config = json.loads(file.read_text("utf-8"))
    config["metrics"]["stream"] |= {"made": made, "count": 64}
    file.write_text(json.dumps(config), "utf-8")
    (row,) = zoo_rows(tmp_path)
    assert row[8] == f"{float(row[8].split()[0])}{whose}"


def test_one_adapter_may_be_named_alone() -> None:
    """As people write it first."""
    for one in (ZOO / "cmn", str(ZOO / "cmn")):
        assert open_runtime(BASE, one).languages == ("ara", "cmn")
