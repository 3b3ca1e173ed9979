"""On one GPU, at real shapes with random weights: sampling against ``generate``, PRM scoring, the ceiling.

The policy has the shape of Llama-3.2-1B (vocabulary 128,256), the PRM that of Qwen2.5-Math-PRM-7B, both
bfloat16. Prompts are the lab's; both sides write equally many tokens. Without a GPU nothing is measured, and
the section says so. About three minutes, most of them for putting random weights in place.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.common import heading, parser, spread, table
from benchmarks.generation import generate
from tts_utils import mdp
from tts_utils.policies import load_policy
from tts_utils.policies.transformers import TransformersPolicy
from tts_utils.prms import load_prm
from tts_utils.prms.heads import head_model_class
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.records import SamplingConfig, State

POLICY = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
PRM = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}


def wall(work: Callable[[], object]) -> float:
    """Seconds of one run on the GPU, to the end of its last kernel."""
    import torch

    on_gpu = torch.cuda.is_available()
    torch.cuda.synchronize() if on_gpu else None
    began = time.perf_counter()
    work()
    torch.cuda.synchronize() if on_gpu else None
    return time.perf_counter() - began


def matmul_rate(device: str, size: int) -> float:
    """Floating-point operations per second of one large bfloat16 product."""
    import torch

    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    wall(lambda: left @ right)
    return 2 * size**3 / statistics.median(wall(lambda: left @ right) for _ in range(10))


def sampling(args) -> dict[str, object]:
    """Tokens per second of the policy and of generate, same prompts, same number of tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    lab = load_policy("lab-llama-m", "cpu")
    torch.manual_seed(0)
    with torch.device(args.device):
        model = LlamaForCausalLM._from_config(LlamaConfig(**POLICY | args.shape), dtype=torch.bfloat16).eval()
    model.generation_config.eos_token_id = None
    policy = TransformersPolicy("1B shape", model, lab.tokenizer, args.batch, family=lab.family)
    policy.eos_ids = frozenset()
    states = [mdp.initial_state(p) for p in spread("lab-200", args.states)]
    config = SamplingConfig(0.7, max_tokens=args.max_tokens)
    prompts = [ids for state in states for ids in [list(policy.prompt_ids(state))] * args.n]
    tokens = len(prompts) * args.max_tokens

    def ours() -> object:
        return policy.sample(states, args.n, config)

    def other() -> object:
        return generate(policy, prompts, args.max_tokens, config.temperature, set())

    ours(), other()
    pairs = [(wall(ours), wall(other)) for _ in range(args.pairs)]
    ratios = [b / a for a, b in pairs]
    return {
        "what": f"sampling, {args.states} x {args.n}, {args.max_tokens} tokens, batch {args.batch}",
        "against": "generate",
        "ours": tokens / statistics.median(a for a, _ in pairs),
        "other": tokens / statistics.median(b for _, b in pairs),
        "unit": "tokens/s",
        "times faster": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "% of bf16 product rate": None,
    }


def scoring(args, rate: float) -> dict[str, object]:
    """Tokens per second of the PRM in batches, against one sequence at a time; share of the product rate."""
    import torch
    from transformers import Qwen2Config

    lab = load_prm("lab-qwen-prm-s", "cpu")
    config = Qwen2Config(**PRM | args.shape)
    torch.manual_seed(0)
    with torch.device(args.device):
        model = head_model_class(Qwen2Config, "classes")._from_config(config, dtype=torch.bfloat16).eval()
    model.head.float()
    problems = spread("lab-200", args.states)
    step = "First 12 plus 30 is 42, then 42 plus {} is {}.\n\n"
    states = [
        State(problem, tuple(step.format(i + k, 42 + i + k) for k in range(12)))
        for problem in problems
        for i in range(args.n)
    ]
    flops = 2 * sum(p.numel() for layer in model.model.layers for p in layer.parameters())
    run: list[int] = []

    def ours() -> None:
        prm = TransformersPRM("7B shape", model, lab.format, args.batch_tokens)
        prm.score(states)
        run.append(prm.tokens_run)

    alone = states[:: max(1, len(states) // 32)]

    def other() -> None:
        prm = TransformersPRM("7B shape", model, lab.format, cache_bytes=0)
        for state in alone:
            prm.score([state])

    ours(), other()
    pairs = [(wall(ours), wall(other) * len(states) / len(alone)) for _ in range(args.pairs)]
    ratios = [b / a for a, b in pairs]
    seconds = statistics.median(a for a, _ in pairs)
    return {
        "what": f"PRM scoring, {len(states)} trajectories, batches of {args.batch_tokens:,} tokens",
        "against": f"one sequence at a time ({len(alone)} of them)",
        "ours": len(states) / seconds,
        "other": len(states) / statistics.median(b for _, b in pairs),
        "unit": "trajectories/s",
        "times faster": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "% of bf16 product rate": 100 * run[-1] * flops / seconds / rate,
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--states", type=int, default=64)
    options.add_argument("--n", type=int, default=4)
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--batch-tokens", type=int, default=16_384)
    options.add_argument("--max-tokens", type=int, default=128)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--toy", action="store_true", help="toy shapes on a CPU, to see that this runs")
    args = options.parse_args(argv)
    import torch

    args.device, args.shape, size = "cuda", {}, 8192
    if args.toy:
        args.device, size = "cpu", 64
        args.shape = {"hidden_size": 56, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 5000}
        args.shape |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    heading("gpu", argv, f"Shapes of Llama-3.2-1B and Qwen2.5-Math-PRM-7B, random weights, bfloat16, {name}.")
    if not torch.cuda.is_available() and not args.toy:
        print("not measured: torch sees no GPU here.\n")
        return
    rate = matmul_rate(args.device, size)
    rows = [sampling(args)]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    rows.append(scoring(args, rate))
    table(rows)
    print(f"One product of {size:,} x {size:,} bfloat16 matrices ran at {rate / 1e12:.3g} TFLOP/s.\n")


if __name__ == "__main__":
    main()
