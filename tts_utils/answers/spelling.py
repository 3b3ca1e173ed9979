r"""The spelling of a final answer: its box taken off, Unicode, fonts, spaces, fractions and units tidied.

Answers that are tidied to the same text are the same answer; which of the others are, ``comparison`` decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tts_utils.answers.boxes import bare, spans
from tts_utils.answers.characters import to_latex
from tts_utils.answers.notation import plain_words_to_latex, repeating_to_fractions
from tts_utils.answers.units import multiplied, split_unit

MAX_CHARS = 1000
"""Answers longer than this are compared as strings only; the longest of MATH-500 has 53 characters."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?")
IN_BASE = re.compile(r"(?:.*=)?([0-9][0-9A-Z]*|[A-Z][0-9A-Z]+)_(?:\{([0-9]+)\}|([0-9]+))")
COMMON = "all|no|odd|on|one|red|six|ten|two|yes"  # other words this short may be products of variables
SHORT_WORD = re.compile(rf"\\text\{{(?!(?:{COMMON})\}})[a-z]{{2,3}}\}}")
_BRACKET = re.compile(r"(\\?[()\[\]{}]|, ?)")

# A comma between digits separates thousands if it is written "{,}", ",\!" or "\,", or if three digits and no
# white space come after it; any other separates items. So does the only comma of "(1,234)": no one puts one
# number in brackets.
_GROUP = r"(?=[0-9]{3}(?![0-9]))"
_PLAIN_BRACKET = re.compile(
    r"[(\[](?:[^()\[\],]*,(?!\s))+[^()\[\],]*[)\]]|\\\{(?:[^{},]*,(?!\s))+[^{},]*\\\}"
)
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_SPACED_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?: [0-9]{3})+")
_FONTS = r"text(?:normal|bf|it|rm|up|sf|tt)?|math(?:rm|bf|it|sf|tt|normal)|mbox|boldsymbol|bm|operatorname\*?"
_GREEK = r"\\(?:pi|alpha|beta|gamma|theta|lambda|phi|omega)(?![A-Za-z])"
# "x > 2 and x < 3": both hold; between other things "and" makes a list
_BOTH = (
    r"^([^,]*(?:<|>|\\[lg]e(?![A-Za-z]))[^,]*?) ?,? ?(?:\\text\{ ?and ?\}|\band\b) ?"
    r"([^,]*(?:<|>|\\[lg]e(?![A-Za-z]))[^,]*)$"
)

_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        (rf"(?<=[0-9])(?:\{{,\}}|,\\! ?|\\,){_GROUP}", ""),
        (r"\{,\}", ","),
        (r"\\text ?\{\s*\}", " "),
        (r"\\!|(?<=[}\s])\{ ?\}", ""),
        (r"\\text\{ ?([:;,/.]) ?\}", r"\1"),
        (r"(?<!\\)((?:\\\\)*)(?:\\[,;: ]|\\q?quad(?![A-Za-z])|~)", r"\1 "),  # but "\\ " ends a row
        (r" +", " "),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])", ""),
        (r"\\(?:[dtcs]|nice|flat)frac(?![A-Za-z])", r"\\frac"),
        (rf"\\frac ?({_GREEK}|[0-9A-Za-z])", r"\\frac{\1}"),
        (rf"(\\frac ?\{{[^{{}}]*\}}) ?({_GREEK}|[0-9A-Za-z])", r"\1{\2}"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\l[vV]ert(?![A-Za-z])|\\r[vV]ert(?![A-Za-z])|\\vert(?![A-Za-z])", "|"),
        (rf"\\(?:{_FONTS}) ?\{{", r"\\text{"),
        (r"\\(?:math(?:rm|bf|it)|boldsymbol|bm|bf|rm|it) ?(?=[A-Za-z](?![A-Za-z]))", " "),
        (r"\\(?:leqslant|leq)(?![A-Za-z])", r"\\le "),
        (r"\\(?:geqslant|geq)(?![A-Za-z])", r"\\ge "),
        (r"\\(?:lt)(?![A-Za-z])|&lt;", "<"),
        (r"\\(?:gt)(?![A-Za-z])|&gt;", ">"),
        (r"\\neq(?![A-Za-z])", r"\\ne "),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\[lr]angle(?![A-Za-z])", lambda found: "(" if found[0][1] == "l" else ")"),
        (r"\\(?:varnothing|emptyset)(?![A-Za-z])|\\\{ ?\\\}|\\text\{empty set\}", r"\\emptyset "),
        (r"\\(?:ldots|cdots|dotsc)(?![A-Za-z])", r"\\dots "),
        (r"(?<!\\)%| ?\\text\{ ?percent ?\}|(?<=[0-9]) percent$", r"\\%"),
        (r"\^ ?(?:\\circ(?![A-Za-z])|\{ ?\\circ ?\})|\\degree(?![A-Za-z])", r"^\\circ "),
        (r"(?<=[0-9])\^\{?\\text\{(?:st|nd|rd|th)\}\}?|(?<=[0-9])(?:st|nd|rd|th)$", ""),
        (r"\\text\{ ?([A-Za-z]) ?\}(?=[^\s0-9])|(?<=[0-9A-Za-z})\]^_+*/-])\\text\{([A-Za-z])\}", r" \1\2 "),
        (r"(?<![A-Za-z])(?:\\text\{ ?)?all real(?:s| numbers)(?: ?\}|$)", r"\\mathbb{R}"),
        (_BOTH, r"\1\\wedge \2"),
        (r" ?,? ?\\text\{ ?(?:and|or) ?\} ?| ?,? (?:and|or) ", ", "),
        # "4^\frac{3}{2}" is read by math-verify as 3/2, and "2^-1" not at all; with braces it reads both
        (r"(\^|\\sqrt) ?(\\frac\{[^{}]*\}\{[^{}]*\}|\\sqrt\{[^{}]*\}|-[0-9]+|-[A-Za-z])", r"\1{\2}"),
        (r"(?<!\\)(\\sqrt\[[^\[\]{}]*\]) ?([0-9A-Za-z])", r"\1{\2}"),
    )
]


@dataclass(frozen=True, slots=True)
class Spelling:
    """A tidy answer: its ``key``, and the ``unit`` that was taken off it, "" for none."""

    key: str
    unit: str


def tidy(answer: str) -> str:
    """Return the key of an answer; what has an equal one is equal, but for units."""
    return spell(answer).key


@lru_cache(maxsize=1 << 16)
def spell(answer: str) -> Spelling:
    """Return the tidy spelling of an answer."""
    if _INTEGER.fullmatch(answer):
        return Spelling(_tidy_item(answer), "")
    text = bare(answer)
    found = spans(text)
    if found and text.endswith("}") and found[0][0] == 0:
        text = bare(text[found[-1][1] : found[-1][2]])
    if len(text) > MAX_CHARS:
        return Spelling(text, "")
    text = re.sub(r"(?:\\|;|\s)+$", "", bare(to_latex(text))).strip()
    text = re.sub(r"^\\(?:text|mathrm|mbox) ?\{([^{}\\]*[0-9][^{}\\]*)\}$", r"\1", text)
    has_dollar = bool(re.match(r"-?\s*(?:\\\$|\$\s*[0-9])", text))
    text = re.sub(r"\\?\$", "", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = plain_words_to_latex(text.strip())
    text = re.sub(r"^\\text\{([^{}]*, [^{}]*)\}$", r"\1", text)
    text = _PLAIN_BRACKET.sub(lambda bracket: bracket[0].replace(",", ", "), text)
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    parts = [_without_unit(part) for part in split_list(re.sub(r" ?, ?", ", ", text.strip(", ")))]
    units = {unit for _, unit in parts if unit}
    if has_dollar:
        units = {"dollar " + unit for unit in units or {""}}
    if len(units) > 1:  # two lengths, say; what they are of is part of the answer
        return Spelling(_without_spaces(text), "")
    key = ", ".join(_tidy_item(_without_spaces(part)) for part, _ in parts)
    return Spelling(key, units.pop().strip() if units else "")


def _without_unit(text: str) -> tuple[str, str]:
    """Return one item of a list without its unit, and the unit."""
    text = multiplied(text.strip())
    value, unit = split_unit(text)
    if value != text and re.match(r"euro|pound", value):
        return text, ""
    return repeating_to_fractions(value), unit


def _without_spaces(text: str) -> str:
    """Return the text without the spaces that say nothing: all that are not between letters and digits."""
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", "", text)


def _tidy_item(text: str) -> str:
    """Return one item of a tidy list: numbers, numbers with a base and text in one spelling."""
    if number := _NUMBER.fullmatch(text):
        digits = number[2].lstrip("0") or "0"
        if decimals := (number[3] or "").rstrip("0"):
            digits += "." + decimals
        return digits if number[1] != "-" or digits == "0" else "-" + digits
    text = re.sub(r"^(?:\\text\{|\{|\()([0-9A-Za-z]+)[})]_", r"\1_", text)
    text = re.sub(r"^(\\text\{)?\(([A-Z])\)(?(1)\}|)$", r"\2", text)
    if based := IN_BASE.fullmatch(text):
        return f"{based[1].lstrip('0') or '0'}_{based[2] or based[3]}"
    return _without_text(text)


def _without_text(text: str) -> str:
    r"""Return the content of ``\text{...}``, but ``\text{tom}`` as it is: ``tom`` may be a product."""
    content = re.fullmatch(r"\\text\{ ?([^{}]*?) ?\}", text)
    return content[1] if content and not SHORT_WORD.fullmatch(text) else text


def split_list(text: str) -> list[str]:
    """Return the items of a list without brackets; any other text is the one item."""
    if "," not in text:
        return [text]
    found, depth = [[]], 0
    for part in _BRACKET.split(text):
        if part[:1] == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(part)
            depth += (part[-1:] in "([{") - (part[-1:] in ")]}") if _BRACKET.fullmatch(part) else 0
    return ["".join(parts) for parts in found]
