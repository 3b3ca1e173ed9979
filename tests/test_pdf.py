"""The book on paper: folds open, charts still, nothing of the screen's furniture, a title page."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import pdf  # noqa: E402

STYLE = pdf.STYLE.read_text(encoding="utf-8")
SPEC = '{"layer": [], "datasets": {"a": [{"detail": "<details> is a word here"}]}}'
CHART = (
    "<style>\n  #altair-viz-ab12.vega-embed {\n    width: 100%;\n  }\n</style>\n"
    '<div id="altair-viz-ab12"></div>\n<script type="text/javascript">\n'
    f'  (function(spec){{ vegaEmbed(outputDiv, spec); }})({SPEC}, {{"mode": "vega-lite"}});\n</script>\n'
    '<noscript><img src="_static/charts/preface-1.svg" alt="A tree." loading="lazy"></noscript>\n'
    '<p class="chart-data"><a href="_static/charts/preface-1.csv" download>Data of this chart (CSV)</a></p>'
)
PAGE = f"""<html><head><script>
document.documentElement.dataset.mode = localStorage.getItem("mode") || "auto";
document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
</script><script src="_static/vega.js?v=1"></script></head><body><article class="bd-article">
<h1>Preface</h1><span id="document-notebooks/01-a"></span><section id="half">
<h2>How good is <em>half</em>?<a class="headerlink" href="#half">#</a></h2>
<details class="admonition hide above-input"><summary><p>Show code cell source</p></summary>
<pre>code</pre></details>
<p>See <a href="book/preface.html#half">below</a>.</p>
{CHART}
<details><summary>What to see</summary><p>An answer.</p></details>
{CHART}
</section></article></body></html>"""


def test_a_page_for_paper_has_open_folds_still_charts_and_a_title_page():
    made = pdf.printable(PAGE, "A & B", "Some people", STYLE)
    assert made.count("<details open") == made.count("<details") == 2
    assert made.count('<img class="chart" src="_static/charts/preface-1.svg" alt="A tree.">') == 2
    for gone in ("vegaEmbed", "vega.js", "altair-viz", "loading=", "<noscript>", "(CSV)", "localStorage"):
        assert gone not in made
    assert made.count('= "light"') == 2 and "An answer." in made
    front = made[made.index('<section class="title-page">') : made.index("<h1>Preface</h1>")]
    assert "<h1>A &amp; B</h1><p>Some people</p>" in front
    assert '<a href="#document-notebooks/01-a">How good is <em>half</em>?</a>' in front
    assert 'href="#half">below</a>' in made


def test_paper_has_page_numbers_and_neither_buttons_nor_scroll_bars():
    assert "counter(page)" in STYLE
    hidden = STYLE[: STYLE.index("display: none !important")].rpartition("*/")[2]
    assert {"details.hide > summary", ".copybtn", "footer"} <= set(re.split(r",\s*|\s*\{\s*", hidden.strip()))
    assert "overflow: auto" not in STYLE and "overflow-x" not in STYLE


@pytest.mark.browser
def test_the_printed_file_says_what_stood_in_folds_and_not_what_opened_them(tmp_path):
    browser = next(filter(None, map(shutil.which, pdf.BROWSERS)), None)
    reader = shutil.which("pdftotext")
    if browser is None or reader is None:
        pytest.skip("needs Chromium and pdftotext")
    page, target = tmp_path / "print.html", tmp_path / "book.pdf"
    page.write_text(pdf.printable(PAGE, "A book", "Some people", STYLE), encoding="utf-8")
    assert pdf.print_page(browser, page, target) == ""
    words = subprocess.run([reader, str(target), "-"], capture_output=True, text=True, check=True).stdout
    pages = [" ".join(text.split()) for text in words.split("\f")]
    assert "A book" in pages[0] and "Preface" in pages[1] and "How good is half?" in pages[2]
    assert "An answer." in words and "code" in words and "Show code cell source" not in words
    assert pages[1].endswith("2") and pages[2].endswith("3")
