"""Make a corpus of spoken words where no recordings are at hand.

Every clip is drawn from a generator seeded by the corpus's seed and the clip's own name, so a clip
does not depend on which others are made, or in which order, or after how many interruptions.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError
from kws.files import read_json, replacing, write_json

from .clips import SPLITS, SYNTHETIC, Clip, Split
from .encode import encode
from .espeak import accents, language_file, speak
from .files import SUFFIXES
from .manifest import MANIFEST, write_manifest
from .noise import background, generator

Wave = NDArray[np.float32]

SECONDS = 1.0  # shortest clip
PAUSE = 0.1  # seconds of silence before and after a word that fills its clip, at most
NOISE_SECONDS = 20.0
NOISES = ("white", "pink", "brown", "hum")
LONGEST_NAME: Final = 60  # letters of a word in the name of its folder
AUDIBLE = 0.01  # of full scale; what is quieter counts as silence
LOWEST, HIGHEST = (10, 15, 95), (94, 94, 214)  # pitch, its range and words a minute, of speakers

# A small vocabulary of commands for demonstrations: BCP 47 tag -> words.
DEFAULT_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("yes", "no", "stop", "go", "on", "off", "up", "down", "left", "right"),
    "de": ("ja", "nein", "stopp", "los", "an", "aus", "hoch", "runter", "links", "rechts"),
    "es": (
        "sí",
        "no",
        "alto",
        "vamos",
        "abre",
        "cierra",
        "arriba",
        "abajo",
        "izquierda",
        "derecha",
    ),
    "fr": (
        "oui",
        "non",
        "arrête",
        "avance",
        "ouvre",
        "ferme",
        "monte",
        "descends",
        "gauche",
        "droite",
    ),
    "cmn": ("是", "不是", "停", "走", "开", "关", "上面", "下面", "左边", "右边"),
    "ar": ("نعم", "لا", "توقف", "ابدأ", "افتح", "أغلق", "فوق", "تحت", "يسار", "يمين"),
    "hi": ("हाँ", "नहीं", "रुको", "चलो", "चालू", "बंद", "ऊपर", "नीचे", "बाएँ", "दाएँ"),
}

# Voice variants that differ plainly from one another, without near-copies that would put one
# person into two splits. Whispers are left out: they have no pitch to vary.
_WOMEN = "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda grandma shelby steph"
_MEN = "m1 m2 m3 m4 m5 m6 m7 m8 Alex adam boris croak david ed klatt4 max pablo quincy"


@dataclass(frozen=True)
class Speaker:
    """One synthetic person, the same in every language."""

    name: str
    split: Split
    variant: str
    pitch: int  # 0 to 99
    range: int  # 0 to 99
    rate: int  # words a minute
    accent: int = 0  # which of a language's, counted round


def make_corpus(
    out: Path,
    words: Mapping[str, Sequence[str]],
    *,
    speakers: int = 12,
    takes: int = 3,
    seed: int = 0,
    noise: float = 0.002,
    respelt: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Speak every word by every speaker into ``<language>/<word>/<speaker>_<take>.wav``.

    The manifest is written last, so a folder without one is unfinished; calling again with the
    same settings goes on with it and keeps the clips that are there. Background noises go to
    ``noise/``.

    Args:
        out: folder of the corpus; made where missing.
        words: language (BCP 47 or ISO 639-3) -> its words, in its own script.
        speakers: how many, at least 3; about 60/20/20 % of them train, validate and test, and
            no voice variant appears in two splits.
        takes: clips of one word by one speaker; they differ in rate, pitch, gain and placing.
        seed: the same seed gives the same files.
        noise: loudest level of white noise under a clip, RMS of full scale; each clip draws its
            own between 0 and this.
        respelt: word -> what is said for it, where its own letters are said wrongly.
        progress: called with clips done and clips in all.

    Returns:
        The path of ``manifest.csv``.

    Raises:
        UsageError: nothing to say, an unknown language, too few speakers, or a folder that holds
            another corpus.
        KwsError: eSpeak NG has no sound for a word.

    """
    _check(words, speakers, takes, seed, noise)
    if strange := {*(respelt or {})} - {word for said in words.values() for word in said}:
        raise UsageError(f"{sorted(strange)[0]!r} is respelt, but is none of the words")
    spelt = {word: word for said in words.values() for word in said} | dict(respelt or {})
    for language, said in words.items():  # before anything is written
        for text in (spelt[word] for word in said):
            _refuse_silent(text, language, speak(text, language))
    out = Path(out)
    recipe = {
        "words": {language: list(said) for language, said in words.items()},
        "settings": {"speakers": speakers, "takes": takes, "seed": seed, "noise": noise},
        **({"respelt": dict(respelt)} if respelt else {}),
    }
    _claim(out, recipe)
    write_noises(out / "noise", seed=seed)
    people = draw_speakers(speakers, seed)
    clips = []
    total = sum(map(len, words.values())) * speakers * takes
    for done, (language, word, person, take) in enumerate(_all_clips(words, people, takes), 1):
        name = f"{slug(language)}/{slug(word)}/{person.name}_{take}.wav"
        if not _is_written(out / name):
            rng = generator(seed, language, word, person.name, str(take))
            _write_wave(out / name, say(language, spelt[word], person, rng, noise=noise))
        clips.append(
            Clip(
                path=out / name,
                word=word,
                language=language,
                speaker=person.name,
                split=person.split,
                licence=SYNTHETIC,
            )
        )
        if progress:
            progress(done, total)
    write_manifest(out / MANIFEST, clips)
    return out / MANIFEST


def sounds_of(words: Sequence[str], language: str, respelt: Mapping[str, str]) -> dict[bytes, str]:
    """How eSpeak NG says each word.

    Raises:
        UsageError: it says two alike, so that nothing tells them apart.

    """
    said: dict[bytes, str] = {}
    for word in words:
        wave = speak(respelt.get(word, word), language)
        if (first := said.setdefault(wave.tobytes(), word)) != word and wave.any():
            raise UsageError(
                f"eSpeak NG says {first!r} and {word!r} alike in {language!r}; write them as they "
                "sound (--spell), leave one out, or check --language"
            )
    return said


def draw_speakers(count: int, seed: int = 0) -> list[Speaker]:
    """Draw ``count`` speakers and deal them to the splits, women and men in turn.

    They differ by more than most people do: what is learnt from few people who are much alike is
    not heard from others (decision 21).
    """
    rng = generator(seed, "speakers")
    held = max(1, round(0.2 * count))
    sizes = (count - 2 * held, held, held)
    pools = _deal(rng)
    people: list[Speaker] = []
    for split, size, pool in zip(SPLITS, sizes, pools, strict=True):
        for index in range(size):
            name = f"syn{len(people) + 1:02d}"
            pitch, moving, rate = rng.integers(LOWEST, HIGHEST, endpoint=True).tolist()
            variant = pool[index % len(pool)]
            people.append(Speaker(name, split, variant, pitch, moving, rate, accent=index // 2))
    return people


def say(
    language: str, word: str, person: Speaker, rng: np.random.Generator, *, noise: float = 0.0
) -> Wave:
    """One take ``[T]``: the word somewhere inside a clip of one second, or longer if it is."""
    spoken = accents(language)
    speech = _trim(
        speak(
            word,
            spoken[person.accent % len(spoken)],
            variant=person.variant,
            rate=round(person.rate * rng.uniform(0.92, 1.08)),
            pitch=int(np.clip(person.pitch + rng.integers(-4, 5), 0, 99)),
            range_=person.range,
        )
    )
    _refuse_silent(word, language, speech)
    least, most = round(0.03 * SAMPLE_RATE), round(PAUSE * SAMPLE_RATE)
    before, after = rng.integers(least, most, size=2).tolist()  # samples of silence at the ends
    spare = max(0, round(SECONDS * SAMPLE_RATE) - before - len(speech) - after)
    shift = int(rng.integers(spare + 1))
    peak = rng.uniform(0.25, 0.8)  # of full scale
    clip = np.pad(
        speech * np.float32(peak / np.abs(speech).max()), (before + shift, after + spare - shift)
    )
    hiss = rng.normal(0.0, rng.uniform(0.0, noise), len(clip))
    return np.asarray(clip + hiss, np.float32)


def write_noises(folder: Path, *, seed: int = 0) -> list[Path]:
    """Write each of ``NOISES`` to ``<folder>/<kind>.wav``; files that exist are kept."""
    paths = [folder / f"{kind}.wav" for kind in NOISES]
    for kind, path in zip(NOISES, paths, strict=True):
        if not _is_written(path):
            _write_wave(path, background(kind, NOISE_SECONDS, generator(seed, "noise", kind)))
    return paths


def slug(word: str) -> str:
    """Name a folder after a word, in letters every file system takes.

    >>> slug("stop"), slug("sí"), slug("si"), slug("停")
    ('stop', 'si-4f87498b', 'si', 'word-16833aa2')
    >>> len(slug("lights " * 100))
    69
    """
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    plain = "".join(letter if letter.isalnum() else "-" for letter in plain)
    plain = plain[:LONGEST_NAME].strip("-")
    digest = hashlib.sha256(word.encode()).hexdigest()[:8]
    return plain if plain and plain == word else f"{plain or 'word'}-{digest}"


def _check(
    words: Mapping[str, Sequence[str]], speakers: int, takes: int, seed: int, noise: float
) -> None:
    if not words:
        raise UsageError("no language is given, so there is nothing to say")
    for language, said in words.items():
        language_file(language)  # unknown languages are refused before anything is written
        if isinstance(said, str) or not said or not all(word.strip() for word in said):
            raise UsageError(f"the words of {language!r} are {said!r}; give one word or more each")
        if len(set(said)) < len(said):
            raise UsageError(f"the words of {language!r} hold one twice: {', '.join(said)}")
    if speakers < len(SPLITS):
        raise UsageError(f"{speakers} speakers cannot fill train, validation and test; give 3")
    if takes < 1:
        raise UsageError(f"takes is {takes}; each speaker says a word at least once")
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must not be negative")
    if not 0 <= noise < 1:
        raise UsageError(f"noise is {noise}; it is a part of full scale, from 0 to below 1")


def _refuse_silent(word: str, language: str, wave: Wave) -> None:
    if not len(_trim(wave)):
        raise KwsError(
            f"eSpeak NG has no sound for {word!r} in {language!r}; spell it another way (--spell)"
        )


def _claim(out: Path, recipe: object) -> None:
    """Mark ``out`` as the folder of this corpus; one that holds another is refused."""
    path = out / "recipe.json"
    if path.is_file():
        if read_json(path) != recipe:
            raise UsageError(
                f"{out} holds speech made with other settings; delete it, or name another folder"
            )
    elif (out / MANIFEST).exists() or _holds_sound(out):
        raise UsageError(f"{out} already holds another corpus; name another folder")
    else:
        write_json(path, recipe)


def _holds_sound(out: Path) -> bool:
    """Whether there are recordings, which a manifest would hide."""
    found = (path.suffix.lower() for path in (*out.glob("*"), *out.glob("*/*")))
    return any(suffix in SUFFIXES for suffix in found)


def _all_clips(
    words: Mapping[str, Sequence[str]], people: Sequence[Speaker], takes: int
) -> Iterator[tuple[str, str, Speaker, int]]:
    for language, said in words.items():
        yield from product([language], said, people, range(takes))


def _deal(rng: np.random.Generator) -> list[list[str]]:
    """Split the voice variants 60/20/20; each pool takes women and men in turn."""
    pools: list[list[str]] = []
    shuffled = [rng.permutation(names.split()).tolist() for names in (_WOMEN, _MEN)]
    for low, high in ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0)):
        parts = [who[round(low * len(who)) : round(high * len(who))] for who in shuffled]
        pools.append([one for pair in zip_longest(*parts) for one in pair if one])
    return pools


def _trim(wave: Wave) -> Wave:
    """Cut silence off both ends."""
    heard = np.flatnonzero(np.abs(wave) > AUDIBLE)
    return wave[heard[0] : heard[-1] + 1] if len(heard) else wave[:0]


def _is_written(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0  # a power cut may leave an empty file


def _write_wave(path: Path, wave: Wave) -> None:
    """Write 16-bit WAV at 16 kHz, whole or not at all.

    Not flushed to the disk one by one, which would take longer than speaking them.
    """
    with replacing(path, flush=False) as file:
        file.write(encode(wave))
