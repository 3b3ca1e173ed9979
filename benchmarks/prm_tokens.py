"""What a PRM runs in searches over a whole data set: counted, not timed, but for its share of the time.

*Charged* is what the search is billed, every trajectory as if it were read alone; *distinct new* is each
problem's text once, and every different step behind the same tokens once, which nothing can do without;
*run* is what went through the model, padding included. Problems are searched as many at once as ``tts
search`` does. ``ratios`` has the same counts for fewer problems and more PRMs, and times both ways.
"""

from __future__ import annotations

from benchmarks.common import heading, parser, set_threads, spread, table
from benchmarks.ratios import Recorded, distinct_tokens, fresh
from benchmarks.workload import Timed
from tts_utils import search
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch

TOGETHER = 4096  # continuations of a call, as tts search asks for


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--policy", default="lab-llama-m", help="lab policy, folder or Hub id")
    options.add_argument("--prm", default="lab-qwen-prm-s")
    options.add_argument("--dataset", default="lab-200")
    options.add_argument("--problems", type=int, default=200)
    options.add_argument("--budget", type=int, default=64, help="N")
    options.add_argument("--method", nargs="+", default=["beam", "dvts"], choices=["beam", "dvts"])
    options.add_argument("--max-tokens", type=int, default=128, help="of one step")
    args = options.parse_args(argv)
    set_threads(args.threads)
    problems = spread(args.dataset, args.problems)
    policy, prm = Timed(load_policy(args.policy, "cpu")), load_prm(args.prm, "cpu")
    heading(
        "prm_tokens",
        argv,
        f"{args.policy} and {args.prm}, {args.problems} problems of {args.dataset}, N = {args.budget}, "
        f"CPU, {args.threads} thread(s).",
    )
    config, rows = SamplingConfig(0.7, max_tokens=args.max_tokens), []
    for name in args.method:
        method, reader = TreeSearch(name, args.budget), fresh(prm)
        recorded = Recorded(reader)
        judge = Timed(recorded)
        policy.seconds = 0.0
        height = max(1, TOGETHER // args.budget)
        for start in range(0, len(problems), height):
            some = problems[start : start + height]
            search.run([method(problem) for problem in some], policy, judge, config)
        distinct = distinct_tokens(prm, recorded.calls)
        rows.append(
            {
                "search": f"{name}, N = {args.budget}",
                "charged": sum(len(prm.format.encode(s).ids) for call in recorded.calls for s in call),
                "distinct new": distinct,
                "run": reader.tokens_run,
                "over distinct": reader.tokens_run / distinct,
                "policy, processor s": policy.seconds,
                "PRM, processor s": judge.seconds,
                "PRM, % of both": 100 * judge.seconds / (judge.seconds + policy.seconds),
            }
        )
    table(rows)


if __name__ == "__main__":
    main()
