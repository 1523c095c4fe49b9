"""Pictures of runs, each readable by itself."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from anyascii import anyascii
from matplotlib import font_manager
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from kws.adapter import AdapterConfig
from kws.files import write_bytes
from kws.forms import split_name
from kws.sites import Site
from kws.train import Epoch

from .measure import Measured

DPI = 110
COLORS = {"conv": "C0", "norm": "C1"}


# Words are no formulas, whatever is in them.
plainly = mpl.rc_context({"text.parse_math": False})


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
    right.plot(*zip(*valid, strict=True), "o-", label="validation, other people", color="C1")
    right.set(title="Clips told right", xlabel="epoch", ylabel="%", ylim=(0, 101))
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
    _save(figure, path)


@plainly
def confusion(measured: Measured, path: Path) -> None:
    """Truth by prediction in per cent of each word's clips."""
    names = legible(measured.labels)
    counts = confusion_matrix(measured.truth, measured.predicted, labels=range(len(names)))
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side = 2.2 + 0.32 * len(names) + 0.09 * max(map(len, names))  # inches; names on two sides
    figure = Figure(figsize=(side + 1, side + 0.3), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlabel="heard as",
        ylabel="said",
        title=f"{measured.report['accuracy']:.1%} of {measured.report['count']} keyword clips",
    )
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
    figure.colorbar(image, label="% of the word's clips", shrink=0.7)
    _save(figure, path)


@plainly
def choices(configs: Sequence[AdapterConfig], sites: Sequence[Site], path: Path) -> None:
    """What each language owns of the sites: one row a language, one column a site."""
    owned = np.array([[_share(config, site) for site in sites] for config in configs])
    colors = mpl.colors.to_rgba_array([COLORS[site.kind] for site in sites])
    # Darker is more; a little of a site is still to be seen.
    depth = np.where(owned > 0, 0.2 + 0.8 * owned, 0)[..., None]
    figure = Figure(figsize=(16, 3.2 + 0.35 * len(configs)), layout="constrained")
    axes = figure.subplots()
    shared = mpl.colors.to_rgba_array(["0.93"])
    axes.pcolormesh(depth * colors + (1 - depth) * shared, edgecolors="white", linewidth=1)
    rows = [f"{c.language} {c.budget or c.method}: {c.spent_parameters:,}" for c in configs]
    axes.set_yticks(np.arange(len(configs)) + 0.5, rows)
    ticks = [f"{site.name}  {site.size:,}" for site in sites]
    axes.set_xticks(np.arange(len(sites)) + 0.5, ticks, rotation=90, fontsize=7)
    axes.set_title("Sites a language owns (name and parameters; input left, output right)")
    patches = [
        mpl.patches.Patch(color=COLORS["conv"], label="convolution"),
        mpl.patches.Patch(color=COLORS["norm"], label="normalisation"),
        mpl.patches.Patch(color="0.93", label="shared; the paler, the less is owned"),
    ]
    figure.legend(handles=patches, loc="outside upper right", ncols=3)
    _save(figure, path)


def _share(config: AdapterConfig, site: Site) -> float:
    """Numbers that a language owns of a site, for each of its weights; factors may have more."""
    forms = dict(map(split_name, config.sites))
    owned = site.owned(forms[site.name]).size if site.name in forms else 0
    return min(1.0, owned / site.size)


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


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_bytes(path, buffer.getvalue())
