"""Build a problem together with its solution graph: every quantity knows how it was derived.

A template writes the problem's text and, with it, the operations that solve it. The solutions in every
register, the answer and the step checker all come from that one graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MAX_VALUE = 999
SYMBOLS = ("+", "-", "*", "/")


class Retry(Exception):
    """The numbers drawn do not work out (a fraction, a negative or too large value): draw again."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of the problem: given (node is None) or derived by node number ``node``."""

    value: int
    node: int | None = None

    def __str__(self) -> str:
        return str(self.value)


@dataclass
class Builder:
    """Collects the text, the given numbers and the operations of one problem."""

    rng: np.random.Generator
    level: int
    sentences: list[str] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    nodes: list[dict] = field(default_factory=list)

    def number(self, low: int, high: int) -> Quantity:
        """Draw a given number from low..high, both included."""
        return self.known(int(self.rng.integers(low, high + 1)))

    def known(self, value: int) -> Quantity:
        """A number that the text gives."""
        self.given.append(value)
        return Quantity(value)

    def pick(self, options: Sequence):
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def sample(self, options: Sequence, k: int) -> list:
        """k different options, in random order."""
        return [options[i] for i in self.rng.permutation(len(options))[:k]]

    def say(self, sentence: str) -> None:
        """Add a sentence to the problem's text."""
        self.sentences.append(sentence)

    def do(self, op: str, a: Quantity, b: Quantity, label: str) -> Quantity:
        """Derive ``a op b``, called ``label`` (a noun phrase); Retry if the value is not fit."""
        if op == "/":
            if b.value == 0 or a.value % b.value:
                raise Retry
            value = a.value // b.value
        else:
            value = {"+": a.value + b.value, "-": a.value - b.value, "*": a.value * b.value}[op]
        if not 1 <= value <= MAX_VALUE:
            raise Retry
        deps = [q.node for q in (a, b) if q.node is not None]
        args = [a.value, b.value]
        self.nodes.append({"op": op, "args": args, "deps": deps, "value": value, "label": label})
        return Quantity(value, len(self.nodes) - 1)

    def total(self, parts: Sequence[Quantity], label: str) -> Quantity:
        """Add the parts up, one addition after another."""
        result = parts[0]
        for part in parts[1:]:
            result = self.do("+", result, part, label)
        return result
