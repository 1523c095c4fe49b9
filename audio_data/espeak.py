"""Speech from text, by the eSpeak NG library inside the package ``espeakng_loader``.

``speak`` says a text; the rest finds voices and languages. Nothing is installed on the system,
nothing is played.
"""

import ctypes
import difflib
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError

from .decode import FULL_SCALE

_LOCK = threading.Lock()  # the library keeps its state in globals

# Values of speak_lib.h.
_SYNCHRONOUS = 2  # audio goes to a callback, and the call returns when all is said
_DONT_EXIT = 0x8000  # on missing voices return an error, do not end the process
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4

# ISO 639-3 tag:eSpeak NG's own tag.
_PAIRS = """
acm:ar afr:af amh:am apc:ar ara:ar arb:ar arg:an ary:ar arz:ar asm:as aze:az bak:ba bel:be
ben:bn bos:bs bul:bg cat:ca ces:cs chv:cv cym:cy dan:da deu:de ekk:et ell:el eng:en epo:eo
est:et eus:eu fao:fo fas:fa fin:fi fra:fr gla:gd gle:ga grn:gn guj:gu hat:ht heb:he hin:hi
hrv:hr hun:hu hye:hy ind:id isl:is ita:it jpn:ja kal:kl kan:kn kat:ka kaz:kk kir:ky kor:ko
kur:ku lat:la lav:lv lit:lt ltz:lb mal:ml mar:mr mkd:mk mlt:mt mri:mi msa:ms mya:my nep:ne
nld:nl nob:nb nor:no ori:or orm:om pan:pa pes:fa pol:pl por:pt que:qu ron:ro rus:ru sin:si
slk:sk slv:sl snd:sd spa:es sqi:sq srp:sr swa:sw swe:sv swh:sw tam:ta tat:tt tel:te tha:th
tir:ti tsn:tn tuk:tk tur:tr uig:ug ukr:uk urd:ur uzb:uz vie:vi zho:cmn
"""
_ISO_639_3 = dict(pair.split(":") for pair in _PAIRS.split())

# Variants that are sound effects, or so overdriven that they clip, rather than a person.
_EFFECT = re.compile(
    r"announcer|anikaRobot|AnxiousAndy|Demonic|fast|iven|Jacky|kaukovalta|Marco|Mr serious"
    r"|RicishayMax\d?|robosoft\d?|Tweaky|UniRobot|zac"
)


@dataclass(frozen=True)
class Voices:
    """What can be spoken, and by whom."""

    languages: Mapping[str, str]  # tag in lower case, such as "de" or "en-us" -> voice file
    variants: tuple[str, ...]  # speakers that suit every language, such as "f2" or "croak"


class _Voice(ctypes.Structure):
    """``espeak_VOICE`` of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_HEARD = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def speak(
    text: str,
    voice: str = "de",
    *,
    variant: str | None = None,
    rate: int = 175,
    pitch: int = 50,
    range_: int = 50,
) -> NDArray[np.float32]:
    """Say ``text``; the same arguments give the same samples, whatever was said before.

    Args:
        text: what to say, in the script of the language.
        voice: language as BCP 47 or ISO 639-3 tag, such as ``de``, ``en-us``, ``cmn``, ``ara``.
        variant: the person speaking, one of ``voices().variants``.
        rate: words a minute, 80 to 450.
        pitch: 0 to 99, 50 is the variant's own.
        range_: how much the pitch moves, 0 (monotone) to 99.

    Returns:
        ``[T]`` mono, float32 in [-1, 1], 16 kHz.

    Raises:
        UsageError: a number out of its range, an unknown language or variant, or a text that has
            halves of characters, as names that are no UTF-8 have.
        KwsError: the library is missing or refuses.

    """
    settings = {_RATE: rate, _PITCH: pitch, _RANGE: range_}
    data = _encoded(text)
    _check("rate", rate, 80, 450)
    _check("pitch", pitch, 0, 99)
    _check("range", range_, 0, 99)
    name = language_file(voice) + (f"+{_known_variant(variant)}" if variant else "")
    pieces: list[bytes] = []

    def hear(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    heard = _HEARD(hear)  # a name keeps it alive while the library may call it
    with _library() as (library, native):
        library.espeak_SetSynthCallback(heard)
        refused = library.espeak_SetVoiceByName(name.encode())
        for parameter, value in settings.items():
            refused = refused or library.espeak_SetParameter(parameter, value, 0)
        size = ctypes.c_size_t(len(data) + 1)
        refused = refused or library.espeak_Synth(data, size, 0, 1, 0, _UTF8, None, None)
    if refused:
        raise KwsError(f"eSpeak NG cannot say {text!r} with voice {name!r} (error {refused})")
    wave = np.frombuffer(b"".join(pieces), np.int16).astype(np.float32) / FULL_SCALE
    resampled: NDArray[np.float32] = soxr.resample(wave, native, SAMPLE_RATE)
    return np.clip(resampled, -1.0, 1.0)


@cache
def voices() -> Voices:
    """List the languages and the people; effects such as robots are left out."""
    with _library() as (library, _):
        spoken = list(_listed(library, None))
        people = list(_listed(library, "variant"))
    best: dict[str, tuple[int, str]] = {}
    for tags, file in spoken:
        for priority, tag in tags:
            if tag not in best or priority < best[tag][0]:
                best[tag] = priority, file
    languages = {tag: file for tag, (_, file) in sorted(best.items())}
    variants = sorted(file.removeprefix("!v/") for _, file in people)
    return Voices(
        MappingProxyType(languages), tuple(name for name in variants if not _EFFECT.fullmatch(name))
    )


def language_file(tag: str) -> str:
    """Name eSpeak NG's voice file for a language tag; ``deu``, ``de`` and ``de-AT`` share one.

    Raises:
        UsageError: no voice speaks it; the sentence names tags that are spelt like it.

    """
    return voices().languages[_known_tag(tag)]


def same_language(first: str, second: str) -> bool:
    """Whether two tags are of one language, wherever it is spoken.

    Raises:
        UsageError: no voice speaks one of them.

    >>> same_language("es", "es-419"), same_language("deu", "de-AT"), same_language("en", "fr")
    (True, True, False)
    >>> same_language("cmn", "zh-TW"), same_language("cmn", "yue")
    (True, False)

    """
    one, other = _known_tag(first), _known_tag(second)
    known = voices().languages
    return one.split("-")[0] == other.split("-")[0] or known[one] == known[other]


@cache
def accents(tag: str) -> tuple[str, ...]:
    """Tags under which a language is spoken, itself first: ``en`` is said as ``en-us`` too.

    Those of its regions count; what is written in another script does not.

    Raises:
        UsageError: no voice speaks it.

    >>> accents("fra"), accents("de-AT"), accents("es-419")
    (('fr', 'fr-be', 'fr-ch'), ('de',), ('es-419',))

    """
    known, found = voices().languages, _known_tag(tag)
    regions = [name for name in known if re.match(rf"{found}-([a-z]{{2}}|\d{{3}})(-|$)", name)]
    by_voice: dict[str, str] = {}
    for name in (found, *regions):
        by_voice.setdefault(known[name], name)
    return tuple(by_voice.values())


def _known_tag(tag: str) -> str:
    known = voices().languages
    first, *rest = tag.lower().replace("_", "-").split("-")
    parts = [_ISO_639_3.get(first, first), *rest]
    for count in range(len(parts), 0, -1):  # BCP 47 lookup: drop subtags from the end
        if (name := "-".join(parts[:count])) in known:
            return name
    alike = ", ".join(difflib.get_close_matches(tag.lower(), known, n=4, cutoff=0.75))
    raise UsageError(
        f"eSpeak NG has no voice for {tag!r}: check the tag, or record the words (kws collect)"
        + (f"; tags spelt like it: {alike}" if alike else "")
    )


def _known_variant(name: str) -> str:
    known = voices().variants
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=4, cutoff=0.4))
        raise UsageError(
            f"eSpeak NG has no voice variant {name!r}; "
            + (f"the nearest are {near}" if near else "voices() lists what it has")
        )
    return name


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{text!r} is no text; write it in UTF-8") from error


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is {value}; it must lie between {low} and {high}")


@contextmanager
def _library() -> Iterator[tuple[Any, int]]:
    """Open the library for one utterance; yields it and its sampling rate in Hz.

    It carries pitch flutter, gain and noise over from one utterance to the next and offers no way
    to reset them, so each one gets a freshly loaded copy. That costs about a millisecond.
    """
    binary, data = _installed()
    with _LOCK:
        try:
            library = ctypes.CDLL(str(binary))
        except OSError as error:
            raise KwsError(f"cannot load eSpeak NG from {binary}: {error}") from error
        try:
            native = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT)
            if native <= 0:
                raise KwsError(
                    f"eSpeak NG cannot read its voices in {data}; it needs a path under 160"
                    f" characters (this one has {len(str(data))}), so install it elsewhere"
                )
            library.espeak_ng_SetRandSeed(ctypes.c_long(0))
            yield library, native
        finally:
            library.espeak_Terminate()
            _unload(library)


@cache
def _installed() -> tuple[Path, Path]:
    """Locate the library and its data."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise KwsError(
            "speech cannot be made without espeakng_loader: pip install espeakng-loader"
        ) from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


def _unload(library: ctypes.CDLL) -> None:
    import _ctypes  # the half of ctypes that can also close a library

    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)


def _listed(library: Any, kind: str | None) -> Iterator[tuple[list[tuple[int, str]], str]]:
    """Yield each voice's (priority, tag) pairs and its file; ``kind`` asks for the variants."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    wanted = None
    if kind:
        text = ctypes.c_char_p(kind.encode())
        wanted = ctypes.byref(_Voice(languages=ctypes.cast(text, ctypes.c_void_p)))
    listed = library.espeak_ListVoices(wanted)
    for index in range(10_000):  # NULL ends the list
        if not listed[index]:
            return
        voice = listed[index].contents
        yield list(_tags(voice.languages)), voice.identifier.decode()


def _tags(address: int) -> Iterator[tuple[int, str]]:
    """Read the C list of a voice: priority byte, tag, zero byte, and so on to a zero priority."""
    while priority := ctypes.string_at(address, 1)[0]:
        tag = ctypes.string_at(address + 1)
        yield priority, tag.decode().lower()
        address += len(tag) + 2
