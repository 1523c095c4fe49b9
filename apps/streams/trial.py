"""Streams of one half, played and scored; what calibration and stream evaluation share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from audio_data.long import LongRecordings
from audio_data.material import Material
from audio_data.streams import NegativeStream, PositiveStream
from kws.calibration import hours_needed
from kws.detector import DetectorConfig
from kws.stream_metrics import ScoredStream, miss_report

from ..options import finite
from ..progress import counting, duration
from .scoring import Scorer, score_stream

PER_HOUR: Final = 0.5  # false accepts that thresholds are usually chosen for
HOURS: Final = 6.0  # of negatives: of different sound, they can show fewer than 0.5 per hour
SHORTEST, LONGEST = 0.001, 1_000.0  # hours
SNRS: Final = (10.0,)  # dB
RATIOS: Final = (-20, 60)  # dB, the least and the most
AGAIN: Final = 1.05  # times that recordings come, from which on they are said to come again
ALL: Final = 0.99  # of the sound, from which on it counts as all different


def _ratios(
    context: click.Context, parameter: click.Parameter, values: tuple[float, ...]
) -> tuple[float, ...]:
    """Each once, or the usual ones."""
    finite(context, parameter, values)
    return tuple(dict.fromkeys(values)) or SNRS


hours_option = click.option(
    "--hours",
    type=click.FloatRange(SHORTEST, LONGEST),
    callback=finite,
    help=f"of sound without keywords, made of the corpus  [default: {HOURS:g}]",
)
snr_option = click.option(
    "--snr",
    "snrs",
    multiple=True,
    type=click.FloatRange(*RATIOS),
    callback=_ratios,
    help=f"dB, of keywords in noise; repeat for more  [default: {SNRS[0]:g}]",
)
per_keyword_option = click.option(
    "--per-word", type=click.IntRange(1), help="at most N recordings of each keyword"
)


@dataclass(frozen=True)
class Trial:
    """What the network made of one half.

    Attributes:
        negatives: sound without keywords.
        positives: keywords in noise, by signal-to-noise ratio in dB.
        distinct_hours: of recordings in the negatives by kind, each counted once.
        repeated: how often they came, on average.
        material: of the half, without other words where recordings took their place.
        speech: whether words are among the negatives.

    """

    negatives: ScoredStream
    positives: Mapping[float, ScoredStream]
    distinct_hours: Mapping[str, float]
    repeated: float
    material: Material
    speech: bool

    @property
    def notes(self) -> list[str]:
        """What weakens the numbers."""
        found = self.material.doubts
        if not self.speech:
            found.append(
                "nobody speaks in the sound without keywords: false accepts on speech are not "
                "measured; give other words with --others"
            )
        hours, distinct = self.negatives.hours, self.negatives.bound_hours
        if distinct < ALL * hours:
            again = (
                f", played {self.repeated:.1f} times on average, at other levels, in other noise "
                "and in another order"
                if self.repeated >= AGAIN
                else " and silence"
            )
            found.append(
                f"{duration(hours)} without keywords were made of {kinds(self.distinct_hours)}"
                f"{again}; the 95 % bounds count only {duration(distinct)} of different recordings"
            )
        return found

    def misses(self, config: DetectorConfig) -> dict[str, Any]:
        """What is missed at these settings, by signal-to-noise ratio in dB."""
        return {
            f"{ratio:g}": miss_report(stream, config) for ratio, stream in self.positives.items()
        }

    def thresholds(self, config: DetectorConfig) -> dict[str, float]:
        """Those of the keywords."""
        return {word: config.levels(word).threshold for word in self.negatives.keywords}

    def too_short(self, per_hour: float) -> str | None:
        """Say so where so few hours cannot show a rate, however few events they have."""
        needed, hours = hours_needed(per_hour), self.negatives.bound_hours
        if hours >= needed:
            return None
        return (
            f"{duration(hours)} of different recordings are too few to show {per_hour:g} per "
            f"hour: even without a false accept it takes {needed:.2g} hours"
        )


def play(
    scorer: Scorer,
    material: Material,
    *,
    hours: float = HOURS,
    snrs: Sequence[float] = SNRS,
    seed: int = 0,
    recordings: LongRecordings | None = None,
) -> Trial:
    """Play the streams of one half, keywords in noise at each of ``snrs``, in dB.

    ``recordings`` are heard instead of made negatives.
    """
    made = recordings or NegativeStream(material, hours * 3600, seed)
    with counting(f"{material.half}: sound without keywords, s") as progress:
        negatives = score_stream(scorer, made, progress)
    positives = {}
    for ratio in snrs:
        with counting(f"{material.half}: keywords at {ratio:g} dB, s") as progress:
            stream = PositiveStream(material, ratio, seed)
            positives[ratio] = score_stream(scorer, stream, progress)
    distinct = made.ledger.distinct_seconds
    total = sum(distinct.values())
    return Trial(
        replace(negatives, distinct=total / 3600),
        positives,
        {kind: amount / 3600 for kind, amount in distinct.items()},
        made.ledger.played_seconds / max(1.0, total),
        replace(material, others=()) if recordings else material,
        bool(recordings or material.others),
    )


def rounded(value: Any) -> Any:
    """The same with every float rounded to five decimals: for JSON and people."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def kinds(distinct_hours: Mapping[str, float]) -> str:
    """How much there is of what, for people.

    >>> kinds({"words": 0.92, "noise": 0.033})
    '0.92 h of words and 2.0 min of noise'
    """
    shown = [f"{duration(hours)} of {kind}" for kind, hours in distinct_hours.items()]
    return " and ".join(shown) or "silence"


def elsewhere(split_by: str) -> str:
    """On whom thresholds were chosen that are reported on, for people.

    >>> elsewhere("people"), elsewhere("files")
    ('other people', 'other files, maybe of the same people')
    """
    return {"people": "other people", "files": "other files, maybe of the same people"}[split_by]


def percent(rate: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "-" if rate is None else f"{rate:.1%}"


def setting(found: Mapping[str, Any]) -> str:
    """How many keywords stood close to other words, and what that cost, for people.

    >>> alone, among = ({"count": 6, "miss_rate": rate} for rate in (0.1, 0.2))
    >>> setting({"count": 12, "alone": alone, "among_words": among})
    '10.0% of those alone, 20.0% of the 50% close to other words'
    >>> setting({"count": 12, "alone": alone, "among_words": among | {"count": 0}})
    'all said alone'
    """
    alone, among = (found[place]["miss_rate"] for place in ("alone", "among_words"))
    share = found["among_words"]["count"] / max(1, found["count"])
    if not share:
        return "all said alone"
    near = f"{percent(among)} of the {share:.0%} close to other words"
    return f"{percent(alone)} of those alone, {near}"


def latency_text(latency: Mapping[str, float] | None) -> str:
    """A latency for people."""
    if latency is None:
        return "-"
    return f"{latency['median']:.2f} s (90 %: {latency['p90']:.2f} s)"
