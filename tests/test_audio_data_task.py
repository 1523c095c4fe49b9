"""From clips to a task: who is a keyword, who is unknown, and who is heard when."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from audio_data.clips import SPLITS, Clip, Split
from audio_data.splits import people_in
from audio_data.task import SHARE, UNKNOWN_SHARE, Task, make_task, measuring_task
from kws.config import Where
from kws.errors import KwsError, UsageError
from kws.names import SILENCE, UNKNOWN

PEOPLE: dict[str, Split] = {
    **{f"t{number}": "train" for number in range(6)},
    **{f"v{number}": "validation" for number in range(2)},
    **{f"e{number}": "test" for number in range(2)},
}


def record(
    words: Sequence[str],
    language: str = "en",
    people: dict[str, Split] = PEOPLE,
    takes: int = 5,
    licence: str | None = "CC0-1.0",
) -> list[Clip]:
    """Every word by everyone, some times."""
    return [
        Clip(
            path=Path(f"{language}/{word}/{who}_{take}.wav"),
            word=word,
            language=language,
            speaker=f"{language}-{who}",
            split=split,
            licence=licence,
        )
        for word in words
        for who, split in people.items()
        for take in range(takes)
    ]


def counts(task: Task, split: Split) -> Counter[str]:
    return Counter(task.labels[example.label] for example in task.splits[split])


ENGLISH, GERMAN = record(["yes", "no", "stop", "go"]), record(["ja", "NO", "halt"], "de")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_unknown_and_silence_are_a_tenth_of_the_keywords_each(split: Split) -> None:
    task = make_task(ENGLISH, keywords=["yes", "no"])
    assert task.labels == ("no", "yes", UNKNOWN, SILENCE)
    found = counts(task, split)
    clips = 5 * sum(wanted == split for wanted in PEOPLE.values())
    assert found["yes"] == found["no"] == clips
    assert found[UNKNOWN] == found[SILENCE] == round(SHARE * 2 * clips)


def test_training_draws_unknown_words_from_all_there_are() -> None:
    """In each epoch about a third as many as there are keywords."""
    task = make_task(ENGLISH, keywords=["yes", "no"])
    assert counts(task, "train") == {"yes": 30, "no": 30, UNKNOWN: 60, SILENCE: 6}
    assert task.at_most == {2: round(UNKNOWN_SHARE * 60)}
    assert not make_task(ENGLISH, closed=True).at_most


def test_unknown_words_are_those_that_are_no_keyword() -> None:
    task = make_task(ENGLISH, keywords=["yes", "no"])
    for split, examples in task.splits.items():
        clips = [example.clip for example in examples if task.labels[example.label] == UNKNOWN]
        assert {clip.word for clip in clips if clip} <= {"stop", "go"}
        assert {clip.split for clip in clips if clip} == {split}  # nobody is in two splits


def test_unknown_comes_from_other_languages_where_all_words_are_keywords() -> None:
    task = make_task(ENGLISH, pool=GERMAN)
    clips = [
        example.clip
        for examples in task.splits.values()
        for example in examples
        if task.labels[example.label] == UNKNOWN
    ]
    assert len(clips) == 6 * 5 * 2 + 2 * round(SHARE * 4 * 5 * 2)
    assert {clip.language for clip in clips if clip} == {"de"}
    assert {clip.word for clip in clips if clip} == {"ja", "halt"}  # NO sounds like a keyword
    assert not task.warnings


def test_names_in_other_corpora_do_not_matter() -> None:
    """Two corpora of the pool each have a speaker 'a', in different splits."""
    pool = record(["ja"], "de", {"a": "train", "b": "test"})
    twin = [
        Clip(path=Path("x.wav"), word="oui", language="fr", speaker="de-a", split="validation"),
        Clip(path=Path("y.wav"), word="oui", language="fr", speaker="de-b", split="train"),
    ]
    task = make_task(ENGLISH, pool=[*pool, *twin])
    for split, examples in task.splits.items():
        strangers = {e.clip for e in examples if e.clip and e.clip.language != "en"}
        assert {clip.split for clip in strangers} <= {split}
        assert strangers


def test_a_pool_without_splits_is_split() -> None:
    pool = [
        Clip(path=Path(f"fr/oui/{who}.wav"), word="oui", language="fr", speaker=f"fr{who}")
        for who in range(30)
    ]
    task = make_task(ENGLISH, pool=pool)
    found = [
        {e.clip.path for e in task.splits[s] if e.clip and e.clip.word == "oui"} for s in SPLITS
    ]
    assert all(found)
    assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]


def test_silence_has_no_clip_and_stands_last() -> None:
    task = make_task(ENGLISH, keywords=["yes", "no"])
    for examples in task.splits.values():
        without = [example.clip is None for example in examples]
        assert without == sorted(without)
        assert {task.labels[e.label] for e in examples if e.clip is None} == {SILENCE}


def test_recordings_of_unknown_and_silence_are_no_keywords() -> None:
    """They fill those classes, as far as there are some; the pool's silence is no unknown word."""
    some = [*record(["yes", "no"]), *record([UNKNOWN]), *record([SILENCE], takes=1)]
    task = make_task(some, pool=GERMAN)
    assert task.labels == ("no", "yes", UNKNOWN, SILENCE)
    for split in SPLITS:
        found = {label: [e.clip for e in task.splits[split] if task.labels[e.label] == label]
                 for label in (UNKNOWN, SILENCE)}  # fmt: skip
        words = [clip.word for clip in found[UNKNOWN] if clip]
        own = sum((clip.split, clip.word) == (split, UNKNOWN) for clip in some)
        assert words[:own] == [UNKNOWN] * min(own, len(words))  # the pool fills what is left
        assert SILENCE not in words
        assert {clip.word for clip in found[SILENCE] if clip} == {SILENCE}
        assert len(found[SILENCE]) == counts(make_task(ENGLISH[:100]), split)[SILENCE]
    assert make_task(some, closed=True).labels == ("no", "yes")
    strangers = make_task(ENGLISH, pool=record([SILENCE, "ja"], "de")).splits["train"]
    assert {e.clip.word for e in strangers if e.clip and e.clip.language == "de"} == {"ja"}


def test_other_recordings_fill_up_what_few_unknown_words_leave() -> None:
    """Own words come first, all of them; where there are enough, they are alone."""
    own = make_task(ENGLISH, keywords=["yes"])
    task = make_task(ENGLISH, keywords=["yes"], pool=GERMAN)

    def unknown(task: Task, split: Split) -> list[Clip]:
        return [e.clip for e in task.splits[split] if e.clip and task.labels[e.label] == UNKNOWN]

    learnt = unknown(task, "train")
    mine = unknown(own, "train")
    assert set(learnt[: len(mine)]) == set(mine)
    assert {clip.language for clip in learnt[len(mine) :]} == {"de"}
    assert unknown(task, "test") == unknown(own, "test")  # a tenth of the keywords: enough


def test_closed_is_keywords_alone() -> None:
    task = make_task(ENGLISH, keywords=["yes", "no"], pool=GERMAN, closed=True)
    assert task.labels == task.keywords == ("no", "yes")
    assert task.closed
    for examples in task.splits.values():
        assert {e.clip.word for e in examples if e.clip} == {"yes", "no"}
        assert None not in [example.clip for example in examples]
    assert not make_task(ENGLISH).closed


def test_without_other_words_false_alarms_are_announced() -> None:
    task = make_task(ENGLISH)
    assert counts(task, "train")[UNKNOWN] == 0
    assert counts(task, "train")[SILENCE] == round(SHARE * 4 * 30)
    assert any("expect false accepts" in warning for warning in task.warnings)
    assert not make_task(ENGLISH, closed=True).warnings


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_per_word_thins_training_alone(limit: int) -> None:
    task = make_task(ENGLISH, keywords=["yes", "no"], per_word=limit)
    found = counts(task, "train")
    assert found["yes"] == found["no"] == min(limit, 30)
    assert found[SILENCE] == max(1, round(SHARE * 2 * min(limit, 30)))
    whole = make_task(ENGLISH, keywords=["yes", "no"])
    assert task.splits["test"] == whole.splits["test"]
    assert task.splits["validation"] == whole.splits["validation"]


def test_per_word_draws_by_its_seed() -> None:
    drawn = [make_task(ENGLISH, per_word=3, seed=seed).splits["train"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_the_order_of_the_clips_changes_no_label() -> None:
    task, other = make_task(ENGLISH), make_task(ENGLISH[::-1])
    assert task.labels == other.labels == ("go", "no", "stop", "yes", UNKNOWN, SILENCE)


def test_given_labels_keep_their_numbers() -> None:
    """Evaluation counts in the order that the network was trained in."""
    labels = ("yes", "no", UNKNOWN, SILENCE)
    task = measuring_task(ENGLISH, labels)
    assert task.labels == labels
    for example in task.splits["test"]:
        if example.clip:
            word = example.clip.word
            assert labels[example.label] == (word if word in labels else UNKNOWN)


def test_given_labels_without_unknown_are_closed() -> None:
    task = measuring_task(ENGLISH, ("yes", "no"))
    assert task.closed
    assert set(counts(task, "test")) == {"yes", "no"}


@pytest.mark.parametrize(
    "some",
    [
        [clip for clip in ENGLISH if clip.split == "test"],
        [clip for clip in ENGLISH if clip.speaker == "en-e0"],
        [clip for clip in ENGLISH if clip.word == "no"],
    ],
)
def test_given_labels_measure_what_was_selected(some: list[Clip]) -> None:
    """One split, one person or one word alone: nothing is left to train on, nor need be."""
    task = measuring_task(some, ("no", "yes", UNKNOWN, SILENCE), pool=GERMAN)
    spoken = {e.clip for e in task.splits["test"] if task.labels[e.label] in ("no", "yes")}
    assert spoken == {c for c in some if c.split == "test" and c.word in ("no", "yes")}
    assert task.labels == ("no", "yes", UNKNOWN, SILENCE)
    assert counts(task, "test")[SILENCE] == max(1, round(SHARE * len(spoken)))


def test_one_closed_label_is_measured() -> None:
    assert measuring_task(record(["yes"]), ("yes",)).closed


def test_where_a_network_knows_no_silence_keywords_alone_are_measured() -> None:
    task = measuring_task(ENGLISH, ("no", "yes", UNKNOWN))
    assert task.closed
    assert {example.label for example in task.splits["test"]} == {0, 1}


def test_people_stay_in_their_split_when_others_or_some_are_measured() -> None:
    """Splits are dealt out among few people; who was learnt from is known, whoever is there."""

    def say(*people: str) -> list[Clip]:
        return [
            Clip(path=Path(f"{word}/{who}.wav"), word=word, language="en", speaker=who)
            for word in ("yes", "no")
            for who in people
        ]

    learnt = make_task(say("dora", "gina", "finn"))
    known = people_in(e.clip for s in learnt.splits.values() for e in s if e.clip)
    assert known == {"dora": "train", "gina": "validation", "finn": "test"}
    more = say("dora", "gina", "finn", "cara", "ida", "anna", "paul")
    moved = measuring_task(more, learnt.labels)
    assert {e.clip.speaker for e in moved.splits["test"] if e.clip} == {"dora"}  # by itself
    stays = measuring_task(more, learnt.labels, known=known)
    heard = people_in(e.clip for s in stays.splits.values() for e in s if e.clip)
    assert known.items() <= heard.items()
    for who, split in known.items():
        alone = measuring_task(say(who), learnt.labels, known=known)
        assert [s for s, found in alone.splits.items() if found] == [split]


def without_splits(names: Sequence[str], words: Sequence[str] = ("yes", "no")) -> list[Clip]:
    return [
        replace(clip, split=None) for clip in record(words, people=dict.fromkeys(names, "train"))
    ]


def splits_of(task: Task) -> dict[str, Split]:
    return people_in(e.clip for examples in task.splits.values() for e in examples if e.clip)


def test_who_was_heard_before_stays_where_they_were_when_another_language_is_learnt() -> None:
    names = [f"p{number}" for number in range(6)]
    free = splits_of(make_task(without_splits(names), closed=True))
    tested = next(name for name, split in free.items() if split == "test")
    task = make_task(without_splits(names), closed=True, known={tested: "train"})
    assert splits_of(task)[tested] == "train"
    assert set(splits_of(task).values()) == {*SPLITS}
    assert not task.warnings


def test_where_everybody_was_heard_before_it_is_said_and_all_splits_have_people() -> None:
    names = [f"p{number}" for number in range(4)]
    known: dict[str, Split] = {f"en-{name}": "train" for name in names}
    task = make_task(without_splits(names), closed=True, known=known)
    assert set(splits_of(task).values()) == {*SPLITS}
    assert task.warnings == (
        "2 people were in the training of the base or of an earlier language, and too few others "
        "say these words: accuracy may be optimistic",  # one validates, one tests
    )
    pool = [replace(clip, split=None, speaker=f"s{n}") for n, clip in enumerate(GERMAN)]
    strangers: dict[str, Split] = {str(clip.speaker): "train" for clip in pool}
    open_task = make_task(without_splits(names), pool=pool, known=known | strangers)
    assert {split for name, split in splits_of(open_task).items() if name in strangers} == {"train"}
    given = make_task(ENGLISH, closed=True, known={"en-t0": "test"})  # whose corpus says it
    assert splits_of(given)["en-t0"] == "train"
    assert not given.warnings


def test_who_was_only_measured_before_was_in_no_training() -> None:
    """Nor is it of any account where those who were are in training again."""
    names = [f"en-p{number}" for number in range(4)]
    clips = without_splits([name.removeprefix("en-") for name in names])
    known: dict[str, Split] = dict.fromkeys(names, "test")
    task = make_task(clips, closed=True, known=known)
    assert set(splits_of(task).values()) == {*SPLITS}
    assert not task.warnings
    for name, split in splits_of(task).items():
        warnings = make_task(clips, closed=True, known=known | {name: "train"}).warnings
        assert [text[:12] for text in warnings] == ["1 person was"] * (split != "train")


def test_who_was_learnt_from_and_is_measured_by_the_recordings_own_split_is_told_of() -> None:
    """Of those who are in another split, or where the task is closed say no keyword, nothing is."""
    own: dict[str, Split] = {"ada": "validation", "bob": "train", "cyd": "test", "dan": "test"}
    clips = record(["yes", "no"], people=own)
    heard: dict[str, Where] = {f"en-{name}": split for name, split in own.items()}
    note = (
        "{} in the training of the base or of an earlier language, and the recordings' own split "
        "measures them: accuracy may be optimistic"
    )

    def told(**moved: Where) -> tuple[str, ...]:
        known = heard | {f"en-{name}": where for name, where in moved.items()}
        task = make_task(clips, known=known, closed=True)
        assert splits_of(task) == {f"en-{name}": split for name, split in own.items()}
        return task.warnings

    assert told() == told(bob="test") == told(ada="test") == ()
    assert told(ada="train", cyd="several") == (note.format("2 people were"),)
    assert told(dan="train") == (note.format("1 person was"),)
    more = [*clips, *record(["go"], people={"eve": "test"})]
    learnt: dict[str, Where] = {"en-eve": "train"}
    for closed in (True, False):
        task = make_task(more, keywords=["yes", "no"], known=learnt, closed=closed)
        assert (note.format("1 person was") in task.warnings) != closed


def test_unknown_words_of_others_make_no_splits_of_keywords() -> None:
    """Where nobody else says a keyword, whoever else there is."""
    said = without_splits(["p0", "p1", "p2"])
    known: dict[str, Split] = {str(clip.speaker): "train" for clip in said}
    rest = [replace(c, word=UNKNOWN) for c in without_splits(["p3", "p4", "p5"])]
    task = make_task([*said, *rest], known=known)
    assert {split for name, split in splits_of(task).items() if name in known} == {*SPLITS}
    assert "2 people were in the training of the base" in task.warnings[0]


def test_who_was_heard_before_says_unknown_words_where_they_were() -> None:
    pool = [replace(clip, language="de") for clip in without_splits(["p0", "p1", "p2"], ["ja"])]
    task = make_task(
        ENGLISH, pool=pool, known={"en-p0": "train", "en-p1": "train", "en-p2": "train"}
    )
    heard = {e.clip.speaker for s in SPLITS for e in task.splits[s] if e.clip and s != "train"}
    assert heard
    assert not heard & {"en-p0", "en-p1", "en-p2"}


def test_people_who_say_keywords_say_unknown_words_in_the_same_split() -> None:
    people = ("dora", "gina", "finn", "cara", "ida", "anna", "paul")
    said = [Clip(path=Path(f"{w}/{p}"), word=w, speaker=p) for w in "ab" for p in people[:3]]
    pool = [Clip(path=Path(f"{w}/{p}"), word=w, speaker=p) for w in "cd" for p in people]
    task = make_task(said, pool=pool)
    heard = [e.clip for found in task.splits.values() for e in found if e.clip]
    assert {*people[:3]} <= people_in(heard).keys()  # each in one split alone


def test_licences_are_all_named() -> None:
    clips = [*record(["yes"]), *record(["no"], licence="MIT"), *record(["go"], licence=None)]
    assert make_task(clips[:-1]).licences == ("CC0-1.0", "MIT", "not stated for some")
    assert make_task(clips[: 2 * len(clips) // 3]).licences == ("CC0-1.0", "MIT")
    strangers = make_task(record(["yes", "no"]), pool=record(["ja"], language="de", licence="BSD"))
    assert strangers.licences == ("BSD", "CC0-1.0")  # of what it learns not to hear, too


def test_a_word_with_one_clip_is_said_so() -> None:
    lonely = Clip(path=Path("en/up/t0.wav"), word="up", language="en", speaker="en-t0")
    task = make_task([*ENGLISH, lonely])
    assert "up" in task.labels
    assert any("word 'up' has 1 clip" in warning for warning in task.warnings)
    assert counts(task, "train")["up"] == 1  # where it can be learnt


def test_a_word_with_another_apostrophe_is_no_other_word() -> None:
    """Phones type another than computers: it would be learnt as unknown."""
    five = record(["п'ять", "три"], language="uk")
    others = record(["п\u2019ять", "шість"], language="uk")
    task = make_task(five, pool=others)
    unknown = task.labels.index(UNKNOWN)
    heard = {e.clip.word for e in task.splits["train"] if e.clip and e.label == unknown}
    assert heard == {"шість"}
    both = make_task([*five, *others], closed=True)
    assert any("capitals or apostrophes: п'ять, п\u2019ять" in told for told in both.warnings)


def test_keywords_that_differ_in_capitals_alone_are_told() -> None:
    """As spreadsheets make them."""
    task = make_task(record(["stop", "Stop", "go"]), closed=True)
    told = "these keywords differ only in capitals or apostrophes: Stop, stop"
    assert told in task.warnings


def test_languages_that_are_not_said_are_none_to_select() -> None:
    clips = record(["yes"], "und") + record(["no"], "en")
    with pytest.raises(UsageError, match=r"--filter language=en, or say with --language what the"):
        make_task(clips)


def test_one_speaker_alone_is_said_so() -> None:
    """Splits share the person, so that there is something to measure at all."""
    clips = [
        Clip(path=Path(f"en/{word}/{take}.wav"), word=word, language="en", speaker="me")
        for word in ("yes", "no")
        for take in range(20)
    ]
    task = make_task(clips)
    assert all(task.splits.values())
    assert any("1 speaker only" in w and "optimistic" in w for w in task.warnings)


@pytest.mark.parametrize(
    ("clips", "options", "message"),
    [
        ([], {}, "no recordings were selected"),
        ([*ENGLISH, *GERMAN], {}, r"several languages \(de, en\).*--filter language=de"),
        (
            ENGLISH,
            {"keywords": ["yes", "maybe"]},
            "no recordings of 'maybe' in en.*'go', 'no', 'stop'",
        ),
        (ENGLISH, {"keywords": ["yes"], "closed": True}, "more than one keyword"),
        (ENGLISH, {"keywords": []}, "no word to spot"),
        (record([UNKNOWN, SILENCE]), {}, "no word to spot"),
        (record(["yes", UNKNOWN]), {"keywords": ["yes", UNKNOWN]}, "no recordings of '_unknown_'"),
        (record(["yes", "no"], people={"e": "test"}), {}, "no clip is left to train on"),
        (
            record(["yes"], people={"e": "test"}) + record(["no"]),
            {"keywords": ["yes"]},
            "no clip is left to train on",
        ),
    ],
)
def test_tasks_that_cannot_be_are_refused(
    clips: list[Clip], options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_task(clips, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ["\x1b[2J", "go\n", " "])
def test_a_word_that_is_none_is_refused(odd: str) -> None:
    with pytest.raises(KwsError, match=f"{re.escape(repr(odd))} is no name of a word"):
        make_task(record(["yes", odd]))


def test_a_network_of_other_words_is_not_measured() -> None:
    with pytest.raises(UsageError, match="no recordings of 'hola' in en"):
        measuring_task(ENGLISH, ("hola", UNKNOWN, SILENCE))


def test_one_keyword_with_unknown_is_a_task() -> None:
    assert make_task(ENGLISH, keywords=["yes"]).labels == ("yes", UNKNOWN, SILENCE)


def test_a_keyword_in_another_case_or_in_a_phrase_is_no_unknown_word() -> None:
    """Neither of this language nor of others: streams count none of these as other words."""
    clips = [*ENGLISH, *record(["Yes", "oh no"])]
    task = make_task(clips, keywords=["yes", "no"], pool=record(["ja", "say yes"], "de"))
    unknown = task.labels.index(UNKNOWN)
    heard = {e.clip.word for e in task.splits["train"] if e.clip and e.label == unknown}
    assert heard == {"stop", "go", "ja"}
