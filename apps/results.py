"""From records to ``results.md``: tables with spread, and pictures, all made by one command."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Final

from matplotlib.figure import Figure

from kws.files import write_bytes, write_text
from policy.transfer import RATE

from . import stream_results, zoo_results
from .paired import CAUSALITY, PAIRED, SEQUENCE, causality, paired, sequences
from .tables import (
    Record,
    accuracies,
    by_budget,
    bytes_of,
    grouped,
    is_causal,
    least_and_most,
    length_of,
    markdown,
    method_of,
    run_of,
    spread_of,
    task_of,
)
from .zoo_results import zoo_rows


def write_results(records: Sequence[Record], out: Path, zoo: Path | None = None) -> None:
    """Write the page at ``out`` and its picture beside it, with the networks of a folder."""
    streams = [record for record in records if "stream" in record]
    trained = [record for record in records if "stream" not in record]
    bases = [record for record in trained if record["cell"]["tau"]]
    chained = [record for record in trained if record["cell"].get("before")]
    adapted = _adaptations(records)
    few = [record for record in adapted if record["cell"].get("per_word")]
    runs = _whole_views(adapted)
    parts = [
        "# Results",
        "Made from the records in `docs/records` by `kws bench report`; the runs, by "
        "`kws bench run` from the grids in `configs`. "
        "Accuracy is in per cent of the keywords' clips of test speakers, none of whom was "
        "trained on; mean ± standard deviation over seeds. Choices were made on validation; "
        "where figures of test had been seen before one, its decision in `docs/decisions` says so.",
    ]
    if bases:
        parts += ["## The base", _bases(bases)]
    if zoo and (networks := zoo_rows(zoo)):
        parts += ["## What comes along", zoo_results.INTRODUCTION]
        parts += [markdown(zoo_results.TITLES, networks)]
    if runs:
        broad, deep = _most(runs, task_of), _most(runs, method_of)
        parts += ["## Languages under a budget", _settings(broad[0]), _languages(broad)]
        parts += ["### Paired differences", PAIRED, paired(broad)]
        parts += ["## Every method on one language", _settings(deep[0]), _methods(deep)]
        parts += ["### Paired differences there", paired(deep)] if deep != broad else []
        picture = out.with_name("accuracy_by_budget.png")
        _picture(deep, picture)
        parts += [f"![test accuracy against numbers owned]({picture.name})"]
    if few:
        parts += ["## Few recordings", _few(few)]
    if chained:
        parts += ["## One language after another", SEQUENCE, sequences(adapted + chained)]
    if rows := causality([*bases, *adapted]):
        parts += ["## What hearing nothing later costs", CAUSALITY, rows]
    if streams:
        parts += ["## On streams", stream_results.introduction(streams)]
        parts += [markdown(stream_results.titles(streams), stream_results.rows(streams))]
        parts += filter(None, [stream_results.notes(streams)])
        parts += stream_results.pictures(streams, out)
    write_text(out, "\n\n".join(parts) + "\n")


def at_best_rates(records: Iterable[Record]) -> list[Record]:
    """Of the learning rates that a method was run with at a budget, the best on validation.

    Rates are compared by what all of them ran; the rest of a grid may be run at the best alone.
    """
    found: list[Record] = []
    kinds = grouped(
        records, lambda r: (*method_of(r), length_of(r), is_causal(r), r["cell"].get("per_word"))
    )
    for some in kinds.values():
        by_rate = grouped(some, lambda r: r["cell"].get("lr"))
        runs = [
            {run_of(r): r["validation"]["accuracy"] for r in group} for group in by_rate.values()
        ]
        common = set.intersection(*map(set, runs))
        scores = [mean([run[key] for key in common] or [0.0]) for run in runs]
        found += list(by_rate.values())[scores.index(max(scores))]
    return found


MARKS: Final = re.compile(r"(<!-- results: [^>]*-->\n).*?(<!-- /results -->)", re.DOTALL)


def write_summary(records: Sequence[Record], page: Path) -> None:
    """Put the table over several languages where a page has the marks for it."""
    runs = _whole_views(_adaptations(records))
    if not runs:
        return
    broad = _most(runs, task_of)
    found = f"Accuracy in per cent on test people. {_settings(broad[0])}\n\n{_languages(broad)}\n"
    text = page.read_text(encoding="utf-8")
    write_text(page, MARKS.sub(lambda marks: f"{marks[1]}{found}{marks[2]}", text))


def _adaptations(records: Sequence[Record]) -> list[Record]:
    """Each at its method's best rate; those that build on another language are told apart."""
    trained = [r for r in records if "stream" not in r and not r["cell"]["tau"]]
    return at_best_rates(r for r in trained if not r["cell"].get("before"))


def _whole_views(adapted: Sequence[Record]) -> list[Record]:
    """Those to all recordings of a language, of networks that hear the whole view."""
    return [r for r in adapted if not (is_causal(r) or r["cell"].get("per_word"))]


def _most(records: Sequence[Record], what: Callable[[Record], object]) -> list[Record]:
    """Those of one setting, which can be compared: that under which most different of what ran."""
    alike = grouped(records, _settings).values()
    return max(alike, key=lambda some: len({what(record) for record in some}))


def _settings(record: Record) -> str:
    settings = record["settings"]
    clips = settings.get("per_word")
    return (
        f"Base {settings['base']}, {length_of(record)} for every method, "
        f"{f'{clips} training clips of each word' if clips else 'all training clips'}, "
        f"{'without' if settings.get('closed') else 'with'} unknown and silence."
    )


def _bases(records: Sequence[Record]) -> str:
    groups = grouped(records, lambda record: (record["cell"]["tau"], is_causal(record)))
    rows = [
        [
            f"τ={tau:g}, causal" if causal else f"τ={tau:g}",
            f"{some[0]['result']['parameters']:,}",
            spread_of(accuracies(some)),
            spread_of(100 * r["validation"]["accuracy"] for r in some),
            f"{min(100 * r['test']['worst_speaker']['accuracy'] for r in some):.1f}",
            f"{mean(r['result']['seconds'] for r in some) / 60:.0f}",
            str(len(some)),
        ]
        for (tau, causal), some in sorted(groups.items())
    ]
    titles = ["width", "parameters", "test", "validation", "worst speaker", "minutes", "seeds"]
    return markdown(titles, rows)


def _languages(records: Sequence[Record]) -> str:
    tasks = list(dict.fromkeys(record["cell"]["task"] for record in records))
    groups = grouped(records, method_of)
    rows = []
    for (method, budget), some in sorted(groups.items(), key=by_budget):
        by_task = grouped(some, lambda record: record["cell"]["task"])
        if set(by_task) != set(tasks):
            continue
        means = [mean(accuracies(by_task[task])) for task in tasks]
        rows.append(
            [
                method,
                budget or "-",
                *(spread_of(accuracies(by_task[task])) for task in tasks),
                f"**{mean(means):.2f}**",
                bytes_of(some),
                least_and_most(len(by_task[task]) for task in tasks),
            ]
        )
    return markdown(["method", "budget", *tasks, "mean", "stored bytes", "seeds"], rows)


def _methods(records: Sequence[Record]) -> str:
    task = _most_run(records)
    groups = grouped([r for r in records if task_of(r) == task], method_of)
    rows = [
        [
            method,
            budget or "-",
            _rate(some[0]),
            least_and_most(r["result"]["spent_parameters"] for r in some),
            bytes_of(some),
            spread_of(accuracies(some)),
            spread_of(100 * r["validation"]["accuracy"] for r in some),
            str(len(some)),
        ]
        for (method, budget), some in sorted(groups.items(), key=by_budget)
    ]
    sizes = ["numbers owned", "stored bytes"]
    titles = ["method", "budget", "rate", *sizes, "test", "validation", "seeds"]
    return f"On {task}.\n\n" + markdown(titles, rows)


def _rate(record: Record) -> str:
    """The peak learning rate of everything; fewer numbers are trained faster."""
    return f"{record['cell'].get('lr') or record['settings'].get('lr') or RATE:g}"


def _few(records: Sequence[Record]) -> str:
    """A row for each method; full fine-tuning beside, as in the other tables."""
    groups = grouped(records, lambda r: (task_of(r), *method_of(r)))
    sizes = sorted({record["cell"]["per_word"] for record in records})
    rows = []
    for (task, method, budget), some in sorted(groups.items()):
        by_size = grouped(some, lambda r: r["cell"]["per_word"])
        found = [spread_of(accuracies(by_size[n])) if n in by_size else "" for n in sizes]
        seeds = least_and_most(len(group) for group in by_size.values())
        rows.append([task, method, budget or "-", *found, seeds])
    titles = ["task", "method", "budget", *(f"{size} clips a word" for size in sizes), "seeds"]
    return markdown(titles, rows)


def _picture(records: Sequence[Record], path: Path) -> None:
    task = _most_run(records)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    by_method = grouped([r for r in records if task_of(r) == task], lambda r: r["cell"]["method"])
    for method, some in by_method.items():
        points = []
        for runs in grouped(some, method_of).values():
            values = accuracies(runs)
            spent = mean(r["result"]["spent_parameters"] for r in runs)
            points.append((spent, mean(values), stdev(values) if len(values) > 1 else 0.0))
        x, y, spread = zip(*sorted(points), strict=True)
        axes.errorbar(x, y, spread, marker="o", capsize=3, label=method)
    axes.set_xscale("symlog", linthresh=500)
    axes.set(
        title=f"{task}: accuracy on unseen people against what the language owns",
        xlabel="numbers that the language owns (head not counted)",
        ylabel="% of test clips, mean and standard deviation",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())


def _most_run(records: Sequence[Record]) -> str:
    """The task on which all methods ran."""
    counts = {name: len(some) for name, some in grouped(records, task_of).items()}
    return max(counts, key=lambda name: counts[name])
