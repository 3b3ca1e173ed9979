r"""Words after a value: known units and things counted, which say nothing about it, and words that change it.

``12 \text{ cm}`` is 12, ``5 million`` is 5000000, and ``8 \text{ p.m.}`` stays what it is.
"""

from __future__ import annotations

import re

_SAME = (  # one unit a line: what it is called in comparisons, and its spellings
    "inch inches in.",
    "foot feet ft",
    "yard yards yd yds",
    "mile miles mi",
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres",
    "dm decimeter decimeters decimetre decimetres",
    "meter meters metre metres",
    "km kilometer kilometers kilometre kilometres",
    "second seconds sec secs",
    "minute minutes min mins",
    "hour hours hr hrs",
    "day days",
    "week weeks",
    "month months",
    "year years yr yrs",
    "ms millisecond milliseconds",
    "gram grams",
    "kg kilogram kilograms kgs",
    "mg milligram milligrams",
    "pound pounds lb lbs",
    "ounce ounces oz",
    "ton tons tonne tonnes",
    "liter liters litre litres",
    "ml milliliter milliliters millilitre millilitres",
    "gallon gallons gal",
    "quart quarts qt",
    "pint pints",
    "cup cups",
    "dollar dollars usd bucks",
    "cent cents",
    "euro euros",
    "yuan",
    "penny pennies pence",
    "degree degrees deg",
    "radian radians rad",
    "celsius",
    "fahrenheit",
    "kelvin",
    "acre acres",
    "hectare hectares ha",
    "newton newtons",
    "joule joules",
    "watt watts",
    "kw kilowatt kilowatts",
    "volt volts",
    "hertz hz",
    "pascal pascals",
    "byte bytes",
    "kb",
    "mb",
    "gb",
    "person people persons",
    "child children",
    "man men",
    "woman women",
    "mouse mice",
    "die dice",
    "foot-pound foot-pounds",
)
_GENERIC = frozenset("unit units u".split())
_UNITS = {name: line.split()[0] for line in _SAME for name in line.split()} | {
    **{"mph": "mile hour", "kph": "km hour", "kmh": "km hour", "m/s": "meter second", "km/h": "km hour"},
}
_IN_PLAIN = frozenset("cm mm km kg mg ml ft mph kph lb lbs oz yd yds hr hrs mins secs sq".split())
"""Units that may follow a number without a space and without \\text: nobody means a product by them."""

_SILENT = frozenset(
    "per of a an the each old total different distinct possible whole in all us u.s. long"
    " square sq squared cubic cu cubed".split()
)
_CHANGING = frozenset(
    "dozens hundreds thousands millions billions trillions tens ones tenths hundredths thousandths halves thirds"
    " fourths quarters fifths sixths sevenths eighths ninths pairs scores grosses times plus minus less"
    " is this its was has as pass loss across yes us his hers theirs ours perhaps always towards"
    " upwards downwards forwards backwards clockwise others negatives positives multiples factors powers bases"
    " squares cubes roots logs radicals places digits".split()
)
_COUNTED = re.compile(r"[a-z]{3,}s")
_SINGULAR = frozenset(
    "way student apple ticket coin marble book box ball card team game page problem question point solution"
    " triangle side step word letter number digit egg car chair table house girl boy integer value pair tile"
    " block piece seat bag bottle candy cookie".split()
)
_MULTIPLIERS = {
    **{"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12},
}
_MULTIPLIED = re.compile(
    r"(?P<number>-?[0-9]*\.?[0-9]+) ?(?:\\text\{ ?)?(?P<word>hundred|thousand|million|billion|trillion|dozen)"
    r"(?![A-Za-z])(?P<rest> ?[A-Za-z. ]*)\}?"
)
_WORDS = r"[A-Za-z][A-Za-z./-]*(?: [A-Za-z][A-Za-z./-]*)*"
_AFTER = re.compile(
    rf"(?P<value>.*?[0-9A-Za-z)\]}}!])"
    rf"(?:(?P<degree>\^\\circ ?)|(?: |,)?\\text\{{ ?(?P<text>{_WORDS}) ?\}}|(?:(?<=[0-9)\]}}!])|(?<=[0-9]i)) (?P<plain>{_WORDS})"
    rf"|(?<=[0-9])(?P<glued>[A-Za-z]{{2,4}}|m/s|km/h|m/s))"
    rf"(?P<power>\^(?:[0-9]|\{{[0-9]\}}))?(?P<more>(?: ?/ ?| per )(?:\\text\{{ ?)?{_WORDS}\}}?(?:\^(?:[0-9]|\{{[0-9]\}}))?)?"
)
_SCALES = {"c": "celsius", "f": "fahrenheit", "k": "kelvin", "celsius": "celsius", "fahrenheit": "fahrenheit"}
_SCALE = re.compile(
    r"(?P<value>.*[0-9])\^\\circ ?(?:\\text\{ ?)?(?P<scale>[CFK]|[Cc]elsius|[Ff]ahrenheit)\}?"
)


def multiplied(text: str) -> str:
    r"""Return "5 million" as 5000000 and "2 dozen" as 24, with what follows; any other text as it is.

    >>> multiplied("2.5\\text{ million}"), multiplied("5 millions")
    ('2500000', '5 millions')
    """
    found = _MULTIPLIED.fullmatch(text)
    if not found:
        return text
    if found["word"] == "dozen":
        if "." in found["number"]:
            return text
        value = str(12 * int(found["number"]))
    else:
        whole, _, decimals = found["number"].partition(".")
        zeros = _MULTIPLIERS[found["word"]]
        value = (
            whole + decimals[:zeros].ljust(zeros, "0") + ("." + decimals[zeros:] if decimals[zeros:] else "")
        )
    rest = found["rest"].strip()
    return f"{value} \\text{{{rest}}}" if rest else value


def split_unit(text: str) -> tuple[str, str]:
    r"""Return a value and the name of the unit that follows it, "" where none does.

    Known units count, with "square", "per" and the like; so does the plural of anything, since things are
    counted in it ("5 marbles"), unless it changes the value ("5 thirds"). One letter is a unit only in
    ``\text``, after a space, and never one of ``x y z`` and ``i e``: ``5t`` is a product. A power says
    nothing either: inches are written where square inches are meant.

    >>> split_unit(r"12 \text{ cm}^2"), split_unit("12 square feet"), split_unit(r"5\text{ west}")
    (('12', 'cm'), ('12', 'foot'), ('5\\text{ west}', ''))
    """
    if scale := _SCALE.fullmatch(text):
        return scale["value"], _SCALES[scale["scale"].casefold()]
    found = _AFTER.fullmatch(text)
    if not found:
        return text, ""
    value = found["value"].rstrip(" ,")
    if value.endswith("\\circ"):
        return text, ""  # 30 degrees north
    if found["degree"]:
        return (value, "degree") if not found["power"] and not found["more"] else (text, "")
    if found["glued"]:
        if found["glued"].casefold() not in _IN_PLAIN | {"m/s", "km/h"}:
            return text, ""
        words = found["glued"]
    else:
        words = found["text"] or found["plain"]
    if found["more"]:
        words += " per " + re.sub(r"\\text\{ ?|\}|\^\{?|/|\bper\b", " ", found["more"]).strip()
    unit = _unit_of(words, single=text.endswith("}") and " " in text[len(value) :])
    if unit is None:
        return text, ""
    return value, unit


def _unit_of(words: str, single: bool) -> str | None:
    """Return the name of the unit that some words are, "" for one that says nothing, None if they are none."""
    names, known = [], False
    words = words.replace("/", " per ") if words not in ("m/s", "km/h") else words
    every = [word if word == "in." else word.rstrip(".") for word in words.casefold().split()]
    for place, word in enumerate(every):
        if word in _SILENT and not (word == "in" and place == len(every) - 1):
            continue
        elif word in _GENERIC:
            known = True
        elif word in _UNITS or word == "in":
            names.append(_UNITS.get(word, "inch"))
            known = True
        elif word in _CHANGING:
            return None
        elif _COUNTED.fullmatch(word) or word in _SINGULAR:
            names.append(word.rstrip("s"))
            known = True
        elif len(word) == 1 and word in "mghslvnjw" and (single or known):
            names.append(
                {"m": "meter", "g": "gram", "h": "hour", "s": "second", "l": "liter"}.get(word, word)
            )
            known = True
        else:
            return None
    return " ".join(names) if known else None
