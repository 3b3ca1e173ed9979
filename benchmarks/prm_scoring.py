"""Scoring with a PRM in batches of a token budget, against one sequence per forward pass.

The same code on both sides; so the baseline, too, projects hidden states at step positions only. But it is
given one trajectory at a time: nothing is batched, and what the trajectories of a problem share is read again
for each of them. The trajectories are samples of a policy, drawn anew, each distinct one once.
"""

from __future__ import annotations

import statistics

from benchmarks.common import (
    ceiling,
    forward_passes,
    heading,
    measure,
    mib,
    parser,
    set_threads,
    spread,
    table,
)
from tts_utils import mdp
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.records import SamplingConfig


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--prm", default="lab-math-shepherd", help="lab PRM, folder or Hub id")
    options.add_argument("--dataset", default="lab-500")
    options.add_argument("--policy", default="lab-llama-m", help="whose completions are scored")
    options.add_argument("--problems", type=int, default=200)
    options.add_argument("--n", type=int, default=16, help="completions of each problem")
    options.add_argument("--max-tokens", type=int, default=256, help="of a completion")
    options.add_argument("--batch-tokens", type=int, nargs="+", default=[1024, 4096, 16_384, 65_536])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = options.parse_args(argv)
    set_threads(args.threads)

    prm = load_prm(args.prm, args.device)
    problems = spread(args.dataset, args.problems)
    pools = load_policy(args.policy, args.device).sample(
        [mdp.initial_state(p) for p in problems], args.n, SamplingConfig(max_tokens=args.max_tokens)
    )
    states = [
        mdp.state_of(problem, text)
        for problem, pool in zip(problems, pools, strict=True)
        for text in dict.fromkeys(c.text for c in pool if c.text)
    ]
    lengths = [len(prm.format.encode(state).ids) for state in states]
    heading(
        "prm_scoring",
        argv,
        f"{args.prm} ({prm.num_params:,} parameters), {len(states):,} distinct trajectories "
        f"({args.problems * args.n:,} completions by {args.policy} of {args.problems} problems of "
        f"{args.dataset}), {min(lengths)} to {max(lengths)} tokens, {args.device}, {args.threads} thread(s), "
        f"median of {args.repeats}.",
    )
    rows, reference, alone = [], None, 0.0
    for budget in (0, *args.batch_tokens):
        size = len(states) if budget else 1  # of what is given at once

        def score(given, budget=budget, size=size):
            kept = None if budget else 0  # bytes of what has been read before; a new PRM has read nothing
            scorer = TransformersPRM(
                prm.name, prm.model, prm.format, budget or max(lengths), cache_bytes=kept
            )
            return [r for start in range(0, len(given), size) for r in scorer.score(given[start:][:size])]

        with forward_passes(prm.model.base_model) as passes:
            score(states[:64])  # to warm up
            passes.clear()
            results, cost = measure(
                lambda score=score: score(states), repeats=args.repeats, device=args.device
            )
        if any(result.too_long for result in results):
            raise SystemExit(
                f"{args.prm} cannot read the longest of these completions; name another --policy"
            )
        flat = [score for result in results for score in result.scores]
        reference, alone = reference or flat, alone or cost.seconds
        best = ceiling(prm.model.base_model, round(statistics.median(passes)))
        rows.append(
            {
                "batch": f"{budget:,} tokens" if budget else "one sequence",
                "forward passes": len(passes) // args.repeats,
                "seconds": cost.seconds,
                "sequences/s": len(states) / cost.seconds,
                "tokens/s": sum(lengths) / cost.seconds,
                "against one sequence": alone / cost.seconds,
                "% of tokens run": 100 * sum(passes) / args.repeats / sum(lengths),
                "% of matmul ceiling": 100 * sum(lengths) / cost.seconds / best.tokens_per_second,
                "largest difference": max(abs(a - b) for a, b in zip(flat, reference, strict=True)),
                "peak MiB": mib(cost.peak),
            }
        )
    table(rows)
    print(
        "\nTokens are those of all trajectories. Fewer are run, padding included, as what the trajectories "
        "of a problem share is read once."
    )


if __name__ == "__main__":
    main()
