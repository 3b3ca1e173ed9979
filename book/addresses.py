"""Ask every address that the book, its bibliography or README links to whether it is still there.

Runs every week in the hosted check, not with the tests: it needs a network. Standard library only.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from notebooks import ROOT, cell_source, lesson_paths, load

ADDRESS = re.compile(r"https?://[^\s)\"'<>`\]}]+")
HERE = ("https://github.com/OWNER/REPO", "https://colab.research.google.com/github/OWNER/REPO")
LOCAL = re.compile(r"https?://(localhost|127\.|[\w.-]*example\.|one[:/]|two[:/])")
REFUSED = (401, 403, 405, 429)  # there, but not for programs
TRIES, PAUSE, TIMEOUT = 3, 5.0, 30.0


def addresses(root: Path = ROOT) -> dict[str, list[str]]:
    """Every public address, with the files that name it."""
    texts = {path: path.read_text(encoding="utf-8") for path in [root / "README.md", *root.glob("book/*.md")]}
    for path in lesson_paths(root):
        cells = load(path)["cells"]
        texts[path] = "\n".join(cell_source(cell) for cell in cells if cell["cell_type"] == "markdown")
    found: dict[str, list[str]] = {}
    for path, text in texts.items():
        for address in ADDRESS.findall(text):
            address = address.rstrip(".,;:*").split("#")[0]
            if not address.startswith(HERE) and not LOCAL.match(address):
                names = found.setdefault(address, [])
                if path.name not in names:
                    names.append(path.name)
    return found


def answer(address: str, tries: int = TRIES, pause: float = PAUSE) -> str:
    """What is wrong with an address; "" where nothing is."""
    said = ""
    for attempt in range(tries):
        if attempt:
            time.sleep(pause)
        request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                return ""
        except urllib.error.HTTPError as error:
            if error.code in REFUSED:
                return ""
            said = f"{error.code} {error.reason}"
            if error.code in (404, 410):
                break
        except OSError as error:
            said = str(getattr(error, "reason", error))
    return said


def main() -> None:
    """Ask them all; exit with 1 and a list where some are gone."""
    found = addresses()
    with ThreadPoolExecutor(8) as pool:
        said = dict(zip(found, pool.map(answer, found), strict=True))
    gone = [f"{address} ({', '.join(found[address])}): {why}" for address, why in said.items() if why]
    print(f"{len(found)} addresses, {len(gone)} do not answer")
    if gone:
        sys.exit("\n".join(gone))


if __name__ == "__main__":
    main()
