"""A search at the paper's size with models that cost nothing: what the driver, the tree and the store take.

Every path runs to the last depth, so that the number of nodes is problems x N x depth. The policy and the PRM
are functions of the text; their own time is taken off. ``tts search`` searches so many problems at once that
a policy has enough to do, and writes their nodes down before the next; at the end the parts are merged a
million rows at a time. So memory does not grow with the problems.

What is left is the driver with the tree and the store. It is held against two models: one of 1B on one GPU,
by the tokens that it writes a second, its PRM taken as free; and the lab's, which is measured in the same run
and is so small (0.1M parameters) that a driver weighs thousands of times as much as beside a model in use.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import heading, measure, mib, parser, spread, table
from tts_utils import search
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.records import Continuation, Problem, SamplingConfig, State, StepScores
from tts_utils.store import searches
from tts_utils.tree_search import TreeSearch

STEP_TOKENS = 20  # of a step that is made up here; the lab's are about as long, a step of MATH is longer
GPU_SPEED = 16_606
"""Tokens a second of a 1B Llama in bfloat16 on one H200, by transformers' generate at a batch of 256."""


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
                [
                    Continuation(text.replace("{}", str(i % 97)), STEP_TOKENS, reason)
                    for i in range(start, start + n)
                ]
            )
        self.seconds += time.process_time() - began
        return given

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """A number made of the text of each step."""
        began = time.process_time()
        given = [
            StepScores(
                tuple(zlib.crc32(s.encode()) % 1000 / 1000 for s in t.steps), STEP_TOKENS * len(t.steps)
            )
            for t in trajectories
        ]
        self.seconds += time.process_time() - began
        return given


def of_the_lab(args) -> dict[str, object]:
    """Processor time of a search with the lab's models, and how it divides."""
    from benchmarks.workload import Timed

    policy, prm = Timed(load_policy(args.policy, "cpu")), Timed(load_prm(args.prm, "cpu"))
    problems = spread("lab-200", args.lab_problems)
    method, config = TreeSearch("beam", args.budget), SamplingConfig(0.7, max_tokens=128)
    search.run([method(problems[0])], policy, prm, config)  # to warm up
    policy.seconds = prm.seconds = 0.0
    results, cost = measure(lambda: search.run([method(p) for p in problems], policy, prm, config))
    nodes = sum(len(result.nodes) for result in results)
    rest = cost.processor - policy.seconds - prm.seconds
    return {
        "with": f"{args.policy}, {args.prm}",
        "problems": len(problems),
        "nodes": nodes,
        "policy, us a node": 1e6 * policy.seconds / nodes,
        "PRM, us a node": 1e6 * prm.seconds / nodes,
        "driver and tree, us a node": 1e6 * rest / nodes,
        "driver and tree, %": 100 * rest / cost.processor,
    }


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--problems", type=int, nargs="+", default=[16, 64, 500])
    options.add_argument("--budget", type=int, default=256, help="N")
    options.add_argument("--depth", type=int, default=20)
    options.add_argument("--speed", type=float, default=GPU_SPEED, help="tokens a second of a 1B on a GPU")
    options.add_argument("--policy", default="lab-llama-m")
    options.add_argument("--prm", default="lab-skywork-l")
    options.add_argument("--lab-problems", type=int, default=8, help="searched with the lab's models")
    args = options.parse_args(argv)
    heading("at_size", argv, f"Beam search, N = {args.budget}, depth {args.depth}, no models.")
    of_gpu = 1e6 * STEP_TOKENS / args.speed  # microseconds a node
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
        driver = 1e6 * (cost.processor - free.seconds) / done.added
        rows.append(
            {
                "problems": count,
                "nodes": done.added,
                "processor s": cost.processor,
                "of it models": free.seconds,
                "driver and store, us a node": driver,
                "% of a search with 1B on a GPU": 100 * driver / (driver + of_gpu),
                "peak MiB": mib(cost.peak),
            }
        )
    table(rows)
    print(f"A 1B on a GPU at {args.speed:,.0f} tokens/s takes {of_gpu:,.0f} us for a step's tokens.\n")
    if args.lab_problems:
        table([of_the_lab(args)])


if __name__ == "__main__":
    main()
