"""Precalculus: dot products, determinants, matrices and complex numbers."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import OPERATIONS, big, chain, small


def dot(b: Builder) -> Quantity:
    """Dot products of vectors."""
    size = (OPERATIONS[b.level] + 1) // 2
    u = [b.number(11, 60) for _ in range(size)]
    v = [small(b) for _ in range(size)]
    left, right = b.sample("uvwab", 2)
    show = ["(" + ", ".join(map(str, q)) + ")" for q in (u, v)]
    b.say(
        b.pick(
            (
                f"Let {left} = {show[0]} and {right} = {show[1]}.",
                f"The vectors are {left} = {show[0]} and {right} = {show[1]}.",
            )
        )
    )
    parts = [b.do("*", x, y, f"product {i + 1}") for i, (x, y) in enumerate(zip(u, v, strict=True))]
    value = b.total(parts, "the sum")
    ask = b.pick((f"Find the dot product of {left} and {right}", f"Find the product {left} * {right}"))
    if OPERATIONS[b.level] % 2 == 0:
        n = big(b)
        b.say(f"{ask}, plus {n}.")
        return b.do("+", value, n, "the result")
    b.say(f"{ask}.")
    return value


def determinant(b: Builder) -> Quantity:
    """Two-by-two determinants, added up."""
    if OPERATIONS[b.level] == 2:
        p, q, m = b.number(11, 60), small(b), b.number(11, 60)
        b.say(
            b.pick(
                (
                    f"A matrix has rows ({p}, 0) and (0, {q}).",
                    f"The matrix with rows ({p}, 0) and (0, {q}) is given.",
                )
            )
        )
        b.say(b.pick((f"What is its determinant plus {m}?", f"Find its determinant plus {m}.")))
        return b.do("+", b.do("*", p, q, "the determinant"), m, "the result")

    def matrix(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        p, s, q, r = b.number(20, 90), small(b), b.number(11, 30), b.number(2, 6)
        verb = "Take" if is_first else "Add"
        b.say(f"{verb} the determinant of the matrix with rows ({p}, {q}) and ({r}, {s}).")
        one, two = b.do("*", p, s, "the main product"), b.do("*", q, r, "the other product")
        return b.do("-", one, two, "the determinant"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Add {n}.", f"Then add {n}.")))
        return b.do("+", total, n, "the sum")

    total = chain(b, 3, matrix, more)
    b.say(b.pick(("What is the result?", "What number results?")))
    return total


def matrix(b: Builder) -> Quantity:
    """Entries of a matrix times a vector, added up."""
    if OPERATIONS[b.level] == 2:
        p, x, n = b.number(11, 60), small(b), big(b)
        b.say(b.pick((f"The vector ({p}, {n}) is given.", f"A vector is ({p}, {n}).")))
        b.say(f"Its first entry is made {x} times as large. What is the sum of its entries?")
        return b.do("+", b.do("*", p, x, "the first entry"), n, "the sum of entries")
    x, y = small(b), b.number(2, 9)
    b.say(
        b.pick(
            (
                f"A matrix is multiplied by the vector ({x}, {y}).",
                f"Let v = ({x}, {y}), and multiply a matrix by it.",
            )
        )
    )

    def row(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        p, q = b.number(11, 50), b.number(11, 40)
        b.say(f"{'Its first row' if is_first else 'The next row'} is ({p}, {q}).")
        one, two = b.do("*", p, x, "the first product"), b.do("*", q, y, "the second product")
        return b.do("+", one, two, "the entry"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"To the sum of the entries {n} is added.", f"The sum of the entries grows by {n}.")))
        return b.do("+", total, n, "the result")

    total = chain(b, 3, row, more)
    b.say(
        b.pick(
            ("What is the sum of the entries of the product in the end?", "What sum of the entries results?")
        )
    )
    return total


def complex_numbers(b: Builder) -> Quantity:
    """Real parts of products of complex numbers."""
    if OPERATIONS[b.level] == 2:
        p, q, n = b.number(11, 60), small(b), b.number(11, 60)
        b.say(b.pick((f"Multiply {p} + {n}i by {q}.", f"The number {p} + {n}i is taken {q} times.")))
        b.say(f"What is its real part plus {n}?")
        return b.do("+", b.do("*", p, q, "the real part"), n, "the sum")

    def product(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        p, q, r, s = b.number(20, 90), b.number(2, 9), small(b), b.number(2, 9)
        pair = f"({p} + {q}i)({r} + {s}i)"
        b.say(
            b.pick((f"Take the real part of {pair}.", f"Start with the real part of {pair}."))
            if is_first
            else b.pick((f"Add the real part of {pair}.", f"Then add the real part of {pair}."))
        )
        one, two = b.do("*", p, r, "the real product"), b.do("*", q, s, "the other product")
        return b.do("-", one, two, "the real part"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Add {n}.", f"Then add {n}.")))
        return b.do("+", total, n, "the sum")

    total = chain(b, 3, product, more)
    b.say(b.pick(("What is the result?", "What number results?")))
    return total


TEMPLATES = (dot, determinant, matrix, complex_numbers)
