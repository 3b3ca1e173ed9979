"""Three printed intervals of each lesson, computed once more by another way than the lesson's.

Where the lesson prints Wilson's interval, the test inverts the score test by bisection; where it bootstraps
over problems, the test takes the normal interval of the mean, which is close for hundreds of them.
"""

from __future__ import annotations

import re
from math import sqrt

import numpy as np
import pytest

from tests.lesson_runs import LESSONS, LessonRun, run
from tts_utils import store, voting
from tts_utils.tree_search import TreeSearch

Z = 1.959964
BRACKETS = re.compile(r"\[([+-]?[\d.]+), ([+-]?[\d.]+)\]")


def lesson(number: str) -> LessonRun:
    paths = [path for path in LESSONS if path.name.startswith(number)]
    if not paths:
        pytest.skip(f"there is no lesson {number}")
    return run(paths[0])


def printed(text: str) -> list[tuple[float, float]]:
    """The intervals in brackets, in order."""
    return [(float(low), float(high)) for low, high in BRACKETS.findall(text)]


def score_test(k: int, n: int) -> tuple[float, float]:
    """The shares that a score test of k in n would not reject at 5 %, by bisection."""

    def rejected(p: float) -> bool:
        return abs(k / n - p) > Z * sqrt(p * (1 - p) / n)

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        return inside

    return edge(k / n, 0.0), edge(k / n, 1.0)


def normal(values: np.ndarray) -> tuple[float, float]:
    """The normal interval of a mean over problems."""
    half = Z * values.std() / sqrt(len(values))
    return values.mean() - half, values.mean() + half


def test_lesson_1() -> None:
    names = lesson("01").namespace
    rows = re.findall(r"(\d+) of +(\d+): V = [\d.]+ (\[.*?\])", lesson("01").text("01-tree-build"))
    assert len(rows) >= 3
    for k, n, shown in rows[:3]:
        assert printed(shown)[0] == pytest.approx(score_test(int(k), int(n)), abs=0.0051)
    gap = (names["values"]["large"] - names["values"]["small"]).to_numpy()
    (shown,) = printed(lesson("01").text("01-policies"))
    assert shown == pytest.approx(normal(gap), abs=0.006)


def test_lesson_2() -> None:
    names = lesson("02").namespace
    table = lesson("02").shown["02-cot"]
    for row in table.itertuples():
        pool = (names["greedy"] if "greedy" in row.method else names["pools"])[row.policy]
        assert (row.low, row.high) == pytest.approx(normal(pool.correct.mean(axis=1)), abs=0.006)
    for name, text in zip(
        names["pools"], np.split(np.array(lines(lesson("02"), "02-paired")), 2), strict=True
    ):
        pool = names["pools"][name]
        majority = names["chosen_right"](pool, "majority").astype(float)
        gaps = {
            "PRM-Vote": names["chosen_right"](pool, "prm_vote") - majority,
            "PRM-Max": names["chosen_right"](pool, "prm_max") - majority,
        }
        for line, (rule, gap) in zip(text[1:], gaps.items(), strict=True):
            assert rule in line
            assert printed(line)[0] == pytest.approx([100 * end for end in normal(gap)], abs=0.5)


def lines(lesson_run: LessonRun, cell: str) -> list[str]:
    return [line for line in lesson_run.printed[cell].splitlines() if BRACKETS.search(line)]


def test_lesson_3() -> None:
    names, table = lesson("03").namespace, lesson("03").shown["03-own-auc"]
    which, owner, truth = names["which"], names["owner"], names["truth"]
    for prm in ("lab-math-shepherd", "lab-skywork-s", "lab-qwen-prm-s"):
        scores, each = names["flat"][prm][which], []
        for problem in np.unique(owner[which]):
            mine = owner[which] == problem
            right, wrong = scores[mine & truth[which]], scores[mine & ~truth[which]]
            if len(right) and len(wrong):
                above = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
                each.append(above)
        assert len(each) == table.loc[prm, "problems"]
        assert table.loc[prm, "AUC"] == pytest.approx(np.mean(each), abs=0.0006)
        found = (table.loc[prm, "low"], table.loc[prm, "high"])
        assert found == pytest.approx(normal(np.array(each)), abs=0.012)


def test_lesson_4() -> None:
    names, shown = lesson("04").namespace, lines(lesson("04"), "04-paired")
    assert len(shown) == 4
    pairs = [(judge, rule) for judge in (names["GOOD"], names["BAD"]) for rule in ("best_of_n", "majority")]
    for line, (judge, rule) in zip(shown, pairs, strict=True):
        right, other = names["right"][judge], names["best"][judge, rule]
        gap = right.astype(float) - other.loc[right.index].astype(float)
        assert printed(line)[0] == pytest.approx([100 * end for end in normal(gap.to_numpy())], abs=1.1)


def test_lesson_5() -> None:
    names, shown = lesson("05").namespace, lines(lesson("05"), "05-paired")
    assert len(shown) == 4
    for judge in (names["GOOD"], names["BAD"]):
        line = shown.pop(0)
        gap = names["right"]["dvts", judge].astype(float) - names["right"]["beam", judge].astype(float)
        assert printed(line)[0] == pytest.approx([100 * end for end in normal(gap.to_numpy())], abs=1.1)
        shown.pop(0)
    hit = {m: t.groupby("problem_id")["correct"].max().to_numpy(float) for m, t in names["groups"].items()}
    rows = names["won"][names["won"]["what"] == "a right one there"].set_index("method")
    for method, values in hit.items():
        low, high = rows.loc[method, "low"], rows.loc[method, "high"]
        assert (low, high) == pytest.approx(score_test(int(values.sum()), len(values)), abs=0.002)


def test_lesson_14() -> None:
    names = lesson("14").namespace
    samples, folder = names["samples"], names["folder"]
    sixteen = 16 * samples.groupby("problem_id")["num_tokens"].mean()
    shown = lines(lesson("14"), "14-cost-rule")
    kinds = [(judge, method) for judge in (names["GOOD"], names["BAD"]) for method in ("beam", "dvts")]
    assert len(shown) == len(kinds)
    for line, (judge, method) in zip(shown, kinds, strict=True):
        nodes = store.read_searches("lab-200", names["POLICY"], judge, TreeSearch(method, 16, 4))
        spent = nodes.groupby("problem_id")["num_tokens"].sum()  # every node, pruned ones too
        gap = (spent - sixteen.loc[spent.index]) / sixteen.mean()
        assert printed(line)[0] == pytest.approx([100 * end for end in normal(gap.to_numpy())], abs=0.11)
    majority = next(
        line for line in lines(lesson("14"), "14-share-score") if line.startswith("N = 16  majority")
    )
    pool = store.read_pool("lab-200", names["POLICY"], problems=names["some"], data=folder / "mine")
    chosen = voting.select(pool.answer_ids, None, "majority")
    right = pool.correct[np.arange(len(chosen)), chosen] & (chosen >= 0)
    (found,) = printed(majority)
    assert found == pytest.approx([100 * end for end in score_test(int(right.sum()), len(right))], abs=2.5)
    assert printed(lesson("14").text("14-paper-code"))[0] == pytest.approx(
        normal(sixteen.to_numpy() / 16), abs=0.51
    )


def test_the_bisection_finds_the_ends_of_the_score_test() -> None:
    assert score_test(8, 10) == pytest.approx((0.490, 0.943), abs=0.001)  # Wilson 1927's interval
