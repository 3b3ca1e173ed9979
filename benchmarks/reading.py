"""Reading stored tables against an earlier commit: the same calls, in turn, in two processes that stay up.

``--rev`` names the commit, whose package is taken out of git. Each side reads the pool and makes the report
in turn; seconds are processor seconds of the reading process alone (a process that it starts for mathematics
is not in them). What they read must be the same: arrays byte for byte, the report's old rows number for
number; the run fails if not. The first call of each is noted apart: later ones remember hashes and verdicts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from benchmarks.common import heading, parser, table

ROOT = Path(__file__).resolve().parents[1]
CHILD = r"""
import hashlib, json, sys, time
from pathlib import Path
import numpy as np

def pool(dataset, policy, prm, data):
    from tts_utils import store
    began = time.process_time()
    pool = store.read_pool(dataset, policy, prm, data=Path(data))
    took = time.process_time() - began
    digest = hashlib.sha256(json.dumps(pool.problem_ids).encode())
    for name in ("answers", "answer_ids", "correct", "num_tokens", "scores", "num_prm_tokens"):
        values = getattr(pool, name)
        digest.update(json.dumps(values.tolist()).encode() if name == "answers" else values.tobytes())
    return took, digest.hexdigest()

def report(dataset, policy, prm, data):
    import warnings
    from tts_utils import report
    warnings.simplefilter("ignore")
    began = time.process_time()
    frame = report.report(dataset, data=Path(data))
    took = time.process_time() - began
    rows = frame[["policy", "measure", "N", "estimate", "low", "high", "n"]].round(12).fillna(-1)
    return took, {f"{row[0]} {row[1]}": [float(v) for v in row[2:]] for row in rows.itertuples(index=False)}

for line in sys.stdin:
    what, *words = json.loads(line)
    print(json.dumps({"pool": pool, "report": report}[what](*words)), flush=True)
"""


class Side:
    """One version of the package in a process of its own."""

    def __init__(self, package: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], cwd=package, env=environment, text=True, **pipes
        )

    def ask(self, *words: str) -> tuple[float, object]:
        """Processor seconds of one call, and what tells its result from others."""
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise SystemExit("a side failed; its message stands above")
        return tuple(json.loads(line))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def package_at(rev: str, folder: Path) -> Path:
    """The package as it was at a commit."""
    content = subprocess.run(["git", "archive", rev, "tts_utils"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(fileobj=BytesIO(content.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def check(what: str, ours: object, other: object) -> None:
    """Fail unless both sides read the same; ours may report more."""
    if isinstance(other, dict):
        different = [key for key, row in other.items() if ours.get(key) != row]
        if different:
            raise SystemExit(
                f"{what}: {len(different)} of {len(other)} rows differ, the first: {different[0]}"
            )
    elif ours != other:
        raise SystemExit(f"{what}: the arrays differ")


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--rev", default="af7aa89", help="the commit to compare with")
    options.add_argument("--data", type=Path, default=ROOT / "data")
    options.add_argument("--pairs", type=int, default=5)
    options.add_argument("--prm", default="lab-math-shepherd")
    args = options.parse_args(argv)
    tasks = [
        *(("pool", "lab-200", policy, args.prm) for policy in ("lab-llama-m", "lab-llama-l", "lab-qwen-s")),
        ("report", "lab-500", "", ""),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            sides = Side(ROOT), Side(package_at(args.rev, Path(folder)))
            pairs = 1 if task[0] == "report" else args.pairs
            timed: list[tuple[float, float]] = []
            for _ in range(1 + pairs):
                (ours, mine), (other, theirs) = (side.ask(*task, str(args.data)) for side in sides)
                check(" ".join(task), mine, theirs)
                timed.append((ours, other))
            for side in sides:
                side.close()
            later = timed[1:]
            rows.append(
                {
                    "what": " ".join(word for word in task if word),
                    "ours, s": statistics.median(ours for ours, _ in later),
                    f"{args.rev}, s": statistics.median(other for _, other in later),
                    "times faster": statistics.median(other / ours for ours, other in later),
                    "least": min(other / ours for ours, other in later),
                    "first call": timed[0][1] / timed[0][0],
                    "pairs": len(later),
                }
            )
    heading("reading", argv, f"Pools and the report of stored tables, against commit {args.rev}.")
    table(rows)


if __name__ == "__main__":
    main()
