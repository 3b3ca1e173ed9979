"""How healthy the lab is, printed from the stored tables: DESIGN's three figures and the PRMs' AUC."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from tts_lab.checker import check_steps, first_error, is_derived
from tts_lab.quality import KEY, stored_scores
from tts_utils import store
from tts_utils.data_folder import lab_dir
from tts_utils.mdp import SEPARATOR, split_steps
from tts_utils.metrics import Interval, accuracy_interval, paired_difference, pass_at_k, within_problem_auc
from tts_utils.problems import load_problems
from tts_utils.protocols import Policy
from tts_utils.records import Problem, SamplingConfig, State
from tts_utils.store import files as table_files
from tts_utils.store.tables import StoreMiss
from tts_utils.voting import NO_SCORE, select


def health(
    dataset: str, repairing: Collection[str] = (), seed: int = 0, data: Path | None = None
) -> pd.DataFrame:
    """Every health figure of every policy and PRM whose tables of this data set are whole.

    Args:
        dataset: the test set.
        repairing: policies that check, and redo steps they find wrong: a solution of theirs is right for the
            right reason when right equations derive its answer, wrong ones beside them notwithstanding.
        seed: of the bootstraps.
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Columns policy, prm, measure, estimate, low, high, n: 95 % intervals over problems; n is the number of
        problems behind the figure.
    """
    data = lab_dir() if data is None else data
    problems = load_problems(dataset, data=data)
    rows = []
    tables = table_files.stored(data, "samples", dataset)
    for table in tables:
        greedy = table.sampling.temperature == 0
        where = {"dataset": dataset, "policy": table.policy, "config": table.sampling, "data": data}
        try:
            samples = store.read_samples(**where)
            labels = store.read_step_labels(**where)
        except StoreMiss:  # still being filled
            continue
        frame = samples.merge(labels[[*KEY, "labels"]], on=KEY)
        if greedy:
            rows.append((table.policy, "", "greedy accuracy", _share(frame, frame["correct"])))
            continue
        if table.policy in repairing:
            frame["sound"] = _derives(frame, problems)
        else:
            frame["sound"] = frame["labels"].map(all)
        pool = store.pivot(samples)
        rows += [(table.policy, "", *row) for row in _policy_rows(frame, pool, problems, seed)]
        for prm, scores in stored_scores(**where):
            rows += [(table.policy, prm, *row) for row in _prm_rows(frame, scores, pool, seed)]
    return pd.DataFrame(
        [(*row[:-1], *row[-1]) for row in rows],
        columns=["policy", "prm", "measure", "estimate", "low", "high", "n"],
    )


def _derives(frame: pd.DataFrame, problems: tuple[Problem, ...]) -> pd.Series:
    """Of each right row whether its answer is derived; False for the others. Equal texts are read once."""
    by_id = {p.problem_id: p for p in problems}
    distinct = frame.loc[frame["correct"], ["problem_id", "text"]].drop_duplicates()
    sound = {key: is_derived(by_id[key[0]], split_steps(key[1])) for key in map(tuple, distinct.to_numpy())}
    keys = zip(frame["problem_id"], frame["text"], strict=True)
    return pd.Series([sound.get(key, False) for key in keys], index=frame.index)


def _share(frame: pd.DataFrame, flags: pd.Series) -> Interval:
    """Mean over problems of the share of flagged rows."""
    return accuracy_interval(flags.groupby(frame["problem_id"]).mean())


def _policy_rows(frame: pd.DataFrame, pool: store.Pool, problems: tuple[Problem, ...], seed: int):
    size = pool.correct.shape[1]
    picked = select(pool.answer_ids, None, "majority")
    majority = (picked >= 0) & pool.correct[np.arange(len(picked)), picked]
    anywhere = pass_at_k(np.full(len(pool.correct), size), pool.correct.sum(1), size)
    yield "pass@1", accuracy_interval(pool.correct.mean(1))
    yield f"majority@{size}", accuracy_interval(majority)
    yield f"pass@{size}", accuracy_interval(anywhere)
    yield (
        f"pass@{size} minus majority@{size}",
        paired_difference(anywhere, majority, np.random.default_rng(seed)),
    )
    yield "guess rate", guess_rate(frame, problems)
    right = frame[frame["correct"]]
    yield "right for the right reason (share of right answers)", _pooled(right, right["sound"])
    sound = frame["correct"] & frame["sound"]
    yield f"pass@{size} for the right reason", accuracy_interval(sound.groupby(frame["problem_id"]).any())
    yield "next step right, given right so far", next_step_rate(frame)


def guess_rate(frame: pd.DataFrame, problems: tuple[Problem, ...]) -> Interval:
    """Chance of the gold answer when drawing from the policy's answers to other problems of the template."""
    template = {p.problem_id: p.meta["template"] for p in problems}
    gold = {p.problem_id: p.answer for p in problems}
    counts: dict[str, dict[str, Counter]] = defaultdict(lambda: defaultdict(Counter))
    for problem_id, answer in zip(frame["problem_id"], frame["answer"], strict=True):
        if answer:
            counts[template[problem_id]][problem_id][answer] += 1
    rates = []
    for problem_id in frame["problem_id"].unique():
        others = [c for other, c in counts[template[problem_id]].items() if other != problem_id]
        total = sum(sum(c.values()) for c in others)
        if total:
            rates.append(sum(c.get(gold[problem_id], 0) for c in others) / total)
    return accuracy_interval(rates)


def _pooled(frame: pd.DataFrame, flags: pd.Series) -> Interval:
    """Share of flagged rows over all rows, with problems as clusters (ratio estimator)."""
    by = pd.DataFrame({"id": frame["problem_id"], "hit": flags.astype(float), "one": 1.0}).groupby("id").sum()
    return _ratio(by["hit"].to_numpy(), by["one"].to_numpy())


def _ratio(hits: np.ndarray, totals: np.ndarray) -> Interval:
    rate = hits.sum() / totals.sum()
    residual = (hits - rate * totals) / totals.mean()
    error = 1.96 * residual.std(ddof=1) / np.sqrt(len(totals))
    return Interval(float(rate), float(max(0, rate - error)), float(min(1, rate + error)), len(totals))


def next_step_rate(frame: pd.DataFrame) -> Interval:
    """Share of sampled steps that are right among those written while everything before was right."""
    tried, right = defaultdict(float), defaultdict(float)
    for problem_id, labels in zip(frame["problem_id"], frame["labels"], strict=True):
        error = first_error(labels)
        right[problem_id] += len(labels) if error < 0 else error
        tried[problem_id] += len(labels) if error < 0 else error + 1
    ids = [i for i in tried if tried[i]]
    return _ratio(np.array([right[i] for i in ids]), np.array([tried[i] for i in ids]))


def _prm_rows(frame: pd.DataFrame, scores: pd.DataFrame, pool: store.Pool, seed: int):
    rng = np.random.default_rng(seed)
    joined = frame.merge(scores[[*KEY, "scores"]], on=KEY)
    joined = joined[joined["scores"].map(len) > 0]  # without those that are empty, or too long for the PRM
    ids, values, right = [], [], []
    for problem_id, labels, given in zip(
        joined["problem_id"], joined["labels"], joined["scores"], strict=True
    ):
        error = first_error(labels)
        last = len(labels) if error < 0 else error + 1  # what comes after the first error is nobody's fault
        ids += [problem_id] * last
        values += list(given[:last])
        right += list(labels[:last])
    auc = within_problem_auc(ids, values, right, rng)
    yield "steps: within-problem AUC", Interval(auc.auc, auc.low, auc.high, auc.num_problems)
    flags = (np.array(values) >= 0.5) == np.array(right, dtype=bool)
    steps = pd.DataFrame({"problem_id": ids, "right": right, "agrees": flags})
    for kind, name in ((True, "right"), (False, "wrong")):
        part = steps[steps["right"] == kind]
        yield f"steps: {name} ones called {name} (threshold 0.5)", _pooled(part, part["agrees"])
    size = pool.correct.shape[1]
    baseline = _picked(pool, None, "majority")
    for how in ("min", "last", "avg"):
        scored = store.with_scores(pool, scores, how)
        flat = np.repeat(np.arange(len(pool.problem_ids)), size)
        read = scored.scores.ravel() > NO_SCORE
        auc = within_problem_auc(flat[read], scored.scores.ravel()[read], pool.correct.ravel()[read], rng)
        yield (
            f"completions: within-problem AUC, {how}",
            Interval(auc.auc, auc.low, auc.high, auc.num_problems),
        )
        for rule in ("prm_max", "prm_vote"):
            chosen = _picked(pool, scored.scores, rule)
            yield f"{how} + {rule} @{size}", accuracy_interval(chosen)
            yield f"{how} + {rule} minus majority @{size}", paired_difference(chosen, baseline, rng)


def _picked(pool: store.Pool, scores: np.ndarray | None, rule: str) -> np.ndarray:
    """Whether the chosen sample of each problem is right; (P,)."""
    index = select(pool.answer_ids, scores, rule)
    return (index >= 0) & pool.correct[np.arange(len(index)), index]


def slips(
    policy: Policy,
    dataset: str,
    config: SamplingConfig,
    tries: int = 16,
    seed: int = 0,
    data: Path | None = None,
) -> pd.DataFrame:
    """Sample next steps live from one state per problem that is right so far, and check them.

    The state is a random right prefix of a random stored sample, so deep states count too.

    Returns:
        Rows "next step right" and "some of the tries right": estimate, low, high, n (states).
    """
    rng = np.random.default_rng(seed)
    problems = {p.problem_id: p for p in load_problems(dataset, data=data)}
    samples = store.read_samples(dataset, policy.name, config=config, data=data)
    labels = store.read_step_labels(dataset, policy.name, config=config, data=data)
    frame = samples.merge(labels[[*KEY, "labels"]], on=KEY)
    states = []
    for problem_id, group in frame.groupby("problem_id"):
        row = group.iloc[int(rng.integers(len(group)))]
        steps, error = split_steps(row["text"]), first_error(row["labels"])
        depth = int(rng.integers((len(steps) - 1 if error < 0 else error) + 1))
        states.append(State(problems[problem_id], steps[:depth]))
    one_step = SamplingConfig(config.temperature, config.top_p, config.max_tokens, (SEPARATOR,), config.seed)
    pools = policy.sample(states, tries, one_step)
    right = np.array(
        [
            [bool(c.text) and check_steps(s.problem, [*s.steps, c.text])[-1] for c in pool]
            for s, pool in zip(states, pools, strict=True)
        ]
    )
    rows = [("next step right", accuracy_interval(right.mean(1)))]
    rows.append((f"some of {tries} next steps right", accuracy_interval(right.any(1))))
    return pd.DataFrame([(name, *i) for name, i in rows], columns=["measure", "estimate", "low", "high", "n"])
