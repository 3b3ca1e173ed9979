"""Run every benchmark in a process of its own and write what they print to benchmarks/results.md.

The file keeps this run and the one before, so that two runs stand side by side. ``--gpu`` runs the part that
needs one and writes results_gpu.md; on a machine without, that file says so.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tts_utils.store import manifest

BEFORE = "af7aa89"
"""The last commit before the written-out pass, the PRM's memory and reading by columns."""

COMMANDS = (
    ("ratios",),
    ("compare", BEFORE),
    ("prm_tokens",),
    ("search", "--problems", "64", "--naive-seconds", "30"),
    ("at_size",),
    ("generation", "--problems", "32"),
    ("prm_scoring", "--problems", "100"),
    ("analysis",),
    ("grouping",),
    ("reading",),
)
GPU_COMMANDS = (("gpu",),)
FOLDER = Path(__file__).parent
KEPT = 2  # runs in a file
TITLE = """# Speed, measured side by side

Written by `make bench`; each section names its command, machine, load, versions and commit. A ratio is the
median of pairs that ran in turn, in processor seconds of one thread, with the least and the most beside it.
The last two runs are kept, the newest first.

A GPU is not measured here: `python -m benchmarks --gpu` does that, in about three minutes, and writes
`results_gpu.md`. Where that file is missing, no GPU has been measured.
"""
GPU_TITLE = """# Speed on a GPU

Written by `python -m benchmarks --gpu`; the last two runs are kept, the newest first.
"""


def with_run(before: str, title: str, run: str) -> str:
    """A results file with one run more: the newest first, ``KEPT`` in all; what is no run is dropped."""
    earlier = re.split(r"(?m)^(?=# Run of )", before)[1:]
    return "\n".join([title, run, *earlier][: 1 + KEPT]).rstrip("\n") + "\n"


def write(file: str, title: str, commands: Sequence[Sequence[str]]) -> None:
    """Run benchmarks one after another; nothing is written unless all of them succeed."""
    now = manifest.circumstances()
    sections = [f"# Run of {now['date']} UTC, {now['code_version']}\n"]
    started = time.monotonic()
    for name, *options in commands:
        print(f"benchmarks.{name} ...", end=" ", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"benchmarks.{name} failed; {file} stays as it was")
        print(f"{time.monotonic() - began:.0f} s")
        sections.append(done.stdout.strip() + "\n")
    path = FOLDER / file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    run = "\n".join(sections)
    path.write_text(with_run(before, title, run), encoding="utf-8")
    print(f"\n{run}\nThe figures are in {path}. All took {(time.monotonic() - started) / 60:.1f} minutes.")


def main(argv: list[str] | None = None) -> None:
    """Other options are errors, since the benchmarks differ in theirs: run one of them by its own name."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    options.add_argument("--gpu", action="store_true", help="the part for a GPU, 3 minutes")
    if options.parse_args(argv).gpu:
        write("results_gpu.md", GPU_TITLE, GPU_COMMANDS)
    else:
        write("results.md", TITLE, COMMANDS)


if __name__ == "__main__":
    main()
