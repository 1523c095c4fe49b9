"""From clips to a classification task: labels, unknown words, silence."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kws.config import Where
from kws.errors import UsageError
from kws.names import (
    NO_KEYWORDS,
    SILENCE,
    UNKNOWN,
    check_names,
    folded,
    is_closed_set,
    spotted,
)

from .clips import SPLITS, UNTOLD, Clip, Split
from .manifest import few
from .splits import assign_splits, keep_for_measuring, say_in_every_split, single_splits, split_pool

# Per keyword clip: silence, and in validation and test unknown words too (as in Speech Commands).
SHARE = 0.1
UNKNOWN_SHARE = 0.3  # unknown words in an epoch of training, per keyword clip
MOST_UNKNOWN = 4_000  # unknown clips drawn for training, of which each epoch takes its share
NAMED = 12  # words that a sentence names
NOT_STATED = "not stated for some"  # licence


@dataclass(frozen=True)
class Example:
    """A clip and its class; silence has no clip, its sound is drawn from noise."""

    clip: Clip | None
    label: int


@dataclass(frozen=True)
class Task:
    """Labels, and the labelled examples of each split, to learn or to measure."""

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
        return is_closed_set(self.labels)


def make_task(
    clips: Sequence[Clip],
    *,
    keywords: Collection[str] | None = None,
    pool: Iterable[Clip] = (),
    known: Mapping[str, Where] | None = None,
    closed: bool = False,
    per_word: int | None = None,
    seed: int = 0,
) -> Task:
    """Choose what is a keyword, what is unknown, and who is heard when, to learn it.

    Args:
        clips: recordings of one language; every word is a keyword unless ``keywords`` says
            otherwise, and then the rest of them are unknown words. What is said to be unknown or
            silence is that.
        keywords: the words to spot.
        pool: other recordings; where this language has too few words that are no keywords, they
            are the other unknown words.
        known: people whose split was decided when a network was trained. They stay in it, unless
            the recordings say otherwise, or too few others say these words; a sentence says so
            where people are measured who were learnt from.
        closed: keywords only, without unknown and silence.
        per_word: at most so many training clips of each keyword.
        seed: which unknown clips, and which of ``per_word``, are drawn.

    Raises:
        UsageError: several languages, a keyword without a recording, no keyword, or one
            alone where closed, nothing to train on.
        KwsError: a word holds characters that no word has.

    """
    language = _one_language(clips)
    spoken = sorted(_words(clips) if keywords is None else set(keywords))
    refuse_missing(spoken, clips)
    if not spoken:
        raise UsageError(f"the recordings in {language} hold no word to spot; record some words")
    labels = (*spoken, *(() if closed else NO_KEYWORDS))
    check_names(language, labels)
    if len(labels) < 2:
        raise UsageError("--closed needs more than one keyword; leave it out")
    drawing, warnings = _keeping(clips, labels, pool, single_splits(known or {}), seed)
    learnt = drawing.examples("train", per_word, MOST_UNKNOWN)
    if not any(example.label < len(spoken) for example in learnt):
        raise UsageError("no clip is left to train on; give recordings of more people")
    if not closed and not any(clip.split == "train" for some in drawing.strangers for clip in some):
        warnings.append(
            "no other words to learn 'unknown' from: expect false accepts, as nearly any speech "
            "will be taken for a keyword; give other words with --others FOLDER"
        )
    if language == UNTOLD:
        warnings.append(
            f"the recordings state no language, so it is called {UNTOLD}; give --language, such "
            "as de"
        )
    counts = Counter(map(folded, spoken))
    if alike := [word for word in spoken if counts[folded(word)] > 1]:
        warnings.append(
            f"these keywords differ only in capitals or apostrophes: {', '.join(alike)}"
        )
    said = sum(example.label < len(spoken) for example in learnt)
    at_most = {} if closed else {drawing.number[UNKNOWN]: max(1, round(UNKNOWN_SHARE * said))}
    splits = {s: learnt if s == "train" else drawing.examples(s) for s in SPLITS}
    return Task(language, labels, splits, tuple(warnings), drawing.licences(learnt), at_most)


def measuring_task(
    clips: Sequence[Clip],
    labels: Sequence[str],
    *,
    pool: Iterable[Clip] = (),
    known: Mapping[str, Where] | None = None,
    closed: bool = False,
    seed: int = 0,
) -> Task:
    """What a network of these labels, in this order, can be measured by; nothing is trained.

    There may be recordings of some of its keywords only, in whichever splits, and none to learn
    unknown words from. Who is ``known`` stays where training had them, whatever the recordings
    say. Arguments are those of :func:`make_task`.

    Raises:
        UsageError: several languages; no recording of any keyword, or no keyword.

    """
    language, spoken = _one_language(clips), spotted(labels)
    clips, moved, people = keep_for_measuring(clips, known or {}, spoken)
    if _words(clips).isdisjoint(spoken):
        refuse_missing(spoken, clips, "; is it of the right language, or adapter?")
    if not spoken:
        raise UsageError(f"the recordings in {language} hold no word to spot; record some words")
    drawing = _Drawing.of(clips, labels, pool, people, seed, closed=closed)
    splits = {split: drawing.examples(split) for split in SPLITS}
    licences = drawing.licences(splits["train"])
    return Task(language, tuple(labels), splits, tuple(moved), licences)


def _keeping(
    clips: Sequence[Clip],
    labels: Sequence[str],
    pool: Iterable[Clip],
    known: Mapping[str, Split],
    seed: int,
) -> tuple["_Drawing", list[str]]:
    """What is drawn from where those who are known stay in their splits, if others fill the rest.

    And sentences about what the splits cannot promise.
    """
    pool = list(pool)
    drawing = _Drawing.of(clips, labels, pool, known, seed)
    stay = {clip.speaker for clip in clips if clip.speaker in known and not clip.split}
    if stay and not drawing.filled:
        others = {name: split for name, split in known.items() if name not in stay}
        drawing = _Drawing.of(clips, labels, pool, others, seed)
    learnt = {name for name in drawing.measured if known.get(name or "") == "train"}
    given = {clip.speaker for clip in clips if clip.split}
    warnings = [
        *_heard_before(learnt & given, "the recordings' own split measures them"),
        *_heard_before(learnt - given, "too few others say these words"),
    ]
    return drawing, [*warnings, *drawing.warnings]


def _heard_before(measured: Collection[str | None], why: str) -> list[str]:
    """A sentence about people who are measured and were learnt from, if there are any."""
    if not measured:
        return []
    who = "1 person was" if len(measured) == 1 else f"{len(measured)} people were"
    return [
        f"{who} in the training of the base or of an earlier language, and {why}: accuracy may be "
        "optimistic"
    ]


@dataclass(frozen=True)
class _Drawing:
    """What examples are drawn from."""

    clips: Sequence[Clip]  # each in a split
    number: Mapping[str, int]  # of each label
    strangers: Sequence[Sequence[Clip]]  # of words that are no keyword, in the order of their use
    warnings: tuple[str, ...]
    seed: int
    closed: bool

    @classmethod
    def of(
        cls,
        clips: Sequence[Clip],
        labels: Sequence[str],
        pool: Iterable[Clip],
        known: Mapping[str, Split],
        seed: int,
        *,
        closed: bool = False,
    ) -> "_Drawing":
        """Put everybody into a split; the task is closed where the labels are."""
        closed = closed or is_closed_set(labels)
        split, warnings = assign_splits(clips, known=known, first=spotted(labels))
        strangers = () if closed else unknown_clips(split, pool, {*spotted(labels)}, known)
        number = {label: index for index, label in enumerate(labels)}
        return cls(split, number, strangers, tuple(warnings), seed, closed)

    @property
    def filled(self) -> bool:
        """Whether somebody says a keyword in every split."""
        return say_in_every_split(self.clips, spotted(self.number))

    @property
    def measured(self) -> set[str | None]:
        """Who says a keyword, or where the task is open any word, to validate or to test."""
        said = self.clips
        if self.closed:
            said = [clip for clip in said if clip.word in self.number]
        return {clip.speaker for clip in said if clip.split != "train"}

    def examples(
        self, split: Split, per_word: int | None = None, most: int | None = None
    ) -> tuple[Example, ...]:
        """Of a split the keywords' clips, ``most`` unknown words, and silence.

        Of unknown words there are as many as of silence where ``most`` is None.
        """
        rng = random.Random(f"{self.seed} {split}")
        here = [clip for clip in self.clips if clip.split == split]
        keywords = set(spotted(self.number))
        said = [clip for clip in here if clip.word in keywords]
        if per_word:
            said = thin(said, per_word, rng)
        examples = tuple(Example(clip, self.number[clip.word]) for clip in said)
        if self.closed:
            return examples
        count = max(1, round(SHARE * len(said))) if said else 0
        unknown = _draw(self.strangers, split, count if most is None else most, rng)
        quiet = [clip for clip in here if clip.word == SILENCE]
        return examples + _unknown_and_silence(unknown, quiet, count, self.number, rng)

    def licences(self, learnt: Iterable[Example]) -> tuple[str, ...]:
        """Of all these clips, and of what is learnt from beside them."""
        heard = [*self.clips, *(example.clip for example in learnt if example.clip)]
        stated = tuple(sorted({clip.licence or NOT_STATED for clip in heard} - {NOT_STATED}))
        some = stated and any(clip.licence is None for clip in heard)
        return (*stated, NOT_STATED) if some else stated


def _words(clips: Iterable[Clip]) -> set[str]:
    """All that is said to be a word."""
    return {clip.word for clip in clips} - {*NO_KEYWORDS}


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
        told = [language for language in languages if language != UNTOLD]
        rest = "" if told == languages else ", or say with --language what the others are"
        raise UsageError(
            f"the recordings are of several languages ({', '.join(languages)}); "
            f"select one, for example --filter language={told[0]}{rest}"
        )
    return languages[0]


def _unknown_and_silence(
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


def refuse_missing(words: Iterable[str], clips: Sequence[Clip], hint: str = "") -> None:
    """Raise a UsageError that names the words of which there is no recording."""
    there = _words(clips)
    if missing := [word for word in words if word not in there]:
        language = clips[0].language
        where = "" if language == UNTOLD else f" in {language}"
        raise UsageError(
            f"no recordings of {few(missing, NAMED)}{where}; there are {few(there, NAMED)}{hint}"
        )


def unknown_clips(
    clips: Sequence[Clip], pool: Iterable[Clip], spoken: set[str], known: Mapping[str, Split]
) -> tuple[list[Clip], list[Clip]]:
    """Clips of words that are no keyword, each in a split: the language's own, and the pool's."""
    heard = {*spoken, SILENCE}
    own = [clip for clip in clips if not says(clip.word, heard)]
    others = (clip for clip in pool if not says(clip.word, heard))
    return own, split_pool(others, clips, known)


def says(word: str, keywords: Collection[str]) -> bool:
    """Whether a word, or one of several in a phrase, is spelt like a keyword.

    >>> says("Yes", ["yes", "no"]), says("oh no", ["yes", "no"]), says("note", ["yes", "no"])
    (True, True, False)
    """
    wanted = {folded(keyword) for keyword in keywords}
    return folded(word) in wanted or not wanted.isdisjoint(folded(word).split())


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
