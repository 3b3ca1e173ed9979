r"""Extract the final answer of a completion and decide whether it is right: the only definition of "correct".

Integers, equal strings, plain words and lists of these are decided in place, once ``_spelling`` has tidied
them. Everything else is math-verify's to decide, in one separate process with a hard time limit that also
works in threads and notebooks (see ``_maths``). Importing this module starts nothing.
Source: the extraction order is that of the authors' released code of Liu et al. 2025 (arXiv:2502.06703);
where the comparison differs from theirs (string equality, numbers within 1e-4, SymPy without a limit) is said
at :func:`equivalent`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tts_utils.answers.maths import MathProcess
from tts_utils.answers.spelling import bare, boxes, items, kind, tidy
from tts_utils.answers.verdicts import Verdicts

TIME_LIMIT = 5.0
"""Seconds for comparing two answers; what is not found equal in that time is not equal."""

_NEVER_EQUAL = ({"integer"}, {"integer", "words"}, {"integer", "list"}, {"words", "list"})
# one item that may stand for several, or several that are bracketed as one
_SEVERAL = re.compile(r"\\[pm][pm](?![A-Za-z])|;|\\\{|[(\[]|dots|\.\.|\\text")
_BRACKETED = re.compile(r"[(\[][^()\[\]]*, [^()\[\]]*[)\]]")
_SET = re.compile(r"^\\\{([^{}:|]*, [^{}:|]*)\\\}$")
# two sides of which the left one is more than the name of the right one: "x+y=1", but not "x=1" or "f(x)=1"
_EQUATION = re.compile(r"(?![A-Za-z](?:\^\{-1\})?\([^()]*\)=)(?=[^=]*[A-Za-z])[^=]*[-+^][^=]*=[^=]*")
_LAST_NUMBER = re.compile(r"(?<![0-9A-Za-z)])-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)|[0-9]+(?:\.[0-9]+)?")
_MATHS = MathProcess()  # starts nothing until it is asked
VERDICTS = Verdicts(lambda a, b: _MATHS.equal(a, b, TIME_LIMIT))
"""What math-verify has said of pairs of tidied answers: asked once, remembered, and stored beside tables."""


def extract_answer(text: str, last_number: bool = False) -> str:
    r"""Return the final answer stated in a completion, or "" if it states none.

    The first of these that is there: the mathematics in "final answer is $...$. I hope"; the last
    ``\boxed{...}`` that has an end and is not blank (of nested ones the innermost; ``\boxed 5`` reaches to
    the end of its formula); what follows the last "he answer is"; what follows the last "final answer is";
    and, only with ``last_number``, the last number. So by default a completion that never says which number
    is its answer has none; it is wrong and has no vote, rather than being credited with the last number it
    happened to write.

    Args:
        text: a completion, of any length.
        last_number: whether to fall back on the last number.

    Returns:
        The answer without surrounding white space, dollar signs and full stop; otherwise as written.

    Source: the authors' released code. Differs: it always falls back on the last number; it keeps all that
    follows "answer is", here only the rest of that sentence or formula counts; here a colon after "is" is
    allowed; and its box without braces also begins outside a formula, here only before a number.

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
    found = [content for _, content in boxes(text) if content.strip()]
    if found:
        return bare(found[-1])
    for phrase in ("he answer is", "final answer is"):
        if phrase in text:
            return _innermost(_first_statement(text.rpartition(phrase)[2]))
    numbers = _LAST_NUMBER.findall(text) if last_number else []
    return numbers[-1].rstrip(",") if numbers else ""


def equivalent(a: str, b: str) -> bool:
    r"""Say whether two answers mean the same.

    Symmetric, and reflexive; not transitive, since percent signs and math-verify are lenient. In this order:

    1. equal strings after tidying: yes. Tidying takes away white space, dollars, the size of brackets and
       fractions, signs and zeros that say nothing, a unit in ``\text`` after a number, a box around it all,
       and the separators of thousands: ``1,000``, ``1{,}000``, ``1\,000``, ``1,\! 000``; but ``1, 000`` is a
       list, and ``(1,000)`` a pair;
    2. ``x\%`` is x and also a hundredth of x;
    3. two integers: by value. Two numbers with a base, ``10_2``: by digits and base; never equal to anything
       else. Words: by letters, whatever their case and spacing; never equal to an integer. Words are four
       letters or more, ``AB``, ``Tom``, what is in ``\text``, and the likes of ``no``; ``xy`` is a product.
       Several numbers in a row, ``3 8``, other uses of bases, and what is longer than 1000 characters or not
       balanced in its braces: equal to nothing but itself;
    4. two lists without brackets: in any order, each item as often in both; in order if one repeats a word
       or letter, as ``T, F, T`` does. A list or set and a tuple in parentheses: in order;
    5. math-verify, each wrapped in a box, either way round, within ``TIME_LIMIT`` seconds in all; later is
       no. Results are cached.

    Steps 2 to 4 put right what math-verify would get wrong (6_8 = 6_7, AM = MA, 3 8 = 11, "3, 3" = 3,
    "6, 5" = (5,6), and -50\% is not -50), and let data whose answers are integers do without it. It also
    takes a letter after a number for a unit, 5t = 5; here it is a variable.

    Raises:
        RuntimeError: step 5 is reached and math-verify is not installed.

    Source: math-verify as the authors' README recommends. Their code compares numbers within a relative 1e-4,
    this one by math-verify's six digits; theirs compares lists as strings, so in order, and drops brackets.

    >>> equivalent("007", "7"), equivalent("1,000", "1000"), equivalent("12", "13")
    (True, True, False)
    """
    return _equivalent_keys(tidy(a), tidy(b))


def grade(answer: str, gold: str) -> bool:
    """Say whether an answer is correct: equivalent to the gold answer; an empty answer never is.

    A gold answer with a base also accepts its digits alone: the question has named the base. (So do the
    authors' code and math-verify; MATH's own grader does not. Both of the first accept any other base too.)
    A gold answer that is an equation, ``x + y = 1``, wants an equation: its right side alone is not enough,
    as it would be for math-verify.

    Raises:
        ValueError: the gold answer is empty.

    >>> grade("380", "380"), grade("", "380"), grade("52", "52_8"), grade("52_8", "52")
    (True, False, True, False)
    """
    gold_key = tidy(gold)
    if not gold_key:
        raise ValueError(f"gold answer {gold!r} is empty; a problem without an answer cannot be graded")
    key = tidy(answer)
    if kind(gold_key) == "based" and "_" not in key:
        return key == gold_key.partition("_")[0]
    if _EQUATION.fullmatch(gold_key) and "=" not in key:
        return False
    return bool(key) and _equivalent_keys(key, gold_key)


def group_answers(answers: Sequence[str], by: str = "equivalence") -> NDArray[np.int64]:
    """Number the answers of one problem: equal number, same answer.

    Args:
        answers: (S,) final answers.
        by: "equivalence", or "string" for equality after tidying only, as the authors' code groups votes.

    Returns:
        (S,) numbers 0, 1, ... in order of first appearance; -1 for an empty answer. An answer joins the first
        group whose first member it is equivalent to, so ``10``, ``10_2`` and ``10_3`` are three groups.

    Raises:
        ValueError: unknown ``by``.

    >>> group_answers(["12", "", "012", "7"])
    array([ 0, -1,  0,  1])
    """
    if by not in ("equivalence", "string"):
        raise ValueError(f'by must be "equivalence" or "string", got {by!r}')
    numbers: dict[str, int] = {"": -1}
    leaders: list[tuple[int, str]] = []
    others: list[tuple[int, str]] = []  # leaders but integers: two integers with different keys are different
    ids = np.empty(len(answers), dtype=np.int64)
    for i, answer in enumerate(answers):
        key = tidy(answer)
        if key not in numbers:
            candidates = others if kind(key) == "integer" else leaders
            same = (n for n, leader in candidates if by == "equivalence" and _equivalent_keys(key, leader))
            numbers[key] = next(same, len(leaders))
            if numbers[key] == len(leaders):
                leaders.append((numbers[key], key))
                if kind(key) != "integer":
                    others.append(leaders[-1])
        ids[i] = numbers[key]
    return ids


def _equivalent_keys(a: str, b: str) -> bool:
    """Decide for two tidied answers."""
    if a == b or not a or not b:
        return a == b
    if any(key.endswith(r"\%") and len(items(key)) == 1 for key in (a, b)):
        return _equivalent_percents(*sorted((a, b), key=lambda key: key.endswith(r"\%")))
    kinds = {kind(a), kind(b)}
    if kinds & {"string", "based"} or kinds in _NEVER_EQUAL:
        return False
    if kinds == {"list"}:
        return _same_items(items(a), items(b))
    if "words" in kinds and kinds <= {"words", "letters"}:
        return _letters(a) == _letters(b)
    numbers = [len(items(key)) for key in (a, b)]
    if numbers[0] != numbers[1] and not any(map(_SEVERAL.search, (a, b))):
        return False
    if _BRACKETED.fullmatch(b):
        a = _in_parentheses(a)
    elif _BRACKETED.fullmatch(a):
        b = _in_parentheses(b)
    return _ask_maths(*sorted((a, b)))


def _in_parentheses(key: str) -> str:
    """Return a list or set as a tuple; math-verify would compare it with a tuple in any order."""
    if len(items(key)) > 1:
        return f"({key})"
    return _SET.sub(r"(\1)", key)


def _equivalent_percents(a: str, b: str) -> bool:
    r"""Decide for an answer and ``x\%``, which is x as well as a hundredth of x."""
    number = b.removesuffix(r"\%")
    if _equivalent_keys(a.removesuffix(r"\%"), number):
        return True
    if a.endswith(r"\%") or kind(number) not in ("integer", "maths"):
        return False
    if kind(a) == kind(number) == "integer":
        return number == a + "00"
    return _equivalent_keys(a, rf"\frac{{{number}}}{{100}}")


def _same_items(a: list[str], b: list[str]) -> bool:
    """Compare two lists item by item; one that repeats a word or letter, ``T, F, T``, is a sequence."""
    a, b = list(map(_letters, a)), list(map(_letters, b))
    is_sequence = any(n > 1 and item[0].isalpha() for item, n in Counter(a).items())
    return a == b if is_sequence else Counter(a) == Counter(b)


def _letters(key: str) -> str:
    """Return words as they are compared: whatever their case and spacing."""
    return key.removeprefix("\\text{").removesuffix("}").replace(" ", "").casefold()


def _ask_maths(a: str, b: str) -> bool:
    return VERDICTS.of(a, b)


def _innermost(text: str) -> str:
    """Return the content of the last box in the text, or all of it."""
    found = boxes(f"${text}$")
    return bare(found[-1][1] if found else text)


def _first_statement(text: str) -> str:
    """Return the formula a text begins with, or its first sentence, within its first line."""
    line = text.lstrip(": \n").partition("\n")[0]
    if line.startswith("$"):
        return line.lstrip("$").partition("$")[0]
    return re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].strip("*")
