"""Text that attacks its reader: the grader answers in time, the store keeps it, a page shows it."""

import functools
import json
import shutil
import subprocess
import time

import altair as alt
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import answers, charts, cli, mdp, store, voting
from tts_utils.answers.maths import PATIENCE
from tts_utils.records import Problem, SamplingConfig

TOWER = r"\boxed{9^{9^{9^9}}}"
SCRIPT = "</script><script>document.title = 'attacked'</script>"
HOSTILE = {
    "tower of powers": TOWER,
    "100 kB of open braces": "\\boxed{" + "{" * 100_000,
    "100 kB of balanced braces": "\\boxed{" + "{" * 50_000 + "}" * 50_000 + "}",
    "100 kB of closing braces": "}" * 100_000 + r"\boxed{1}",
    "nested boxes": r"\boxed{" * 2000 + "1" + "}" * 2000,
    "boxes one after another": r"\boxed{1}" * 10_000,
    "NUL": "a\0b\n\n\\boxed{\0}",
    "surrogates": "\ud83d alone \udc00\n\n\\boxed{\ud800}",
    "escape of the store": "\U0010fffd \U0010fffdd83d \\boxed{2}",
    "line separators": "a\u2028b\u2029c\x85d\r\n\r\ne\\boxed{3}",
    "right to left": "\u202e\\boxed{4}\u202c",
    "HTML": "<img src=x onerror=\"document.title = 'attacked'\"><b>\n\n\\boxed{<b>5</b>}",
    "script": f"{SCRIPT}\n\n\\boxed{{{SCRIPT}}}",
    "comment that opens a script": "<!-- <script>\n\n\\boxed{6}",
    "code": "\\boxed{__import__('os').system('touch attacked')}",
    "an SQL string": "'; DROP TABLE samples; -- \\boxed{7}",
    "a million characters": "x" * 1_000_000,
    "blank": " \n\n\t\n\n ",
    "empty": "",
}
needs_maths = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("math_verify"), reason="math-verify is not installed"
)


@pytest.mark.parametrize("name", HOSTILE)
def test_steps_join_to_the_text(name):
    assert "".join(mdp.split_steps(HOSTILE[name])) == HOSTILE[name]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_is_extracted_at_once(name):
    began = time.process_time()
    answer = answers.extract_answer(HOSTILE[name])
    answers.extract_answer(HOSTILE[name], last_number=True)
    assert time.process_time() - began < 2
    if name == "nested boxes":
        assert answer == "1"


@needs_maths
@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"nested boxes", "boxes one after another"}))
def test_the_grader_answers_within_its_limit(name):
    answer = answers.extract_answer(HOSTILE[name])
    answers.equivalent("1/2", "0.5")  # starts the process, which is not part of the limit
    began = time.monotonic()
    assert not answers.grade(answer, r"\frac{387}{2}")
    assert time.monotonic() - began < answers.TIME_LIMIT * PATIENCE + 3  # by the clock, on a busy machine
    assert answers.equivalent("1/2", "0.5")  # and the next question is answered


@needs_maths
@pytest.mark.parametrize(
    "answer", [r"\cupx", r"\cupThe answer", r"\cup\cupAnswer:", r"[1,2]\cupx", r"x\wedgey"]
)
def test_a_sign_of_union_that_runs_into_a_word_is_none(answer):
    """It ended in a RecursionError: the text had the sign and was never parted by it."""
    assert not answers.grade(answers.extract_answer(f"\\boxed{{{answer}}}"), r"\frac{387}{2}")


@needs_maths
def test_the_grader_is_not_asked_twice_about_what_is_beyond_it():
    answer = answers.extract_answer(TOWER)
    answers.grade(answer, "387")
    began = time.monotonic()
    for gold in range(388, 398):
        assert not answers.grade(answer, f"\\frac{{{gold}}}{{7}}")
    assert time.monotonic() - began < answers.TIME_LIMIT


@needs_maths
def test_text_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not answers.grade(answers.extract_answer(HOSTILE["code"]), "387")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Every hostile text as a stored sample of its own problem, with step scores."""
    data = tmp_path / "data"
    (data / "problems").mkdir(parents=True)
    problems = [Problem(f"p{i:02d} <b>", f"What is {name}?", "387") for i, name in enumerate(HOSTILE)]
    (data / "problems" / "hostile.jsonl").write_text(fakes.as_jsonl(problems), encoding="utf-8")
    monkeypatch.setenv("TTS_DATA", str(data))
    table = store.Table("samples", "hostile", "fake", SamplingConfig())
    for problem, text in zip(problems, HOSTILE.values(), strict=True):
        policy = fakes.Saying(name="fake", texts=(text,))
        store.fill_samples("hostile", policy, 1, table.sampling, only={problem.problem_id})
    store.fill_step_scores(table, fakes.FakePRM())
    return data


@needs_maths
def test_the_store_keeps_the_text_and_the_report_prints(stored):
    samples = store.read_samples("hostile", "fake")
    assert samples["text"].tolist() == list(HOSTILE.values())
    assert samples["answer"].tolist() == [answers.extract_answer(text) for text in HOSTILE.values()]
    assert store.verify() == []
    result = CliRunner().invoke(cli.app, ["report", "--dataset", "hostile"])
    assert result.exit_code == 0 and "pass@1" in result.output, (result.output, result.exception)
    assert "script" not in result.output


def test_names_do_not_end_the_script_that_holds_them():
    """Names of policies and rules come from folders and imported files."""
    frame = pd.DataFrame(
        {
            "budget": [1, 2, 1, 2],
            "accuracy": [0.1, 0.2, 0.3, 0.4],
            "low": [0.0] * 4,
            "high": [0.5] * 4,
            "n": [9] * 4,
            "rule": [SCRIPT, SCRIPT, "majority", "majority"],
            "policy": [f"{SCRIPT} {i % 2}" for i in range(4)],
        }
    )
    for menu in (None, "policy"):
        page = charts.accuracy_by_budget(frame, menu=menu).to_html()
        assert "document.title" in page and SCRIPT not in page
        assert page.count("</script>") == charts.accuracy_by_budget(
            frame.assign(rule="majority", policy="p"), menu=None
        ).to_html().count("</script>")


def inspected(text: str) -> tuple[alt.LayerChart, alt.LayerChart]:
    """The two charts that show a model's text."""
    text = pd.Series([text], dtype=object)  # as the store gives it; pandas' own strings hold no surrogate
    steps = pd.DataFrame({"sample": [0], "step": [1], "score": [0.5], "verdict": [None], "correct": [False]})
    tree = pd.DataFrame(
        {"depth": [1], "first": [0], "last": [1], "value": [0.5], "n": [1], "verdict": [None]}
    )
    return charts.step_inspector(steps.assign(text=text, answer=text)), charts.prefix_tree(
        tree.assign(text=text)
    )


MARKS = ("<script", "</script", "<!--")


@functools.cache
def marks_of_harmless_pages() -> list[list[int]]:
    """How often each of the marks stands in the pages of a text that has none."""
    return [[chart.to_html().lower().count(mark) for mark in MARKS] for chart in inspected("harmless")]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_with_the_text_has_only_its_own_scripts(name):
    for chart, expected in zip(inspected(HOSTILE[name]), marks_of_harmless_pages(), strict=True):
        page = chart.to_html().lower()
        assert dict(zip(MARKS, map(page.count, MARKS), strict=True)) == dict(
            zip(MARKS, expected, strict=True)
        )
        page.encode("utf-8")  # it can be written


def test_a_page_shows_the_text_itself():
    """Only an invisible word joiner is added, and only where HTML would take notice."""
    spec = json.dumps(inspected("a < b <p> </p>")[0].to_dict(), ensure_ascii=False)
    assert "a < b <p> <\N{WORD JOINER}/p>" in spec


@pytest.mark.browser
def test_a_browser_does_not_run_the_text(tmp_path):
    chromium = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium found")

    def dom(page: str) -> str:
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--proxy-server=127.0.0.1:9",
        ]
        options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
        command = [chromium, *options, (tmp_path / "page.html").as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=100).stdout

    title = "<title>attacked</title>"
    bare = alt.Chart(pd.DataFrame({"text": [SCRIPT]})).mark_text().encode(text="text:N").to_html()
    assert title in dom(bare)  # what the charts guard against
    for chart in inspected(SCRIPT):
        shown = dom(chart.to_html())
        assert "vegaEmbed" in shown and title not in shown


def test_votes_count_a_hostile_answer_like_any_other():
    assert voting.majority([SCRIPT, "7", SCRIPT, ""]) == SCRIPT
