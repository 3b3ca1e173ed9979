"""Loading problem sets."""

from __future__ import annotations

import json
import sys
import types

import pytest

from tests import fakes
from tts_utils.answers import grade
from tts_utils.data_folder import dataset_name
from tts_utils.problems import ProblemError, fingerprint, load_problems


def write(folder, *rows, name="mine.jsonl"):
    path = folder / name
    path.write_text(
        "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8"
    )
    return str(path)


GOOD = {"problem_id": "a", "problem": "What is 6 * 7?", "answer": "42"}


def test_every_field_and_the_rest_into_meta(tmp_path):
    row = {
        **GOOD,
        "level": 3,
        "subject": "Algebra",
        "solution": "It is 42.",
        "given": [6, 7],
        "template": "times",
    }
    (problem,) = load_problems(write(tmp_path, row))
    assert (problem.problem_id, problem.text, problem.answer) == ("a", "What is 6 * 7?", "42")
    assert (problem.level, problem.subject, problem.solution) == (3, "Algebra", "It is 42.")
    assert problem.meta == {"given": [6, 7], "template": "times"}


def test_other_names_of_fields(tmp_path):
    row = {
        "unique_id": "test/1.json",
        "question": "6 * 7?",
        "solution": r"So \boxed{42}.",
        "level": "Level 5",
        "type": "X",
    }
    (problem,) = load_problems(write(tmp_path, row))
    assert (problem.problem_id, problem.text, problem.answer) == ("test/1.json", "6 * 7?", "42")
    assert (problem.level, problem.subject, problem.meta) == (5, "X", {})


def test_numbers_as_answers_and_ids_and_zero_too(tmp_path):
    first, second = load_problems(write(tmp_path, {**GOOD, "id": 7, "problem_id": None, "answer": 0}, GOOD))
    assert (first.problem_id, first.answer, first.level) == ("7", "0", 0)
    assert second.problem_id == "a"


def test_ids_are_made_up_where_there_are_none(tmp_path):
    rows = [{"problem": "p", "answer": "1"}, {"problem": "q", "answer": "2"}]
    assert [p.problem_id for p in load_problems(write(tmp_path, *rows))] == ["mine-0001", "mine-0002"]


def test_line_separators_inside_a_text_do_not_cut_it(tmp_path):
    path = write(tmp_path, json.dumps({**GOOD, "problem": "one\u2028two\x85three"}, ensure_ascii=False), "")
    assert load_problems(path)[0].text == "one\u2028two\x85three"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GOOD, "answer": None}, ["line 2", "no answer", "'answer'"]),
        ({**GOOD, "answer": "  "}, ["line 2", "no answer"]),
        ({**GOOD, "answer": "", "solution": "I do not know."}, ["line 2", "no answer", "solution"]),
        ({**GOOD, "problem": ""}, ["line 2", "no text"]),
        ({"id": "a", "answer": "1"}, ["line 2", "no text", "'problem'"]),
        ({**GOOD, "problem": 7}, ["line 2", "problem or question", "7"]),
        ({**GOOD, "level": "hard"}, ["line 2", "level", "'hard'"]),
        ({**GOOD, "level": 6}, ["line 2", "level", "6"]),
        ({**GOOD, "problem_id": "z"}, ["line 2", "'z'", "line 1"]),
        ("{not json", ["line 2", "not JSON"]),
        ("[1, 2]", ["line 2", "list"]),
    ],
)
def test_bad_lines_are_named(tmp_path, row, words):
    path = write(tmp_path, {**GOOD, "problem_id": "z"}, row)
    with pytest.raises(ProblemError) as error:
        load_problems(path)
    assert all(word in str(error.value) for word in [path, *words])


def test_empty_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(ProblemError, match="holds no problem"):
        load_problems(write(tmp_path, ""))
    with pytest.raises(ProblemError, match="no problem file"):
        load_problems(str(tmp_path / "absent.jsonl"))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProblemError, match="not UTF-8"):
        load_problems(str(tmp_path / "bytes.jsonl"))


def test_sets_under_data_and_the_unknown_one(tmp_path):
    (tmp_path / "problems").mkdir()
    write(tmp_path / "problems", GOOD, name="lab-9.jsonl")
    assert load_problems("lab-9", data=tmp_path)[0].answer == "42"
    with pytest.raises(ProblemError, match=r"'lab-8'.*AIME24, AMC23, GSM8K, MATH-500, OlympiadBench, lab-9"):
        load_problems("lab-8", data=tmp_path)
    with pytest.raises(ProblemError, match="unknown data set"):
        load_problems("..", data=tmp_path)


@pytest.mark.parametrize(
    ("name", "repo", "split"),
    [
        ("MATH-500", "HuggingFaceH4/MATH-500", "test"),
        ("AIME24", "HuggingFaceH4/aime_2024", "train"),
        ("a/b", "a/b", "only"),
    ],
)
def test_hub_data_sets(tmp_path, monkeypatch, name, repo, split):
    asked = []

    def load_dataset(wanted):
        asked.append(wanted)
        return {split: [{"id": 60, "problem": "6 * 7?", "answer": "42"}]}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    (problem,) = load_problems(name, data=tmp_path)
    assert asked == [repo] and (problem.problem_id, problem.answer) == ("60", "42")


def test_hub_errors_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ProblemError, match="pip install datasets"):
        load_problems("MATH-500", data=tmp_path)

    def offline(_):
        raise ConnectionError("offline")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=offline))
    with pytest.raises(ProblemError, match=r"'a/b'.*offline"):
        load_problems("a/b", data=tmp_path)


def test_a_local_copy_of_a_hub_set_comes_first(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "problems").mkdir()
    write(tmp_path / "problems", GOOD, name="MATH-500.jsonl")
    assert len(load_problems("MATH-500", data=tmp_path)) == 1


def test_dataset_name():
    assert dataset_name("some/where/mine.jsonl") == "mine"
    assert dataset_name("owner/name") == "owner/name"


def test_fingerprint_sees_text_answer_and_id_and_no_order():
    base = fakes.problems(3)
    assert fingerprint(base) == fingerprint(base[::-1])
    assert len({fingerprint(base), fingerprint(base[:2]), fingerprint(fakes.problems(3, prefix="q"))}) == 3


def test_an_identifier_that_no_table_can_store_is_refused(tmp_path):
    with pytest.raises(ProblemError, match=r"line 2.*'\\ud83d'.*surrogate"):
        load_problems(write(tmp_path, GOOD, {**GOOD, "problem_id": "\ud83d"}))


# Files as their data sets write them, two rows each, reduced.
LAYOUTS = {
    "GSM8K": [
        {
            "question": "Ann has 2 apples and buys 3. How many has she?",
            "answer": "Ann has 2 + 3 = <<2+3=5>>5 apples.\n#### 5",
        },
        {
            "question": "What do 1,100 pens at $2 cost?",
            "answer": "They cost 1,100 * 2 = <<1100*2=2200>>2,200.\n#### 2,200",
        },
    ],
    "MATH-500": [
        {
            "problem": "Convert $(0,3)$ to polar coordinates.",
            "solution": "We have $r = 3$, so $\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}$",
            "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/807.json",
        },
        {
            "problem": "p and q?",
            "solution": "So \\boxed{p - q}.",
            "answer": "p - q",
            "subject": "Intermediate Algebra",
            "level": 5,
            "unique_id": "test/intermediate_algebra/1994.json",
        },
    ],
    "AIME24": [
        {
            "id": 60,
            "problem": "Every morning ...",
            "solution": "... \\boxed{204}",
            "answer": "204",
            "url": "https://example.org/1",
            "year": "2024",
        },
        {
            "id": 61,
            "problem": "Let ...",
            "solution": "... \\boxed{025}",
            "answer": "025",
            "url": "https://example.org/2",
            "year": "2024",
        },
    ],
    "AMC23": [
        {"id": 0, "question": "Cities A and B ...", "answer": 27.0, "url": "https://example.org/3"},
        {"id": 1, "question": "How many ...?", "answer": 36.0, "url": "https://example.org/4"},
    ],
    "OlympiadBench": [
        {
            "id": 1606,
            "subfield": "Algebra",
            "context": None,
            "question": "Find all x.",
            "solution": ["First way.", "Second way."],
            "final_answer": ["$-1,7$"],
            "is_multiple_answer": True,
            "unit": None,
            "answer_type": "Numerical",
            "error": None,
        },
        {
            "id": 1610,
            "subfield": "Geometry",
            "question": "How long is it?",
            "solution": ["It is."],
            "final_answer": ["$\\frac{1}{2}$"],
            "is_multiple_answer": False,
            "unit": "m",
            "answer_type": "Numerical",
            "error": None,
        },
    ],
    "the authors' AMC": [
        {"problem": "Cities A and B ...", "solution": 27.0},
        {"problem": "Two.", "solution": "x", "extracted_groundtruth": "4"},
    ],
}
RIGHT = {
    "GSM8K": ("5", "2200"),
    "MATH-500": ("(3, \\pi/2)", "-q+p"),
    "AIME24": ("204", "25"),
    "AMC23": ("27", "36"),
    "OlympiadBench": ("7, -1", "0.5"),
    "the authors' AMC": ("27", "4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_documented_layout_loads_and_counts_right(tmp_path, layout):
    pytest.importorskip("math_verify")
    loaded = load_problems(write(tmp_path, *LAYOUTS[layout]))
    assert [grade(answer, p.answer) for answer, p in zip(RIGHT[layout], loaded, strict=True)] == [True, True]
    assert not any(grade("123456", p.answer) for p in loaded)


def test_the_worked_solution_of_gsm8k_is_kept_as_solution(tmp_path):
    (problem, _) = load_problems(write(tmp_path, *LAYOUTS["GSM8K"]))
    assert problem.answer == "5" and problem.solution.startswith("Ann has 2 + 3")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (["1", "2"], ["several values", '"1, 2"']),
        ({"value": "5"}, ["dict", "5"]),
        (True, ["True", "no final answer"]),
        (float("nan"), ["nan", "no final answer"]),
        (float("inf"), ["inf", "no final answer"]),
        ("First we add.\nThen we are done.", ["2 lines", "solution"]),
        ("9" * 10_001, ["10,001", "10,000"]),
        ([], ["several values"]),
        ([True], ["True"]),
    ],
)
def test_a_gold_that_is_no_answer_is_refused(tmp_path, answer, words):
    path = write(tmp_path, {**GOOD, "problem_id": "z"}, {**GOOD, "answer": answer})
    with pytest.raises(ProblemError) as error:
        load_problems(path)
    assert all(word in str(error.value) for word in [path, "line 2", "answer", *words])


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (["5"], "5"),
        (27.0, "27"),
        (2.5, "2.5"),
        ("So it is $\\boxed{5}$.", "5"),
        ("\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\  2 \\end{pmatrix}"),
    ],
)
def test_a_gold_is_read_for_what_it_is(tmp_path, answer, read):
    assert load_problems(write(tmp_path, {**GOOD, "answer": answer}))[0].answer == read


def test_levels_as_pandas_writes_them_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\ufeff" + json.dumps({**GOOD, "level": 5.0}), encoding="utf-8")
    assert load_problems(str(path))[0].level == 5


def test_sizes_are_limited_by_name(tmp_path):
    with pytest.raises(ProblemError, match=r"1,000,001 characters.*limit, 1,000,000"):
        load_problems(write(tmp_path, {**GOOD, "problem": "x" * 1_000_001}))
    with pytest.raises(ProblemError, match=r"line 1.*not JSON"):
        load_problems(write(tmp_path, "[" * 100_000))


def test_a_hub_set_names_its_configuration_and_split(monkeypatch, tmp_path):
    asked = []

    def load_dataset(*wanted):
        asked.append(wanted)
        if wanted == ("openai/gsm8k",):
            raise ValueError("Config name is missing. Please pick one among the available configs")
        return {"train": [{**GOOD, "id": 1}], "validation": [{**GOOD, "id": 2}]}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    (problem,) = load_problems("openai/gsm8k+main+validation", data=tmp_path)
    assert asked == [("openai/gsm8k", "main")]
    assert problem.meta["source"] == "openai/gsm8k, configuration main, split validation"
    with pytest.raises(ProblemError, match="train, validation: name one"):
        load_problems("a/b", data=tmp_path)
    with pytest.raises(ProblemError, match="no split 'test'"):
        load_problems("a/b++test", data=tmp_path)
    with pytest.raises(ProblemError, match=r"openai/gsm8k\+CONFIGURATION"):
        load_problems("openai/gsm8k", data=tmp_path)
