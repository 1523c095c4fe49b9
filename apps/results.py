"""From records to ``results.md``: tables with spread, and pictures, all made by one command."""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, TypeVar

from matplotlib.figure import Figure

from kws.files import write_bytes, write_text
from policy.transfer import RATE

from . import stream_results, zoo_results
from .adapt import STEPS
from .zoo_results import zoo_rows

Record = dict[str, Any]
K = TypeVar("K")


def write_results(records: Sequence[Record], out: Path, zoo: Path | None = None) -> None:
    """Write the page at ``out`` and its picture beside it, with the networks of a folder."""
    streams = [record for record in records if "stream" in record]
    trained = [record for record in records if "stream" not in record]
    bases = [record for record in trained if record["cell"]["tau"]]
    chained = [record for record in trained if record["cell"].get("before")]
    adapted = at_best_rates([r for r in trained if not (r["cell"]["tau"] or r in chained)])
    few = [record for record in adapted if record["cell"].get("per_word")]
    runs = _whole_views(records)
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
        parts += [_table(zoo_results.TITLES, networks)]
    if runs:
        broad, deep = _most(runs, _task), _most(runs, _key)
        parts += ["## Languages under a budget", _settings(broad[0]), _languages(broad)]
        parts += ["### Paired differences", PAIRED, _promises(broad)]
        parts += ["## Every method on one language", _settings(deep[0]), _methods(deep)]
        parts += ["### Paired differences there", _promises(deep)] if deep != broad else []
        picture = out.with_name("accuracy_by_budget.png")
        _picture(deep, picture)
        parts += [f"![test accuracy against numbers owned]({picture.name})"]
    if few:
        parts += ["## Few recordings", _few(few)]
    if chained:
        parts += ["## One language after another", SEQUENCE, _sequences(adapted + chained)]
    if rows := _causality([*bases, *adapted]):
        parts += ["## What hearing nothing later costs", CAUSALITY, rows]
    if streams:
        parts += ["## On streams", stream_results.introduction(streams)]
        parts += [_table(stream_results.titles(streams), stream_results.rows(streams))]
        parts += filter(None, [stream_results.notes(streams)])
        parts += stream_results.pictures(streams, out)
    write_text(out, "\n\n".join(parts) + "\n")


def at_best_rates(records: Iterable[Record]) -> list[Record]:
    """Of the learning rates that a method was run with at a budget, the best on validation.

    Rates are compared by what all of them ran; the rest of a grid may be run at the best alone.
    """
    found: list[Record] = []
    kinds = _group(records, lambda r: (*_key(r), _length(r), _causal(r), r["cell"].get("per_word")))
    for some in kinds.values():
        by_rate = _group(some, lambda r: r["cell"].get("lr"))
        runs = [{_run(r): r["validation"]["accuracy"] for r in group} for group in by_rate.values()]
        common = set.intersection(*map(set, runs))
        scores = [mean([run[key] for key in common] or [0.0]) for run in runs]
        found += list(by_rate.values())[scores.index(max(scores))]
    return found


def _length(record: Record) -> str:
    """How long it was trained."""
    epochs, steps = map(record["settings"].get, ("epochs", "steps"))
    return f"{epochs} epochs" if epochs else f"{steps or STEPS:,} steps"


def _run(record: Record) -> tuple[str, int]:
    return _task(record), record["cell"]["seed"]


MARKS: Final = re.compile(r"(<!-- results: [^>]*-->\n).*?(<!-- /results -->)", re.DOTALL)


def write_summary(records: Sequence[Record], page: Path) -> None:
    """Put the table over several languages where a page has the marks for it."""
    runs = _whole_views(records)
    if not runs:
        return
    broad = _most(runs, _task)
    found = f"Accuracy in per cent on test people. {_settings(broad[0])}\n\n{_languages(broad)}\n"
    text = page.read_text(encoding="utf-8")
    write_text(page, MARKS.sub(lambda marks: f"{marks[1]}{found}{marks[2]}", text))


def _whole_views(records: Sequence[Record]) -> list[Record]:
    """Adaptations to all recordings of a language, of networks that hear the whole view."""
    trained = [r for r in records if "stream" not in r and not r["cell"]["tau"]]
    apart = "per_word", "before"  # few recordings, and languages in sequence: in other tables
    alike = [r for r in trained if not (_causal(r) or any(map(r["cell"].get, apart)))]
    return at_best_rates(alike)


def _most(records: Sequence[Record], what: Callable[[Record], object]) -> list[Record]:
    """Those of one setting, which can be compared: that under which most different of what ran."""
    alike = _group(records, _settings).values()
    return max(alike, key=lambda some: len({what(record) for record in some}))


CAUSALITY: Final = (
    "A causal network, which decides at every frame of a stream from what came before, beside one "
    "that hears the whole view: same task, method, budget and seed; causal minus whole, in points."
)


def _causality(records: Sequence[Record]) -> str:
    """Pairs of runs that differ in nothing else; nothing where there is none."""
    rows = []
    for _, some in sorted(
        _group(records, lambda r: (*_key(r), _task(r), _width(r), _length(r))).items()
    ):
        causal, whole = (
            {r["cell"]["seed"]: 100 * r["test"]["accuracy"] for r in some if _causal(r) == wanted}
            for wanted in (True, False)
        )
        pairs = [value - whole[seed] for seed, value in causal.items() if seed in whole]
        if pairs:
            method, budget = _key(some[0])
            how = f"{method} {budget}".strip() if method else f"base {_width(some[0])}"
            both = [
                _spread(found[seed] for seed in causal if seed in whole)
                for found in (causal, whole)
            ]
            rows.append([_task(some[0]), how, *both, _signed(pairs), str(len(pairs))])
    titles = ["task", "", "causal", "whole", "difference", "seeds"]
    return _table(titles, rows) if rows else ""


def _causal(record: Record) -> bool:
    return bool(record.get("causal"))


def _width(record: Record) -> str:
    tau = record["cell"]["tau"]
    return f"τ={tau:g}" if tau else ""


def _settings(record: Record) -> str:
    settings = record["settings"]
    clips = settings.get("per_word")
    return (
        f"Base {settings['base']}, {_length(record)} for every method, "
        f"{f'{clips} training clips of each word' if clips else 'all training clips'}, "
        f"{'without' if settings.get('closed') else 'with'} unknown and silence."
    )


def _bases(records: Sequence[Record]) -> str:
    groups = _group(records, lambda record: (record["cell"]["tau"], _causal(record)))
    rows = [
        [
            f"τ={tau:g}, causal" if causal else f"τ={tau:g}",
            f"{some[0]['result']['parameters']:,}",
            _spread(_accuracies(some)),
            _spread(100 * r["validation"]["accuracy"] for r in some),
            f"{min(100 * r['test']['worst_speaker']['accuracy'] for r in some):.1f}",
            f"{mean(r['result']['seconds'] for r in some) / 60:.0f}",
            str(len(some)),
        ]
        for (tau, causal), some in sorted(groups.items())
    ]
    titles = ["width", "parameters", "test", "validation", "worst speaker", "minutes", "seeds"]
    return _table(titles, rows)


def _key(record: Record) -> tuple[str, str]:
    return record["cell"]["method"] or "", record["cell"]["budget"] or ""


def _languages(records: Sequence[Record]) -> str:
    tasks = list(dict.fromkeys(record["cell"]["task"] for record in records))
    groups = _group(records, _key)
    rows = []
    for (method, budget), some in sorted(groups.items(), key=_order):
        by_task = _group(some, lambda record: record["cell"]["task"])
        if set(by_task) != set(tasks):
            continue
        means = [mean(_accuracies(by_task[task])) for task in tasks]
        rows.append(
            [
                method,
                budget or "-",
                *(_spread(_accuracies(by_task[task])) for task in tasks),
                f"**{mean(means):.2f}**",
                _bytes(some),
                _range(len(by_task[task]) for task in tasks),
            ]
        )
    return _table(["method", "budget", *tasks, "mean", "stored bytes", "seeds"], rows)


PAIRED: Final = (
    "SWR beside full fine-tuning, and beside the largest of each other method that stores no more "
    "bytes than SWR does in the same runs."
)


def _promises(records: Sequence[Record]) -> str:
    """SWR beside everything and, of each other method, what stores most but no more than SWR does.

    Same language and seed, one minus the other, in points of test accuracy.
    """
    kinds = {kind: {_run(r): r for r in some} for kind, some in _group(records, _key).items()}
    rows = []
    for swr in sorted(
        (kind for kind in kinds if kind[0] == "swr"), key=lambda kind: _size(kind[1])
    ):
        fitting: dict[str, tuple[float, list[tuple[Record, Record]], str]] = {}  # by method
        for other in kinds.keys() - {swr}:
            common = kinds[swr].keys() & kinds[other].keys()
            pairs = [(kinds[swr][run], kinds[other][run]) for run in sorted(common)]
            if not pairs or other[0] == "swr":
                continue
            mine, theirs = (
                sum(r["result"]["stored_bytes"] for r in side) for side in zip(*pairs, strict=True)
            )
            more = theirs > fitting.get(other[0], (0,))[0]
            if (theirs <= mine and more) or other[0] == "full":
                fitting[other[0]] = theirs, pairs, " ".join(other).strip()
        for _, (_, pairs, name) in sorted(fitting.items()):
            points = [100 * (a["test"]["accuracy"] - b["test"]["accuracy"]) for a, b in pairs]
            wins, ties = sum(p > 0 for p in points), sum(p == 0 for p in points)
            note = f"{wins} better, {ties} equal, {len(points) - wins - ties} worse"
            rows.append([f"{' '.join(swr)} - {name}", _signed(points), note])
    return _table(["difference", "points", "pairs of language and seed"], rows)


def _methods(records: Sequence[Record]) -> str:
    task = _most_run(records)
    groups = _group([r for r in records if _task(r) == task], _key)
    rows = [
        [
            method,
            budget or "-",
            _rate(some[0]),
            _range(r["result"]["spent_parameters"] for r in some),
            _bytes(some),
            _spread(_accuracies(some)),
            _spread(100 * r["validation"]["accuracy"] for r in some),
            str(len(some)),
        ]
        for (method, budget), some in sorted(groups.items(), key=_order)
    ]
    sizes = ["numbers owned", "stored bytes"]
    titles = ["method", "budget", "rate", *sizes, "test", "validation", "seeds"]
    return f"On {task}.\n\n" + _table(titles, rows)


def _rate(record: Record) -> str:
    """The peak learning rate of everything; fewer numbers are trained faster."""
    return f"{record['cell'].get('lr') or record['settings'].get('lr') or RATE:g}"


SEQUENCE: Final = (
    "Each language builds on what those before it learnt, which stays as it was. Test accuracy, "
    "and in brackets the numbers that a language owns beside those of the ones before."
)


def _sequences(records: Sequence[Record]) -> str:
    """A row for each order of languages that is part of no longer one."""
    found = {(*_key(r), _order_of(r), r["cell"]["seed"]): r for r in records}
    orders = {key for key in found if len(key[2]) > 1}
    rows = []
    for method, budget, order, seed in sorted(orders):
        parts = [order[:end] for end in range(1, len(order) + 1)]
        longer = any(o[2][: len(order)] == order and o[2] != order for o in orders)
        steps = [found.get((method, budget, part, seed)) for part in parts]
        if longer or None in steps:
            continue
        owned = [0, *(r["result"]["spent_parameters"] for r in steps if r)]
        cells = [
            f"{_task(r)} {100 * r['test']['accuracy']:.1f} ({now - before:,})"
            for r, before, now in zip(filter(None, steps), owned, owned[1:], strict=False)
        ]
        mean_of_all = mean(_accuracies([r for r in steps if r]))
        rows.append([f"{method} {budget}", str(seed), *cells, f"{mean_of_all:.1f}"])
    titles = [str(number) for number in range(1, max(map(len, rows), default=3) - 2)]
    return _table(["method", "seed", *titles, "mean"], rows)


def _order_of(record: Record) -> tuple[str, ...]:
    return (*record["cell"].get("before", ()), _task(record))


def _few(records: Sequence[Record]) -> str:
    """A row for each method; full fine-tuning beside, as in the other tables."""
    groups = _group(records, lambda r: (_task(r), *_key(r)))
    sizes = sorted({record["cell"]["per_word"] for record in records})
    rows = []
    for (task, method, budget), some in sorted(groups.items()):
        by_size = _group(some, lambda r: r["cell"]["per_word"])
        found = [_spread(_accuracies(by_size[n])) if n in by_size else "" for n in sizes]
        seeds = _range(len(group) for group in by_size.values())
        rows.append([task, method, budget or "-", *found, seeds])
    titles = ["task", "method", "budget", *(f"{size} clips a word" for size in sizes), "seeds"]
    return _table(titles, rows)


def _picture(records: Sequence[Record], path: Path) -> None:
    task = _most_run(records)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    by_method = _group([r for r in records if _task(r) == task], lambda r: r["cell"]["method"])
    for method, some in by_method.items():
        points = []
        for runs in _group(some, _key).values():
            values = _accuracies(runs)
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
    counts = {name: len(some) for name, some in _group(records, _task).items()}
    return max(counts, key=lambda name: counts[name])


def _task(record: Record) -> str:
    return str(record["cell"]["task"])


def _order(item: tuple[tuple[str, str], Any]) -> tuple[float, str]:
    (method, budget), _ = item
    return (0 if method == "head" else _size(budget), method)


def _size(budget: str) -> float:
    """Per cent; those without a budget come last."""
    return float(budget.rstrip("%")) if budget else 1_000


def _accuracies(records: Iterable[Record]) -> list[float]:
    return [100 * record["test"]["accuracy"] for record in records]


def _group(records: Iterable[Record], key: Callable[[Record], K]) -> dict[K, list[Record]]:
    groups: dict[K, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(groups)


def _spread(values: Iterable[float]) -> str:
    given = list(values)
    return f"{mean(given):.1f} ± {stdev(given):.1f}" if len(given) > 1 else f"{given[0]:.1f}"


def _signed(values: Sequence[float]) -> str:
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{mean(values):+.2f} ± {error:.2f} (standard error)"


def _range(values: Iterable[int]) -> str:
    given = sorted(set(values))
    return f"{given[0]:,}" if len(given) == 1 else f"{given[0]:,} to {given[-1]:,}"


def _bytes(records: Iterable[Record]) -> str:
    return _range(record["result"]["stored_bytes"] for record in records)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
