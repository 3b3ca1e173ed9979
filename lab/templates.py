"""The lab's problem templates: MATH's seven subjects in miniature, each scaled by level.

A template is ``(builder) -> Quantity`` and returns the quantity asked for. ``OPERATIONS[level]`` says
how many operations a problem of that level takes, so a level-5 problem is a longer chain of the same
kind of step, in larger numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.graph import Builder, Quantity

OPERATIONS = {1: 2, 2: 3, 3: 4, 4: 6, 5: 8}
SIZE = {1: 60, 2: 120, 3: 200, 4: 300, 5: 400}  # given numbers stay below this

NAMES = ("Ana", "Ben", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana", "Ivan", "Jun", "Kofi", "Lena")
THINGS = ("apples", "stamps", "books", "tiles", "coins", "cards", "beads", "lamps", "seeds", "bottles")
PLACES = ("market", "school", "library", "workshop", "museum", "garden", "club", "bakery")


def _big(b: Builder) -> Quantity:
    return b.number(12, SIZE[b.level])


def _small(b: Builder) -> Quantity:
    return b.number(3, 9)


def stock(b: Builder) -> Quantity:
    """Prealgebra: things come and go, one event after another."""
    name, things, place = b.pick(NAMES), b.pick(THINGS), b.pick(PLACES)
    start = _big(b)
    b.say(b.pick((f"{name} has {start} {things}.", f"There are {start} {things} at the {place}.")))
    now, left = start, OPERATIONS[b.level]
    while left:
        kind = b.pick(("buy", "give", "crates", "friends", "double") if left > 1 else ("buy", "give"))
        if kind == "buy":
            n = _big(b)
            b.say(b.pick((f"Then {n} more arrive.", f"Another {n} are bought.", f"{n} new ones are found.")))
            now = b.do("+", now, n, "More")
        elif kind == "give":
            n = _big(b)
            b.say(
                b.pick((f"Then {n} are sold.", f"{n} of them get lost.", f"After that {n} are given away."))
            )
            now = b.do("-", now, n, "Fewer")
        elif kind == "crates":
            k, n = _small(b), b.number(11, 60)
            b.say(b.pick((f"Then {k} crates of {n} arrive.", f"{k} boxes with {n} in each are added.")))
            now = b.do("+", now, b.do("*", n, k, "In the boxes"), "More")
            left -= 1
        elif kind == "friends":
            k, n = _small(b), b.number(11, 40)
            b.say(b.pick((f"Each of {k} friends takes {n}.", f"{k} people take {n} each.")))
            now = b.do("-", now, b.do("*", n, k, "Taken"), "Fewer")
            left -= 1
        else:
            k = b.number(2, 4)
            b.say(f"Later there are {k} times as many.")
            now = b.do("*", now, k, "Times")
        left -= 1
    b.say(f"How many {things} are there now?")
    return now


def shopping(b: Builder) -> Quantity:
    """Prealgebra: a bill of several items, with a discount or a share at the end."""
    name = b.pick(NAMES)
    count = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4}[b.level]
    costs = []
    items = b.sample(THINGS, count)
    for thing in items:
        k, price = _small(b), b.number(11, 99)
        b.say(
            b.pick(
                (
                    f"{name} buys {k} {thing} at {price} dollars each.",
                    f"{k} {thing} cost {price} dollars each.",
                )
            )
        )
        costs.append(b.do("*", price, k, f"The {thing}"))
    bill = b.total(costs, "Bill")
    left = OPERATIONS[b.level] - (2 * count - 1)
    if left:
        n = _big(b)
        if b.rng.random() < 0.5 and bill.value > n.value + 10:
            b.say(f"A voucher takes {n} dollars off.")
            bill = b.do("-", bill, n, "After the voucher")
        else:
            b.say(f"Delivery costs {n} dollars.")
            bill = b.do("+", bill, n, "With delivery")
    b.say("What is the bill in dollars?")
    return bill


def composition(b: Builder) -> Quantity:
    """Algebra: nested linear functions."""
    depth = OPERATIONS[b.level] // 2
    names = b.sample("fghk", min(depth, 4))
    rules = {}
    for name in names:
        sign = b.pick("+-")
        rules[name] = (b.number(2, 6 if depth < 3 else 3), sign, b.number(11, 99))
    chain = [names[i % len(names)] for i in range(depth)]
    x = b.number(11, 30)
    listed = ", ".join(f"{n}(x) = {rules[n][0]}x {rules[n][1]} {rules[n][2]}" for n in names)
    nested = f"{x}"
    for name in chain:
        nested = f"{name}({nested})"
    b.say(b.pick((f"Let {listed}.", f"Suppose {listed}.")))
    b.say(b.pick((f"Find {nested}.", f"What is {nested}?")))
    value = x
    for name in chain:
        factor, sign, shift = rules[name]
        value = b.do("*", value, factor, f"Factor of {name}")
        value = b.do(sign, value, shift, f"Value of {name}")
    if OPERATIONS[b.level] % 2:
        extra = _big(b)
        b.sentences[-1] = f"Find {nested} + {extra}."
        value = b.do("+", value, extra, "Sum")
    return value


def equation(b: Builder) -> Quantity:
    """Algebra: a linear equation to undo, then an expression in its solution."""
    a, x = _small(b), b.number(11, 90)
    shift = _big(b)
    right = b.known(a.value * x.value + shift.value)
    b.given.remove(x.value)
    letter = b.pick("xyztmn")
    b.say(
        b.pick(
            (
                f"Suppose {a}{letter} + {shift} = {right}.",
                f"The number {letter} satisfies {a}{letter} + {shift} = {right}.",
            )
        )
    )
    value = b.do("/", b.do("-", right, shift, "Subtract"), a, f"So {letter}")
    left = OPERATIONS[b.level] - 2
    text = letter
    while left >= 2:
        k, n, sign = b.number(2, 4), b.number(11, 99), b.pick("+-")
        text = f"{k}({text}) {sign} {n}" if len(text) > 1 else f"{k}{text} {sign} {n}"
        value = b.do(sign, b.do("*", value, k, "Multiply"), n, "Add" if sign == "+" else "Subtract")
        left -= 2
    if left:
        n = _big(b)
        text = f"{text} + {n}"
        value = b.do("+", value, n, "Add")
    b.say(f"Find {text}." if text != letter else f"What is {letter}?")
    return value


def recursion(b: Builder) -> Quantity:
    """Algebra: a few terms of a sequence given by its rule."""
    rounds = OPERATIONS[b.level] // 2
    factor, shift = b.number(2, 3 if rounds > 2 else 6), b.number(11, 99)
    sign = b.pick("+-")
    first = b.number(12, 60)
    value = first
    for i in range(rounds):
        value = b.do("*", value, factor, f"Times for term {i + 2}")
        value = b.do(sign, value, shift, f"Term {i + 2}")
    b.say(f"A sequence starts with {first}.")
    b.say(f"Each next term is {factor} times the one before, {'plus' if sign == '+' else 'minus'} {shift}.")
    ask = f"What is term {rounds + 1}"
    if OPERATIONS[b.level] % 2:
        extra = _big(b)
        ask += f" plus {extra}"
        value = b.do("+", value, extra, "Sum")
    b.say(ask + "?")
    return value


def rooms(b: Builder) -> Quantity:
    """Geometry: rectangles added and cut out."""
    count = (OPERATIONS[b.level] + 1) // 2
    kind = b.pick(("floor", "park", "wall", "field"))
    area = None
    for i in range(count):
        a, w = b.number(11, 60), _small(b)
        if i == 0:
            b.say(f"A {kind} has a part of {a} by {w} metres.")
            area = b.do("*", a, w, "Area")
            continue
        cut = b.rng.random() < 0.4
        b.say(f"A piece of {a} by {w} metres is {'cut out' if cut else 'added'}.")
        piece = b.do("*", a, w, "Piece")
        area = b.do("-" if cut else "+", area, piece, "Area")
    if OPERATIONS[b.level] % 2 == 0:
        n = _big(b)
        b.say(f"Another {n} square metres are added.")
        area = b.do("+", area, n, "Area")
    b.say(f"What is the area of the {kind} in square metres?")
    return area


def perimeter(b: Builder) -> Quantity:
    """Geometry: the length of a fence around a polygon, and wires around it."""
    sides = [
        b.number(12, {2: 90, 3: 80, 4: 70, 5: 60, 7: 50}[{1: 2, 2: 3, 3: 4, 4: 5, 5: 7}[b.level]])
        for _ in range({1: 2, 2: 3, 3: 4, 4: 5, 5: 7}[b.level])
    ]
    shape = {2: "path with two legs", 3: "triangle", 4: "quadrilateral", 5: "pentagon", 7: "heptagon"}[
        len(sides)
    ]
    listed = ", ".join(map(str, sides[:-1])) + f" and {sides[-1]}"
    b.say(f"A {shape} has sides of {listed} metres.")
    around = b.total(sides, "Around")
    wires = b.number(2, 5)
    b.say(
        b.pick(
            (
                f"How many metres of wire go around it {wires} times?",
                f"A wire runs along it {wires} times. How long is it in metres?",
            )
        )
    )
    around = b.do("*", around, wires, "Wire")
    if OPERATIONS[b.level] > len(sides):
        gate = b.number(11, 90)
        b.sentences.insert(-1, f"The wire also needs {gate} metres at the gate.")
        around = b.do("+", around, gate, "With the gate")
    return around


def base(b: Builder) -> Quantity:
    """Number theory: numerals in another base, by Horner's rule, added up."""
    digits = {1: 2, 2: 2, 3: 3, 4: 4, 5: 5}[b.level]
    radix = b.number(5, 9) if b.level < 4 else b.number(3, 6)
    numeral = [int(b.rng.integers(1, radix.value)) for _ in range(digits)]
    b.given.extend(numeral)
    value = Quantity(numeral[0])
    for digit in numeral[1:]:
        value = b.do("*", value, radix, "Shift")
        value = b.do("+", value, Quantity(digit), "Digit")
    text = "".join(map(str, numeral))
    b.say(
        b.pick((f"The numeral {text} is written in base {radix}.", f"In base {radix} a number reads {text}."))
    )
    add = _big(b)
    if OPERATIONS[b.level] == 2 * (digits - 1):
        b.known(add.value)
        b.say(b.pick(("What is it in base ten?", "Write it in base ten.")))
        return value
    b.say(f"It is increased by {add}. What is the result in base ten?")
    return b.do("+", value, add, "Increased")


def division(b: Builder) -> Quantity:
    """Number theory: numbers rebuilt from quotient and remainder, again and again."""
    value = None
    rounds = OPERATIONS[b.level] // 2
    for i in range(rounds):
        d = b.number(4, 9) if i == 0 else b.number(2, 4)
        r = b.number(1, d.value - 1)
        if value is None:
            q = b.number(12, 90)
            b.say(f"When a number is divided by {d}, the quotient is {q} and the remainder is {r}.")
            value = q
        else:
            b.say(f"That number is the quotient of another one divided by {d}, with remainder {r}.")
        value = b.do("+", b.do("*", value, d, "Times the divisor"), r, "Plus the remainder")
    if OPERATIONS[b.level] % 2:
        n = _big(b)
        b.say(f"What is the last number plus {n}?")
        return b.do("+", value, n, "Sum")
    b.say("What is the last number?")
    return value


def multiples(b: Builder) -> Quantity:
    """Number theory: sums of chosen multiples."""
    d = b.number(6, 9)
    count = (OPERATIONS[b.level] + 1) // 2
    ranks = [b.number(11, 60) for _ in range(count)]
    parts = [b.do("*", r, d, f"Multiple {r}") for r in ranks]
    value = b.total(parts, "Sum")
    listed = ", ".join(f"{r}th" for r in ranks[:-1]) + (" and " if count > 1 else "") + f"{ranks[-1]}th"
    b.say(f"Take the {listed} multiple{'s' if count > 1 else ''} of {d}.")
    if OPERATIONS[b.level] % 2 == 0:
        n = _big(b)
        b.say(f"What is their sum plus {n}?" if count > 1 else f"What is it plus {n}?")
        return b.do("+", value, n, "Plus")
    b.say("What is their sum?")
    return value


def choices(b: Builder) -> Quantity:
    """Counting: the product rule in several cases, cases added, forbidden ones taken away."""
    left = OPERATIONS[b.level]
    name = b.pick(("menu", "code", "outfit", "route"))
    total = None
    while left > 0:
        factors = [b.number(3, 9) for _ in range(3 if left >= 2 and (total is None or left >= 3) else 2)]
        if total is None and len(factors) == 2:
            factors[0] = b.number(11, 40)
        listed = ", ".join(map(str, factors[:-1])) + f" and {factors[-1]}"
        forbid = total is not None and b.rng.random() < 0.4
        b.say(
            f"A {name} combines {listed} options."
            if total is None
            else f"There are also {listed} options in another case."
            if not forbid
            else f"A forbidden case has {listed} options."
        )
        value = factors[0]
        for factor in factors[1:]:
            value = b.do("*", value, factor, "Choices" if not forbid else "Forbidden")
            left -= 1
        if total is None:
            total = value
        else:
            total = b.do("-" if forbid else "+", total, value, "Ways")
            left -= 1
        if left == 1:
            n = b.number(11, 90)
            b.say(f"There are {n} more special ones.")
            total = b.do("+", total, n, "Ways")
            left = 0
    b.say(f"How many {name}s are possible in all?")
    return total


def pairs(b: Builder) -> Quantity:
    """Counting: handshakes in groups, added up."""
    left, total = OPERATIONS[b.level], None
    while left > 0:
        if left == 1 or (total is not None and left < 3):
            n = b.number(11, SIZE[b.level])
            b.say(f"Guests add {n} more handshakes.")
            total = b.do("+", total, n, "Handshakes")
            left -= 1
            continue
        n = b.number(9, 30)
        b.say(f"{'In' if total is None else 'Then in'} a group of {n} people all shake hands once.")
        # n * (n - 1) / 2, with n - 1 given by the words "all the others"
        ordered = b.do("*", n, Quantity(n.value - 1), "Ordered pairs")
        value = b.do("/", ordered, Quantity(2), "Half of them")
        left -= 2
        if total is None:
            total = value
        else:
            total = b.do("+", total, value, "Handshakes")
            left -= 1
    b.say("How many handshakes are there?")
    return total


def horner(b: Builder) -> Quantity:
    """Intermediate algebra: a polynomial's value, by Horner's rule."""
    degree = OPERATIONS[b.level] // 2
    x = b.number(2, {1: 9, 2: 7, 3: 4, 4: 3}[degree])
    coefficients = [b.number(2, 9 if degree > 1 else 40)] + [b.number(3, 99) for _ in range(degree)]
    terms = []
    for i, c in enumerate(coefficients):
        power = degree - i
        terms.append(f"{c}" + ("" if power == 0 else "x" if power == 1 else f"x^{power}"))
    name = b.pick("pqr")
    b.say(f"Let {name}(x) = {' + '.join(terms)}.")
    value = coefficients[0]
    for c in coefficients[1:]:
        value = b.do("*", value, x, "Times x")
        value = b.do("+", value, c, "Next coefficient")
    if OPERATIONS[b.level] % 2:
        n = _big(b)
        b.say(f"Find {name}({x}) + {n}.")
        return b.do("+", value, n, "Sum")
    b.say(f"Find {name}({x}).")
    return value


def series(b: Builder) -> Quantity:
    """Intermediate algebra: terms of several arithmetic sequences, added up."""
    left, total = OPERATIONS[b.level], None
    while left > 0:
        if left == 1:
            n = _big(b)
            b.say(f"Add {n} as well.")
            total = b.do("+", total, n, "Sum")
            break
        if total is not None and left == 2:
            n, m = _big(b), b.number(2, 4)
            b.say(f"Add {n}, then take {m} times the result.")
            total = b.do("*", b.do("+", total, n, "Sum"), m, "Times")
            break
        first, step, gaps = _big(b), b.number(11, 40), _small(b)
        verb = "Start at" if total is None else "To this add the number reached from"
        b.say(f"{verb} {first} by {gaps} steps of {step}.")
        value = b.do("+", first, b.do("*", step, gaps, "Steps"), "Reached")
        left -= 2
        if total is None:
            total = value
        else:
            total = b.do("+", total, value, "Sum")
            left -= 1
    b.say("What number results?")
    return total


def dot(b: Builder) -> Quantity:
    """Precalculus: dot products of vectors."""
    size = (OPERATIONS[b.level] + 1) // 2
    u = [b.number(11, 60) for _ in range(size)]
    v = [_small(b) for _ in range(size)]
    left, right = b.sample("uvwab", 2)
    show = lambda q: "(" + ", ".join(map(str, q)) + ")"  # noqa: E731
    b.say(f"Let {left} = {show(u)} and {right} = {show(v)}.")
    parts = [b.do("*", x, y, f"Product {i + 1}") for i, (x, y) in enumerate(zip(u, v, strict=True))]
    value = b.total(parts, "Sum")
    if OPERATIONS[b.level] % 2 == 0:
        n = _big(b)
        b.say(f"Find the dot product of {left} and {right}, plus {n}.")
        return b.do("+", value, n, "Plus")
    b.say(f"Find the dot product of {left} and {right}.")
    return value


def determinant(b: Builder) -> Quantity:
    """Precalculus: two-by-two determinants, added up."""
    left, total = OPERATIONS[b.level], None
    if left == 2:
        p, q, m = b.number(11, 60), _small(b), b.number(11, 60)
        b.say(f"A diagonal matrix has entries {p} and {q}. What is its determinant plus {m}?")
        return b.do("+", b.do("*", p, q, "Product"), m, "Plus")
    while left > 0:
        if left < 3 or (total is not None and left < 4):
            n = _big(b)
            b.say(f"Add {n}.")
            total = b.do("+", total, n, "Sum")
            left -= 1
            continue
        p, s, q, r = b.number(20, 90), _small(b), b.number(11, 30), b.number(2, 6)
        verb = "Take" if total is None else "Add"
        b.say(f"{verb} the determinant of the matrix with rows ({p}, {q}) and ({r}, {s}).")
        one, two = b.do("*", p, s, "Main"), b.do("*", q, r, "Other")
        value = b.do("-", one, two, "Determinant")
        left -= 3
        if total is None:
            total = value
        else:
            total = b.do("+", total, value, "Sum")
            left -= 1
    b.say("What is the result?")
    return total


SUBJECTS: dict[str, tuple[Callable[[Builder], Quantity], ...]] = {
    "Prealgebra": (stock, shopping),
    "Algebra": (composition, equation, recursion),
    "Geometry": (rooms, perimeter),
    "Number Theory": (base, division, multiples),
    "Counting & Probability": (choices, pairs),
    "Intermediate Algebra": (horner, series),
    "Precalculus": (dot, determinant),
}
