"""Tables and pictures of methods side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from kws.forms import split_name
from kws.quantized import DEFAULT_BITS
from kws.sites import find_sites
from models.bcresnet import BCResNet
from policy.methods import METHODS
from policy.spottune import Routed
from policy.transfer import SHORTEST

from ..experiments.grid import Cell
from ..training.measure import routing_macs
from ..training.pictures import choices, save
from .tables import (
    OURS,
    Record,
    accuracies,
    base_of,
    bits_told,
    budget_size,
    by_budget,
    bytes_of,
    grouped,
    least_and_most,
    length_of,
    markdown,
    method_and_budget,
    rate_of,
    spread_of,
    steps_of,
    task_of,
)

ROUTED: Final = "spottune"  # costs more operations than the others


def settings_of(record: Record) -> str:
    """What runs have in common that can be compared."""
    settings = record["settings"]
    clips, bits = settings.get("per_word"), settings.get("bits") or DEFAULT_BITS
    heard = f"{clips} training clips of each word at most" if clips else "all training clips"
    if record["cell"].get("per_word"):
        heard = "at most the stated number of training clips of each word"
    return (
        f"Base {settings['base']}; {_lengths(record)}; {heard}; "
        f"{'keywords only, without' if settings.get('closed') else 'with'} the classes unknown "
        f"and silence{f'; numbers of {bits} bits' if bits != DEFAULT_BITS else ''}."
    )


def _lengths(record: Record) -> str:
    """How long each method was trained."""
    told = f"{length_of(record)} for every method"
    return f"{told}, {SHORTEST} epochs at least in stages" if steps_of(record) else told


def tasks_of(records: Sequence[Record]) -> list[str]:
    """On which they ran, in their order."""
    return list(dict.fromkeys(map(task_of, records)))


def languages_table(records: Sequence[Record]) -> str:
    """A row for each method and budget that ran on all tasks, a column for each task.

    The mean is of seeds that ran on all tasks.
    """
    tasks = tasks_of(records)
    rows, left_out = [], []
    for (method, budget), some in sorted(
        grouped(records, method_and_budget).items(), key=by_budget
    ):
        by_task = grouped(some, task_of)
        if set(by_task) != set(tasks):
            left_out.append(f"{method} {budget}".strip())
            continue
        worst = min(100 * r["test"]["worst_speaker"]["accuracy"] for r in some)
        means = _means(some)
        rows.append(
            [
                method,
                budget or "-",
                f"{rate_of(some[0]):g}",
                *(spread_of(accuracies(by_task[task])) for task in tasks),
                f"**{mean(means):.2f}**" if means else "-",
                bytes_of(some),
                f"{worst:.1f}",
                least_and_most(len(by_task[task]) for task in tasks),
            ]
        )
    measured = [*tasks, "mean", "stored bytes", "worst person", "seeds"]
    told = f"\n\nNot run on all of these, and so left out: {', '.join(left_out)}."
    return markdown(["method", "budget", "rate", *measured], rows) + told * bool(left_out)


def summary_table(records: Sequence[Record]) -> str:
    """Means over all tasks: a row for each method, a column for each budget that several have."""
    kinds = _on_all_tasks(records)
    means = {kind: spread_of(_means(some)) for kind, some in kinds.items()}
    having = Counter(budget for _, budget in kinds if budget)
    budgets = sorted((one for one, count in having.items() if count > 1), key=budget_size)
    rows = [
        [method, *(means.get((method, budget), "-") for budget in budgets)]
        for method in sorted({one for one, budget in kinds if budget in budgets}, key=_ours_first)
    ]
    stored = [
        bytes_of(run for (_, one), some in kinds.items() if one == budget for run in some)
        for budget in budgets
    ]
    parts = [markdown(["method", *budgets], [*rows, ["*stored bytes*", *stored]])] if rows else []
    free = sorted(kind for kind in kinds if not kind[1])
    if free:
        told = (f"{kind[0]} {means[kind]} in {bytes_of(kinds[kind])} bytes" for kind in free)
        parts += [f"Without a budget: {'; '.join(told)}."]
    return "\n\n".join(parts)


def methods_table(records: Sequence[Record]) -> str:
    """A row for each method and budget on the one task that all of them ran on."""
    rows = [
        [
            method,
            budget or "-",
            f"{rate_of(some[0]):g}",
            least_and_most(r["result"]["spent_parameters"] for r in some),
            bytes_of(some),
            spread_of(accuracies(some)),
            spread_of(100 * r["validation"]["accuracy"] for r in some),
            str(len(some)),
        ]
        for (method, budget), some in sorted(
            grouped(records, method_and_budget).items(), key=by_budget
        )
    ]
    sizes = ["numbers owned", "stored bytes"]
    titles = ["method", "budget", "rate", *sizes, "test", "validation", "seeds"]
    return f"On {tasks_of(records)[0]}.\n\n" + markdown(titles, rows)


def routing_note(records: Sequence[Record], bases: Sequence[Record]) -> str:
    """What a method costs that decides for each clip; nothing where none does, or no base is known.

    Counted on a network of the base's width.
    """
    width = _width_of_base(records, bases)
    if width is None or not any(r["cell"]["method"] == ROUTED for r in records):
        return ""
    network = BCResNet(2, width)
    added, share = routing_macs(Routed(network, 2, find_sites(network)))
    return (
        f"{ROUTED} runs the base's blocks beside its own for every clip, which adds {added:,} "
        f"multiply-accumulates to those of a second ({share:.0%}); no other method adds any. "
        "A runtime that ran only the chosen blocks would add its policy's alone."
    )


def few_table(records: Sequence[Record]) -> str:
    """Few recordings: a row for each method, a column for each number of clips."""
    groups = grouped(records, lambda r: (task_of(r), *method_and_budget(r)))
    sizes = sorted({record["cell"]["per_word"] for record in records})
    rows = []
    for (task, method, budget), some in sorted(groups.items()):
        by_size = grouped(some, lambda r: r["cell"]["per_word"])
        found = [spread_of(accuracies(by_size[n])) if n in by_size else "" for n in sizes]
        seeds = least_and_most(len(group) for group in by_size.values())
        rows.append([task, method, budget or "-", *found, seeds])
    titles = ["task", "method", "budget", *(f"{size} clips a word" for size in sizes), "seeds"]
    return markdown(titles, rows)


def draw_accuracy(records: Sequence[Record], path: Path) -> bool:
    """Accuracy against what is stored, a line for each method; False where no seed is whole."""
    tasks = tasks_of(records)
    groups = _on_all_tasks(records)
    if not groups:
        return False
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for name in sorted({method for method, _ in groups}, key=_ours_first):
        some = [runs for (method, _), runs in groups.items() if method == name]
        stored = [mean(r["result"]["stored_bytes"] for r in runs) for runs in some]
        means = [_means(runs) for runs in some]
        order = sorted(range(len(some)), key=lambda index: stored[index])
        axes.errorbar(
            [stored[index] for index in order],
            [mean(means[index]) for index in order],
            [stdev(means[index]) if len(means[index]) > 1 else 0 for index in order],
            capsize=2,
            linewidth=2.5 if name == OURS else 1,
            label=name,
            zorder=3 if name == OURS else 2,
            **_style(name),
        )
    axes.set_xscale("log")
    for numbers in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        numbers("{x:,.0f}")
    axes.tick_params("x", which="both", labelsize=8, rotation=45)
    axes.set(
        title=f"{'Mean of ' if len(tasks) > 1 else ''}{', '.join(tasks)}",
        xlabel="bytes that a language stores, its head included",
        ylabel="% of test clips, mean and standard deviation over seeds",
    )
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper")
    save(figure, path)
    return True


def _style(name: str) -> dict[str, Any]:
    """How a method is drawn, the same in every picture; in other bits it is dashed.

    >>> _style("swr")["color"] != _style("a method that is gone")["color"]
    True
    """
    method, _, bits = name.partition(", ")
    names = [*METHODS]
    number = names.index(method) if method in names else len(names)  # renamed since
    colors = mpl.color_sequences["tab20"] + mpl.color_sequences["tab20b"]
    marker = "os^Dv<>"[(number + bool(bits)) % 7]
    return {"color": colors[number], "marker": marker, "linestyle": "--" if bits else "-"}


def draw_choices(records: Sequence[Record], bases: Sequence[Record], path: Path) -> bool:
    """What SWR's policy gave to which site, mean of seeds.

    False where the base has no record, or is no BC-ResNet.
    """
    width = _width_of_base(records, bases)
    ours = [r for r in records if r["cell"]["method"] == OURS]
    if width is None or not ours:
        return False
    sites = find_sites(BCResNet(2, width))
    owned = {split_name(site)[0] for record in ours for site in record["result"]["sites"]}
    if not owned <= {site.module for site in sites}:
        return False
    rows: Mapping[tuple[str, str, str], list[Record]] = grouped(
        ours, lambda r: (task_of(r), r["cell"]["budget"], bits_told(r))
    )
    choices(
        [
            (f"{task} {budget}{bits}", [r["result"]["sites"] for r in some])
            for (task, budget, bits), some in sorted(
                rows.items(), key=lambda row: (budget_size(row[0][1]), row[0])
            )
        ],
        sites,
        path,
    )
    return True


def _width_of_base(records: Sequence[Record], bases: Sequence[Record]) -> float | None:
    """Tau of the base that these ran on, where it has a record."""
    name = base_of(records[0])
    return next((r["cell"]["tau"] for r in bases if _name_of(r) == name), None)


def _name_of(record: Record) -> str:
    """Of the folder that a pretraining left."""
    told = record["cell"]
    return Cell(task=told["task"], seed=told["seed"], tau=told["tau"]).name


def _on_all_tasks(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Runs by method and budget, of which one seed at least ran on all tasks."""
    tasks = set(tasks_of(records))
    kinds = grouped(records, method_and_budget).items()
    return {kind: some for kind, some in kinds if set(tasks_of(some)) == tasks and _means(some)}


def _means(records: Sequence[Record]) -> list[float]:
    """Of each seed that ran on all tasks the mean over them."""
    by_seed = grouped(records, lambda r: r["cell"]["seed"])
    everywhere = len(tasks_of(records))
    return [mean(accuracies(some)) for some in by_seed.values() if len(some) == everywhere]


def _ours_first(method: str) -> tuple[bool, str]:
    return method != OURS, method
