"""What is measured of clips, and how it is told."""

import json
import re
import shlex
import shutil
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from helpers import Kws, fail, rows, said, succeed

from apps.training.measure import measure
from audio_data.clips import SPLITS, SYNTHETIC, Split
from audio_data.manifest import read_manifest, write_manifest
from kws.adapter import load_adapter, read_adapter_config, save_adapter_config
from kws.base import read_base_config, save_base_config

EVALUATE_KEYS = [
    "accuracy",
    "count",
    "per_word",
    "per_speaker",
    "worst_speaker",
    "unknown_false_accept_rate",
    "silence_false_accept_rate",
]


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize(("name", "language"), [(None, "en"), ("de", "de"), ("es", "es")])
def test_evaluating_prints_what_was_promised(
    kws: Kws, spoken: Path, tiny: Path, name: str | None, language: str, split: str
) -> None:
    adapter = ["--adapter", tiny / name] if name else []
    command = ["evaluate", "--base", tiny / "base", *adapter, "--data", spoken]
    found = succeed(kws, *command, "--filter", f"language={language}", "--split", split)
    clips = rows(spoken, language, split)
    assert list(found) == EVALUATE_KEYS
    assert found["count"] == len(clips) > 0
    assert set(found["per_word"]) == {row["word"] for row in clips}
    assert set(found["per_speaker"]) == {row["speaker"] for row in clips}
    right = sum(word["accuracy"] * word["count"] for word in found["per_word"].values())
    assert found["accuracy"] == pytest.approx(right / len(clips))
    worst = min(person["accuracy"] for person in found["per_speaker"].values())
    assert found["worst_speaker"]["accuracy"] == worst
    for rate in ("unknown_false_accept_rate", "silence_false_accept_rate"):
        assert 0 <= found[rate] <= 1


def test_it_is_told_where_nobody_is_heard(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """Or not in all recordings."""
    command = "evaluate", "--base", tiny / "base", "--filter", "language=en", "--data"
    _, _, err = kws(*command, spoken)
    assert "note: these clips are of synthetic voices" in err
    people = shutil.copytree(spoken.parent, tmp_path / "people") / spoken.name
    told, *lines = people.read_text(encoding="utf-8").splitlines()
    one = [
        row.replace("synthetic, eSpeak NG", "CC0-1.0") if "/no/" in row else row for row in lines
    ]
    people.write_text("\n".join([told, *one]), encoding="utf-8")
    said = sum(row["word"] != "no" for row in rows(spoken, "en", "test"))
    assert f"note: {said} of these clips are of synthetic voices" in kws(*command, people)[2]
    none = [row.replace("synthetic, eSpeak NG", "CC0-1.0") for row in lines]
    people.write_text("\n".join([told, *none]), encoding="utf-8")
    assert "of synthetic voices" not in kws(*command, people)[2]


def test_validation_is_measured_with_the_stored_numbers(kws: Kws, spoken: Path, tiny: Path) -> None:
    """What ``adapt`` prints is what ``evaluate`` finds in the files."""
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", spoken]
    found = succeed(kws, *command, "--filter", "language=de", "--split", "validation")
    assert found["accuracy"] == said(tiny, "de")["validation_accuracy"]


def test_what_filters_select_is_evaluated(kws: Kws, spoken: Path, tiny: Path) -> None:
    """One split, one person, one word; nothing must be left to train on."""
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", spoken]
    command += ["--filter", "language=de"]
    whole = succeed(kws, *command)
    assert succeed(kws, *command, "--filter", "split=test") == whole
    who, *_ = whole["per_speaker"]
    one = succeed(kws, *command, "--filter", f"speaker={who}")
    assert one["per_speaker"] == {who: whole["per_speaker"][who]}
    one = succeed(kws, *command, "--filter", "word=nein")
    assert one["per_word"] == {"nein": whole["per_word"]["nein"]}
    error = fail(kws, 2, *command, "--filter", "split=test", "--split", "validation")
    assert "no validation recordings of de, only test" in error


def test_people_of_a_plain_folder_are_evaluated_where_training_put_them(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Whoever is recorded later, and whoever is left out: who was learnt from is not tested."""
    folder, everybody = tmp_path / "words", defaultdict(list)
    for row in (row for split in SPLITS for row in rows(spoken, "de", split)):
        everybody[row["speaker"]].append(row)

    def record(*people: str) -> None:
        for row in (row for who in people for row in everybody[who]):
            path = folder / row["word"] / f"{row['speaker']}_{Path(row['path']).name}"
            path.parent.mkdir(exist_ok=True, parents=True)
            shutil.copy(spoken.parent / row["path"], path)

    first, second, third, *others = sorted(everybody)
    record(first, second, third)
    data = ["--data", folder, "--language", "de", "--speaker-pattern", "^([^_]+)_"]
    adapter, base = tmp_path / "de", tiny / "base"
    succeed(kws, "adapt", "--base", base, *data, "--epochs", 4, "--out", adapter)
    people = read_adapter_config(adapter).people
    assert sorted(people) == [first, second, third]
    assert sorted(people.values()) == ["test", "train", "validation"]
    command = ["evaluate", "--base", base, "--adapter", adapter, *data]
    record(*others)
    for split in SPLITS:
        heard = succeed(kws, *command, "--split", split)["per_speaker"]
        assert [who for who in people if who in heard] == [w for w in people if people[w] == split]
    trained = next(who for who in people if people[who] == "train")
    error = fail(kws, 2, *command, "--filter", f"speaker={trained}")
    assert "no test recordings of de, only train" in error


def test_people_learnt_from_by_files_are_not_tested_once_there_are_others(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Two people's files are split; with four more people, they are the ones learnt from."""
    clips = read_manifest(spoken, {"language": ["de"]})
    everybody = sorted({str(clip.speaker) for clip in clips})
    assert len(everybody) >= 6

    def of(people: list[str], path: Path) -> Path:
        said = [replace(clip, split=None, licence=None) for clip in clips if clip.speaker in people]
        write_manifest(path, said)
        return path

    for number, first in enumerate(combinations(everybody[:3], 2)):
        two = of([*first], tmp_path / "two.csv")
        base, adapter = tiny / "base", tmp_path / f"de{number}"
        learn = ["--base", base, "--data", two, "--method", "even", "--steps", 1]
        succeed(kws, "adapt", *learn, "--out", adapter)
        assert read_adapter_config(adapter).people == dict.fromkeys(first, "several")
        command = ["evaluate", "--base", base, "--adapter", adapter, "--data"]
        assert {*succeed(kws, *command, two)["per_speaker"]} <= {*first}
        found = succeed(kws, *command, of(everybody, tmp_path / "all.csv"))
        assert not {*first} & {*found["per_speaker"]}


def test_strangers_who_are_not_measured_are_told_of(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Where the network names its people, none of whom may have been trained on."""
    path, adapter = tmp_path / "manifest.csv", Path(shutil.copytree(tiny / "de", tmp_path / "de"))
    clips = read_manifest(spoken, {"language": ["de"]})
    names = {speaker: f"new{n}" for n, speaker in enumerate({str(clip.speaker) for clip in clips})}
    new = [replace(clip, licence=None, speaker=names[str(clip.speaker)]) for clip in clips]
    write_manifest(path, [replace(clip, split=None) for clip in new])
    config = replace(read_adapter_config(adapter), people={"ann": "train"})
    assert config.training["recordings"]["people"]
    save_adapter_config(adapter, config)
    command = ["evaluate", "--base", tiny / "base", "--adapter", adapter, "--data", path]
    code, out, err = kws(*command, "--json")
    assert code == 0, err
    left = len(new) - json.loads(out)["count"]
    assert f"note: {left} more recordings of keywords by people whom it was not" in err
    assert "see --split train and --split validation" in " ".join(err.split())
    assert "may be of training speakers" not in err
    succeed(kws, *command, "--keep")
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert re.search(r"test clips of .*not trained on", card)
    save_adapter_config(adapter, replace(config, people=dict.fromkeys(names.values(), "test")))
    assert "more recording" not in kws(*command)[2]


def test_people_whom_the_base_heard_are_called_no_strangers(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Where nobody else says the words: in the card, and when they are measured again."""
    path, base = tmp_path / "manifest.csv", tmp_path / "base"
    clips = read_manifest(spoken, {"language": ["de"]})
    write_manifest(path, [replace(clip, split=None, licence=None) for clip in clips])
    shutil.copytree(tiny / "base", base)
    config = read_base_config(base)
    everybody: dict[str, Split] = {str(clip.speaker): "train" for clip in clips}
    save_base_config(base, replace(config, people={**config.people, **everybody}))
    adapter = tmp_path / "de"
    succeed(kws, "adapt", "--base", base, "--data", path, "--epochs", 4, "--out", adapter)
    command = ["evaluate", "--base", base, "--adapter", adapter, "--data", path, "--keep"]
    code, _, err = kws(*command)
    assert code == 0, err
    assert "learnt from: accuracy may be optimistic" in " ".join(err.split())
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert card.count("of whom were learnt from in other recordings") == 2
    assert "not trained on" not in card
    assert {*read_adapter_config(adapter).people.values()} == {"train", "several"}


def test_nobody_learnt_from_is_tested_whatever_other_recordings_say(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """People whom a manifest splits are remembered, and a later one cannot move them."""
    people = spoken.with_name("people.csv")  # synthetic voices alone are nobody
    people.write_text(spoken.read_text(encoding="utf-8").replace(SYNTHETIC, "CC0-1.0"), "utf-8")
    german, adapter = ["--filter", "language=de"], tmp_path / "de"
    learn = ["adapt", "--base", tiny / "base", "--data", people, *german]
    succeed(kws, *learn, "--method", "head", "--epochs", 1, "--out", adapter)
    learnt = read_adapter_config(adapter).people
    splits = {split: {row["speaker"] for row in rows(people, "de", split)} for split in SPLITS}
    assert learnt == {who: split for split, some in splits.items() for who in some}
    swapped = people.with_name("swapped.csv")
    other = {"train": "test", "test": "train"}
    swapped.write_text(
        re.sub(r"\b(train|test)\b", lambda found: other[found[1]], people.read_text("utf-8")),
        encoding="utf-8",
    )
    command = ["evaluate", "--base", tiny / "base", "--adapter", adapter, "--data", swapped]
    code, out, err = kws(*command, *german, "--json")
    assert code == 0
    assert json.loads(out)["per_speaker"].keys() == splits["test"]
    assert "were in another split when the network was trained, and stay there" in err


def test_a_table_for_people(kws: Kws, spoken: Path, tiny: Path) -> None:
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    code, out, _ = kws(*command)
    assert code == 0
    assert f"over {len(rows(spoken, 'en', 'test'))} clips" in out
    assert all(word in out for word in ("yes", "no", "stop"))


def test_closed_measures_keywords_alone(kws: Kws, spoken: Path, tiny: Path) -> None:
    """Also a network that knows unknown and silence: it is only asked which keyword it is."""
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    whole, closed = succeed(kws, *command), succeed(kws, *command, "--closed")
    assert closed["unknown_false_accept_rate"] is None
    assert closed["silence_false_accept_rate"] is None
    assert closed["count"] == whole["count"]
    assert closed["accuracy"] >= whole["accuracy"]


def test_one_keyword_alone_is_not_measured_closed(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """It would always be right."""
    language = ["--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    out = ["--method", "head", "--epochs", 1, "--keywords", "ja", "--out", tmp_path / "ja"]
    succeed(kws, "adapt", *language, *out)
    told = fail(kws, 2, "evaluate", *language, "--adapter", tmp_path / "ja", "--closed")
    assert "--closed with only one keyword is always right; leave it out" in told


def test_trained_closed_is_closed(kws: Kws, spoken: Path, tiny: Path, tmp_path: Path) -> None:
    """With or without ``--closed`` when it is evaluated; other words are refused."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    options = ["--method", "head", "--epochs", 1, "--out", tmp_path, "--closed"]
    assert succeed(kws, *command, *options)["head_parameters"] == 3 * 33
    assert load_adapter(tmp_path).config.labels == ("ja", "links", "nein")
    command = ["evaluate", "--base", tiny / "base", "--adapter", tmp_path, "--data", spoken]
    found = [
        succeed(kws, *command, "--filter", "language=de", *closed) for closed in ([], ["--closed"])
    ]
    assert found[0] == found[1]
    assert found[0]["unknown_false_accept_rate"] is None
    told = fail(kws, 2, *command, "--filter", "language=de", "--others", spoken)
    assert "--others are unknown words, which this network does without; leave it out" in told


def test_figures_are_not_kept_of_what_was_replaced_meanwhile(
    kws: Kws, tiny: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = Path(shutil.copytree(tiny / "de", tmp_path / "de"))

    def replaced(*given: object, **named: object) -> object:
        config = load_adapter(adapter).config
        stricter = replace(config.detector, smoothing=7)
        save_adapter_config(adapter, replace(config, detector=stricter))
        return measure(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("apps.evaluate.measure", replaced)
    heard = ["evaluate", "--base", tiny / "base", "--adapter", adapter, "--data", spoken]
    error = fail(kws, 1, *heard, "--filter", "language=de", "--keep")
    assert "was changed while it was measured" in error
    assert "test" not in load_adapter(adapter).config.metrics


def test_figures_are_kept_in_the_card_where_that_is_asked_for(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of clips and of streams, beside what was there."""
    monkeypatch.setenv("HOME", "/home/ann")  # nothing here lies below it
    adapter = Path(shutil.copytree(tiny / "de", tmp_path / "de"))
    heard = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    heard += ["--adapter", adapter]
    before = (adapter / "adapter_config.json").read_bytes()
    succeed(kws, *heard)
    assert (adapter / "adapter_config.json").read_bytes() == before
    found = succeed(kws, *heard, "--keep")
    picture = ["--out", tmp_path / "det.png", "--hours", 0.005]
    stream = succeed(kws, *heard, "--stream", *picture, "--keep")
    metrics = read_adapter_config(adapter).metrics
    typed = shlex.join(map(str, ["kws", *heard, "--keep", "--json"]))
    assert metrics["test"] == found | {"made": 6, "split_by": "people", "command": typed}
    assert metrics["stream"]["points"] == stream["points"]
    assert "validation" in metrics
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert f"Accuracy {found['accuracy']:.1%} over 6 test clips of synthetic voices" in card
    assert "On streams of the test half, 18 s without keywords" in card
    assert f"- Measured by `{typed}`\n- Streams by `kws evaluate " in card
    assert "how often it fires" not in card
    assert "- how it works for people: only synthetic voices were measured" in card
    succeed(kws, "calibrate", *heard[1:], "--hours", 0.005)  # other thresholds, not heard yet
    assert "stream" not in read_adapter_config(adapter).metrics
    assert "On streams" not in (adapter / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "narrower",
    [
        ["--closed"],
        ["--split", "train"],
        ["--filter", "speaker=syn03"],
        ["--stream", "--keywords", "ja"],
        ["--stream", "--per-word", "1"],
    ],
)
def test_a_card_speaks_of_all_words_and_all_people(
    narrower: list[str], tiny: Path, kws: Kws, spoken: Path
) -> None:
    heard = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    heard += ["--adapter", tiny / "de", "--keep", *narrower]
    assert "--keep is for figures of all words and all people" in fail(kws, 2, *heard)


def test_a_card_speaks_of_words_that_were_recorded(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(tiny / "de", tmp_path / "de"))
    for row in rows(spoken, "de", "test"):
        if row["word"] == "ja":
            path = tmp_path / "words" / "ja" / Path(row["path"]).name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(spoken.parent / row["path"], path)
    heard = ["evaluate", "--base", tiny / "base", "--adapter", adapter]
    heard += ["--data", tmp_path / "words", "--language", "de", "--keep", "--split", "validation"]
    assert "no recordings of" in fail(kws, 2, *heard)


def test_a_folder_is_no_picture(tiny: Path, kws: Kws, spoken: Path, tmp_path: Path) -> None:
    """Said before hours are heard."""
    heard = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    heard += ["--adapter", tiny / "de", "--stream", "--out"]
    (tmp_path / "det.png").mkdir()
    assert "write it as det.png" in fail(kws, 2, *heard, tmp_path / "det.pdf")
    heard += [tmp_path / "det.png"]
    assert "is a folder; name a file for the picture" in fail(kws, 2, *heard)


def test_words_that_are_not_in_the_recordings_cannot_be_evaluated(
    kws: Kws, spoken: Path, tiny: Path
) -> None:
    command = ["evaluate", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    told = fail(kws, 2, *command)
    assert "no recordings of 'no', 'stop', 'yes' in de" in told
    assert "is it of the right language, or adapter?" in told
