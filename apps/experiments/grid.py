"""Grids: files that span many runs, read and checked before the first of these begins."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, Final, TypeVar

from kws.budget import Budget
from kws.errors import UsageError
from kws.quantized import DEFAULT_BITS, ROUNDINGS, Bits
from kws.train import HIGHEST
from kws.typed import checked
from models.layout import TAUS
from policy.methods import METHODS, methods_where
from policy.transfer import RATE, SHORTEST

from ..options import LAST_SEED
from ..training.learn import DEFAULT_STEPS
from ..training.pretraining import LR
from ..training.recordings import Selection, parse_filters

CELLS: Final = "[[cells]]"
ALIKE: Final = ("data", "base", "closed", "causal", "epochs", "steps", "per_word", "lr", "bits")
ALIKE_SINCE: Final = ("language", "speaker_pattern")  # which older records lack, as None

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid: a pretraining where ``tau`` is given, else an adaptation."""

    task: str
    seed: int
    method: str | None = None
    budget: str | None = None
    tau: float | None = None
    per_word: int | None = None  # training clips; None: as many as the grid says for all
    lr: float | None = None  # peak rate; None: what the grid says for all
    bits: Bits | None = None  # of each stored number; None: what the grid says for all
    before: tuple[str, ...] = ()  # tasks learnt before, on which a method builds

    @property
    def name(self) -> str:
        """Of the record and of the folder that the run writes."""
        kind = f"tau{self.tau:g}" if self.tau else f"{self.method}-{self.budget or 'fixed'}"
        clips = f"-{self.per_word}clips" if self.per_word else ""
        rate = f"-lr{self.lr:g}" if self.lr else ""
        bits = f"-{self.bits}bits" if self.bits else ""
        after = f"-after-{'-'.join(self.before)}" if self.before else ""
        return f"{self.task}{after}{clips}-{kind}{rate}{bits}-{self.seed}".replace("%", "pc")

    @property
    def earlier(self) -> "Cell | None":
        """The run that learns the language before."""
        if not self.before:
            return None
        return replace(self, task=self.before[-1], before=self.before[:-1])


@dataclass(frozen=True, kw_only=True)
class Combinations:
    """``[[cells]]``: one run for each combination of what its lists hold.

    A list that is empty leaves the choice to the grid, or to the method.
    """

    seeds: tuple[int, ...]
    tasks: tuple[str, ...] = ()
    sequences: tuple[tuple[str, ...], ...] = ()  # of tasks, each of which builds on those before
    taus: tuple[float, ...] = ()  # widths to pretrain
    methods: tuple[str, ...] = ()  # to adapt by
    budgets: tuple[str, ...] = ()
    clips: tuple[int, ...] = ()  # of each word
    rates: tuple[float, ...] = ()
    bits: tuple[Bits, ...] = ()

    def refuse(self) -> None:
        """Raise a UsageError where a run could not be done."""
        for name in ("seeds", *(() if self.sequences else ("tasks",))):
            check(CELLS, name, bool(getattr(self, name)), "at least one")
        check(CELLS, "methods", bool(self.methods or self.taus), "at least one, or taus")
        check(CELLS, "methods", {*self.methods} <= {*METHODS}, f"of {listed(METHODS)}")
        check(CELLS, "taus", {*self.taus} <= {*TAUS}, f"of {listed(TAUS)}")
        check(CELLS, "bits", {*self.bits} <= {*ROUNDINGS}, f"of {listed(ROUNDINGS)}")
        check(CELLS, "clips", all(clips > 0 for clips in self.clips), "positive")
        right = all(0 < rate <= HIGHEST for rate in self.rates)
        check(CELLS, "rates", right, f"positive, and {HIGHEST:g} at most")
        check_seeds(CELLS, self.seeds)
        check(CELLS, "sequences", all(self.sequences), "lists of tasks, none of them empty")
        budgets = [Budget.parse(budget) for budget in self.budgets]
        amounts = {(budget.kind, budget.amount) for budget in budgets}
        check(CELLS, "budgets", len(amounts) == len(budgets), "different ones")
        known = [METHODS[name] for name in self.methods]
        right = bool(self.budgets) or not any(method.budgeted for method in known)
        check(CELLS, "budgets", right, 'at least one, as "10%", for methods with a budget')
        if self.sequences and not all(method.sequential for method in known):
            wanted = listed(methods_where(lambda method: method.sequential))
            raise UsageError(f"{CELLS} has sequences, which {wanted} alone learns; name tasks")

    def cells(self) -> Iterator[Cell]:
        """Its runs; a task of a sequence comes after those before it."""
        chains: list[tuple[str, ...]] = [(task,) for task in self.tasks]
        for order in self.sequences:
            chains += [tuple(order[:end]) for end in range(1, len(order) + 1)]
        for seed, (*before, task) in product(self.seeds, chains):
            for tau in self.taus:
                yield Cell(task=task, seed=seed, tau=float(tau))
            budgets = self.budgets or (None,)
            kinds = [
                (method, budget)
                for method in self.methods
                for budget in (budgets if METHODS[method].budgeted else (None,))
            ]
            for clips, (method, budget), rate, bits in product(
                self.clips or (None,), kinds, self.rates or (None,), self.bits or (None,)
            ):
                yield Cell(
                    task=task,
                    seed=seed,
                    method=method,
                    budget=budget,
                    per_word=clips,
                    lr=rate,
                    bits=bits,
                    before=tuple(before),
                )


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Trainings, and what they have in common."""

    data: str
    tasks: dict[str, list[str]]  # column=value, by the name that cells call it
    cells: tuple[Combinations, ...]
    base: str | None = None  # to adapt; a pretraining makes its own
    closed: bool = False
    causal: bool = False
    epochs: int | None = None
    steps: int | None = None
    per_word: int | None = None
    lr: float | None = None
    bits: Bits | None = None
    language: str | None = None  # of a folder, which does not say so itself
    speaker_pattern: str | None = None  # likewise

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Grid":
        """Check what a file held.

        Raises:
            UsageError: a run of it could not be done.

        """
        found = raw.get("cells")
        check("the grid", "cells", isinstance(found, list) and bool(found), "tables: [[cells]]")
        groups = [table(Combinations, own, CELLS) for own in raw["cells"]]
        grid = replace(table(cls, {**raw, "cells": []}, "the grid"), cells=tuple(groups))
        grid.refuse()
        return grid

    def refuse(self) -> None:
        """Raise a UsageError where a run could not be done."""
        for group in self.cells:
            group.refuse()
            named = [*group.tasks, *chain.from_iterable(group.sequences)]
            if odd := sorted({*named} - {*self.tasks}):
                raise UsageError(f"{CELLS} names no task of [tasks]: {', '.join(odd)}")
            if len(self.tasks) < 2 and any(METHODS[name].together for name in group.methods):
                learning = listed(methods_where(lambda method: method.together))
                raise UsageError(f"{learning} learns all of [tasks] at once, and wants two or more")
            for wanted, name in (("taus", "epochs"), ("methods", "base")):
                if getattr(group, wanted) and getattr(self, name) is None:
                    raise UsageError(f"the grid has {wanted} and wants '{name}' beside them")
            ignored = group.rates or group.clips or group.bits or group.budgets
            right = bool(group.methods) or not (group.taus and ignored)
            check(CELLS, "taus", right, "without rates, clips, bits and budgets, or beside methods")
        self._refuse_ignored()
        staged = any(METHODS[name].staged for group in self.cells for name in group.methods)
        enough = not staged or self.epochs is None or self.epochs >= SHORTEST
        check("the grid", "epochs", enough, f"{SHORTEST} at least, for methods in stages")
        for name, filters in self.tasks.items():
            check_name("[tasks]", name)
            check_filters("[tasks]", name, filters)
        for name in ("epochs", "steps", "per_word", "lr"):
            value = getattr(self, name)
            check("the grid", name, value is None or value > 0, "positive")
        check("the grid", "lr", (self.lr or 0) <= HIGHEST, f"{HIGHEST:g} at most")
        right = self.bits is None or self.bits in ROUNDINGS
        check("the grid", "bits", right, f"of {listed(ROUNDINGS)}")
        counts = Counter(cell.name for cell in self.runs())
        if twice := [name for name, count in counts.items() if count > 1]:
            raise UsageError(f"two runs are called {twice[0]}; let names or rates differ more")

    def _refuse_ignored(self) -> None:
        """Raise a UsageError where a setting would be ignored."""
        pretrains = any(group.taus for group in self.cells)
        adapts = any(group.methods for group in self.cells)
        for name, used, where in (
            ("steps", self.epochs is None, "beside epochs, which count instead"),
            ("causal", pretrains, "where nothing is pretrained: the base decides it"),
            ("bits", adapts, "where nothing is adapted"),
        ):
            check("the grid", name, used or not getattr(self, name), f"left out {where}")

    def refuse_other(self, made: Mapping[str, Any], cell: Cell, where: Path) -> None:
        """Raise a UsageError where a run was recorded with other settings than these."""
        if not (isinstance(made, Mapping) and isinstance(made.get("tasks"), Mapping)):
            raise UsageError(f"{where} is no record of a training; delete it, and run it again")
        usual = {"lr": RATE if cell.method else LR, "bits": DEFAULT_BITS, "steps": DEFAULT_STEPS}

        def told(name: str, value: object) -> object:
            return usual.get(name) if value is None else value

        pairs = [
            (name, told(name, made[name]), told(name, getattr(self, name)))
            for name in ALIKE
            if name in made
        ]
        pairs += [(name, made.get(name), getattr(self, name)) for name in ALIKE_SINCE]
        together = cell.method and METHODS[cell.method].together
        heard = {*made["tasks"], *self.tasks} if together else (*cell.before, cell.task)
        pairs += [(name, made["tasks"].get(name), self.tasks.get(name)) for name in heard]
        refuse_difference(where, pairs)

    def runs(self) -> list[Cell]:
        """Every run, each once.

        One seed after another: a grid that is not finished is one of fewer seeds.
        """
        spanned = dict.fromkeys(chain.from_iterable(group.cells() for group in self.cells))
        return sorted(spanned, key=lambda cell: (cell.seed, len(cell.before)))

    def selection(self, cell: Cell, task: str | None = None) -> Selection:
        """What a run hears, or that of another task which it hears beside its own."""
        return Selection(
            data=Path(self.data),
            filters=parse_filters(self.tasks[task or cell.task]),
            closed=self.closed,
            language=self.language,
            speaker_pattern=self.speaker_pattern,
            per_word=cell.per_word or self.per_word,
            seed=cell.seed,
        )


def table(kind: type[T], raw: Any, where: str) -> T:
    """A table of a file as the dataclass that says what it may hold.

    Raises:
        UsageError: it is no table, or a name is unknown, missing, or of another type.

    """
    check("the file", where, isinstance(raw, Mapping), "a table")
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    if odd := [name for name in raw if name not in known]:
        raise UsageError(f"{where} has an unknown '{odd[0]}'; it may have {', '.join(known)}")
    required = [
        name
        for name, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING
    ]
    if missing := [name for name in required if name not in raw]:
        raise UsageError(f"{where} wants '{missing[0]}'")
    try:
        return kind(**checked(kind, raw))
    except TypeError as error:
        raise UsageError(f"in {where} {error}") from error


def check(where: str, name: str, right: bool, wanted: str) -> None:
    """Raise a UsageError that says what is wanted, unless it is right."""
    if not right:
        raise UsageError(f"in {where} '{name}' must be {wanted}")


def check_seeds(where: str, seeds: Iterable[int]) -> None:
    """Raise a UsageError unless all are seeds."""
    right = all(0 <= seed <= LAST_SEED for seed in seeds)
    check(where, "seeds", right, f"from 0 to {LAST_SEED}")


def check_filters(where: str, name: str, filters: object) -> None:
    """Raise a UsageError unless all are columns with wanted values."""
    right = isinstance(filters, list | tuple) and all(
        isinstance(text, str) and text.find("=") > 0 for text in filters
    )
    check(where, name, right, 'like ["column=value"]')


def refuse_difference(where: Path, pairs: Iterable[tuple[str, object, object]]) -> None:
    """Raise a UsageError where a record differs: a name, what was recorded, what is wanted."""
    for name, recorded, wanted in pairs:
        if recorded != wanted:
            raise UsageError(
                f"{where} was recorded with {name} {recorded}, not {wanted}; delete it, give "
                "--again to run all anew, or name another --records"
            )


def check_name(where: str, name: str) -> None:
    """Raise a UsageError where no file can be called after a name."""
    check(where, name, bool(re.fullmatch(r"[\w-]+", name)), "a name of letters, digits, - and _")


def listed(known: Iterable[object]) -> str:
    """For people.

    >>> listed([16, 8])
    '16, 8'
    """
    return ", ".join(map(str, known))
