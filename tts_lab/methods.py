"""Searches that the paper has not, beside those it has: verification every g-th step, particle filtering.

``python -m tts_lab methods`` fills what is missing with live models, search by search, and writes one row per
problem and method into ``report/methods.parquet``, which lesson 13 reads: reading needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tts_utils import store, voting
from tts_utils.data_folder import find, lab_dir
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.store import searches
from tts_utils.store.manifest import replace_file
from tts_utils.store.outcomes import read_outcome
from tts_utils.tree_search import TreeSearch

DATASET = "lab-200"
TABLE = "report/methods.parquet"
RULE = "prm_last_vote"
PAIRS = (("lab-llama-m", "lab-qwen-prm-l"),)
BUDGETS = (16, 64)
EVERY = (2, 3, 40)  # 40 is the depth limit: read once, at the end
COLUMNS = ["policy", "prm", "method", "budget", "problem_id", "right", "policy_tokens", "prm_tokens"]


def new_searches(budget: int) -> list[TreeSearch]:
    """What is filled for one budget."""
    return [TreeSearch("particles", budget), *(TreeSearch("beam", budget, every=g) for g in EVERY)]


def fill(policy, prm, config: SamplingConfig, data: Path, limit: int | None = None, log=print) -> None:
    """Search with a live policy and PRM for every problem whose tree is not stored; resumable."""
    for budget in BUDGETS:
        for search in new_searches(budget):
            filled = searches.fill_searches(DATASET, policy, prm, search, config, limit=limit, data=data)
            log(f"{filled.path.name}: {filled.added} nodes added in {filled.seconds:.0f} s")


def outcomes(
    policy: str, prm: str, config: SamplingConfig, limit: int | None = None, data: Path | None = None
) -> pd.DataFrame:
    """Every method of one pair, problem by problem, from the stored pool and the stored searches.

    Args:
        policy, prm: names.
        config: how the policy was sampled.
        limit: only the first so many problems.
        data: the data directory; None means ``lab_dir()``.

    Returns:
        ``COLUMNS``. Methods: "majority" and "best_of_n" (means over the pool cut into blocks of N), "beam",
        "dvts", "beam, every g", "particles"; searches that are not stored whole are left out.
        ``right`` is in [0, 1]; tokens are per problem, a PRM reads equal texts once.

    Raises:
        StoreMiss: the pool is not stored.
    """
    data = lab_dir() if data is None else data
    which = {"config": config, "problems": load_problems(DATASET, data=data)[:limit], "data": data}
    frames = [*_of_pool(policy, prm, which)]
    for budget in BUDGETS:
        known = [TreeSearch("beam", budget), TreeSearch("dvts", budget)]
        for search in known + new_searches(budget):
            try:
                ended = read_outcome(DATASET, policy, prm, search, **which)
            except store.StoreMiss:
                continue
            right = ended.pool.right(voting.split_rule(RULE)[1])
            costs = (ended.num_policy_tokens, ended.num_prm_tokens)
            frames.append(_frame(method_of(search), budget, ended.pool.problem_ids, right, *costs))
    return pd.concat(frames, ignore_index=True).assign(policy=policy, prm=prm)[COLUMNS]


def method_of(search: TreeSearch) -> str:
    """A search's name in the table.

    >>> method_of(TreeSearch("beam", 16, every=3)), method_of(TreeSearch("particles", 16))
    ('beam, every 3', 'particles')
    """
    return f"beam, every {search.every}" if search.every > 1 else search.method


def _of_pool(policy: str, prm: str, which: dict) -> Iterator[pd.DataFrame]:
    pool = store.read_pool(DATASET, policy, prm, how="last", **which)
    texts = store.read_samples(DATASET, policy, **which).sort_values(["problem_id", "sample"])["text"]
    texts = pd.factorize(texts)[0].reshape(pool.correct.shape)  # (P, S) equal texts have equal numbers
    size = pool.correct.shape[1]
    for budget in BUDGETS:
        rows: dict[str, list[np.ndarray]] = {"majority": [], "best_of_n": []}
        written, read = [], []
        for start in range(0, size - size % budget, budget):
            block = slice(start, start + budget)
            for method, rule in (("majority", "majority"), ("best_of_n", "prm_vote")):
                scores = None if rule == "majority" else pool.scores[:, block]
                chosen = voting.select(pool.answer_ids[:, block], scores, rule)
                found = pool.correct[np.arange(len(chosen)), np.maximum(start + chosen, 0)]
                rows[method].append(np.where(chosen >= 0, found, False))
            written.append(pool.num_tokens[:, block].sum(1))
            read.append(_read_once(texts[:, block], pool.num_prm_tokens[:, block]))
        for method, right in rows.items():
            judged = np.mean(read, axis=0) * (method != "majority")
            costs = np.mean(written, axis=0), judged
            yield _frame(method, budget, pool.problem_ids, np.mean(right, axis=0), *costs)


def _read_once(texts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(P,) tokens of the distinct texts of each row."""
    first = [np.unique(row, return_index=True)[1] for row in texts]
    return np.array([row[at].sum() for row, at in zip(tokens, first, strict=True)])


def _frame(method: str, budget: int, problem_ids, right, policy_tokens, prm_tokens) -> pd.DataFrame:
    facts = {"method": method, "budget": budget, "problem_id": list(problem_ids)}
    costs = {"policy_tokens": policy_tokens, "prm_tokens": prm_tokens}
    return pd.DataFrame(facts | {"right": np.asarray(right, dtype=float)} | costs)


def write(frame: pd.DataFrame, data: Path) -> Path:
    """Write the table whole; the file appears in one step."""
    path = data / TABLE
    names = {"policy": "category", "prm": "category", "method": "category", "problem_id": "category"}
    replace_file(path, frame.astype(names).to_parquet(index=False, compression="zstd"))
    return path


def read(data: Path | None = None) -> pd.DataFrame:
    """The table as it is shipped: the columns of :func:`outcomes`."""
    return pd.read_parquet(find(TABLE, data))
