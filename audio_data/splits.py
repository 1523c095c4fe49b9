"""Decide who trains, who validates and who tests, by people where people are known."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from kws.config import Where
from kws.errors import KwsError
from kws.names import composed

from .clips import SPLITS, Clip, Split
from .files import and_more
from .manifest import few

LEARNT: Final = ("train", "several")  # where people are who were learnt from
FEWEST: Final = 3  # people, or clips of a word: one for each split
# Of people, or of a word's files; the rest trains.
SHARES: Final[Mapping[Split, float]] = {"validation": 0.1, "test": 0.1}


def assign_splits(
    clips: Sequence[Clip],
    *,
    known: Mapping[str, Split] | None = None,
    first: Collection[str] = (),
) -> tuple[list[Clip], list[str]]:
    """Give every clip a split; those that have one keep it.

    A person's split follows from a hash of the name alone, whoever else is recorded (the way
    of Speech Commands). Where that leaves a split without people, or training with less than
    half of them, people are ranked by the hash and dealt out, at least one to each split.
    With fewer than three people, and for clips of nobody in particular, the clips of each
    word are split by a hash of their names instead. So a person's split may change when others
    are recorded: who was learnt from before is ``known``, and stays.

    Args:
        clips: recordings, with or without a split.
        known: people and their splits, unless a clip of theirs says otherwise.
        first: words that somebody is to say in every split: who says them is dealt out before the
            others.

    Returns:
        The clips in their order, and sentences about what the splits cannot promise.

    Raises:
        KwsError: a speaker, or a file, has clips in two of the given splits.

    """
    check_disjoint(clips)
    given = people_in(clip for clip in clips if clip.split)
    stays = {**(known or {}), **given}
    before, clips = clips, [_follow(clip, stays) for clip in clips]
    people, warnings = _people(clips, first)
    decided = [_follow(clip, people) for clip in clips]
    done = _split_files(decided)
    return done, [*warnings, *_shortages(before, done)]


def split_pool(
    pool: Iterable[Clip], clips: Iterable[Clip], known: Mapping[str, Split]
) -> list[Clip]:
    """Give a split to those of a pool that have none; people of ``clips`` stay in theirs.

    The splits that the pool has are left as they are, as its corpora may use one name for two
    people; who has one there stays in it.
    """
    pool = list(pool)
    free = [clip for clip in pool if clip.split is None]
    stay = {**people_in(pool), **known, **people_in(clips)}
    decided = iter(assign_splits(free, known=stay)[0])
    return [clip if clip.split else next(decided) for clip in pool]


def people_in(clips: Iterable[Clip]) -> dict[str, Split]:
    """Everyone whose clips are all in one split, with that split."""
    found: dict[str, set[Split]] = defaultdict(set)
    for clip in clips:
        if clip.speaker and clip.split:
            found[clip.speaker].add(clip.split)
    return {name: splits.pop() for name, splits in found.items() if len(splits) == 1}


def keep_splits(clips: Sequence[Clip], known: Mapping[str, Split]) -> tuple[list[Clip], list[str]]:
    """Keep people who were learnt from in the split they had then, whatever is said now.

    Returns:
        The clips in their order, and a sentence about those who were moved.

    """
    kept = [replace(clip, split=known.get(clip.speaker or "", clip.split)) for clip in clips]
    pairs = zip(clips, kept, strict=True)
    moved = {was.speaker for was, now in pairs if was.split and was.split != now.split}
    if not moved:
        return kept, []
    names = few({str(name) for name in moved}, 5)
    return kept, [f"{names} were in another split when the network was trained, and stay there"]


def single_splits(known: Mapping[str, Where], *, drop_several: bool = False) -> dict[str, Split]:
    """In which split everyone is kept; who was in several is in train, or dropped if asked for.

    >>> single_splits({"ada": "test", "ben": "several"})
    {'ada': 'test', 'ben': 'train'}
    >>> single_splits({"ben": "several"}, drop_several=True)
    {}
    """
    found: dict[str, Split] = {}
    for name, where in known.items():
        if where != "several":
            found[name] = where
        elif not drop_several:
            found[name] = "train"
    return found


def keep_for_measuring(
    clips: Sequence[Clip], known: Mapping[str, Where], keywords: Collection[str]
) -> tuple[list[Clip], list[str], dict[str, Split]]:
    """Keep people in their splits, as :func:`keep_splits` does, to measure what was learnt.

    People who were in several splits stay in train, unless without them some split has nobody who
    says a keyword; then their clips are split anew.

    Returns:
        The clips in their order, sentences about people who were moved, and the split of everyone
        who is kept.

    """
    people = single_splits(known)
    kept, moved = keep_splits(clips, people)
    if len(people) > len(single_splits(known, drop_several=True)):
        split, _ = assign_splits(kept, known=people, first=keywords)
        if not say_in_every_split(split, keywords):
            people = single_splits(known, drop_several=True)
            kept, moved = keep_splits(clips, people)
    return kept, moved, people


def say_in_every_split(clips: Iterable[Clip], keywords: Collection[str]) -> bool:
    """Whether somebody says a keyword in each of them."""
    return {clip.split for clip in clips if clip.word in keywords} == {*SPLITS}


def where_heard(clips: Iterable[Clip], known: Mapping[str, Where]) -> dict[str, Where]:
    """Where people are who were heard now, or are ``known`` from before, so that they stay there.

    Who is in validation and test, and never in train, is not recorded: no one split keeps them.

    >>> from pathlib import Path
    >>> ada = Clip(path=Path("a.wav"), word="ja", speaker="ada", split="test")
    >>> where_heard([ada], {}), where_heard([ada], {"ada": "train"})
    ({'ada': 'test'}, {'ada': 'several'})
    """
    found: dict[str, set[Where]] = defaultdict(set)
    for clip in clips:
        if clip.speaker and clip.split:
            found[clip.speaker].add(clip.split)
    heard: dict[str, Where] = {}
    for name, splits in found.items():
        if known.get(name) in LEARNT:
            splits.add("train")
        if len(splits) == 1:
            heard[name] = splits.pop()
        elif "train" in splits:
            heard[name] = "several"
    return {**known, **heard}


def check_disjoint(clips: Iterable[Clip]) -> None:
    """Refuse given splits that share a person, and files that are said to be two things.

    Raises:
        KwsError: names a speaker and the two splits, or a file and what it is said to be.

    """
    people: dict[str, Split] = {}
    files: dict[str, Clip] = {}
    for clip in clips:
        known = files.setdefault(os.path.abspath(clip.path), clip)
        for what in ("word", "speaker", "split"):
            first, second = (getattr(one, what) or "nothing" for one in (known, clip))
            if first != second:
                raise KwsError(
                    f"{clip.path} is listed twice, with {what} {first!r} and with {second!r}; "
                    "keep one of them"
                )
        if clip.speaker is None or clip.split is None:
            continue
        before = people.setdefault(clip.speaker, clip.split)
        if before != clip.split:
            raise KwsError(
                f"speaker {clip.speaker!r} has clips in both {before} and {clip.split}; "
                "give every speaker one split, or leave the split empty"
            )


def _people(clips: Sequence[Clip], first: Collection[str]) -> tuple[dict[str, Split], list[str]]:
    """Map speakers to splits, as far as there are enough of them, and say what is amiss."""
    given = {clip.speaker: clip.split for clip in clips if clip.speaker and clip.split}
    free = {clip.speaker for clip in clips if clip.speaker} - given.keys()
    nobody = [clip.path for clip in clips if clip.speaker is None and clip.split is None]
    warnings = []
    folded = Counter(name.casefold() for name in free | given.keys())
    if alike := sorted(name for name in free if folded[name.casefold()] > 1):
        warnings.append(
            f"these speakers differ only in capitals: {', '.join(alike[:6])}; write each in one way"
        )
    if nobody:
        advice = (
            "rename it or change --speaker-pattern, or fill in its speaker in the manifest"
            if folded
            else "if file names in a folder say it, such as s01_3.wav, give --speaker-pattern "
            "'^([^_]+)_'"
        )
        warnings.append(
            f"{nobody[0]}{and_more(nobody)} does not say who speaks: splits may share people, so "
            f"accuracy may be optimistic; {advice}"
        )
    if free and not given and len(free) < FEWEST:
        noun = "speaker" if len(free) == 1 else "speakers"
        warnings.append(
            f"{len(free)} {noun} only: splits share people, so accuracy will be optimistic; "
            "record at least 3 people"
        )
        return {}, warnings
    say = [clip for clip in clips if clip.speaker and clip.word in first]
    before = free & {str(clip.speaker) for clip in say}
    people = given | _share(before, {clip.split for clip in say if clip.split})
    people |= _share(free - before, set(people.values()))
    _give_words_to_train(clips, people, free)
    return people, warnings


def _share(names: Collection[str], filled: Collection[Split]) -> dict[str, Split]:
    """Split names by hash alone if that serves every split not yet filled, else deal them."""
    wanted = [split for split in SPLITS if split not in filled]
    chosen = {name: _split_at(_fraction(name)) for name in names}
    counts = Counter(chosen.values())
    trained = "train" in filled or 2 * counts["train"] >= len(names)
    if trained and all(counts[split] for split in wanted):
        return chosen
    return _deal(names, wanted)


def _split_at(fraction: float) -> Split:
    """The split of a name whose hash is ``fraction``."""
    if fraction < SHARES["validation"]:
        return "validation"
    return "test" if fraction < sum(SHARES.values()) else "train"


def _deal(names: Collection[str], wanted: Sequence[Split]) -> dict[str, Split]:
    """One name to each wanted split while there are any, then each its share, then train."""
    seats = list(wanted)
    for split, share in SHARES.items():
        seats += [split] * (round(len(names) * share) - (split in wanted))
    seats += ["train"] * len(names)
    return dict(zip(sorted(names, key=_fraction), seats, strict=False))


def _fraction(name: str) -> float:
    """Hash a name to [0, 1), the same on every machine and in every run."""
    digest = hashlib.sha1(name.encode(errors="surrogateescape"), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _give_words_to_train(
    clips: Sequence[Clip], people: dict[str, Split], free: Collection[str]
) -> None:
    """Where nobody in train says a word, move to it one person whose split is ours to choose.

    No split loses more than half of its people to that.
    """
    speakers: dict[str, Counter[str]] = defaultdict(Counter)
    learnt = set()
    for clip in clips:
        if clip.speaker is not None:
            speakers[clip.word][clip.speaker] += 1
        split = clip.split or people.get(clip.speaker or "")
        if split in ("train", None):  # without a split yet: may still go to train
            learnt.add(clip.word)
    spare = {split: count // 2 for split, count in Counter(people.values()).items()}
    for word in sorted(speakers.keys() - learnt):
        movable = [name for name in speakers[word] if name in free and spare[people[name]]]
        if movable and not any(people[name] == "train" for name in speakers[word]):
            moved = max(movable, key=lambda name: (speakers[word][name], _fraction(name)))
            spare[people[moved]] -= 1
            people[moved] = "train"


def _follow(clip: Clip, people: Mapping[str, Split]) -> Clip:
    return clip if clip.split else replace(clip, split=people.get(clip.speaker or ""))


def _split_files(clips: Sequence[Clip]) -> list[Clip]:
    """Split what is left by file name, word by word."""
    names: dict[str, set[str]] = defaultdict(set)
    filled: dict[str, set[Split]] = defaultdict(set)
    for clip in clips:
        if clip.split:
            filled[clip.word].add(clip.split)
        else:
            names[clip.word].add(_file(clip))
    chosen = {word: _share(files, filled[word]) for word, files in names.items()}
    return [
        clip if clip.split else replace(clip, split=chosen[clip.word][_file(clip)])
        for clip in clips
    ]


def _file(clip: Clip) -> str:
    """Name a clip by its folder and file, wherever its corpus lies and whatever else is chosen."""
    return composed(f"{clip.path.parent.name}/{clip.path.name}")


def _shortages(before: Sequence[Clip], after: Sequence[Clip]) -> list[str]:
    """Say which words and splits came out too thin."""
    warnings = []
    counts = Counter(clip.word for clip in after)
    for thin in range(1, FEWEST):
        words = [word for word, count in counts.items() if count == thin]
        if words:
            have = f"word {words[0]!r} has" if len(words) == 1 else f"{few(words, 5)} have"
            clips = "1 clip" if thin == 1 else f"{thin} clips"
            warnings.append(
                f"{have} {clips}; record at least {FEWEST}, one each to train, validate and test"
            )
    learnt = {clip.word for clip in after if clip.split == "train"}
    if learnt and (unlearnt := counts.keys() - learnt):
        warnings.append(f"no clip to train on: {few(unlearnt, 5)}; record them with more people")
    found = {clip.split for clip in after}
    if any(clip.split is None for clip in before):
        warnings += [f"no clip is left for {split}" for split in SPLITS if split not in found]
    return warnings
