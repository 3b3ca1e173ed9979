"""Run every benchmark in a process of its own and write what they print to benchmarks/results.md.

``--gpu`` runs the part that needs one and writes results_gpu.md; on a machine without, that file says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = ("ratios", "generation", "prm_scoring", "search", "at_size", "analysis", "grouping", "reading")
FOLDER = Path(__file__).parent


def write(file: str, title: str, names: tuple[str, ...]) -> None:
    """Run benchmarks one after another; nothing is written unless all of them succeed."""
    sections = [title]
    for name in names:
        print(f"benchmarks.{name} ...", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"benchmarks.{name} failed; {file} stays as it was")
        sections.append(done.stdout.strip() + "\n")
    (FOLDER / file).write_text("\n".join(sections), encoding="utf-8")
    print(f"The figures are in {FOLDER / file}.")


def main(argv: list[str] | None = None) -> None:
    """Other options are errors, since the benchmarks differ in theirs: run one of them by its own name."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    options.add_argument("--gpu", action="store_true", help="the part for a GPU, 3 minutes")
    if options.parse_args(argv).gpu:
        write("results_gpu.md", "# Speed on a GPU\n\nWritten by `python -m benchmarks --gpu`.\n", ("gpu",))
    else:
        title = "# Speed, measured side by side\n\nWritten by `make bench`; each section names its command.\n"
        write("results.md", title, NAMES)


if __name__ == "__main__":
    main()
