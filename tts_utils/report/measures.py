"""One measure of one table: a value per problem, what it cost, and the estimate over problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tts_utils.metrics import accuracy_interval, difficulty_level, paired_difference, resampling
from tts_utils.problems import load_problems
from tts_utils.store.misses import Incomplete

COLUMNS = [
    *("policy", "method", "prm", "rule", "measure", "N", "estimate", "low", "high", "n"),
    *("policy_tokens", "prm_tokens", "flops", "group", "note"),
]
GROUPINGS = ("level", "subject", "difficulty")
_NONE: NDArray[np.float64] = np.empty(0)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure before it is averaged over problems.

    Attributes:
        policy: the policy's label in the report; ``policy_name`` is its name.
        words: what is measured.
        values: (P,) one per problem, in the order of ``problem_ids``; () where nothing is complete.
        difference: whether the values are differences of two methods.
        policy_tokens, prm_tokens: (P,) or () where not known, or where it is no accuracy.
        sizes: parameters of policy and PRM, NaN where not known.
        complete: problems that are complete, where ``values`` is ().
    """

    policy: str
    words: str
    N: int
    problem_ids: tuple[str, ...] = ()
    values: NDArray[np.float64] = field(default_factory=lambda: _NONE)
    policy_name: str = ""
    method: str = "samples"
    prm: str = ""
    rule: str = ""
    difference: bool = False
    policy_tokens: NDArray[np.float64] = field(default_factory=lambda: _NONE)
    prm_tokens: NDArray[np.float64] = field(default_factory=lambda: _NONE)
    sizes: tuple[float, float] = (math.nan, math.nan)
    complete: int = 0

    @classmethod
    def incomplete(cls, policy: str, what: str, miss: Incomplete, **more: Any) -> Measure:
        """What stands in the place of measures of a table that lacks rows."""
        words = f"{what}: incomplete, {miss.complete} of {miss.of} problems; {miss.way_out}"
        return cls(policy, words, miss.n, complete=miss.complete, **more)


class Estimates:
    """Turns measures into rows; the bootstrap's draws are made once for each number of problems."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draws: dict[int, NDArray[np.float32]] = {}

    def row(self, measure: Measure, group: str, members: NDArray[np.bool_]) -> list[Any]:
        """One row of the report, with the columns ``COLUMNS``, over the problems of a group."""
        labels = [measure.policy, measure.method, measure.prm, measure.rule, measure.words, measure.N]
        if not len(measure.values):
            return [*labels, math.nan, math.nan, math.nan, measure.complete, *[math.nan] * 3, group, ""]
        values, note = measure.values[members], ""
        if measure.difference:
            count = len(values)
            if count not in self._draws:
                self._draws[count] = resampling(count, np.random.default_rng(self.seed))
            zeros = np.zeros(count)
            draws = self._draws[count]
            interval = paired_difference(values, zeros, np.random.default_rng(self.seed), draws=draws)
            if interval.low == interval.high:
                note = f"the same on all {count} problems: they say nothing of how it varies"
        else:
            interval = accuracy_interval(values)
        tokens = [
            float(spent[members].mean()) if len(spent) else math.nan
            for spent in (measure.policy_tokens, measure.prm_tokens)
        ]
        return [*labels, *interval, *tokens, _flops(tokens, measure), group, note]


def groups_of(
    by: str | None,
    dataset: str,
    measure: Measure,
    pass_at_1: Mapping[str, float],
    which: Mapping[str, Any],
) -> list[tuple[str, NDArray[np.bool_]]]:
    """The groups of a measure's problems, each as a (P,) mask; one of all where nothing is asked for."""
    everyone = np.ones(len(measure.values), dtype=bool)
    if by is None or not len(measure.values):
        return [("", everyone)]
    names: Sequence[str]
    if by == "difficulty":
        known = [pass_at_1.get(problem_id, math.nan) for problem_id in measure.problem_ids]
        names = ["unknown" if math.isnan(p) else difficulty_level(p) for p in known]
        order = ["easy", "medium", "hard", "unknown"]
    else:
        problems = which["problems"] or load_problems(dataset, data=which["data"])
        of_problem = {p.problem_id: f"level {p.level}" if by == "level" else p.subject for p in problems}
        names = [of_problem[problem_id] or "none" for problem_id in measure.problem_ids]
        order = sorted(set(names))
    return [(name, mask) for name in order if (mask := np.array([n == name for n in names])).any()]


def _flops(tokens: Sequence[float], measure: Measure) -> float:
    """FLOPs of generating and scoring on one problem; those of reading prompts are left out."""
    policy, prm = (2 * size * count for size, count in zip(measure.sizes, tokens, strict=True))
    return policy if math.isnan(prm) and not measure.prm else policy + prm
