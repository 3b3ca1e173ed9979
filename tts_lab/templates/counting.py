"""Counting and probability: choices, handshakes, teams and expected numbers."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity, Retry
from tts_lab.templates.common import OPERATIONS, big, chain, listed, small


def choices(b: Builder) -> Quantity:
    """The product rule in several cases, cases added, forbidden ones taken away."""
    left = OPERATIONS[b.level]
    name = b.pick(("menu", "code", "route"))
    total = None
    while left > 0:
        factors = [b.number(3, 9) for _ in range(3 if left >= 2 and (total is None or left >= 3) else 2)]
        if total is None and len(factors) == 2:
            factors[0] = b.number(11, 40)
        forbid = total is not None and b.rng.random() < 0.4
        if total is None:
            b.say(
                b.pick(
                    (
                        f"A {name} combines {listed(factors)} options.",
                        f"For a {name} there are {listed(factors)} options.",
                    )
                )
            )
        elif forbid:
            b.say(
                b.pick(
                    (
                        f"A forbidden case has {listed(factors)} options.",
                        f"Of these a case with {listed(factors)} options is forbidden.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (
                        f"There are also {listed(factors)} options in another case.",
                        f"Another case has {listed(factors)} options.",
                    )
                )
            )
        value = factors[0]
        for factor in factors[1:]:
            value = b.do("*", value, factor, "the forbidden case" if forbid else "the number of choices")
            left -= 1
        if total is None:
            total = value
        else:
            total = b.do("-" if forbid else "+", total, value, "the number of ways")
            left -= 1
        if left == 1:
            n = b.number(11, 90)
            b.say(f"There are {n} more special ones.")
            total = b.do("+", total, n, "the number of ways")
            left = 0
    b.say(b.pick((f"How many {name}s are possible in all?", f"How many different {name}s are there?")))
    return total


def pairs(b: Builder) -> Quantity:
    """Handshakes in groups, added up."""
    what = b.pick(("shake hands", "play each other"))

    def group(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        n = b.number(9, 32)
        b.say(
            b.pick(
                (
                    f"{'In' if is_first else 'Then in'} a group of {n} people all {what} once.",
                    f"{n} people meet and all {what} once.",
                )
            )
        )
        # n * (n - 1) / 2, with n - 1 given by the words "all ... once"
        ordered = b.do("*", n, Quantity(n.value - 1), "the ordered pairs")
        return b.do("/", ordered, Quantity(2), "half of them"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Guests add {n} more.", f"There are {n} more with guests.")))
        return b.do("+", total, n, "the number in all")

    total = chain(b, 2, group, more)
    b.say("How many handshakes are there?" if what == "shake hands" else "How many games are there?")
    return total


def teams(b: Builder) -> Quantity:
    """One from each of two groups, in several clubs, some of them not allowed."""

    def club(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        x, y = b.number(11, 40), small(b)
        minus = not is_first and b.rng.random() < 0.35
        if is_first:
            b.say(
                b.pick(
                    (
                        f"A team takes one of {x} girls and one of {y} boys.",
                        f"From {x} girls and {y} boys one each makes a team.",
                    )
                )
            )
        elif minus:
            b.say(
                b.pick(
                    (
                        f"Of all these, {y} groups of {x} teams are not allowed.",
                        f"Then {y} groups of {x} teams are forbidden.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (
                        f"Another club has {x} girls and {y} boys.",
                        f"A new club adds {x} girls and {y} boys, for its own teams.",
                    )
                )
            )
        return b.do("*", x, y, "the bad teams" if minus else "the number of teams"), "-" if minus else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Guests make {n} more teams.", f"There are {n} teams of guests too.")))
        return b.do("+", total, n, "all teams")

    total = chain(b, 1, club, more)
    b.say(b.pick(("How many teams are possible?", "How many different teams are there?")))
    return total


def expected(b: Builder) -> Quantity:
    """Expected numbers of red balls in repeated draws."""
    colour = b.pick(("red", "blue", "green"))

    def bag(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        size = b.number(4, 12)
        hits = b.number(2, size.value - 1)
        per = int(b.rng.integers(11, 1 + max(12, min(90, 900 // size.value))))
        draws = b.known(size.value * per)
        if draws.value > 999:
            raise Retry
        a = "a" if is_first else "another"
        b.say(
            b.pick(
                (
                    f"{a.capitalize()} bag of {size} balls has {hits} {colour} ones, "
                    f"and a ball is drawn and put back {draws} times.",
                    f"From {a} bag with {hits} {colour} balls among {size} "
                    f"one ball is drawn {draws} times, always put back.",
                )
            )
        )
        share = b.do("/", draws, size, "the draws for each ball")
        return b.do("*", share, hits, f"the expected {colour} ones"), "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(
            b.pick(
                (
                    f"Before that {n} {colour} ones were counted.",
                    f"There are {n} more {colour} ones on the table.",
                )
            )
        )
        return b.do("+", total, n, f"all {colour} ones")

    total = chain(b, 2, bag, more)
    b.say(
        b.pick(
            (f"How many {colour} balls are expected in all?", f"How many {colour} ones should one expect?")
        )
    )
    return total


TEMPLATES = (choices, pairs, teams, expected)
