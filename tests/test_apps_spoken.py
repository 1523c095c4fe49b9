"""From text to an adapter: synthetic voices and people, thresholds, and how far to trust it."""

import csv
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from helpers import Kws, fail, succeed

from apps import spoken as tts
from apps.calibrate import set_thresholds
from apps.training import learn as learning
from apps.training.card import is_of_strangers
from apps.training.recordings import Recordings
from audio_data import espeak, mixture
from audio_data.augment import AugmentConfig
from audio_data.clips import SPLITS, SYNTHETIC, Clip, Split
from audio_data.manifest import read_manifest, write_manifest
from audio_data.splits import check_disjoint
from kws.adapter import AdapterConfig, read_adapter_config, save_adapter_config
from kws.base import read_base_config, save_base_config
from kws.errors import KwsError, UsageError
from kws.metrics import NAMELESS, interval
from kws.names import UNKNOWN
from models.session import FILE

WORDS = ("nein", "ja")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few voices, few other words, half a minute to choose thresholds on."""
    monkeypatch.setattr(mixture, "SPEAKERS", 4)
    monkeypatch.setattr(mixture, "TAKES", 1)
    monkeypatch.setattr(mixture, "DEFAULT_WORDS", {"de": ("ja", "los"), "en": ("stop", "NEIN")})
    monkeypatch.setattr(tts, "HOURS", 0.01)


@pytest.fixture
def people(spoken: Path, tmp_path: Path) -> Path:
    """A folder of three speakers' ``nein``, and of ``links``, as if people had recorded them."""
    for clip in read_manifest(spoken, {"language": ["de"], "word": ["nein", "links"]}):
        folder = tmp_path / "people" / clip.word
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.path, folder / clip.path.name.replace("syn", "person"))
    return tmp_path / "people"


def learn(tiny: Path, out: Path) -> list[object]:
    command = ["adapt", "--base", tiny / "base", "--out", out, "--epochs", 4, "--language", "de"]
    return [*command, "--tts", "--words", "ja,nein"]


def test_words_alone_become_an_adapter_with_thresholds(
    tiny: Path, kws: Kws, tmp_path: Path
) -> None:
    printed = succeed(kws, *learn(tiny, tmp_path / "de"))
    config = read_adapter_config(tmp_path / "de")
    assert config.labels == ("ja", "nein", "_unknown_", "_silence_")
    assert config.language == "de"
    assert printed["thresholds"] == {
        word: levels.threshold for word, levels in config.detector.keywords.items()
    }
    assert printed["trust"].startswith("little: only synthetic voices")
    measured = config.metrics["calibration"]
    missed = {ratio: found["miss_rate"] for ratio, found in measured["positives"].items()}
    assert printed["missed"] == missed
    assert printed["negatives"].items() <= measured["negatives"].items()
    assert {*printed["negatives"]} == {"false_accepts", "hours"}
    card = (tmp_path / "de" / "README.md").read_text(encoding="utf-8")
    assert "- Made by `kws adapt --base" in card
    assert "- Thresholds by" not in card  # of the same command


def test_what_is_wrong_with_thresholds_is_told(
    tiny: Path, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kws calibrate tells it."""
    monkeypatch.setattr(
        tts, "set_thresholds", lambda *g, **n: set_thresholds(*g, **n) | {"kept": False}
    )
    code, _, err = kws(*learn(tiny, tmp_path / "de"))
    assert code == 0, err
    assert "note: no thresholds keep 0.5 per hour on this sound; these come nearest" in err


def test_words_that_are_mostly_missed_are_told_with_what_helps(
    tiny: Path, people: Path, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(share: float) -> None:
        def found(*given: Any, **named: Any) -> dict[str, Any]:
            real: dict[str, Any] = set_thresholds(*given, **named)
            for said in real["positives"].values():
                said["miss_rate"] = share
            return real

        monkeypatch.setattr(tts, "set_thresholds", found)

    missing(0.51)
    code, _, err = kws(*learn(tiny, tmp_path / "made"))
    assert code == 0, err
    assert "note: most of the words are missed" in err
    assert "or give recordings of people (kws collect) with --data" in err
    code, _, err = kws(*learn(tiny, tmp_path / "said"), "--data", people)
    assert code == 0, err
    assert "or give more recordings of people with --data" in err
    missing(0.5)
    code, _, err = kws(*learn(tiny, tmp_path / "heard"))
    assert code == 0, err
    assert "are missed" not in err


def test_thresholds_by_what_people_say_are_chosen_as_is_told(
    tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    """Until then nobody but synthetic voices has said what is no keyword, and the card says so."""
    code, out, err = kws(*learn(tiny, tmp_path / "de"))
    assert code == 0, err
    assert re.search(r"missed +\d+% at 10 dB\nfalse_accepts +\d+ in 0.01 h of other words", out)
    card, doubt = tmp_path / "de" / "README.md", "only synthetic voices say the other words"
    assert doubt in card.read_text(encoding="utf-8")
    people = spoken.with_name("others.csv")  # next to its recordings
    people.write_text(spoken.read_text(encoding="utf-8").replace(SYNTHETIC, "CC0-1.0"), "utf-8")
    told = out.splitlines()[-2].partition(": kws ")[2].replace("FOLDER", shlex.quote(str(people)))
    code, _, err = kws(*shlex.split(told), "--hours", 0.01)
    assert code == 0, err
    assert "- Thresholds by `kws calibrate" in card.read_text(encoding="utf-8")
    assert doubt not in card.read_text(encoding="utf-8")


def test_who_is_stopped_while_thresholds_are_chosen_learns_nothing_twice(
    tiny: Path, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "de"
    with monkeypatch.context() as stopping:
        stopping.setattr(tts, "set_thresholds", stop)
        assert "repeat the command to resume" in kws(*learn(tiny, out))[2]
    left = list(out.glob("checkpoint-*"))
    assert left
    with monkeypatch.context() as known:
        known.setattr("kws.train.prefetch", stop)  # what makes a batch
        succeed(kws, *learn(tiny, out))
    assert not list(out.glob("checkpoint-*"))
    assert "calibration" in read_adapter_config(out).metrics


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_recordings_that_are_there_are_not_written_over(
    tiny: Path, kws: Kws, tmp_path: Path
) -> None:
    mine = tmp_path / "de" / "speech" / "manifest.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    assert "holds another corpus; name another" in fail(kws, 2, *learn(tiny, tmp_path / "de"))
    assert mine.read_text(encoding="utf-8") == "mine"


def test_synthetic_voices_of_before_are_no_voices_of_now(
    tiny: Path, kws: Kws, spoken: Path, tmp_path: Path
) -> None:
    """Although both are called syn01."""
    given = tmp_path / "given"
    shutil.copytree(spoken.parent, given)
    text = (given / "manifest.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("en", "es"))]
    (given / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    succeed(kws, *learn(tiny, tmp_path / "de"), "--data", given)


def test_synthetic_voices_come_as_through_telephones_too(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so what is learnt from people alone."""
    given = []

    def config(**chosen: Any) -> AugmentConfig:
        given.append(AugmentConfig(**chosen))
        return given[-1]

    monkeypatch.setattr(learning, "AugmentConfig", config)
    succeed(kws, *learn(tiny, tmp_path / "made"))
    recorded = ["adapt", "--base", tiny / "base", "--data", people, "--language", "de"]
    succeed(kws, *recorded, "--epochs", 4, "--out", tmp_path / "people")
    assert [augment.narrow for augment in given] == [learning.NARROW, 0.0]
    assert not any(augment.masks for augment in given)  # decision 4


def test_people_are_learnt_too_and_validate(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path
) -> None:
    """Alone for the word that they say; the other is validated by synthetic voices."""
    named = ["--data", people, "--speaker-pattern", "^([^_]+)_"]
    printed = succeed(kws, *learn(tiny, tmp_path / "de"), *named)
    with (tmp_path / "de" / "speech" / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["word"] == "nein"]
    made = {row["split"] for row in rows if row["licence"]}
    real = {row["split"] for row in rows if not row["licence"]}
    assert made == {"train"}
    assert real == {"train", "validation", "test"}
    assert "2 recordings by 1 person validate, and 1 by synthetic voices" in printed["trust"]
    heard = read_adapter_config(tmp_path / "de").metrics["validation"]["per_speaker"].values()
    (person,) = [figures for figures in heard if figures["count"] == 2]
    people_there = read_adapter_config(tmp_path / "de").people  # though the mixture splits them
    assert set(people_there.values()) == {"train", "validation", "test"}
    assert all(name.startswith("person") for name in people_there)
    low, high = interval(person["accuracy"], 2)  # a synthetic voice says nothing of people
    assert f": {low:.0%} to {high:.0%} of such recordings" in printed["trust"]


def test_one_person_alone_is_learnt_too_and_validates(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path
) -> None:
    """As the advice to record some goes; without a name, since all splits have that person."""
    for file in people.rglob("*.wav"):
        file.rename(file.with_name(f"anna_{file.name}"))
    named = ["--data", people, "--speaker-pattern", "^(anna)_"]
    code, out, err = kws(*learn(tiny, tmp_path / "de"), *named, "--json")
    assert code == 0, err
    assert "recordings by people who are not named validate" in json.loads(out)["trust"]
    assert "by people are unknown or too few" in " ".join(err.split())
    card = (tmp_path / "de" / "README.md").read_text(encoding="utf-8")
    assert "people not trained on" not in card


def test_whom_the_base_heard_is_learnt_from_beside_synthetic_voices(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path
) -> None:
    """So nobody of whom an earlier stage was learnt is measured."""
    named = ["--data", people, "--speaker-pattern", "^([^_]+)_"]
    succeed(kws, *learn(tiny, tmp_path / "free"), *named)
    free = read_adapter_config(tmp_path / "free").people
    base = tmp_path / "base"
    shutil.copytree(tiny / "base", base)
    config = read_base_config(base)
    save_base_config(
        base, replace(config, people={**config.people, **dict.fromkeys(free, "train")})
    )
    succeed(kws, *learn(tiny, tmp_path / "kept"), *named, "--base", base)
    assert set(read_adapter_config(tmp_path / "kept").people.values()) == {"train"}


def test_the_noise_beside_people_is_heard_beside_what_is_made(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path
) -> None:
    (people / "noise").mkdir()
    soundfile.write(people / "noise" / "short.wav", np.zeros(16_000, np.float32), 16_000)
    code, _, err = kws(*learn(tiny, tmp_path / "de"), "--data", people)
    assert code == 2
    assert "noise must last at least 10 seconds" in " ".join(err.split())


def test_whoever_is_heard_was_not_learnt_from_where_only_voices_were(
    tiny: Path, kws: Kws, people: Path, tmp_path: Path
) -> None:
    """Also where it is not known who speaks: they are people, and those were made."""
    shutil.copytree(people / "links", people / "ja")
    succeed(kws, *learn(tiny, tmp_path / "de"))
    heard = ["evaluate", "--base", tiny / "base", "--adapter", tmp_path / "de", "--keep", "--data"]
    code, _, err = kws(*heard, people, "--language", "de")
    assert (code, err) == (0, "")
    card = (tmp_path / "de" / "README.md").read_text(encoding="utf-8")
    assert "test clips of people not trained on" in card
    mixed = read_adapter_config(tmp_path / "de")
    assert not is_of_strangers({"made": 6, "split_by": "files"}, mixed)
    assert not is_of_strangers({"split_by": "people", "heard_before": 1}, mixed)
    amount = mixed.training["recordings"] | {"made": 1}
    save_adapter_config(tmp_path / "de", replace(mixed, training={"recordings": amount}))
    _, _, err = kws(*heard, people, "--language", "de")
    assert "these clips may be of training speakers" in " ".join(err.split())


def test_people_who_say_none_of_the_words_are_told_of(
    tiny: Path, people: Path, kws: Kws, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--epochs", 4, "--tts", "--words", "los,stop"]
    command += ["--language", "de", "--data", people, "--out", tmp_path / "de", "--json"]
    code, _, err = kws(*command)
    assert code == 0, err
    assert "none of the 24 recordings in" in " ".join(err.split())


def test_a_manifest_of_people_says_the_language(
    tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    """Another name for it may be given."""
    command = ["adapt", "--base", tiny / "base", "--epochs", 4, "--tts", "--words", "ja,nein"]
    said = read_manifest(spoken, {"language": ["de"], "word": ["nein"]})
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, [replace(c, speaker=f"person {c.speaker}") for c in said])
    for name, given in (("de", []), ("deu", ["--language", "deu"])):
        printed = succeed(kws, *command, "--data", manifest, *given, "--out", tmp_path / name)
        assert printed["language"] == name


def test_people_speak_one_language(tiny: Path, spoken: Path, kws: Kws, tmp_path: Path) -> None:
    """Else a word of another would be learnt as one of this."""
    several = ["--data", spoken, "--out", tmp_path / "de"]
    command = ["adapt", "--base", tiny / "base", "--tts", "--words", "ja,nein", *several]
    for told in ([], ["--language", "de"]):
        err = fail(kws, 2, *command, *told)
        assert "several languages (de, en, es); select one" in err


def test_people_speak_the_language_that_is_asked_for(
    tiny: Path, spoken: Path, kws: Kws, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--tts", "--words", "ja", "--out", tmp_path]
    some = ["--data", spoken, "--filter", "language=de", "--language", "tr"]
    err = fail(kws, 2, *command, *some)
    assert "are in de, not in tr; leave --language out" in err


def test_a_folder_of_people_is_told_the_language(
    tiny: Path, people: Path, kws: Kws, tmp_path: Path
) -> None:
    command = ["adapt", "--base", tiny / "base", "--tts", "--words", "ja,nein", "--data", people]
    assert "--tts needs the words' language" in fail(kws, 2, *command, "--out", tmp_path / "und")


def test_words_are_parted_by_the_comma_of_their_script(
    tiny: Path, kws: Kws, tmp_path: Path
) -> None:
    printed = succeed(kws, *learn(tiny, tmp_path / "de")[:-1], "ja\u060cnein")
    assert set(printed["thresholds"]) == {"ja", "nein"}


def test_all_of_a_demonstration_vocabulary_may_be_keywords(tmp_path: Path) -> None:
    """Then the other languages' words are the unknown ones."""
    clips = read_manifest(mixture.make_mixture(tmp_path, ["ja", "los"], "de")[0])
    assert sum(clip.word == UNKNOWN for clip in clips) == 2 * 4  # stop and NEIN


def test_what_sounds_as_a_keyword_is_not_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same language: eSpeak NG says both alike. Respelt, a word sounds otherwise."""
    words = {"de": ("stopp", "los"), "en": ("stop",)}
    monkeypatch.setattr(mixture, "DEFAULT_WORDS", words)
    for name, language, spelt, left in (
        ("de", "de", {}, 1),  # los
        ("deu", "deu", {}, 1),
        ("de-AT", "de-AT", {}, 1),
        ("spelt", "de", {"Stop": "halt"}, 2),  # and stopp
        ("fr", "fr", {}, 2),
    ):
        made = mixture.make_mixture(tmp_path / name, ["Stop", "weiter"], language, respelt=spelt)
        clips = read_manifest(made[0])
        assert sum(clip.word == UNKNOWN for clip in clips) == left * 4, name


def test_who_is_nobody_among_synthetic_voices_shows_nothing(tmp_path: Path) -> None:
    """Whose recordings are right is not known then."""
    clips = [Clip(path=tmp_path / "a.wav", word="ja", licence=made) for made in (SYNTHETIC, None)]
    found = {"made": 9, "count": 10, "per_speaker": {NAMELESS: {"accuracy": 1.0, "count": 10}}}
    config = SimpleNamespace(metrics={"validation": found})
    recordings = SimpleNamespace(said=lambda split: clips)
    told = tts.trust(cast(AdapterConfig, config), cast(Recordings, recordings))
    assert told.startswith("little: synthetic voices and unnamed people")


def test_people_may_write_words_in_other_capitals(tmp_path: Path) -> None:
    recorded = [
        Clip(path=tmp_path / f"{split}.wav", word="Ja", speaker=split, split=split)
        for split in SPLITS
    ]
    for clip in recorded:
        clip.path.write_bytes(b"")
    clips = read_manifest(mixture.make_mixture(tmp_path / "out", WORDS, "de", recorded)[0])
    assert {clip.language for clip in clips} == {"de"}  # whatever is said of theirs
    said = {(clip.word, clip.split) for clip in clips if clip.path.parent == tmp_path}
    assert said == {("ja", split) for split in SPLITS}
    tested = {clip.path.name for clip in clips if (clip.word, clip.split) == ("ja", "test")}
    assert tested == {"test.wav"}


def test_a_mixture_is_in_one_language_and_other_words_are_unknown(tmp_path: Path) -> None:
    """No keyword is among them, however it is written."""
    clips = read_manifest(mixture.make_mixture(tmp_path, WORDS, "de")[0])
    assert {clip.language for clip in clips} == {"de"}
    assert {clip.word for clip in clips} == {*WORDS, UNKNOWN}
    assert sum(clip.word == UNKNOWN for clip in clips) == 2 * 4  # los and stop
    assert {clip.split for clip in clips} == {"train", "validation", "test"}
    assert len(list((tmp_path / "noise").iterdir())) == 4


def test_words_that_people_did_not_say_keep_their_synthetic_voices(tmp_path: Path) -> None:
    """By split: where people only train, synthetic voices go on to validate."""
    recorded = [Clip(path=tmp_path / "a.wav", word="ja", speaker="anna", split="train")]
    (tmp_path / "a.wav").write_bytes(b"")
    clips = read_manifest(mixture.make_mixture(tmp_path / "out", WORDS, "de", recorded)[0])
    by_voice = {clip.split for clip in clips if clip.word == "ja" and clip.licence}
    assert by_voice == {"train", "validation", "test"}


def test_words_that_are_spoken_alike_are_refused_before_any_is(tmp_path: Path) -> None:
    """Nothing could tell them apart; another spelling of one may."""
    with pytest.raises(UsageError, match=r"says 'si' and 'sí' alike in 'es'; .* \(--spell\)"):
        mixture.make_mixture(tmp_path / "out", ["si", "sí"], "es")
    assert not (tmp_path / "out").exists()
    spelt = {"si": "condicional"}
    assert mixture.make_mixture(tmp_path / "out", ["si", "sí"], "es", respelt=spelt)[0].is_file()
    with pytest.raises(KwsError, match="has no sound for '!'"):  # nor for the other
        mixture.make_mixture(tmp_path / "none", ["!", "?"], "es")


def test_a_seed_decides_voices_and_noise(tmp_path: Path) -> None:
    made: dict[str, dict[str, bytes]] = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        mixture.make_mixture(tmp_path / name, ["ja"], "de", seed=seed)
        files = sorted((tmp_path / name).rglob("*.wav"))
        made[name] = {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}
    assert made["first"] == made["again"]
    for folder in ("keywords", "others", "noise"):
        first, other = (
            [data for path, data in made[name].items() if path.startswith(folder)]
            for name in ("first", "other")
        )
        assert first
        assert first != other


def test_recordings_under_a_keywords_name_without_its_accents_are_told(tmp_path: Path) -> None:
    recorded = []
    for word in ("si", "casa"):
        path = tmp_path / f"{word}.wav"
        soundfile.write(path, espeak.speak(word, "es"), 16_000)
        recorded.append(Clip(path=path, word=word, speaker="ann", language="es"))
    _, warnings = mixture.make_mixture(tmp_path / "out", ["sí", "no"], "es", recorded)
    (told,) = [sentence for sentence in warnings if "other words" in sentence]
    assert told == (
        "recordings of 'si' are other words here; if they say 'sí', name their folder that"
    )
    written = [replace(recorded[0], word="s\u00ed")]  # as in other characters
    assert mixture._nearly(written, ["si\u0301"]) == []


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_people_for_splits_of_their_own_share_them_without_names(
    tmp_path: Path, count: int
) -> None:
    files = [tmp_path / f"{index}.wav" for index in range(6)]
    for file in files:
        file.write_bytes(b"")
    recorded = [
        Clip(path=file, word="ja", speaker=f"anna{index % count}")
        for index, file in enumerate(files)
    ]
    manifest, warnings = mixture.make_mixture(tmp_path / "out", WORDS, "de", recorded)
    people = [clip for clip in read_manifest(manifest) if clip.path in files]
    assert {clip.split for clip in people} == {"train", "validation", "test"}
    check_disjoint(people)
    assert None in {clip.speaker for clip in people}
    assert len(warnings) == 1
    assert "recordings by people are unknown or too few" in warnings[0]


def test_some_who_say_a_keyword_are_in_every_split_of_a_mixture(tmp_path: Path) -> None:
    """However many others are recorded, who say none."""
    recorded = []
    for word, people in (("ja", 3), ("links", 30)):
        for number in range(people):
            path = tmp_path / f"{word}{number}.wav"
            path.write_bytes(b"")
            recorded.append(Clip(path=path, word=word, speaker=f"{word}{number}"))
    manifest, _ = mixture.make_mixture(tmp_path / "out", WORDS, "de", recorded)
    people_say = [clip for clip in read_manifest(manifest) if clip.path.parent == tmp_path]
    assert {clip.split for clip in people_say if clip.word == "ja"} == set(SPLITS)


def test_people_of_a_mixture_stay_where_the_base_heard_them(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.wav" for index in range(6)]
    for file in files:
        file.write_bytes(b"")
    recorded = [
        Clip(path=file, word="ja", speaker=f"anna{index}") for index, file in enumerate(files)
    ]
    free = mixture.make_mixture(tmp_path / "free", WORDS, "de", recorded)[0]
    tested = {c.speaker: c.split for c in read_manifest(free) if c.path in files}
    assert {*tested.values()} == {"train", "validation", "test"}
    heard: dict[str, Split] = {
        str(name): "train" for name, split in tested.items() if split != "train"
    }
    manifest, warnings = mixture.make_mixture(tmp_path / "out", WORDS, "de", recorded, known=heard)
    splits = {c.speaker: c.split for c in read_manifest(manifest) if c.path in files}
    assert {splits[name] for name in heard} == {"train"}
    assert warnings == []


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        (["--tts"], 2, "--tts and --words go together"),
        (["--words", "ja,nein"], 2, "--tts and --words go together"),
        (["--tts", "--words", "ja", "--closed"], 2, "without --keywords and --closed"),
        ([], 2, "give recordings with --data, or words with --tts"),
        (["--data", "x", "--spell", "ja=jo"], 2, "--spell is for words that --tts speaks"),
        (["--tts", "--words", "ja", "--spell", "ja"], 2, "is not of the form word=spoken"),
        (["--tts", "--words", "ja"], 2, "give --language, such as de or cmn"),
        (["--tts", "--words", "ja", "--language", "xx"], 2, "no voice for 'xx'"),
        (["--tts", "--words", "ja,ja", "--language", "de"], 2, "hold one twice"),
        (["--tts", "--words", "_silence_,ja", "--language", "de"], 2, "is a class, not a word"),
        (["--tts", "--words", "ja,ne\u200bin", "--language", "de"], 2, "has invisible characters"),
        (["--tts", "--words", "ja,\udcff", "--language", "de"], 2, r"'\udcff' has invisible"),
        (["--tts", "--words", "ja", "--spell", "ja=\udcff"], 2, r"'ja=\udcff' has invisible"),
    ],
)
def test_what_cannot_be_spoken_is_refused(
    tiny: Path, kws: Kws, tmp_path: Path, changed: list[str], code: int, message: str
) -> None:
    learn = ["adapt", "--base", tiny / "base", "--out", tmp_path / "out"]
    found, _, err = kws(*learn, *changed)
    assert (found, message in err, err.count("\n")) == (code, True, 1), err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_listened_with_is_refused_before_anything_is_spoken(
    tiny: Path, kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thresholds, which come last, are chosen by listening."""
    monkeypatch.setattr("models.compiled.library", lambda: None)
    base = shutil.copytree(tiny / "base", tmp_path / "base")
    (base / FILE).unlink()
    command = learn(tiny, tmp_path / "out")
    command[2] = base
    assert f"{base} has no {FILE}" in fail(kws, 1, *command)
    assert not (tmp_path / "out").exists()
