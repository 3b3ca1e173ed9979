"""The whole book as one PDF: python book/pdf.py (or: make pdf). Needs Chromium, and the book's environment.

All pages are rendered as one, and printed by the browser, charts drawn.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "book" / "_pdf" / "_build" / "singlehtml" / "book" / "preface.html"
TARGET = ROOT / "book" / "_build" / "book.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
PATIENCE = 90_000  # milliseconds of virtual time for the charts


def main() -> int:
    """Render, print, and say where the PDF lies."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(
            f"no browser found (looked for {', '.join(BROWSERS)}); Debian: apt-get install chromium",
            file=sys.stderr,
        )
        return 1
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [jupyter_book, "build", str(ROOT), "--builder", "singlehtml"]
    command += ["--config", str(ROOT / "book" / "_config.yml"), "--toc", str(ROOT / "book" / "_toc.yml")]
    command += ["--path-output", str(ROOT / "book" / "_pdf")]
    if subprocess.run(command, cwd=ROOT).returncode or not PAGE.is_file():
        print(
            f"the book could not be rendered as one page; its messages stand above ({PAGE})", file=sys.stderr
        )
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={PATIENCE}",
            "--no-pdf-header-footer",
        ]
        command += [f"--print-to-pdf={TARGET}", PAGE.as_uri()]
        printed = subprocess.run(command, capture_output=True, text=True)
    if printed.returncode or not TARGET.is_file():
        print(f"{browser} could not print it: {printed.stderr[-500:]}", file=sys.stderr)
        return 1
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
