"""From clips to a classification task: labels, unknown words, silence."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kws.config import SILENCE, UNKNOWN, spotted
from kws.errors import UsageError

from .clips import SPLITS, Clip, Split
from .splits import assign_splits, split_pool

SHARE = 0.1  # unknown and silence, each, as a share of the keywords' clips (Speech Commands)
LEARNT = 0.3  # unknown words of an epoch of training, drawn from at most
NOT_STATED = "not stated for some"  # licence
DIFFERENT = 4_000  # clips, which half a gigabyte holds


@dataclass(frozen=True)
class Example:
    """A clip and its class; silence has no clip, its sound is drawn from noise."""

    clip: Clip | None
    label: int


@dataclass(frozen=True)
class Task:
    """Labels and the labelled examples of each split; made by :func:`make_task`."""

    language: str
    labels: tuple[str, ...]  # keywords in alphabetical order, then unknown and silence if open
    splits: dict[Split, tuple[Example, ...]]
    warnings: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    at_most: Mapping[int, int] = field(default_factory=dict)  # of a class in an epoch of training

    @property
    def keywords(self) -> tuple[str, ...]:
        return spotted(self.labels)

    @property
    def closed(self) -> bool:
        return UNKNOWN not in self.labels


def make_task(
    clips: Sequence[Clip],
    *,
    keywords: Collection[str] | None = None,
    pool: Iterable[Clip] = (),
    labels: Sequence[str] | None = None,
    known: Mapping[str, Split] | None = None,
    closed: bool = False,
    per_word: int | None = None,
    seed: int = 0,
) -> Task:
    """Choose what is a keyword, what is unknown, and who is heard when.

    Args:
        clips: recordings of one language; every word is a keyword unless ``keywords`` says
            otherwise, and then the rest of them are unknown words. What is said to be unknown or
            silence is that.
        keywords: the words to spot.
        pool: other recordings; where this language has too few words that are no keywords, they
            are the other unknown words.
        labels: measure with these labels, in this order (those a network was trained on), what
            there is of them, in whichever splits; nothing is trained.
        known: people whose split was decided when a network was trained.
        closed: keywords only, without unknown and silence.
        per_word: at most so many training clips of each keyword.
        seed: which unknown clips, and which of ``per_word``, are drawn.

    Raises:
        UsageError: several languages, a keyword without a recording, fewer than two keywords,
            nothing to train on; of given labels, no recording of any.

    """
    if labels is not None:
        closed = closed or UNKNOWN not in labels
        keywords = spotted(labels)
    language = _one_language(clips)
    words = {clip.word for clip in clips} - {UNKNOWN, SILENCE}
    spoken = sorted(words) if keywords is None else sorted(set(keywords))
    if labels is None or words.isdisjoint(spoken):
        refuse_missing(spoken, clips)
    if not spoken:
        raise UsageError(f"the recordings in {language} hold no word to spot; record some words")
    clips, warnings = assign_splits(clips, known=known)
    measured = labels is not None
    if labels is None:
        labels = (*spoken, *(() if closed else (UNKNOWN, SILENCE)))
    if len(labels) < 2 and not measured:
        raise UsageError("one keyword alone cannot be trained --closed; leave --closed out")
    number = {label: index for index, label in enumerate(labels)}
    strangers = [] if closed else _strangers(clips, pool, set(spoken), known or {})
    splits: dict[Split, tuple[Example, ...]] = {}
    for split in SPLITS:
        rng = random.Random(f"{seed} {split}")
        spotted_clips = [clip for clip in clips if clip.split == split and clip.word in spoken]
        if per_word and split == "train":
            spotted_clips = thin(spotted_clips, per_word, rng)
        splits[split] = tuple(Example(clip, number[clip.word]) for clip in spotted_clips)
        if not closed:
            quiet = [clip for clip in clips if (clip.split, clip.word) == (split, SILENCE)]
            count = max(1, round(SHARE * len(spotted_clips))) if spotted_clips else 0
            most = DIFFERENT if split == "train" and not measured else count
            drawn = _draw(strangers, split, most, rng)
            splits[split] += _open(drawn, quiet, count, number, rng)
    if not (splits["train"] or measured):
        raise UsageError("no clip is left to train on; give recordings of more people")
    if not closed and not any(clip.split == "train" for some in strangers for clip in some):
        warnings = [*warnings, "no other words to learn 'unknown' from: expect false alarms"]
    heard = [*clips, *(example.clip for example in splits["train"] if example.clip)]
    licences = tuple(sorted({clip.licence or NOT_STATED for clip in heard} - {NOT_STATED}))
    if licences and any(clip.licence is None for clip in heard):
        licences = (*licences, NOT_STATED)
    at_most = {}
    if not closed and not measured:
        said = sum(example.label < len(spoken) for example in splits["train"])
        at_most = {number[UNKNOWN]: max(1, round(LEARNT * said))}
    return Task(language, tuple(labels), splits, tuple(warnings), licences, at_most)


def _one_language(clips: Sequence[Clip]) -> str:
    if not clips:
        raise UsageError("no recordings were selected; check --data and --filter")
    return only_language({clip.language for clip in clips})


def only_language(spoken: Iterable[str]) -> str:
    """The language that is left where there must be one alone.

    Raises:
        UsageError: there are several.

    """
    languages = sorted(spoken)
    if len(languages) > 1:
        raise UsageError(
            f"the recordings are of several languages ({', '.join(languages)}); "
            f"select one, for example --filter language={languages[0]}"
        )
    return languages[0]


def _open(
    drawn: Sequence[Clip],
    quiet: Sequence[Clip],
    count: int,
    number: Mapping[str, int],
    rng: random.Random,
) -> tuple[Example, ...]:
    """The unknown words drawn, and so many of silence; recorded silence comes first."""
    recorded = rng.sample(quiet, min(count, len(quiet)))
    return (
        *(Example(clip, number[UNKNOWN]) for clip in drawn),
        *(Example(clip, number[SILENCE]) for clip in recorded),
        *(Example(None, number[SILENCE]),) * (count - len(recorded)),
    )


def refuse_missing(words: Iterable[str], clips: Sequence[Clip]) -> None:
    """Raise a UsageError that names the words of which there is no recording."""
    there = {clip.word for clip in clips} - {UNKNOWN, SILENCE}
    if missing := [word for word in words if word not in there]:
        raise UsageError(
            f"no recordings of {', '.join(missing)} in {clips[0].language}; "
            f"there are {', '.join(sorted(there)[:12])}"
        )


def _strangers(
    clips: Sequence[Clip], pool: Iterable[Clip], spoken: set[str], known: Mapping[str, Split]
) -> tuple[list[Clip], list[Clip]]:
    """Clips of words that are no keyword, each in a split: the language's own, and the pool's."""
    own = [clip for clip in clips if clip.word not in {*spoken, SILENCE}]
    folded = {word.casefold() for word in (*spoken, SILENCE)}
    others = (clip for clip in pool if clip.word.casefold() not in folded)
    return own, split_pool(others, clips, known)


def _draw(
    strangers: Iterable[Sequence[Clip]], split: Split, most: int, rng: random.Random
) -> list[Clip]:
    """At most so many of a split, of each group what those before it leave room for."""
    found: list[Clip] = []
    for some in strangers:
        here = [clip for clip in some if clip.split == split]
        found += rng.sample(here, min(most - len(found), len(here)))
    return found


def thin(clips: Sequence[Clip], per_word: int, rng: random.Random) -> list[Clip]:
    """At most so many of each word, drawn."""
    shuffled = rng.sample(clips, len(clips))
    seen: Counter[str] = Counter()
    kept = []
    for clip in shuffled:
        seen[clip.word] += 1
        if seen[clip.word] <= per_word:
            kept.append(clip)
    return kept


def with_language(clips: Iterable[Clip], language: str) -> list[Clip]:
    """The same clips, said to be in ``language``."""
    return [replace(clip, language=language) for clip in clips]
