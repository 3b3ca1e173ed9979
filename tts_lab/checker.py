"""The step checker: says of every step of a lab solution whether it is right.

A step is right when each equation in it is true, uses only numbers that the problem gives or that
earlier right steps derived, and derives a quantity of the problem's solution graph, or checks one that has
been derived (``12 + 5 = 17`` by ``17 - 5 = 12``). The final step is right when it boxes the gold answer and
that answer has been derived. Order is free where the graph leaves it free, ``a + b`` and ``a * b`` may be
turned round, and one step may do several operations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from tts_utils.records import Problem

EQUATION = re.compile(r"[\d+\-*/() ]*\d[\d+\-*/() ]*(?:=[\d+\-*/() ]*\d[\d+\-*/() ]*)+")
TOKEN = re.compile(r"\s*(\d+|[+\-*/()=])")
BOXED = re.compile(r"\\boxed\{\s*(-?\d+)\s*\}")
MAX_EQUATION = 200  # characters; nothing a lab policy means to write is longer
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}

# An expression is an int, or (op, left, right).
Expression = int | tuple


def check_steps(problem: Problem, steps: Sequence[str]) -> list[bool]:
    """The verdict on each step, in order.

    Args:
        problem: a lab problem (``meta`` holds ``nodes``).
        steps: the steps of a solution; separators at their ends do not matter.

    Returns:
        One bool per step. A step that builds on a wrong value is wrong too; a right operation after a
        slip that does not use the slipped value is right.
    """
    nodes = problem.meta["nodes"]
    derived: set[int] = set()
    verdicts = []
    for step in steps:
        right, new = _check(step, problem, nodes, derived)
        derived |= new if right else set()
        verdicts.append(right)
    return verdicts


def is_derived(problem: Problem, steps: Sequence[str]) -> bool:
    """Whether the last step boxes the gold answer, and right equations derive it.

    Equations that are false, or build on such, derive nothing; they may stand beside those that do, even in
    the same step. For policies that check and repair: a repaired slip and a slip in a check do no harm.
    """
    nodes, derived = problem.meta["nodes"], set()
    for step in steps:
        for text in EQUATION.findall(step):
            _check_equation(text, nodes, derived)
    return bool(steps) and _answers(steps[-1], problem, derived)


def first_error(verdicts: Sequence[bool]) -> int:
    """Index of the first wrong step, or -1 where every step is right (ProcessBench's convention)."""
    return next((i for i, right in enumerate(verdicts) if not right), -1)


def all_right(problem: Problem, steps: Sequence[str]) -> bool:
    """Whether the solution is finished, and right for the right reason: every step right."""
    return bool(steps) and BOXED.search(steps[-1]) is not None and all(check_steps(problem, steps))


def _check(step: str, problem: Problem, nodes: Sequence[Mapping], derived: set[int]) -> tuple[bool, set[int]]:
    """Verdict on one step, and the nodes it derives."""
    done = set(derived)
    equations = EQUATION.findall(step)
    for text in equations:
        if not _check_equation(text, nodes, done):
            return False, set()
    if "\\boxed" in step:
        return _answers(step, problem, done), done - derived
    return bool(equations), done - derived


def _answers(step: str, problem: Problem, derived: set[int]) -> bool:
    """Whether a step boxes the gold answer, nothing else, and that answer has been derived."""
    return BOXED.findall(step) == [problem.answer] and len(problem.meta["nodes"]) - 1 in derived


def _check_equation(text: str, nodes: Sequence[Mapping], done: set[int]) -> bool:
    """Whether one equation is true and derives a node; adds what it derives to ``done``."""
    if len(text) > MAX_EQUATION:
        return False
    sides = text.split("=")
    try:
        expressions = [parse(side) for side in sides]
    except ValueError:
        return False
    target = expressions[-1]
    if not isinstance(target, int):
        return False
    for expression in expressions[:-1]:
        derived = _derive(expression, nodes, done)
        if derived is not None and any(nodes[i]["value"] == target for i in derived[1]):
            done |= derived[2]
        elif not _verifies(expression, target, nodes, done):
            return False
    return True


def _verifies(expression: Expression, result: int, nodes: Sequence[Mapping], done: set[int]) -> bool:
    """Whether ``x op y = result`` undoes an operation that has been done."""
    if isinstance(expression, int) or not all(isinstance(e, int) for e in expression[1:]):
        return False
    for i in done:
        (a, b), value = nodes[i]["args"], nodes[i]["value"]
        undone = {
            "+": (("-", value, b, a), ("-", value, a, b)),
            "-": (("+", value, b, a), ("+", b, value, a), ("-", a, value, b)),
            "*": (("/", value, b, a), ("/", value, a, b)),
            "/": (("*", value, b, a), ("*", b, value, a)),
        }
        if (*expression, result) in undone[nodes[i]["op"]]:
            return True
    return False


def _derive(
    expression: Expression, nodes: Sequence[Mapping], done: set[int]
) -> tuple[int, set[int], set[int]] | None:
    """Value of an expression, the nodes it can stand for, all nodes derived on the way; None if invalid."""
    if isinstance(expression, int):
        return expression, {i for i in done if nodes[i]["value"] == expression}, set()
    op, left, right = expression
    a, b = _derive(left, nodes, done), _derive(right, nodes, done)
    if a is None or b is None:
        return None
    available = done | a[2] | b[2]
    matches = set()
    for i, node in enumerate(nodes):
        turned = op in "+*" and [b[0], a[0]] == node["args"]
        if node["op"] == op and ([a[0], b[0]] == node["args"] or turned) and set(node["deps"]) <= available:
            matches.add(i)
    if not matches:
        return None
    value = nodes[min(matches)]["value"]
    return value, matches, a[2] | b[2] | matches


@lru_cache(maxsize=1 << 16)  # samples of one problem, and paths of a search, write the same sums
def parse(text: str) -> Expression:
    """Parse ``2 * (3 + 4)`` into ``("*", 2, ("+", 3, 4))``; ValueError on anything else.

    A plain operator-precedence parser: model text is never evaluated.

    >>> parse("2 * (3 + 4)")
    ('*', 2, ('+', 3, 4))
    """
    output: list[Expression] = []
    operators: list[str] = []

    def reduce() -> None:
        op = operators.pop()
        if op == "(" or len(output) < 2:
            raise ValueError(f"cannot read {text!r}")
        right, left = output.pop(), output.pop()
        output.append((op, left, right))

    position, expect_number = 0, True
    text = text.strip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None or match[1] == "=":
            raise ValueError(f"cannot read {text!r}")
        token, position = match[1], match.end()
        if token.isdigit() or token == "(":
            if not expect_number:
                raise ValueError(f"cannot read {text!r}")
            if token == "(":
                operators.append(token)
            else:
                output.append(int(token))
                expect_number = False
        elif expect_number:
            raise ValueError(f"cannot read {text!r}")
        elif token == ")":
            while operators and operators[-1] != "(":
                reduce()
            if not operators:
                raise ValueError(f"cannot read {text!r}")
            operators.pop()
        else:
            while operators and PRECEDENCE.get(operators[-1], 0) >= PRECEDENCE[token]:
                reduce()
            operators.append(token)
            expect_number = True
    while operators:
        reduce()
    if len(output) != 1 or expect_number:
        raise ValueError(f"cannot read {text!r}")
    return output[0]
