"""Sampling with TransformersPolicy against transformers' own generate at the same batch, and the ceiling.

Both sides get the same prompts in the same batches and the same temperature; only tokens up to the end of a
completion count. "natural" ends at the end-of-sequence token. generate carries finished rows along, and
runs every completion for itself; the policy drops them, and runs once what completions of a problem share.
"fixed" writes equally many tokens on both sides.
The ceiling is the time of the model's matrix products alone, at the batch's shape.
"""

from __future__ import annotations

from benchmarks.common import (
    ceiling,
    heading,
    measure,
    mib,
    parser,
    set_threads,
    spread,
    square_product,
    table,
)
from tts_utils import mdp
from tts_utils.policies import load_policy
from tts_utils.records import SamplingConfig


def generate(policy, prompts: list[list[int]], max_tokens: int, temperature: float, eos: set[int]) -> int:
    """Sample one completion of every prompt, in batches, as users of transformers do; count its tokens."""
    import torch

    model, total = policy.model, 0
    prompts = sorted(prompts, key=len)
    for start in range(0, len(prompts), policy.batch_size):
        batch = prompts[start : start + policy.batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch], device=model.device)
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=max_tokens,
                pad_token_id=0,
            )
        for row in out[:, width:].tolist():
            ends = [i + 1 for i, token in enumerate(row) if token in eos]
            total += ends[0] if ends else len(row)
    return total


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--policy", default="lab-llama-m", help="lab policy, folder or Hub id")
    options.add_argument("--dataset", default="lab-500", help="whose problems are the prompts")
    options.add_argument("--problems", type=int, default=64)
    options.add_argument("--n", type=int, default=16, help="completions of each")
    options.add_argument("--batch", type=int, nargs="+", default=[64, 256], help="sequences at a time")
    options.add_argument("--max-tokens", type=int, default=128)
    options.add_argument("--temperature", type=float, default=0.7)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = options.parse_args(argv)
    set_threads(args.threads)

    policy = load_policy(args.policy, args.device)
    states = [mdp.initial_state(p) for p in spread(args.dataset, args.problems)]
    prompts = [ids for state in states for ids in [policy.prompt_ids(state)] * args.n]
    config = SamplingConfig(args.temperature, max_tokens=args.max_tokens)
    heading(
        "generation",
        argv,
        f"{args.policy} ({policy.num_params:,} parameters), {args.problems} problems of {args.dataset} x "
        f"{args.n} completions, at most {args.max_tokens} new tokens, temperature {args.temperature}, "
        f"{args.device}, {args.threads} thread(s), median of {args.repeats}.",
    )
    peak, rows = square_product(device=args.device), []
    for ending in ("natural", "fixed"):
        if ending == "fixed":  # nothing ends a completion but the limit, on either side
            policy.eos_ids = frozenset()
            policy.model.generation_config.eos_token_id = None
        for batch in args.batch:
            policy.batch_size = batch

            def raw() -> int:
                return generate(policy, prompts, args.max_tokens, args.temperature, set(policy.eos_ids))

            def ours() -> int:
                return sum(c.num_tokens for row in policy.sample(states, args.n, config) for c in row)

            products = ceiling(policy.model, min(batch, len(prompts)))
            best = products.tokens_per_second
            speeds = {}
            for side, work in (("transformers generate", raw), ("TransformersPolicy", ours)):
                work()  # once to warm up
                tokens, cost = measure(work, repeats=args.repeats, device=args.device)
                speeds[side] = tokens / cost.seconds
                rows.append(
                    {
                        "ending": ending,
                        "batch": batch,
                        "side": side,
                        "new tokens": tokens,
                        "seconds": cost.seconds,
                        "tokens/s": speeds[side],
                        "against generate": speeds[side] / speeds["transformers generate"],
                        "% of ceiling": 100 * speeds[side] / best,
                        "peak MiB": mib(cost.peak),
                    }
                )
            rows.append(
                {
                    "ending": ending,
                    "batch": batch,
                    "side": "ceiling (matrix products)",
                    "new tokens": None,
                    "seconds": None,
                    "tokens/s": best,
                    "against generate": best / speeds["transformers generate"],
                    "% of ceiling": 100.0,
                    "peak MiB": None,
                }
            )
    table(rows)
    print(
        f"The model's matrix products ran at {products.flops_per_second / 1e9:.0f} GFLOP/s (batch {batch}), "
        f"one product of 1,024 x 1,024 matrices at {peak / 1e9:.0f} GFLOP/s.\n"
    )


if __name__ == "__main__":
    main()
