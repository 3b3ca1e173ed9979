"""What is measured of a stored pool of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tts_utils import store
from tts_utils.report.measures import Measure
from tts_utils.report.sizes import num_params
from tts_utils.store import columns, files, pools, verdicts
from tts_utils.store.misses import Incomplete
from tts_utils.store.tables import Table
from tts_utils.voting import AGGREGATIONS, NO_SCORE, RULES, split_rule


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reader wants to see: so many samples, one PRM, one rule; None means all."""

    n: int | None = None
    prm: str | None = None
    rule: str | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        return RULES if self.rule is None else (self.rule,)


def measure(source: store.Source, table: Table, choice: Choice, label: str) -> list[Measure]:
    """All measures of one table of samples.

    Raises:
        Incomplete: the table lacks samples.
    """
    greedy = table.sampling.temperature == 0
    samples = read(replace(source, greedy=greedy), None if greedy else choice.n)
    pool, size = samples.pool, samples.pool.correct.shape[1]
    about = {
        "policy": label,
        "policy_name": source.policy,
        "problem_ids": pool.problem_ids,
        "sizes": (num_params(source.policy, source.folder), math.nan),
        "N": size,
    }
    spent = about | {"policy_tokens": tokens_generated(pool)}
    if greedy:
        right = pool.correct[:, 0].astype(np.float64)
        found = [Measure(words="CoT (greedy)", values=right, **spent)]
    else:
        found = list(_of_pool(source, table, samples, choice, spent))
    mute = (pool.answer_ids < 0).mean(axis=1)
    of = "greedy samples" if greedy else "samples"
    found.append(Measure(words=f"{of} cut by the token limit", values=samples.cut.mean(axis=1), **about))
    found.append(Measure(words=f"{of} without an answer", values=mute, **about))
    return found


@dataclass(frozen=True, slots=True)
class Samples:
    """A pool, and of each sample whether it was cut, and whether no sample before it says the same."""

    pool: store.Pool
    cut: NDArray[np.bool_]
    once: NDArray[np.bool_]

    def first(self, n: int) -> Samples:
        """Those of the first n samples of each problem."""
        names = ("answers", "answer_ids", "correct", "num_tokens", "scores", "num_prm_tokens")
        arrays = {name: getattr(self.pool, name) for name in names}
        cut: dict[str, Any] = {name: v if v is None else v[:, :n] for name, v in arrays.items()}
        pool = replace(self.pool, **cut)
        return Samples(pool, self.cut[:, :n], self.once[:, :n])


def read(source: store.Source, n: int | None = None) -> Samples:
    """Read a pool once, with all that a report says of it; errors as for ``store.read_samples``."""
    verdicts.recall(source.folder)
    rows = source.rows("samples", n, columns=[*pools.COLUMNS, "text", "finish_reason"])
    pool = pools.of_rows(rows)
    shape = pool.correct.shape
    codes, texts = columns.codes(rows, "text")
    keys = codes + np.repeat(np.arange(shape[0]), shape[1]) * len(texts)
    once = np.zeros(len(keys), dtype=bool)
    once[np.unique(keys, return_index=True)[1]] = True
    reasons, names = columns.codes(rows, "finish_reason")
    cut = (names == "length")[reasons]
    return Samples(pool, cut.reshape(shape), once.reshape(shape))


def _of_pool(
    source: store.Source, table: Table, samples: Samples, choice: Choice, about: dict[str, Any]
) -> Iterator[Measure]:
    pool, size, label = samples.pool, about["N"], about["policy"]
    majority = pool.right("majority")
    yield Measure(words="pass@1", values=pool.correct.mean(axis=1), **about)
    if "majority_vote" in choice.rules:
        yield Measure(words=f"majority@{size}", values=majority, rule="majority_vote", **about)
    differences = []
    for scored in files.stored(source.folder, "step_scores", table.dataset, table.policy):
        if (scored.policy, scored.sampling) != (table.policy, table.sampling):
            continue
        if choice.prm not in (None, scored.prm):
            continue
        try:
            by_how = pools.read_scores(pool, source, scored.prm, AGGREGATIONS)
        except Incomplete as miss:
            yield Measure.incomplete(label, f"PRM scores ({scored.prm})", miss, policy_name=table.policy)
            continue
        size_of_prm = num_params(scored.prm, source.folder)
        of_prm = about | {"prm": scored.prm, "sizes": (about["sizes"][0], size_of_prm)}
        of_prm["prm_tokens"] = tokens_read(by_how["last"], samples.once)
        mute = (pool.answer_ids >= 0) & (by_how["last"].scores == NO_SCORE)
        if mute.any():
            words = f"answers without a score ({scored.prm})"
            yield Measure(words=words, values=mute.mean(axis=1), **about | {"prm": scored.prm})
        for rule in choice.rules:
            how, selection = split_rule(rule)
            if how is None:
                continue
            right = by_how[how].right(selection)
            words = f"{rule_words(rule)} ({scored.prm})"
            yield Measure(words=words, values=right, rule=rule, **of_prm)
            if rule == "prm_last_vote":
                apart = about | {"prm": scored.prm, "rule": rule, "values": right - majority}
                words = f"{words} - majority"
                differences.append(Measure(words=words, difference=True, **apart))
    yield Measure(words=f"pass@{size}", values=pool.correct.any(axis=1).astype(np.float64), **about)
    yield from differences


def rule_words(rule: str) -> str:
    """A rule as the paper writes it.

    >>> rule_words("prm_last_vote"), rule_words("majority_vote")
    ('PRM-Last + PRM-Vote', 'majority')
    """
    how, selection = split_rule(rule)
    if how is None:
        return "majority"
    return f"PRM-{how.capitalize()} + {'PRM-Max' if selection == 'prm_max' else 'PRM-Vote'}"


def tokens_generated(pool: store.Pool) -> NDArray[np.float64]:
    """(P,) tokens of all samples of a problem; () where one is not known."""
    return np.empty(0) if pool.num_tokens is None else pool.num_tokens.sum(axis=1).astype(np.float64)


def tokens_read(pool: store.Pool, once: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P,) tokens that a PRM read, each distinct text of a problem once; () where one is not known."""
    if pool.num_prm_tokens is None:
        return np.empty(0)
    return (pool.num_prm_tokens * once).sum(axis=1).astype(np.float64)
