"""Number theory: bases, quotients with remainders, multiples and residue classes."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import OPERATIONS, big, chain, listed


def base(b: Builder) -> Quantity:
    """A numeral in another base, by Horner's rule."""
    digits = {1: 2, 2: 2, 3: 3, 4: 4, 5: 5}[b.level]
    radix = b.number(5, 9) if b.level < 4 else b.number(3, 6)
    numeral = [int(b.rng.integers(1, radix.value)) for _ in range(digits)]
    b.given.extend(numeral)
    value = Quantity(numeral[0])
    for digit in numeral[1:]:
        value = b.do("*", value, radix, f"{radix} times that")
        value = b.do("+", value, Quantity(digit), "the number so far")
    text = "".join(map(str, numeral))
    b.say(
        b.pick((f"The numeral {text} is written in base {radix}.", f"In base {radix} a number reads {text}."))
    )
    if OPERATIONS[b.level] == 2 * (digits - 1):
        b.say(b.pick(("What is it in base ten?", "Write it in base ten.")))
        return value
    add = big(b)
    b.say(b.pick((f"It is increased by {add}.", f"To it {add} is added.")))
    b.say("What is the result in base ten?")
    return b.do("+", value, add, "the result")


def division(b: Builder) -> Quantity:
    """Numbers rebuilt from quotient and remainder, again and again."""
    value = None
    rounds = OPERATIONS[b.level] // 2
    for i in range(rounds):
        d = b.number(2, 3) if rounds > 2 else b.number(4, 9) if i == 0 else b.number(2, 4)
        r = b.number(1, d.value - 1)
        if value is None:
            value = b.number(12, 90 if rounds < 4 else 45)
            b.say(
                b.pick(
                    (
                        f"When a number is divided by {d}, the quotient is {value} and the remainder is {r}.",
                        f"Dividing a number by {d} gives {value}, remainder {r}.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (
                        f"That number is the quotient of another one divided by {d}, with remainder {r}.",
                        f"Another number divided by {d} gives that number, remainder {r}.",
                    )
                )
            )
        value = b.do("+", b.do("*", value, d, "quotient times divisor"), r, "the number")
    if OPERATIONS[b.level] % 2:
        n = big(b)
        b.say(f"What is the last number plus {n}?")
        return b.do("+", value, n, "the sum")
    b.say(b.pick(("What is the last number?", "Find the last number.")))
    return value


def multiples(b: Builder) -> Quantity:
    """Sums of chosen multiples."""
    d = b.number(6, 9)
    count = (OPERATIONS[b.level] + 1) // 2
    ranks = [b.number(11, 60) for _ in range(count)]
    parts = [b.do("*", r, d, f"multiple {r}") for r in ranks]
    value = b.total(parts, "the sum")
    if count > 1:
        b.say(
            b.pick(
                (
                    f"Take multiples number {listed(ranks)} of {d}.",
                    f"From the multiples of {d} take number {listed(ranks)}.",
                )
            )
        )
    else:
        b.say(
            b.pick(
                (
                    f"Take multiple number {listed(ranks)} of {d}.",
                    f"From the multiples of {d} take number {listed(ranks)}.",
                )
            )
        )
    if OPERATIONS[b.level] % 2 == 0:
        n = big(b)
        b.say(f"What is their sum plus {n}?" if count > 1 else f"What is it plus {n}?")
        return b.do("+", value, n, "the result")
    b.say(b.pick(("What is their sum?", "Find their sum.")))
    return value


def residues(b: Builder) -> Quantity:
    """Numbers known by divisor, quotient and remainder, added and taken away."""

    def number(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        d, q = b.number(6, 9), b.number(11, 50)
        r = b.number(1, d.value - 1)
        minus = not is_first and b.rng.random() < 0.35
        what = b.pick(
            (f"the number {r} above {q} times {d}", f"the number with quotient {q} and remainder {r} by {d}")
        )
        b.say(f"{'Start with' if is_first else 'Take away' if minus else 'Add'} {what}.")
        return b.do("+", b.do("*", q, d, f"{q} times {d}"), r, "that number"), "-" if minus else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Add {n}.", f"Then add {n}.")))
        return b.do("+", total, n, "the result")

    result = chain(b, 2, number, more)
    b.say(b.pick(("What is the result?", "What number results?")))
    return result


TEMPLATES = (base, division, multiples, residues)
