"""From what the command line says about data to what training and evaluation read."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_data.augment import AugmentConfig
from audio_data.batches import CachedBatches, TrainingBatches, Views, fixed_features
from audio_data.cache import load_views
from audio_data.clips import Clip, Split
from audio_data.corpus import find_manifest, read_corpus, read_others
from audio_data.decode import FULL_SCALE, lasts_longer
from audio_data.files import and_more
from audio_data.manifest import by_column, few
from audio_data.material import SplitBy, split_by
from audio_data.noise import find_noise, load_noise
from audio_data.place import speech_span
from audio_data.splits import LEARNT, where_heard
from audio_data.takes import frame_powers, loudness
from audio_data.task import Task, make_task, measuring_task
from kws.adapter import AdapterConfig
from kws.base import BaseConfig
from kws.config import FeatureConfig, Where
from kws.errors import UsageError
from kws.names import SILENCE, is_closed_set
from models.registry import context

from ..progress import counting, note

T = TypeVar("T")
Cache = dict[object, Any]  # what was read and made, by all that it depends on
Said = tuple[Clip, NDArray[np.int16]]  # a recording of a keyword, and its samples [T]

LONG = 5.0  # seconds; no word lasts so long, and pauses around it hardly do
EMPTY = -70.0  # dBFS of the loudest 50 ms; people who speak softly are louder
CUT = 1_600  # samples that a keyword may be longer than a view before it is told
MARGIN = 2_800  # samples kept on either side of a view: the farthest shift at the highest speed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which recordings, and what they are used for; the options that commands share."""

    data: Path
    others: Path | None = None  # recordings of other words, unknown ones
    noisy: Path | None = None  # what else has noise beside it
    filters: tuple[tuple[str, str], ...] = ()
    keywords: tuple[str, ...] | None = None
    language: str | None = None
    speaker_pattern: str | None = None
    licence: str | None = None  # of recordings that do not state theirs
    closed: bool = False
    per_word: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise a UsageError where an option would be ignored."""
        if self.closed and self.others:
            raise UsageError("--others are unknown words, which --closed does without; choose one")

    def clips(self) -> list[Clip]:
        """What the filters select."""
        found = read_corpus(self.data, self.grouped, self.language, self.speaker_pattern)
        if not self.licence:
            return found
        # A column states what is so; the form of a public corpus is no proof that it is that one.
        stated = find_manifest(self.data) is not None
        return [replace(clip, licence=(stated and clip.licence) or self.licence) for clip in found]

    def pool(self, clips: Sequence[Clip]) -> list[Clip]:
        """What is recorded beside these."""
        return read_others(
            clips, self.data, self.grouped, self.language, self.speaker_pattern, self.others
        )

    @property
    def grouped(self) -> dict[str, list[str]]:
        """Filters by column."""
        return by_column(self.filters)

    @property
    def noise(self) -> tuple[Path, ...]:
        """What lies beside them."""
        return find_noise(self.data, self.others, self.noisy)


def parse_filters(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Filters as grids write them.

    >>> parse_filters(["corpus=a=b"])
    (('corpus', 'a=b'),)
    """
    return tuple((column, value) for column, _, value in (text.partition("=") for text in texts))


@dataclass(frozen=True)
class Recordings:
    """A task and its decoded sound, read when asked for.

    Attributes:
        task: labels, and the examples of each split.
        features: the front end of the base.
        noise: ``[M]``, for training.
        held_noise: ``[M]``, for validation and test.
        context: frames that the network hears before a view.
        named: people whose splits are to be remembered.
        known: people whose splits were decided before.
        heard: people on whom the base, or a language before, was trained.
        cache: of what was read and made, for other runs on the same; None caches nothing.

    """

    task: Task
    features: FeatureConfig
    noise: Tensor
    held_noise: Tensor
    context: int
    named: frozenset[str] = frozenset()
    known: Mapping[str, Where] = field(default_factory=dict)
    heard: frozenset[str] = frozenset()
    cache: Cache | None = None

    @classmethod
    def to_learn(
        cls,
        selection: Selection,
        base: BaseConfig,
        known: Mapping[str, Where] | None = None,
        cache: Cache | None = None,
    ) -> "Recordings":
        """Make a task to learn, with the labels that the selection gives.

        Of all sound only the noise is decoded yet.

        Args:
            selection: which recordings.
            base: whose front end and context are used, and whose people keep their splits.
            known: further people who keep the splits they had, such as those of a language before.
            cache: shared with other runs on the same recordings.

        Raises:
            UsageError: the selection makes no task.
            KwsError: the corpus cannot be read.

        """
        make = partial(make_task, keywords=selection.keywords, per_word=selection.per_word)
        return cls._made(make, selection, base, known or {}, cache, closed=selection.closed)

    @classmethod
    def to_measure(
        cls,
        selection: Selection,
        base: BaseConfig,
        network: AdapterConfig | BaseConfig,
        cache: Cache | None = None,
    ) -> "Recordings":
        """Make a task to measure a network by, some of whose words or people may be filtered out.

        Its labels are the network's, whose people keep their splits. All else is as of
        :meth:`to_learn`.
        """
        make = partial(measuring_task, labels=network.labels)
        closed = selection.closed or is_closed_set(network.labels)
        return cls._made(make, selection, base, network.people, cache, closed=closed)

    @classmethod
    def _made(
        cls,
        make: Callable[..., Task],
        selection: Selection,
        base: BaseConfig,
        known: Mapping[str, Where],
        cache: Cache | None,
        *,
        closed: bool,
    ) -> "Recordings":
        before = [*base.people.items(), *known.items()]
        heard = frozenset(name for name, where in before if where in LEARNT)
        known = dict(before)
        clips = selection.clips()
        pool = [] if closed else selection.pool(clips)
        task = make(clips, pool=pool, known=known, closed=closed, seed=selection.seed)
        noise, held = map(torch.from_numpy, load_noise(selection.noise))
        named = _named(clips, pool)
        return cls(task, base.features, noise, held, context(base), named, known, heard, cache)

    def beside(self, others: Iterable[Selection], base: BaseConfig) -> list["Recordings"]:
        """Languages that are learnt at the same time: people stay where these here have them."""
        found = [self]
        for other in others:
            found.append(Recordings.to_learn(other, base, found[-1].people))
        return found[1:]

    def views(self, split: Split) -> Views:
        """The placed recordings of one split."""
        return self._once(split, split, lambda: self._read(split))

    def _once(self, key: object, split: Split, make: Callable[[], T]) -> T:
        """What ``make`` gives, or what it gave before for the same examples in the same form.

        Of one task another run may have people in other splits, and another base another front end
        or context.
        """
        if self.cache is None:
            return make()
        key = key, self.features, self.context, self.task.splits[split]
        if key not in self.cache:
            self.cache[key] = make()
        found: T = self.cache[key]
        return found

    def _read(self, split: Split) -> Views:
        examples = self.task.splits[split]
        paths = [example.clip.path for example in examples if example.clip]
        if not paths:
            others = " and ".join(name for name, found in self.task.splits.items() if found)
            raise UsageError(
                f"there are no {split} recordings of {self.task.language}, only {others}; select "
                "others, or give recordings of at least three people or a manifest that splits them"
            )
        _tell_long(
            e.clip.path
            for e in examples
            if e.clip and e.clip.word != SILENCE and not e.clip.is_synthetic
        )
        with counting(f"reading {split} recordings") as progress:
            waves = load_views(paths, length=self.features.view, margin=MARGIN, progress=progress)
        labels = [example.label for example in examples]
        keywords = len(self.task.keywords)
        # What has no path has no wave either, and comes last.
        heard = zip(examples, waves, strict=False)
        said = [(e.clip, wave) for e, wave in heard if e.clip and e.label < keywords]
        _tell_silent(said, split)
        if split == "train":
            _tell_cut(said, self.features.view)
        return Views.build(waves, labels, len(labels) - len(paths), MARGIN)

    @property
    def learnt(self) -> list[str]:
        """Files and classes of what is trained on, however the path of the corpus is spelt."""
        return [
            f"{e.label} {os.path.realpath(e.clip.path) if e.clip else SILENCE}"
            for e in self.task.splits["train"]
        ]

    def said(self, split: Split) -> list[Clip]:
        """The recordings of keywords in a split."""
        keywords = len(self.task.keywords)
        return [e.clip for e in self.task.splits[split] if e.clip and e.label < keywords]

    def synthetic(self, split: Split) -> int:
        """How many of these are of synthetic voices."""
        return sum(clip.is_synthetic for clip in self.said(split))

    @property
    def people(self) -> dict[str, Where]:
        """The splits of people who were heard, now or before, so that they stay in them."""
        clips = (e.clip for examples in self.task.splits.values() for e in examples if e.clip)
        return where_heard((clip for clip in clips if clip.speaker in self.named), self.known)

    @property
    def split_by(self) -> SplitBy:
        """Whether people are in one split alone, or only files."""
        return split_by(self.task)

    def origin(self, split: Split) -> dict[str, Any]:
        """What a card tells of the recordings beside what they came to."""
        found = {"made": self.synthetic(split), "split_by": self.split_by}
        heard = {clip.speaker for clip in self.said(split)} & self.heard
        return found | ({"heard_before": len(heard)} if heard and split != "train" else {})

    @property
    def amount(self) -> dict[str, int]:
        """How many recordings of keywords are learnt from, by how many people, if all are named.

        Synthetic voices count as people, but how many of the recordings are theirs stands beside.
        """
        clips = self.said("train")
        people = {clip.speaker for clip in clips}
        named = 0 if None in people else len(people)
        return {"clips": len(clips), "people": named, "made": self.synthetic("train")}

    def training(
        self, augment: AugmentConfig, *, batch: int, seed: int, device: str
    ) -> TrainingBatches | CachedBatches:
        """Augmented epochs of the training split."""
        made = TrainingBatches(
            self.views("train"),
            self.noise,
            self.features,
            augment,
            batch=batch,
            seed=seed,
            device=device,
            context=self.context,
            at_most=self.task.at_most,
        )
        if self.cache is None:
            return made
        return self._once((augment, batch, seed, device), "train", lambda: CachedBatches(made))

    def fixed(self, split: Split) -> tuple[Tensor, Tensor]:
        """Features ``[N, F, T]`` and labels ``[N]`` of a split as it is, with held-out noise."""
        return self._once(
            "fixed",
            split,
            lambda: fixed_features(
                self.views(split), self.held_noise, self.features, context=self.context
            ),
        )

    def speakers(self, split: Split) -> list[str | None]:
        """Who is heard in each example of a split."""
        return [e.clip.speaker if e.clip else None for e in self.task.splits[split]]


def _tell_long(paths: Iterable[Path]) -> None:
    """Say which recordings of one word surely hold more, of which only a second is heard."""
    if long := [path for path in paths if lasts_longer(path, LONG)]:
        note(
            f"{long[0]}{and_more(long)} lasts more than {LONG:g} s: of a word's recording only the "
            "loudest second is used; split it if it holds several"
        )


def _tell_silent(said: Iterable[Said], split: Split) -> None:
    """Say which recordings of keywords hold hardly any sound."""
    silent = [clip.path for clip, wave in said if loudness(frame_powers(_sound(wave))) < EMPTY]
    if silent:
        what = ", or the keyword is learnt as silence" if split == "train" else ""
        note(
            f"{silent[0]}{and_more(silent)} is almost silent: a microphone may have been off; "
            f"delete such recordings of keywords{what}"
        )


def _tell_cut(said: Iterable[Said], view: int) -> None:
    """Say which keywords last longer than a view in most recordings."""
    spans: dict[str, list[int]] = defaultdict(list)
    for clip, wave in said:
        begin, end = speech_span(_sound(wave))
        spans[clip.word].append(end - begin)
    if cut := [word for word, some in spans.items() if median(some) > view + CUT]:
        note(
            f"{few(cut)}: most recordings last more than a second, of which only the loudest is "
            "heard: the rest may be left out when it is said; choose something shorter"
        )


def _sound(wave: NDArray[np.int16]) -> NDArray[np.float32]:
    return wave.astype(np.float32) / np.float32(FULL_SCALE)


def _named(clips: Sequence[Clip], pool: Sequence[Clip]) -> frozenset[str]:
    """All who speak the language, and of others those whose split we chose; no synthetic voices.

    A corpus that splits its people itself may call one of them as this one calls another.
    """
    mixed = any(c.is_synthetic for c in (*clips, *pool))  # whose manifest says our splits
    heard = [*clips, *(clip for clip in pool if mixed or clip.split is None)]
    return frozenset(c.speaker for c in heard if c.speaker and not c.is_synthetic)
