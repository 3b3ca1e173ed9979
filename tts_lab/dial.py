"""The dial: search with artificial verifiers of known quality, from useless to perfect.

An artificial verifier knows the step checker's verdict on a path (is every step right so far?) and blurs it
with noise. Everything else is held fixed, the policy's draws too, so what changes along the dial is the
verifier's quality alone.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from tts_lab.checker import check_steps
from tts_lab.results import RESAMPLES, RULES
from tts_utils import metrics, search, store, voting
from tts_utils.data_folder import checked_where_listed
from tts_utils.metrics import within_problem_auc
from tts_utils.protocols import Policy
from tts_utils.records import Problem, SamplingConfig, State, StepScores
from tts_utils.store import manifest
from tts_utils.tree_search import TreeSearch

DATASET = "lab-200"
POLICIES = ("lab-llama-m", "lab-qwen-m")
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0)  # chance that a right path scores above a wrong one
SEEDS = (0, 1, 2)
BUDGETS = (4, 16, 64)
PERFECT = 8.0  # standard deviations between right and wrong paths: one pair in 10^8 is confused
_NORMAL = NormalDist()


def distance(level: float) -> float:
    """How far the mean of right paths lies above that of wrong ones, in standard deviations of the noise.

    >>> distance(0.5), round(distance(0.76), 2)
    (0.0, 1.0)
    """
    return min(PERFECT, math.sqrt(2) * _NORMAL.inv_cdf(level)) if level < 1 else PERFECT


class Verdicts:
    """The checker's verdict on every path it has been asked about: whether all steps are right so far."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def all_right(self, problem: Problem, steps: Sequence[str]) -> list[bool]:
        """One verdict for each prefix of the steps, the whole last."""
        ends = list(itertools.accumulate(steps))
        keys = [(problem.problem_id, text) for text in ends]
        if any(key not in self._known for key in keys):
            right = itertools.accumulate(check_steps(problem, steps), lambda a, b: a and b)
            self._known.update(zip(keys, right, strict=True))
        return [self._known[key] for key in keys]


class ArtificialVerifier:
    """Scores a path by the checker's verdict and noise that is fixed by (seed, problem, path).

    The score is the normal distribution function at ``distance * (right - 1/2) + noise``, noise standard
    normal: at level 0.5 a number drawn evenly from 0 to 1, at level 1 close to 0 or 1. Every path has noise
    of its own; a real PRM errs in the same way again and again, so it can be worse than its AUC promises.
    """

    num_params = 0
    revision = ""

    def __init__(self, level: float, seed: int, verdicts: Verdicts | None = None) -> None:
        self.name = f"dial-{level:.2f}"
        self.distance = distance(level)
        self.seed = seed
        self._verdicts = verdicts or Verdicts()

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """See :class:`tts_utils.protocols.PRM`; an artificial verifier reads no tokens."""
        results = []
        for state in trajectories:
            right = self._verdicts.all_right(state.problem, state.steps)
            paths = itertools.accumulate(state.steps)
            scores = (
                _NORMAL.cdf(self.distance * (good - 0.5) + self._noise(state.problem.problem_id, path))
                for good, path in zip(right, paths, strict=True)
            )
            results.append(StepScores(tuple(scores), 0))
        return results

    def _noise(self, problem_id: str, path: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}|{problem_id}|{path}".encode(), digest_size=8).digest()
        return _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**64)


@dataclass(frozen=True, slots=True)
class Piece:
    """One policy with one verifier: what is computed at a time and written as one file."""

    policy: str
    level: float
    seed: int

    def path(self, folder: Path) -> Path:
        """Its file."""
        return folder / f"{self.policy}-{self.level:.2f}-s{self.seed}.parquet"


def pieces() -> Iterator[Piece]:
    """All pieces: the whole dial with one seed before the next seed begins."""
    for seed, policy, level in itertools.product(SEEDS, POLICIES, LEVELS):
        yield Piece(policy, level, seed)


def measure(
    piece: Piece,
    policy: Policy | None,
    sampling: SamplingConfig,
    problems: Sequence[Problem],
    verdicts: Verdicts,
    data: Path,
) -> pd.DataFrame:
    """Run one piece: Best-of-N on the stored samples, beam search and DVTS live.

    Args:
        piece: which.
        policy: the policy; None measures Best-of-N and the verifier's AUC alone.
        sampling: how it is sampled.
        problems: of the test set, all or the first ones.
        verdicts: shared by all pieces of a policy.
        data: where the samples are.

    Returns:
        Columns method, budget, rule, problem_id, right: the share of random subsets (Best-of-N) or 0 and 1.
        Method "auc" gives the within-problem AUC over completions of each problem that has right and wrong
        ones, as ``right``.
    """
    verifier = ArtificialVerifier(piece.level, piece.seed, verdicts)
    rows = _best_of_n(verifier, piece, sampling, problems, data)
    searches = [TreeSearch(method, n) for method in ("beam", "dvts") for n in BUDGETS]
    for tree_search in searches if policy is not None else ():
        found = search.run([tree_search(p) for p in problems], policy, verifier, sampling)
        pool = store.pool_of(found)
        for rule in RULES:
            chosen = voting.select(pool.answer_ids, pool.scores, voting.split_rule(rule)[1])
            right = (chosen >= 0) & pool.correct[np.arange(len(chosen)), chosen]
            rows += _rows(tree_search.method, tree_search.budget, rule, pool.problem_ids, right)
    return pd.DataFrame(rows, columns=["method", "budget", "rule", "problem_id", "right"])


def _best_of_n(verifier, piece, sampling, problems, data) -> list[tuple]:
    samples = store.read_samples(DATASET, piece.policy, config=sampling, problems=problems, data=data)
    by_id = {p.problem_id: p for p in problems}
    distinct = samples[["problem_id", "text"]].drop_duplicates()
    states = [search.mdp.state_of(by_id[i], text) for i, text in distinct.itertuples(index=False)]
    scored = {(s.problem.problem_id, s.text): r for s, r in zip(states, verifier.score(states), strict=True)}
    last = [
        scored[key].scores[-1] if scored[key].scores else voting.NO_SCORE
        for key in zip(samples["problem_id"], samples["text"], strict=True)
    ]
    pool = store.pivot(samples)
    order = samples.assign(score=last).sort_values(["problem_id", "sample"], kind="stable")
    scores = order["score"].to_numpy(float).reshape(pool.correct.shape)
    methods = {rule: (scores, voting.split_rule(rule)[1]) for rule in RULES}
    methods["majority_vote"] = (None, "majority")
    curves = metrics.accuracy_per_problem(
        pool.correct, pool.answer_ids, methods, BUDGETS, RESAMPLES, np.random.default_rng(0)
    )
    rows = []
    for rule, curve in curves.items():
        method = "majority" if rule == "majority_vote" else "best_of_n"
        for i, n in enumerate(BUDGETS):
            rows += _rows(method, n, rule, pool.problem_ids, curve[:, i])
    return rows + _rows("auc", 0, "", *auc_of_problems(pool.problem_ids, pool.correct, scores))


def auc_of_problems(
    problem_ids: Sequence[str], correct: np.ndarray, scores: np.ndarray
) -> tuple[list[str], list[float]]:
    """Within-problem AUC over completions, problem by problem, where there are right and wrong ones."""
    ids, values = [], []
    for problem_id, right, score in zip(problem_ids, correct, scores, strict=True):
        read = score > voting.NO_SCORE
        if 0 < right[read].sum() < read.sum():
            one = within_problem_auc(
                np.zeros(read.sum(), int), score[read], right[read], np.random.default_rng(0), num_resamples=1
            )
            ids.append(problem_id)
            values.append(one.auc)
    return ids, values


def _rows(method: str, budget: int, rule: str, problem_ids: Sequence[str], right) -> list[tuple]:
    return [(method, budget, rule, i, float(r)) for i, r in zip(problem_ids, right, strict=True)]


def turn(
    todo: Sequence[Piece], policies, sampling: SamplingConfig, problems, folder: Path, data: Path, log=print
) -> None:
    """Measure the pieces that are not there yet; each appears whole, or not at all.

    Args:
        todo: which pieces, in order.
        policies: ``name -> policy``, called when a policy is first needed.
        sampling, problems, data: as for :func:`measure`.
        folder: where the pieces are.
        log: called with a line per piece.
    """
    loaded: dict[str, tuple[Policy, Verdicts]] = {}
    for piece in todo:
        path = piece.path(folder)
        if path.exists():
            continue
        began, spent = time.perf_counter(), time.process_time()
        if piece.policy not in loaded:
            loaded[piece.policy] = policies(piece.policy), Verdicts()
        policy, verdicts = loaded[piece.policy]
        frame = measure(piece, policy, sampling, problems, verdicts, data)
        folder.mkdir(parents=True, exist_ok=True)
        manifest.replace_file(path, frame.to_parquet(index=False, compression="zstd"))
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        log(f"{path.name}: {seconds:.0f} s, of them {cpu:.0f} s of CPU")


def read(folder: Path, data: Path | None = None) -> pd.DataFrame:
    """All pieces that are there, with columns policy, level and seed before those of :func:`measure`.

    Args:
        folder: where the pieces are.
        data: the data directory whose manifest may list them; one's own and the shipped one are known.

    Raises:
        DamagedFile: a piece is not the one that the manifest lists.
    """
    frames = [
        pd.read_parquet(checked_where_listed(p.path(folder), data)).assign(
            policy=p.policy, level=p.level, seed=p.seed
        )
        for p in pieces()
        if p.path(folder).exists()
    ]
    columns = ["policy", "level", "seed", "method", "budget", "rule", "problem_id", "right"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
