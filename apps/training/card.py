"""Cards: what a base or an adapter is, what it was measured on, what is not proven."""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from audio_data.clips import HALVES
from kws.adapter import CARD, AdapterConfig, save_adapter_config
from kws.base import BaseConfig, save_base_config
from kws.files import write_text
from kws.metrics import NAMELESS
from kws.quantized import DEFAULT_BITS

from ..progress import duration

Figures = Mapping[str, Any]
# Of a split, at least.
FIGURES_NEEDED: Final = {"accuracy", "count", "per_speaker", "worst_speaker"}
STREAM: Final = "stream"  # among the metrics, beside the splits
CALIBRATION: Final = "calibration"  # likewise
EACH: Final = {"people": "person", "synthetic voices": "voice"}  # of those alone
COMMAND: Final = "command"  # among the figures that it made, or in what is said of training


def card(config: AdapterConfig) -> str:
    """Markdown for people; the numbers stand in the configuration too."""
    lines = [
        f"# Keyword adapter: {config.language}",
        "",
        f"For the base pretrained on {config.base_language}, SHA-256 `{config.base_sha256}`.",
        "",
        f"- Words: {', '.join(config.labels)}",
        f"- Method {config.method}, budget {config.budget or 'none'}: "
        f"{config.spent_parameters:,} numbers of its own{_bits(config)} in "
        f"{len(config.sites)} sites"
        f"{_earlier(config)}, "
        f"{config.head_parameters:,} in the head, {config.stored_bytes:,} bytes stored",
        *_splits(config),
    ]
    return _rest(lines, config)


def _bits(config: AdapterConfig) -> str:
    """In how many bits a number is stored, where not in the usual ones."""
    bits = config.training.get("bits", DEFAULT_BITS)
    return "" if bits == DEFAULT_BITS else f" of {bits} bit{'s' * (bits > 1)}"


def _earlier(config: AdapterConfig) -> str:
    """How many of the numbers are those of the language before, which the budget leaves out."""
    before = config.training.get("earlier_parameters", 0)
    return f" ({before:,} of them those of the language before)" if before else ""


def base_card(config: BaseConfig) -> str:
    """Markdown for people; the numbers stand in the configuration too."""
    own = config.training | config.training.get("recordings", {})
    lines = [
        f"# Keyword base: {config.language}",
        "",
        f"{config.architecture} with tau {config.tau:g}, SHA-256 `{config.sha256}`. "
        "Its weights are never written to again: every further language is an adapter.",
        "",
        f"- Words: {', '.join(config.labels)}",
    ]
    if parameters := config.metrics.get("parameters"):
        lines.append(f"- Parameters: {parameters:,}")
    if (accuracy := config.metrics.get("validation_accuracy")) is not None:
        lines.append(
            f"- Accuracy {accuracy:.1%} over the keywords' validation clips, of "
            f"{_strangers(own, _learnt_from(config.training), config)}"
        )
    return _rest([*lines, *_splits(config)], config)


def store(folder: Path, config: AdapterConfig | BaseConfig) -> None:
    """Replace configuration and card; the weights stay as they are."""
    if isinstance(config, AdapterConfig):
        text = card(config)  # before anything is written
        save_adapter_config(folder, config)
    else:
        text = base_card(config)
        save_base_config(folder, config)
    write_text(folder / CARD, text)


def command() -> str:
    """What was typed, with the user's own folder as ``~``: cards are shared."""
    words, home = sys.argv[1:], os.path.expanduser("~").rstrip("/")
    if home:
        words = [re.sub(rf"(^|=){re.escape(home)}(?=/|$)", r"\1~", word) for word in words]
    return shlex.join(["kws", *words])


def _rest(lines: list[str], config: AdapterConfig | BaseConfig) -> str:
    """What both kinds say alike."""
    lines += [
        *_learnt(config.training),
        *([f"  - {note}"] if (note := config.training.get("note")) else []),
        f"- Licences of the recordings: {', '.join(config.licences) or 'not stated'}",
        *_commands(config),
        "",
        *_hours(config.metrics),
        "",
        *_unproven(config),
    ]
    return "\n".join(lines) + "\n"


def _commands(config: AdapterConfig | BaseConfig) -> list[str]:
    """What was typed for all this, each command once."""
    metrics = config.metrics
    told = [
        ("Made", config.training),
        ("Thresholds", metrics.get(CALIBRATION)),
        *(("Measured", metrics.get(split)) for split in HALVES),
        ("Streams", metrics.get(STREAM)),
    ]
    kept: dict[str, str] = {}
    for what, found in told:
        if found and (typed := found.get(COMMAND)):
            kept.setdefault(typed, what)
    return [f"- {what} by `{typed}`" for typed, what in kept.items()]


def _learnt(training: Figures) -> list[str]:
    """From how much it was learnt; nothing of those made before that was kept."""
    found = training.get("recordings")
    if not found:
        return []
    who = counted(found["people"], found["clips"], found["made"])
    return [f"- Learnt from {found['clips']:,} recordings of the words by {who}"]


def _learnt_from(training: Figures) -> str:
    """Whose recordings it has; of bases made before that was kept, people's."""
    found = training.get("recordings")
    return whose(found["clips"], found["made"]) if found else "people"


def whose(clips: int, made: int) -> str:
    """Whose recordings these are, of which so many are made by synthetic voices."""
    if not made:
        return "people"
    return "synthetic voices" if made == clips else "people and synthetic voices"


def counted(people: int, clips: int, made: int) -> str:
    """Whose recordings these are, and of how many; of none who are named where that is 0.

    >>> counted(10, 100, 4), counted(1, 9, 9), counted(0, 9, 0)
    ('10 people and synthetic voices', '1 synthetic voice', 'people who are not named')
    """
    who = whose(clips, made)
    if people == 1:
        return {"people": "1 person", "synthetic voices": "1 synthetic voice"}.get(who, who)
    return f"{people} {who}" if people else f"{who} who are not named"


def is_of_strangers(found: Figures, config: AdapterConfig | BaseConfig) -> bool:
    """Whether it is known that nobody was learnt from of those on whom figures were ``found``.

    That is so if all who are heard are ``strangers`` by name; where only files are apart, also if
    people are heard and synthetic voices were learnt.
    """
    if found.get("heard_before"):
        return False
    if found.get("strangers"):
        return True
    apart = not found.get("made") and _learnt_from(config.training) == "synthetic voices"
    return apart or found.get("split_by") != "files"


def _strangers(found: Figures, who: str, config: AdapterConfig | BaseConfig) -> str:
    """Who is heard, and whether training heard them too, as far as that is known."""
    if heard := found.get("heard_before"):
        return f"{who}, {heard} of whom were learnt from in other recordings"
    if not is_of_strangers(found, config):
        return f"{who} who may have been trained on: speakers are unknown or too few"
    return f"{who} not trained on"


def _splits(config: AdapterConfig | BaseConfig) -> list[str]:
    """Accuracy on the clips of each split that was measured, and how far people differ."""
    lines = []
    figures = {split: config.metrics.get(split) or {} for split in HALVES}
    known = {split: found for split, found in figures.items() if found.keys() >= FIGURES_NEEDED}
    for split, found in known.items():
        people = [person["accuracy"] for person in found["per_speaker"].values()]
        who = whose(found["count"], found.get("made", 0))
        each = EACH.get(who, "person or voice")
        between = f", {min(people):.1%} to {max(people):.1%} by {each}" if len(people) > 1 else ""
        lines.append(
            f"- Accuracy {found['accuracy']:.1%} over {found['count']} {split} clips of "
            f"{_strangers(found, who, config)}{between}"
        )
        if (worst := found["worst_speaker"]) and worst["speaker"] != NAMELESS:
            lines.append(f"  - Worst speaker: {worst['speaker']} with {worst['accuracy']:.1%}")
        for kind, name in (("unknown", "other words"), ("silence", "silence")):
            rate = found.get(f"{kind}_false_accept_rate")
            if rate is not None:
                lines.append(f"  - {rate:.1%} of {name} taken for a keyword")
    return lines + _gap([*known.values()], config.training)


def _gap(known: Sequence[Figures], training: Figures) -> list[str]:
    """What people lose where only synthetic voices were learnt, and validated."""
    measured = [whose(found["count"], found.get("made", 0)) for found in known]
    if [_learnt_from(training), *measured] != ["synthetic voices", "synthetic voices", "people"]:
        return []
    before, after = (found["accuracy"] for found in known)
    points, more = 100 * abs(before - after), "fewer" if after < before else "more"
    return [
        f"- People: {points:.1f} points {more} than synthetic voices ({before:.1%} → {after:.1%})"
    ]


def _hours(metrics: Figures) -> list[str]:
    """What is known of sound that goes on for hours."""
    return [*_calibration(metrics.get(CALIBRATION)), *_stream(metrics.get(STREAM))]


def _unproven(config: AdapterConfig | BaseConfig) -> list[str]:
    """What nobody should take for granted."""
    metrics = config.metrics
    found = metrics.get("test") or metrics.get("validation") or {}
    lines = ["microphones, rooms and accents that the recordings do not have"]
    if stream := metrics.get(STREAM):
        if not stream["distinct_hours"].get("words"):
            lines.append("how often it fires on speech that goes on for hours")
    else:
        lines.append(
            "how often it fires on other sound that goes on for hours"
            if metrics.get(CALIBRATION)
            else "how often it fires on speech and noise that goes on for hours"
        )
    if found.get("count") and found.get("made") == found["count"]:
        lines.append("how it works for people: only synthetic voices were measured")
    elif NAMELESS in (found.get("per_speaker") or ()):
        lines.append("how far people differ: it is not known who speaks")
    elif len(found.get("per_speaker") or ()) == 1:
        lines.append("how far people differ: one alone was measured")
    return ["Not proven:", "", *(f"- {line}" for line in lines)]


def _calibration(found: Figures | None) -> list[str]:
    if not found:
        return []
    heard = found["negatives"]
    return [
        f"Thresholds for {found['asked_per_hour']:g} false accepts per hour: "
        f"{heard['false_accepts']} in {duration(heard['hours'])} without keywords, counted on the "
        f"sound that they were chosen on: other sound has more. (So few on other sound would mean "
        f"at most {heard['upper_95']:.2f} per hour with 95 % confidence.)",
        *(
            f"- {ratio} dB: {missed['misses']} of {missed['count']} keywords missed"
            for ratio, missed in found["positives"].items()
        ),
        *(f"- {note}" for note in found["notes"]),
        "",
    ]


def as_stored(found: Figures) -> Figures:
    """Of the points that streams were evaluated at, that of the stored thresholds.

    >>> as_stored({"points": [{"aim_per_hour": 0.5}, {"aim_per_hour": None}]})
    {'aim_per_hour': None}
    """
    point: Figures = next(point for point in found["points"] if point["aim_per_hour"] is None)
    return point


def _stream(found: Figures | None) -> list[str]:
    """Hours of test people, at the thresholds that are stored."""
    if not found:
        return []
    point = as_stored(found)
    heard, different = point["negatives"], sum(found["distinct_hours"].values())
    return [
        f"On streams of the test half, {duration(found['hours'])} without keywords, made of "
        f"{duration(different)} of different recordings: {heard['per_hour']:.2f} false accepts "
        f"per hour, at most {heard['upper_95']:.2f} with 95 % confidence.",
        *(
            f"- {ratio} dB: {missed['miss_rate']:.1%} of {missed['count']} keywords missed"
            for ratio, missed in point["snr"].items()
        ),
        *(f"- {note}" for note in found["notes"]),
    ]
