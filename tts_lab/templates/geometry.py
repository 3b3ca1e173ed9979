"""Geometry: areas, perimeters, volumes and triangles."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import OPERATIONS, big, chain, listed, small


def rooms(b: Builder) -> Quantity:
    """Rectangles added and cut out."""
    kind = b.pick(("floor", "park", "wall", "field"))

    def piece(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        a, w = b.number(11, 60), small(b)
        if is_first:
            b.say(
                b.pick(
                    (
                        f"A {kind} has a part of {a} by {w} metres.",
                        f"One part of a {kind} is {a} by {w} metres.",
                    )
                )
            )
            return b.do("*", a, w, "the area"), "+"
        cut = b.rng.random() < 0.4
        b.say(f"A piece of {a} by {w} metres is {'cut out' if cut else 'added'}.")
        return b.do("*", a, w, "the piece"), "-" if cut else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"Another {n} square metres are added.", f"A corner of {n} square metres is added.")))
        return b.do("+", total, n, "the area")

    area = chain(b, 1, piece, more)
    b.say(
        b.pick(
            (f"What is the area of the {kind} in square metres?", "How many square metres is that in all?")
        )
    )
    return area


def perimeter(b: Builder) -> Quantity:
    """The length of wires around a polygon."""
    count = {1: 2, 2: 3, 3: 4, 4: 5, 5: 7}[b.level]
    sides = [b.number(12, {2: 90, 3: 80, 4: 70, 5: 60, 7: 50}[count]) for _ in range(count)]
    shape = {2: "path", 3: "triangle", 4: "field", 5: "garden", 7: "park"}[count]
    what = "parts" if count == 2 else "sides"
    b.say(
        b.pick(
            (
                f"A {shape} has {what} of {listed(sides)} metres.",
                f"The {what} of a {shape} are {listed(sides)} metres.",
            )
        )
    )
    around = b.total(sides, "the way around")
    wires = b.number(2, 5)
    gate = b.number(11, 90) if OPERATIONS[b.level] > count else None
    if gate:
        b.say(
            b.pick(
                (
                    f"A wire also needs {gate} metres at the gate.",
                    f"The gate takes {gate} more metres of wire.",
                )
            )
        )
    b.say(
        b.pick(
            (
                f"How many metres of wire go around it {wires} times?",
                f"A wire runs along it {wires} times. How long is the wire in metres?",
            )
        )
    )
    around = b.do("*", around, wires, "the wire")
    return b.do("+", around, gate, "the whole wire") if gate else around


def boxes(b: Builder) -> Quantity:
    """Volumes of boxes, put together and taken out."""

    def box(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        x, y, z = b.number(3, 12), b.number(3, 9), b.number(2, 9)
        out = not is_first and b.rng.random() < 0.35
        if is_first:
            b.say(
                b.pick(
                    (f"A block is {x} by {y} by {z} metres.", f"A tank of {x} by {y} by {z} metres is full.")
                )
            )
        elif out:
            b.say(f"A hole of {x} by {y} by {z} metres is cut out.")
        else:
            b.say(
                b.pick((f"A block of {x} by {y} by {z} is added.", f"Then comes one of {x} by {y} by {z}."))
            )
        return b.do("*", b.do("*", x, y, "the base"), z, "the volume"), "-" if out else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(f"Another {n} cubic metres are added.")
        return b.do("+", total, n, "the whole volume")

    volume = chain(b, 2, box, more)
    b.say(b.pick(("How many cubic metres is that in all?", "What is the volume in cubic metres?")))
    return volume


def triangles(b: Builder) -> Quantity:
    """Areas of triangles, from base and height."""

    def triangle(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        base, height = b.number(11, 60), small(b)
        out = not is_first and b.rng.random() < 0.3
        if is_first:
            b.say(
                b.pick(
                    (
                        f"A triangle has base {base} and height {height}.",
                        f"A sail is a triangle of base {base} and height {height}.",
                    )
                )
            )
        elif out:
            b.say(f"From it one of base {base} and height {height} is cut out.")
        else:
            b.say(
                b.pick(
                    (
                        f"Another one has base {base} and height {height}.",
                        f"To it comes one of base {base} and height {height}.",
                    )
                )
            )
        product = b.do("*", base, height, "base times height")
        return b.do("/", product, Quantity(2), "half of it"), "-" if out else "+"

    def more(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(f"A square of area {n} is added.")
        return b.do("+", total, n, "the whole area")

    area = chain(b, 2, triangle, more)
    b.say(b.pick(("What is the area in all?", "How large is the area?")))
    return area


TEMPLATES = (rooms, perimeter, boxes, triangles)
