"""Splits: nobody trains and tests, the same person always lands in the same place."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from audio_data.clips import SPLITS, Clip, Split
from audio_data.folder import read_folder
from audio_data.manifest import read_manifest
from audio_data.material import read_material
from audio_data.splits import (
    assign_splits,
    check_disjoint,
    people_in,
    split_pool,
    where_heard,
)
from audio_data.task import make_task
from kws.errors import KwsError

WORDS = ("yes", "no", "stop")


def clip(word: str, name: str, speaker: str | None, split: Split | None = None) -> Clip:
    return Clip(path=Path(word) / name, word=word, speaker=speaker, split=split)


def crowd(people: int, takes: int = 2, words: Sequence[str] = WORDS) -> list[Clip]:
    """So many people who say each word so many times."""
    return [
        clip(word, f"p{person}-{take}.wav", f"p{person}")
        for word in words
        for person in range(people)
        for take in range(takes)
    ]


def people(clips: Sequence[Clip]) -> dict[str | None, set[Split | None]]:
    found: dict[str | None, set[Split | None]] = {}
    for one in clips:
        found.setdefault(one.speaker, set()).add(one.split)
    return found


@pytest.mark.parametrize("count", [3, 4, 5, 8, 13, 21, 34, 55, 200])
def test_every_split_has_people_and_shares_none(count: int) -> None:
    clips, warnings = assign_splits(crowd(count))
    assert warnings == []
    check_disjoint(clips)
    where = Counter(next(iter(splits)) for splits in people(clips).values())
    assert set(where) == set(SPLITS)
    assert where["train"] == max(where.values())
    assert [replace(one, split=None) for one in clips] == crowd(count)


def test_a_person_stays_where_the_hash_says_whoever_else_is_there() -> None:
    small, large = crowd(100), crowd(400)
    before = people(assign_splits(small)[0])
    after = people(assign_splits(large[::-1])[0])
    assert all(after[name] == splits for name, splits in before.items())
    share = Counter(next(iter(splits)) for splits in after.values())
    assert 25 <= share["validation"] <= 55
    assert 25 <= share["test"] <= 55


def test_a_tenth_validates_and_a_tenth_tests() -> None:
    clips, _ = assign_splits(crowd(1_000, 1, ["yes"]))
    count = Counter(one.split for one in clips)
    assert abs(count["validation"] - 100) < 30
    assert abs(count["test"] - 100) < 30


def test_another_process_decides_the_same() -> None:
    program = (
        "from pathlib import Path; from audio_data.clips import Clip\n"
        "from audio_data.splits import assign_splits\n"
        "clips = [Clip(path=Path(f'w/{i}.wav'), word='w', speaker=f's{i}') for i in range(40)]\n"
        "print(*(clip.split for clip in assign_splits(clips)[0]))"
    )
    root = Path(__file__).resolve().parent.parent
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "validation" in runs.pop()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_people_share_the_splits_and_it_is_said(count: int) -> None:
    clips, warnings = assign_splits(crowd(count, 20))
    noun = "1 speaker only" if count == 1 else "2 speakers only"
    assert any(noun in text and "optimistic" in text for text in warnings)
    for word in WORDS:
        where = Counter(one.split for one in clips if one.word == word)
        assert set(where) == set(SPLITS)
        assert where["train"] >= 10 * count
    assert [one.speaker for one in clips] == [one.speaker for one in crowd(count, 20)]


def test_clips_of_nobody_are_split_by_name_and_it_is_said() -> None:
    clips = [replace(one, speaker=None) for one in crowd(30)]
    done, warnings = assign_splits(clips)
    assert any(
        f"{clips[0].path} (and 179 more) does not say who speaks:" in text
        and "give --speaker-pattern '^([^_]+)_'" in text
        for text in warnings
    )
    assert {one.split for one in done} == set(SPLITS)
    moved = [replace(one, path=Path("elsewhere") / one.path) for one in clips]
    assert [one.split for one in assign_splits(moved)[0]] == [one.split for one in done]


def test_who_names_most_but_not_all_is_told_which_to_rename() -> None:
    (told,) = assign_splits([*crowd(30), clip("yes", "odd.wav", None)])[1]
    assert told.startswith(f"{Path('yes', 'odd.wav')} does not say who speaks: splits")
    assert "; rename it or change --speaker-pattern" in told


def test_given_splits_stay_and_people_follow_their_own() -> None:
    given = [
        clip("yes", "1.wav", "ann", "test"),
        clip("yes", "2.wav", "ben", "train"),
        clip("yes", "3.wav", "cyd", "validation"),
        clip("yes", "4.wav", None, "test"),
    ]
    more = [clip("yes", f"{name}-9.wav", name) for name in ("ann", "ben", "cyd")]
    done, warnings = assign_splits(given + more)
    assert done[:4] == given
    assert [one.split for one in done[4:]] == ["test", "train", "validation"]
    assert warnings == []


def test_new_people_fill_the_split_that_lacks_them() -> None:
    given = [clip("yes", "1.wav", "ann", "train"), clip("yes", "2.wav", "ben", "train")]
    done, _ = assign_splits([*given, clip("yes", "3.wav", "cyd"), clip("yes", "4.wav", "dee")])
    assert {one.split for one in done[2:]} == {"validation", "test"}
    done, warnings = assign_splits([*given, clip("yes", "3.wav", "cyd")])
    assert done[2].split == "validation"
    assert warnings == ["no clip is left for test"]


@pytest.mark.parametrize("by", [None, "ann"])
def test_a_word_with_one_clip_goes_to_train(by: str | None) -> None:
    clips, warnings = assign_splits([*crowd(1, 10), clip("rare", "1.wav", by)])
    assert clips[-1].split == "train"
    assert any("word 'rare' has 1 clip; record at least 3" in text for text in warnings)


def test_a_word_of_one_person_brings_that_person_to_train() -> None:
    clips, _ = assign_splits(crowd(100))
    tester = next(one.speaker for one in clips if one.split == "test")
    clips, warnings = assign_splits([*crowd(100), clip("rare", "1.wav", tester)])
    assert clips[-1].split == "train"
    check_disjoint(clips)
    assert {one.split for one in clips} == set(SPLITS)
    assert any("'rare' has 1 clip" in text for text in warnings)


def test_the_last_tester_stays_and_the_word_is_told() -> None:
    clips, _ = assign_splits(crowd(5))
    tester = next(one.speaker for one in clips if one.split == "test")
    clips, warnings = assign_splits([*crowd(5), clip("rare", "1.wav", tester)])
    assert clips[-1].split == "test"
    assert any("no clip to train on: 'rare'" in text for text in warnings)


def test_rare_words_never_use_up_the_testers() -> None:
    before = people(assign_splits(crowd(100))[0])
    testers = {name for name, splits in before.items() if splits == {"test"}}
    rare = [clip(f"rare{name}", "1.wav", name) for name in testers]
    after = people(assign_splits([*crowd(100), *rare])[0])
    left = {name for name, splits in after.items() if splits == {"test"}}
    assert left < testers
    assert 2 * len(left) >= len(testers)


def test_a_word_that_only_a_given_tester_says_is_told() -> None:
    given = [
        clip("yes", "1.wav", "ann", "test"),
        clip("yes", "2.wav", "ben", "train"),
        *(clip("rare", f"{take}.wav", "ann", "test") for take in range(3)),
    ]
    assert any("no clip to train on: 'rare'" in text for text in assign_splits(given)[1])


def test_many_thin_words_are_told_in_one_sentence() -> None:
    thin = [clip(f"w{number}", "1.wav", None) for number in range(50)]
    warnings = assign_splits([*crowd(20), *thin])[1]
    assert sum("1 clip" in text for text in warnings) == 1
    assert all(len(text) < 200 for text in warnings)


def test_two_splits_with_one_person_are_refused() -> None:
    clips = [clip("yes", "1.wav", "ann", "train"), clip("no", "1.wav", "ann", "test")]
    for refuse in (check_disjoint, assign_splits):
        with pytest.raises(KwsError, match="speaker 'ann' has clips in both train and test"):
            refuse(clips)
    check_disjoint([replace(one, speaker=None) for one in clips])


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        ("split", "train", "test"),
        ("split", None, "test"),
        ("speaker", "ann", "ben"),
        ("speaker", None, "ben"),
        ("word", "yes", "no"),
    ],
)
def test_a_file_that_is_said_to_be_two_things_is_refused(
    what: str, first: str | None, second: str
) -> None:
    """Under other names it would be trained on and tested; as another word, learnt as both."""
    one = clip("yes", "1.wav", "ann", "train")
    clips = [replace(one, **{what: told}) for told in (first, second)]  # type: ignore[arg-type]
    clips[1] = replace(clips[1], path=Path("yes/../yes/1.wav"))
    message = rf"1\.wav is listed twice, with {what} '{first or 'nothing'}' and with '{second}'"
    with pytest.raises(KwsError, match=message):
        check_disjoint(clips)
    check_disjoint([one, one])  # a row that stands there twice


def test_who_is_called_by_bytes_that_are_no_text_has_a_split() -> None:
    odd = "\udce9"
    clips = [replace(one, speaker=f"{one.speaker}{odd}") for one in crowd(6)]
    assert {split for splits in people(assign_splits(clips)[0]).values() for split in splits} == {
        *SPLITS
    }


def test_no_clips_are_no_trouble() -> None:
    assert assign_splits([]) == ([], [])


def test_real_corpora(shared_data: Path) -> None:
    clips = read_manifest(shared_data / "manifest.csv")
    check_disjoint(clips)
    given = [one for one in clips if one.split]
    assert assign_splits(given)[0] == given
    arabic = [replace(one, split=None) for one in clips if one.language == "ara"]
    done, warnings = assign_splits(arabic)
    check_disjoint(done)
    assert warnings == []
    assert {one.word for one in done if one.split == "train"} == {one.word for one in arabic}


def test_some_words_are_said_by_somebody_in_every_split_whoever_says_the_others() -> None:
    """Where a hash alone does not put their people into all."""
    clips = [
        Clip(path=Path(f"{word}/{name}.wav"), word=word, speaker=name)
        for word, names in (("ja", ("p0", "p1", "p2")), ("else", ("p3", "p4", "p5")))
        for name in names
    ]
    splits = people_in(assign_splits(clips, first=["ja"])[0])
    assert {splits[name] for name in ("p0", "p1", "p2")} == {*SPLITS}
    without = people_in(assign_splits(clips)[0])
    assert {without[name] for name in ("p0", "p1", "p2")} != {*SPLITS}


def test_a_person_is_in_one_half_of_a_stream_whatever_word_is_said(tmp_path: Path) -> None:
    """As training has them, which deals out who says keywords first."""
    for word, names in (("ja", ("p0", "p1", "p2")), ("else", ("p0", "p1", "p2", "p3", "p4", "p5"))):
        (tmp_path / word).mkdir()
        for name in names:
            (tmp_path / word / f"{name}_.wav").write_bytes(b"")
    halves = read_material(tmp_path, ["ja", "_unknown_"], speaker_pattern="(.*)_")
    clips = read_folder(tmp_path, "de", "(.*)_")
    learnt = make_task(clips, keywords=["ja"])
    people = people_in(e.clip for found in learnt.splits.values() for e in found if e.clip)
    heard = [clip for half in halves.values() for clip in (*half.keywords, *half.others)]
    assert {clip.word for clip in heard} == {"ja", "else"}
    assert {(clip.speaker, clip.split) for clip in heard} <= set(people.items())


def test_who_was_once_learnt_from_is_tested_no_more() -> None:
    """Wherever a later corpus has them."""
    ada = clip("yes", "1.wav", "ada", "test")
    for before in ("train", "several"):
        assert where_heard([ada], {"ada": before}) == {"ada": "several"}
    assert where_heard([ada], {"ada": "test"}) == {"ada": "test"}


def test_a_split_that_a_corpus_gives_goes_before_what_is_known() -> None:
    """So that nobody is in two."""
    given, free = clip("yes", "1.wav", "ada", "train"), clip("no", "2.wav", "ada")
    found = assign_splits([given, free, *crowd(3)], known={"ada": "test"})[0]
    assert {one.split for one in found if one.speaker == "ada"} == {"train"}
    assert [one.split for one in split_pool([free], [given], {"ada": "test"})] == ["train"]


def test_files_are_split_alike_in_either_form_of_unicode() -> None:
    """As where a corpus was copied from another system."""
    both = [
        [Clip(path=Path(f"{folder}/{n}.wav"), word="s\u00ed", language="es") for n in range(40)]
        for folder in ("s\u00ed", "si\u0301")
    ]
    composed, decomposed = ([clip.split for clip in assign_splits(some)[0]] for some in both)
    assert composed == decomposed
    assert {*composed} == {"train", "validation", "test"}


def test_a_file_is_in_one_split_whatever_else_is_selected() -> None:
    """Else what was trained on would be tested where a filter chooses of it."""
    days = [
        Clip(path=Path(f"{day}/ja/{n}.wav"), word="ja", language="de")
        for day in ("monday", "tuesday")
        for n in range(60)
    ]
    every = {clip.path: clip.split for clip in assign_splits(days)[0]}
    assert {*every.values()} == {"train", "validation", "test"}
    for clip in assign_splits(days[60:])[0]:
        assert clip.split == every[clip.path]


def test_a_file_has_one_split_however_its_path_is_spelt(tmp_path: Path) -> None:
    path = tmp_path / "ja" / "1.wav"
    relative = Path(os.path.relpath(path))
    twice = [Clip(path=path, word="ja", split="train"), Clip(path=relative, word="ja")]
    with pytest.raises(KwsError, match="listed twice, with split 'train' and with 'nothing'"):
        check_disjoint(twice)


def test_who_has_a_split_in_a_pool_stays_in_it() -> None:
    given = [clip("dog", f"{name}.wav", name, "train") for name in ("p1", "p2", "p3")]
    free = [clip("cat", f"{name}.wav", name) for name in ("p1", "p2", "p3")]
    assert {one.split for one in split_pool([*given, *free], [], {})} == {"train"}


def test_speakers_that_capitals_alone_tell_apart_are_told() -> None:
    some = [*crowd(3), clip("yes", "a.wav", "Ada"), clip("yes", "b.wav", "ada")]
    told = [one for one in assign_splits(some)[1] if "capitals" in one]
    assert told == ["these speakers differ only in capitals: Ada, ada; write each in one way"]


def test_training_has_half_of_the_people_at_least_whatever_their_hashes_say() -> None:
    by_hash: dict[Split | None, list[str | None]] = {}
    for name, splits in people(assign_splits(crowd(200))[0]).items():
        by_hash.setdefault(next(iter(splits)), []).append(name)
    some = {*by_hash["train"][:2], *by_hash["validation"][:3], *by_hash["test"][:3]}
    done, _ = assign_splits([one for one in crowd(200) if one.speaker in some])
    count = Counter(next(iter(splits)) for splits in people(done).values())
    assert set(count) == {*SPLITS}
    assert count["train"] >= 4


def test_who_was_learnt_from_is_not_tested_whatever_a_pool_says_of_them() -> None:
    pool = [clip("dog", "1.wav", "ada", "test"), clip("cat", "2.wav", "ada")]
    assert [one.split for one in split_pool(pool, [], {"ada": "train"})] == ["test", "train"]
