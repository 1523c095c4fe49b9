"""``kws report``: what ``kws bench report`` is, under a name of its own."""

import copy

from .bench import report as bench_report

report = copy.copy(bench_report)
report.help = "The same as kws bench report: tables and pictures from records."
