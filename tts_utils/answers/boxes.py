r"""Where the boxes of a text are, in one pass and without copying what is in them."""

from __future__ import annotations

import re
from array import array

TOKENS = re.compile(  # "\{" is no brace
    r"\\(?:boxed|fbox)(?:\s*\{|(?![A-Za-z]))|\\box\s*\{|\\.|[{}]|\$\$?|\n[ \t]*\n", re.DOTALL
)
_BOXED_NUMBER = re.compile(r"\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)")
_FORMULA = ("$", "$$", r"\(", r"\)", r"\[", r"\]")
_ENCLOSING = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))

Span = tuple[int, int, int, int]
"""A box in a text: where it begins, where its content begins and ends, and where it ends."""


def spans(text: str) -> list[Span]:
    r"""Return the boxes of a text by place, in one pass; time and memory are linear in its length.

    A box is ``\boxed{...}`` with balanced braces. Without braces it reaches to the end of its group or
    formula or, outside a formula, holds the number that follows.
    """
    if "box" not in text:
        return []
    found: list[Span] = []
    opened = array("q")  # the place of a box, or -1 for a brace that is none
    begins = array("q")
    bare_box: tuple[int, int, int] | None = None  # (its place, where its content begins, how many are open)
    in_formula = False
    for token in TOKENS.finditer(text):
        mark = token[0]
        if mark == "}":
            if bare_box and bare_box[2] == len(opened):
                found.append((bare_box[0], bare_box[1], token.start(), token.start()))
                bare_box = None
            if opened and (place := opened.pop()) >= 0:
                found.append((place, begins.pop(), token.start(), token.end()))
        elif mark == "{":
            opened.append(-1)
        elif mark[-1] == "{" and mark != r"\{":
            opened.append(token.start())
            begins.append(token.end())
        elif mark.endswith("box") or mark.endswith("boxed"):
            if in_formula:
                bare_box = (token.start(), token.end(), len(opened))
            elif number := _BOXED_NUMBER.match(text, token.end()):
                found.append((token.start(), *number.span(1), number.end()))
        elif mark in _FORMULA or mark[0] == "\n":
            in_formula = mark in (r"\(", r"\[") or (mark[0] == "$" and not in_formula)
            if bare_box and not in_formula:
                if mark[0] != "\n":
                    found.append((bare_box[0], bare_box[1], token.start(), token.start()))
                bare_box = None
    return sorted(found)


def last_content(text: str) -> str | None:
    """Return the content of the last box that is not blank, of nested ones the innermost, or None."""
    for _, begin, end, _ in reversed(spans(text)):
        if not is_blank(text, begin, end):
            return text[begin:end]
    return None


_REPEATING = re.compile(r"\.[0-9]+\.\.\.\Z")  # 0.333...
_INK = re.compile(r"\S")


def is_blank(text: str, begin: int, end: int) -> bool:
    """Say whether nothing but white space stands between two places, without copying it."""
    return _INK.search(text, begin, end) is None


def bare(text: str) -> str:
    r"""Return a text without surrounding white space, ``$``, ``\(...\)``, ``\[...\]`` and full stop."""
    text = text.strip()
    if not text.endswith(r"\right.") and not _REPEATING.search(text):
        text = text.removesuffix(".").rstrip()
    for left, right in _ENCLOSING:
        enclosed = len(text) > len(left) and text.startswith(left) and text.endswith(right)
        if enclosed and not text.endswith("\\" + right):
            text = text[len(left) : len(text) - len(right)].strip()
    return text
