"""Sphinx extension: what makes an edition in another language, and the switch between editions.

Sphinx itself puts the catalogues' messages in the place of paragraphs, also of a notebook's. Three things it
leaves: the summaries of folds, which are raw HTML; links to pages that the edition does not have; and a
message that no catalogue translates, which is a warning here, so that a half-translated page is not built.

An edition is a folder of ``book/locale``; see ``book/languages.py``, which builds them.
"""

from __future__ import annotations

import os
import re
import tomllib
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes
from sphinx.locale import init as init_locale
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOCALE = Path(__file__).resolve().parent.parent / "locale"
SUMMARY = re.compile(r"(?<=<summary>).*?(?=</summary>)")
TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
SAID = re.compile(r"(?<=>)[^<>]*\w[^<>]*(?=<)")
TABLES = "tables"  # the catalogue of what stands in the tables of the ledger
logger = logging.getLogger(__name__)


def pages(language: str, locale: Path = LOCALE) -> list[str]:
    """The pages that have a catalogue in a language, as in "book/preface"."""
    catalogues = locale / language / "LC_MESSAGES"
    return sorted(path.relative_to(catalogues).as_posix()[:-3] for path in catalogues.glob("*/*.po"))


def editions(locale: Path = LOCALE) -> dict[str, dict]:
    """The settings of each edition by its language: ``edition.toml`` of its folder."""
    return {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted(locale.glob("*/edition.toml"))
    }


def other_versions(page: str, language: str, locale: Path = LOCALE) -> list[tuple[str, str, str]]:
    """The other languages of a page: code, name, and address relative to the page."""
    up = "../" * page.count("/")
    home = up if language == "en" else f"{up}../"
    found = [] if language == "en" else [("en", "English", f"{home}{page}.html")]
    for other, settings in editions(locale).items():
        if other != language and page in pages(other, locale):
            found.append((other.replace("_", "-"), settings["name"], f"{home}{other}/{page}.html"))
    return found if language == "en" or page in pages(language, locale) else []


def add_switch(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put links to a page's other languages above it, and into its head for search engines."""
    if doctree is None or app.builder.name != "html":  # the whole book on one page has no others beside it
        return
    if not (others := other_versions(page, app.config.language or "en")):
        return
    anchors = " · ".join(
        f'<a href="{escape(address)}" lang="{code}" hreflang="{code}">{escape(name)}</a>'
        for code, name, address in others
    )
    note = editions().get(app.config.language or "", {}).get("note", "")
    note = f'<p class="edition-note">{escape(note)}</p>' if note else ""
    context["body"] = f'<nav class="languages" aria-label="Language">{anchors}</nav>{note}{context["body"]}'
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<link rel="alternate" hreflang="{code}" href="{escape(address)}" />'
        for code, _, address in others
    )


def translate_ledger(
    app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Put translations into the tables of the ledger: its claims are texts, not results."""
    if not app.config.edition or not page.endswith("-the-ledger"):
        return
    catalogue, _ = init_locale([str(LOCALE)], app.config.language, TABLES)
    messages = {m: said for m, said in catalogue._catalog.items() if m and isinstance(m, str)}

    def said(text: re.Match) -> str:
        return escape(in_words(unescape(text[0]), messages), quote=False)

    context["body"] = TABLE.sub(lambda table: SAID.sub(said, table[0]), context["body"])


def in_words(text: str, messages: dict[str, str]) -> str:
    """A text of a table in another language: as a whole, or the sentences and places that it is made of.

    >>> in_words(" Figure 4. ", {"Figure 4": "图 4", "why": "理由"}), in_words("why not", {"why": "理由"})
    (' 图 4。 ', 'why not')
    """
    text = text.replace("’", "'")  # the builder's apostrophes
    if (whole := text.strip()) in messages:
        return text.replace(whole, messages[whole])
    found = text
    for message in sorted(messages, key=len, reverse=True):
        if " " in message or message.endswith(":"):  # single words mean other things in a sentence
            said = messages[message].replace("\\", r"\\")
            found = re.sub(rf"(?<!\w){re.escape(message)}(?!\w)", said, found)
    return found if found == text else re.sub(r"\.(?=\s*$)", "。", found)


class Prepare(SphinxTransform):
    """Offer the summaries of folds for translation, put translations in, and leave badges alone."""

    default_priority = 15  # before Locale

    def apply(self) -> None:
        catalogue, _ = init_locale(
            [str(LOCALE)], self.config.language, self.env.docname
        )  # the domain, as gettext_compact is off
        extracting = self.app.builder.name == "gettext"
        for node in self.document.findall(nodes.raw):
            found = SUMMARY.search(node.astext())
            if not found:
                continue
            if extracting:
                node.rawsource, node["translatable"] = found[0], True
            elif (said := catalogue.gettext(found[0])) != found[0]:
                node.children = []
                node += nodes.Text(SUMMARY.sub(lambda _, said=said: said, node.rawsource))
            elif self.config.language != "en":
                logger.warning("no translation of the summary %r", found[0], location=node)
        for image in self.document.findall(nodes.image):
            if isinstance(image.parent, nodes.reference) and isinstance(image.parent.parent, nodes.paragraph):
                image.parent.parent["translatable"] = False


class Demand(SphinxTransform):
    """Warn of every message without a translation."""

    default_priority = 26  # after Locale and its count

    def apply(self) -> None:
        if self.config.language == "en" or self.env.docname not in pages(self.config.language):
            return
        left = (addnodes.translatable, nodes.image)  # the table of contents, and badges
        for node in self.document.findall(nodes.Element):
            if node.get("translated") is False and not isinstance(node, left) and not _printed(node):
                text = " ".join(node.astext().split())[:60]
                logger.warning("no translation of %r", text, location=node, type="i18n", subtype="missing")


def _printed(node: nodes.Element) -> bool:
    """Whether a cell's code wrote this text; it stays in the language of the code."""
    while node is not None and "cell_output" not in node.get("classes", ()):
        node = node.parent
    return node is not None


class LinkToEnglish(SphinxPostTransform):
    """Links to pages that an edition does not have lead to the English ones."""

    default_priority = 8  # before MyST looks for the page

    def run(self) -> None:
        if not self.config.edition:
            return
        for node in list(self.document.findall(addnodes.pending_xref)):
            target = node.get("reftarget", "")
            if node.get("refdomain") != "doc" or target in self.env.all_docs:
                continue
            up = "../" * (self.env.docname.count("/") + 1)
            anchor = f"#{node['reftargetid']}" if node.get("reftargetid") else ""
            reference = nodes.reference("", "", *node[0].children, refuri=f"{up}{target}.html{anchor}")
            reference["classes"] = ["reference", "internal"]
            node.replace_self(reference)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.add_config_value("edition", "", "env", str)
    app.add_transform(Prepare)
    app.add_transform(Demand)
    app.add_post_transform(LinkToEnglish)
    app.connect("html-page-context", translate_ledger)
    if not os.environ.get("TTS_STUDENT"):  # that edition is English only
        app.connect("html-page-context", add_switch)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
