"""Sphinx extension: charts and formulas that work without a network.

Vega comes out of vl-convert-python and MathJax out of sphinx-mathjax-offline, both into ``_static``. Altair's
ordinary output fetches a library only when ``VEGA_DEBUG`` lacks the version it wants; the script written here
holds them all, so notebooks need no renderer of their own and stay right for Jupyter and Colab.
"""

import json
import shutil
from importlib.metadata import files
from pathlib import Path

import altair
import vl_convert
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
MATHJAX_PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")


def vega_versions() -> dict[str, str]:
    """Return the versions that Altair's HTML asks for, by the keys it looks under."""
    return {
        "vega_version": altair.VEGA_VERSION,
        "vegalite_version": altair.VEGALITE_VERSION,
        "vegaembed_version": altair.VEGAEMBED_VERSION,
    }


def check_bundle() -> None:
    """Refuse a vl-convert-python whose libraries are not those that Altair asks for."""
    held = {
        "vega_version": vl_convert.get_vega_version(),
        "vegalite_version": vl_convert.get_vegalite_versions()[-1],
        "vegaembed_version": vl_convert.get_vega_embed_version(),
    }
    for name, wanted in vega_versions().items():
        have = held[name].removeprefix("v").split(".")
        # Altair names a major version or a full one; vl-convert may give fewer digits than Altair.
        if any(mine != theirs for mine, theirs in zip(have, wanted.split("."), strict=False)):
            raise RuntimeError(
                f"vl-convert-python {vl_convert.__version__} holds {name} {held[name]}, but altair "
                f"{altair.__version__} asks for {wanted}: move the two pins in constraints.txt together"
            )


def write_vega(static: Path) -> None:
    """Write one script that defines vegaEmbed, vega and vegaLite and says which versions they are."""
    # The bundle declares short global names, hence the function around it.
    bundle = f"(function () {{\n{vl_convert.javascript_bundle()}\n}})();\n"
    versions = f"window.VEGA_DEBUG = {json.dumps(vega_versions(), sort_keys=True)};\n"
    (static / "vega.js").write_text(bundle + versions, encoding="utf-8")


def write_mathjax(static: Path) -> None:
    """Copy MathJax's TeX input, HTML output and fonts out of the wheel."""
    for file in files("sphinx-mathjax-offline") or ():
        _, found, part = str(file).partition("/static/mathjax/")
        if found and part.startswith(MATHJAX_PARTS):
            target = static / "mathjax" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)
    if not (static / "mathjax" / "tex-chtml.js").is_file():
        raise RuntimeError(
            "sphinx-mathjax-offline holds no static/mathjax/tex-chtml.js: check its pin in constraints.txt"
        )


def write_scripts(app: Sphinx) -> None:
    """Write both libraries into the built book's ``_static``."""
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    check_bundle()
    write_vega(static)
    write_mathjax(static)


def choose_scripts(
    app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Load Vega before the scripts of charts, on pages that have some; drop Thebe, which needs a server."""
    context["script_files"][:] = [
        file for file in context["script_files"] if "thebe" not in str(vars(file)).lower()
    ]
    if "vegaEmbed" in context.get("body", ""):
        app.add_js_file("vega.js", priority=100)


class LocalBadge(SphinxTransform):
    """Turn the Colab badge's picture, which lies on another server, into text dressed by the style sheet."""

    default_priority = 200

    def apply(self) -> None:
        """Replace the picture by its alternative text."""
        for image in list(self.document.findall(nodes.image)):
            if image["uri"] == COLAB_BADGE:
                image.replace_self(
                    nodes.inline("", image.get("alt", "Open in Colab"), classes=["colab-badge"])
                )


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", write_scripts)
    app.connect("html-page-context", choose_scripts)
    app.add_transform(LocalBadge)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
