"""The shipped lab samples keep their stored answers and verdicts, row by row, under today's grader."""

import pyarrow.parquet as pq
import pytest

from tts_utils import answers
from tts_utils.data_folder import clone_dir
from tts_utils.problems import load_problems

DATA = clone_dir()


def changed(dataset: str, sets: dict) -> tuple[int, list]:
    """How many rows a data set's tables of samples hold, and those whose answer or verdict is another now."""
    golds = {problem.problem_id: problem.answer for problem in load_problems(dataset, data=DATA)}
    rows, found = 0, []
    for path in sorted((DATA / "samples" / dataset).rglob("*.parquet")):
        table = pq.read_table(path)
        rows += table.num_rows
        names = ("problem_id", "sample", "text", "finish_reason", "answer", "correct")
        for problem, sample, text, reason, answer, correct in zip(
            *(table[name].to_pylist() for name in names), strict=True
        ):
            key = (text, reason, golds[problem])
            if key not in sets:
                now = "" if reason == "length" else answers.extract_answer(text)
                sets[key] = now, bool(now) and answers.grade(now, golds[problem])
            if sets[key] != (answer, correct):
                found.append((path.name, problem, sample, answer, correct, *sets[key]))
    return rows, found


def check(found: list) -> None:
    """Not one verdict is another; what was half of a box, "255}" and the like, is no answer any more."""
    assert [row for row in found if row[-1] is not row[-3]] == []
    for *_, answer, _, now, _ in found:
        assert now == "" and ("boxed" in answer or answer.count("{") != answer.count("}"))


def test_verdicts_of_the_small_set():
    rows, found = changed("lab-30", {})
    check(found)
    assert rows > 30_000 and len(found) <= 2


@pytest.mark.slow
def test_verdicts_of_every_set():
    rows, found = 0, []
    for dataset in ("lab-200", "lab-500"):
        count, some = changed(dataset, {})
        rows += count
        found += some
    check(found)
    assert rows > 500_000 and len(found) <= 12
