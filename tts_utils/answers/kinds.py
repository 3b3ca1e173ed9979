"""What kind of answer a tidy answer is, which decides how it is compared."""

from __future__ import annotations

import re
from functools import lru_cache

from tts_utils.answers.boxes import TOKENS
from tts_utils.answers.spelling import COMMON, IN_BASE, MAX_CHARS, SHORT_WORD, split_list

MAX_DEPTH = 20
"""Brackets nested deeper than this are compared as strings only: the parser's time grows fast in depth."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBERS_IN_A_ROW = re.compile(r"[0-9]+(?: [0-9]+)+")
_LETTERS = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_WORDS = re.compile(rf"(?:.* )?(?:[A-Za-z]{{4,}}|[A-Z]{{2,}}|[A-Z][a-z]+|{COMMON})(?: .*)?|[A-Z](?: ?[A-Z])+")
_PROSE = re.compile(r"(?=.*(?<!\\)(?<![A-Za-z\\])[A-Za-z]{4,})[A-Za-z][A-Za-z .'’,-]*")
_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]*\}|\\[A-Za-z]+")
_WORD_IN_MATHS = re.compile(
    r"(?<![A-Za-z])(?:am|pm|a\.m\.?|p\.m\.?|AM|PM|to|at|not|of|per|than|BC|AD|by)(?![A-Za-z])"
    r"|(?:(?<=\s)|^)(?=[a-z]*[aeiou])[A-Za-z]{4,}|(?<![A-Za-z])[A-Za-z]{6,}"
)
_CLOCK = re.compile(r"[0-9]{1,2}:[0-5][0-9]")


@lru_cache(maxsize=1 << 16)
def kind(key: str) -> str:
    """Say how a tidy answer is compared.

    Returns:
        "integer"; "based", a number with its base; "words"; "letters", so few that they may be variables;
        "list", two or more of these without brackets; "string", as a string only; or "maths", anything else.
    """
    if len(key) > MAX_CHARS:
        return "integer" if _INTEGER.fullmatch(key) else "string"
    parts = split_list(key)
    if len(parts) > 1:
        kinds = {kind(part) for part in parts}
        if kinds & {"string"}:
            return "string"
        simple = kinds <= {"integer", "based", "words", "letters"}
        return "list" if simple and all(kind(p) != "letters" or len(p) == 1 for p in parts) else "maths"
    if _INTEGER.fullmatch(key):
        return "integer"
    if _NUMBERS_IN_A_ROW.fullmatch(key) or _CLOCK.fullmatch(key):
        return "string"
    if IN_BASE.fullmatch(key):
        return "based"
    if SHORT_WORD.fullmatch(key):
        return "words"
    if _LETTERS.fullmatch(key):
        return "words" if _WORDS.fullmatch(key) else "letters"
    if _PROSE.fullmatch(key):
        return "words"
    if re.search(r"[0-9]\)?_", key) or "\\text" in key or _WORD_IN_MATHS.search(_COMMAND.sub(" ", key)):
        return "string"  # a base, which math-verify would drop; a word that changes the value
    return "maths" if _is_balanced(key) else "string"


def _is_balanced(key: str) -> bool:
    depth = deepest = 0
    for token in TOKENS.findall(key):
        if "box" in token:
            return False
        depth += token.endswith("{") and token != "\\{"
        depth -= token == "}"
        deepest = max(deepest, depth)
        if depth < 0:
            return False
    rounds = others = 0
    for character in key:
        rounds += (character in "([") - (character in ")]")
        others = max(others, rounds)
    return depth == 0 and max(deepest, others) <= MAX_DEPTH


def letters(key: str) -> str:
    r"""Return words as they are compared: whatever their case, spacing, full stops and ``\text``."""
    return re.sub(r"\\text\{([^{}]*)\}", r"\1", key).replace(" ", "").replace(".", "").casefold()
