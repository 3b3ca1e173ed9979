"""Run every benchmark in a process of its own and write what they print to benchmarks/results.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("generation", "prm_scoring", "search", "analysis", "grouping")


def main() -> None:
    """Any option is an error, since the benchmarks differ in theirs: run one of them by its own name."""
    if sys.argv[1:]:
        raise SystemExit(f"python -m benchmarks takes no options; python -m benchmarks.{NAMES[0]} does")
    sections = [
        "# Speed, measured side by side\n\nWritten by `make bench`; each section names its command.\n"
    ]
    for name in NAMES:
        print(f"benchmarks.{name} ...", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"benchmarks.{name} failed; results.md stays as it was")
        sections.append(done.stdout.strip() + "\n")
    results = Path(__file__).with_name("results.md")
    results.write_text("\n".join(sections), encoding="utf-8")
    print(f"The figures are in {results}.")


if __name__ == "__main__":
    main()
