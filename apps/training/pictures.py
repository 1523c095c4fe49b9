"""Pictures of runs, each readable by itself."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import numpy as np
from anyascii import anyascii
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kws.adapter import AdapterConfig
from kws.files import write_bytes, write_json
from kws.forms import form_of, split_name
from kws.sites import Site
from kws.train import Epoch

from .measure import Measured
from .stored import HISTORY

DPI = 110
MOST_WRITTEN = 60  # words, of which a confusion matrix has names and numbers
WIDEST = 12  # inches, of one of more words
COLORS = {"conv": "C0", "norm": "C1"}


# Words are no formulas, whatever is in them.
plainly = mpl.rc_context({"text.parse_math": False})


def save_training(history: Mapping[str, Sequence[Epoch]], measured: Measured, out: Path) -> None:
    """Write how a training went, epoch by epoch, and draw that and what it came to."""
    told = {stage: [asdict(epoch) for epoch in epochs] for stage, epochs in history.items()}
    write_json(out / HISTORY, told)
    learning_curves(history, out / "learning_curves.png")
    confusion(measured, out / "confusion.png")


@plainly
def learning_curves(history: Mapping[str, Sequence[Epoch]], path: Path) -> None:
    """Loss and accuracy by epoch, the stages one after another."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [epoch for stage in history.values() for epoch in stage]
    at = np.arange(1, len(epochs) + 1)
    left.plot(at, [epoch.loss for epoch in epochs], color="C3")
    left.set(
        title="Training loss",
        xlabel="epoch",
        ylabel="cross-entropy",
        ylim=(0, 1.05 * max(e.loss for e in epochs)),
    )
    right.plot(at, [100 * e.accuracy for e in epochs], label="training, augmented", color="C0")
    valid = [
        (n, 100 * e.validation) for n, e in zip(at, epochs, strict=True) if e.validation is not None
    ]
    right.plot(*zip(*valid, strict=True), "o-", label="validation", color="C1")
    right.set(title="Accuracy", xlabel="epoch", ylabel="%", ylim=(0, 101))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.set_xlim(0.5, len(epochs) + 0.5)
    start = 0
    for name, stage in history.items():
        for axes in (left, right):
            if start:
                axes.axvline(start + 0.5, color="0.8", zorder=0)
            axes.annotate(  # upright: a stage may be as narrow as a letter is high
                name,
                (start + 0.5, 0.02),
                (2, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                rotation=90,
                va="bottom",
                color="0.5",
                fontsize="small",
            )
        start += len(stage)
    save(figure, path)


@plainly
def confusion(measured: Measured, path: Path) -> None:
    """Truth by prediction in per cent of each word's clips."""
    from sklearn.metrics import confusion_matrix  # takes longer to import than all else here

    names = legible(measured.labels)
    counts = confusion_matrix(measured.truth, measured.predicted, labels=range(len(names)))
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    written = len(names) <= MOST_WRITTEN
    side = 2.2 + 0.32 * len(names) + 0.09 * max(map(len, names))  # inches; names on two sides
    side = side if written else WIDEST
    figure = Figure(figsize=(side + 1, side + 0.3), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if written:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        _write_in(axes, shares)
    axes.set(
        xlabel="heard as",
        ylabel="said",
        title=f"{measured.report['accuracy']:.1%} of {measured.report['count']} keyword clips",
    )
    figure.colorbar(image, label="% of the word's clips", shrink=0.7)
    save(figure, path)


def _write_in(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Every share ``[K, K]`` of a per cent and more as a number in its cell."""
    for row, column in zip(*np.nonzero(shares >= 1), strict=True):
        dark = shares[row, column] > 60
        axes.text(
            column,
            row,
            f"{shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )


Row = tuple[str, Sequence[Sequence[str]]]  # its name, and of each of its runs what is owned


def row_of(config: AdapterConfig, name: str = "") -> Row:
    """A language's row among :func:`choices`, under a name of its own if it has one."""
    called = name or config.language
    name = f"{called} {config.budget or config.method}: {config.spent_parameters:,}"
    return name, [config.sites]


@plainly
def choices(rows: Sequence[Row], sites: Sequence[Site], path: Path) -> None:
    """What is owned of the sites, in the mean of a row's runs: one column a site."""
    owned = np.array(
        [[np.mean([_share(run, site) for run in runs]) for site in sites] for _, runs in rows]
    )
    colors = mpl.colors.to_rgba_array([COLORS[site.kind] for site in sites])
    # Darkest is the most of a row; a little of a site is still to be seen.
    most = np.maximum(owned.max(axis=1, keepdims=True), np.finfo(float).tiny)
    depth = np.where(owned > 0, 0.1 + 0.9 * owned / most, 0)[..., None]
    figure = Figure(figsize=(16, 3.2 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shared = mpl.colors.to_rgba_array(["0.93"])
    axes.pcolormesh(depth * colors + (1 - depth) * shared, edgecolors="white", linewidth=1)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [name for name, _ in rows])
    ticks = [f"{site.name}  {site.size:,}" for site in sites]
    axes.set_xticks(np.arange(len(sites)) + 0.5, ticks, rotation=90, fontsize=7)
    axes.set_title("Sites a language owns (name and parameters; input left, output right)")
    patches = [
        mpl.patches.Patch(color=COLORS["conv"], label="convolution"),
        mpl.patches.Patch(color=COLORS["norm"], label="normalisation"),
        mpl.patches.Patch(
            color="0.93",
            label="shared: the darker, the larger the owned part, darkest the largest of a row",
        ),
    ]
    figure.legend(handles=patches, loc="outside upper right", ncols=3)
    save(figure, path)


def _share(names: Sequence[str], site: Site) -> float:
    """Numbers that are owned of a site, for each of its weights; factors may have more."""
    forms = [form for module, form in map(split_name, names) if module == site.name]
    return min(1.0, sum(site.with_form(form_of(form)).size for form in forms) / site.size)


def legible(words: Sequence[str]) -> list[str]:
    """The words, with their sound in Latin letters where the font lacks their script.

    Of words that sound alike the Unicode numbers are told too.

    >>> legible(["да", "北京", "背景", "上海"])
    ['да', 'BeiJing U+5317 U+4EAC', 'BeiJing U+80CC U+666F', 'ShangHai']
    """
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    drawn = [all(ord(letter) in known for letter in word) for word in words]
    names = [w if whole else anyascii(w).strip() for w, whole in zip(words, drawn, strict=True)]
    alike = {name for name, count in Counter(names).items() if count > 1 or not name}
    return [
        name if whole or name not in alike else f"{name} {_numbers(word)}".strip()
        for word, name, whole in zip(words, names, drawn, strict=True)
    ]


def _numbers(word: str) -> str:
    return " ".join(f"U+{ord(letter):04X}" for letter in word)


def save(figure: Figure, path: Path) -> None:
    """As PNG, replaced in one step."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_bytes(path, buffer.getvalue())
