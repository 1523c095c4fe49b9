"""From text to an adapter: speech is made for words, thresholds are set, and doubts are told."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from audio_data.clips import UNTOLD, Clip
from audio_data.corpus import find_manifest
from audio_data.espeak import same_language
from audio_data.material import read_material
from audio_data.mixture import as_spelt, make_mixture
from audio_data.task import only_language
from kws.adapter import AdapterConfig
from kws.config import Where
from kws.errors import UsageError
from kws.metrics import NAMELESS, interval

from .calibrate import HALF, faults, set_thresholds
from .progress import counting, note
from .streams.trial import PER_HOUR
from .training.card import COMMAND
from .training.recordings import Recordings, Selection

SPEECH: Final = "speech"  # folder of what is made
WHOSE: Final = "--tts needs the words' language; give --language, such as de or cmn"
HOURS: Final = 1.0  # of synthetic speech that is none of the words, for thresholds
MANY: Final = 0.5  # of the words missed, from which on it is said


def speak(
    selection: Selection,
    words: tuple[str, ...],
    data: Path | None,
    out: Path,
    respelt: Mapping[str, str] | None = None,
    known: Mapping[str, Where] | None = None,
) -> Selection:
    """Make speech for words, put what ``selection`` has of people among it, and select all.

    Words that are ``respelt`` are said so. Who is ``known`` stays in the split that training had
    them in.

    Raises:
        UsageError: no language is given nor said by recordings, or they are of several or another.

    """
    recorded = _by_people(selection, data) if data else []
    told = {clip.language for clip in recorded} - {UNTOLD}
    said = only_language(told) if told else None
    language = selection.language or said
    if language is None:
        raise UsageError(WHOSE)
    if said and not _agree(said, language):
        raise UsageError(
            f"the recordings in {data} are in {said}, not in {language}; leave --language out, or "
            f"choose others with --filter language={language}"
        )
    if data and not {clip.word for clip in as_spelt(recorded, words)} & {*words}:
        note(
            f"none of the {len(recorded)} recordings in {data} is of {', '.join(words)}: they are "
            "learnt as unknown words, and only synthetic voices say the keywords"
        )
    with counting(f"speaking {', '.join(words)}, and other words") as progress:
        manifest, warnings = make_mixture(
            out,
            words,
            language,
            recorded,
            known=known,
            seed=selection.seed,
            respelt=respelt,
            progress=progress,
        )
    for warning in warnings:
        note(warning)
    return replace(
        selection,
        data=manifest,
        noisy=data,
        filters=(),
        language=None,
        speaker_pattern=None,
        keywords=tuple(words),
    )


def _agree(said: str, language: str) -> bool:
    """Whether a manifest's tag is of the language that is to be spoken."""
    with suppress(UsageError):  # a tag that no voice has
        return same_language(said, language)
    return said == language


def _by_people(selection: Selection, data: Path) -> list[Clip]:
    """What people said; a manifest says in which language, and a folder is told."""
    told = None if find_manifest(data) else selection.language
    return replace(selection, data=data, language=told).clips()


def calibrated(
    base: Path, adapter: Path, selection: Selection, config: AdapterConfig
) -> dict[str, Any]:
    """Set the adapter's thresholds on what was spoken; what is wrong with them is told.

    Returns:
        What they came to: the share missed by signal-to-noise ratio in dB, and false accepts.

    """
    material = read_material(selection.data, config.labels, halves=(HALF,))[HALF]
    found = set_thresholds(
        base,
        adapter,
        config,
        replace(material, noise=selection.noise),  # that training heard
        PER_HOUR,
        hours=HOURS,
        seed=selection.seed,
        made_by=config.training[COMMAND],
    )
    for fault in faults(found):
        note(fault)
    missed = {ratio: said["miss_rate"] for ratio, said in found["positives"].items()}
    if min(missed.values()) > MANY:
        recordings = (
            "more recordings of people" if selection.noisy else "recordings of people (kws collect)"
        )
        note(
            "most of the words are missed at thresholds that keep other words out; train longer, "
            f"or give {recordings} with --data"
        )
    return {
        "thresholds": found["thresholds"],
        "missed": missed,
        "negatives": {name: found["negatives"][name] for name in ("false_accepts", "hours")},
    }


def for_people(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`calibrated` gives, in sentences.

    >>> negatives = {"false_accepts": 2, "hours": 1.0}
    >>> for_people({"thresholds": {}, "missed": {"10": 0.5}, "negatives": negatives})["missed"]
    '50% at 10 dB'
    """
    heard = thresholds["negatives"]
    missed = [f"{share:.0%} at {ratio} dB" for ratio, share in thresholds["missed"].items()]
    return {
        "thresholds": thresholds["thresholds"],
        "missed": ", ".join(missed),
        "false_accepts": f"{heard['false_accepts']} in {heard['hours']:g} h of other words of "
        "synthetic voices, on which they were chosen: other sound has more",
    }


def trust(config: AdapterConfig, recordings: Recordings) -> str:
    """How far the figures can be believed, in a sentence."""
    found = config.metrics["validation"]
    made, by_people = found["made"], found["count"] - found["made"]
    if not by_people:
        return (
            "little: only synthetic voices have said these words, and people are recognised less "
            "well; record some (kws collect) and give them with --data"
        )
    said = recordings.said("validation")
    people = {clip.speaker for clip in said if not clip.is_synthetic}
    if None in people and any(clip.is_synthetic and clip.speaker is None for clip in said):
        return (
            "little: synthetic voices and unnamed people validate together, so it is unknown how "
            "well people are recognised; name the speakers"
        )
    theirs = [found["per_speaker"][speaker or NAMELESS] for speaker in people]
    right = sum(person["accuracy"] * person["count"] for person in theirs)
    low, high = interval(right / by_people, by_people)
    who = "1 person" if len(people) == 1 else f"{len(people)} people"
    who = "people who are not named" if None in people else who
    rest = f", and {made} by synthetic voices" if made else ""
    return (
        f"{by_people} recordings by {who} validate{rest}: {low:.0%} to {high:.0%} of such "
        "recordings, each heard alone, are recognised (95 % confidence, for such people); more "
        "people narrow this"
    )
