"""New problems for a course: another seed gives others, and none stands in a test set."""

from typer.testing import CliRunner

from tts_lab.__main__ import app
from tts_lab.problems import datasets
from tts_utils.problems import load_problems


def write(path, seed):
    return CliRunner().invoke(app, ["problems", "--seed", str(seed), "--count", "5", "--out", str(path)])


def test_problems_are_new_and_can_be_loaded(tmp_path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    assert write(one, 1).exit_code == 0 and write(two, 2).exit_code == 0
    first, second = (load_problems(str(path)) for path in (one, two))
    assert len(first) == len(second) == 5
    texts = {problem.text for problems in datasets().values() for problem in problems}
    assert not texts & {problem.text for problem in (*first, *second)}
    assert not {problem.text for problem in first} & {problem.text for problem in second}


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "mine.jsonl").write_text("precious")
    assert write(tmp_path / "mine.jsonl", 1).exit_code == 2
    assert (tmp_path / "mine.jsonl").read_text() == "precious"
