"""Print what a long run of faults came to; keep it where TTS_FAULTS_WRITE names a file."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults import figures


def pytest_terminal_summary(terminalreporter):
    """One table of all figures, behind the tests."""
    if not figures.FIGURES:
        return
    terminalreporter.section("faults")
    for line in figures.lines(figures.FIGURES):
        terminalreporter.write_line(line)
    if target := os.environ.get("TTS_FAULTS_WRITE"):
        figures.write(figures.FIGURES, Path(target))
        terminalreporter.write_line(f"written into {target}")
