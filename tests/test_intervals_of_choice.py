"""Three printed intervals of each of lessons 6 to 8, by a normal approximation or by resampling again."""

import numpy as np
import pytest

from tests.lesson_runs import LESSONS, run

PATHS = {path.name[:2]: path for path in LESSONS}
POINT = 0.01


@pytest.fixture(scope="module", params=["06", "07", "08"])
def lesson(request):
    if request.param not in PATHS:
        pytest.skip("not written yet")
    return request.param, run(PATHS[request.param]).namespace


def by_normal(values) -> tuple[float, float]:
    """Mean +- 1.96 standard errors."""
    values = np.asarray(values, dtype=float)
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - error, values.mean() + error


def by_resampling(values, seed=7) -> tuple[float, float]:
    """Percentiles of the means of 4,000 resamples of problems."""
    values = np.asarray(values, dtype=float)
    some = np.random.default_rng(seed).integers(0, len(values), (4000, len(values)))
    return tuple(np.percentile(values[some].mean(axis=1), [2.5, 97.5]))


def of_lesson_06(names):
    row = next(row for row in names["grid"].to_dict("records") if row["rule"] == "best_of_n")
    judge = next(j for j, label in names["JUDGES"].items() if label == row["judge"])
    values = names["right"][row["policy"], judge, "best_of_n", row["budget"]]
    yield (row["low"], row["high"]), by_resampling(values)
    families = []
    for family, sources in names["learnt"].items():
        home = names["PAIR"][family]
        (away,) = set(names["PAIR"].values()) - {home}
        right = names["right"]
        families += [[right[p, home, "beam", 64] - right[p, away, "beam", 64] for p in sources]]
    gain = names["home_wins"]["beam search"]
    yield (gain.low, gain.high), by_normal(np.mean([np.mean(f, axis=0) for f in families], axis=0))
    held_out = names["held_out"]
    keys = list(held_out)
    difference = held_out[keys[4]]["right"] - held_out[keys[2]]["right"]
    yield (names["aware"].low, names["aware"].high), by_normal(difference)


def of_lesson_07(names):
    row = names["regress"].reset_index().iloc[0]
    policy = row["policy"]
    correct, few = names["correct"][policy], names["FEW"]
    filed = np.array([names["level"](value) for value in correct[:, :few].mean(1)])
    values = correct[:, few:].mean(1)[filed == row["filed as"]]
    yield (row["from"], row["to"]), by_resampling(values)
    against = names["against"]
    difference = names["held_out"]["thresholds"] - names["held_out"]["thirds"]
    yield (against.low, against.high), by_normal(difference)
    small, large = names["SMALL"], names["LARGE"]
    table = names["pass_at_1"]
    difference = (table[large] > 0.8).astype(float) - (table[small] > 0.8).astype(float)
    yield (names["above"].low, names["above"].high), by_normal(difference)


def of_lesson_08(names):
    right = names["right"]
    for row in names["by_size"].iloc[[0, -1]].to_dict("records"):
        judge = next(j for j, label in names["JUDGES"].items() if label == row["judge"])
        method = next(m for m, label in names["METHODS"].items() if row["method"].startswith(label))
        values = right[row["policy"], judge, method] - right[row["policy"], judge, "best_of_n"]
        yield (row["low"], row["high"]), by_normal(values)
    case, found = next((e[1], e[2]) for e in names["entries"] if e[0] == "best-of-n-for-large" and e[2])
    judges = names["strong"] if "strong" in case else names["WEAK"]
    pairs = [(p, j) for p, j in names["searched"] if p in names["rung"]["xl"] and j in judges]
    values = [right[p, j, "best_of_n"] - right[p, j, "beam"] for p, j in pairs]
    yield (found.low, found.high), by_normal(np.mean(values, axis=0))


def test_printed_intervals_agree_with_another_computation(lesson):
    number, names = lesson
    pairs = list({"06": of_lesson_06, "07": of_lesson_07, "08": of_lesson_08}[number](names))
    assert len(pairs) >= 3
    for printed, other in pairs:
        assert printed == pytest.approx(other, abs=1.2 * POINT)
