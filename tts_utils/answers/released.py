r"""The order in which the authors' released code looks for an answer; for reproducing what it would count.

Source: the code of Liu et al. 2025 (arXiv:2502.06703), after that of Minerva and of Qwen's evaluation.
"""

from __future__ import annotations

import re

from tts_utils.answers.boxes import bare, last_content

LAST_NUMBER = re.compile(r"(?<![0-9A-Za-z)])-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)|[0-9]+(?:\.[0-9]+)?")


def minerva(text: str) -> str | None:
    """Return the mathematics in "final answer is $...$. I hope", or None where it is not there."""
    end = text.rfind("$. I hope")
    start = text.rfind("final answer is", 0, max(end, 0))
    if start >= 0:
        before, dollar, formula = text[start + len("final answer is") : end].partition("$")
        if dollar and not before.strip(": ") and "$" not in formula:
            return _innermost(formula)
    return None


def last_number(text: str) -> str:
    """Return the last number of a text, or ""."""
    found = ""
    for number in LAST_NUMBER.finditer(text):
        found = number[0]
    return found.rstrip(",")


def extract(text: str) -> str:
    """Return the answer: of Minerva's sentence, of the last box, after "he answer is" or "final answer is".

    Differs from the released code: the last number is not the last resort here (``last_number`` of
    ``extract_answer`` is); only the rest of the sentence or formula after "answer is" counts, not all that
    follows; a colon after "is" is allowed; a box without braces also begins outside a formula, before a
    number.
    """
    found = minerva(text)
    if found is not None:
        return found
    boxed = last_content(text)
    if boxed is not None:
        return bare(boxed)
    for phrase in ("he answer is", "final answer is"):
        if phrase in text:
            return _innermost(_first_statement(text.rpartition(phrase)[2]))
    return ""


def _innermost(text: str) -> str:
    """Return the content of the last box in the text, or all of it."""
    boxed = last_content(f"${text}$")
    return bare(text if boxed is None else boxed)


def _first_statement(text: str) -> str:
    """Return the formula a text begins with, or its first sentence, within its first line."""
    line = text.lstrip(": \n").partition("\n")[0]
    if line.startswith("$"):
        return line.lstrip("$").partition("$")[0]
    return re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].strip("*")
