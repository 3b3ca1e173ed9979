import doctest
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tts_utils import answers
from tts_utils.answers import equivalent, extract_answer, grade, group_answers
from tts_utils.answers import maths as _maths
from tts_utils.answers.maths import PATIENCE, MathProcess

ROOT = Path(answers.__file__).parent.parent.parent
needs_maths = pytest.mark.skipif(not _maths.find_spec("math_verify"), reason="math-verify is not installed")


@pytest.fixture
def no_process(monkeypatch):
    def fail(*_):
        raise AssertionError("the process must not start for this")

    monkeypatch.setattr(MathProcess, "_start", fail)
    monkeypatch.setattr(answers, "MATHS", MathProcess())


def test_doctests(no_process):
    assert doctest.testmod(answers).failed == 0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", ""),
        ("No answer here, only 12.", ""),
        ("so \\boxed{380}.", "380"),
        ("first \\boxed{1}, then \\boxed{2}.", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{ \\{1, 2\\} }", "\\{1, 2\\}"),
        ("\\boxed{\\left\\{ x \\right.}", "\\left\\{ x \\right."),  # an escaped brace is no brace
        ("\\boxed{\\boxed{5}}", "5"),
        ("\\boxed {5}", "5"),
        ("\\fbox{5}", "5"),
        ("\\boxed{7} and \\boxed{38", "7"),  # cut by the token limit: the last one with an end
        ("\\boxed{38", ""),
        ("\\boxed{7} in \\boxed{}", "7"),
        ("\\boxed{}", ""),
        ("} \\boxed{5}", "5"),
        ("The final answer is: $\\boxed{42}$. I hope it is correct.", "42"),
        (
            "\\boxed{1}. The final answer is $42$. I hope it is correct.",
            "42",
        ),  # this phrase comes before the box
        ("The final answer is $\\frac{1}{2}$. I hope so. \\boxed{3}", "\\frac{1}{2}"),
        ("The final answer is five. $3$. I hope so. \\boxed{3}", "3"),
        ("The answer is 3.5 metres. So we are done.", "3.5 metres"),
        ("The answer is $x + 1$, as said.", "x + 1"),
        ("the answer is: 12", "12"),
        ("The answer is \\boxed{4}", "4"),
        ("The answer is 3. No, the answer is **4**.", "4"),
        ("My final answer is 12.\nBye 5", "12"),
        ("The answer is\n\n12\n", "12"),
        ("The answer is", ""),
    ],
)
def test_extract_by_hand(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a 12 b -3.5.", "-3.5"),
        ("1,234, done", "1,234"),
        ("7 - 3-2", "2"),
        ("it is .5", ".5"),
        ("none", ""),
        ("\\boxed{7} 8", "7"),
        ("The answer is 6, not 8.", "6, not 8"),
    ],
)
def test_last_number_only_when_asked(text, answer):
    assert extract_answer(text, last_number=True) == answer


@given(st.text(max_size=60) | st.text(alphabet="\\boxed{}$ .5Ithefinalanswer", max_size=80))
def test_extract_takes_any_text(text):
    answer = extract_answer(text, last_number=True)
    assert answer == answer.strip()
    assert extract_answer(text + "\n\\boxed{17}").endswith("17") or "$. I hope" in text


def balanced(depth):
    return "x" if depth == 0 else "{" + balanced(depth - 1) + "}" + "y"


@given(st.integers(0, 20), st.text(alphabet="ab{}\\ ", max_size=20))
def test_boxed_content_comes_back(depth, before):
    text = before.replace("\\", "") + " \\boxed{" + balanced(depth) + "}"
    assert extract_answer(text) == balanced(depth)


def test_hostile_text_is_read_in_linear_time():
    start = time.process_time()
    assert extract_answer("\\boxed{" * 15_000) == ""
    assert extract_answer("\\boxed{" * 15_000 + "5" + "}" * 15_000) == "5"
    assert extract_answer("{" * 100_000 + "}" * 100_000) == ""
    extract_answer("final answer is $" * 6_000, last_number=True)
    extract_answer("$. I hope" * 10_000)
    extract_answer("9" * 100_000, last_number=True)
    extract_answer("9," * 50_000, last_number=True)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("380", "380", True),
        ("380", "381", False),
        ("007", "7", True),
        ("+7", "7", True),
        ("-0", "0", True),
        ("-7", "7", False),
        ("\N{MINUS SIGN}7", "-7", True),
        ("1,000", "1000", True),
        ("1{,}000", "1000", True),
        ("10\\,000", "10000", True),
        ("9" * 5000, "9" * 5000, True),  # beyond Python's limit on reading integers
        ("9" * 900 + "8", "9" * 901, False),
        ("$12$", "12", True),
        ("\\(12\\)", "12", True),
        ("12.", "12", True),
        ("\\boxed{12}", "12", True),
        ("x + 1", "x+1", True),
        ("\\left( 3, \\dfrac{1}{2} \\right)", "(3,\\frac{1}{2})", True),
        ("Friday", "dayFri", False),  # as products of letters they are equal
        ("\\text{Friday}", "friday", True),
        ("Friday", "5", False),
        ("3 8", "38", False),
        ("3 8", "11", False),  # math-verify adds them
        ("6_8", "6_7", False),  # math-verify forgets the base
        ("6_8", "6_{8}", True),
        ("x}\\boxed{5", "5", False),  # an answer cannot bring its own box
        ("{5", "5", False),
        ("", "5", False),
        ("", "", True),
    ],
)
def test_decided_without_the_process(a, b, same, no_process):
    assert equivalent(a, b) is same
    assert equivalent(b, a) is same


@needs_maths
@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("\\sqrt{8}", "2\\sqrt2", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x+1)^3", False),
        ("\\frac12", "0.5", True),
        ("1/3", "0.333", False),
        ("3.0", "3", True),
        ("x=5", "5", True),
        ("5, 6", "6,5", True),
        ("(5,6)", "(6,5)", False),
        ("5", "5,6", False),
        ("[0,\\infty)", "x \\ge 0", True),  # only one way round in math-verify
        ("90^\\circ", "90", True),
        ("\\$18", "18", True),
        ("4^\\frac{3}{2}", "8", True),
        ("4^\\frac{3}{2}", "\\frac{3}{2}", False),  # as math-verify reads it without braces
        ("2^-1", "0.5", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\4/2\\end{pmatrix}", True),
        ("\\frac{0}{0}", "5", False),
    ],
)
def test_equivalence_by_math_verify(a, b, same):
    assert equivalent(a, b) is same
    assert equivalent(b, a) is same


@given(st.text(max_size=30))
@example("{")
@example("\ud800")
def test_reflexive(text):
    assert equivalent(text, text)


@needs_maths
@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^9}}",
        "2^{10^9}",
        "(10^8)!",
        "{" * 450 + "5" + "}" * 450,
        "{" * 100_000,
        "\\sqrt{" * 60 + "}" * 60,
    ],
)
def test_hard_time_limit_in_a_thread(answer, monkeypatch):
    process = MathProcess()
    monkeypatch.setattr(answers, "MATHS", process)
    monkeypatch.setattr(answers, "TIME_LIMIT", 0.3)
    process.equal("x", "y", 60.0)  # starting is not part of the limit
    started = _spent_by(process)
    results = []

    def ask():
        start = time.perf_counter()
        results.append((equivalent(answer, "5"), time.perf_counter() - start))

    before = _spent_by_the_dead()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    process.stop()
    assert results[0][0] is False
    assert results[0][1] < 0.3 * PATIENCE + 2  # by the clock, however busy the machine is
    assert _spent_by_the_dead() - before - started < 1.3  # processor time


def _spent_by(process):
    """Processor seconds that the process has used so far."""
    fields = Path(f"/proc/{process._process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spent_by_the_dead():
    """Processor seconds of all processes of ours that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@needs_maths
def test_a_hopeless_answer_costs_the_limit_once():
    process = MathProcess()
    assert not process.equal("x", "y", 60.0)
    before = _spent_by_the_dead()
    assert not any(process.equal("9^{9^{9^9}}", str(i), 1.0) for i in range(50))
    assert _spent_by_the_dead() - before < 20  # not 50, and the start is in it
    assert process.equal("\\frac12", "0.5", 60.0)  # a new process, and no late reply of the old one
    process.stop()


@needs_maths
def test_killed_process_comes_back_with_the_right_answer():
    process = MathProcess()
    assert process.equal("\\frac12", "0.5", 60.0)
    process._process.kill()
    process._process.wait()
    assert process.equal("\\frac13", "1/3", 60.0)
    process.stop()


@needs_maths
def test_threads_take_turns():
    process = MathProcess()
    wrong = []

    def ask(i):
        if not process.equal(f"\\frac{{{i}}}{{2}}", f"{i / 2}", 60.0) or process.equal(
            f"\\frac{{{i}}}{{2}}", f"{i}.1", 60.0
        ):
            wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.stop()
    assert wrong == []


@needs_maths
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_its_own_process():
    assert equivalent("\\frac{1}{2}", "0.5")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(equivalent, [("\\frac{2}{4}", "0.50"), ("\\frac{3}{4}", "0.5")]) == [True, False]
    assert equivalent("\\frac{3}{6}", "0.5")


@needs_maths
def test_model_text_is_never_run(tmp_path):
    target = tmp_path / "made"
    for text in (
        f"__import__('os').mkdir('{target}')",
        f"\\text{{__import__('os').mkdir('{target}')}}",
        f"open('{target}','w')",
        f"(__import__('os').mkdir('{target}'))^2",
        f"f(x)=__import__(os).mkdir({target})",
    ):
        equivalent(text, "\\frac{5}{7}")
        assert not target.exists()


def test_importing_starts_nothing():
    code = "import sys, threading, tts_utils.answers as a; assert a.MATHS._process is None;"
    code += "assert threading.active_count() == 1;"
    code += (
        "assert not {'sympy', 'math_verify', 'torch'} & set(sys.modules); assert a.equivalent('12', '012')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@needs_maths
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_the_process_does_not_outlive_its_parent():
    code = "import os, signal; from tts_utils import answers as a; a.equivalent('x', '2x');"
    code += "print(a.MATHS._process.pid, flush=True);"
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    pid = int(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).stdout)

    def alive():
        try:
            return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return False

    for _ in range(100):
        if not alive():
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} still runs")


def test_missing_math_verify_says_what_to_do(monkeypatch):
    monkeypatch.setattr(_maths, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pip install math-verify"):
        MathProcess().equal("x", "2x", 1.0)


def test_grade():
    assert grade("380", "380")
    assert not grade("381", "380")
    assert not grade("", "380")
    assert not grade(" $ $ ", "380")
    with pytest.raises(ValueError, match="gold"):
        grade("380", " ")


def test_group_by_hand(no_process):
    assert group_answers(["12", "", "012", "7", "12.", " "]).tolist() == [0, -1, 0, 1, 0, -1]
    assert group_answers([]).tolist() == []
    assert group_answers(["", ""]).dtype.kind == "i"
    assert group_answers(["1/2", "0.5", "1 / 2"], by="string").tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="'meaning'"):
        group_answers(["1"], by="meaning")


@needs_maths
def test_group_by_equivalence():
    assert group_answers(["\\frac{10}{2}", "4", "5", "x", "5.0", "4"]).tolist() == [0, 1, 0, 2, 0, 1]


@given(st.lists(st.integers(-20, 20).map(str) | st.just(""), max_size=20))
def test_group_of_integers_is_their_values(texts):
    ids = group_answers(texts).tolist()
    order = list(dict.fromkeys(text for text in texts if text))
    assert ids == [order.index(text) if text else -1 for text in texts]


REAL = Path(os.environ.get("TTS_REAL_FILES", "nowhere"))


@needs_maths
@pytest.mark.skipif(
    not (REAL / "math500.jsonl").exists(), reason="set TTS_REAL_FILES to the folder with math500.jsonl"
)
def test_math_500_solutions_hold_their_answers():
    problems = [json.loads(line) for line in (REAL / "math500.jsonl").read_bytes().splitlines()]
    assert len(problems) == 500
    assert all(grade(extract_answer(p["solution"]), p["answer"]) for p in problems)
