"""Build the book's editions in other languages, or bring their catalogues up to date.

An edition is a folder ``book/locale/LANGUAGE``: ``edition.toml`` names it, ``LC_MESSAGES`` holds one gettext
catalogue for each page that is translated. A page without a catalogue is not part of it; links lead to the
English one. Sources stay as they are.

    python book/languages.py                   build all editions, beside the English book
    python book/languages.py zh_CN             build one
    python book/languages.py --update zh_CN    bring its catalogues up to date with the sources
    python book/languages.py --update zh_CN --page notebooks/02-does-sampling-more-help    begin another page
"""

import argparse
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SHARED = re.compile(r"""(["'(=])((?:\.\./)*_(?:static|sources)/[^"'?#)\s]+)""")
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import editions as edition  # noqa: E402


def toc(pages: list[str], settings: dict) -> dict:
    """The English table of contents, cut down to some pages and with an edition's titles."""
    english = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    titles = settings.get("titles", {})
    parts = []
    for part in english["parts"]:
        chapters = [
            {"file": entry["file"]}
            | ({"title": titles.get(entry["title"], entry["title"])} if "title" in entry else {})
            for entry in part["chapters"]
            if entry["file"] in pages
        ]
        if chapters:
            parts.append({"caption": titles.get(part["caption"], part["caption"]), "chapters": chapters})
    extra = [{"file": page} for page in settings.get("pages", ())]
    if extra:
        parts.append({"caption": settings["pages_caption"], "chapters": extra})
    return {"format": "jb-book", "root": english["root"], "parts": parts}


def config(builder: str, language: str, settings: dict, out: Path) -> dict:
    """The book's configuration for an edition; notebooks come out of the English book's cache."""
    made = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))
    made["title"] = settings["title"]
    made["execute"]["cache"] = str(out / "_build" / ".jupyter_cache")
    if builder == "gettext":
        made["execute"]["execute_notebooks"] = "off"
    extensions = made["sphinx"]["local_extensions"]
    made["sphinx"]["local_extensions"] = dict.fromkeys(extensions, str(ROOT / "book" / "_ext"))
    made["sphinx"]["config"] |= {
        "language": language,
        "locale_dirs": [str(edition.LOCALE)],
        "gettext_compact": False,
        "edition": language,
        "html_static_path": [str(ROOT / "book" / "_static")],
        # Sphinx finds no words in a text without blanks: a search field would find nothing.
        "html_sidebars": {"**": ["navbar-logo.html", "sbt-sidebar-nav.html"]},
    }
    made["sphinx"]["config"]["html_theme_options"] |= {"use_edit_page_button": False}
    return made


def run(builder: str, language: str, settings: dict, pages: list[str], out: Path) -> Path:
    """Run jupyter-book on some pages; return where its output lies."""
    folder = out / "_build" / "languages" / language
    folder.mkdir(parents=True, exist_ok=True)
    made = {"config.yml": config(builder, language, settings, out), "toc.yml": toc(pages, settings)}
    for name, content in made.items():
        (folder / name).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    how = ["--builder", "html"] if builder == "html" else ["--builder", "custom", "--custom-builder", builder]
    words = [
        *(
            str(Path(sys.executable).with_name("jupyter-book")),
            "build",
            str(ROOT),
            *how,
            "--all",
            "-W",
            "-n",
            "--keep-going",
        ),
        *("--config", str(folder / "config.yml"), "--toc", str(folder / "toc.yml")),
        *("--path-output", str(folder)),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{language}: the edition was not built\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return folder / "_build" / builder


def build(language: str, out: Path) -> None:
    """Build an edition and put it beside the English book."""
    made = run("html", language, edition.editions()[language], edition.pages(language), out)
    english = out / "_build" / "html"
    target = english / language
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    if (english / "_static").is_dir():
        share_files(target, english)
    print(f"The edition in {edition.editions()[language]['name']} lies in {target / 'index.html'}")


def share_files(target: Path, english: Path) -> None:
    """Let an edition use the English book's fonts, scripts and sources where they are the same files."""
    same = {
        path.relative_to(target).as_posix()
        for folder in ("_static", "_sources")
        for path in (target / folder).rglob("*")
        if path.is_file()
        and (twin := english / path.relative_to(target)).is_file()
        and twin.read_bytes() == path.read_bytes()
    }

    def one_up(match: re.Match) -> str:
        shared = match[2].replace("../", "") in same
        return f"{match[1]}../{match[2]}" if shared else match[0]

    for page in target.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(SHARED.sub(one_up, text), encoding="utf-8")
    for name in same:
        (target / name).unlink()


def update(language: str, more: list[str], out: Path) -> None:
    """Bring the catalogues of an edition up to date; what the sources no longer say is dropped."""
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import read_po, write_po

    settings = edition.editions()[language]
    pages = sorted({*edition.pages(language), *more})
    templates = run("gettext", "en", settings, pages, out)
    # The table of contents stands in edition.toml; Sphinx puts it in behind the catalogues' turn.
    own = {*settings.get("titles", {}).values(), settings.get("pages_caption", "")}
    for name in pages:
        template = read_po(BytesIO((templates / f"{name}.pot").read_bytes()))
        for title in own:
            template.delete(title)
        path = edition.LOCALE / language / "LC_MESSAGES" / f"{name}.po"
        header = settings["header"].strip() + "\n"
        catalogue = Catalog(language, fuzzy=False)
        if path.is_file():
            catalogue = read_po(BytesIO(path.read_bytes()), locale=language)
        catalogue.header_comment, catalogue.fuzzy = header, False
        catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        for message in catalogue:
            message.locations, message.auto_comments = [], []
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=110, omit_header=False)
        missing = sum(bool(m.id) and not m.string for m in catalogue)
        print(f"{path.relative_to(ROOT)}: {len(catalogue)} messages, {missing} without a translation")


def main() -> None:
    """Build, or update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", help="such as zh_CN; all without one")
    parser.add_argument("--update", metavar="LANGUAGE", help="bring a language's catalogues up to date")
    parser.add_argument(
        "--page", action="append", default=[], help="with --update: a page that gets a catalogue"
    )
    parser.add_argument("--out", default="book", help="the folder that holds the book's _build")
    options = parser.parse_args()
    out = ROOT / options.out
    if options.update:
        update(options.update, options.page, out)
        return
    for language in options.languages or edition.editions():
        if language not in edition.editions():
            sys.exit(f"there is no edition in {language!r}; there is {', '.join(edition.editions())}")
        build(language, out)


if __name__ == "__main__":
    main()
