"""The benchmarks run at toy size, and what they print is what they should find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
POLICY, PRM = "lab-llama-m", "lab-math-shepherd"


def run(name: str, *options: str) -> str:
    """What a benchmark prints, run as a reader runs it."""
    found = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def column(printed: str, name: str, table: int = 0) -> list[str]:
    """A column of one of the Markdown tables that have it."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if "|" in line]
    starts = [i for i, cells in enumerate(lines) if name in cells]
    rows, at = [], lines[starts[table]].index(name)
    for cells in lines[starts[table] + 2 :]:
        if len(cells) != len(lines[starts[table]]) or set("".join(cells)) <= set("-:"):
            break
        rows.append(cells[at])
    return rows


def numbers(printed: str, name: str, table: int = 0) -> list[float]:
    return [float(cell.replace(",", "")) for cell in column(printed, name, table)]


@pytest.mark.slow
def test_search_in_lock_step_gives_the_same_trees_in_fewer_calls():
    options = ["--policy", POLICY, "--prm", PRM, "--problems", "6", "--budget", "8", "--max-tokens", "48"]
    printed = run("search", *options)
    assert printed.count("6 of 6 trees of both sides are the same, node for node.") == 2  # beam and DVTS
    for table in (0, 1):
        plain, ours = numbers(printed, "calls", table)
        depths = len(column(printed, "depth", table))
        assert ours == 2 * depths  # one to the policy and one to the PRM
        assert plain > 3 * ours
        spent = numbers(printed, "tokens", table)[0]
        once = dict(zip(column(printed, "PRM tokens", table), numbers(printed, "tokens", table), strict=True))
        assert spent <= 1.3 * once["scoring every distinct node once"]


@pytest.mark.slow
def test_prm_scoring_in_batches_gives_the_same_scores_in_fewer_passes():
    options = ["--policy", POLICY, "--prm", PRM, "--problems", "5", "--n", "4", "--repeats", "1"]
    printed = run("prm_scoring", *options, "--batch-tokens", "512", "4096")
    passes = numbers(printed, "forward passes")
    trajectories = int(re.search(r"(\d+) distinct trajectories", printed)[1])
    assert passes[0] == trajectories > passes[1] > passes[2] >= 1
    assert max(numbers(printed, "largest difference")) < 1e-5


@pytest.mark.slow
def test_generation_counts_the_same_tokens_on_both_sides_where_their_number_is_fixed():
    options = ["--policy", POLICY, "--problems", "3", "--n", "2", "--max-tokens", "12", "--repeats", "1"]
    printed = run("generation", *options, "--batch", "6")
    sides = list(
        zip(column(printed, "ending"), column(printed, "side"), column(printed, "new tokens"), strict=True)
    )
    fixed = {side: tokens for ending, side, tokens in sides if ending == "fixed"}
    assert fixed["TransformersPolicy"] == fixed["transformers generate"] == str(3 * 2 * 12)
    assert min(numbers(printed, "tokens/s")) > 0


@pytest.mark.slow
def test_analysis_agrees_with_the_plain_baseline():
    options = ["--problems", "60", "--samples", "16", "--prms", "2", "--resamples", "40"]
    printed = run("analysis", *options, "--baseline-resamples", "40")
    largest = float(re.search(r"baseline's: ([\d.]+)", printed)[1])
    noise = float(re.search(r"up to ([\d.]+) each", printed)[1])
    assert largest < 6 * noise
    assert len(column(printed, "part")) == 4
