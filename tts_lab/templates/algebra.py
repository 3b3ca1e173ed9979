"""Algebra: functions, equations, recursions and formulas."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import OPERATIONS, big, chain, small


def composition(b: Builder) -> Quantity:
    """Nested linear functions."""
    depth = OPERATIONS[b.level] // 2
    names = b.sample("fghk", min(depth, 4))
    rules = {}
    for name in names:
        rules[name] = (b.number(2, 6 if depth < 3 else 3), b.pick("+-"), b.number(11, 99))
    chosen = [names[i % len(names)] for i in range(depth)]
    value = b.number(11, 30)
    functions = ", ".join(f"{n}(x) = {rules[n][0]}x {rules[n][1]} {rules[n][2]}" for n in names)
    nested = f"{value}"
    for name in chosen:
        nested = f"{name}({nested})"
    b.say(b.pick((f"Let {functions}.", f"Suppose {functions}.")))
    for name in chosen:
        factor, sign, shift = rules[name]
        value = b.do("*", value, factor, f"the product for {name}")
        value = b.do(sign, value, shift, f"the value of {name}")
    if OPERATIONS[b.level] % 2:
        extra = big(b)
        nested = f"{nested} + {extra}"
        value = b.do("+", value, extra, "the sum")
    b.say(b.pick((f"Find {nested}.", f"What is {nested}?")))
    return value


def equation(b: Builder) -> Quantity:
    """A linear equation to undo, then an expression in its solution."""
    a, x = small(b), b.number(11, 90)
    shift = big(b)
    right = b.known(a.value * x.value + shift.value)
    b.given.remove(x.value)
    letter = b.pick("xyztmn")
    b.say(
        b.pick(
            (
                f"Suppose {a}{letter} + {shift} = {right}.",
                f"The number {letter} is such that {a}{letter} + {shift} = {right}.",
            )
        )
    )
    value = b.do("/", b.do("-", right, shift, f"the value of {a}{letter}"), a, f"the value of {letter}")
    left = OPERATIONS[b.level] - 2
    text = letter
    while left >= 2:
        k, n, sign = b.number(2, 4), b.number(11, 99), b.pick("+-")
        text = f"{k}({text}) {sign} {n}" if len(text) > 1 else f"{k}{text} {sign} {n}"
        value = b.do("*", value, k, "the product")
        value = b.do(sign, value, n, "the sum" if sign == "+" else "the difference")
        left -= 2
    if left:
        n = big(b)
        text = f"{text} + {n}"
        value = b.do("+", value, n, "the sum")
    b.say(b.pick((f"Find {text}.", f"What is {text}?")))
    return value


def recursion(b: Builder) -> Quantity:
    """A few terms of a sequence given by its rule."""
    rounds = OPERATIONS[b.level] // 2
    factor, shift = b.number(2, 3 if rounds > 2 else 6), b.number(11, 99)
    sign = b.pick("+-")
    first = b.number(12, 60)
    value = first
    for i in range(rounds):
        value = b.do("*", value, factor, "the product")
        value = b.do(sign, value, shift, f"term {i + 2}")
    b.say(b.pick((f"A sequence starts with {first}.", f"The first term of a sequence is {first}.")))
    word = "plus" if sign == "+" else "minus"
    b.say(f"Each next term is {factor} times the one before, {word} {shift}.")
    ask = b.pick((f"What is term {rounds + 1}", f"How large is term {rounds + 1}"))
    if OPERATIONS[b.level] % 2:
        extra = big(b)
        ask += f" plus {extra}"
        value = b.do("+", value, extra, "the sum")
    b.say(ask + "?")
    return value


def plans(b: Builder) -> Quantity:
    """Fixed prices and prices by the piece, for several customers."""
    unit = b.pick(("hours", "days", "pages", "visits"))

    def plan(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        fixed, rate, n = big(b), b.number(11, 40), small(b)
        opening = (
            b.pick(("One plan", "A first plan")) if is_first else b.pick(("Another plan", "Then a plan"))
        )
        b.say(
            b.pick(
                (
                    f"{opening} costs {fixed} dollars and {rate} dollars for each of {n} {unit}.",
                    f"{opening} asks {fixed} dollars, then {n} {unit} at {rate} dollars each.",
                )
            )
        )
        return b.do("+", b.do("*", rate, n, f"the cost of the {unit}"), fixed, "the cost of the plan"), "+"

    def fee(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        if b.rng.random() < 0.5 and total.value > n.value + 10:
            b.say(f"A voucher takes {n} dollars off.")
            return b.do("-", total, n, "the new total")
        b.say(f"A fee of {n} dollars is added.")
        return b.do("+", total, n, "the new total")

    cost = chain(b, 2, plan, fee)
    b.say(b.pick(("What is the cost in all?", "How many dollars is that in all?")))
    return cost


TEMPLATES = (composition, equation, recursion, plans)
