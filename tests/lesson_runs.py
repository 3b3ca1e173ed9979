"""Runs a lesson's notebook once, in this process, and keeps what each cell printed and showed."""

from __future__ import annotations

import ast
import io
import os
import re
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import notebooks

ROOT = Path(__file__).resolve().parent.parent
LESSONS = [path for path in notebooks.lesson_paths(ROOT) if path.name[:2] < "90"]


@dataclass
class LessonRun:
    """What a lesson's cells left behind.

    Attributes:
        path: the notebook.
        namespace: the names at the end.
        printed, shown: by cell id, what it printed, and the value of its last line.
    """

    path: Path
    namespace: dict[str, Any] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)

    def execute(self, name: str, source: str, expected_to_fail: bool = False) -> None:
        """Run one cell."""
        tree, output = ast.parse(source), io.StringIO()
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        place = f"{self.path.name}:{name}"
        with redirect_stdout(output), chdir(self.path.parent):
            try:
                exec(compile(tree, place, "exec"), self.namespace)
                if last is not None:
                    self.shown[name] = eval(
                        compile(ast.Expression(last.value), place, "eval"), self.namespace
                    )
            except Exception:
                if not expected_to_fail:
                    raise
        self.printed[name] = output.getvalue()

    def text(self, name: str) -> str:
        """What a cell printed, and its last line's value as text."""
        value = self.shown.get(name)
        return self.printed.get(name, "") + ("" if value is None else str(value))


@cache
def run(path: Path) -> LessonRun:
    """Run all code cells of a notebook in order."""
    lesson = LessonRun(path)
    lesson.namespace |= {"__name__": "__main__", "display": lambda *things: print(*things)}
    environment = dict(os.environ)
    for cell in notebooks.load(path)["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].get("tags", ())
            lesson.execute(cell["id"], notebooks.cell_source(cell), "raises-exception" in tags)
    os.environ.clear()
    os.environ.update(environment)
    return lesson


def exercises(path: Path) -> list[SimpleNamespace]:
    """The exercises of a lesson: name, id of its cell, the check's name, the solution's code.

    An exercise is a code cell ``NN-exercise-NAME`` whose last line is ``check_something(answer)``, and a
    Markdown cell ``NN-solution-NAME`` with one folded block of Python.
    """
    cells = {cell["id"]: cell for cell in notebooks.load(path)["cells"]}
    found = []
    for name, cell in cells.items():
        match = re.fullmatch(r"\d\d-exercise-([a-z-]+)", name)
        if match and cell["cell_type"] == "code":
            call = re.search(r"^(check_\w+)\((\w+)\)\s*\Z", notebooks.cell_source(cell), re.M)
            assert call, f"{name}: the last line is check_something(answer)"
            (solution,) = notebooks.folded_code(cells[f"{path.name[:2]}-solution-{match[1]}"])
            found.append(SimpleNamespace(name=match[1], cell=name, check=call[1], solution=solution))
    return found
