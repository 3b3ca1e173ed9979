"""Slides: every cell that the plan names is in its lesson; text is inert; what is missing is named."""

import json
import tomllib
from pathlib import Path

import pytest

import notebooks

pytest.importorskip("markdown_it")
import slides

ROOT = Path(__file__).resolve().parent.parent
PLAN = tomllib.loads((ROOT / "book" / "slides.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("slide", PLAN["slides"], ids=lambda slide: slide["heading"])
def test_the_cells_of_a_slide_are_in_its_lesson(slide):
    lesson = notebooks.load(ROOT / "notebooks" / f"{slide['lesson']}.ipynb")
    assert set(slide["cells"]) <= {cell["id"] for cell in lesson["cells"]}


def test_text_is_shown_and_cannot_do_anything():
    source = "## Heading\n\nIs 1 < 2? <script>alert(1)</script>\n\n<!-- numbers -->"
    text = {"cell_type": "markdown", "source": source.splitlines(keepends=True)}
    shown = slides.rendered(text, code=False)
    assert (
        "Heading" not in shown and "numbers" not in shown and "<script>" not in shown and "1 &lt; 2" in shown
    )
    outputs = [{"output_type": "stream", "text": ["<b>1</b>"]}]
    printed = {"cell_type": "code", "source": ["print(1)"], "outputs": outputs}
    assert "&lt;b&gt;1" in slides.rendered(printed, code=False)
    assert "print(1)" in slides.rendered(printed, code=True)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(slides, "EXECUTED", tmp_path)
    with pytest.raises(slides.SlideError, match="build the book first"):
        slides.page(PLAN)
    for slide in PLAN["slides"]:
        (tmp_path / f"{slide['lesson']}.ipynb").write_text(json.dumps({"cells": []}))
    with pytest.raises(slides.SlideError, match="has no cell '02-predict'"):
        slides.page(PLAN)
