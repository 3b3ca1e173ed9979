"""What the templates of all subjects share: how long and how large a problem of each level is, and words."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity

OPERATIONS = {1: 2, 2: 3, 3: 4, 4: 6, 5: 8}
"""How many operations a problem of each level takes."""

SIZE = {1: 60, 2: 120, 3: 200, 4: 300, 5: 400}
"""Large given numbers of each level stay at or below this."""

NAMES = ("Ana", "Ben", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana", "Ivan", "Jun", "Kofi", "Lena")
THINGS = ("apples", "stamps", "books", "tiles", "coins", "cards", "beads", "lamps", "seeds", "bottles")
PLACES = ("market", "school", "library", "workshop", "museum", "garden", "club", "bakery")


def big(b: Builder) -> Quantity:
    """A given number of the level's size."""
    return b.number(12, SIZE[b.level])


def small(b: Builder) -> Quantity:
    """A given number of one digit, 3 to 9."""
    return b.number(3, 9)


def chain(b: Builder, size: int, block, extra, left: int | None = None) -> Quantity:
    """Add blocks of operations up until the level's operations are used, single ones where no block fits.

    Args:
        b: the builder.
        size: operations of one block.
        block: ``(b, is_first) -> (value, sign)``; says and does one block, ``sign`` joins it ("+" or "-").
        extra: ``(b, total) -> total``; says and does one operation.
        left: how many operations; by default the level's.
    """
    left = OPERATIONS[b.level] if left is None else left
    value, _ = block(b, True)
    left -= size
    while left:
        if left > size:
            part, sign = block(b, False)
            value = b.do(sign, value, part, "the new total")
            left -= size + 1
        else:
            value = extra(b, value)
            left -= 1
    return value


def listed(items) -> str:
    """``3, 4 and 5``."""
    *others, last = map(str, items)
    return f"{', '.join(others)} and {last}" if others else last
