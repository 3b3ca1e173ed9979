r"""The spelling of a final answer: its box taken off, tidied, and what kind of answer it is.

Answers that are tidied to the same text are the same answer; which of the others are, ``answers`` decides by
their kinds.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_CHARS = 1000
"""Answers longer than this are compared as strings only; the longest of MATH-500 has 53 characters."""

_TOKENS = re.compile(  # "\{" is no brace
    r"\\(?:boxed|fbox)(?:\s*\{|(?![A-Za-z]))|\\.|[{}]|\$\$?|\n[ \t]*\n", re.DOTALL
)
_BOXED_NUMBER = re.compile(r"\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?")
_NUMBERS_IN_A_ROW = re.compile(r"[0-9]+(?: [0-9]+)+")
_IN_BASE = re.compile(r"(?:.*=)?([0-9][0-9A-Z]*|[A-Z][0-9A-Z]+)_(?:\{([0-9]+)\}|([0-9]+))")
_LETTERS = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_COMMON = "all|no|odd|on|one|red|six|ten|two|yes"  # other words this short may be products of variables
_WORDS = re.compile(
    rf"(?:.* )?(?:[A-Za-z]{{4,}}|[A-Z]{{2,}}|[A-Z][a-z]+|{_COMMON})(?: .*)?|[A-Z](?: ?[A-Z])+"
)
_SHORT_WORD = re.compile(rf"\\text\{{(?!(?:{_COMMON})\}})[a-z]{{2,3}}\}}")
_BRACKET = re.compile(r"(\\?[()\[\]{}]|, )")

# A comma between digits separates thousands if it is written "{,}", ",\!" or "\,", or if three digits and no
# white space come after it; any other separates items. So does the only comma of "(1,234)": no one puts one
# number in brackets.
_GROUP = r"(?=[0-9]{3}(?![0-9]))"
_PLAIN_BRACKET = re.compile(
    r"[(\[](?:[^()\[\],]*,(?!\s))+[^()\[\],]*[)\]]|\\\{(?:[^{},]*,(?!\s))+[^{},]*\\\}"
)
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])")

_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        ("\N{MINUS SIGN}", "-"),
        (rf"(?<=[0-9])(?:\{{,\}}|,\\! ?|\\,){_GROUP}", ""),
        (r"\{,\}", ","),
        (r"\\!|\\?\$", ""),
        (r"(?<!\\)((?:\\\\)*)(?:\\[,;: ]|\\q?quad(?![A-Za-z])|~)", r"\1 "),  # but "\\ " ends a row
        (r" +", " "),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle)(?![A-Za-z])", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:text(?:normal|bf|it|rm|up|sf|tt)|math(?:rm|bf|it|sf|tt)|mbox) ?\{", r"\\text{"),
        (r"(?<!\\)%| ?\\text\{ ?percent ?\}", r"\\%"),
        (r"\^ ?(?:\\circ(?![A-Za-z])|\{ ?\\circ ?\})|\\degree(?![A-Za-z])|\N{DEGREE SIGN}", r"^\\circ"),
        (r" ?,? ?\\text\{ ?(?:and|or) ?\} ?| ?,? (?:and|or) ", ", "),
        # "4^\frac{3}{2}" is read by math-verify as 3/2, and "2^-1" not at all; with braces it reads both
        (r"(\^|\\sqrt) ?(\\frac\{[^{}]*\}\{[^{}]*\}|\\sqrt\{[^{}]*\}|-[0-9]+|-[A-Za-z])", r"\1{\2}"),
    )
]
_UNIT = re.compile(r"(?<=[0-9])\\text\{[^{}]*\}(?:\^(?:[0-9]|\{[0-9]\}))?$")
# math-verify takes these at the end of an answer for units and drops them: "5t" would equal 5
_VARIABLE = re.compile(
    r"(?<=[0-9}\s])((?:[cdghlmost]|ab|bc|by|lt|mp|mt|(?<!1)st)(?:e?s)?)(?=(?:\\text\{[^{}]*\}\S*)?$)"
)


def boxes(text: str) -> list[tuple[int, str]]:
    r"""Return (place, content) of every box, by place, in one pass.

    A box is ``\boxed{...}`` with balanced braces. Without braces it reaches to the end of its group or
    formula or, outside a formula, holds the number that follows.
    """
    found: list[tuple[int, int, int]] = []
    opened: list[tuple[bool, int, int]] = []  # (is a box, its place, where its content begins)
    bare_box: tuple[int, int, int] | None = None  # (its place, where its content begins, how many are open)
    in_formula = False
    for token in _TOKENS.finditer(text):
        mark = token[0]
        if mark == "}":
            if bare_box and bare_box[2] == len(opened):
                found.append((bare_box[0], bare_box[1], token.start()))
                bare_box = None
            is_box, place, begin = opened.pop() if opened else (False, 0, 0)
            if is_box:
                found.append((place, begin, token.start()))
        elif mark.endswith("{") and mark != r"\{":
            opened.append((mark != "{", token.start(), token.end()))
        elif "box" in mark:
            if in_formula:
                bare_box = (token.start(), token.end(), len(opened))
            elif number := _BOXED_NUMBER.match(text, token.end()):
                found.append((token.start(), *number.span(1)))
        elif mark in ("$", "$$", r"\(", r"\)", r"\[", r"\]") or mark[0] == "\n":
            in_formula = mark in (r"\(", r"\[") or (mark[0] == "$" and not in_formula)
            if bare_box and not in_formula:
                if mark[0] != "\n":
                    found.append((bare_box[0], bare_box[1], token.start()))
                bare_box = None
    return [(place, text[begin:end]) for place, begin, end in sorted(found)]


def bare(text: str) -> str:
    r"""Return a text without surrounding white space, ``$``, ``\(...\)``, ``\[...\]`` and full stop."""
    text = text.strip()
    if not text.endswith(r"\right."):
        text = text.removesuffix(".").rstrip()
    for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        enclosed = len(text) > len(left) and text.startswith(left) and text.endswith(right)
        if enclosed and not text.endswith("\\" + right):
            text = text[len(left) : len(text) - len(right)].strip()
    return text


@lru_cache(maxsize=1 << 15)
def tidy(answer: str) -> str:
    """Return the answer in a tidy spelling; what is equal after this is equal."""
    if _INTEGER.fullmatch(answer):
        return _tidy_item(answer)
    text = bare(answer)
    found = boxes(text)
    if found and text.endswith("}") and found[0][0] == 0:
        text = bare(found[-1][1])
    if len(text) > MAX_CHARS:
        return text
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _PLAIN_BRACKET.sub(lambda bracket: bracket[0].replace(",", ", "), text)
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    text = re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", "", text)
    if not _LETTERS.fullmatch(text):
        text = _VARIABLE.sub(r"{\1}", text)
    text = _without_text(_UNIT.sub("", text))
    return ", ".join(map(_tidy_item, text.strip(",").split(",")))


def _tidy_item(text: str) -> str:
    """Return one item of a tidy list: numbers, numbers with a base and text in one spelling."""
    if number := _NUMBER.fullmatch(text):
        digits = number[2].lstrip("0") or "0"
        if decimals := (number[3] or "").rstrip("0"):
            digits += "." + decimals
        return digits if number[1] != "-" or digits == "0" else "-" + digits
    text = re.sub(r"^(?:\\text\{|\{|\()([0-9A-Za-z]+)[})]_", r"\1_", text)
    if based := _IN_BASE.fullmatch(text):
        return f"{based[1].lstrip('0') or '0'}_{based[2] or based[3]}"
    return _without_text(text)


def _without_text(text: str) -> str:
    r"""Return the content of ``\text{...}``, but ``\text{tom}`` as it is: ``tom`` may be a product."""
    content = re.fullmatch(r"\\text\{([^{}]*)\}", text)
    return content[1] if content and not _SHORT_WORD.fullmatch(text) else text


def items(key: str) -> list[str]:
    """Return the items of a list without brackets; any other tidy answer is the one item."""
    if ", " not in key:
        return [key]
    found, depth = [""], 0
    for part in _BRACKET.split(key):
        if part == ", " and depth == 0:
            found.append("")
        else:
            found[-1] += part
            depth += (part[-1:] in "([{") - (part[-1:] in ")]}") if _BRACKET.fullmatch(part) else 0
    return found


@lru_cache(maxsize=1 << 15)
def kind(key: str) -> str:
    """Say how a tidy answer is compared.

    Returns:
        "integer"; "based", a number with its base; "words"; "letters", so few that they may be variables;
        "list", two or more of these without brackets; "string", as a string only; or "maths", anything else.
    """
    if len(key) > MAX_CHARS:
        return "integer" if _INTEGER.fullmatch(key) else "string"
    parts = items(key)
    if len(parts) > 1:
        kinds = {kind(part) for part in parts}
        if "string" in kinds:
            return "string"
        simple = kinds <= {"integer", "based", "words", "letters"}
        return "list" if simple and all(kind(p) != "letters" or len(p) == 1 for p in parts) else "maths"
    if _NUMBERS_IN_A_ROW.fullmatch(key):
        return "string"
    if _INTEGER.fullmatch(key):
        return "integer"
    if _IN_BASE.fullmatch(key):
        return "based"
    if _SHORT_WORD.fullmatch(key):
        return "words"
    if _LETTERS.fullmatch(key):
        return "words" if _WORDS.fullmatch(key) else "letters"
    if re.search(r"[0-9]\)?_", key):
        return "string"  # a base, which math-verify would drop
    depth = 0
    for token in _TOKENS.findall(key):
        depth += token.endswith("{") and token != "\\{"
        depth -= token == "}"
        if depth < 0 or "box" in token:  # it would close or open the box it is wrapped in
            return "string"
    return "maths" if depth == 0 else "string"
