"""The book in other languages: every message translated, nothing lost on the way, links that arrive."""

import ast
import csv
import re
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import notebooks

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "book" / "locale"
HTML = ROOT / "book" / "_build" / "html"
CATALOGUES = sorted(LOCALE.glob("*/LC_MESSAGES/**/*.po"))
PAGES = [path for path in CATALOGUES if path.parent.name != "LC_MESSAGES"]
UPDATE = "bring the catalogues up to date: .venv-book/bin/python book/languages.py --update LANGUAGE"
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")


def read_po(path: Path) -> list[tuple[str, str, str]]:
    """(message, translation, flags) of a catalogue, its header left out."""
    found, fields, flags, key = [], {}, "", ""
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("#,"):
            flags = line
        elif match := re.match(r'(msgid|msgstr) (".*")$', line):
            key = match[1]
            fields[key] = ast.literal_eval(match[2])
        elif line.startswith('"'):
            fields[key] += ast.literal_eval(line)
        elif not line and fields:
            if fields["msgid"]:
                found.append((fields["msgid"], fields["msgstr"], flags))
            fields, flags = {}, ""
        else:
            assert not line or line.startswith("#"), f"{path.name}: {line}"
    return found


def source_of(path: Path) -> Path:
    """The page that a catalogue translates."""
    name = path.relative_to(next(p for p in path.parents if p.name == "LC_MESSAGES")).with_suffix("")
    (found,) = (p for suffix in (".md", ".ipynb") if (p := ROOT / f"{name}{suffix}").is_file())
    return found


def prose(path: Path) -> str:
    """What a page says in prose, one blank between words."""
    if path.suffix == ".ipynb":
        cells = [cell for cell in notebooks.load(path)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join(notebooks.cell_source(cell) for cell in cells)
    else:
        text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^\[!\[.*$", "", text, flags=re.M)  # badges
    return plain(re.sub(r"^> ?", "", text, flags=re.M))


def plain(text: str) -> str:
    return " ".join(text.split())


def marks(text: str) -> Counter:
    """What has to survive a translation: code, formulas, link targets, numbers, emphasis of whole phrases."""
    text = text.replace("\\.", ".")  # "1\. " begins no list
    kept = Counter(re.findall(r"`[^`]*`", text))
    text = re.sub(r"`[^`]*`", "", text)
    kept += Counter(re.findall(r"\$[^$]+\$", text))
    text = re.sub(r"\$[^$]+\$", "", text)
    kept += Counter(re.findall(r"\]\([^)]*\)", text))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return kept + Counter(re.findall(r"\d+(?:\.\d+)?(?:e\d+)?", text))


def test_there_are_editions() -> None:
    assert {path.parent.name for path in LOCALE.glob("*/edition.toml")} >= {"zh_CN"}
    assert {path.stem[:2] for path in PAGES if "zh_CN" in path.parts} == {"pr", "01", "12"}


def test_a_catalogue_is_read_as_gettext_reads_it(tmp_path: Path) -> None:
    po = tmp_path / "x.po"
    po.write_text(
        'msgid ""\nmsgstr "Language: xx\\n"\n\n#, fuzzy\nmsgid "a \\"b\\""\nmsgstr ""\n"c "\n"d"\n\n'
        'msgid "e"\nmsgstr ""\n',
        encoding="utf-8",
    )
    assert read_po(po) == [('a "b"', "c d", "#, fuzzy"), ("e", "", "")]


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_every_message_has_its_translation_and_keeps_what_is_no_prose(path: Path) -> None:
    found = read_po(path)
    assert len(found) > 20
    assert len({message for message, *_ in found}) == len(found)
    for message, said, flags in found:
        assert said.strip(), f"no translation of {message!r}"
        assert "fuzzy" not in flags, message
        assert marks(said) == marks(message), f"{message!r}\n{said!r}"
        if re.search(r"[a-z]{3}", re.sub(r"\\\w+|`[^`]*`|\$[^$]*\$", "", message)):
            assert said != message or message.startswith("\n"), f"still English: {message!r}"


@each_page
def test_a_catalogue_has_all_of_its_page_s_prose_and_nothing_else(path: Path) -> None:
    text = prose(source_of(path))
    messages = sorted((plain(message) for message, *_ in read_po(path)), key=len, reverse=True)
    for message in messages:
        assert message in text, f"the source no longer says {message!r}; {UPDATE}"
    for message in messages:
        text = text.replace(message, " ")
    text = re.sub(r"</?(details|summary)>", " ", text)
    left = [word for word in text.split() if re.search(r"[A-Za-z]", word)]
    assert left == [], f"prose without a message; {UPDATE}"


@pytest.mark.parametrize("language", sorted(path.parent.name for path in LOCALE.glob("*/edition.toml")))
def test_the_ledger_s_claims_are_translated(language: str) -> None:
    known = {message for message, *_ in read_po(LOCALE / language / "LC_MESSAGES" / "tables.po")}
    with open(ROOT / "data" / "paper" / "claims.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("where", "claim", "published", "why_not", "later"):
        texts = {row[column] for row in rows if re.search(r"[a-z]{3}", row[column])}
        assert texts - known == set(), column
    sentences = {sentence for row in rows for sentence in re.split(r"(?<=\.) ", row["setting"]) if sentence}
    assert sentences - known == set()


@pytest.mark.parametrize("place", sorted(LOCALE.glob("*/edition.toml")), ids=lambda path: path.parent.name)
def test_an_edition_names_the_titles_of_its_pages(place: Path) -> None:
    settings = tomllib.loads(place.read_text(encoding="utf-8"))
    pages = {f"{path.parent.name}/{path.stem}" for path in PAGES if place.parent in path.parents}
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    assert toc["root"] in pages, "an edition begins with the book's first page"
    for part in toc["parts"]:
        chapters = [chapter for chapter in part["chapters"] if chapter["file"] in pages]
        for title in [part["caption"]] * bool(chapters) + [c["title"] for c in chapters if "title" in c]:
            assert settings["titles"][title].strip(), title
    assert settings["name"] and settings["title"] and settings["note"]
    assert all((ROOT / f"{page}.md").is_file() for page in settings["pages"])


def test_the_chinese_edition_says_the_field_s_words_in_one_way() -> None:
    """Where the English says a term of terms.md, the Chinese says its translation."""
    page = (LOCALE / "zh_CN" / "terms.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", page, flags=re.M)[1:]
    terms = {re.sub(r" [($].*", "", english): re.sub(r"（.*", "", chinese) for english, chinese in rows}
    wanted = (
        "test-time scaling", "test-time compute", "policy", "process reward model", "trajectory", "rollout",
        "completion", "budget", "Best-of-N", "beam search", "majority voting", "step checker", "interval",
    )  # fmt: skip
    assert set(wanted) <= set(terms)
    for path in CATALOGUES:
        for message, said, _ in read_po(path):
            if said == message:  # a formula
                continue
            bare = re.sub(r"`[^`]*`|\]\([^)]*\)|\$[^$]*\$", "", message)
            for term in wanted:
                if re.search(rf"\b{re.escape(term)}\b", bare, flags=re.I):
                    assert terms[term] in said, f"{term} in {message!r}: {said!r}"


# --- the built editions


class Links(HTMLParser):
    """A page's links and anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.anchors.add(values.get("id") or "")
        for name in ("href", "src"):
            if address := values.get(name):
                self.links.append(address)


def built(language: str) -> list[Path]:
    if not (HTML / language / "index.html").is_file() or not (HTML / "index.html").is_file():
        pytest.skip("the book is not built (make book)")
    return [path for folder in ("book", "notebooks") for path in (HTML / language / folder).rglob("*.html")]


def test_links_of_a_built_edition_arrive_without_a_server() -> None:
    lost, anchors = [], {}
    for page in built("zh_CN"):
        for address in Links(page.read_text(encoding="utf-8")).links:
            if re.match(r"[a-z]+:|//|#$|data:", address):
                continue
            path, _, anchor = unquote(address).partition("#")
            target = (page.parent / path.split("?")[0]).resolve() if path else page
            if not target.is_file():
                lost.append((page.name, address))
            elif anchor and target.suffix == ".html":
                if target not in anchors:
                    anchors[target] = Links(target.read_text(encoding="utf-8")).anchors
                if anchor not in anchors[target]:
                    lost.append((page.name, address))
    assert lost == []


def test_the_switch_leads_there_and_back_and_only_where_both_exist() -> None:
    pages = built("zh_CN")
    switches = {
        page: re.findall(r'<nav class="languages".*?</nav>', page.read_text(encoding="utf-8"), flags=re.S)
        for page in HTML.glob("*/*.html")
        if page.parent.name in ("book", "notebooks")
    }
    translated = {page.relative_to(HTML / "zh_CN") for page in pages if "locale" not in page.parts}
    assert {page.relative_to(HTML) for page, found in switches.items() if found} == translated
    for name in translated:
        there = re.search(r'href="([^"]+)"', switches[HTML / name][0])[1]
        other = (HTML / name).parent / there
        assert other.resolve() == HTML / "zh_CN" / name
        back = re.search(r'<nav class="languages".*?href="([^"]+)"', other.read_text(encoding="utf-8"))[1]
        assert (other.parent / back).resolve() == HTML / name


def test_a_built_page_is_in_its_language_and_says_what_is_not() -> None:
    for page in built("zh_CN"):
        text = page.read_text(encoding="utf-8")
        assert '<html lang="zh-CN"' in text.replace("zh_CN", "zh-CN"), page
        assert "edition-note" in text or "locale" in page.parts
    ledger = (HTML / "zh_CN" / "notebooks" / "12-the-ledger.html").read_text(encoding="utf-8")
    tables = " ".join(re.findall(r"<table.*?</table>", ledger, flags=re.S))
    assert "在强的 PRM 下，搜索胜过最佳-N。" in tables and "第 3.2 节，图 4、5" in tables
    assert "Under strong PRMs" not in tables and "Difference:" not in tables and "Lesson 6" not in tables
    assert "用 Skywork 的 PRM 时，PRM-Vote 优于 PRM-Max。" in tables
