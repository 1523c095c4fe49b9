"""Speech for words that exist as text: synthetic voices, and recordings of people if there are any.

People's recordings train beside synthetic voices; a word that people say in validation or test is
said there by them alone, since an accuracy on synthetic voices says little about people.
"""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from kws.config import Where
from kws.errors import UsageError
from kws.names import UNKNOWN, composed, folded

from .clips import Clip, Split
from .espeak import same_language, speak
from .manifest import MANIFEST, read_manifest, write_manifest
from .splits import assign_splits, people_in, single_splits
from .synthesis import DEFAULT_WORDS, make_corpus, sounds_of, write_noises

KEYWORDS: Final = "keywords"  # folder of these
SPEAKERS: Final = 40
TAKES: Final = 4  # of a keyword by one of them; of other words one


def make_mixture(
    out: Path,
    words: Sequence[str],
    language: str,
    recorded: Sequence[Clip] = (),
    *,
    known: Mapping[str, Where] | None = None,
    seed: int = 0,
    respelt: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, list[str]]:
    """Speak the words, and other words beside them, and put people's recordings among them.

    What is there already is not made again. Other words are those of the demonstration vocabulary,
    in their own languages; all are *unknown* here.

    Args:
        out: folder for the speech, the noise and the manifest.
        words: to be spotted.
        language: BCP 47 or ISO 639-3, of the words.
        recorded: by people, of these words or others, with or without splits. Where they are too
            few for splits of their own, they are written down without their names.
        known: people whose split was decided when a network was trained.
        seed: the same seed gives the same voices.
        respelt: word -> what is said for it, where its own letters are said wrongly.
        progress: called with clips done and clips in all, of the keywords and then of the rest.

    Returns:
        The path of a manifest that holds all of it, in one language, and sentences about what its
        splits cannot promise.

    Raises:
        UsageError: the language is not known, a word comes twice, or two are spoken alike.
        KwsError: eSpeak NG has no sound for a word.

    """
    if not words:
        raise UsageError("no words are given; give --words, as --words ja,nein")
    if (out / MANIFEST).exists() and not (out / KEYWORDS).exists():
        raise UsageError(f"{out} already holds another corpus; name another folder")
    sounds = sounds_of(words, language, respelt or {})
    make = partial(make_corpus, speakers=SPEAKERS, seed=seed, progress=progress)
    said = make(out / KEYWORDS, {language: words}, takes=TAKES, respelt=respelt)
    rest = make(out / "others", _others(words, language, sounds), takes=1)
    write_noises(out / "noise", seed=seed)
    given = [  # synthetic voices among them may be called as ours are
        replace(c, speaker=f"given-{c.speaker}") if c.is_synthetic and c.speaker else c
        for c in recorded
    ]
    people, warnings = _people(as_spelt(given, words), words, single_splits(known or {}))
    spoken = {(clip.word, clip.split) for clip in people if clip.split != "train"}
    made = [clip for clip in read_manifest(said) if (clip.word, clip.split) not in spoken]
    strangers = [replace(clip, word=UNKNOWN, language=language) for clip in read_manifest(rest)]
    heard = [replace(clip, language=language) for clip in people]
    write_manifest(out / MANIFEST, [*made, *strangers, *heard])
    return out / MANIFEST, warnings + _nearly(people, words)


def _nearly(people: Iterable[Clip], words: Sequence[str]) -> list[str]:
    """Sentences about what is recorded under a keyword's name without its accents."""
    plain = {_plain(word): word for word in words}
    names = sorted({composed(clip.word) for clip in people} - {composed(word) for word in words})
    return [
        f"recordings of {name!r} are other words here; if they say {plain[_plain(name)]!r}, name "
        "their folder that"
        for name in names
        if _plain(name) in plain
    ]


def _plain(word: str) -> str:
    """Without accents and capitals.

    >>> _plain("Sí"), _plain("für")
    ('si', 'fur')
    """
    letters = unicodedata.normalize("NFKD", word)
    # Of other scripts marks are vowels.
    return "".join(c for c in letters if not "\u0300" <= c <= "\u036f").casefold()


def as_spelt(clips: Iterable[Clip], words: Collection[str]) -> list[Clip]:
    """Recordings of words that differ in capitals or apostrophes alone from these, called as they.

    >>> said = Clip(path=Path("a.wav"), word="Ja", language="de")
    >>> [as_spelt([said], some)[0].word for some in (["ja"], ["JA", "ja"], ["nein"])]
    ['ja', 'Ja', 'Ja']
    """
    alike: dict[str, list[str]] = {}
    for word in words:
        alike.setdefault(folded(word), []).append(word)
    only = {key: some[0] for key, some in alike.items() if len(some) == 1}
    return [replace(clip, word=only.get(folded(clip.word), clip.word)) for clip in clips]


def _others(words: Sequence[str], language: str, sounds: Collection[bytes]) -> dict[str, list[str]]:
    """The demonstration vocabulary without what is spelt, or in this language sounds, as a word."""
    keywords = {folded(word) for word in words}
    others = {}
    for tongue, some in DEFAULT_WORDS.items():
        left = [word for word in some if folded(word) not in keywords]
        if same_language(tongue, language):
            left = [word for word in left if speak(word, language).tobytes() not in sounds]
        if left:
            others[tongue] = left
    return others


def _people(
    recorded: Sequence[Clip], words: Sequence[str], known: Mapping[str, Split]
) -> tuple[list[Clip], list[str]]:
    """Give recordings their splits; who would be in several is left without a name.

    Returns:
        The recordings, and a sentence about those without a name, if there are any.

    """
    if not recorded:
        return [], []
    # Its warnings are dropped: they are of shortages, which synthetic voices fill.
    split, _ = assign_splits(recorded, known=known, first=words)
    apart = people_in(split)
    named = [clip if clip.speaker in apart else replace(clip, speaker=None) for clip in split]
    if nameless := sum(clip.speaker is None for clip in named):
        return named, [
            f"the speakers of {nameless} recordings by people are unknown or too few: splits may "
            "share people, so accuracy may be optimistic"
        ]
    return named, []
