"""Lines and fields of JSON that others wrote: each error names file, line and field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tts_utils import limits
from tts_utils.store.manifest import StoreError

_MISSING = object()


class BadImport(StoreError):
    """A file that cannot be imported; the message names file, line and field, and the way out."""


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the object of every line that is not blank; not more than a line is held.

    Raises:
        BadImport: the file or a line is too large, is no UTF-8 text, or a line is no JSON object.
    """
    for place, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:  # a number too long is no JSONDecodeError
            raise BadImport(f"{place}: not JSON ({exc}); the file may be cut off there") from exc
        if not isinstance(row, dict):
            raise BadImport(f"{place}: a JSON object is wanted, got {type(row).__name__}")
        yield place, row


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        # newline: a completion may hold U+2028 and its kin, which JSON does not escape.
        with open(limits.whole_file(path), encoding="utf-8", newline="\n") as file:
            number = 0
            while line := file.readline(limits.MAX_LINE + 1):
                number += 1
                place = f"{path}, line {number}"
                yield place, limits.whole_line(line, place)
    except UnicodeDecodeError as exc:
        raise BadImport(f"{path}: not UTF-8 text ({exc})") from exc
    except limits.TooLarge as exc:
        raise BadImport(str(exc)) from exc


def whole(text: str, place: str, name: str) -> str:
    """The text of a field, where it is not too long to be stored and read."""
    try:
        return limits.whole_text(text, place, f"field {name}")
    except limits.TooLarge as exc:
        raise BadImport(f"{exc}; leave this line out, or shorten it") from exc


def get(row: Mapping[str, Any], place: str, name: str, kind: Any, default: Any = _MISSING) -> Any:
    """A field of the wanted type; without a default it must be there."""
    value = row.get(name)
    if value is None:
        if default is not _MISSING:
            return default
        found = (", ".join(sorted(row)) or "none").encode("unicode_escape").decode()
        raise BadImport(f"{place}: field {name} is missing; the fields there are {found:.300}")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadImport(f"{place}: field {name} has a wrong type, got {value!r:.80}")
    return whole(value, place, name) if isinstance(value, str) else value


def get_text(row: Mapping[str, Any], place: str, name: str) -> str:
    text = str(get(row, place, name, (str, int, float)))
    if not text.strip():
        raise BadImport(f"{place}: field {name} is empty")
    return text


def as_scores(value: Any, place: str) -> tuple[float, ...] | None:
    """Step scores; one number alone is one score. What is not finite is kept, and judged later."""
    values = [value] if isinstance(value, (int, float)) else value
    if values is None:
        return None
    if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
        raise BadImport(f"{place}: a list of numbers is wanted, got {value!r:.80}")
    try:
        return tuple(map(float, values))
    except OverflowError as exc:
        raise BadImport(f"{place}: a number too large for a score") from exc


def as_count(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not -1 <= value < 2**31:
        raise BadImport(f"{place}: a number of tokens is wanted, got {value!r:.80}")
    return value


def as_level(value: Any, place: str) -> int:
    found = re.fullmatch(r"(?:Level )?\s*([0-5?])", str(0 if value in (None, "") else value).strip())
    if not found:
        raise BadImport(f"{place}: field level must be 1 to 5 or 'Level 1' to 'Level 5', got {value!r}")
    return int(found[1].replace("?", "0"))
