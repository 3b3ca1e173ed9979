"""Copy the repository's public address from pyproject.toml to where readers meet it, or check the copies.

It stands in the Colab badge and the setup cell of every notebook, in book/_config.yml, CITATION.cff, and in
badges and install lines of README and pages; setup cells, citation and install lines name the version too.
Change it in pyproject.toml, the version in tts_utils/__init__.py, then run ``make links``. Needs no package.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

from notebooks import ROOT, cell_source, dump, lesson_paths, load, set_cell_source

BRANCH = "main"
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
ADDRESS = r"https://github\.com/[\w.-]+/[\w.-]+"
SETUP = """\
# Setup. On Colab this installs the package and fetches what this lesson reads; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    wheel = (
        "{address}/releases/download/"
        "v{version}/tts_utils-{version}-py3-none-any.whl"
    )
    print("Installing tts-utils, then fetching the lesson's data: about a minute.")
    for command in (
        ["pip", "install", "--quiet", wheel],
        ["tts_utils.cli", "fetch", "{lesson}"],
    ):
        if subprocess.run([sys.executable, "-m", *command]).returncode:
            raise SystemExit("Stopped, for the reason above: " + " ".join(command))"""


def public_address(root: Path = ROOT) -> str:
    """Return the repository's address, "https://github.com/owner/name"."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project["urls"]["Repository"]
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise SystemExit(
            f"pyproject.toml: project.urls.Repository is {address!r}, not https://github.com/owner/name"
        )
    return address


def version(root: Path = ROOT) -> str:
    """Return the package's version, as tts_utils/__init__.py says it."""
    text = (root / "tts_utils" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, flags=re.MULTILINE)[1]


def badge(address: str, name: str) -> str:
    """Return the Markdown of the Colab badge of a notebook ("01-x.ipynb")."""
    slug = address.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{slug}/blob/{BRANCH}/notebooks/{name}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


def setup_cell(address: str, version: str, name: str) -> str:
    """Return the source of a notebook's setup cell, the same in all of them but for the lesson it fetches."""
    return SETUP.format(address=address, version=version, lesson=f"lesson-{name[:2]}")


def linked_text(text: str, address: str, version: str) -> str:
    """Return a page or a setting file with every address of this repository, and the version, replaced."""
    slug = address.removeprefix("https://github.com/")
    text = re.sub(r"(?<=colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/)", slug, text)
    wheel = rf"{ADDRESS}/releases/download/v[\w.]+/tts_utils-[\w.]+?-py3"
    text = re.sub(wheel, f"{address}/releases/download/v{version}/tts_utils-{version}-py3", text)
    text = re.sub(r"^version: .*", f"version: {version}", text, flags=re.MULTILINE)
    return re.sub(
        rf"(git clone (?:--\S+ )*|^  url: |^repository-code: ){ADDRESS}?(?=\.git\b|[\s@\"'`)]|$)",
        rf"\g<1>{address}",
        text,
        flags=re.MULTILINE,
    )


def linked_notebook(notebook: dict, address: str, version: str, name: str) -> dict:
    """Return a notebook with its badge and its setup cell as they should be.

    The badge goes below the title when the first cell has none; a missing setup cell stays missing.
    """
    cells = [dict(cell) for cell in notebook["cells"]]
    title = cell_source(cells[0])
    if BADGE.search(title):
        title = BADGE.sub(lambda _: badge(address, name), title, count=1)
    else:
        heading, _, rest = title.partition("\n")
        title = f"{heading}\n\n{badge(address, name)}\n{rest}"
    set_cell_source(cells[0], title)
    for cell in cells:
        if cell.get("id", "").endswith("-setup"):
            set_cell_source(cell, setup_cell(address, version, name))
    return {**notebook, "cells": cells}


def changes(root: Path = ROOT) -> dict[Path, str]:
    """Return the wanted text of every file whose addresses are not as they should be."""
    address, now = public_address(root), version(root)
    wanted = {}
    pages = [root / "README.md", root / "CITATION.cff", root / "book" / "_config.yml"]
    for path in [*pages, *sorted((root / "book").glob("*.md"))]:
        if path.is_file():
            wanted[path] = linked_text(path.read_text(encoding="utf-8"), address, now)
    for path in lesson_paths(root):
        wanted[path] = dump(linked_notebook(load(path), address, now, path.name))
    return {path: text for path, text in wanted.items() if path.read_text(encoding="utf-8") != text}


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="bring every file up to date")
    action.add_argument("--check", action="store_true", help="fail when a file is not up to date")
    options = parser.parse_args()
    found = changes()
    for path, text in found.items():
        if options.write:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if options.write else 'address, badge or setup is old'}")
    if options.check and found:
        sys.exit("Run: make links")


if __name__ == "__main__":
    main()
