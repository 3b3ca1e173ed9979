"""Read the gold answer of a row: as its data set writes it, or refused where it can be no final answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tts_utils.answers import MAX_GOLD, extract_answer
from tts_utils.problems.errors import ProblemError

ANSWER_FIELDS = ("answer", "final_answer", "extracted_groundtruth", "expected_answer")
_MARKED = re.compile(r"^\s*####\s*(\S.*?)\s*$", re.MULTILINE)
_WAY_OUT = "give the final answer alone, or the worked solution in 'solution', with its answer in \\boxed{}"


def gold_of(row: Mapping[str, Any], place: str) -> tuple[str, str]:
    r"""Return the gold answer of a row, and the worked solution that it held in its place, "" for none.

    Read for what they are: text; a number, 27.0 as 27; a list of one of these (OlympiadBench), and one of
    several where the row says ``is_multiple_answer``; a solution that ends in ``#### N`` (GSM8K) or holds a
    ``\boxed{}``; and, without any answer, the solution's box, or its number where it is nothing else.

    Raises:
        ProblemError: there is no answer, or it is something else: true or false, an object, several values,
            not a number, several lines, longer than ``MAX_GOLD`` characters.
    """
    field = next((name for name in ANSWER_FIELDS if row.get(name) is not None), None)
    answer = "" if field is None else _as_text(row[field], f"{place}: field {field}", row)
    solution = row.get("solution")
    if not answer:
        if isinstance(solution, (int, float)) and not isinstance(solution, bool):
            return _as_text(solution, f"{place}: field solution", row), ""
        found = extract_answer(_joined(solution)) if solution else ""
        if not found:
            raise ProblemError(
                f"{place}: no answer; give it in the field 'answer', or as \\boxed{{}} in 'solution'"
            )
        return found, ""
    if marked := _MARKED.findall(answer):
        return marked[-1], answer
    if r"\boxed" in answer and (found := extract_answer(answer)):
        return found, answer if len(answer) > len(found) + 20 else ""
    if len(answer) > MAX_GOLD:
        raise ProblemError(
            f"{place}: field {field} has {len(answer):,} characters; no final answer is longer than "
            f"{MAX_GOLD:,}; {_WAY_OUT}"
        )
    if "\n" in answer and r"\begin" not in answer:
        lines = answer.count("\n") + 1
        raise ProblemError(
            f"{place}: field {field} has {lines} lines, so it is no final answer: {answer!r:.80}; {_WAY_OUT}"
        )
    return " ".join(answer.split("\n")), ""


def solution_of(row: Mapping[str, Any], place: str) -> str:
    """Return the worked solution of a row, "" for none; a list of texts (OlympiadBench) is joined."""
    solution = row.get("solution")
    if solution is None or (isinstance(solution, (int, float)) and not isinstance(solution, bool)):
        return ""
    if isinstance(solution, str) or (
        isinstance(solution, list) and all(isinstance(s, str) for s in solution)
    ):
        return _joined(solution)
    raise ProblemError(f"{place}: field solution must be a string, got {solution!r:.80}")


def _joined(solution: Any) -> str:
    return "\n\n".join(solution) if isinstance(solution, list) else str(solution)


def _as_text(value: Any, place: str, row: Mapping[str, Any]) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ProblemError(f"{place} is {value!r}, which is no final answer; {_WAY_OUT}")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list) and len(value) == 1:
        return _as_text(value[0], place, row)
    if isinstance(value, list) and value and row.get("is_multiple_answer") is True:
        return ", ".join(_as_text(item, place, row) for item in value)
    what = "several values" if isinstance(value, list) else f"a {type(value).__name__}"
    raise ProblemError(
        f"{place} holds {what}, {value!r:.80}; a final answer is one text or number: of several that are "
        'all asked for, write "1, 2"'
    )
