"""Accuracy against budget for every PRM and rule, by resampling one pool; on synthetic arrays.

The arrays are random numbers of the right shapes (answers of a few kinds, some missing; step scores in
[0, 1]): they say how long the analysis of a real pool takes, and nothing about any model. Grading is not part
of it, since it happens once, when samples are stored. The baseline draws each subset and calls
``voting.select`` on it, one (PRM, rule, budget, resample) after another; it is timed on a few resamples and
scaled up.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import heading, measure, mib, parser, table
from tts_utils import metrics, voting


def synthetic_answers(problems: int, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answer ids (P, S), -1 for one in 20, and whether each is right; id 0 is the right answer."""
    share_right = rng.beta(0.6, 0.8, size=(problems, 1))
    wrong = np.minimum(rng.geometric(0.25, size=(problems, samples)), 30)
    ids = np.where(rng.random((problems, samples)) < share_right, 0, wrong)
    ids[rng.random(ids.shape) < 0.05] = -1
    return ids, ids == 0


def synthetic_step_scores(samples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Step scores of so many trajectories of 2 to 12 steps."""
    ends = np.cumsum(rng.integers(2, 13, size=samples))
    return np.split(rng.random(ends[-1]), ends[:-1])


def plain(right, ids, methods, budgets, resamples: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same by drawing subsets: method -> (P, budgets) share of resamples that are right."""
    rows = np.arange(len(ids))[:, None]
    result = {}
    for name, (scores, rule) in methods.items():
        hits = np.zeros((len(ids), len(budgets)))
        for at, budget in enumerate(budgets):
            for _ in range(resamples):
                drawn = rng.permuted(np.broadcast_to(np.arange(ids.shape[1]), ids.shape), axis=1)[:, :budget]
                chosen = voting.select(
                    ids[rows, drawn], None if scores is None else scores[rows, drawn], rule
                )
                picked = drawn[rows[:, 0], np.maximum(chosen, 0)]
                hits[:, at] += (chosen >= 0) & right[rows[:, 0], picked]
        result[name] = hits / resamples
    return result


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--problems", type=int, default=500)
    options.add_argument("--samples", type=int, default=256, help="in the pool of each problem; a power of 2")
    options.add_argument("--prms", type=int, default=7)
    options.add_argument("--resamples", type=int, default=200)
    options.add_argument("--baseline-resamples", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)

    rng = np.random.default_rng(args.seed)
    budgets = [2**k for k in range(args.samples.bit_length()) if 2**k <= args.samples]
    ids, right = synthetic_answers(args.problems, args.samples, rng)
    methods: dict[str, tuple[np.ndarray | None, str]] = {}
    took, memory = 0.0, 0
    for prm in range(args.prms):
        step_scores = synthetic_step_scores(ids.size, rng)
        scores = {}
        for how in voting.AGGREGATIONS:
            aggregated, cost = measure(lambda how=how, s=step_scores: voting.aggregate_many(s, how))
            scores[how] = aggregated.reshape(ids.shape)
            took, memory = took + cost.seconds, max(memory, cost.peak)
        for name in voting.RULES:
            how, rule = voting.split_rule(name)
            methods[f"prm{prm}/{name}"] = (scores[how] if how else None, rule)
    del step_scores
    heading(
        "analysis",
        argv,
        f"{args.problems} problems x {args.samples} samples x {args.prms} PRMs x {len(voting.RULES)} rules x "
        f"N in {{{', '.join(map(str, budgets))}}}, {args.resamples} resamples each: synthetic arrays. "
        "One process; the baseline was timed on "
        f"{args.baseline_resamples} resamples and scaled to {args.resamples}.",
    )
    curves, cost = measure(
        lambda: metrics.accuracy_per_problem(
            right, ids, methods, budgets, args.resamples, np.random.default_rng(1)
        )
    )
    subsets, slow = measure(
        lambda: plain(right, ids, methods, budgets, args.baseline_resamples, np.random.default_rng(2))
    )
    for name in methods:  # the whole pool leaves nothing to chance, so the two must agree
        scores, rule = methods[name]
        chosen = voting.select(ids, scores, rule)
        expected = (chosen >= 0) & right[np.arange(len(ids)), np.maximum(chosen, 0)]
        assert np.array_equal(curves[name][:, -1], expected), name
    apart = max(abs(curves[m].mean(axis=0) - subsets[m].mean(axis=0)).max() for m in methods)
    slow_seconds = slow.seconds * args.resamples / args.baseline_resamples
    drawn = (len(budgets) - 1) * args.resamples  # the whole pool is one subset, and counts for nothing here
    choices = len(methods) * args.problems * drawn
    rows = [
        ("aggregation of step scores", took, 3 * args.prms * ids.size / took, None, memory),
        (
            "accuracy_per_problem",
            cost.seconds,
            choices / cost.seconds,
            slow_seconds / cost.seconds,
            cost.peak,
        ),
        ("aggregation and selection", took + cost.seconds, None, None, max(memory, cost.peak)),
        ("baseline: select on each subset", slow_seconds, choices / slow_seconds, 1.0, slow.peak),
    ]
    names = ("part", "seconds", "trajectories or choices/s", "against the baseline")
    table([{**dict(zip(names, row, strict=False)), "peak MiB": mib(row[4])} for row in rows])
    print(f"Processor time of accuracy_per_problem: {cost.processor:.1f} s. ", end="")
    noise = 0.5 / (args.problems * args.baseline_resamples) ** 0.5
    print(f"Largest difference of an accuracy from the baseline's: {apart:.3f}; ", end="")
    print(f"the baseline's standard error is up to {noise:.3f} each.")


if __name__ == "__main__":
    main()
