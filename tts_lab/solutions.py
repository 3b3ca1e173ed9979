r"""Write a problem's solution from its graph, in one of three registers.

``terse``: two operations a step. ``verbose``: one operation a step, in a sentence. ``long``: every operation
is checked by another one; a slip is noticed and redone, as long chains of thought do it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tts_utils.mdp import SEPARATOR
from tts_utils.records import Problem

REGISTERS = ("terse", "verbose", "long")
SLIPS = 0.12  # how often a long solution is shown a wrong result to find and repair
WORDS = {"+": "Adding", "-": "Subtracting", "*": "Multiplying", "/": "Dividing"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a solution; ``learn`` is False for what is to be seen and not imitated."""

    text: str
    learn: bool = True


def solution(problem: Problem, register: str, rng: np.random.Generator) -> str:
    """The problem's solution, steps parted by blank lines, the boxed answer in the last one."""
    return "".join(piece.text for piece in pieces(problem, register, rng))


def pieces(problem: Problem, register: str, rng: np.random.Generator) -> list[Piece]:
    """The same in stretches: the slips of a ``long`` solution are apart, so that they are not learnt.

    Raises:
        ValueError: no such register.
    """
    nodes = problem.meta["nodes"]
    if register == "terse":
        return [Piece(_terse(nodes, problem.answer))]
    if register == "verbose":
        return [Piece(_verbose(nodes, problem.answer, rng))]
    if register == "long":
        return _long(nodes, problem.answer, rng)
    raise ValueError(f"no register {register!r}; there are {', '.join(REGISTERS)}")


def equation(node: dict) -> str:
    """``99 * 3 = 297``."""
    return f"{node['args'][0]} {node['op']} {node['args'][1]} = {node['value']}"


def _terse(nodes: Sequence[dict], answer: str) -> str:
    steps = []
    for i in range(0, len(nodes), 2):
        pair = nodes[i : i + 2]
        steps.append(f"{_capital(pair[-1]['label'])}: {', '.join(map(equation, pair))}.")
    return SEPARATOR.join([*steps, f"Answer: \\boxed{{{answer}}}."])


def _verbose(nodes: Sequence[dict], answer: str, rng: np.random.Generator) -> str:
    steps = []
    for i, node in enumerate(nodes):
        label, sum_ = node["label"], equation(node)
        wordings = (
            f"{WORDS[node['op']]}, {label} is {sum_}.",
            f"{'First' if i == 0 else 'Then'} {label} is {sum_}.",
            f"{'We find' if i == 0 else 'Now we find'} {label}: {sum_}.",
            f"{_capital(label)} comes to {sum_}.",
        )
        steps.append(wordings[int(rng.integers(len(wordings)))])
    return SEPARATOR.join([*steps, f"So the answer is \\boxed{{{answer}}}."])


def _long(nodes: Sequence[dict], answer: str, rng: np.random.Generator) -> list[Piece]:
    written: list[Piece] = []
    for node in nodes:
        lead = f"{_capital(node['label'])} is"
        while rng.random() < SLIPS:
            wrong = _slip(node, rng)
            check, expected = _check(node, wrong)
            left = f"{lead} {node['args'][0]} {node['op']} {node['args'][1]} = "
            noticed = f". Check: {check}, not {expected}.{SEPARATOR}"
            written += [Piece(left), Piece(str(wrong), learn=False), Piece(noticed)]
            lead = f"Again, {node['label']} is"
        check, _ = _check(node, node["value"])
        written.append(Piece(f"{lead} {equation(node)}. Check: {check}, good.{SEPARATOR}"))
    return [*written, Piece(f"So the answer is \\boxed{{{answer}}}.")]


def _check(node: dict, result: int) -> tuple[str, int]:
    """An equation that checks a result, and the value it gives if the result is right.

    A sum is checked by taking one part away, a difference by adding, a quotient by multiplying, a product by
    doing it the other way round.
    """
    (a, b), op = node["args"], node["op"]
    if op == "+":
        return f"{result} - {b} = {result - b}", a
    if op == "-":
        return f"{result} + {b} = {result + b}", a
    if op == "/":
        return f"{result} * {b} = {result * b}", a
    return f"{b} * {a} = {a * b}", result


def _slip(node: dict, rng: np.random.Generator) -> int:
    """A wrong result: a digit wrong, or 1, 2, 10 or 100 off; positive, and such that a sum's check works."""
    value, least = node["value"], node["args"][1] if node["op"] == "+" else 0
    while True:
        digits = list(str(value))
        if rng.random() < 0.5:
            digits[int(rng.integers(len(digits)))] = str(int(rng.integers(10)))
            slipped = int("".join(digits))
        else:
            slipped = value + int(rng.choice([-1, 1])) * int(rng.choice([1, 2, 10, 100]))
        if least < slipped < 1000 and slipped != value:
            return slipped


def _capital(label: str) -> str:
    return label[:1].upper() + label[1:]


def with_slip(text: str, rng: np.random.Generator) -> tuple[str, int]:
    """Put one wrong number into a right solution, which then ends with that step.

    The number gets a wrong digit, is off by 1, 2, 10, 20 or 100, or gives way to another number of the text.

    Returns:
        The text, and the index of its first wrong character.

    Raises:
        ValueError: the text holds no number.
    """
    found = list(re.finditer(r"\d+", text))
    if not found:
        raise ValueError(f"no number to get wrong in {text[:60]!r}")
    place = found[int(rng.integers(len(found)))]
    number, kind = place.group(), rng.integers(3)
    if kind == 0:
        at = int(rng.integers(len(number)))
        wrong = number[:at] + str((int(number[at]) + int(rng.integers(1, 10))) % 10) + number[at + 1 :]
    elif kind == 1:
        wrong = str(abs(int(number) + int(rng.choice([-1, 1])) * int(rng.choice([1, 2, 10, 20, 100]))))
    else:
        wrong = found[int(rng.integers(len(found)))].group()
    if wrong == number:
        wrong = str(int(number) + 1)
    end = text.find(SEPARATOR, place.end())
    rest = text[place.end() : end + len(SEPARATOR)] if end >= 0 else text[place.end() :]
    slipped = text[: place.start()] + wrong + rest
    same = next((i for i, (a, b) in enumerate(zip(text, slipped, strict=False)) if a != b), len(slipped))
    return slipped, min(same, len(slipped) - 1)
