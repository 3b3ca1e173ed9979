"""The lessons' sources are clean and agree; the built book asks no other server for anything."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import types
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

import execute
import links
import notebooks
import prm_tokens
import typed_numbers
from tests.lesson_runs import run

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "book" / "_build" / "html"
LESSONS = notebooks.lesson_paths(ROOT)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
ADDRESS = "https://github.com/someone/something"


def small_notebook(**changes: object) -> dict:
    """A clean notebook of one title, one setup cell and one code cell, with changes to the code cell."""
    markdown = {
        "cell_type": "markdown",
        "id": "07-title",
        "metadata": {},
        "source": ["# Why?\n", "\n", "Because."],
    }
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    setup = code | {"id": "07-setup", "source": ["pass"], "metadata": {"tags": ["remove-cell"]}}
    cells = [markdown, setup, code | {"id": "07-sum", "source": ["1 + 1"]} | changes]
    return {"cells": cells, "metadata": notebooks.METADATA, "nbformat": 4, "nbformat_minor": 5}


def write_notebook(folder: Path, name: str = "07-why.ipynb", **changes: object) -> Path:
    path = folder / name
    path.write_text(notebooks.dump(small_notebook(**changes)), encoding="utf-8")
    return path


# --- the checker itself


def test_a_clean_notebook_passes(tmp_path: Path) -> None:
    assert notebooks.book_problems([write_notebook(tmp_path)]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": [{"output_type": "stream", "name": "stdout", "text": ["2"]}]}, "has outputs"),
        ({"execution_count": 3}, "execution count"),
        ({"id": "3f9c2a7b"}, "unreadable id"),
        ({"id": "07-3f9c2a7b"}, "unreadable id"),
        ({"id": "07-1d0f6a0e-9d1c"}, "unreadable id"),
        ({"id": "08-sum"}, "does not start with the lesson's number"),
        ({"id": None}, "has no id"),
        ({"id": "07-title"}, "used 2 times"),
        ({"metadata": {"collapsed": True}}, "has metadata"),
        ({"metadata": {"tags": ["hide_input"]}}, "has tags"),
        ({"source": "1 + 1"}, "plain form"),
        ({"source": []}, "is empty"),
    ],
)
def test_an_unclean_cell_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    found = notebooks.book_problems([write_notebook(tmp_path, **changes)])
    assert any(message in problem for problem in found), found


def test_widget_state_and_ids_used_in_two_lessons_are_found(tmp_path: Path) -> None:
    first, second = write_notebook(tmp_path), write_notebook(tmp_path, "07-how.ipynb")
    assert "the cell id '07-sum' is used 2 times in the book" in notebooks.book_problems([first, second])
    notebook = small_notebook()
    notebook["metadata"] = notebook["metadata"] | {"widgets": {"state": {}}}
    first.write_text(notebooks.dump(notebook), encoding="utf-8")
    assert "07-why.ipynb: has widget state" in notebooks.notebook_problems(first)


def test_cleaning_removes_what_the_checker_complains_of(tmp_path: Path) -> None:
    dirty = small_notebook(
        outputs=[{}], execution_count=2, metadata={"collapsed": True, "tags": ["hide-input"]}
    )
    dirty["metadata"] = {"widgets": {}, "kernelspec": {"name": "mine"}}
    path = tmp_path / "07-why.ipynb"
    path.write_text(notebooks.dump(notebooks.cleaned(dirty)), encoding="utf-8")
    assert notebooks.book_problems([path]) == []
    assert notebooks.load(path)["cells"][2]["metadata"] == {"tags": ["hide-input"]}


def test_a_damaged_notebook_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "07-why.ipynb"
    path.write_text('{"cells": [')
    with pytest.raises(SystemExit, match=r"07-why\.ipynb: not a notebook"):
        notebooks.load(path)


def test_folded_code_is_found() -> None:
    folded = "<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\n</details>"
    text = f"Text\n\n{folded}\n\n```python\ny = 2\n```\n"
    assert notebooks.folded_code({"source": text}) == ["x = 1\n"]


# --- numbers typed into prose


def test_a_typed_result_is_found_and_a_marked_setting_is_not(tmp_path: Path) -> None:
    prose = {"cell_type": "markdown", "metadata": {}, "id": "07-read"}
    notebook = small_notebook()
    notebook["cells"].append(prose | {"source": ["PRM-Vote is right on 43.2 % of the 500 problems."]})
    path = tmp_path / "07-why.ipynb"
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    (problem,) = typed_numbers.notebook_problems(path)
    assert "07-read types 43.2, 500: let a cell say it" in problem
    text = "PRM-Vote is right on most of the 500 problems. <!-- numbers | setting: 500 -->"
    notebook["cells"][-1] = prose | {"source": [text]}
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    assert typed_numbers.notebook_problems(path) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5 of 17 end right", ["5", "17"]),
        ("of those, {n} of 8 end right", ["8"]),
        ("gains 3 points, or 2 times as much", ["3", "2"]),
        ("in two or 3 steps", []),
        ("Table 2 and Lesson 10, section 2.1; 45 minutes; `lab-500`, lab-500; the 95 % interval", []),
        ("$0.9^7$ is less than $58 \\cdot 5$", ["0.9", "58"]),
        ("```python\nx = 0.123\n```", []),
        ("[Liu et al. 2025](../book/bibliography.md#liu-et-al-2025)", []),
    ],
)
def test_numbers_that_need_a_mark(text: str, found: list[str]) -> None:
    assert typed_numbers.typed_numbers(text) == found


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("setting: 500, 64", "marks 64, which its prose does not have"),
        ("published: 500", "without its source"),
        ("guess: 500", "with a kind of"),
    ],
)
def test_a_mark_that_does_not_fit_is_an_error(mark: str, message: str) -> None:
    assert any(message in problem for problem in typed_numbers.prose_problems("on 500 problems", [mark]))


def test_numbers_typed_between_computed_ones_are_found_too() -> None:
    source = 'charts.say(f"of 500 problems **{share:.1%}**, and " f"{n} of 64")'
    assert typed_numbers.typed_numbers(typed_numbers.said(source)) == ["500", "64"]
    by_name = 'text = f"of {n}"\nif n:\n    text = "43.2 % of all"\ncharts.say(text)'
    assert typed_numbers.typed_numbers(typed_numbers.said(by_name)) == ["43.2"]


def test_the_book_types_no_results() -> None:
    assert [problem for path in LESSONS for problem in typed_numbers.notebook_problems(path)] == []


# --- addresses


def test_links_are_written_everywhere_and_then_stay() -> None:
    notebook = links.linked_notebook(small_notebook(), ADDRESS, "1.2", "07-why.ipynb")
    title, setup = (notebooks.cell_source(cell) for cell in notebook["cells"][:2])
    assert title == f"# Why?\n\n{links.badge(ADDRESS, '07-why.ipynb')}\n\nBecause."
    assert setup == links.setup_cell(ADDRESS, "1.2", "07-why.ipynb")
    assert links.linked_notebook(notebook, ADDRESS, "1.2", "07-why.ipynb") == notebook

    page = (
        "pip install https://github.com/a/b/releases/download/v0.9/tts_utils-0.9-py3-none-any.whl\n"
        "git clone https://github.com/a/b.git\n  url: https://github.com/a/b\n"
        "repository-code: https://github.com/a/b\nversion: 0.9\n"
        "[x](https://colab.research.google.com/github/a/b/blob/main/notebooks/01-x.ipynb)\n"
        "[their code](https://github.com/a/b)\n"
    )
    linked = links.linked_text(page, ADDRESS, "1.2")
    assert linked.count("someone/something") == 5 and "0.9" not in linked
    assert f"{ADDRESS}/releases/download/v1.2/tts_utils-1.2-py3-none-any.whl\n" in linked
    assert linked.endswith("version: 1.2\n" + linked.split("version: 1.2\n")[1])
    assert linked.endswith("[their code](https://github.com/a/b)\n")
    assert links.linked_text(linked, ADDRESS, "1.2") == linked


def run_setup_cell(monkeypatch: pytest.MonkeyPatch, returncode: int = 0) -> list[list[str]]:
    """Run the setup cell with commands recorded instead of run."""
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode)

    monkeypatch.setattr(subprocess, "run", run)
    exec(links.setup_cell(ADDRESS, "1.2", "07-why.ipynb"), {})
    return commands


def test_the_setup_cell_is_silent_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run_setup_cell(monkeypatch) == []
    assert capsys.readouterr() == ("", "")


def test_the_setup_cell_fetches_package_and_data_on_colab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    wheel = f"{ADDRESS}/releases/download/v1.2/tts_utils-1.2-py3-none-any.whl"
    assert run_setup_cell(monkeypatch) == [
        [sys.executable, "-m", "pip", "install", "--quiet", wheel],
        [sys.executable, "-m", "tts_utils.cli", "fetch", "lesson-07"],
    ]
    assert "about a minute" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="Stopped, for the reason above: pip install"):
        run_setup_cell(monkeypatch, returncode=1)


# --- the lessons


def test_addresses_badges_and_setup_cells_agree_with_pyproject() -> None:
    assert [str(path.relative_to(ROOT)) for path in links.changes(ROOT)] == [], "run: make links"


def test_lessons_are_clean() -> None:
    assert notebooks.book_problems(LESSONS) == []


def test_the_table_of_contents_lists_what_exists_and_every_lesson() -> None:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    listed = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    missing = [name for name in listed if not list(ROOT.glob(f"{name}.*"))]
    assert missing == []
    assert [name for name in listed if name.startswith("notebooks/")] == [
        f"notebooks/{path.stem}" for path in LESSONS
    ]


def test_the_readme_names_every_room_and_nothing_else() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^    ([\w./-]+) {2,}\S", text.split("## The rooms")[1], flags=re.MULTILINE)
    assert len(named) > 20, "the list of rooms is no longer found in README.md"
    assert [name for name in named if not (ROOT / name).exists()] == []
    rooms = {f"tts_utils/{path.parent.name}/" for path in (ROOT / "tts_utils").glob("*/__init__.py")}
    assert sorted(rooms - set(named)) == []


def test_the_readme_python_runs() -> None:
    if not list((ROOT / "data" / "step_scores").glob("**/*.parquet")):
        pytest.skip("no tables are stored yet")
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )
    exec(blocks[0], {})  # tests/test_wheel.py runs them all


@each_lesson
def test_a_lesson_begins_with_a_question_the_badge_and_the_setup_cell(path: Path) -> None:
    title, setup = notebooks.load(path)["cells"][:2]
    assert re.match(r"# .*\?\n", notebooks.cell_source(title)), "a lesson's title is a question"
    assert links.badge(links.public_address(ROOT), path.name) in notebooks.cell_source(title)
    wanted = links.setup_cell(links.public_address(ROOT), links.version(ROOT), path.name)
    assert notebooks.cell_source(setup) == wanted
    assert setup["metadata"] == {"tags": ["remove-cell"]}


@each_lesson
def test_every_cell_and_every_folded_block_of_code_runs(path: Path) -> None:
    """Folded code (hints, solutions) runs with the names that the notebook ends with."""
    lesson = run(path)
    for cell in notebooks.load(path)["cells"]:
        for code in notebooks.folded_code(cell) if cell["cell_type"] == "markdown" else ():
            exec(compile(code, f"{path.name}:{cell['id']}", "exec"), dict(lesson.namespace))


def test_the_tokens_of_lesson_3_are_those_of_the_formats() -> None:
    pytest.importorskip("transformers")
    (path,) = [path for path in LESSONS if path.name.startswith("03-")]
    shown = run(path).namespace["TOKENS"]["lab"]
    for name, tokens in prm_tokens.table(real=False)["lab"].items():
        assert shown[name] == [(word.replace("\n", "↵"), step) for word, step in tokens], name


def test_a_chart_gets_a_link_to_its_data_and_a_still_picture(tmp_path: Path) -> None:
    altair, _ = pytest.importorskip("altair"), pytest.importorskip("vl_convert")
    place = ROOT / "book" / "_ext" / "charts.py"
    spec = importlib.util.spec_from_file_location("charts_extension", place)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    rows = [{"n": 1, "right": 0.5, "detail": "for the figure"}, {"n": 2, "right": 0.75, "detail": "x"}]
    chart = altair.Chart(altair.Data(values=rows), width="container").mark_line().encode(x="n:Q", y="right:Q")
    chart = chart.properties(description='Right by "n".', datasets={"data": rows})
    page = chart.to_html(fullhtml=False, template="universal", output_div="altair-viz-1")
    app = types.SimpleNamespace(outdir=tmp_path / "html", doctreedir=tmp_path / "html" / ".doctrees")
    context = {"body": f"<p>Before</p>{page}<p>After</p>"}
    context["pathto"] = lambda name, resource: f"../{name}"
    extension.add_to_charts(app, "notebooks/07-why", "page.html", context, None)
    assert 'img src="../_static/charts/07-why-1.svg" alt="Right by &quot;n&quot;."' in context["body"]
    assert 'href="../_static/charts/07-why-1.csv" download' in context["body"]
    made = tmp_path / "html" / "_static" / "charts"
    assert (made / "07-why-1.csv").read_text().splitlines() == ["n,right", "1,0.5", "2,0.75"]
    assert (made / "07-why-1.svg").read_text().startswith("<svg")


def test_all_lessons_are_run_ahead_of_the_build_and_what_they_read_is_watched(tmp_path: Path) -> None:
    assert sorted(execute.notebooks()) == sorted(LESSONS)
    (tmp_path / "tts_utils").mkdir()
    (tmp_path / "data" / "samples").mkdir(parents=True)
    seen = {execute.fingerprint(tmp_path)}
    for name in ("data/samples/a.parquet", "tts_utils/voting.py", "constraints.txt"):
        for content in ("one", "two"):
            (tmp_path / name).write_text(content, encoding="utf-8")
            seen.add(execute.fingerprint(tmp_path))
    assert len(seen) == 7
    (tmp_path / "data" / ".lock").write_text("", encoding="utf-8")
    assert execute.fingerprint(tmp_path) in seen


# --- the built book


def built_pages() -> list[Path]:
    """The HTML pages, or a skip where the book has not been built."""
    if not (HTML / "index.html").is_file():
        pytest.skip("the book is not built (make book)")
    return sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts)


class Requests(HTMLParser):
    """Collect what a browser fetches by itself on opening a page: scripts, styles, pictures, frames."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "object"):
            self.found += [values.get("src") or "", values.get("data") or "", values.get("srcset") or ""]
        if tag == "link" and (values.get("rel") or "") not in (
            "canonical",
            "index",
            "search",
            "next",
            "prev",
            "license",
        ):
            self.found.append(values.get("href") or "")


def is_external(address: str) -> bool:
    return bool(re.match(r"\s*(https?:)?//", address))


def test_requests_are_recognised() -> None:
    page = '<script src="//cdn.x/a.js"></script><link rel="stylesheet" href="https://x/a.css"><a href="https://x">x</a>'
    assert [address for address in Requests(page).found if is_external(address)] == [
        "//cdn.x/a.js",
        "https://x/a.css",
    ]


def test_pages_and_styles_ask_no_other_server_for_anything() -> None:
    asked = {
        str(page.relative_to(HTML)): found
        for page in built_pages()
        if (found := [address for address in Requests(page.read_text()).found if is_external(address)])
    }
    for style in HTML.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", style.read_text())
        if found:
            asked[str(style.relative_to(HTML))] = found
    assert asked == {}


def test_charts_ask_for_the_versions_that_the_book_carries() -> None:
    """Altair fetches a library from another server unless VEGA_DEBUG names the version it wants."""
    charts = [(page, text) for page in built_pages() if "vegaEmbed" in (text := page.read_text())]
    if not charts:
        pytest.skip("no page has a chart")
    carried = json.loads(
        re.findall(r"^window\.VEGA_DEBUG = (\{.*\});$", (HTML / "_static" / "vega.js").read_text(), re.M)[0]
    )
    for page, text in charts:
        wanted = set(re.findall(r'maybeLoadScript\("([\w-]+)", "([^"]+)"\)', text))
        assert {(name.replace("-", "") + "_version", version) for name, version in wanted} == set(
            carried.items()
        ), page
        assert "_static/vega.js" in text.split("</head>")[0], (
            f"{page}: Vega must be loaded before the charts' own scripts"
        )


def chromium() -> str:
    """The path of a Chromium, or a skip."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium found (Debian: apt-get install chromium)")


@pytest.fixture
def served_book() -> str:
    """The address of the built book, served on this machine."""
    built_pages()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HTML)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.browser
@each_lesson
def test_charts_and_formulas_appear_without_a_network(path: Path, served_book: str, tmp_path: Path) -> None:
    page = HTML / "notebooks" / f"{path.stem}.html"
    if not page.is_file():
        pytest.skip(f"{path.stem} is not in the built book")
    log = tmp_path / "net.json"
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={tmp_path / 'profile'}",
        f"--log-net-log={log}", "--virtual-time-budget=10000", "--window-size=1200,2000", "--dump-dom",
        f"{served_book}/notebooks/{path.stem}.html",
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    charts = page.read_text().count("(function(spec, embedOpt)")
    drawn = len(re.findall(r'class="[^"]*chart-wrapper', shown))
    assert drawn == charts, f"{drawn} of {charts} charts were drawn"
    # The charts' own scripts hold the template of their error message, filled in by ${...}.
    assert re.findall(r'class="error" style="color:red;">(?!\$)', shown) == []
    formulas = len(re.findall(r'class="math notranslate nohighlight', page.read_text()))
    assert shown.count("<mjx-container") >= formulas
    assert "<mjx-merror" not in shown, "MathJax could not read a formula"

    # The log also holds what the browser asks for on its own account; the page's requests carry its origin.
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = {event["url"] for event in events if event.get("initiator") == served_book and "url" in event}
    assert asked, "the log shows no request of the page at all"
    assert {address for address in asked if not address.startswith(f"{served_book}/")} == set()
