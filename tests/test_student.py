"""The student edition: solutions are gone from pages, downloads and Markdown files, and nothing else is."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "book" / "_student" / "_build" / "html"
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import student  # noqa: E402

LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def solutions(path: Path) -> dict[str, str]:
    """The solutions of a lesson by the id of their cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if "-solution-" in cell["id"]}


def given(path: Path) -> str:
    """What a lesson itself says: the stubs of its exercises have lines that stand in solutions too."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if "-solution-" not in cell["id"])


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_solutions_go_and_everything_else_stays(path):
    before = json.loads(path.read_text(encoding="utf-8"))
    after = json.loads(student.without_solutions(path.read_text(encoding="utf-8")))
    assert [cell["id"] for cell in after["cells"]] == [cell["id"] for cell in before["cells"]]
    for old, new in zip(before["cells"], after["cells"], strict=True):
        assert (new == old) == ("-solution-" not in old["id"])
    text = json.dumps(after)
    assert all(json.dumps(solution)[1:-1] not in text for solution in solutions(path).values())


def test_the_built_edition_holds_no_solution():
    if not HTML.is_dir():
        pytest.skip("the student edition is not built (make book STUDENT=1)")
    files = [p for p in HTML.rglob("*") if p.suffix in (".html", ".ipynb", ".md", ".js", ".txt")]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    for lesson in LESSONS:
        for name, solution in solutions(lesson).items():
            # the longest line of code is what nobody writes by chance
            lines = {line.strip() for line in solution.splitlines() if len(line.strip()) > 30}
            lines = {line for line in lines if line not in given(lesson)}
            assert lines, f"{name} has no line of its own that could be looked for"
            for line in sorted(lines, key=len)[-2:]:
                found = [path for path, text in texts.items() if line in text]
                assert not found, f"{name}: {line!r} stands in {found[0]}"


def test_the_built_edition_answers_no_exam_question():
    if not HTML.is_dir():
        pytest.skip("the student edition is not built (make book STUDENT=1)")
    teaching = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    exam = teaching.partition("## An exam question")[2].partition("\n## ")[0]
    questions = [
        line.partition("*")[2].partition("*")[0][:40] for line in exam.splitlines() if line[:1].isdigit()
    ]
    assert len(questions) >= 13
    for path in HTML.rglob("*"):
        if path.suffix in (".html", ".md", ".txt") and "_static" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not [question for question in questions if question in text], path


def test_the_page_for_teachers_keeps_its_answers_from_students(tmp_path):
    answers = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    copies = [tmp_path / "book" / "teaching.md", tmp_path / "_sources" / "book" / "teaching.md.txt"]
    for copy in copies:
        copy.parent.mkdir(parents=True)
        copy.write_text(answers, encoding="utf-8")
    app = SimpleNamespace(outdir=tmp_path, env=SimpleNamespace(doc2path=lambda page: f"{page}.md"))
    source, other = [answers], ["# Preface"]
    student.hide(app, "book/teaching", source)
    student.hide(app, "book/preface", other)
    student.hide_in_downloads(app, None)
    assert "Ten samples, three right" in answers and other == ["# Preface"]
    assert not [text for text in (*source, *map(Path.read_text, copies)) if "samples" in text]


def test_the_preface_promises_no_solutions_to_students(tmp_path):
    text = (ROOT / "book" / "preface.md").read_text(encoding="utf-8")
    copies = [tmp_path / "book" / "preface.md", tmp_path / "_sources" / "book" / "preface.md.txt"]
    for copy in copies:
        copy.parent.mkdir(parents=True)
        copy.write_text(text, encoding="utf-8")
    app = SimpleNamespace(outdir=tmp_path, env=SimpleNamespace(doc2path=lambda page: f"{page}.md"))
    source = [text]
    student.hide(app, "book/preface", source)
    student.hide_in_downloads(app, None)
    for said in (*source, *(copy.read_text(encoding="utf-8") for copy in copies)):
        assert "folded solution" not in said
        assert len(said.splitlines()) == len(text.splitlines()) and "your teacher has" in said


def test_the_built_edition_promises_no_folded_solution():
    if not HTML.is_dir():
        pytest.skip("the student edition is not built (make book STUDENT=1)")
    files = [path for path in HTML.rglob("preface*") if path.suffix in (".html", ".md", ".txt")]
    assert len(files) >= 2
    for path in files:
        assert "folded solution" not in path.read_text(encoding="utf-8"), path
