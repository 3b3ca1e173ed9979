"""Draw README's figure from the stored tables: ``.venv-book/bin/python book/figure.py``."""

from pathlib import Path

import numpy as np
import pandas as pd

from tts_utils import charts, metrics, store

BUDGETS = [1, 2, 4, 8, 16, 32, 64]
TARGET = Path(__file__).parent / "_static" / "best-of-n.svg"


def curves(policy: str) -> pd.DataFrame:
    """Accuracy of every selection rule and of both controls against the budget, with 95 % intervals."""
    pool = store.read_pool("lab-500", policy, "lab-math-shepherd", how="last")
    rules = {rule: (pool.scores, rule) for rule in ("majority", "prm_max", "prm_vote")}
    frames = [
        metrics.accuracy_curves(
            pool.correct, pool.answer_ids, rules, BUDGETS, 100, np.random.default_rng(0)
        ).drop(columns="method")
    ]
    size, right = pool.correct.shape[1], pool.correct.sum(axis=1)
    for budget in BUDGETS:
        for rule, values in (
            ("random", right / size),
            ("pass_at_k", metrics.pass_at_k(size, right, budget)),
        ):
            accuracy, low, high, n = metrics.accuracy_interval(values)
            row = {"rule": rule, "budget": budget, "accuracy": accuracy, "low": low, "high": high, "n": n}
            frames.append(pd.DataFrame([row]))
    return pd.concat(frames, ignore_index=True)


if __name__ == "__main__":
    chart = charts.accuracy_by_budget(curves("lab-llama-m")).properties(width=560, background="white")
    chart.save(TARGET)
    print(TARGET)
