"""Every exercise of every lesson: the stub is not done, the solution passes, wrong answers get a reason."""

import importlib
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import notebooks
from tests.lesson_runs import LESSONS, exercises, run

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name[:2])


def wrong_answers(path: Path) -> list:
    return importlib.import_module(f"tests.wrong_answers.lesson_{path.name[:2]}").WRONG


EXERCISES = [(path, exercise) for path in LESSONS for exercise in exercises(path)]
WRONG = [(path, wrong) for path in LESSONS for wrong in wrong_answers(path)]


@each_lesson
def test_a_lesson_has_three_exercises_and_three_wrong_answers(path: Path) -> None:
    names = {exercise.name for exercise in exercises(path)}
    assert len(names) >= 3
    wrong = [answer.exercise for answer in wrong_answers(path)]
    assert len(wrong) >= 3
    assert set(wrong) == names, "every exercise has a wrong answer here, and none is of another lesson"


@each_lesson
def test_minutes_add_up_and_exercises_say_theirs(path: Path) -> None:
    """The title's minutes are those of the sections; the exercises' are said beside it."""
    text = "\n".join(
        notebooks.cell_source(cell)
        for cell in notebooks.load(path)["cells"]
        if cell["cell_type"] == "markdown"
    )
    lesson, exercise_part = text.split("\n## Exercises", 1)
    exercise_part = exercise_part.split("\n## ")[0]
    sections = [int(n) for n in re.findall(r"^## .* · (\d+) minutes", lesson, flags=re.M)]
    tiers = [int(n) for n in re.findall(r"^### .* · (\d+) minutes", exercise_part, flags=re.M)]
    said = re.search(r"\*\*(\d+) minutes, and (\d+) for the exercises", text.split("\n## ")[0])
    assert said, 'the title cell says "**NN minutes, and MM for the exercises"'
    assert (int(said[1]), int(said[2])) == (sum(sections), sum(tiers))
    assert 30 <= sum(sections) <= 45
    assert tiers == sorted(tiers)
    assert len(tiers) == len(exercises(path))


@pytest.mark.parametrize(("path", "exercise"), EXERCISES, ids=lambda value: getattr(value, "name", value))
def test_the_stub_is_not_done_and_the_solution_passes(path: Path, exercise) -> None:
    lesson = run(path)
    assert lesson.printed[exercise.cell].startswith("Not done yet")
    assert "Right" not in lesson.printed[exercise.cell]
    output = io.StringIO()
    with redirect_stdout(output):
        exec(exercise.solution, dict(lesson.namespace))
    assert "Right" in output.getvalue()


@pytest.mark.parametrize(
    ("path", "wrong"),
    WRONG,
    ids=[f"{path.name[:2]} {wrong.exercise}: {wrong.mistake}" for path, wrong in WRONG],
)
def test_a_wrong_answer_is_turned_down_with_the_reason(path: Path, wrong) -> None:
    check = next(exercise.check for exercise in exercises(path) if exercise.name == wrong.exercise)
    output = io.StringIO()
    with redirect_stdout(output), pytest.raises(AssertionError, match=wrong.message):
        run(path).namespace[check](wrong.answer)
    assert "Right" not in output.getvalue()
