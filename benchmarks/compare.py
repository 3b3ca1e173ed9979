"""This build against an earlier commit: the same work in turn, each in a process of its own.

Fails where texts or trees differ, so that a gain in speed is known to change nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import heading, parser, table

ROOT = Path(__file__).resolve().parents[1]


def timed(build: Path, work: str, count: int, prm: str) -> dict[str, float | str]:
    """What ``benchmarks/workload.py`` prints, run on a build with this one's data."""
    environment = os.environ | {
        "PYTHONPATH": str(build),
        "TTS_DATA": os.environ.get("TTS_DATA", str(ROOT / "data")),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    script = str(ROOT / "benchmarks" / "workload.py")
    command = [sys.executable, "-P", script, work, str(count), prm]
    done = subprocess.run(command, env=environment, cwd=build, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{work} failed on {build}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(
    ours: Callable[[], dict], theirs: Callable[[], dict], work: str, pairs: int
) -> list[dict[str, object]]:
    """The lines of one piece of work; its results must be the same on both builds."""
    found = [(ours(), theirs()) for _ in range(pairs)]
    results = {side["result"] for pair in found for side in pair}
    if len(results) > 1:
        raise SystemExit(f"{work}: texts or trees differ between the builds: {sorted(results)}")
    lines = []
    for part in ("all", "policy", "PRM"):
        if not found[0][1][part]:
            continue
        ratios = [then[part] / now[part] for now, then in found]
        lines.append(
            {
                "work": work,
                "part": part,
                "now, s": statistics.median(now[part] for now, _ in found),
                "then, s": statistics.median(then[part] for _, then in found),
                "times faster": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "pairs": pairs,
                "same result": "yes",
            }
        )
    return lines


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("revision", help="an earlier commit, or the folder of a build")
    options.add_argument("--work", nargs="+", default=["sampling", "beam", "dvts"])
    options.add_argument("--problems", type=int, default=32)
    options.add_argument("--prm", default="lab-skywork-l")
    options.add_argument("--pairs", type=int, default=3)
    args = options.parse_args(argv)
    heading(
        "compare",
        argv,
        f"This build against {args.revision}, {args.problems} problems, {args.prm}, one thread.",
    )
    with tempfile.TemporaryDirectory() as folder:
        build = Path(args.revision)
        if not build.is_dir():
            build = Path(folder)
            command = ["git", "archive", args.revision, "tts_utils", "pyproject.toml"]
            packed = subprocess.run(command, cwd=ROOT, capture_output=True)
            if packed.returncode:
                raise SystemExit(f"there is no commit {args.revision!r}: {packed.stderr.decode().strip()}")
            subprocess.run(["tar", "-x"], cwd=build, input=packed.stdout, check=True)
        lines = []
        for work in args.work:
            now, then = (
                lambda side=side, work=work: timed(side, work, args.problems, args.prm)
                for side in (ROOT, build)
            )
            lines += compare(now, then, work, args.pairs)
    table(lines)


if __name__ == "__main__":
    main()
