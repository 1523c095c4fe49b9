"""Runs that differ in one thing, side by side: tables of differences."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Final

from .tables import (
    OURS,
    Record,
    accuracies,
    base_of,
    budget_size,
    grouped,
    is_causal,
    length_of,
    markdown,
    method_and_budget,
    rate_of,
    run_of,
    settings_in,
    signed_mean,
    spread_of,
    standard_error,
    task_of,
    width_of,
)

Kind = tuple[str, str]  # method and budget
Run = tuple[str, int]  # task and seed
Pairs = Sequence[tuple[Record, Record]]

WHOLE, DRAWN = "full", "random"
NEARLY: Final = 1.03  # times SWR's bytes: at one budget, methods differ by what names sites

CAUSALITY: Final = (
    "A causal network, which decides at every frame of a stream from the past alone, against one "
    "that sees the whole view: same task, method, budget, length and seed; causal minus whole, in "
    "points. Adaptations are on one base of each kind."
)


def causality(records: Sequence[Record]) -> str:
    """Pairs of the same task, method, budget, length and seed; nothing where there is none.

    ``records`` hold each run with each seed once, at one learning rate.
    """
    rows = []
    for _, some in sorted(grouped(records, _but_hearing).items()):
        causal, whole = (
            {r["cell"]["seed"]: 100 * r["test"]["accuracy"] for r in some if is_causal(r) == wanted}
            for wanted in (True, False)
        )
        pairs = [value - whole[seed] for seed, value in causal.items() if seed in whole]
        if pairs:
            method, budget = method_and_budget(some[0])
            how = f"{method} {budget}".strip() if method else f"base {width_of(some[0])}"
            both = [
                spread_of(found[seed] for seed in causal if seed in whole)
                for found in (causal, whole)
            ]
            rows.append([task_of(some[0]), how, *both, signed_mean(pairs), str(len(pairs))])
    titles = ["task", "", "causal", "whole", "difference", "seeds"]
    return markdown(titles, rows) if rows else ""


def _but_hearing(record: Record) -> tuple[str, ...]:
    """All that a run went by but its seed and whether it hears what comes later."""
    what = (*method_and_budget(record), task_of(record), width_of(record), length_of(record))
    base = str(rate_of(record)) if record["cell"]["tau"] else base_of(record)
    return *what, base, *settings_in(record)


PAIRED: Final = (
    "SWR minus another method, same tasks and seeds: positive means that SWR is better. It is "
    f"compared with full fine-tuning and, of each other method's variants that store at most "
    f"{NEARLY - 1:.0%} more bytes than SWR in the same runs and share the most runs with it, with "
    "the best on validation. Seeds are averaged for each task first; ± is the standard error over "
    f"tasks, for one task over seeds; for {DRAWN}, whose sites a seed draws alike for all tasks, "
    "that over seeds if larger. It holds the base and the test people fixed."
)


def paired(records: Sequence[Record]) -> str:
    """SWR beside everything and, of each other method, the best of what stores hardly more, if any.

    Best on validation, of the variants that share the most runs with it. Same task and seed,
    one minus the other, in points of test accuracy.
    """
    kinds = {
        kind: {run_of(r): r for r in some}
        for kind, some in grouped(records, method_and_budget).items()
    }
    ours = sorted(
        (kind for kind, runs in kinds.items() if _is_ours(runs)),
        key=lambda kind: budget_size(kind[1]),
    )
    rows = [
        [f"{' '.join(kind)} - {name}", *_difference(pairs)]
        for kind in ours
        for name, pairs in _rivals(kinds, kind)
    ]
    titles = ["difference", "points", "pairs of task and seed"]
    return markdown(titles, rows) if rows else ""


def _is_ours(runs: Mapping[Run, Record]) -> bool:
    """In however many bits."""
    return all(record["cell"]["method"] == OURS for record in runs.values())


def _rivals(kinds: Mapping[Kind, Mapping[Run, Record]], ours: Kind) -> list[tuple[str, Pairs]]:
    """Those to be compared with, by method, and what both ran."""
    found = []
    for kind, runs in kinds.items():
        common = sorted(kinds[ours].keys() & runs.keys())
        pairs = [(kinds[ours][run], runs[run]) for run in common]
        mine, theirs = (
            sum(pair[side]["result"]["stored_bytes"] for pair in pairs) for side in (0, 1)
        )
        if pairs and not _is_ours(runs) and (theirs <= NEARLY * mine or kind[0] == WHOLE):
            validated = mean(other["validation"]["accuracy"] for _, other in pairs)
            found.append((len(pairs), validated, kind, pairs))
    found.sort(key=lambda rival: rival[:2])
    best = {kind[0]: (" ".join(kind).strip(), pairs) for _, _, kind, pairs in found}
    return [best[method] for method in sorted(best)]


def _difference(pairs: Pairs) -> tuple[str, str]:
    """The first of each pair minus the second, and how often it is ahead.

    Seeds of one task are no independent evidence of another one: the error is that over tasks.
    Nor are tasks of one draw of another draw, where a seed draws the same sites for all.
    """
    by_task: dict[str, list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for ours, other in pairs:
        ahead = 100 * (ours["test"]["accuracy"] - other["test"]["accuracy"])
        by_task[task_of(ours)].append(ahead)
        by_seed[ours["cell"]["seed"]].append(ahead)
    points = [ahead for some in by_task.values() for ahead in some]
    wins, ties = sum(p > 0 for p in points), sum(p == 0 for p in points)
    means = [mean(some) for some in by_task.values()] if len(by_task) > 1 else points
    error = standard_error(means)
    if pairs[0][1]["cell"]["method"] == DRAWN:
        error = max(error, standard_error([mean(some) for some in by_seed.values()]))
    counts = f"{wins} better, {ties} equal, {len(points) - wins - ties} worse"
    return signed_mean(means, error), counts


SEQUENCE: Final = (
    "Each language builds on what those before it learnt, which stays as it was. Test accuracy, "
    "and in brackets the numbers that a language owns beside those of the ones before. *Stored "
    "bytes* are of each adapter in turn: they grow, since each stores again what the ones before "
    "it learnt."
)


def sequences(records: Sequence[Record]) -> str:
    """A row for each order of languages that is part of no longer one."""
    found = {(_kind_of(r), _order_of(r)): r for r in records}
    orders = {key for key in found if len(key[1]) > 1}
    rows: list[tuple[str, int, list[str], str, str]] = []  # the third: a cell for each language
    for kind, order in sorted(orders):
        parts = [order[:end] for end in range(1, len(order) + 1)]
        goes_on = any(
            len(longer) > len(order) and longer[: len(order)] == order
            for other, longer in orders
            if other == kind
        )
        steps = [found.get((kind, part)) for part in parts]
        if goes_on or None in steps:
            continue
        owned = [0, *(r["result"]["spent_parameters"] for r in steps if r)]
        cells = [
            f"{task_of(r)} {100 * r['test']['accuracy']:.1f} ({now - before:,})"
            for r, before, now in zip(filter(None, steps), owned, owned[1:], strict=False)
        ]
        mean_of_all = mean(accuracies([r for r in steps if r]))
        method, budget, seed, *_ = kind
        stored = "; ".join(f"{r['result']['stored_bytes']:,}" for r in steps if r)
        rows.append((f"{method} {budget}", seed, cells, f"{mean_of_all:.1f}", stored))
    longest = max((len(cells) for _, _, cells, *_ in rows), default=0)
    titles = ["method", "seed", *map(str, range(1, longest + 1)), "mean", "stored bytes"]
    return markdown(
        titles,
        [
            [how, str(seed), *cells, *[""] * (longest - len(cells)), *measured]
            for how, seed, cells, *measured in rows
        ],
    )


def _kind_of(record: Record) -> tuple[str, str, int, str, str, float, tuple[str, ...]]:
    """What all runs of a sequence have in common; of one language alone there may be others."""
    seed, made_on = record["cell"]["seed"], record.get("base_sha256", "")
    return (
        *method_and_budget(record),
        seed,
        made_on,
        length_of(record),
        rate_of(record),
        settings_in(record),
    )


def _order_of(record: Record) -> tuple[str, ...]:
    return (*record["cell"].get("before", ()), task_of(record))
