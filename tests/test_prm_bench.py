"""Quality of step scores: hand-worked cases, plain loops, the published layouts, a live PRM, the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests import fakes
from tts_utils import cli, prm_bench, prm_quality, prms
from tts_utils.prm_quality import NONE, Judged
from tts_utils.problems import ProblemError
from tts_utils.protocols import TOO_LONG
from tts_utils.records import StepScores

scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 0.9, 1.0])


@st.composite
def judged(draw) -> Judged:
    found = tuple(draw(st.lists(scores, min_size=1, max_size=5)))
    return Judged(found, draw(st.integers(-1, len(found) - 1)), None, draw(st.sampled_from("abc")))


def plain(solutions, threshold):
    """Accuracies by the words of their definition."""
    hits = {True: [], False: []}
    for one in solutions:
        said = next((i for i in range(len(one.scores)) if one.scores[i] < threshold), -1)
        hits[one.first_error == -1].append(said == one.first_error)
    error, correct = (np.mean(hits[kind]) if hits[kind] else math.nan for kind in (False, True))
    both = 0.0 if error == correct == 0 else 2 * error * correct / (error + correct)
    return [error, correct, both]


@settings(max_examples=60, deadline=None)
@given(st.lists(judged(), min_size=1, max_size=12), scores)
def test_accuracies_are_those_of_their_definition(solutions, threshold):
    found = prm_quality.accuracies(solutions, threshold)
    assert found["measure"].tolist() == ["error", "correct", "F1"]
    assert found["estimate"].to_numpy() == pytest.approx(plain(solutions, threshold), nan_ok=True)
    assert found["n"].iloc[2] == len(solutions)


@settings(max_examples=60, deadline=None)
@given(st.lists(judged(), min_size=2, max_size=12))
def test_no_threshold_is_better_than_the_best_one(solutions):
    if len({one.first_error == NONE for one in solutions}) < 2:
        with pytest.raises(ValueError, match="one kind is lacking"):
            prm_quality.best_threshold(solutions)
        return
    best = plain(solutions, prm_quality.best_threshold(solutions))[2]
    assert best >= max(plain(solutions, t)[2] for t in np.linspace(0, 1.01, 102)) - 1e-12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=15))
def test_auc_counts_pairs(steps):
    values, right = np.array([s for s, _ in steps]), np.array([r for _, r in steps])
    pairs = [(a > b) + 0.5 * (a == b) for a, ok in steps for b, other in steps if ok and not other]
    expected = np.mean(pairs) if pairs else math.nan
    assert prm_quality.auc(values, right) == pytest.approx(expected, nan_ok=True)


def test_only_steps_whose_truth_is_known_are_asked_for():
    values, right = prm_quality.known_steps(
        [
            Judged((0.9, 0.2, 0.1), 1),  # the third builds on an error
            Judged((0.8,), NONE),
            Judged((0.7, 0.3, 0.6), 1, frozenset({1})),  # the source says that it is right
        ]
    )
    assert values.tolist() == [0.9, 0.2, 0.8, 0.7, 0.3, 0.6]
    assert right.tolist() == [True, False, True, True, False, True]


def test_calibration_by_hand():
    table = prm_quality.calibration(np.array([0.05, 0.07, 0.55, 1.0]), np.array([False, True, True, True]))
    assert table["score_low"].tolist() == [0.0, 0.5, 0.9] and table["n_steps"].tolist() == [2, 1, 1]
    assert table["share_right"].tolist() == [0.5, 1, 1]
    assert prm_quality.calibration_error(table) == pytest.approx((2 * 0.44 + 0.45 + 0) / 4)
    assert table["half_width_95"].iloc[0] == pytest.approx(1.96 * math.sqrt(0.25 / 2))


def test_where_verdicts_fall():
    wrong = [((0.4, 0.1), 1), ((0.9, 0.1), 1), ((0.9, 0.9, 0.1), 1), ((0.9, 0.9), 0)]
    found = prm_quality.verdicts([Judged(*one) for one in [*wrong, ((0.1,), NONE)]], 0.5)
    assert found == {"too early": 0.25, "at the error": 0.25, "too late": 0.25, "never": 0.25}


# --- the published layouts ---

PROCESS = [
    {
        "id": f"{subset}-{i}",
        "generator": "Some-7B",
        "problem": f"What is {i} + 1?",
        "steps": ["Add.\n\nSlowly.", f"It is {i + 1}.", "So it is."],
        "final_answer_correct": label == -1,
        "label": label,
    }
    for subset in ("gsm8k", "math")
    for i, label in enumerate((-1, 0, 2, -1))
]
PRM = [
    {
        "original_question": "What is 2 + 2?",
        "modified_question": "What is 2 + 2, twice?",
        "original_process": ["Add.", "4."],
        "modified_process": ["Add.", "Add again.", "4."],
        "error_steps": [2, 9],
        "reason": "said twice",
        "idx": "q1",
        "classification": kind,
    }
    for kind in ("redundency", "circular", "redundency")
]


@pytest.fixture
def process(tmp_path):
    """As the Hub has it: one JSON list a subset."""
    folder = tmp_path / "ProcessBench"
    folder.mkdir()
    for subset in ("gsm8k", "math"):
        rows = [row for row in PROCESS if row["id"].startswith(subset)]
        (folder / f"{subset}.json").write_text(json.dumps(rows, indent=1))
    return folder


def write(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_processbench_is_read_in_its_layouts(process, tmp_path):
    solutions = prm_bench.load_solutions(str(process))
    assert [(s.solution_id, s.subset, s.first_error) for s in solutions[:3]] == [
        ("gsm8k-0", "gsm8k", -1), ("gsm8k-1", "gsm8k", 0), ("gsm8k-2", "gsm8k", 2),
    ]  # fmt: skip
    assert solutions[0].trajectory.steps == ("Add.\n\nSlowly.\n\n", "It is 1.\n\n", "So it is.")
    assert prm_bench.load_solutions(write(tmp_path / "all.jsonl", PROCESS)) == solutions
    pq.write_table(pa.Table.from_pylist(PROCESS), tmp_path / "all.parquet")
    assert prm_bench.load_solutions(str(tmp_path / "all.parquet")) == solutions


def test_prmbench_is_read_as_its_own_code_does(tmp_path):
    """Errors count from 1, those beyond the end are skipped, a repeated row once, originals are right."""
    found = prm_bench.load_solutions(write(tmp_path / "prmbench.jsonl", PRM))
    assert [(s.solution_id, s.subset, s.first_error, s.wrong) for s in found] == [
        ("correct_q1", "correct", -1, frozenset()),
        ("redundency_q1", "redundency", 1, {1}),
        ("circular_q1", "circular", 1, {1}),
    ]
    assert found[0].problem.text == "What is 2 + 2?" and found[1].problem.text == "What is 2 + 2, twice?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, r"row 1: field label must be the index of one of 3 steps, or -1, got 3"),
        ({"label": True}, "field label"),
        ({"label": None}, "field label"),
        ({"steps": []}, "field steps must be a list of steps"),
        ({"steps": ["a", 1]}, "field steps"),
        ({"id": None}, "field id must be text"),
        ({"problem": " "}, "field problem must be text"),
    ],
)
def test_a_row_that_is_none_is_named(changes, message, tmp_path):
    with pytest.raises(ProblemError, match=message):
        prm_bench.load_solutions(write(tmp_path / "x.jsonl", [PROCESS[0] | changes]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "[1]", "row 1: an object is wanted"),
        ("x.json", "[", "cannot be read"),
        ("x.json", "[]", "holds no solution"),
        ("x.parquet", "no", "cannot be read"),
        ("x.jsonl", json.dumps(PROCESS[0]) + "\n" + json.dumps(PROCESS[0]), "'gsm8k-0' was used before"),
    ],
)
def test_a_file_that_is_none_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ProblemError, match=message):
        prm_bench.load_solutions(str(tmp_path / name))
    for unknown in (str(tmp_path / "nowhere.json"), "SomeBench"):
        with pytest.raises(ProblemError, match=r"no file|no set of marked solutions"):
            prm_bench.load_solutions(unknown)


# --- the whole ---

FOUND = {  # of gsm8k and math alike: passes, names the error, too early, too strict
    0: [0.9, 0.9, 0.9],
    1: [0.4, 0.9, 0.9],
    2: [0.9, 0.4, 0.1],
    3: [0.9, 0.45, 0.9],
}


def scored(rows=PROCESS):
    return [{"id": row["id"], "scores": FOUND[int(row["id"][-1])]} for row in rows]


def test_a_bench_by_hand(process, tmp_path):
    solutions = prm_bench.load_solutions(str(process))
    found = prm_bench.read_scores(tmp_path / write(tmp_path / "scores.jsonl", scored()))
    result = prm_bench.bench(solutions, found)
    table = result.accuracies.pivot(index="subset", columns="measure", values="estimate")
    assert table.loc["gsm8k", ["error", "correct", "F1"]].tolist() == [0.5, 0.5, 0.5]
    assert table.loc["all", "F1"] == table.loc["mean of subsets", "F1"] == 0.5
    assert result.verdicts["too early"].tolist() == [0.5] * 3 and result.unscored == 0
    chosen = prm_bench.bench(solutions, found, choose_on="gsm8k")
    # .25 lets the fourth pass and names the error of the third, .425 that of the second: the lowest is taken.
    assert chosen.chosen_on == "gsm8k" and chosen.threshold == pytest.approx(0.25)
    assert chosen.accuracies["subset"].unique().tolist() == ["math"]
    assert chosen.accuracies["estimate"].tolist() == pytest.approx([0.5, 1.0, 2 / 3])
    del found["math-1"]
    assert prm_bench.bench(solutions, found).unscored == 1
    with pytest.raises(ProblemError, match=r"no solution of subset 'aime' has scores; there is gsm8k, math"):
        prm_bench.bench(solutions, found, choose_on="aime")
    with pytest.raises(ProblemError, match="'gsm8k-0': 1 scores for 3 steps"):
        prm_bench.bench(solutions, {"gsm8k-0": (0.5,)})
    with pytest.raises(ProblemError, match="no solution that could be reported on"):
        prm_bench.bench(solutions, {})


def run(*words):
    return CliRunner().invoke(cli.app, ["prm-bench", *map(str, words)])


def test_the_command_judges_a_file_of_scores(process, tmp_path):
    rows = [{**row, "rewards": FOUND[int(row["id"][-1])]} for row in PROCESS]
    path = write(tmp_path / "theirs.jsonl", rows)
    result = run("--dataset", process, "--scores", path, "--field", "rewards", "--choose-on", "gsm8k")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "threshold 0.25 (chosen on gsm8k, which is left out)" in result.stdout
    assert "F1 66.7" in result.stdout and "AUC" in result.stdout and "PRMScore" in result.stdout
    refused = run("--dataset", process, "--scores", path)
    assert refused.exit_code == 2 and "field scores must list scores in [0, 1], got None" in refused.stderr
    assert run("--dataset", process).exit_code == 2
    assert run("--dataset", process, "--scores", tmp_path / "no.jsonl").exit_code == 2


def test_a_live_prm_is_scored_once_and_goes_on(process, tmp_path, monkeypatch):
    asked = []

    class Live:
        name, num_params, revision, settings = "live", 0, "r1", "s1"

        def score(self, trajectories):
            asked.extend(trajectories)
            return [
                TOO_LONG if t.problem.problem_id == "math-3" else StepScores((0.9,) * len(t.steps), 1)
                for t in trajectories
            ]

    monkeypatch.setattr(prms, "load_prm", lambda *_, **__: Live())
    monkeypatch.chdir(tmp_path)
    words = ["--dataset", process, "--prm", "live", "--batch-size", 3]
    first = run(*words, "--limit", 2)
    assert first.exit_code == 0, (first.output, first.exception)
    assert len(asked) == 4
    kept = tmp_path / "prm-bench" / "ProcessBench-live.jsonl"
    kept.write_bytes(kept.read_bytes()[:-20])  # stopped in the middle of a line
    whole = run(*words)
    assert whole.exit_code == 0 and len(asked) == 4 + 5 and "1 solutions have no scores" in whole.stdout
    assert run(*words).stdout == whole.stdout and len(asked) == 9
    assert len(prm_bench.read_scores(kept)) == 8  # others can use it
    Live.revision = "r2"
    refused = run(*words)
    assert refused.exit_code == 2 and "choose another file with --out" in refused.stderr


def test_any_prm_can_be_held_against_it(process):
    solutions = prm_bench.load_solutions(str(process))
    results = fakes.FakePRM().score([s.trajectory for s in solutions])
    result = prm_bench.bench(
        solutions, {s.solution_id: r.scores for s, r in zip(solutions, results, strict=True)}
    )
    assert result.steps["right_steps"].tolist() == [8, 8, 16] and result.steps["wrong_steps"].tolist() == [
        2,
        2,
        4,
    ]
