"""Sphinx extension: every chart's data to download, and a still picture of it where scripts are off.

Both are made from the chart's own specification, as it stands in the page, so they cannot differ from it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import vl_convert

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

CALL = re.compile(r'^\s*\}\)\((\{.*\}), (?:\{"mode": "vega-lite".*\})\);\s*\n</script>', re.MULTILINE)
WIDTH = 640  # px of a still picture; in the page a chart is as wide as its container
HIDDEN = ("detail",)  # columns made for the figure alone


def data_of(spec: dict) -> list[dict]:
    """The rows of the chart's largest table."""
    return max(spec.get("datasets", {}).values(), key=len, default=[])


def write_csv(rows: list[dict], target: Path) -> None:
    """Write rows as a table; columns in the order in which they first occur."""
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in HIDDEN]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def still(spec: dict, folder: Path) -> str:
    """The chart as SVG; drawn once for each specification, and kept."""
    text = json.dumps(spec, sort_keys=True)
    kept = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.svg"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(vl_convert.vegalite_to_svg(spec | {"width": WIDTH}), encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def add_to_charts(
    app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Put a link to the data and a still picture behind every chart of a page."""
    folder = Path(app.outdir) / "_static" / "charts"
    number = 0

    def extended(match: re.Match) -> str:
        nonlocal number
        number += 1
        spec = json.loads(match[1])
        name = f"{Path(page).name}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(data_of(spec), folder / f"{name}.csv")
        picture = still(spec, Path(app.doctreedir).parent / ".charts")
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
        about = escape(spec.get("description", "chart"), quote=True)
        where = context["pathto"]("_static/charts/", resource=True)
        return (
            f'{match[0]}\n<noscript><img src="{where}{name}.svg" alt="{about}" loading="lazy"></noscript>\n'
            f'<p class="chart-data"><a href="{where}{name}.csv" download>Data of this chart (CSV)</a></p>'
        )

    if "vegaEmbed" in context.get("body", ""):
        context["body"] = CALL.sub(extended, context["body"])


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", add_to_charts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
