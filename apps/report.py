"""``kws report``: what ``kws bench report`` is, under a name of its own."""

from .bench import report as report
