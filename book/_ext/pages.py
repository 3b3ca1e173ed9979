"""Sphinx extension: what a page says of itself to those who do not look at it.

Every page gets a description and Open Graph tags in its head, and a Markdown file of the same name beside it;
``llms.txt`` at the root lists them all in the form of https://llmstxt.org.
"""

import os
import re
from contextlib import suppress
from html import escape
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 200  # characters of a description: what previews show


def description(doctree: nodes.document) -> str:
    """Return the page's first paragraph of prose, cut behind a whole word."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section | nodes.document):
            text = " ".join(paragraph.astext().split())
            if len(text) > 40:  # not the line of badges
                return text if len(text) <= LONGEST else text[: text.rfind(" ", 0, LONGEST)] + "…"
    return ""


def as_markdown(source: Path, executed: Path) -> str:
    """Return a page as Markdown: a notebook with its code and the text its cells printed.

    The student edition's has no solutions; see the extension ``student``.

    Args:
        source: the page's source.
        executed: the same notebook with outputs; where it is missing, the source has to do.
    """
    if source.suffix != ".ipynb":
        return source.read_text(encoding="utf-8")
    notebook = nbformat.read(executed if executed.is_file() else source, as_version=4)
    student = bool(os.environ.get("TTS_STUDENT"))
    parts = []
    for cell in notebook.cells:
        if "remove-cell" in cell.metadata.get("tags", ()) or (student and "-solution-" in cell.get("id", "")):
            continue
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        if cell.source.strip():
            parts.append(f"```python\n{cell.source}\n```")
        printed = _printed(cell.outputs).strip("\n")
        if printed:
            parts.append(f"```text\n{printed}\n```")
    return "\n\n".join(parts) + "\n"


def fill(executed: Path, cache: str | Path) -> None:
    """Write outputs into the notebooks that the build left behind; a notebook that the cache lacks stays.

    Where outputs came from the cache, myst-nb writes the notebook without them. The slides read it too.
    """
    from jupyter_cache import get_cache

    held = get_cache(cache)
    for path in executed.rglob("*.ipynb"):
        with suppress(KeyError):
            _, notebook = held.merge_match_into_notebook(nbformat.read(path, as_version=4))
            nbformat.write(notebook, path)


def _printed(outputs: list) -> str:
    """What a cell printed and showed, as text.

    Where a stream came in parts, whoever read the notebook may have put all of it into the first part, and
    left the others where they were.
    """
    parts, first, rest = [], {}, {}
    for output in outputs:
        if output.output_type != "stream":
            text = output.get("data", {}).get("text/plain", "")
            parts.append("" if text.startswith(("alt.", "<")) else f"{text}\n")
        elif output.name not in first:
            first[output.name] = len(parts)
            parts.append(output.text)
        else:
            rest[output.name] = rest.get(output.name, "") + output.text
    for name, text in rest.items():
        if not parts[first[name]].endswith(text):
            parts[first[name]] += text
    return "".join(parts)


def add_tags(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Write the description of a page into its head, and keep it for the list."""
    if doctree is None:
        return
    title = re.sub(r"<[^>]+>", "", context.get("title", ""))
    said = description(doctree)
    app.env.page_descriptions[page] = (title, said)
    tags = {"og:title": title, "og:type": "article", "og:site_name": app.config.html_title}
    if said:
        tags["og:description"] = said
        context["metatags"] = context.get("metatags", "") + _tag("name", "description", said)
    context["metatags"] = context.get("metatags", "") + "".join(
        _tag("property", name, text) for name, text in tags.items() if text
    )


def _tag(kind: str, name: str, content: str) -> str:
    return f'\n<meta {kind}="{name}" content="{escape(content, quote=True)}" />'


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write the Markdown files and ``llms.txt``."""
    if exception or app.builder.format != "html" or app.config.edition:  # the sources are English
        return
    out = Path(app.outdir)
    fill(out.parent / "jupyter_execute", app.config.nb_execution_cache_path)
    order = ordered(app)
    lines = [f"# {app.config.html_title}", "", f"> {app.env.page_descriptions[app.config.root_doc][1]}", ""]
    lines += ["## Pages", ""]
    for page in order:
        target = out / f"{page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = Path(app.env.doc2path(page))
        target.write_text(
            as_markdown(source, out.parent / "jupyter_execute" / f"{page}.ipynb"), encoding="utf-8"
        )
        title, said = app.env.page_descriptions.get(page, (page, ""))
        lines.append(f"- [{title}]({page}.md)" + (f": {said}" if said else ""))
    (out / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ordered(app: Sphinx) -> list[str]:
    """All pages in the order of the table of contents."""
    found, waiting = [], [app.config.root_doc]
    while waiting:
        page = waiting.pop(0)
        if page not in found:
            found.append(page)
            waiting = app.env.toctree_includes.get(page, []) + waiting
    return found


def prepare(app: Sphinx) -> None:
    """Make room for the descriptions of this build."""
    app.env.page_descriptions = getattr(app.env, "page_descriptions", {})


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
