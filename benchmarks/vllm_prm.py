"""What a PRM in vLLM runs in a search: trajectories read whole, and begun in the engine's prefix cache.

Run it where vLLM is (the head of ``tests/test_vllm.py`` says how to get there on a CPU): it is no part of
``make bench``. The search itself is done by transformers once; then vLLM answers the recorded calls in both
ways, in turn. *Charged*, *distinct new* and *run* are as in ``prm_tokens``; the cache holds whole blocks, so
no more is saved than they hold.
"""

from __future__ import annotations

import statistics
import time

from vllm import PoolingParams

from benchmarks.common import heading, parser, set_threads, spread, table
from benchmarks.ratios import Recorded, distinct_tokens
from tts_utils import search
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.prms.vllm import VLLMPRM
from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--policy", default="lab-llama-m", help="lab policy, folder or Hub id")
    options.add_argument("--prm", default="lab-qwen-prm-l", help="one that vLLM runs")
    options.add_argument("--dataset", default="lab-200")
    options.add_argument("--problems", type=int, default=16)
    options.add_argument("--budget", type=int, default=64, help="N")
    options.add_argument("--block-size", type=int, help="tokens of a block; None: as tts_utils has it")
    options.add_argument("--pairs", type=int, default=3)
    args = options.parse_args(argv)
    set_threads(args.threads)
    blocks = {} if args.block_size is None else {"block_size": args.block_size}
    problems, config = spread(args.dataset, args.problems), SamplingConfig(0.7, max_tokens=128)
    policy, reference = load_policy(args.policy, "cpu"), load_prm(args.prm, "cpu")
    prm = load_prm(args.prm, backend="vllm", max_model_len=1024, **blocks)
    size = prm.llm.llm_engine.vllm_config.cache_config.block_size
    heading(
        "vllm_prm",
        argv,
        f"{args.policy} and {args.prm}, {args.problems} problems of {args.dataset}, N = {args.budget}, "
        f"blocks of {size} tokens, {args.threads} thread(s). Processor seconds, medians of {args.pairs}.",
    )
    rows = []
    for method in ("beam", "dvts"):
        recorded = Recorded(reference)
        search.run([TreeSearch(method, args.budget)(p) for p in problems], policy, recorded, config)
        whole, kept, run = [], [], 0
        for _ in range(args.pairs):
            began = time.process_time()
            read_whole(prm, recorded.calls)
            whole.append(time.process_time() - began)
            prm.llm.reset_prefix_cache()
            before, began = prm.tokens_run, time.process_time()
            answers = [prm.score(call) for call in recorded.calls]
            kept.append(time.process_time() - began)
            run = prm.tokens_run - before
        ours = [score for call in answers for one in call for score in one.scores]
        theirs = [score for call in recorded.calls for one in reference.score(call) for score in one.scores]
        rows.append(
            {
                "search": f"{method}, N = {args.budget}",
                "charged": sum(len(prm.format.encode(s).ids) for call in recorded.calls for s in call),
                "distinct new": (distinct := distinct_tokens(reference, recorded.calls)),
                "run": run,
                "over distinct": run / distinct,
                "whole, s": statistics.median(whole),
                "begun in the cache, s": statistics.median(kept),
                "largest difference to transformers": max(map(abs, map(float.__sub__, ours, theirs))),
            }
        )
    table(rows)


def read_whole(prm: VLLMPRM, calls) -> None:
    """Have the engine read every trajectory of the calls from its first token."""
    params = PoolingParams(task="token_classify", skip_reading_prefix_cache=True)
    for call in calls:
        prompts = [{"prompt_token_ids": prm.format.encode(state).ids} for state in call if state.steps]
        prm.llm.encode(prompts, pooling_params=params, pooling_task="token_classify", use_tqdm=False)


if __name__ == "__main__":
    main()
