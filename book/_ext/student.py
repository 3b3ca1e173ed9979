"""Sphinx extension: an edition without solutions, where the environment variable TTS_STUDENT is set.

Solutions are cells whose id says so (``02-solution-scores``). They are taken out before a page is read, and
out of every copy of a notebook that the built book offers for download. The page for teachers, which answers
exam questions, says that it is theirs; the preface promises no solutions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SOLUTION = "-solution-"
TEACHERS = ("book/teaching",)
FOR_TEACHERS = (
    "# For teaching\n\nPlans, exam questions and their answers are in the teacher's edition of this book.\n"
)
PREFACE = "book/preface"
PROMISE, INSTEAD = "and a folded solution", "and a solution that your teacher has"
PLACE = {
    "cell_type": "markdown",
    "metadata": {},
    "source": ["*Your teacher has the solution.*\n"],
}


def without_solutions(notebook: str) -> str:
    """Return a notebook's JSON with a line in the place of every solution."""
    content = json.loads(notebook)
    content["cells"] = [
        PLACE | {"id": cell["id"]} if SOLUTION in cell.get("id", "") else cell for cell in content["cells"]
    ]
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def for_students(page: str, text: str) -> str:
    """Return what students read of a page that is no notebook."""
    if page in TEACHERS:
        return FOR_TEACHERS
    return text.replace(PROMISE, INSTEAD) if page == PREFACE else text


def hide(app: Sphinx, page: str, source: list[str]) -> None:
    """Take the solutions out of a page that is about to be read."""
    if app.env.doc2path(page).endswith(".ipynb"):
        source[0] = without_solutions(source[0])
    else:
        source[0] = for_students(page, source[0])


def hide_in_downloads(app: Sphinx, exception: Exception | None) -> None:
    """Take them out of the copies of sources that lie beside the pages."""
    if exception is None:
        for page in (*TEACHERS, PREFACE):
            for path in Path(app.outdir).rglob(f"{page}.md*"):
                path.write_text(for_students(page, path.read_text(encoding="utf-8")), encoding="utf-8")
        for path in Path(app.outdir).rglob("*.ipynb"):
            path.write_text(without_solutions(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register with Sphinx, in the student edition only."""
    if os.environ.get("TTS_STUDENT"):
        app.connect("source-read", hide)
        app.connect("build-finished", hide_in_downloads)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
