"""Scoring with a PRM in batches of a token budget, against one sequence per forward pass.

The same code on both sides but for the budget; so the baseline, too, projects hidden states at step
positions only. The trajectories are stored samples, each distinct one once.
"""

from __future__ import annotations

import statistics

from common import ceiling, forward_passes, heading, measure, mib, parser, set_threads, spread, table

from tts_utils import mdp, store
from tts_utils.prms import TransformersPRM, batches, load_prm


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--prm", default="lab-math-shepherd", help="lab PRM, folder or Hub id")
    options.add_argument("--dataset", default="lab-500")
    options.add_argument("--policy", default="lab-llama-m", help="whose stored samples are scored")
    options.add_argument("--problems", type=int, default=200)
    options.add_argument("--n", type=int, default=16, help="stored samples of each problem")
    options.add_argument("--batch-tokens", type=int, nargs="+", default=[1024, 4096, 16_384, 65_536])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = options.parse_args()
    set_threads(args.threads)

    prm = load_prm(args.prm, args.device)
    problems = {p.problem_id: p for p in spread(args.dataset, args.problems)}
    samples = store.read_samples(args.dataset, args.policy, n=args.n)
    samples = samples[samples["problem_id"].isin(problems.keys()) & (samples["text"] != "")]
    distinct = samples.drop_duplicates(["problem_id", "text"])
    states = [
        mdp.state_of(problems[i], text)
        for i, text in zip(distinct["problem_id"], distinct["text"], strict=True)
    ]
    lengths = [len(prm.format.encode(state).ids) for state in states]
    heading(
        "PRM scoring",
        f"{args.prm} ({prm.num_params:,} parameters), {len(states):,} distinct trajectories "
        f"({len(samples):,} samples of {args.policy} on {args.problems} problems of {args.dataset}), "
        f"{min(lengths)} to {max(lengths)} tokens, {args.device}, {args.threads} thread(s), "
        f"median of {args.repeats}.",
    )
    rows, reference, alone = [], None, 0.0
    for budget in (1, *args.batch_tokens):  # a budget of 1: every sequence goes alone
        scorer = TransformersPRM(prm.name, prm.model, prm.format, budget)
        with forward_passes(prm.model.base_model) as passes:
            scorer.score(states[:64])  # to warm up
            passes.clear()
            results, cost = measure(
                lambda scorer=scorer: scorer.score(states), repeats=args.repeats, device=args.device
            )
        flat = [score for result in results for score in result.scores]
        reference, alone = reference or flat, alone or cost.seconds
        grouped = batches(lengths, budget)
        sizes = [len(batch) * max(lengths[i] for i in batch) for batch in grouped]  # padding included
        best = ceiling(prm.model.base_model, round(statistics.median(sizes)))
        rows.append(
            {
                "batch": f"{budget:,} tokens" if budget > 1 else "one sequence",
                "forward passes": len(passes) // args.repeats,
                "seconds": cost.seconds,
                "sequences/s": len(states) / cost.seconds,
                "tokens/s": sum(lengths) / cost.seconds,
                "against one sequence": alone / cost.seconds,
                "% padding": 100 * (1 - sum(lengths) / sum(sizes)),
                "% of matmul ceiling": 100 * sum(lengths) / cost.seconds / best.tokens_per_second,
                "largest difference": max(abs(a - b) for a, b in zip(flat, reference, strict=True)),
                "peak MiB": mib(cost.peak),
            }
        )
    table(rows)


if __name__ == "__main__":
    main()
