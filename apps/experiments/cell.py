"""One training of a grid: a base or an adaptation, and its record."""

import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from audio_data.clips import HALVES
from kws.adapter import Adapter, load_adapter
from kws.base import BASE_CONFIG, Base, BaseConfig, read_base_config
from kws.errors import UsageError
from kws.quantized import DEFAULT_BITS
from kws.train import Plan
from policy.methods import method_of
from policy.transfer import RATE

from ..training import learn, pretraining
from ..training.measure import measure, network_of
from ..training.recordings import Cache, Recordings
from ..training.stored import heard_before, is_unfinished, refuse_taken
from ..wiring import open_base
from .grid import Cell, Grid

CODE: Final = [f":/{room}" for room in ("kws", "policy", "audio_data", "models", "apps")]  # for git
NO_CODE: Final = ":(top,exclude)models/zoo"
Trained = tuple[Base, Adapter | None, Recordings, dict[str, Any]]


def run_cell(
    cell: Cell,
    grid: Grid,
    out: Path,
    device: str,
    cache: Cache | None = None,
    *,
    again: bool = False,
) -> dict[str, Any]:
    """One run with its measures on validation and on test.

    Args:
        cell: the run.
        grid: that it is of.
        out: folder for what it leaves.
        device: where to train.
        cache: of what runs on the same recordings read and made, for the next of them.
        again: replace the base, or the adapter of other words, that is there.

    Raises:
        UsageError: the recordings make no task, or ``out`` holds another base or adapter.
        DivergedError: the loss, or a weight, became no number.
        KwsError: recordings or the base cannot be read.

    """
    record = head_of(cell, grid)
    if cell.tau:
        found = _pretrained(cell, grid, out, device, cache, again=again)
    else:
        found = _adapted(cell, grid, out, device, cache, again=again)
    base, adapter, recordings, made = found
    record |= made | {"causal": base.config.causal, "base_sha256": base.config.sha256}
    for split in HALVES:
        report = measure(network_of(base, adapter), recordings, split).report
        record[split] = report | recordings.origin(split)
    return record


def _pretrained(
    cell: Cell,
    grid: Grid,
    out: Path,
    device: str,
    cache: Cache | None,
    *,
    again: bool,
) -> Trained:
    assert cell.tau is not None
    assert grid.epochs is not None
    selection = grid.selection(cell)
    plan = Plan(epochs=grid.epochs, lr=grid.lr or pretraining.LR, seed=cell.seed)
    if again or is_unfinished(out, pretraining.STAGE) or not (out / BASE_CONFIG).exists():
        pretraining.run(selection, cell.tau, plan, device, out, causal=grid.causal, replaces=again)
    elif not _is_of(read_base_config(out), cell, grid, plan):
        raise UsageError(
            f"{out} holds another base, which is never changed; give --again to make it anew, or "
            "name another --work"
        )
    base = open_base(out)
    config = base.config
    result = pretraining.summary(config)
    recordings = Recordings.to_measure(selection, config, config, cache)
    return base, None, recordings, {"result": result}


def _is_of(config: BaseConfig, cell: Cell, grid: Grid, plan: Plan) -> bool:
    """Whether a base is what a run makes: it may have been killed before it was recorded."""
    learnt = Recordings.to_learn(grid.selection(cell), config)
    made = {"plan": asdict(plan), "recordings": learnt.amount}
    found = config.architecture, config.tau, config.causal, config.labels, config.people
    return found == (
        pretraining.ARCHITECTURE,
        cell.tau,
        grid.causal,
        learnt.task.labels,
        learnt.people,
    ) and all(config.training.get(name) == value for name, value in made.items())


def _adapted(
    cell: Cell,
    grid: Grid,
    out: Path,
    device: str,
    cache: Cache | None,
    *,
    again: bool,
) -> Trained:
    assert grid.base is not None
    assert cell.method is not None
    base = open_base(grid.base)
    after = out.with_name(cell.earlier.name) if cell.earlier else None
    known = heard_before(after)
    recordings = Recordings.to_learn(grid.selection(cell), base.config, known, cache)
    together = grid.tasks if method_of(cell.method).together else ()
    others = [grid.selection(cell, task) for task in together if task != cell.task]
    recipe = learn.Recipe(
        method=cell.method,
        budget=cell.budget or "100%",
        bits=cell.bits or grid.bits or DEFAULT_BITS,
        epochs=grid.epochs,
        steps=grid.steps or learn.DEFAULT_STEPS,
        lr=cell.lr or grid.lr or RATE,
        seed=cell.seed,
    )
    if not again:
        try:
            refuse_taken(out, recordings.task.language, recordings.task.keywords)
        except UsageError as error:
            raise UsageError(
                f"{out} holds an adapter of another language, or of other words; give --again to "
                "replace it, or name another --work"
            ) from error
    config = learn.learn_language(
        base,
        recordings,
        recipe,
        out,
        after=after,
        beside=recordings.beside(others, base.config),
        device=device,
        replaces=again,
    )
    made = {"recipe": asdict(recipe), "result": learn.summary(config)}
    return base, load_adapter(out), recordings, made


def head_of(cell: Cell, grid: Grid) -> dict[str, Any]:
    """What every record of a run says."""
    return {"cell": asdict(cell), "settings": asdict(grid), "commit": commit()}


def commit() -> str:
    """The program's commit, as git describes it; ``unknown`` where it does not keep these files.

    It ends in ``-dirty`` where code has been changed since; changes of other files, such as the
    records, do not count.
    """
    if not _git("ls-files", __file__):
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *CODE, NO_CODE)
    told = _git("describe", "--always")
    return told + ("-dirty" if changed else "") if told else "unknown"


def _git(*arguments: str) -> str:
    """What git says of the folder of this file; nothing where it says nothing, or is not there."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""
