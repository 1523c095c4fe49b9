"""What the tables of results share: how records are grouped, and figures written."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, TypeVar

from kws.budget import Budget
from kws.quantized import DEFAULT_BITS
from policy.transfer import RATE

from ..training.learn import DEFAULT_STEPS
from ..training.pretraining import LR

OURS: Final = "swr"  # the method that others are compared with
Record = dict[str, Any]
LAST: Final = "~"  # sorts behind every kind of budget


K = TypeVar("K")


def grouped(records: Iterable[Record], key: Callable[[Record], K]) -> dict[K, list[Record]]:
    """Records by what they have in common."""
    groups: dict[K, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(groups)


def method_and_budget(record: Record) -> tuple[str, str]:
    """The method, with its bits where they are not its grid's, and the budget; empty if none."""
    cell = record["cell"]
    return f"{cell['method'] or ''}{bits_told(record)}", cell["budget"] or ""


def bits_told(record: Record) -> str:
    """In how many bits a number is stored, where not in its grid's.

    >>> bits_told({"cell": {"bits": 4}, "settings": {}}), bits_told({"cell": {}, "settings": {}})
    (', 4 bits', '')
    """
    usual = record["settings"].get("bits") or DEFAULT_BITS
    bits = record["cell"].get("bits") or usual
    return f", {bits} bits" if bits != usual else ""


def task_of(record: Record) -> str:
    """On which it ran."""
    return str(record["cell"]["task"])


def run_of(record: Record) -> tuple[str, int]:
    """What is the same in runs of different methods."""
    return task_of(record), record["cell"]["seed"]


def length_of(record: Record) -> str:
    """How long it was trained."""
    epochs, steps = (_effective(record, name) for name in ("epochs", "steps"))
    return f"{epochs} epochs" if epochs else f"{steps or DEFAULT_STEPS:,} steps"


def steps_of(record: Record) -> int:
    """For how many steps it was trained; 0 where it was for so many epochs instead."""
    return 0 if _effective(record, "epochs") else int(_effective(record, "steps") or DEFAULT_STEPS)


def rate_of(record: Record) -> float:
    """The peak learning rate; of adaptations that of everything, as fewer numbers learn faster."""
    return float(_effective(record, "lr") or (LR if record["cell"]["tau"] else RATE))


def base_of(record: Record) -> str:
    """The name of the folder that the base was in."""
    return Path(record["settings"]["base"]).name


def _effective(record: Record, name: str) -> Any:
    """What a run went by; older records tell only what their grids spelt out."""
    told = (record.get("recipe", {}), record["cell"], record["settings"])
    return next((found for one in told if (found := one.get(name)) is not None), None)


def settings_in(record: Record) -> tuple[str, ...]:
    """What runs may differ in beside what they are called after."""
    closed, bits = (record["settings"].get(name) for name in ("closed", "bits"))
    return tuple(map(str, [closed, bits or DEFAULT_BITS, _effective(record, "per_word")]))


def width_of(record: Record) -> str:
    """Of a base."""
    tau = record["cell"]["tau"]
    return f"τ={tau:g}" if tau else ""


def is_causal(record: Record) -> bool:
    """Whether it hears nothing later."""
    return bool(record.get("causal"))


def accuracies(records: Iterable[Record]) -> list[float]:
    """On test people, in per cent."""
    return [100 * record["test"]["accuracy"] for record in records]


def spread_of(values: Iterable[float]) -> str:
    """Mean and standard deviation."""
    given = list(values)
    return f"{mean(given):.1f} ± {stdev(given):.1f}" if len(given) > 1 else f"{given[0]:.1f}"


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 for one value alone, which does not tell it."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def signed_mean(values: Sequence[float], error: float | None = None) -> str:
    """Mean, with its sign, and ``error``, or else the standard error of these values.

    >>> signed_mean([1.0]), signed_mean([1.0, 3.0]), signed_mean([1.0, 3.0], 2.0)
    ('+1.00', '+2.00 ± 1.00 (standard error)', '+2.00 ± 2.00 (standard error)')
    """
    error = standard_error(values) if error is None else error
    told = f" ± {error:.2f} (standard error)" if error or len(values) > 1 else ""
    return f"{mean(values):+.2f}{told}"


def least_and_most(values: Iterable[int]) -> str:
    """The least and the most."""
    given = sorted(set(values))
    return f"{given[0]:,}" if len(given) == 1 else f"{given[0]:,} to {given[-1]:,}"


def bytes_of(records: Iterable[Record]) -> str:
    """The range of the bytes that are stored."""
    return least_and_most(record["result"]["stored_bytes"] for record in records)


def budget_size(budget: str) -> tuple[str, float]:
    """Sorts budgets of one kind by their size; those without one come last."""
    if not budget:
        return LAST, 0.0
    known = Budget.parse(budget)
    return known.kind, known.amount


def by_budget(item: tuple[tuple[str, str], Any]) -> tuple[tuple[str, float], str]:
    """Smaller budgets first; before all, the method that owns nothing but a head."""
    (method, budget), _ = item
    return (("", 0.0) if method == "head" else budget_size(budget), method)


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of titles and rows, in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tenths(share: float | None) -> str:
    """To a tenth; a dash where nothing was measured.

    >>> tenths(0.9253), tenths(None)
    ('92.5', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"
