"""Beam search and DVTS in lock step against the same search done one beam at a time.

Both sides run the same methods with the same models. In lock step, the driver merges what all problems ask
for into one call of the policy and one of the PRM per depth. One beam at a time, problems come one after
another, every beam is continued by a call of its own, and every new trajectory is scored in a forward pass of
its own. (It is spared what would be unfair to it: equal trajectories are read once on both sides, and the
prompt of a beam is read once for its M steps.) The trees must come out the same; the run fails if not.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.common import forward_passes, heading, measure, mib, parser, set_threads, spread, table
from tts_utils import mdp, search
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.protocols import first_indices
from tts_utils.records import Problem, SamplingConfig, SearchNode, SearchResult, State
from tts_utils.tree_search import TreeSearch

SCORE_TOLERANCE = 1e-4


class Watched:
    """A policy and a PRM in one: counts calls by depth and takes the time; can serve one beam at a time."""

    def __init__(self, policy, prm, *, one_by_one: bool = False) -> None:
        self.policy, self.prm, self.one_by_one = policy, prm, one_by_one
        self.name, self.num_params, self.revision = "watched", 0, ""
        self.calls: dict[str, Counter[int]] = {"sample": Counter(), "score": Counter()}
        self.seconds = {"sample": 0.0, "score": 0.0}

    def sample(self, states: Sequence[State], n: int, config: SamplingConfig, first):
        self.calls["sample"][len(states[0].steps) + 1] += len(states) if self.one_by_one else 1
        began = time.perf_counter()
        if self.one_by_one:
            firsts = first_indices(states, n, config, first)
            rows = [self.policy.sample([s], n, config, [f])[0] for s, f in zip(states, firsts, strict=True)]
        else:
            rows = self.policy.sample(states, n, config, first)
        self.seconds["sample"] += time.perf_counter() - began
        return rows

    def score(self, trajectories: Sequence[State]):
        depth = max(len(t.steps) for t in trajectories)
        self.calls["score"][depth] += len(trajectories) if self.one_by_one else 1
        began = time.perf_counter()
        if self.one_by_one:
            rows = [self.prm.score([t])[0] for t in trajectories]
        else:
            rows = self.prm.score(trajectories)
        self.seconds["score"] += time.perf_counter() - began
        return rows

    @property
    def model_seconds(self) -> float:
        return sum(self.seconds.values())


def check_same(ours: SearchResult, plain: SearchResult) -> None:
    """Fail unless two trees are the same; scores may differ by rounding."""

    def facts(node: SearchNode) -> tuple:
        return tuple(getattr(node, name) for name in SearchNode._fields if name != "score")

    different = [(a, b) for a, b in zip(ours.nodes, plain.nodes, strict=False) if facts(a) != facts(b)]
    if different or len(ours.nodes) != len(plain.nodes):
        raise SystemExit(
            f"problem {ours.problem_id!r}: the trees differ, {len(ours.nodes)} and {len(plain.nodes)} nodes; "
            f"first of {len(different)} differences: {different[:1]}"
        )
    gap = max(abs((a.score or 0) - (b.score or 0)) for a, b in zip(ours.nodes, plain.nodes, strict=True))
    if gap > SCORE_TOLERANCE:
        raise SystemExit(f"problem {ours.problem_id!r}: scores of the same tree differ by {gap}")
    if [c.text for c in ours.completions] != [c.text for c in plain.completions]:
        raise SystemExit(f"problem {ours.problem_id!r}: the completions differ")


def paths(problem: Problem, result: SearchResult) -> list[State]:
    """For every scored node of a problem's tree(s) the trajectory that leads to it."""
    text: dict[tuple[int, int], str] = {}
    for node in result.nodes:  # sorted, so parents come first
        text[node.run, node.node] = text.get((node.run, node.parent), "") + node.text
    scored = [node for node in result.nodes if node.score is not None]
    return [mdp.state_of(problem, text[node.run, node.node]) for node in scored]


def prm_tokens(prm, problems: Sequence[Problem], results: Sequence[SearchResult]) -> dict[str, int]:
    """What it would take to score the finished trees, in PRM tokens; counted from the trees alone."""
    total: Counter[str] = Counter()
    for problem, result in zip(problems, results, strict=True):
        states = paths(problem, result)
        distinct = {state.text: state for state in states}
        cost = {text: len(prm.format.encode(state).ids) for text, state in distinct.items()}
        grown = {"".join(s.steps[:-1]) for s in distinct.values()}
        total["every node once"] += sum(cost[state.text] for state in states)
        total["every distinct node once"] += sum(cost.values())
        total["every leaf's whole path once"] += sum(cost[text] for text in distinct if text not in grown)
    return total


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--policy", default="lab-llama-m", help="lab policy, folder or Hub id")
    options.add_argument("--prm", default="lab-math-shepherd", help="lab PRM, folder or Hub id")
    options.add_argument("--dataset", default="lab-500")
    options.add_argument("--problems", type=int, default=200)
    options.add_argument("--budget", type=int, default=64, help="N")
    options.add_argument("--branching", type=int, default=4, help="M")
    options.add_argument("--method", nargs="+", default=["beam", "dvts"], choices=["beam", "dvts"])
    options.add_argument("--max-tokens", type=int, default=128, help="of one step")
    options.add_argument("--distinct", action="store_true", help="drop equal candidates")
    options.add_argument("--naive-seconds", type=float, default=200, help="no further problem after that")
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = options.parse_args(argv)
    set_threads(args.threads)

    policy, prm = load_policy(args.policy, args.device), load_prm(args.prm, args.device)
    problems = spread(args.dataset, args.problems)
    config = SamplingConfig(max_tokens=args.max_tokens)
    heading(
        "search",
        argv,
        f"{args.policy} ({policy.num_params:,} parameters) and {args.prm} ({prm.num_params:,}), "
        f"{args.problems} problems of {args.dataset}, N = {args.budget}, M = {args.branching}, "
        f"{args.device}, {args.threads} thread(s).",
    )
    for name in args.method:
        method = TreeSearch(name, args.budget, args.branching, distinct=args.distinct)
        warm = TreeSearch(name, args.branching, args.branching)
        for one_by_one in (False, True):
            both = Watched(policy, prm, one_by_one=one_by_one)
            search.run([warm(problem) for problem in problems[:2]], both, both, config)
        compare(name, method, policy, prm, problems, config, args)


def compare(name: str, method: TreeSearch, policy, prm, problems, config, args) -> None:
    """Run both sides and print their tables."""
    # 1) All problems in lock step.
    ours = Watched(policy, prm)
    with forward_passes(policy.model) as policy_passes, forward_passes(prm.model.base_model) as prm_passes:
        results, cost = measure(
            lambda: search.run([method(problem) for problem in problems], ours, ours, config),
            device=args.device,
        )
        passes = len(policy_passes), len(prm_passes)

    # 2) One beam at a time, problem after problem in an order of chance, while there is time.
    plain = Watched(policy, prm, one_by_one=True)
    order = np.random.default_rng(0).permutation(len(problems)).tolist()
    done: dict[int, SearchResult] = {}

    def one_by_one() -> None:
        began = time.perf_counter()
        for i in order:
            if done and time.perf_counter() - began > args.naive_seconds:
                break
            (done[i],) = search.run([method(problems[i])], plain, plain, config)

    with forward_passes(policy.model) as policy_passes, forward_passes(prm.model.base_model) as prm_passes:
        _, plain_cost = measure(one_by_one, device=args.device)
        plain_passes = len(policy_passes), len(prm_passes)
    for i, result in done.items():
        check_same(results[i], result)

    # 3) Tables.
    print(f"### {name}\n")
    plain_each = plain_cost.seconds / len(done)
    rows = []
    for side, watched, number, spent, (sampling, scoring) in (
        ("one beam at a time", plain, len(done), plain_cost, plain_passes),
        ("lock step", ours, len(problems), cost, passes),
    ):
        per_problem = spent.seconds / number
        rows.append(
            {
                "side": side,
                "problems": number,
                "seconds": spent.seconds,
                "processor s": spent.processor,
                "ms per problem": 1000 * per_problem,
                "times faster": plain_each / per_problem,
                "policy s": watched.seconds["sample"],
                "PRM s": watched.seconds["score"],
                "rest, % of wall-clock": 100 * (1 - watched.model_seconds / spent.seconds),
                "calls": sum(watched.calls["sample"].values()) + sum(watched.calls["score"].values()),
                "policy passes": sampling,
                "PRM passes": scoring,
                "peak MiB": mib(spent.peak),
            }
        )
    table(rows)
    if len(done) < len(problems):
        print(f"One beam at a time was stopped after {args.naive_seconds:g} s, at {len(done)} problems.\n")
    print(f"{len(done)} of {len(done)} trees of both sides are the same, node for node.\n")

    depths: dict[int, int] = defaultdict(int)  # steps sampled at each depth
    for result in results:
        for node in result.nodes:
            depths[node.depth] += 1
    rows = []
    for depth, nodes in sorted(depths.items()):
        asked = ours.calls["sample"][depth] + ours.calls["score"][depth]
        beams = nodes // method.branching
        rows.append(
            {
                "depth": depth,
                "beams continued": beams,
                "sample calls": ours.calls["sample"][depth],
                "score calls": ours.calls["score"][depth],
                "beams per call": beams / asked,
            }
        )
    table(rows)
    total_beams = sum(depths.values()) / method.branching
    calls = sum(ours.calls["sample"].values()) + sum(ours.calls["score"].values())
    print(
        f"All depths: {total_beams:,.0f} beams continued, {calls} calls in lock step, "
        f"{total_beams / calls:,.0f} beams per call.\n"
    )

    spent = sum(result.num_prm_tokens for result in results)
    rows = [
        {"PRM tokens": f"scoring {what}", "tokens": tokens, "spent, as a multiple": spent / tokens}
        for what, tokens in prm_tokens(prm, problems, results).items()
    ]
    table([{"PRM tokens": "spent by the search", "tokens": spent, "spent, as a multiple": 1.0}, *rows])


if __name__ == "__main__":
    main()
