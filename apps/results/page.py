"""From records to ``results.md``: tables with spread, and pictures, all made by one command."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, Final, TypeVar

from audio_data.clips import HALVES
from kws.errors import KwsError
from kws.files import write_text
from policy.methods import METHODS

from ..experiments.records import DIVERGED
from ..training.pretraining import LR
from . import methods, on_streams, supplied
from .methods import (
    draw_accuracy,
    draw_choices,
    languages_table,
    methods_table,
    routing_note,
    settings_of,
    summary_table,
    tasks_of,
)
from .paired import CAUSALITY, PAIRED, SEQUENCE, causality, paired, sequences
from .supplied import zoo_rows
from .tables import (
    Record,
    accuracies,
    base_of,
    grouped,
    is_causal,
    length_of,
    markdown,
    method_and_budget,
    rate_of,
    run_of,
    spread_of,
    steps_of,
    task_of,
)

T = TypeVar("T")

SEEN: Final = (
    "; where test figures had been seen before one, its decision in `docs/decisions` says so"
)
COLUMNS: Final = (
    "*rate* is the peak learning rate: of those tried, the best on validation, compared over the "
    "runs that they have in common, and several that were run further by all that they ran; "
    "*stored bytes* are the least and the most over tasks; *worst person* is the lowest accuracy "
    "that any test speaker has in any task and seed."
)
MARKS: Final = re.compile(r"(<!-- results: [^>]*-->\n).*?(<!-- /results -->)", re.DOTALL)


def write_results(
    records: Sequence[Record],
    out: Path,
    zoo: Path | None = None,
    source: Path = Path("docs/records"),
) -> None:
    """Write the page at ``out`` and its pictures beside it, with the networks of a folder.

    The page says that the records are those in ``source``.

    Raises:
        KwsError: two grids call different recordings, bases or streams by one name; recordings
            have changed between two runs; a method that learns tasks together had others in two
            grids; or learning rates have no run in common to be compared by.

    """
    records = without_diverged(records)
    streams = [record for record in records if "stream" in record]
    trained = [record for record in records if "stream" not in record]
    for refuse in (_refuse_namesakes, _refuse_changed, _refuse_other_company, _refuse_bases):
        refuse(trained)
    _refuse_streams_twice(streams)
    bases = [record for record in trained if record["cell"]["tau"]]
    chained = [record for record in trained if record["cell"].get("before")]
    adapted = _adaptations(records)
    few = [record for record in adapted if record["cell"].get("per_word")]
    broad, *others = _alike(_to_everything(adapted))
    parts = ["# Results", _introduction(trained, source, ours=zoo is not None)]
    if bases:
        parts += ["## The base", _bases(bases)]
    if zoo and (networks := zoo_rows(zoo)):
        parts += ["## Supplied networks", supplied.INTRODUCTION]
        parts += [markdown(supplied.TITLES, networks)]
    if broad:
        parts += ["## Languages under a budget", settings_of(broad[0])]
        parts += _compared(broad, bases, out, "")
    for title, some in zip(_titles(others), others, strict=True):
        parts += [f"## Methods side by side: {title}", settings_of(some[0])]
        parts += _compared(some, bases, out, "_" + title.replace(", ", "_"))
    if few:
        parts += ["## Few recordings"]
        for some in _alike(few):
            parts += [settings_of(some[0]), methods.few_table(some)]
    if chained:
        parts += ["## One language after another", SEQUENCE, sequences(trained)]
    if rows := causality([*bases, *_to_everything(adapted)]):
        parts += ["## What causality costs", CAUSALITY, rows]
    if streams:
        parts += ["## On streams", on_streams.introduction(streams)]
        parts += [markdown(on_streams.titles(streams), on_streams.rows(streams))]
        parts += filter(None, [on_streams.notes(streams)])
        parts += on_streams.pictures(streams, out)
    write_text(out, "\n\n".join(parts) + "\n")


def _introduction(trained: Sequence[Record], source: Path, *, ours: bool) -> str:
    """What the tables are made of; ``ours`` are those of this project."""
    return (
        f"Made by `kws bench report` from the records in `{source}`; the runs, by `kws bench run` "
        f"from the grids{' in `configs`' if ours else ''} after which the folders there are named. "
        f"Accuracy is in per cent of the keywords' clips of test speakers, {_strangers(trained)}; "
        "mean ± standard deviation over seeds. Learning rates were chosen on validation"
        f"{SEEN * ours}. {COLUMNS}"
    )


def _titles(groups: Iterable[Sequence[Record]]) -> Iterator[str]:
    """Base and length of each group; numbered where they differ in other settings alone."""
    titles: Counter[str] = Counter()
    for some in groups:
        name = base_of(some[0]) + ("-causal" if is_causal(some[0]) else "")
        title = f"{name}, {length_of(some[0])}"
        titles[title] += 1
        yield title if titles[title] == 1 else f"{title}, {titles[title]}"


def _strangers(records: Iterable[Record]) -> str:
    """Whether test speakers may have been trained on, and whether they are people."""
    told = [(task_of(record), record["test"]) for record in records]
    files = {task for task, test in told if test.get("split_by") == "files"}
    heard = {task for task, test in told if test.get("heard_before")}
    made = {task for task, test in told if test.get("made")}
    doubts = [
        f"in {', '.join(sorted(tasks))} {what}"
        for tasks, what in (
            (files, "this is not known"),
            (heard, "some were, in other recordings"),
            (made, "some are synthetic voices"),
        )
        if tasks
    ]
    return "none of whom was trained on" + (f", but that {' and '.join(doubts)}" if doubts else "")


def _refuse_namesakes(records: Iterable[Record]) -> None:
    """Raise a KwsError where two grids use one task's name for different recordings."""
    heard: dict[str, tuple[object, object]] = {}
    for record in records:
        task, settings = task_of(record), record["settings"]
        found = settings.get("data"), settings.get("tasks", {}).get(task)
        before = heard.setdefault(task, found)
        if found != before:
            raise KwsError(
                f"two grids call different recordings '{task}' ({before} and {found}): name one of "
                "them otherwise, or report them apart, with --records and --out"
            )


def _refuse_changed(records: Iterable[Record]) -> None:
    """Raise a KwsError where recordings have changed between two runs on them.

    What tells is how many of each word and person were held out. People whom a base, or a language
    before, has heard may be in other splits.
    """
    held: dict[tuple[object, ...], object] = {}
    for record in records:
        task, settings = task_of(record), record["settings"]
        key = task, settings.get("base"), *(record["cell"].get("before") or ())
        if (counts := _counts(record)) != held.setdefault(key, counts):
            raise KwsError(
                f"runs on '{task}' were evaluated on different recordings, though all were read "
                f"from {settings.get('data')}: it has changed; run all anew with --again, or "
                "report them apart, with --records and --out"
            )


def _refuse_other_company(records: Iterable[Record]) -> None:
    """Raise a KwsError where a method that learns tasks together had others in another grid."""
    beside: dict[str, object] = {}
    for record in records:
        method, tasks = record["cell"]["method"], record["settings"].get("tasks")
        together = method in METHODS and METHODS[method].together
        if together and beside.setdefault(method, tasks) != tasks:
            raise KwsError(
                f"two grids learn {method} from different tasks; report them apart, with --records "
                "and --out"
            )


def _counts(record: Record) -> object:
    """How many recordings of each word and person were held out."""
    return [
        {name: each["count"] for name, each in record[split].get(kind, {}).items()}
        for split in HALVES
        for kind in ("per_word", "per_speaker")
    ]


def _refuse_bases(records: Iterable[Record]) -> None:
    """Raise a KwsError where runs cannot be compared: of one name, but on different bases."""
    known: dict[str, str] = {}
    for record in records:
        base, digest = record["settings"].get("base"), record.get("base_sha256")
        if record["cell"]["method"] and digest and known.setdefault(base, digest) != digest:
            raise KwsError(
                f"runs on {base} are of two bases ({known[base][:8]} and {digest[:8]}): make those "
                "of one of them anew, or report them apart, with --records and --out"
            )


def _refuse_streams_twice(records: Iterable[Record]) -> None:
    """Raise a KwsError where two grids have a stream of the same name and seed."""
    names = Counter((record["cell"]["task"], record["cell"]["seed"]) for record in records)
    if twice := [name for (name, _), count in names.items() if count > 1]:
        raise KwsError(
            f"two grids have streams '{twice[0]}': name them otherwise in one of them, or report "
            "them apart, with --records and --out"
        )


def without_diverged(records: Sequence[Record]) -> list[Record]:
    """Leave out the learning rates at which a run of the same kind diverged."""

    def kind(record: Record) -> tuple[Any, ...] | None:
        if "stream" in record or not record["cell"]["method"]:
            return None
        clips = record["cell"].get("per_word")
        return (*method_and_budget(record), settings_of(record), clips, rate_of(record))

    lost = {kind(record) for record in records if DIVERGED in record}
    return [r for r in records if DIVERGED not in r and (kind(r) is None or kind(r) not in lost)]


def at_best_rates(records: Iterable[Record]) -> list[Record]:
    """Of the learning rates that a method was run with at a budget, the best on validation.

    Rates are compared by what all of them ran; the rest of a grid may be run at the best alone, or
    at the best few, which are then compared by all that these ran. A run that is part of two grids
    counts once.

    Raises:
        KwsError: there is no such run.

    """
    found: list[Record] = []
    kinds = grouped(
        records,
        lambda r: (*method_and_budget(r), settings_of(r), r["cell"].get("per_word"), is_causal(r)),
    )
    for (method, budget, *_), some in kinds.items():
        rates = [{run_of(r): r for r in group} for group in grouped(some, rate_of).values()]
        if not set.intersection(*map(set, rates)):
            raise KwsError(
                f"the learning rates of {f'{method} {budget}'.strip()} have no task and seed in "
                "common to choose the best by; run one with each, or delete records of all but one"
            )
        found += _best(rates).values()
    return found


def _best(rates: Sequence[Mapping[T, Record]]) -> Mapping[T, Record]:
    """The best of several rates by what all ran; then, if it ran more, of those that did so too."""
    common = set.intersection(*map(set, rates))
    best = max(rates, key=lambda runs: mean(runs[c]["validation"]["accuracy"] for c in common))
    longer = [runs for runs in rates if len(runs) > len(common)]
    return _best(longer) if best in longer and len(longer) < len(rates) else best


def write_summary(records: Sequence[Record], page: Path) -> None:
    """Put the table over several languages where a page has the marks for it."""
    broad, *_ = _alike(_to_everything(_adaptations(without_diverged(records))))
    if not broad:
        return
    found = (
        f"Accuracy in per cent on test people, mean of {', '.join(tasks_of(broad))} ± standard "
        f"deviation over seeds. {settings_of(broad[0])}\n\n{summary_table(broad)}\n"
    )
    text = page.read_text(encoding="utf-8")
    write_text(page, MARKS.sub(lambda marks: f"{marks[1]}{found}{marks[2]}", text))


def _adaptations(records: Sequence[Record]) -> list[Record]:
    """Adaptations at their methods' best rates, without those that build on another language."""
    trained = [r for r in records if "stream" not in r and not r["cell"]["tau"]]
    return at_best_rates(r for r in trained if not r["cell"].get("before"))


def _to_everything(adapted: Sequence[Record]) -> list[Record]:
    """Those to all recordings of a language."""
    return [r for r in adapted if not r["cell"].get("per_word")]


def _alike(records: Sequence[Record]) -> list[list[Record]]:
    """Groups of equal settings; of most tasks first, then trained longest; causal last."""
    alike = list(grouped(records, lambda r: (is_causal(r), settings_of(r))).values())
    alike.sort(
        key=lambda some: (
            is_causal(some[0]),
            -len(tasks_of(some)),
            -steps_of(some[0]),
        )
    )
    return alike or [[]]


def _compared(
    records: Sequence[Record], bases: Sequence[Record], out: Path, mark: str
) -> list[str]:
    """The tables and pictures of runs of one setting; ``mark`` is in the pictures' names."""
    kinds = grouped(records, method_and_budget)
    count = len(tasks_of(records))
    everywhere = [kind for kind, some in kinds.items() if len(tasks_of(some)) == count]
    if count > 1 and 2 * len(everywhere) >= len(kinds):
        parts = [languages_table(records)]
    else:
        parts = [methods_table(some) for some in grouped(records, task_of).values()]
    parts += filter(None, [routing_note(records, bases)])
    if rows := paired(records):
        parts += ["### Paired differences", PAIRED, rows]
    for name, draw, says in (
        ("accuracy_by_bytes", draw_accuracy, "test accuracy against bytes stored"),
        ("choices", partial(draw_choices, bases=bases), "what SWR's policy chose"),
    ):
        picture = out.with_name(re.sub(r"[^\w.]+", "-", f"{name}{mark}") + ".png")
        if draw(records, path=picture):
            parts += [f"![{says}]({picture.name})"]
    return parts


def _base_kind(record: Record) -> tuple[Any, ...]:
    """Width, whether it is causal, and what its name in the table is made of."""
    rate, clips = rate_of(record), record["settings"].get("per_word")
    return (
        record["cell"]["tau"],
        is_causal(record),
        task_of(record),
        length_of(record),
        f"{clips} clips a word" if clips else "",
        f"rate {rate:g}" if rate != LR else "",
        "closed" if record["settings"].get("closed") else "",
    )


def _bases(records: Sequence[Record]) -> str:
    groups: dict[tuple[Any, ...], dict[int, Record]] = {}
    for record in records:  # a run that is part of two grids counts once
        groups.setdefault(_base_kind(record), {})[record["cell"]["seed"]] = record
    rows = []
    for (tau, causal, *named), by_seed in sorted(groups.items()):
        some = list(by_seed.values())
        rows.append(
            [
                ", ".join(filter(None, named)),
                f"τ={tau:g}, causal" if causal else f"τ={tau:g}",
                f"{some[0]['result']['parameters']:,}",
                spread_of(accuracies(some)),
                spread_of(100 * r["validation"]["accuracy"] for r in some),
                f"{min(100 * r['test']['worst_speaker']['accuracy'] for r in some):.1f}",
                f"{mean(r['result']['seconds'] for r in some) / 60:.0f}",
                str(len(some)),
            ]
        )
    titles = [
        "base",
        "width",
        "parameters",
        "test",
        "validation",
        "worst speaker",
        "minutes",
        "seeds",
    ]
    return markdown(titles, rows)
