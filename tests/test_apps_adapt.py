"""Learning another language: what is printed, kept, and refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import Kws, fail, record, rows, said, succeed

from apps.training.recordings import Recordings, Selection
from audio_data.clips import SPLITS
from audio_data.manifest import read_manifest, write_manifest
from kws.adapter import ADAPTER_MODEL, load_adapter, read_adapter_config, save_adapter_config
from kws.base import read_base_config
from kws.config import Where
from kws.files import read_json

ADAPT_KEYS = [
    "language",
    "method",
    "budget",
    "spent_parameters",
    "head_parameters",
    "stored_bytes",
    "sites",
    "validation_accuracy",
    "seconds",
]


@pytest.mark.parametrize(
    ("name", "language", "method"), [("de", "de", "swr"), ("es", "es", "last")]
)
def test_adapting_prints_what_was_promised(
    tiny: Path, name: str, language: str, method: str
) -> None:
    printed, adapter = said(tiny, name), load_adapter(tiny / name)
    assert list(printed) == ADAPT_KEYS
    assert (printed["language"], printed["method"]) == (language, method)
    assert printed["budget"] == "10%"
    assert printed["spent_parameters"] == len(adapter.deltas) <= 883
    assert printed["head_parameters"] == adapter.head_weight.size + adapter.head_bias.size == 165
    assert printed["stored_bytes"] == (tiny / name / ADAPTER_MODEL).stat().st_size
    assert tuple(printed["sites"]) == adapter.config.sites
    assert adapter.config.base_language == "en"
    assert adapter.config.licences == ("synthetic, eSpeak NG",)


def test_few_bits_own_more_in_as_many_bytes(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """The file keeps the budget, and is heard as it was measured."""
    language = ["--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn = ["--method", "even", "--steps", 8, "--budget", "1200B"]
    spent = []
    for bits in (16, 8, 4):
        out = tmp_path / str(bits)
        printed = succeed(kws, "adapt", *language, *learn, "--bits", bits, "--out", out)
        assert printed["stored_bytes"] == (out / ADAPTER_MODEL).stat().st_size <= 1_200
        found = succeed(kws, "evaluate", *language, "--adapter", out, "--split", "validation")
        assert found["accuracy"] == pytest.approx(printed["validation_accuracy"])
        spent.append(printed["spent_parameters"])
    assert spent == sorted(spent)
    assert spent[0] < spent[2]


def test_languages_in_sequence_build_on_one_another(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """The first is left as it was, and the second works by itself."""
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--steps", 8, "--method", "cacl"]
    first, second = tmp_path / "de", tmp_path / "es"
    succeed(kws, *learn, "--filter", "language=de", "--out", first)
    people: dict[str, Where] = {"heard in German": "test"}
    save_adapter_config(first, replace(read_adapter_config(first), people=people))
    before = (first / ADAPTER_MODEL).read_bytes()
    spanish = ["--filter", "language=es", "--budget", "300", "--after", first]
    printed = succeed(kws, *learn, *spanish, "--out", second)
    assert (first / ADAPTER_MODEL).read_bytes() == before
    assert read_adapter_config(second).people == people  # they stay who they were
    earlier = read_adapter_config(first).spent_parameters
    assert 0 < earlier <= 883
    assert earlier < printed["spent_parameters"] <= earlier + 300
    assert printed["earlier_parameters"] == earlier
    told = (second / "README.md").read_text(encoding="utf-8")
    assert f"({earlier:,} of them those of the language before)" in told
    assert "language before" not in (first / "README.md").read_text(encoding="utf-8")
    assert read_adapter_config(second).training["earlier_parameters"] == earlier
    heard = ["--base", tiny / "base", "--data", spoken, "--filter", "language=es"]
    succeed(kws, "evaluate", *heard, "--adapter", second)
    spanish[3] = "1KiB"  # of the whole file, the language before in it
    complaint = fail(kws, 2, *learn, *spanish, "--out", tmp_path / "less")
    assert "a budget of 1KiB cannot hold the head and what the language before owns" in complaint
    spanish[3] = "3KiB"
    succeed(kws, *learn, *spanish, "--out", tmp_path / "few")
    assert earlier < (tmp_path / "few" / ADAPTER_MODEL).stat().st_size <= 3 * 1_024


@pytest.mark.parametrize("method", ["swr", "recast-swr"])
def test_a_budget_in_bytes_holds_the_whole_file(
    method: str, tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Also where a module comes in two forms."""
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn += ["--epochs", 4, "--method", method, "--budget", "2KiB", "--out", tmp_path / "de"]
    printed = succeed(kws, *learn)
    assert 1_900 < printed["stored_bytes"] <= 2_048
    assert (tmp_path / "de" / ADAPTER_MODEL).stat().st_size == printed["stored_bytes"]


def test_a_method_whose_file_is_larger_than_the_budget_is_found_out(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that owns modules in more forms than it says, here one whose file counts as none."""
    monkeypatch.setattr("apps.training.learn.stored_bytes", lambda *_: 0)
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    learn += ["--epochs", 1, "--method", "even", "--budget", "2KiB", "--out", tmp_path]
    with pytest.raises(ValueError, match=r"even stores [\d,]+ bytes of 2KiB"):
        kws(*learn)


@pytest.mark.parametrize(
    ("method", "after", "message"),
    [
        ("swr", "de", "--method swr builds on no language before; leave out --after"),
        ("cacl", "de", "was made by swr; cacl builds on its own kind"),
        ("cacl", "nowhere", "does not exist; is"),
    ],
)
def test_what_cannot_be_built_on_is_refused(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path, method: str, after: str, message: str
) -> None:
    code = 2 if "--" in message or "kind" in message else 1
    learn = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=es"]
    chosen = ["--method", method, "--after", tiny / after, "--out", tmp_path / "out"]
    assert message in fail(kws, code, *learn, *chosen)
    assert not (tmp_path / "out").exists()


def test_other_words_of_the_bases_own_language(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=en"]
    options = ["--keywords", "stop", "--method", "head", "--epochs", 1, "--out", tmp_path]
    assert succeed(kws, *command, *options)["language"] == "en"
    assert load_adapter(tmp_path).config.labels == ("stop", "_unknown_", "_silence_")
    clip = spoken.parent / rows(spoken, "en", "test")[0]["path"]
    code, out, err = kws(
        "detect",
        clip,
        "--base",
        tiny / "base",
        "--adapter",
        tmp_path,
        "--threshold",
        0.01,
        "--json",
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["keyword"] == "stop"


def test_the_smallest_budget_that_holds_the_head_is_enough(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """It is named when a budget in bytes is too small, and one byte less is too small."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--method", "random", "--epochs", 1, "--out", tmp_path / "out", "--budget"]
    error = fail(kws, 2, *command, "300B")
    assert "300B cannot hold the head; the smallest that can is" in error
    smallest = int(error.split()[-1].removesuffix("B"))
    assert f"is {smallest}B" in fail(kws, 2, *command, f"{smallest - 1}B")
    assert not (tmp_path / "out").exists()
    found = succeed(kws, *command, f"{smallest}B")
    assert found["stored_bytes"] == smallest
    assert found["spent_parameters"] == 0
    assert found["sites"] == []


def test_a_method_that_owns_what_it_owns_is_not_refused_for_its_budget(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--method", "head", "--epochs", 1, "--out", tmp_path / "out", "--budget"]
    assert succeed(kws, *command, "1B")["spent_parameters"] == 0
    assert "'much' is no budget" in fail(kws, 2, *command, "much")


def test_a_card_says_what_a_folder_of_recordings_does_not(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Under which licence they are, and a sentence about them."""
    for row in (row for split in SPLITS for row in rows(spoken, "de", split)):
        path = tmp_path / "words" / row["word"] / Path(row["path"]).name
        path.parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(spoken.parent / row["path"], path)
    learn = ["adapt", "--base", tiny / "base", "--data", tmp_path / "words", "--language", "de"]
    learn += ["--method", "head", "--epochs", 1, "--out", tmp_path / "de"]
    succeed(kws, *learn, "--licence", "CC0-1.0", "--note", "said at\na fair")
    card = (tmp_path / "de" / "README.md").read_text("utf-8")
    assert "  - said at a fair\n- Licences of the recordings: CC0-1.0\n" in card


def test_who_recorded_words_in_the_form_of_a_public_corpus_says_their_licence(
    tmp_path: Path,
) -> None:
    """Which is that corpus' if nothing is said; what a manifest states stays."""
    record(tmp_path / "sc" / "ja" / "me_nohash_0.wav", 300)
    for name in ("testing_list.txt", "validation_list.txt"):
        (tmp_path / "sc" / name).touch()
    for licence, stated in ((None, "CC-BY-4.0"), ("CC0-1.0", "CC0-1.0")):
        (clip,) = Selection(data=tmp_path / "sc", licence=licence).clips()
        assert clip.licence == stated
    path = tmp_path / "manifest.csv"
    write_manifest(path, [replace(clip, licence=stated) for stated in (None, "CC-BY-4.0")])
    found = Selection(data=path, licence="CC0-1.0").clips()
    assert [clip.licence for clip in found] == ["CC0-1.0", "CC-BY-4.0"]


def test_speech_is_not_made_into_the_folder_of_the_recordings(kws: Kws, tmp_path: Path) -> None:
    """Which could not be read as a corpus any more."""
    record(tmp_path / "ja" / "me_1.wav", 300)
    words = ["--tts", "--words", "ja,nein", "--language", "de"]
    for out in (tmp_path / "ja" / "..", tmp_path / "adapter"):
        code, _, err = kws("adapt", *words, "--data", tmp_path, "--out", out)
        told = "is, or lies in, the folder of the recordings; name another --out"
        assert (code, told in " ".join(err.split())) == (2, True), err


def test_one_speaker_alone_is_trained_with_a_note(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    for take in range(8):
        record(tmp_path / "data" / "low" / f"me_{take}.wav", 300 + 10 * take)
        record(tmp_path / "data" / "high" / f"me_{take}.wav", 2_000 + 10 * take, 6)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data"]
    command += ["--speaker-pattern", "(me)_", "--language", "x-tone", "--method", "head"]
    code, out, err = kws(*command, "--epochs", 1, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["language"] == "x-tone"
    assert "note: 1 speaker only: splits share people" in err
    assert re.search(
        r"me_\d\.wav \(and \d more\) lasts more than 5 s: .* only the loudest",
        " ".join(err.split()),
    )
    assert "holds an adapter" not in err
    who = "of people who may have been trained on: speakers are unknown or too few"
    assert who in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    heard = ["--adapter", tmp_path / "out", *command[1:-2]]
    assert "1 of these people was learnt from: accuracy may be" in kws("evaluate", *heard)[2]
    _, _, err = kws(*command, "--epochs", 1, "--out", tmp_path / "out", "--json")
    assert "holds an adapter, which the new one replaces" in " ".join(err.split())


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, ["--method", "ia3"], "'ia3' is not one of"),
        (2, ["--budget", "ten"], "'ten' is no budget; write 10%, 900 (parameters) or 2KiB"),
        (2, ["--budget", "120%"], "120% is not between 0% and 100%"),
        (2, ["--method", "swr", "--epochs", "3"], "trains in stages"),
        (2, ["--lr", "nan"], "nan is no number"),
        (2, ["--lr", "inf"], "inf is not in the range"),
        (2, ["--base", "gone"], "gone"),
    ],
)
def test_adapting_that_cannot_be(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, code: int, options: list[str], message: str
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    if "--base" in options:
        code = 1  # a folder that is not there is a failure to read it
    assert message in fail(kws, code, *command, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("method", "epochs"), [("even", 1), ("swr", 4)])
def test_few_steps_are_few_epochs_but_for_methods_in_stages(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, method: str, epochs: int
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    code, _, err = kws(*command, "--steps", 1, "--method", method, "--out", tmp_path / "de")
    assert code == 0, err
    history = json.loads((tmp_path / "de" / "history.json").read_text(encoding="utf-8"))
    assert sum(map(len, history.values())) == epochs
    told = "trains in stages, for at least 4 epochs, which is more than the 1 steps" in err
    assert told == (epochs > 1)


@pytest.mark.parametrize("odd", [["--filter", "word=x"], ["--speaker-pattern", "("]])
def test_text_alone_has_no_recordings_to_select(
    kws: Kws, tiny: Path, tmp_path: Path, odd: list[str]
) -> None:
    command = ["adapt", "--base", tiny / "base", "--tts", "--words", "ja", "--language", "de"]
    assert "recordings in --data; leave it out" in fail(kws, 2, *command, *odd, "--out", tmp_path)


@pytest.mark.parametrize("bits", [[], ["--bits", 4], ["--bits", 8]])
def test_a_mask_is_stored_in_a_bit_a_weight(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, bits: list[object]
) -> None:
    """Other bits are ignored aloud only where they are asked for."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--steps", 8, "--method", "piggyback", *bits, "--out", tmp_path / "de"]
    code, out, err = kws(*command, "--json")
    assert code == 0, err
    assert ("piggyback stores one bit per weight; --bits is ignored" in err) == bool(bits)
    printed = json.loads(out)
    assert read_json(tmp_path / "de" / "adapter_config.json")["training"]["bits"] == 1
    whole = printed["spent_parameters"] // 8
    assert whole < printed["stored_bytes"] < whole + 2 * printed["head_parameters"] + 500


@pytest.mark.parametrize("name", ["README.md", "history.json"])
@pytest.mark.parametrize("command", ["adapt", "pretrain"])
def test_files_of_others_are_not_replaced(
    command: str, name: str, tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    """A project's own folder is no folder for an adapter."""
    (tmp_path / name).write_text("mine")
    base = ["--base", tiny / "base"] * (command == "adapt")
    data = ["--data", spoken, "--filter", "language=de"]
    error = fail(kws, 2, command, *base, *data, "--out", tmp_path)
    assert f"holds a {name} that is not ours; name another --out" in error
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--closed"], "--others are unknown words, which --closed does without"),
        (["--tts", "--words", "ja", "--language", "de"], "--others is for recordings in --data"),
    ],
)
def test_other_words_are_refused_where_none_are_learnt(
    wrong: list[str], message: str, tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    error = fail(kws, 2, *command, "--others", spoken, *wrong, "--out", tmp_path / "x")
    assert message in error


def test_a_wake_word_learns_from_another_corpus_what_it_is_not(
    tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    """A folder of one word has no other words of its own."""
    for row in (row for split in SPLITS for row in rows(spoken, "de", split)):
        if row["word"] == "ja":
            path = tmp_path / "data" / "ja" / f"{row['speaker']}_{Path(row['path']).name}"
            path.parent.mkdir(exist_ok=True, parents=True)
            shutil.copy(spoken.parent / row["path"], path)
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--language", "de"]
    command += ["--speaker-pattern", "^([^_]+)_", "--epochs", 4, "--method", "head"]
    code, _, err = kws(*command, "--out", tmp_path / "alone")
    assert (code, "expect false accepts" in err) == (0, True)
    code, _, err = kws(*command, "--others", spoken, "--out", tmp_path / "ja")
    assert (code, "expect false accepts" in err) == (0, False)
    heard = ["--base", tiny / "base", "--adapter", tmp_path / "ja", "--data", tmp_path / "data"]
    heard += ["--language", "de", "--speaker-pattern", "^([^_]+)_"]
    assert succeed(kws, "evaluate", *heard)["unknown_false_accept_rate"] is None
    found = succeed(kws, "evaluate", *heard, "--others", spoken)
    assert found["unknown_false_accept_rate"] is not None
    short = ["--hours", 0.005, "--per-word", 1]
    quiet = succeed(kws, "calibrate", *heard, *short)["negatives"]["distinct_hours"]
    words = succeed(kws, "calibrate", *heard, *short, "--others", spoken)["negatives"]
    assert words["distinct_hours"].get("words", 0) > quiet.get("words", 0)


def test_silence_is_measured_on_noise_that_nothing_was_learnt_from(
    tiny: Path, spoken: Path
) -> None:
    base = read_base_config(tiny / "base")
    selection = Selection(data=spoken, filters=(("language", "de"),))
    found = Recordings.to_learn(selection, base)
    quiet, loud = (torch.full((160_000,), level) for level in (0.0, 1.0))
    measured = replace(found, noise=quiet, held_noise=loud).fixed("test")
    learnt = replace(found, noise=loud, held_noise=quiet).fixed("test")
    silence = found.task.labels.index("_silence_")
    assert measured[0][measured[1] == silence].any()
    assert not learnt[0][learnt[1] == silence].any()


def test_whom_the_base_heard_is_not_tested_and_remembered(
    tiny: Path, spoken: Path, tmp_path: Path
) -> None:
    """Also where an adapter's people are those that a language after it knows."""
    manifest = tmp_path / "manifest.csv"
    clips = read_manifest(spoken, {"language": ["de"]})
    write_manifest(manifest, [replace(clip, split=None) for clip in clips])
    base, selection = read_base_config(tiny / "base"), Selection(data=manifest, closed=True)
    tested = Recordings.to_learn(selection, base).said("test")[0].speaker
    assert tested
    heard = replace(base, people={tested: "train", "nobody here": "test"})
    for known in (Recordings.to_learn(selection, heard).people, heard.people):
        found = Recordings.to_learn(selection, base, known=known)
        assert tested in {clip.speaker for clip in found.said("train")}
        assert tested not in {clip.speaker for clip in found.said("test")}
        assert found.people["nobody here"] == "test"
    found = Recordings.to_learn(selection, heard)
    assert tested not in {clip.speaker for clip in found.said("test")}


def test_what_rounding_costs_is_told(
    tiny: Path, spoken: Path, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is more than is bearable, here none at all."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    command += ["--epochs", 4, "--bits", 4, "--out"]
    assert "rounding to 4 bits costs" not in kws(*command, tmp_path / "a")[2]
    monkeypatch.setattr("apps.training.learn.LOST", -1.0)
    assert "give --bits 8, or --bits 16, or another" in kws(*command, tmp_path / "b")[2]
    command[command.index("--bits") + 1] = 16  # there are no more
    assert "accuracy; give another --method" in kws(*command, tmp_path / "c")[2]


def test_people_are_told_which_words_were_learnt_and_what_comes_next(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """And what they may have meant otherwise."""
    command = ["adapt", "--base", tiny / "base", "--data", spoken, "--filter", "language=de"]
    code, out, err = kws(*command, "--steps", 8, "--budget", 50, "--out", tmp_path / "a b")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split(maxsplit=1) == ["words", "ja, links, nein"]
    where = f"--base {tiny / 'base'} --adapter '{tmp_path / 'a b'}'"
    told = f": kws calibrate {where} --data {spoken} --filter language=de"
    assert lines[-2].endswith(told)
    assert lines[-1] == f"then: kws listen {where}"
    assert "note: --budget 50 is in parameters; for a share, write 50%" in err
    made = ["adapt", "--tts", "--words", "ja nein", "--language", "qq", "--out", tmp_path / "x"]
    assert "note: 'ja nein' is one keyword; separate several with commas" in kws(*made)[2]


def test_a_language_is_a_tag_of_bcp_47(kws: Kws) -> None:
    """Two or three letters, so that others find it."""
    for language in ("English", "d", "de_DE", "de-"):
        told = fail(kws, 2, "adapt", "--data", "x", "--language", language)
        assert f"'{language}' is no language; write it as de, cmn or pt-BR" in told
    for language in ("de", "cmn", "pt-BR", "x-tone", "ZH-Hans"):
        assert "x does not exist" in fail(kws, 1, "adapt", "--data", "x", "--language", language)


def test_a_language_that_a_manifest_names_leads_out_of_no_folder(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --out the adapter goes where it says."""
    monkeypatch.chdir(tmp_path)
    path = spoken.with_name("odd.csv")  # next to its recordings
    text = spoken.read_text(encoding="utf-8").replace(",de,", f",{tmp_path}/../evil,")
    path.write_text(text, encoding="utf-8")
    chosen = ["--data", path, "--filter", f"language={tmp_path}/../evil"]
    succeed(kws, "adapt", "--base", tiny / "base", *chosen, "--method", "head", "--epochs", 1)
    (made,) = tmp_path.glob("runs/*")
    assert (made / "adapter_config.json").is_file()
    assert not (tmp_path.parent / "evil").exists()


def test_the_language_before_is_not_replaced(kws: Kws, tmp_path: Path) -> None:
    """It would be lost where the new one is stopped."""
    chosen = ["--tts", "--words", "ja", "--language", "de", "--method", "cacl", "--out", tmp_path]
    told = fail(kws, 2, "adapt", *chosen, "--after", tmp_path / "." / "x" / "..")
    assert "is what --out would replace; name another --out" in told


def test_languages_beside_keep_the_other_filters(
    kws: Kws, spoken: Path, tiny: Path, tmp_path: Path
) -> None:
    """As an origin, by which everything is to be chosen; but they have words of their own."""
    path = spoken.with_name("origins.csv")  # next to its recordings
    first, *others = spoken.read_text(encoding="utf-8").splitlines()
    told = [f"{line},{'one' if ',de,' in line else 'another'}" for line in others]
    path.write_text("\n".join([f"{first},origin", *told]), encoding="utf-8")
    chosen = ["--base", tiny / "base", "--data", path, "--filter", "language=de", "--closed"]
    chosen += ["--method", "joint", "--beside", "language=es", "--epochs", 1, "--out", tmp_path]
    succeed(kws, "adapt", *chosen, "--filter", "word=ja", "--filter", "word=nein")
    error = fail(kws, 2, "adapt", *chosen, "--filter", "origin=one")
    assert "origin=one selects nothing" in error


@pytest.mark.parametrize("language", ["..", "."])
def test_a_language_that_is_a_folder_leads_nowhere(
    kws: Kws,
    spoken: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = spoken.with_name("dots.csv")  # next to its recordings
    text = spoken.read_text(encoding="utf-8").replace(",de,", f",{language},")
    path.write_text(text, encoding="utf-8")
    chosen = ["--data", path, "--filter", f"language={language}", "--method", "head"]
    code, _, err = kws("adapt", "--base", tiny / "base", *chosen, "--epochs", 1)
    assert code == 0, err
    assert f"language is '{language}'; use a tag such as de" in " ".join(err.split())
    assert [*tmp_path.rglob("adapter_config.json")] == [
        tmp_path / "runs" / "und" / "adapter_config.json"
    ]
