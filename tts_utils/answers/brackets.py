"""Brackets and plus-minus signs of a tidy answer: what holds the whole of it, what stands for several."""

from __future__ import annotations

import re

from tts_utils.answers.spelling import split_list


def bracketed(text: str) -> tuple[str, str] | None:
    """Return the brackets around the whole of a text, and what is in them; None where there are none."""
    for left in ("\\{", "{", "(", "["):
        if not text.startswith(left):
            continue
        for right in ("\\}", "}", ")", "]"):
            if text.endswith(right) and (("{" in left) == ("}" in right)) and len(text) > len(left + right):
                inner = text[len(left) : len(text) - len(right)]
                if not _is_closed(inner):
                    return None
                brackets = r"\{\}" if "{" in left else left + right
                return (
                    (brackets, inner)
                    if "{" not in left or left == "\\{" or ", " in inner or "," in inner
                    else None
                )
    return None


def _is_closed(text: str) -> bool:
    """Say whether every bracket that closes in a text was opened in it."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def without_brackets(text: str) -> str:
    """Return a text without round brackets or braces that hold the whole of it and only one item."""
    while len(text) > 2 and (text[0] + text[-1] in ("()", "{}")) and _is_closed(text[1:-1]):
        inner = text[1:-1]
        if len(split_list(inner.replace(",", ", "))) > 1 or re.search(r"\\begin", inner):
            break
        text = inner
    return text


def signs_apart(items: list[str]) -> list[str]:
    r"""Return every item with ``\pm`` as those with a plus and with a minus."""
    apart: list[str] = []
    for item in items:
        found = re.split(r"(\\pm|\\mp)(?![A-Za-z])", item)
        signs = found[1::2]
        if not signs or len(signs) > 3 or item.startswith(r"\{"):
            apart.append(item)
            continue
        together = r"\mp" in signs
        for number in range(2 if together else 2 ** len(signs)):
            text = found[0]
            for place, sign in enumerate(signs):
                is_minus = (number % 2 == 1) != (sign == r"\mp") if together else number >> place & 1
                text += ("-" if is_minus else "+" if text and text[-1] not in "=({," else "") + found[
                    2 * place + 2
                ]
            apart.append(text)
    return apart
