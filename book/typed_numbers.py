"""Find numbers that somebody typed into the book's prose, where a cell should have computed them.

A result belongs into a cell: print it, or say it (``charts.say(f"... {share:.0%} ...")``). Then it stays true
when the tables change. A number that is no result may be typed if a mark in its cell or page says what it is:

    <!-- numbers | setting: 64, 0.7 | example: 0.55, 0.97 | published (Liu et al. 2025, Table 2): 86.8 -->

In a code cell the mark is a comment, ``# numbers | setting: 64``, for the strings given to ``say``. Free are
whole numbers below ten that stand alone; references ("Table 2", "Lesson 4"), years of citations, minutes,
"95 % interval"; and what is code. A mark for a number that is not there is an error too. A page of no results
(an exam, a price list) may be marked as a whole: ``example: *``. Needs no package.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from notebooks import ROOT, cell_source, lesson_paths, load

KINDS = ("setting", "example", "definition", "published")
HTML_MARK = re.compile(r"<!-- *numbers *\|(.*?)-->", re.DOTALL)
LINE_MARK = re.compile(r"# *numbers *\|(.*)$", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w./:])(?<!\w[-–])\d[\d,]*(?:\.\d+)?(?![\w])")
UNIT = re.compile(r"\s*(?:%|\\%|points?\b|times\b|of (?:the |its |all |these )?\d)")
FREE = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"```(?s:.*?)```",
        r"`[^`\n]*`",
        r"<!--(?s:.*?)-->",
        r"<[a-z/][^>]*>",
        r"\]\([^)\s]*\)",  # where a link leads
        r"https?://\S+",
        r"arXiv:[\d.]+",
        r"\b(?:[Ll]essons?|[Ss]ections?|[Tt]ables?|[Ff]igures?|[Ee]quations?|[Aa]ppendix|[Cc]hapters?|[Ss]teps?|"
        r"[Dd]epths?|[Ee]xercises?|[Pp]oints?|[Rr]ule|[Pp]art|[Rr]ows?) \d+(?:\.\d+)*[a-z]?"
        r"(?:(?:,| and| or| to|–) \d+(?:\.\d+)*|–\d+)*",
        r"\b(?:et al\.|and [A-Z]\w+|[A-Z]\w+),? \(?(?:19|20)\d\d[a-z]?",
        r"\b(?:19|20)\d\d\b(?= ?[-–] ?\d\d)|\bin (?:19|20)\d\d\b",
        r"\b\d+(?:[-–]\d+)? minutes(?:, and \d+ for the exercises)?",
        r"^\s*\d+\. ",
        r"^#+ \d+\. ",
        r"95 % (?:\([^)]*\) )?(?:confidence |bootstrap )?intervals?",
    )
]


def typed_numbers(text: str) -> list[str]:
    """Give the numbers of a text that need a mark, in order.

    >>> typed_numbers("Table 2 has 86.8; 5 of 17 end right, in 2 steps, or 40 % ([Liu et al. 2025](x.md#y))")
    ['86.8', '5', '17', '40']
    """
    for pattern in FREE:
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found = []
    for match in NUMBER.finditer(text):
        number = match[0].rstrip(",")
        unit = UNIT.match(text, match.start() + len(number))
        share = unit or re.search(r"\bof (?:the |its |all |these )?$", text[: match.start()])
        if share or len(number) > 1:
            found.append(number)
    return found


def marked_numbers(marks: list[str]) -> tuple[set[str], list[str]]:
    """Read marks; give the numbers they allow, and what is wrong with them."""
    numbers: set[str] = set()
    bad = []
    for part in (part.strip() for mark in marks for part in mark.split("|")):
        kind, colon, listed = part.rpartition(":")
        name = kind.split("(")[0].strip()
        if not colon or name not in KINDS:
            bad.append(f"has the mark {part!r}; write KIND: numbers, with a kind of {', '.join(KINDS)}")
        elif name == "published" and not re.search(r"\(.+\)", kind):
            bad.append(f"marks {listed.strip()} as published without its source: published (source): numbers")
        else:
            numbers |= {number.strip() for number in re.split(r",\s+|\s+", listed.strip()) if number.strip()}
    return numbers, bad


def prose_problems(text: str, marks: list[str], all_at_once: bool = False) -> list[str]:
    """Say what is wrong with the numbers of a piece of prose; ``all_at_once`` lets a mark say ``*``."""
    found = typed_numbers(text)
    allowed, bad = marked_numbers(marks)
    if all_at_once and allowed == {"*"}:
        return bad
    typed = [number for number in dict.fromkeys(found) if number not in allowed]
    if typed:
        bad.append(
            f"types {', '.join(typed)}: let a cell say it (charts.say), or mark it: <!-- numbers | setting: "
            f"{typed[0]} -->"
        )
    if stale := sorted(allowed - set(found)):
        bad.append(f"marks {', '.join(stale)}, which its prose does not have")
    return bad


def said(source: str) -> str:
    """The typed parts of the strings that a cell gives to ``say``, as they are or by a name."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    given = [
        argument
        for call in calls
        if getattr(call.func, "attr", getattr(call.func, "id", "")) == "say"
        for argument in call.args
    ]
    names = {argument.id for argument in given if isinstance(argument, ast.Name)}
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if names & {target.id for target in targets if isinstance(target, ast.Name)}:
            given.append(getattr(node, "value", None))
    return "\n".join(_typed_text(argument) for argument in given)


def _typed_text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):  # what is computed becomes a letter
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in node.values)
    if isinstance(node, ast.BinOp):
        return _typed_text(node.left) + _typed_text(node.right)
    return ""


def notebook_problems(path: Path) -> list[str]:
    """Say which cells of a notebook type numbers."""
    found = []
    for cell in load(path)["cells"]:
        source = cell_source(cell)
        if cell["cell_type"] == "markdown":
            bad = prose_problems(source, HTML_MARK.findall(source))
        else:
            bad = prose_problems(said(source), LINE_MARK.findall(source))
        found += [f"{path.name}: cell {cell['id']} {problem}" for problem in bad]
    return found


def page_problems(path: Path) -> list[str]:
    """Say which numbers a page of the book types."""
    text = path.read_text(encoding="utf-8")
    found = prose_problems(text, HTML_MARK.findall(text), all_at_once=True)
    return [f"{path.name} {problem}" for problem in found]


def main() -> None:
    """Check all notebooks and pages of the book."""
    other = ("bibliography.md", "WRITING.md")  # titles and dates; no page of the book
    pages = [page for page in sorted((ROOT / "book").glob("*.md")) if page.name not in other]
    found = [problem for path in lesson_paths() for problem in notebook_problems(path)]
    found += [problem for page in pages for problem in page_problems(page)]
    print("\n".join(found), file=sys.stderr)
    if found:
        sys.exit(f"{len(found)} cells or pages of the book type numbers that no cell computes.")


if __name__ == "__main__":
    main()
