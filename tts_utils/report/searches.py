"""What is measured of a stored search: its accuracy and cost, and Best-of-N beside it at the same N."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tts_utils import store
from tts_utils.problems import load_problems
from tts_utils.report.measures import Measure
from tts_utils.report.pools import Choice, Samples, read, rule_words, tokens_generated, tokens_read
from tts_utils.report.sizes import num_params
from tts_utils.store.outcomes import read_outcome
from tts_utils.store.pools import read_scores
from tts_utils.store.tables import Table
from tts_utils.tree_search import TreeSearch
from tts_utils.voting import split_rule

RULE = "prm_last_vote"
MUTE = "no answer"
"""The share of a search's finished paths that were cut or end without an answer, in the words of a row."""


def measure(
    source: store.Source, table: Table, search: TreeSearch, choice: Choice, best_of: dict[Any, Any]
) -> list[Measure]:
    """The measures of one table of searches; ``best_of`` keeps pools from one call to the next.

    Raises:
        StoreMiss: a tree is missing.
    """
    problems = source.problems or load_problems(source.dataset, data=source.folder)
    return [
        one
        for smaller in _budgets(search)
        if choice.n in (None, smaller.budget)
        for one in _of_search(replace(source, problems=problems), table, smaller, choice, best_of)
    ]


def _budgets(search: TreeSearch) -> list[TreeSearch]:
    """The search itself; of a DVTS also those of a fourth of its trees, a sixteenth, ..."""
    found = [search]
    while search.method == "dvts" and found[0].num_subtrees % 4 == 0:
        found.insert(0, replace(search, budget=found[0].budget // 4))
    return found


def _of_search(
    source: store.Source, table: Table, search: TreeSearch, choice: Choice, best_of: dict[Any, Any]
) -> Iterator[Measure]:
    rule = choice.rule or RULE
    how, selection = split_rule(rule)
    which: dict[str, Any] = {"config": table.sampling, "problems": source.problems, "data": source.folder}
    names = (source.dataset, table.policy, table.prm)
    outcome = read_outcome(*names, search, how or "last", **which)
    about: dict[str, Any] = {
        "policy": table.policy,
        "policy_name": table.policy,
        "N": search.budget,
        "prm": table.prm,
        "rule": rule,
        "sizes": (num_params(table.policy, source.folder), num_params(table.prm, source.folder)),
    }
    label = f"dvts-n{search.budget}-m{search.branching}" if search.method == "dvts" else search.label
    ids = outcome.pool.problem_ids
    right = outcome.pool.right(selection)
    yield Measure(
        words=f"{label}, {rule_words(rule)} ({table.prm})",
        values=right,
        problem_ids=ids,
        method=label,
        policy_tokens=outcome.num_policy_tokens.astype(np.float64),
        prm_tokens=outcome.num_prm_tokens.astype(np.float64),
        **about,
    )
    mute = (outcome.pool.answer_ids < 0).mean(axis=1)
    words = f"{label}, {MUTE} ({table.prm})"
    yield Measure(words=words, values=mute, problem_ids=ids, method=label, **about | {"rule": ""})
    key = f"{table.policy} {table.prm} {how}"
    if key not in best_of:
        best_of[key] = _pool(source, table, how or "last")
    samples = best_of[key]
    if samples is None or samples.pool.correct.shape[1] < search.budget:
        return
    first = samples.first(search.budget)
    words = f"best-of-{search.budget}, {rule_words(rule)} ({table.prm})"
    if (words, key) not in best_of:
        best_of[words, key] = None  # said once, beside the first search of that N
        yield Measure(
            words=words,
            values=first.pool.right(selection),
            problem_ids=first.pool.problem_ids,
            method="best-of-n",
            policy_tokens=tokens_generated(first.pool),
            prm_tokens=tokens_read(first.pool, first.once),
            **about,
        )


def _pool(source: store.Source, table: Table, how: str) -> Samples | None:
    """The pool of the policy with the PRM's scores; None where it is not stored, or not alone."""
    try:
        samples = read(source)
        return replace(samples, pool=read_scores(samples.pool, source, table.prm, (how,))[how])
    except store.StoreError:
        return None
