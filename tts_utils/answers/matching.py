"""Compare two collections, item by item: in any order, as words, as the parts of a unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tts_utils.answers.kinds import letters


def match(a: Sequence, b: Sequence, same: Callable[[object, object], bool]) -> bool:
    """Say whether every member of one sequence has a partner of its own in the other."""
    left = list(b)
    for member in a:
        place = next((n for n, other in enumerate(left) if same(member, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def same_items(a: list[str], b: list[str]) -> bool:
    """Compare two lists item by item; one that repeats a word or letter, ``T, F, T``, is a sequence."""
    a, b = list(map(letters, a)), list(map(letters, b))
    is_sequence = any(n > 1 and item[0].isalpha() for item, n in Counter(a).items())
    return a == b if is_sequence else Counter(a) == Counter(b)


def one_holds_the_other(a: str, b: str) -> bool:
    """Say whether one unit is part of the other: dollars, and dollars per hour."""
    return set(a.split()) <= set(b.split()) or set(b.split()) <= set(a.split())
