"""A pool of samples as (P, S) arrays: from a frame of rows, from search results, or straight from tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.records import SearchResult
from tts_utils.store import columns, files, verdicts
from tts_utils.store.manifest import StoreError
from tts_utils.store.misses import Incomplete
from tts_utils.store.source import Source
from tts_utils.store.tables import UNKNOWN_TOKENS

COLUMNS = ("problem_id", "sample", "answer", "correct", "num_tokens")


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of samples as arrays; P problems in order of their identifiers, S samples of each.

    Attributes:
        problem_ids: the P identifiers.
        answers: (P, S) final answers; "" where there is none.
        answer_ids: (P, S) numbers of the answers of a problem, equivalent ones alike; -1 where there is none.
        correct: (P, S) whether the answer is right.
        num_tokens: (P, S) tokens generated; None where one of them is unknown, as in imported runs.
        scores: (P, S) aggregated PRM scores, or None; ``voting.NO_SCORE`` for a completion that has none, as
             it is empty or longer than the PRM reads: it casts no vote.
        num_prm_tokens: (P, S) tokens the PRM read; None without scores, or where one is unknown; 0 where it
            read none.
    """

    problem_ids: tuple[str, ...]
    answers: NDArray[np.object_]
    answer_ids: NDArray[np.int64]
    correct: NDArray[np.bool_]
    num_tokens: NDArray[np.int64] | None
    scores: NDArray[np.float64] | None = None
    num_prm_tokens: NDArray[np.int64] | None = None

    def right(self, rule: str) -> NDArray[np.float64]:
        """(P,) 1.0 where the sample that a rule chooses is right, else 0.0; see ``voting.chosen_right``."""
        return voting.chosen_right(self.answer_ids, self.correct, self.scores, rule)


def pivot(samples: pd.DataFrame, step_scores: pd.DataFrame | None = None, how: str = "last") -> Pool:
    """Turn the rows of one pool into (P, S) arrays.

    Args:
        samples: as :func:`tts_utils.store.read_samples` returns it, or some problems of it.
        step_scores: as :func:`tts_utils.store.read_step_scores` returns it, for the same samples at least.
        how: how to aggregate step scores: "min", "last" or "avg".

    Raises:
        StoreError: problems differ in their number of samples.
        Incomplete: a sample has no step scores.
    """
    samples = samples.sort_values(["problem_id", "sample"], kind="stable")
    problem_ids = tuple(samples["problem_id"].unique())
    size = len(samples) // max(len(problem_ids), 1)
    shape = (len(problem_ids), size)
    if not np.array_equal(samples["sample"], np.tile(np.arange(size), len(problem_ids))):
        raise StoreError("a pool needs samples 0..S-1 of every problem; read it with read_samples")
    texts = samples["answer"].to_numpy(dtype=object).reshape(shape)
    pool = Pool(
        problem_ids=problem_ids,
        answers=texts,
        answer_ids=group(texts),
        correct=samples["correct"].to_numpy(dtype=bool).reshape(shape),
        num_tokens=_counts(samples["num_tokens"].to_numpy(dtype=np.int64), shape),
    )
    return pool if step_scores is None else with_scores(pool, step_scores, how)


def with_scores(pool: Pool, step_scores: pd.DataFrame, how: str) -> Pool:
    """The same pool with these step scores, aggregated by "min", "last" or "avg".

    Raises:
        Incomplete: a sample has no step scores.
    """
    size = pool.correct.shape[1]
    wanted = pd.MultiIndex.from_product([pool.problem_ids, range(size)])
    by_key = step_scores.set_index(["problem_id", "sample"])
    if len(absent := wanted.difference(by_key.index)):
        way_out = "score them (tts score), or leave their problems out"
        raise Incomplete(
            f"{len(absent)} samples of the pool have no step scores, the first: {absent[0]}; {way_out}",
            size,
            len(pool.problem_ids) - len(absent.unique(level=0)),
            len(pool.problem_ids),
            way_out,
        )
    by_key = by_key.loc[wanted]
    scores = voting.aggregate_many(by_key["scores"].tolist(), how, empty=voting.NO_SCORE)
    return replace(
        pool,
        scores=scores.reshape(pool.correct.shape),
        num_prm_tokens=_counts(by_key["num_prm_tokens"].to_numpy(dtype=np.int64), pool.correct.shape),
    )


def pool_of(results: Sequence[SearchResult], how: str = "last") -> Pool:
    """The trajectories that searches ended with, as arrays to vote on.

    Args:
        results: of the same method, one per problem, in any order.
        how: how to aggregate step scores: "min", "last" or "avg".

    Returns:
        A pool of S = the largest number of completions (N/M for beam search and DVTS). Where a problem has
        fewer, the rest are empty: answer "", no score, no tokens. Tokens are those of the trajectories; what
        the whole search spent stands in the results.
    """
    if not all(isinstance(result, SearchResult) for result in results):
        raise StoreError("pool_of wants search results; of a stored search they come from store.replay")
    results = sorted(results, key=lambda result: result.problem_id)
    shape = (len(results), max((len(result.completions) for result in results), default=0))
    texts, correct = np.full(shape, "", dtype=object), np.zeros(shape, dtype=bool)
    tokens, read = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    scores = np.full(shape, voting.NO_SCORE)
    for row, result in enumerate(results):
        for column, completion in enumerate(result.completions):
            texts[row, column], correct[row, column] = completion.answer, completion.correct
            tokens[row, column] = completion.num_tokens
        for column, step_scores in enumerate(result.step_scores):
            if step_scores.scores:
                scores[row, column] = voting.aggregate(step_scores.scores, how)
            read[row, column] = step_scores.num_tokens
    scored = any(result.step_scores for result in results)
    return Pool(
        problem_ids=tuple(result.problem_id for result in results),
        answers=texts,
        answer_ids=group(texts),
        correct=correct,
        num_tokens=tokens,
        scores=scores if scored else None,
        num_prm_tokens=read if scored else None,
    )


def read(source: Source, prm: str = "", how: str = "last", n: int | None = None) -> Pool:
    """Read a pool from its tables, and a PRM's scores of it where one is named; column by column.

    Raises:
        StoreMiss, Incomplete, PoolTooSmall, DamagedTable, ForeignTable: as for the readers of rows.
    """
    verdicts.recall(source.folder)
    pool = of_rows(source.rows("samples", n, columns=COLUMNS))
    return read_scores(pool, source, prm, (how,))[how] if prm else pool


def of_rows(rows: pa.Table) -> Pool:
    """The pool of rows of a table of samples, as ``Source.rows`` gives them, with ``COLUMNS`` at least."""
    # The rows are sorted and whole: S of every problem, one problem after another.
    size = int(columns.numbers(rows, "sample").max()) + 1
    shape = (rows.num_rows // size, size)
    codes, values = columns.codes(rows, "answer")
    return Pool(
        problem_ids=tuple(columns.strings(rows["problem_id"].take(_starts(shape)))),
        answers=values[codes].reshape(shape),
        answer_ids=_group_codes(codes.reshape(shape), values),
        correct=columns.numbers(rows, "correct").reshape(shape),
        num_tokens=_counts(columns.numbers(rows, "num_tokens").astype(np.int64), shape),
    )


def read_scores(pool: Pool, source: Source, prm: str, hows: Sequence[str]) -> dict[str, Pool]:
    """The same pool with a PRM's stored step scores, once for each way of aggregating them.

    Raises:
        Incomplete: a sample has no step scores; and as for :func:`read`.
        ForeignTable: the scores are of another version of the samples.
    """
    files.check_agreement(source.table("samples"), source.table("step_scores", prm), source.folder)
    shape = pool.correct.shape
    rows = source.rows(
        "step_scores", shape[1], prm, columns=["problem_id", "sample", "scores", "num_prm_tokens"]
    )
    same = rows.num_rows == pool.correct.size and pool.problem_ids == tuple(
        columns.strings(rows["problem_id"].take(_starts(shape)))
    )
    if not same:  # other problems are scored than sampled
        frame = columns.to_frame(rows)
        return {how: with_scores(pool, frame, how) for how in hows}
    flat, lengths = columns.lists(rows, "scores")
    read = _counts(columns.numbers(rows, "num_prm_tokens").astype(np.int64), shape)
    return {
        how: replace(
            pool,
            scores=voting.aggregate_flat(flat, lengths, how, voting.NO_SCORE).reshape(shape),
            num_prm_tokens=read,
        )
        for how in hows
    }


def group(texts: NDArray[np.object_]) -> NDArray[np.int64]:
    """(P, S) numbers of the answers of each problem, as ``answers.group_answers`` gives them."""
    codes, values = pd.factorize(texts.ravel())
    return _group_codes(codes.reshape(texts.shape), np.asarray(values, dtype=object))


def _group_codes(codes: NDArray[np.int64], values: NDArray[np.object_]) -> NDArray[np.int64]:
    """The same of answers that are given as numbers of distinct texts: each text is looked at once a row."""
    ids = np.empty(codes.shape, dtype=np.int64)
    number_of = np.empty(len(values), dtype=np.int64)
    for row, of_problem in enumerate(codes):
        distinct = list(dict.fromkeys(of_problem.tolist()))  # in order of first appearance
        number_of[distinct] = answers.group_answers([values[code] for code in distinct])
        ids[row] = number_of[of_problem]
    return ids


def _starts(shape: tuple[int, int]) -> pa.Array:
    return pa.array(np.arange(shape[0]) * shape[1])


def _counts(counts: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64] | None:
    return None if (counts == UNKNOWN_TOKENS).any() else counts.reshape(shape)
