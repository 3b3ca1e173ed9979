r"""Extract the final answer of a completion and decide whether it is right: the only definition of "correct".

Integers, equal strings and plain words are decided in place. Everything else is math-verify's to decide, in
one separate process with a hard time limit that also works in threads and notebooks (see ``_maths``).
Importing this module starts nothing.
Source: the extraction order is that of the authors' released code of Liu et al. 2025 (arXiv:2502.06703);
where the comparison differs from theirs (string equality, numbers within 1e-4, SymPy without a limit) is said
at :func:`equivalent`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tts_utils._maths import MathProcess

TIME_LIMIT = 5.0
"""Seconds for comparing two answers; what is not found equal in that time is not equal."""

MAX_CHARS = 1000
"""Answers longer than this are compared as strings only; the longest of MATH-500 has 53 characters."""

_TOKENS = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)  # "\{" is no brace
_INTEGER = re.compile(r"([+-]?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)")
_IN_BASE = re.compile(r"([0-9][0-9A-Za-z]*)_(?:\{([0-9]+)\}|([0-9]+))")
_WORDS = re.compile(r"[A-Za-z]{4,}(?: [A-Za-z]+)*")
_NUMBERS_IN_A_ROW = re.compile(r"[0-9]+(?: [0-9]+)+")
# "4^\\frac{3}{2}" is read by math-verify as 3/2, and "2^-1" not at all; with braces it reads both
_UNBRACED = re.compile(r"(\^|\\sqrt)\s*(\\frac\{[^{}]*\}\{[^{}]*\}|\\sqrt\{[^{}]*\}|-[0-9]+|-[A-Za-z])")
_LAST_NUMBER = re.compile(r"(?<![0-9A-Za-z)])-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)|[0-9]+(?:\.[0-9]+)?")
_MATHS = MathProcess()  # starts nothing until it is asked


def extract_answer(text: str, last_number: bool = False) -> str:
    r"""Return the final answer stated in a completion, or "" if it states none.

    The first of these that is there: the mathematics in "final answer is $...$. I hope"; the last
    ``\boxed{...}`` that has an end and is not blank (of nested ones the innermost); what follows the last "he
    answer is"; what follows the last "final answer is"; and, only with ``last_number``, the last number. So
    by default a completion that never says which number is its answer has none; it is wrong and has no vote,
    rather than being credited with the last number it happened to write.

    Args:
        text: a completion, of any length.
        last_number: whether to fall back on the last number.

    Returns:
        The answer without surrounding white space, dollar signs and full stop; otherwise as written.

    Source: the authors' released code. Differs: it always falls back on the last number; it keeps all that
    follows "answer is", here only the rest of that sentence or formula counts; and here a colon after "is" is
    allowed.

    >>> extract_answer(r"So it is $\boxed{\frac{1}{2}}$. I hope it is correct.")
    '\\frac{1}{2}'
    >>> extract_answer("It is 12."), extract_answer("It is 12.", last_number=True)
    ('', '12')
    """
    end = text.rfind("$. I hope")
    start = text.rfind("final answer is", 0, max(end, 0))
    if start >= 0:
        before, dollar, formula = text[start + len("final answer is") : end].partition("$")
        if dollar and not before.strip(": ") and "$" not in formula:
            return _innermost(formula)
    boxes = [content for _, content in _boxes(text) if content.strip()]
    if boxes:
        return _bare(boxes[-1])
    for phrase in ("he answer is", "final answer is"):
        if phrase in text:
            return _innermost(_first_statement(text.rpartition(phrase)[2]))
    numbers = _LAST_NUMBER.findall(text) if last_number else []
    return numbers[-1].rstrip(",") if numbers else ""


def equivalent(a: str, b: str) -> bool:
    r"""Say whether two answers mean the same.

    Symmetric, and reflexive; not transitive, since math-verify is lenient (``10\%`` equals both 10 and 0.1).
    In this order:

    1. equal strings after tidying (white space, dollars, ``\left``, ``\dfrac``, a box around it all): yes;
    2. two integers (signs, leading zeros and thousands separators allowed): by value. Two numbers with a
       base, ``10_2``: by digits and base. Words of four letters or more: by letters, whatever their case;
       never equal to an integer. Several numbers in a row, ``3 8``, or what is longer than ``MAX_CHARS`` or
       not balanced in its braces: equal to nothing but itself;
    3. math-verify, each wrapped in a box, either way round, within ``TIME_LIMIT`` seconds in all; later is
       no. Results are cached.

    Step 2 puts right what math-verify would get wrong (6_8 = 6_7, Friday = dayFri, 3 8 = 11), and lets data
    whose answers are integers do without it.

    Raises:
        RuntimeError: step 3 is reached and math-verify is not installed.

    Source: math-verify as the authors' README recommends; their code compares numbers within a relative 1e-4,
    this one by math-verify's six digits.

    >>> equivalent("007", "7"), equivalent("1,000", "1000"), equivalent("12", "13")
    (True, True, False)
    """
    return _equivalent_keys(_key(a), _key(b))


def grade(answer: str, gold: str) -> bool:
    """Say whether an answer is correct: equivalent to the gold answer; an empty answer never is.

    Raises:
        ValueError: the gold answer is empty.

    >>> grade("380", "380"), grade("", "380")
    (True, False)
    """
    gold_key = _key(gold)
    if not gold_key:
        raise ValueError(f"gold answer {gold!r} is empty; a problem without an answer cannot be graded")
    key = _key(answer)
    return bool(key) and _equivalent_keys(key, gold_key)


def group_answers(answers: Sequence[str], by: str = "equivalence") -> NDArray[np.int64]:
    """Number the answers of one problem: equal number, same answer.

    Args:
        answers: (S,) final answers.
        by: "equivalence", or "string" for equality after tidying only, as the authors' code groups votes.

    Returns:
        (S,) numbers 0, 1, ... in order of first appearance; -1 for an empty answer. An answer joins the first
        group whose first member it is equivalent to.

    Raises:
        ValueError: unknown ``by``.

    >>> group_answers(["12", "", "012", "7"])
    array([ 0, -1,  0,  1])
    """
    if by not in ("equivalence", "string"):
        raise ValueError(f'by must be "equivalence" or "string", got {by!r}')
    numbers: dict[str, int] = {"": -1}
    leaders: list[str] = []
    ids = np.empty(len(answers), dtype=np.int64)
    for i, answer in enumerate(answers):
        key = _key(answer)
        if key not in numbers:
            same = (
                n for n, leader in enumerate(leaders) if by == "equivalence" and _equivalent_keys(key, leader)
            )
            numbers[key] = next(same, len(leaders))
            if numbers[key] == len(leaders):
                leaders.append(key)
        ids[i] = numbers[key]
    return ids


def _equivalent_keys(a: str, b: str) -> bool:
    """Decide for two tidied answers."""
    if a == b or not a or not b:
        return a == b
    if _INTEGER.fullmatch(a) and _INTEGER.fullmatch(b):
        return False  # the keys of equal integers are equal
    kinds = (_kind(a), _kind(b))
    if "string" in kinds or kinds in (("integer", "words"), ("words", "integer")):
        return False
    if kinds == ("words", "words"):
        return a.casefold() == b.casefold()
    if kinds == ("based", "based"):
        return False
    return _ask_maths(*sorted((a, b)))


@lru_cache(maxsize=1 << 15)
def _ask_maths(a: str, b: str) -> bool:
    return _MATHS.equal(a, b, TIME_LIMIT)


def _kind(key: str) -> str:
    """Say how an answer is compared: "integer", "words", "based", "string" (as such only) or "maths"."""
    if len(key) > MAX_CHARS or _NUMBERS_IN_A_ROW.fullmatch(key):
        return "string"
    for kind, pattern in (("integer", _INTEGER), ("words", _WORDS), ("based", _IN_BASE)):
        if pattern.fullmatch(key):
            return kind
    depth = 0
    for token in _TOKENS.findall(key):
        depth += token.endswith("{") and token != "\\{"
        depth -= token == "}"
        if depth < 0 or "box" in token:  # it would close or open the box it is wrapped in
            return "string"
    return "maths" if depth == 0 else "string"


@lru_cache(maxsize=1 << 15)
def _key(answer: str) -> str:
    """Return the answer in a tidy spelling; what is equal after this is equal."""
    text = _bare(answer)
    boxes = _boxes(text)
    if boxes and text.endswith("}") and boxes[0][0] == 0:
        text = _bare(boxes[-1][1])
    if len(text) > MAX_CHARS:
        return text
    text = text.replace("\N{MINUS SIGN}", "-").replace("{,}", ",")
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[!,;:]", "", text)
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\{([A-Za-z][A-Za-z ]*)\}", r"\\text{\1}", text)
    text = _UNBRACED.sub(r"\1{\2}", text)
    if (words := re.fullmatch(r"\\text\{(.*)\}", text)) and _WORDS.fullmatch(words[1].strip()):
        text = words[1]
    text = re.sub(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])", "", re.sub(r"\s+", " ", text))
    if integer := _INTEGER.fullmatch(text):
        digits = integer[2].replace(",", "").lstrip("0") or "0"
        return digits if integer[1] != "-" or digits == "0" else "-" + digits
    if based := _IN_BASE.fullmatch(text):
        return f"{based[1].lstrip('0') or '0'}_{based[2] or based[3]}"
    return text


def _boxes(text: str) -> list[tuple[int, str]]:
    r"""Return (place, content) of every ``\boxed{...}`` with balanced braces, by place, in one pass."""
    found: list[tuple[int, str]] = []
    opened: list[tuple[bool, int, int]] = []  # (is a box, its place, where its content begins)
    for token in _TOKENS.finditer(text):
        if token[0] == "}":
            is_box, place, begin = opened.pop() if opened else (False, 0, 0)
            if is_box:
                found.append((place, begin, token.start()))
        elif token[0] == "{" or "box" in token[0]:
            opened.append((token[0] != "{", token.start(), token.end()))
    return [(place, text[begin:end]) for place, begin, end in sorted(found)]


def _innermost(text: str) -> str:
    """Return the content of the last box in the text, or all of it."""
    boxes = _boxes(text)
    return _bare(boxes[-1][1] if boxes else text)


def _first_statement(text: str) -> str:
    """Return the formula a text begins with, or its first sentence, within its first line."""
    line = text.lstrip(": \n").partition("\n")[0]
    if line.startswith("$"):
        return line.lstrip("$").partition("$")[0]
    return re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].strip("*")


def _bare(text: str) -> str:
    r"""Return a text without surrounding white space, ``$``, ``\(...\)``, ``\[...\]`` and full stop."""
    text = text.strip()
    if not text.endswith(r"\right."):
        text = text.removesuffix(".").rstrip()
    for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        enclosed = len(text) > len(left) and text.startswith(left) and text.endswith(right)
        if enclosed and not text.endswith("\\" + right):
            text = text[len(left) : len(text) - len(right)].strip()
    return text
