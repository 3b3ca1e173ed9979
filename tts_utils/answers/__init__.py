r"""Extract the final answer of a completion and decide whether it is right: the only definition of "correct".

Integers, equal strings, plain words and lists of these are decided in place, once ``spelling`` has tidied
them. Of everything else ``structure`` takes brackets and commas apart, and the expressions between them are
compared by value: each is read once, in one separate process with a hard time limit that also works in
threads and notebooks (``maths``, ``far_end``, ``values``). Only what this leaves open is math-verify's to
decide. Importing this module starts nothing. Source: math-verify as the authors of Liu et al. 2025
(arXiv:2502.06703) recommend; where the comparison differs from their code (string equality, numbers within
1e-4, SymPy without a limit) is said at :func:`equivalent`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tts_utils.answers import extraction, released
from tts_utils.answers.comparison import Comparison
from tts_utils.answers.grouping import group
from tts_utils.answers.kinds import kind
from tts_utils.answers.maths import MathProcess
from tts_utils.answers.spelling import spell
from tts_utils.answers.structure import read
from tts_utils.answers.verdicts import Verdicts

TIME_LIMIT = 1.0
"""Processor seconds for reading one expression, or one pair; what is not found equal in that time, is not."""

POOL_LIMIT = 12.0
"""Processor seconds for all the answers of one problem together, when they are grouped."""

MAX_TEXT = 4_000_000
"""Characters of the longest text that is searched for an answer: far beyond any model's context."""

MAX_GOLD = 10_000
"""Characters of the longest gold answer; the longest of MATH-500 has 53."""

STATED, RELEASED = "stated", "released"
ORDERS = (STATED, RELEASED)
"""The ways to look for an answer, by the names to store with a table; see :func:`extract_answer`."""

MATHS = MathProcess()
"""The process that reads mathematics; it starts nothing until it is asked, and counts what it is asked."""
VERDICTS = Verdicts()
"""Verdicts that were stored beside tables: they are taken as they are, and need no process."""


def extract_answer(text: str, last_number: bool = False, order: str = STATED) -> str:
    r"""Return the final answer stated in a completion, or "" if it states none.

    The order "stated": first in what follows the last ``</think>``, then in the whole text, the first of
    these that is there: the mathematics in "final answer is $...$. I hope"; the last ``\boxed{...}`` that
    has an end and is not blank (of nested ones the innermost), and with it those that "and", "or" or a comma
    joins to it, as one list; what follows the last "the answer is", "Answer:", a heading "Final Answer",
    ``####`` or ``<answer>``, be it a formula in any delimiters or the rest of the sentence; what follows
    "the solution is"; a closing sentence, "Therefore, x = 4." or "Option B is correct."; and, only with
    ``last_number``, the last number. So by default a completion that never says which number is its answer
    has none; it is wrong and has no vote, rather than being credited with the last number it happened to
    write.

    The order "released" is that of the authors' released code: Minerva's sentence, the last box, "he answer
    is", "final answer is". It reads a thought's box as the answer and half a list of boxes as all of it.

    Args:
        text: a completion of up to ``MAX_TEXT`` characters; time and memory are linear in them.
        last_number: whether to fall back on the last number, as the released code always does.
        order: one of ``ORDERS``.

    Returns:
        The answer without surrounding white space, delimiters, Markdown and full stop; otherwise as written.

    Raises:
        ValueError: the order is unknown, or the text is longer than ``MAX_TEXT``.

    >>> extract_answer(r"So it is $\boxed{\frac{1}{2}}$. I hope it is correct.")
    '\\frac{1}{2}'
    >>> extract_answer("It is 12."), extract_answer("It is 12.", last_number=True)
    ('', '12')
    >>> extract_answer("2 + 3 = 5\n#### 5"), extract_answer("2 + 3 = 5\n#### 5", order="released")
    ('5', '')
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(map(repr, ORDERS))}, got {order!r}")
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"a text of {len(text):,} characters is longer than the {MAX_TEXT:,} in which an answer is "
            "looked for; cut it, or leave it out"
        )
    found = (extraction if order == STATED else released).extract(text)
    return found or (released.last_number(text) if last_number else "")


def equivalent(a: str, b: str) -> bool:
    r"""Say whether two answers mean the same.

    Symmetric, and reflexive; not transitive, since percent signs, units and decimals are lenient. In this
    order:

    1. units: a known unit after a value is dropped, ``12\text{ cm}`` is 12; two different ones, of
       centimetres and metres, are different answers. Words that change the value (million, dozen) are
       multiplied out, and words that are no unit (p.m., west) stay;
    2. equal strings after tidying: yes. Tidying takes away white space, dollars, fonts, the size of brackets
       and fractions, signs and zeros that say nothing, a box around it all, and the separators of thousands:
       ``1,000``, ``1{,}000``, ``1\,000``, ``1,\! 000``, ``1 000``; but ``1, 000`` is a list, and ``(1,000)``
       a pair. It reads Unicode, ``sqrt(3)``, ``pi``, ``1 1/4`` and ``0.\overline{3}`` as the LaTeX they
       stand for;
    3. ``x\%`` is x and also a hundredth of x;
    4. two integers: by value. Two numbers with a base, ``10_2``: by digits and base; never equal to anything
       else. Words: by letters, whatever their case and spacing; never equal to an integer. Words are four
       letters or more, ``AB``, ``Tom``, what is in ``\text``, and the likes of ``no``; ``xy`` is a product.
       Several numbers in a row, ``3 8``, other uses of bases, and what is longer than 1000 characters or not
       balanced in its braces: equal to nothing but itself;
    5. lists without brackets and sets: in any order, each item of a list as often in both; in order if a
       list repeats a word or letter, as ``T, F, T`` does, or names its values, ``x = 1, y = 2``. A list or
       set and a tuple in parentheses: in order. Inequalities, intervals, unions and set-builders: by their
       ends. Matrices: cell by cell. Equations: up to a factor. ``x = 5`` is 5, but not ``y = 5``;
    6. expressions: by value, exactly where they are rational, else at fixed points where both are real, so
       that ``\sqrt{x}\sqrt{y}`` is ``\sqrt{xy}``. i is the imaginary unit and e Euler's number. Decimals are
       compared to six places;
    7. anything else: math-verify, either way round. Reading, and asking, takes ``TIME_LIMIT`` processor
       seconds at most; later is no. Results are remembered.

    Raises:
        RuntimeError: step 6 or 7 is reached and math-verify is not installed.

    Source: math-verify as the authors' README recommends. Their code compares numbers within a relative 1e-4,
    this one to six decimals; theirs compares lists as strings, so in order, and drops brackets.

    >>> equivalent("007", "7"), equivalent("1,000", "1000"), equivalent("12", "13")
    (True, True, False)
    >>> equivalent("5 million", "5000000"), equivalent(r"8\text{ p.m.}", r"8\text{ a.m.}")
    (True, False)
    """
    return Comparison(MATHS, VERDICTS, TIME_LIMIT).same(spell(a), spell(b))


def grade(answer: str, gold: str) -> bool:
    """Say whether an answer is correct: equivalent to the gold answer; an empty answer never is.

    The gold answer decides in two cases, so that ``grade`` is not symmetric in them. A gold answer with a
    base also accepts its digits alone: the question has named the base. (So do the authors' code and
    math-verify; MATH's own grader does not. Both of the first accept any other base too.) A gold answer that
    is an equation, ``x + y = 1``, wants an equation: its right side alone is not enough, as it would be for
    math-verify.

    Raises:
        ValueError: the gold answer is empty, or longer than ``MAX_GOLD`` characters.

    >>> grade("380", "380"), grade("", "380"), grade("52", "52_8"), grade("52_8", "52")
    (True, False, True, False)
    """
    if len(gold) > MAX_GOLD:
        raise ValueError(f"gold answer of {len(gold):,} characters: no answer is longer than {MAX_GOLD:,}")
    wanted = spell(gold)
    if not wanted.key:
        raise ValueError(f"gold answer {gold!r} is empty; a problem without an answer cannot be graded")
    given = spell(answer)
    if kind(wanted.key) == "based" and "_" not in given.key:
        return given.key == wanted.key.partition("_")[0]
    if "=" not in given.key and "=" in wanted.key and read(wanted.key).shape == "equation":
        return False
    return bool(given.key) and Comparison(MATHS, VERDICTS, TIME_LIMIT).same(given, wanted)


def group_answers(answers: Sequence[str], by: str = "equivalence") -> NDArray[np.int64]:
    """Number the answers of one problem: equal number, same answer.

    Each distinct answer is read once. Two are in one group when a chain of equivalent answers joins them, so
    the groups do not depend on the order; ``10``, ``10_2`` and ``10_3`` are three. All of them together take
    ``POOL_LIMIT`` processor seconds at most: what cannot be read in that time is equal only to itself.

    Args:
        answers: (S,) final answers.
        by: "equivalence", or "string" for equality after tidying only, as the authors' code groups votes.

    Returns:
        (S,) numbers 0, 1, ... in order of first appearance; -1 for an empty answer.

    Raises:
        ValueError: unknown ``by``.

    >>> group_answers(["12", "", "012", "7"])
    array([ 0, -1,  0,  1])
    """
    if by not in ("equivalence", "string"):
        raise ValueError(f'by must be "equivalence" or "string", got {by!r}')
    return group(
        answers, Comparison(MATHS, VERDICTS, TIME_LIMIT, POOL_LIMIT) if by == "equivalence" else None
    )
