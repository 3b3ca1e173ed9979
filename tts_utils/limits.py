"""How large a file from elsewhere may be, its lines and texts: what is larger is refused, with its size."""

from __future__ import annotations

from pathlib import Path

MAX_FILE = 4 * 2**30
"""Bytes of the largest file: ten times what 256 samples of each problem of MATH-500 take."""

MAX_LINE = 256 * 2**20
"""Characters of the longest line: it may hold all completions of a problem."""

MAX_TEXT = 1_000_000
"""Characters of the longest completion, problem, answer or solution."""


class TooLarge(ValueError):
    """Something is larger than its limit; the message names both."""


def whole_file(path: Path) -> Path:
    """The path itself, of a file that is not too large to be read.

    Raises:
        TooLarge: naming the file, its size and the limit.
        FileNotFoundError: there is none.
    """
    if (size := path.stat().st_size) > MAX_FILE:
        raise TooLarge(f"{path}: {size:,} bytes, more than the limit of {MAX_FILE:,}; split the file")
    return path


def whole_text(text: str, place: str, what: str) -> str:
    """The text itself, where it is not too long.

    Args:
        text: the text.
        place: where it stands.
        what: what it is, as in "field answer".

    Raises:
        TooLarge: naming place and limit.

    >>> whole_text("x" * 1_000_001, "run.jsonl, line 3", "field answer")
    Traceback (most recent call last):
    ...
    tts_utils.limits.TooLarge: run.jsonl, line 3: field answer has 1,000,001 characters, more than the limit \
of 1,000,000
    """
    if len(text) > MAX_TEXT:
        raise TooLarge(f"{place}: {what} has {len(text):,} characters, more than the limit of {MAX_TEXT:,}")
    return text


def whole_line(line: str, place: str) -> str:
    """The line itself, where it is not too long.

    Raises:
        TooLarge: naming place and limit.
    """
    if len(line) > MAX_LINE:
        raise TooLarge(f"{place}: more than the limit of {MAX_LINE:,} characters a line")
    return line
