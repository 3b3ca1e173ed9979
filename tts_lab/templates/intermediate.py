"""Intermediate algebra: polynomials, series, averages and rules in two letters."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import OPERATIONS, big, chain, small


def horner(b: Builder) -> Quantity:
    """A polynomial's value, by Horner's rule."""
    degree = OPERATIONS[b.level] // 2
    x = b.number(2, {1: 9, 2: 7, 3: 4, 4: 3}[degree])
    coefficients = [b.number(2, 9 if degree > 1 else 40)] + [b.number(3, 99) for _ in range(degree)]
    terms = []
    for i, c in enumerate(coefficients):
        power = degree - i
        terms.append(f"{c}" + ("" if power == 0 else "x" if power == 1 else f"x^{power}"))
    name = b.pick("pqr")
    b.say(b.pick((f"Let {name}(x) = {' + '.join(terms)}.", f"Suppose {name}(x) = {' + '.join(terms)}.")))
    value = coefficients[0]
    for c in coefficients[1:]:
        value = b.do("*", value, x, f"{x} times that")
        value = b.do("+", value, c, "the value so far")
    if OPERATIONS[b.level] % 2:
        n = big(b)
        b.say(b.pick((f"Find {name}({x}) + {n}.", f"What is {name}({x}) + {n}?")))
        return b.do("+", value, n, "the sum")
    b.say(b.pick((f"Find {name}({x}).", f"What is {name}({x})?")))
    return value


def series(b: Builder) -> Quantity:
    """Terms of several arithmetic sequences, added up."""

    def term(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        first, step, gaps = big(b), b.number(11, 40), small(b)
        if is_first:
            b.say(
                b.pick(
                    (
                        f"Start at {first} and take {gaps} steps of {step}.",
                        f"From {first} count up by {gaps} steps of {step}.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (
                        f"Add the number {gaps} steps of {step} above {first}.",
                        f"To this add the number reached from {first} by {gaps} steps of {step}.",
                    )
                )
            )
        return b.do("+", first, b.do("*", step, gaps, "the steps"), "the number reached"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        if b.rng.random() < 0.4 and total.value > n.value + 10:
            b.say(f"Take away {n}.")
            return b.do("-", total, n, "the difference")
        b.say(b.pick((f"Add {n} as well.", f"Then add {n}.")))
        return b.do("+", total, n, "the sum")

    total = chain(b, 2, term, more)
    b.say(b.pick(("What number results?", "What is the result?")))
    return total


def averages(b: Builder) -> Quantity:
    """Sums rebuilt from averages; a number added or taken away."""
    what = b.pick(("numbers", "marks", "scores"))

    def group(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        count, mean = small(b), b.number(11, 90 if b.level < 4 else 60)
        out = not is_first and b.rng.random() < 0.3
        if is_first:
            b.say(
                b.pick(
                    (f"The average of {count} {what} is {mean}.", f"{count} {what} have the average {mean}.")
                )
            )
        elif out:
            b.say(
                b.pick(
                    (
                        f"Of these, {count} with the average {mean} are taken away.",
                        f"Then {count} of average {mean} are taken away.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (
                        f"Then {count} more come with the average {mean}.",
                        f"Another {count} have the average {mean}.",
                    )
                )
            )
        return b.do("*", mean, count, "the sum of these"), "-" if out else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"One more number is {n}.", f"Another number is {n}.")))
        return b.do("+", total, n, "the sum of all")

    total = chain(b, 1, group, more)
    b.say(b.pick(("What is the sum of all?", f"What do all the {what} add up to?")))
    return total


def rules(b: Builder) -> Quantity:
    """A new sign: x # y is a multiple of x plus y, used again and again."""
    left = OPERATIONS[b.level]
    factor = b.number(2, {1: 9, 2: 9, 3: 5, 4: 3, 5: 2}[b.level])
    sign = b.pick("+-")
    b.say(b.pick((f"Let x # y = {factor}x {sign} y.", f"The rule is x # y = {factor}x {sign} y.")))
    value = b.number(11, 60 if left < 5 else 30)
    text = f"{value}"
    while left >= 2:
        y = b.number(11, 99)
        text = f"({text}) # {y}" if " " in text else f"{text} # {y}"
        value = b.do(sign, b.do("*", value, factor, "the product"), y, "the value")
        left -= 2
    if left:
        n = big(b)
        text = f"({text}) + {n}"
        value = b.do("+", value, n, "the sum")
    b.say(b.pick((f"Find {text}.", f"What is {text}?")))
    return value


TEMPLATES = (horner, series, averages, rules)
