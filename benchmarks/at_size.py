"""A search at the paper's size with models that cost nothing: what the driver, the tree and the store take.

Every path runs to the last depth, so that the number of nodes is problems x N x depth. The policy and the PRM
are functions of the text; their own time is taken off. ``tts fill`` searches so many problems at once that a
policy has enough to do, and writes their nodes down before the next; memory is that of one such block.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import heading, measure, mib, parser, table
from tts_utils.records import Continuation, Problem, SamplingConfig, State, StepScores
from tts_utils.store import searches
from tts_utils.tree_search import TreeSearch


class Free:
    """A policy and a PRM in one, which know how long they took."""

    name, num_params, revision = "free", 0, "1"

    def __init__(self, depth: int) -> None:
        self.depth, self.seconds = depth, 0.0

    def sample(self, states: Sequence[State], n: int, config: SamplingConfig, first: Sequence[int]):
        """Steps of a sentence; the last one has the answer."""
        began = time.process_time()
        given = []
        for state, start in zip(states, first, strict=True):
            step, last = len(state.steps) + 1, len(state.steps) + 1 >= self.depth
            text = (
                "So it is \\boxed{1}."
                if last
                else f"Step {step}: one of the things that can be said, {{}}.\n\n"
            )
            reason = "eos" if last else "stop"
            given.append(
                [Continuation(text.replace("{}", str(i % 97)), 20, reason) for i in range(start, start + n)]
            )
        self.seconds += time.process_time() - began
        return given

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """A number made of the text of each step."""
        began = time.process_time()
        given = [
            StepScores(tuple(zlib.crc32(s.encode()) % 1000 / 1000 for s in t.steps), 20 * len(t.steps))
            for t in trajectories
        ]
        self.seconds += time.process_time() - began
        return given


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--problems", type=int, nargs="+", default=[16, 32, 64])
    options.add_argument("--budget", type=int, default=256, help="N")
    options.add_argument("--depth", type=int, default=20)
    args = options.parse_args(argv)
    heading("at_size", argv, f"Beam search, N = {args.budget}, depth {args.depth}, no models.")
    rows = []
    for count in args.problems:
        problems = [Problem(f"p{i}", f"Problem {i}.", "1") for i in range(count)]
        free = Free(args.depth)
        with tempfile.TemporaryDirectory() as folder:
            done, cost = measure(
                lambda problems=problems, free=free, folder=folder: searches.fill_searches(
                    "free", free, free, TreeSearch("beam", args.budget), problems=problems, data=Path(folder)
                )
            )
        rows.append(
            {
                "problems": count,
                "nodes": done.added,
                "processor s": cost.processor,
                "of it models": free.seconds,
                "driver and store, us a node": 1e6 * (cost.processor - free.seconds) / done.added,
                "peak MiB": mib(cost.peak),
            }
        )
    table(rows)
    print(
        "Nodes are written down block by block; 500 problems take as much memory as the largest of these.\n"
    )


if __name__ == "__main__":
    main()
