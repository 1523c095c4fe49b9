"""The picture of what fewer false accepts cost: misses against false accepts per hour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..training.pictures import save
from .trial import elsewhere

TICKS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100)  # % missed
MARKS: Final = "osD^v"


def draw_det(result: Mapping[str, Any], path: Path) -> None:
    """Draw the curve of each signal-to-noise ratio and the points that were chosen beforehand.

    Both axes are logarithmic; none at all is drawn at half an event.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    least = 0.5 / result["hours"]  # false accepts per hour
    low = 10.0  # %, or less
    none = 0  # keywords, of which one curve misses none
    for number, (ratio, curve) in enumerate(result["det"].items()):
        color = f"C{number}"
        count = result["points"][0]["snr"][ratio]["count"]
        fewest = 50 / max(1, count)  # %
        x = [max(least, point["false_accepts_per_hour"]) for point in curve]
        y = [max(fewest, 100 * point["miss_rate"]) for point in curve]
        low = min(low, *y)
        none = max(none, count) if fewest in y else none
        axes.plot(x, y, ".-", color=color, markersize=3, linewidth=1, label=f"{ratio} dB")
        for mark, point in zip(MARKS, result["points"], strict=False):
            found = point["snr"][ratio]
            axes.plot(
                max(least, point["negatives"]["per_hour"]),
                max(fewest, 100 * (found["miss_rate"] or 0)),
                mark,
                color=color,
                markersize=6 if point["aim_per_hour"] is None else 12,  # they may be the same
                markeredgecolor="black",
                label=f"{ratio} dB, {_choice(point)}",
            )
    _decorate(axes, result, least, low)
    if none:
        axes.axhspan(low / 1.3, low * 1.2, color="0.92", zorder=0)
        axes.annotate(
            f"none of {none:,}",
            (1, low / 1.26),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            xytext=(-6, 0),
            textcoords="offset points",
            color="0.4",
            fontsize="small",
        )
    save(figure, path)


def title(result: Mapping[str, Any]) -> str:
    """What the lines and the marks are."""
    return (
        f"{result['language']}: one threshold for all keywords (lines)\n"
        f"and thresholds chosen on {elsewhere(result['split_by'])} (marks)"
    )


def _choice(point: Mapping[str, Any]) -> str:
    rate = point["aim_per_hour"]
    return "as stored" if rate is None else f"chosen for {rate:g} per hour"


def _decorate(axes: Axes, result: Mapping[str, Any], least: float, low: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axvspan(least / 1.5, least * 1.4, color="0.92", zorder=0)
    axes.annotate(
        f"none in {result['hours']:.1f} h",
        (least / 1.47, 1),
        xycoords=("data", "axes fraction"),
        rotation=90,
        ha="left",
        va="top",
        xytext=(0, -6),
        textcoords="offset points",
        color="0.4",
        fontsize="small",
    )
    axes.set(
        xlim=(least / 1.5, None),
        ylim=(low / 1.3, 115),
        xlabel="false accepts per hour",
        ylabel="keywords missed, %",
        title=title(result),
    )
    axes.set_yticks([tick for tick in TICKS if tick >= low / 1.3])
    axes.minorticks_off()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.grid(color="0.9")
    axes.legend(fontsize="small")
