"""Which recordings a stream is made of: one half to choose thresholds with, one to report on.

No stretch of noise is in both halves, and no person where people are known; none of either was
trained on, unless nobody else says the words, and then a sentence says so. Where it is not known
who speaks, no file is in both.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kws.config import Where
from kws.errors import UsageError
from kws.names import spotted

from .clips import HALVES, Clip, Half, Split
from .corpus import read_corpus, read_others
from .manifest import Filters
from .noise import find_noise
from .splits import LEARNT, assign_splits, keep_for_measuring
from .task import Task, measuring_task, refuse_missing, thin, unknown_clips

SplitBy = Literal["people", "files"]


@dataclass(frozen=True)
class Material:
    """The recordings of one half.

    ``split_by`` says what of the keywords is in one split alone: people, or only files, so that
    the same people may have been trained on and be in both halves.
    """

    half: Half
    language: str
    keywords: tuple[Clip, ...]  # of the words that are to be heard
    others: tuple[Clip, ...]  # of words that are not, in this language and in others
    noise: tuple[Path, ...]  # a half has its own stretch of each
    split_by: SplitBy = "files"
    moved: tuple[str, ...] = ()  # sentences about people who stay where training had them
    learnt: int = 0  # people who say keywords here, though training heard them

    @property
    def synthetic(self) -> int:
        """How many of the keywords' recordings are of synthetic voices."""
        return sum(clip.is_synthetic for clip in self.keywords)

    @property
    def doubts(self) -> list[str]:
        """What the halves cannot promise."""
        found = [*self.moved]
        if self.learnt and self.split_by == "people":
            were = "was" if self.learnt == 1 else "were"
            found.append(
                f"{self.learnt} of the people who say the keywords {were} learnt from: others may "
                "be missed more often"
            )
        if self.synthetic:
            some = (
                "" if self.synthetic == len(self.keywords) else f"{self.synthetic} recordings of "
            )
            found.append(f"synthetic voices say {some}the keywords: people cause more misses")
        voiced = sum(clip.is_synthetic for clip in self.others)
        if voiced == len(self.others) > 0:
            found.append(
                "only synthetic voices say the other words: people cause more false accepts; "
                "give recordings of people with --others"
            )
        elif voiced:
            found.append(
                f"synthetic voices say {voiced:,} of {len(self.others):,} recordings of the other "
                "words, with fewer false accepts than people"
            )
        if self.split_by == "files":
            found.append(
                "the keywords' speakers are unknown or too few: recordings are split by files "
                "only, and the same people may be in training, validation and test"
            )
        nameless = sum(clip.speaker is None for clip in self.others)
        if nameless:
            found.append(
                f"{nameless} of {len(self.others)} recordings of other words do not say who "
                "speaks: they are split by files only"
            )
        return found


def read_material(
    path: Path,
    labels: Sequence[str],
    *,
    filters: Filters | None = None,
    language: str | None = None,
    speaker_pattern: str | None = None,
    per_word: int | None = None,
    known: Mapping[str, Where] | None = None,
    others: Path | None = None,
    halves: Sequence[Half] = HALVES,
) -> dict[Half, Material]:
    """Choose from a corpus what validation people and test people say.

    The halves are the splits that training keeps apart: those of the corpus, or those that
    follow from people's names, or where people are unknown from the names of files.

    Args:
        path: as for :func:`read_corpus`.
        labels: of the network; they say what is a keyword.
        filters: select the keywords' recordings; other words are taken from all of the corpus.
        language: as for :func:`read_corpus`.
        speaker_pattern: likewise.
        per_word: at most so many recordings of each keyword in a half.
        known: people whose split was decided when the network was trained.
        others: another corpus, of other words, and its noise.
        halves: which of the two are wanted.

    Raises:
        UsageError: a keyword has no recording, or a wanted half has none of any.

    """
    recorded = read_corpus(path, filters, language, speaker_pattern)
    clips, moved, people = keep_for_measuring(recorded, known or {}, spotted(labels))
    task = measuring_task(clips, labels, closed=True)
    refuse_missing(task.keywords, clips)
    beside = read_others(clips, path, filters, language, speaker_pattern, others)
    unsaid = _unsaid(clips, beside, task.keywords, people)
    noise = find_noise(path, others)
    learnt = {name for name, where in (known or {}).items() if where in LEARNT}
    found: dict[Half, Material] = {}
    for half in halves:
        said = [example.clip for example in task.splits[half] if example.clip]
        if not said:
            raise UsageError(
                f"there are no {half} recordings of {task.language}; "
                "give recordings of at least three people, or a manifest that splits them"
            )
        found[half] = Material(
            half,
            task.language,
            tuple(_thinned(said, per_word) if per_word else said),
            tuple(clip for clip in unsaid if clip.split == half),
            noise,
            split_by(task),
            tuple(moved),
            len(learnt & {clip.speaker for clip in said}),
        )
    return found


def split_by(task: Task) -> SplitBy:
    """People, where every recording of a keyword names one and no name is in two splits."""
    names = [
        {example.clip.speaker for example in examples if example.clip}
        for examples in task.splits.values()
    ]
    everybody = set().union(*names)
    alone = len(everybody) == sum(map(len, names))
    return "people" if alone and None not in everybody else "files"


def _unsaid(
    clips: Sequence[Clip],
    beside: Iterable[Clip],
    keywords: Sequence[str],
    known: Mapping[str, Split],
) -> list[Clip]:
    """Words that are no keyword, each in the split in which training has it."""
    decided = assign_splits(clips, first=keywords)[0]
    own, pool = unknown_clips(decided, beside, {*keywords}, known)
    return own + pool


def _thinned(clips: Sequence[Clip], per_word: int) -> list[Clip]:
    """So many of each word, word by word."""
    return sorted(thin(clips, per_word, random.Random(0)), key=lambda clip: clip.word)
