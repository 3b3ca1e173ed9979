"""The whole book as one PDF: python book/pdf.py (or: make pdf). Needs Chromium, and the book's environment.

All pages are rendered as one, made fit for paper, and printed by the browser: folds open, charts as still
pictures, a title page with the contents, page numbers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "book" / "_pdf" / "_build" / "singlehtml" / "book" / "preface.html"
STYLE = ROOT / "book" / "print.css"
TARGET = ROOT / "book" / "_build" / "book.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
PATIENCE = 90_000  # milliseconds of virtual time for the formulas
CHART = re.compile(
    r"<style>\s*#altair-viz-(?:(?!</style>).)*</style>\s*<div id=\"altair-viz-.*?"
    r'<noscript><img ([^>]*?) loading="lazy"></noscript>\s*<p class="chart-data">.*?</p>',
    re.DOTALL,
)
CHAPTER = re.compile(r'<span id="(document-[^"]+)"></span>.*?<h2>(.*?)<a class="headerlink"', re.DOTALL)
ARTICLE = re.compile(r'<article class="bd-article"[^>]*>')
VEGA = re.compile(r'<script src="[^"]*vega\.js[^"]*"></script>')


def printable(page: str, title: str, author: str, style: str) -> str:
    """The book's one page as it is printed.

    Args:
        page: the HTML that the builder ``singlehtml`` wrote.
        title, author: what the title page says.
        style: the style sheet for paper.

    Returns:
        The same page with folds open, charts as still pictures, a title page before it, always light.
    """
    page = VEGA.sub("", CHART.sub(r'<img class="chart" \1>', page))
    page = re.sub(r"<details(?![^>]*\sopen)", "<details open", page)
    page = re.sub(r'localStorage\.getItem\("(?:mode|theme)"\) \|\| "auto"', '"light"', page)
    page = page.replace(f'href="book/{PAGE.name}#', 'href="#')  # all pages are this one
    chapters = CHAPTER.findall(page)
    contents = "".join(f'<li><a href="#{escape(name)}">{words}</a></li>' for name, words in chapters)
    front = (
        f'<section class="title-page"><h1>{escape(title)}</h1><p>{escape(author)}</p>'
        f"<nav><ul>{contents}</ul></nav></section>"
    )
    page = ARTICLE.sub(lambda begin: begin[0] + front, page, count=1)
    return page.replace("</head>", f"<style>{style}</style></head>", 1)


def render() -> bool:
    """Let the book's builder write all pages as one; whether it did."""
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(ROOT)]
    command += ["--builder", "singlehtml", "--path-output", str(ROOT / "book" / "_pdf")]
    command += ["--config", str(ROOT / "book" / "_config.yml"), "--toc", str(ROOT / "book" / "_toc.yml")]
    return subprocess.run(command, cwd=ROOT).returncode == 0 and PAGE.is_file()


def print_page(browser: str, page: Path, target: Path) -> str:
    """Print a page into a PDF with bookmarks; returns what went wrong, or nothing."""
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [f"--user-data-dir={profile}", f"--virtual-time-budget={PATIENCE}"]
        command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--print-to-pdf={target}", page.as_uri()]
        printed = subprocess.run(command, capture_output=True, text=True)
    return "" if printed.returncode == 0 and target.is_file() else printed.stderr[-500:] or "no file"


def main() -> int:
    """Render, print, and say where the PDF lies."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        looked = ", ".join(BROWSERS)
        print(f"no browser found (looked for {looked}); Debian: apt-get install chromium", file=sys.stderr)
        return 1
    if not render():
        print(f"the book could not be rendered as one page: see above ({PAGE})", file=sys.stderr)
        return 1
    settings = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))
    made = printable(
        PAGE.read_text(encoding="utf-8"),
        settings["title"],
        settings["author"],
        STYLE.read_text(encoding="utf-8"),
    )
    paper = PAGE.parent.parent / "print.html"  # beside _static, which the page asks for from there
    paper.write_text(made, encoding="utf-8")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    if wrong := print_page(browser, paper, TARGET):
        print(f"{browser} could not print it: {wrong}", file=sys.stderr)
        return 1
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
