"""Every claim about speed as a ratio of two sides that ran in turn in one process.

A figure is processor seconds of the other side over processor seconds of ours: the median of the pairs, with
the least and the most. Processor seconds of one thread stand on a busy machine where wall-clock does not;
caches that neighbours use up still show, in both. Where a physical limit is near, it stands beside: the time
of the model's matrix products alone, at the shapes in question.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.common import ceiling, heading, parser, set_threads, spread, table
from benchmarks.generation import generate
from tts_utils import mdp, search
from tts_utils.policies import load_policy
from tts_utils.policies.transformers import TransformersPolicy
from tts_utils.prms import load_prm
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.records import Problem, SamplingConfig, State
from tts_utils.tree_search import TreeSearch


def in_turn(ours: Callable[[], object], other: Callable[[], object], pairs: int) -> list[tuple[float, float]]:
    """Processor seconds of both sides, one after the other, so often."""
    return [(seconds(ours), seconds(other)) for _ in range(pairs)]


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one run."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def row(what: str, against: str, timed: Sequence[tuple[float, float]], **more: object) -> dict[str, object]:
    """A line of the table of ratios."""
    ratios = [other / ours for ours, other in timed]
    return {
        "what": what,
        "against": against,
        "ours, s": statistics.median(ours for ours, _ in timed),
        "other, s": statistics.median(other for _, other in timed),
        "times faster": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "pairs": len(ratios),
        "% of matmul ceiling": more.get("ceiling"),
    }


def sampling(policy: TransformersPolicy, problems: Sequence[Problem], n: int, batch: int, args) -> dict:
    """Sampling against transformers' ``generate`` at the same number of sequences at a time."""
    states = [mdp.initial_state(p) for p in problems]
    config = SamplingConfig(0.7, max_tokens=args.max_tokens)
    prompts = [ids for state in states for ids in [policy.prompt_ids(state)] * n]
    tokens: list[int] = []

    def ours() -> None:
        tokens.append(sum(c.num_tokens for pool in policy.sample(states, n, config) for c in pool))

    def other() -> None:
        policy.batch_size, before = batch, policy.batch_size
        generate(policy, prompts, args.max_tokens, config.temperature, set(policy.eos_ids))
        policy.batch_size = before

    policy.sample(states[:4], 2, config)
    timed = in_turn(ours, other, args.pairs)
    best = ceiling(policy.model, batch).tokens_per_second
    speed = statistics.median(n / s for n, (s, _) in zip(tokens, timed, strict=True))
    what = f"sampling, {policy.name}, {len(states)} x {n}"
    return row(what, f"generate, batch {batch}", timed, ceiling=100 * speed / best)


def large_vocabulary(policy: TransformersPolicy, size: int) -> TransformersPolicy:
    """An untrained Llama of two layers with a vocabulary of some size; nothing ends what it writes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    name = f"2 layers, vocabulary {size:,}"
    made = TransformersPolicy(name, model, policy.tokenizer, batch_size=64, family=policy.family)
    made.eos_ids = frozenset()
    return made


class Recorded:
    """A PRM that notes what it is asked, call by call."""

    def __init__(self, prm: TransformersPRM) -> None:
        self.prm, self.calls = prm, []
        self.name, self.num_params, self.revision = prm.name, prm.num_params, prm.revision

    def score(self, trajectories: Sequence[State]):
        self.calls.append(list(trajectories))
        return self.prm.score(trajectories)


def fresh(prm: TransformersPRM, **options) -> TransformersPRM:
    """The same PRM with nothing read."""
    return TransformersPRM(prm.name, prm.model, prm.format, prm.batch_tokens, **options)


def read_all(prm: TransformersPRM, calls: Sequence[Sequence[State]]) -> TransformersPRM:
    """Have a PRM answer recorded calls."""
    for call in calls:
        prm.score(call)
    return prm


def distinct_tokens(prm: TransformersPRM, calls: Sequence[Sequence[State]]) -> int:
    """Tokens of all different steps behind the same tokens, and of each problem's text once."""
    pieces: dict[tuple, int] = {}
    for call in calls:
        for state in call:
            ids, positions = prm.format.encode(state)
            other = prm.format.encode(State(state.problem, ("?",))).ids
            same = (i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b)
            start = min(next(same, positions[0]), positions[0])
            ends = [start, *(p + 1 for p in positions)]
            for begin, end in zip([0, *ends], ends, strict=False):
                pieces[tuple(ids[:end])] = end - begin
    return sum(pieces.values())


def reading(method: str, policy, prm, problems, args) -> tuple[dict, dict]:
    """What a search asks of a PRM, answered with what has been read kept, and by reading all of it again."""
    tree_search = TreeSearch(method, args.budget)
    recorded = Recorded(fresh(prm))
    search.run([tree_search(p) for p in problems], policy, recorded, SamplingConfig(0.7, max_tokens=128))
    calls = recorded.calls
    kept, whole = fresh(prm), fresh(prm, cache_bytes=0)
    read_all(kept, calls), read_all(whole, calls)
    timed = in_turn(
        lambda: read_all(fresh(prm), calls), lambda: read_all(fresh(prm, cache_bytes=0), calls), args.pairs
    )
    distinct = distinct_tokens(prm, calls)
    tokens = {
        "what": f"{method}, N = {args.budget}, {len(problems)} problems, {prm.name}",
        "charged": sum(len(prm.format.encode(state).ids) for call in calls for state in call),
        "distinct new": distinct,
        "run, each step once": kept.tokens_run,
        "over distinct": kept.tokens_run / distinct,
        "run, reading all again": whole.tokens_run,
    }
    return row(f"PRM in {method}, {prm.name}", "reading whole trajectories again", timed), tokens


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--policy", default="lab-llama-m", help="lab policy, folder or Hub id")
    options.add_argument("--prm", nargs="+", default=["lab-skywork-l", "lab-rlhflow-terse"])
    options.add_argument("--dataset", default="lab-200")
    options.add_argument("--problems", type=int, default=32)
    options.add_argument("--n", type=int, default=16, help="completions of each problem")
    options.add_argument("--budget", type=int, default=64, help="N of the searches")
    options.add_argument("--batch", type=int, nargs="+", default=[64, 256], help="of generate")
    options.add_argument("--max-tokens", type=int, default=128)
    options.add_argument("--vocabulary", type=int, default=128_256, help="of the untrained model; Llama 3's")
    options.add_argument("--pairs", type=int, default=3)
    args = options.parse_args(argv)
    set_threads(args.threads)
    policy = load_policy(args.policy, "cpu")
    problems = spread(args.dataset, args.problems)
    heading(
        "ratios",
        argv,
        f"{args.policy}, {args.problems} problems of {args.dataset}, CPU, {args.threads} thread(s).",
    )

    rows = [sampling(policy, problems, args.n, batch, args) for batch in args.batch]
    small = large_vocabulary(policy, args.vocabulary)
    args.max_tokens = min(16, args.max_tokens)
    rows.append(sampling(small, problems[:16], 4, 64, args))
    tokens = []
    for name, method in [(name, method) for name in args.prm for method in ("beam", "dvts")]:
        ratio, counted = reading(method, policy, load_prm(name, "cpu"), problems, args)
        rows.append(ratio)
        tokens.append(counted)
    table(rows)
    print("PRM tokens: charged as if every trajectory were read alone, and run, padding included.\n")
    table(tokens)


if __name__ == "__main__":
    main()
