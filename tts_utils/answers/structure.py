r"""The structure of a tidy answer: list, set, tuple or interval, union, matrix, equation, or one expression.

This is read here, from brackets, commas and relation signs, and only the expressions between them are left to
a parser of mathematics: so ``\{1, 2\}`` never becomes an interval, nor ``x = 1, y = 2`` a set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tts_utils.answers.brackets import bracketed, signs_apart, without_brackets
from tts_utils.answers.regions import Region, as_region
from tts_utils.answers.spelling import split_list

MAX_ITEMS = 100
"""Lists, sets and matrices of more items are left as they are, and compared as one text."""

_MATRIX = re.compile(
    r"(?:\()?\\begin\{(?:[pbvBV]?matrix|array|smallmatrix)\}(?:\{[clr|]*\})?(.*)\\end\{(?:[pbvBV]?matrix|array|smallmatrix)\}\)?"
)
_NAME = r"(?:[A-Za-z]|\\[a-z]+(?<!\\pi))(?:_(?:[0-9A-Za-z]|\{[0-9A-Za-z]+\}))?'?"
_NAMED = re.compile(rf"({_NAME}(?:\^\{{-1\}})?(?:\([^()=]*\))?)=([^=]*)")
_NAMED_BACKWARDS = re.compile(rf"([^=]*)=({_NAME})")
_TUPLE_OF_NAMES = re.compile(rf"\(({_NAME}(?:,{_NAME})+)\)=(.*)")
_MEMBER = re.compile(rf"{_NAME}\\in(?![A-Za-z])(.*)")
_OPEN = re.compile(
    r"\\(?:cup|cap|setminus|in|notin|le|ge|ne|mid|subset\w*|dots|equiv|approx|sim|to|text|cdots|infty|emptyset|mathbb)(?![A-Za-z])|[<>=:]|\.\.\.|\\[{}]|,|\\(?:sum|prod|int|lim|begin)(?![A-Za-z])"
)


@dataclass(frozen=True, slots=True)
class Node:
    """One level of an answer.

    Attributes:
        shape: "value" (one expression), "open" (what is not understood here), "list" (in any order), "set",
            "tuple" (in order), "matrix", "region" (a set of real numbers), "equation" (two sides) or "empty".
        text: the whole of it.
        parts: what is in it; a matrix row by row.
        size: for a tuple its brackets, for a matrix its numbers of rows and columns, else "".
        names: for values with names, ``x = 1``, the names, in the order of the parts.
        region: the intervals of a region, or of a tuple that may be an interval.
    """

    shape: str
    text: str
    parts: tuple[Node, ...] = ()
    size: str = ""
    names: tuple[str, ...] = ()
    region: Region | None = None


@lru_cache(maxsize=1 << 16)
def read(key: str) -> Node:
    """Return the structure of a tidy answer."""
    items = signs_apart(split_list(key))
    if len(items) > MAX_ITEMS:
        return Node("open", key)
    if len(items) == 1:
        return _read_one(items[0])
    return _read_list(key, [_read_one(item) for item in items])


def expressions(node: Node) -> Iterator[str]:
    """Yield the expressions in an answer: what is left between brackets, commas and relation signs."""
    if node.shape == "value" and not node.names:
        yield node.text
    for part in node.parts:
        yield from expressions(part)
    for low, _, high, _ in node.region or ():
        yield from (low, high)


def _read_list(key: str, nodes: list[Node]) -> Node:
    if all(node.shape == "region" for node in nodes):  # x < 2 or x > 3
        return Node("region", key, region=tuple(piece for node in nodes for piece in node.region))
    if all(_is_unbounded(node) for node in nodes):
        return Node("region", key, region=tuple(piece for node in nodes for piece in node.region))
    parts, names = [], []
    for node in nodes:
        if node.shape in ("list", "set") and not node.names:
            parts += node.parts
        elif node.names and node.shape == "value":
            parts.append(Node("value", node.parts[0].text))
            names += node.names
        else:
            parts.append(node)
    letters = {name.partition("_")[0] for name in names}
    if len(names) == len(parts) and len(letters) == len(parts) > 1:
        return Node("tuple", key, tuple(parts), "named", tuple(names))
    return Node("list", key, tuple(parts))


def _is_unbounded(node: Node) -> bool:
    """Say whether brackets can only be an interval: one end is infinite, or they are of two kinds."""
    if node.shape != "tuple" or node.region is None:
        return False
    return node.size not in ("()", "[]") or "infty" in node.text


def _read_one(text: str) -> Node:
    text = without_brackets(text)
    if text == r"\emptyset":
        return Node("empty", text)
    if matrix := _MATRIX.fullmatch(text):
        rows = [
            row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix[1].strip().removesuffix(r"\\"))
        ]
        widths = {len(row) for row in rows}
        if len(widths) == 1 and len(rows) * len(rows[0]) <= MAX_ITEMS and r"\begin" not in matrix[1]:
            cells = tuple(_read_one(re.sub(r"\\hline", "", cell).strip()) for row in rows for cell in row)
            return Node("matrix", text, cells, f"{len(rows)}x{len(rows[0])}")
        return Node("open", text)
    if names := _TUPLE_OF_NAMES.fullmatch(text):
        return read(names[2])
    if member := _MEMBER.fullmatch(text):
        return read(member[1])
    region = as_region(text)
    if (inner := bracketed(text)) is not None:
        parts = tuple(read(part) for part in signs_apart(split_list(inner[1])))
        if inner[0] == r"\{\}" and not re.search(r"[:|<>]|\\mid|\\dots|\.\.\.", inner[1]):
            return (
                Node("set", text, _flat(parts)) if len(parts) > 1 or parts[0].shape != "value" else parts[0]
            )
        if inner[0] != r"\{\}" and len(parts) > 1 and not re.search(r"\\dots|\.\.\.", inner[1]):
            return Node("tuple", text, parts, inner[0], region=region)
    if region is not None:
        return Node("region", text, region=region)
    if named := _NAMED.fullmatch(text):
        return _named(text, named[1], named[2])
    if named := _NAMED_BACKWARDS.fullmatch(text):
        return _named(text, named[2], named[1])
    sides = text.split("=")
    if len(sides) == 2 and all(sides) and not any(map(_OPEN.search, sides)):
        return Node("equation", text, (Node("value", sides[0]), Node("value", sides[1])))
    if text in (r"\infty", r"+\infty", r"-\infty"):
        return Node("value", text.removeprefix("+"))
    return Node("open" if _OPEN.search(text) else "value", text)


def _named(text: str, name: str, value: str) -> Node:
    node = read(value)
    letter = name.partition("(")[0].partition("_")[0].removeprefix("\\")
    if node.shape != "value":
        return node
    appears = len(name) == 1 and re.search(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", value)
    if appears:
        return Node("equation", text, (Node("value", name), Node("value", value)))
    return Node("value", text, (Node("value", value),), names=(name,))


def _flat(parts: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the members of a set, those of a list inside it (1 \\pm 2) one by one."""
    return tuple(member for part in parts for member in (part.parts if part.shape == "list" else (part,)))
