"""Slides of one lecture, made of cells of the built lessons: python book/slides.py (or: make slides).

``book/slides.toml`` lists the slides: a heading, and the cells whose text or output it shows. The outputs are
those that the book was built with, so a figure on a slide is the figure of the lesson. One HTML file and the
book's own script for charts; no network. Keys: arrows, space, Home, End.
"""

from __future__ import annotations

import html
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = ROOT / "book" / "_build" / "jupyter_execute" / "notebooks"
TARGET = ROOT / "book" / "_build" / "html" / "slides.html"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><script src="_static/vega.js"></script>
<style>
  body {{ margin: 0; font: 1.35rem/1.45 system-ui, sans-serif; background: #fff; color: #1b1b1b; }}
  section {{ display: none; box-sizing: border-box; min-height: 100vh; padding: 5vh 8vw; }}
  section.on {{ display: block; }}
  h1, h2 {{ font-size: 2rem; margin: 0 0 1.5rem; }}
  table {{ border-collapse: collapse; }}
  td, th {{ padding: .25em .8em; border-bottom: 1px solid #ccc; text-align: left; }}
  pre {{ font-size: 1rem; white-space: pre-wrap; background: #f4f4f2; padding: .8em; }}
  blockquote {{ border-left: .3em solid #125a9c; margin-left: 0; padding-left: 1em; }}
  footer {{ position: fixed; right: 2vw; bottom: 1.5vh; font-size: .9rem; color: #666; }}
</style></head><body>
{slides}
<footer aria-live="polite"></footer>
<script>
  const slides = [...document.querySelectorAll("section")], foot = document.querySelector("footer");
  let at = Math.min(Math.max(parseInt(location.hash.slice(1)) - 1 || 0, 0), slides.length - 1);
  function show(i) {{
    slides[at].classList.remove("on");
    at = Math.min(Math.max(i, 0), slides.length - 1);
    slides[at].classList.add("on");
    foot.textContent = (at + 1) + " / " + slides.length;
    history.replaceState(null, "", "#" + (at + 1));
    window.dispatchEvent(new Event("resize"));
  }}
  addEventListener("keydown", e => {{
    if (e.target.closest("select, input")) return;
    const moves = {{ ArrowRight: at + 1, " ": at + 1, PageDown: at + 1, ArrowLeft: at - 1, PageUp: at - 1,
                    Home: 0, End: slides.length - 1 }};
    if (e.key in moves) {{ e.preventDefault(); show(moves[e.key]); }}
  }});
  show(at);
</script></body></html>
"""


class SlideError(ValueError):
    """A slide names a lesson or a cell that is not there."""


def cells_of(lesson: str) -> dict[str, dict[str, Any]]:
    """The cells of an executed lesson by their ids.

    Raises:
        SlideError: the lesson is not in the built book.
    """
    path = EXECUTED / f"{lesson}.ipynb"
    if not path.is_file():
        raise SlideError(f"{path} is missing: build the book first (make book)")
    return {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def rendered(cell: dict[str, Any], code: bool) -> str:
    """A cell as HTML: its text without its heading, or what it printed and drew, and its code on request."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        hidden = ("#", "<details", "</details", "<!--")
        return markdown.render("\n".join(line for line in source.splitlines() if not line.startswith(hidden)))
    parts = [f"<pre>{html.escape(source)}</pre>"] if code else []
    for output in cell["outputs"]:
        data = {
            kind: "".join(text) for kind, text in output.get("data", {}).items() if kind.startswith("text")
        }
        if "text/markdown" in data:
            parts.append(markdown.render(data["text/markdown"]))
        elif "text/html" in data:
            parts.append(data["text/html"])
        else:
            text = data.get("text/plain") or "".join(output.get("text", ""))
            parts.append(f"<pre>{html.escape(text)}</pre>")
    return "\n".join(parts)


def page(plan: dict) -> str:
    """The slides as one page.

    Raises:
        SlideError: a lesson or a cell is missing.
    """
    slides = [
        f"<section><h1>{html.escape(plan['title'])}</h1><p>{html.escape(plan['subtitle'])}</p></section>"
    ]
    for slide in plan["slides"]:
        cells = cells_of(slide["lesson"])
        parts = [f"<h2>{html.escape(slide['heading'])}</h2>"]
        for name in slide["cells"]:
            if name not in cells:
                raise SlideError(f"{slide['lesson']} has no cell {name!r}; change book/slides.toml")
            parts.append(rendered(cells[name], slide.get("code", False)))
        slides.append("<section>" + "\n".join(parts) + "</section>")
    return PAGE.format(title=html.escape(plan["title"]), slides="\n".join(slides))


def main() -> int:
    """Write the slides, and say where."""
    plan = tomllib.loads((ROOT / "book" / "slides.toml").read_text(encoding="utf-8"))
    try:
        TARGET.write_text(page(plan), encoding="utf-8")
    except SlideError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{len(plan['slides']) + 1} slides in {TARGET.relative_to(ROOT)}: open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
