"""Altair charts, one function per kind of figure: a tidy frame in, a chart out.

Nothing here computes a statistic or reads a file; what is drawn is what the frame holds. Every chart takes
the width of its container (a phone or a page), has a transparent ground, says every distinction twice, and
carries a description in words. ``say`` shows a paragraph whose numbers a cell has computed.
"""

from tts_utils.charts.dial import judge_dial
from tts_utils.charts.intervals import calibration, paired_differences, pass_at_1_distribution, rates
from tts_utils.charts.lines import accuracy_by_budget, curves
from tts_utils.charts.prose import interval, measured, say
from tts_utils.charts.search_tree import search_tree
from tts_utils.charts.steps import prefix_tree, step_inspector
from tts_utils.charts.theme import SERIES, Style

__all__ = [
    "SERIES",
    "Style",
    "accuracy_by_budget",
    "calibration",
    "curves",
    "interval",
    "judge_dial",
    "measured",
    "paired_differences",
    "pass_at_1_distribution",
    "prefix_tree",
    "rates",
    "say",
    "search_tree",
    "step_inspector",
]
