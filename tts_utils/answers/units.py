r"""Words after a value: known units and things counted, which say nothing about it, and words that change it.

``12 \text{ cm}`` is 12, ``5 million`` is 5000000, and ``8 \text{ p.m.}`` stays what it is.
"""

from __future__ import annotations

import re

from tts_utils.answers.vocabulary import CHANGING, COUNTED, GENERIC, GLUED, LETTERS, SILENT, UNITS

_PLURAL = re.compile(r"[a-z]{2,}[a-rt-z]s")
_MULTIPLIERS = {
    **{"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12},
}
_MULTIPLIED = re.compile(
    r"(?P<number>-?[0-9]*\.?[0-9]+) ?(?:\\text\{ ?)?(?P<word>hundred|thousand|million|billion|trillion|dozen)"
    r"(?![A-Za-z])(?P<rest> ?[A-Za-z. ]*)\}?"
)
_WORDS = r"[A-Za-z][A-Za-z./-]*(?: [A-Za-z][A-Za-z./-]*)*"
_POWER = r"\^(?:[0-9]|\{[0-9]\})"
_AFTER = re.compile(
    rf"(?P<value>.*?[0-9A-Za-z)\]}}!])"
    rf"(?:(?P<degree>\^\\circ ?)"
    rf"|(?: |,)?\\text\{{ ?(?P<text>{_WORDS}) ?\}}"
    rf"|(?:(?<=[0-9)\]}}!])|(?<=[0-9]i)) (?P<plain>{_WORDS})"
    rf"|(?<=[0-9])(?P<glued>[A-Za-z]{{2,4}}|m/s|km/h))"
    rf"(?P<power>{_POWER})?"
    rf"(?P<more>(?: ?/ ?| per )(?:\\text\{{ ?)?{_WORDS}\}}?(?:{_POWER})?)?"
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
        if found["glued"].casefold() not in GLUED:
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
    """Return the name of the unit that words are, "" for one that says nothing, None for no unit."""
    names, known = [], False
    words = words.replace("/", " per ") if words not in ("m/s", "km/h") else words
    every = [word if word == "in." else word.rstrip(".") for word in words.casefold().split()]
    for place, word in enumerate(every):
        if word in SILENT and not (word == "in" and place == len(every) - 1):
            continue
        elif word in GENERIC:
            known = True
        elif word in UNITS or word == "in":
            names.append(UNITS.get(word, "inch"))
            known = True
        elif word in CHANGING:
            return None
        elif _PLURAL.fullmatch(word) or word in COUNTED:
            names.append(word.rstrip("s"))
            known = True
        elif word in LETTERS and (single or known):
            names.append(LETTERS[word])
            known = True
        else:
            return None
    return " ".join(names) if known else None
