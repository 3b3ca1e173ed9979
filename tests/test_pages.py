"""What built pages say of themselves: a description, Open Graph tags, a Markdown file, a line in llms.txt."""

import re
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "book" / "_build" / "html"


@pytest.fixture(scope="module")
def listed() -> dict[str, str]:
    """Every page that llms.txt lists, with what it says of it."""
    if not (HTML / "llms.txt").is_file():
        pytest.skip("the book is not built (make book)")
    lines = (HTML / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and lines[2].startswith("> ")
    found = [
        re.fullmatch(r"- \[[^\]]+\]\(([^)]+)\.md\)(?:: (.+))?", line) for line in lines if line[:2] == "- "
    ]
    return {match[1]: match[2] or "" for match in found}


def test_every_page_of_the_book_is_listed_and_has_a_markdown_file(listed) -> None:
    pages = {
        str(path.relative_to(HTML).with_suffix(""))
        for folder in ("book", "notebooks")
        for path in (HTML / folder).rglob("*.html")
    }
    assert set(listed) == pages
    assert all((HTML / f"{page}.md").read_text(encoding="utf-8").startswith("# ") for page in pages)


def test_heads_say_what_the_page_is(listed) -> None:
    for page, said in listed.items():
        head = (HTML / f"{page}.html").read_text(encoding="utf-8").partition("</head>")[0]
        assert 'property="og:title"' in head, page
        assert not said or 'name="description"' in head, page


def test_what_a_cell_printed_is_not_said_twice_in_markdown(listed) -> None:
    for page in listed:
        blocks = re.findall(
            r"```text\n(.*?)\n```", (HTML / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL
        )
        page_text = (HTML / f"{page}.html").read_text(encoding="utf-8")
        shown = unescape(re.sub(r"<[^>]+>", "", page_text))
        for line in "\n".join(blocks).splitlines():
            if len(line) > 40 and line in shown:
                assert "\n".join(blocks).count(line) <= shown.count(line), f"{page}: {line}"


def test_a_lesson_s_markdown_shows_code_and_outputs_and_no_markup_of_charts(listed) -> None:
    lessons = [page for page in listed if page.startswith("notebooks/")]
    assert lessons
    for page in lessons:
        text = (HTML / f"{page}.md").read_text(encoding="utf-8")
        assert "```python" in text and "vegaEmbed" not in text, page
        assert "```text" in text, f"{page} shows nothing of what its cells printed"
