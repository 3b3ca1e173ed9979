"""One line for each of the paper's claims: seen in the lab, in part, not seen, or reversed, with the numbers.

The rule is fixed beforehand. A claim stands for a number of cases (policy, PRM, method), each a difference
with a paired 95 % interval. It is "seen" if at least half of the cases leave 0 on the claimed side and at
most a quarter as many on the other; "reversed" if it is the other way round; "in part" if some case leaves 0
on the claimed side; else "not seen". A claim that something happens "at times" needs one case. The rule is
the ledger's, with fewer cases asked for: here they are dozens, and there one to eight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from tts_lab.judges import MAX, VOTE
from tts_lab.phenomena import by_f1
from tts_lab.results import Result, pick
from tts_utils.ledger import sides
from tts_utils.ledger import verdict as ledger_verdict
from tts_utils.metrics import Interval, difficulty_level, paired_difference

WEAK = ("lab-math-shepherd", "lab-rlhflow-terse", "lab-rlhflow-verbose")
STRONG = ("lab-skywork-s", "lab-skywork-l", "lab-qwen-prm-s", "lab-qwen-prm-l")
BEST = "lab-qwen-prm-l"  # as the paper's figures by size and difficulty take Qwen2.5-Math-PRM-72B
FAMILIES = ("lab-llama", "lab-qwen")
BUDGET = 64
WORDS = {"reproduced": "seen", "partly": "in part", "not shown": "not seen", "reversed": "reversed"}
Cases = Iterable[Interval]
Line = tuple[str, str, str, str]  # source, claim, verdict, numbers


def verdict(cases: Sequence[Interval], sign: int = 1, at_times: bool = False) -> str:
    """By the rule above; ``sign`` is the claimed side of 0, or 0 where no difference is claimed.

    >>> verdict([Interval(0.1, 0.02, 0.2, 9), Interval(0.1, -0.1, 0.3, 9)])
    'seen'
    >>> verdict([Interval(0.1, 0.02, 0.2, 9)], -1), verdict([])
    ('reversed', 'missing')
    """
    if not cases:
        return "missing"
    ends = [(c.low, c.high) for c in cases]
    if sign == 0:
        apart = sum(side != 0 for side in sides(ends))
        return "seen" if 4 * apart <= len(cases) else "reversed" if 4 * apart >= 3 * len(cases) else "in part"
    if at_times:
        return "seen" if sign in sides(ends) else "not seen"
    return WORDS[ledger_verdict(ends, sign, enough=0.5, against=0.25)]


def numbers(cases: Sequence[Interval]) -> str:
    """How many cases there are, how many leave 0 on each side, and their middle and ends."""
    if not cases:
        return ""
    means = [c.mean for c in cases]
    found = sides((c.low, c.high) for c in cases)
    up, down = found.count(1), found.count(-1)
    return (
        f"{len(cases)} cases, {up} above 0, {down} below; median {np.median(means):+.3f}, "
        f"{min(means):+.3f} to {max(means):+.3f}"
    )


def claims(
    found: Mapping[str, Sequence[Result]],
    f1: Mapping[str, pd.DataFrame],
    alarms: pd.DataFrame,
    health: pd.DataFrame,
    crossed: pd.DataFrame,
    seed: int = 0,
) -> pd.DataFrame:
    """Every claim of the paper that the stored tables can speak to.

    Args:
        found: results by test set ("lab-200", "lab-hard").
        f1: :func:`tts_lab.quality.process_bench` by test set ("lab-500", "lab-hard").
        alarms: :func:`tts_lab.alarms.alarms` of all policies.
        health: :func:`tts_lab.report.health` of lab-500.
        crossed: :func:`tts_lab.crossing.crossing`.
        seed: of the bootstraps.

    Returns:
        Columns source (figure, table or section of arXiv:2502.06703), claim, verdict, numbers.
    """
    differ = _Differences(seed)
    main, hard = found.get("lab-200", []), found.get("lab-hard", [])
    lines = [
        *_by_prm(main, differ),
        *_by_difficulty(main, differ),
        *_by_size(main, differ),
        *_on_hard_problems(main, hard, differ),
        *_voting(main, health, differ),
        *_tables(main, hard, crossed, differ),
        *_ability(main, f1, differ),
        *_errors(main, alarms),
    ]
    return pd.DataFrame(lines, columns=["source", "claim", "verdict", "numbers"])


class _Differences:
    """Paired differences between results, each with the same seed whatever was asked before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, a: Result, b: Result, here: np.ndarray | None = None) -> Interval:
        x, y = (a.right, b.right) if here is None else (a.right[here], b.right[here])
        return paired_difference(x, y, np.random.default_rng(self.seed))

    def between(
        self,
        found: Sequence[Result],
        policies: Iterable[str],
        prms: Iterable[str],
        methods: Iterable[str],
        other: Callable[[Result], dict],
        here: Callable[[str], np.ndarray | None] = lambda policy: None,
    ) -> list[Interval]:
        """For every policy, PRM and method at N = 64 the difference from the result that ``other`` names."""
        cases = []
        for policy in policies:
            where = here(policy)
            if where is not None and where.sum() < 10:
                continue
            for prm in prms:
                for method in methods:
                    for r in pick(found, policy=policy, prm=prm, method=method, rule=VOTE, budget=BUDGET):
                        cases += [self(r, o, where) for o in pick(found, policy=policy, **other(r))]
        return cases


def _line(source: str, claim: str, cases: Sequence[Interval], sign: int = 1, at_times: bool = False) -> Line:
    return source, claim, verdict(cases, sign, at_times), numbers(cases)


def _sizes(*sizes: str) -> list[str]:
    return [f"{family}-{size}" for size in sizes for family in FAMILIES]


def _best_of_n(r: Result) -> dict:
    return {"prm": r.prm, "method": "best_of_n", "rule": VOTE, "budget": r.budget}


def _majority(r: Result) -> dict:
    return {"method": "majority", "budget": r.budget}


def _greedy(r: Result) -> dict:
    return {"method": "greedy"}


def _smaller_budget(r: Result) -> dict:
    return {"prm": r.prm, "method": r.method, "rule": VOTE, "budget": 4}


SEARCH = ("beam", "dvts")


def _by_prm(found, differ) -> Iterator[Line]:
    middle = _sizes("m")
    yield _line(
        "Figure 4",
        "under Skywork and Qwen2.5-Math PRMs search gains with budget (N = 4 to 64)",
        differ.between(found, middle, STRONG, SEARCH, _smaller_budget),
    )
    yield _line(
        "Figure 4",
        "under these PRMs search beats Best-of-N",
        differ.between(found, middle, STRONG, SEARCH, _best_of_n),
    )
    yield _line(
        "Figure 4",
        "under Math-Shepherd and RLHFlow PRMs search is worse than Best-of-N",
        differ.between(found, middle, WEAK, SEARCH, _best_of_n),
        -1,
    )
    yield _line(
        "Figure 4",
        "under these PRMs beam search is at times below majority voting",
        differ.between(found, middle, WEAK, ("beam",), _majority),
        -1,
        at_times=True,
    )


def _by_difficulty(found, differ) -> Iterator[Line]:
    def at(*levels: str):
        def here(policy: str):
            alone = pick(found, policy=policy, method="sample")
            named = np.array([difficulty_level(rate) for rate in alone[0].right]) if alone else np.array([])
            return np.isin(named, levels)

        return here

    for claim, sizes, method, levels, sign in (
        ("small policies: Best-of-N better than beam search on easy problems", "sm", "beam", ("easy",), -1),
        ("small policies: beam search better on medium problems", "sm", "beam", ("medium",), 1),
        ("small policies: beam search better on hard problems", "sm", "beam", ("hard",), 1),
        (
            "middle policies: DVTS better than Best-of-N on easy and medium ones",
            "l",
            "dvts",
            ("easy", "medium"),
            1,
        ),
        ("middle policies: beam search better on hard problems", "l", "beam", ("hard",), 1),
    ):
        cases = [
            case
            for level in levels
            for case in differ.between(found, _sizes(*sizes), (BEST,), (method,), _best_of_n, at(level))
        ]
        yield _line("Figures 8, 9", claim, cases, sign)
    cases = [
        case
        for level in ("easy", "medium", "hard")
        for case in differ.between(found, _sizes("xl"), (BEST,), SEARCH, _best_of_n, at(level))
    ]
    yield _line("Figures 8, 9", "the largest: Best-of-N best at all levels", cases, -1)


def _by_size(found, differ) -> Iterator[Line]:
    small = differ.between(found, _sizes("s", "m"), STRONG, SEARCH, _best_of_n)
    yield _line("Figure 7", "small policies prefer search", small)
    large = differ.between(found, _sizes("xl"), STRONG, SEARCH, _best_of_n)
    yield _line("Figure 7", "the largest policies prefer Best-of-N", large, -1)


def _on_hard_problems(main, hard, differ) -> Iterator[Line]:
    everyone = WEAK + STRONG
    gains = differ.between(hard, _sizes("l"), everyone, ("best_of_n", *SEARCH), _majority)
    yield _line("Figure 5", "on AIME (lab-hard) gains over majority voting are small for every PRM", gains, 0)


def _voting(main, health, differ) -> Iterator[Line]:
    policies = _sizes("s", "m", "l")
    maxima = health[health["measure"].str.fullmatch(r"(min|last|avg) \+ prm_max minus majority @\d+")]
    skywork = maxima[maxima["prm"].eq("lab-skywork-l") & maxima["policy"].isin(policies)]
    cases = [Interval(r.estimate, r.low, r.high, r.n) for r in skywork.itertuples()]
    yield _line("Table 2", "Skywork: majority voting equals or beats every PRM-Max variant", cases, -1)

    def maximum(r: Result) -> dict:
        return {"prm": r.prm, "method": "best_of_n", "rule": MAX, "budget": r.budget}

    for claim, prms, sign in (
        ("Skywork needs PRM-Vote: better than PRM-Max", ("lab-skywork-l",), 1),
        ("Qwen2.5-Math-PRM does not care: PRM-Vote and PRM-Max alike", ("lab-qwen-prm-s",), 0),
    ):
        yield _line("Table 2, 6", claim, differ.between(main, policies, prms, ("best_of_n",), maximum), sign)


def _tables(main, hard, crossed, differ) -> Iterator[Line]:
    counted = crossed[crossed["role"].isin(["chosen", "fixed"])]
    chosen = counted[
        counted["dataset"].eq("lab-hard") & counted["role"].eq("chosen") & counted["times_params"].ge(9)
    ]
    cases = [Interval(r.difference, r.low, r.high, r.n) for r in chosen.itertuples()]
    yield _line(
        "Table 3", "a small policy beats one of 9 times its size or more (lab-hard, chosen before)", cases
    )
    fixed = counted[counted["dataset"].eq("lab-200")]
    cases = [Interval(r.difference, r.low, r.high, r.n) for r in fixed.itertuples()]
    yield _line("Table 3", "every smaller policy against every larger one (lab-200)", cases)
    everyone = _sizes("s", "m", "l", "xl")
    gains = differ.between(main, everyone, (BEST,), ("dvts",), _greedy)
    yield _line("Table 5", "searching beats answering once", gains)
    yield _line(
        "Table 5",
        "searching beats majority voting",
        differ.between(main, everyone, (BEST,), ("dvts",), _majority),
    )
    order = []
    for family in FAMILIES:
        steps = [f"{family}-{size}" for size in ("s", "m", "l", "xl")]
        gain = [differ.between(main, [p], (BEST,), ("dvts",), _greedy) for p in steps]
        order += [_minus(a[0], b[0]) for a, b in pairwise(gain[1:]) if a and b]
    yield _line("Table 5", "larger policies gain less (m against l, l against xl)", order)
    for source, results, sign, claim in (
        ("Table 6", main, 1, "search with a PRM beats thinking long, same base (lab-200)"),
        ("Table 6", hard, -1, "on AIME (lab-hard) thinking long beats search with a PRM"),
    ):
        cases = []
        for size in ("m", "l"):
            for r in pick(results, policy=f"lab-qwen-{size}", prm=BEST, rule=VOTE, budget=BUDGET):
                cases += [differ(r, o) for o in pick(results, policy=f"lab-long-{size}", method="greedy")]
        yield _line(source, claim, cases, sign)


def _minus(a: Interval, b: Interval) -> Interval:
    """The difference of two estimates from different policies, taken as independent."""
    error = np.hypot((a.high - a.low) / 2, (b.high - b.low) / 2)
    return Interval(a.mean - b.mean, a.mean - b.mean - error, a.mean - b.mean + error, a.n)


def _ability(found, f1, differ) -> Iterator[Line]:
    judged = f1.get("lab-500")
    if judged is None or judged.empty:
        yield "Figure 6", "the better a PRM finds errors, the better search with it", "missing", ""
        return
    correlations = [case for _, _, case in by_f1(found, _sizes("s", "m", "l"), judged)]
    yield _line("Figure 6", "the better a PRM finds errors, the better search with it", correlations)

    def score(frame: pd.DataFrame, policy: str, prm: str) -> list[Interval]:
        here = frame[frame["measure"].eq("F1") & frame["policy"].eq(policy) & frame["prm"].eq(prm)]
        return [Interval(r.estimate, r.low, r.high, r.n) for r in here.itertuples()]

    foreign = (
        ("lab-math-shepherd", "lab-llama-m", "lab-qwen-m"),
        ("lab-rlhflow-terse", "lab-llama-m", "lab-qwen-m"),
        ("lab-rlhflow-verbose", "lab-qwen-m", "lab-llama-m"),
    )
    cases = [
        _minus(own[0], other[0])
        for prm, home, abroad in foreign
        if (own := score(judged, home, prm)) and (other := score(judged, abroad, prm))
    ]
    yield _line("Section 6", "PRMs judge a family they were not trained on worse (F1)", cases)
    harder = f1.get("lab-hard", judged.iloc[:0])
    cases = [
        _minus(easy[0], hard[0])
        for prm in WEAK + STRONG
        for policy in _sizes("l")
        if (easy := score(judged, policy, prm)) and (hard := score(harder, policy, prm))
    ]
    yield _line("Section 6", "and harder problems worse (F1 on lab-500 and lab-hard)", cases)
    suffering = [
        case
        for prm, _, abroad in foreign
        for case in differ.between(found, [abroad], (prm,), SEARCH, _best_of_n)
    ]
    yield _line("Section 6", "with such PRMs search suffers more than Best-of-N", suffering, -1)


def _errors(found, alarms) -> Iterator[Line]:
    ratios = []
    for policy in _sizes("s", "m", "l"):
        for method in SEARCH:
            of = [
                pick(found, policy=policy, prm=prm, method=method, rule=VOTE, budget=BUDGET)
                for prm in ("lab-rlhflow-verbose", "lab-rlhflow-terse")
            ]
            if all(of):
                ratios.append(of[0][0].policy_tokens / of[1][0].policy_tokens)
    claim = "search under the PRM trained on longer steps takes more tokens"
    if ratios:
        share = np.mean(np.array(ratios) > 1.05)
        seen = "seen" if share >= 0.5 else "in part" if share else "not seen"
        if np.mean(np.array(ratios) < 0.95) >= 0.5:
            seen = "reversed"
        yield (
            "Section 6",
            claim,
            seen,
            f"tokens x {np.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}",
        )
    else:
        yield "Section 6", claim, "missing", ""
    whole = alarms[alarms["length"].eq("all")]
    for claim, measure in (
        ("over-criticism: right steps are rejected", "false alarms"),
        ("error neglect: wrong steps pass", "misses"),
        ("errors are placed too early", "named too early"),
        ("scores depend on how long a right step is", "score and step length"),
    ):
        here = whole[whole["measure"].eq(measure)]
        cases = [Interval(r.estimate, r.low, r.high, r.n) for r in here.itertuples()]
        if measure == "score and step length":
            apart = sum(c.low > 0 or c.high < 0 for c in cases)
            seen = "missing" if not cases else "seen" if 2 * apart >= len(cases) else "in part"
            yield "Appendix C", claim, seen, numbers(cases)
        else:
            yield _line("Appendix C", claim, cases)
    last = whole[whole["measure"].eq("lowest score last")].groupby("prm")["estimate"].mean()
    shares = ", ".join(f"{prm} {share:.2f}" for prm, share in last.items())
    yield (
        "Section 6",
        "how often the last step has the lowest score",
        "measured" if shares else "missing",
        shares,
    )
