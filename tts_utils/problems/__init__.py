"""Load problem sets: the lab's, MATH-500 and other known ones, any JSONL file, any Hub data set."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tts_utils import limits
from tts_utils.data_folder import checked_where_listed, fetch_hint, layers, look_up
from tts_utils.problems.errors import ProblemError
from tts_utils.problems.golds import ANSWER_FIELDS, gold_of, solution_of
from tts_utils.problems.hub import HUB_DATASETS, read_hub
from tts_utils.records import Problem

__all__ = ["HUB_DATASETS", "ProblemError", "dataset_option", "fingerprint", "load_problems"]

MAX_CHARS = limits.MAX_TEXT
"""Characters of the longest problem text."""

MAX_LINE = 10 * MAX_CHARS
"""Characters of the longest line of a problem file."""

_FIELDS = {
    "text": ("problem", "question"),
    "problem_id": ("problem_id", "unique_id", "id"),
    "level": ("level",),
    "subject": ("subject", "type", "subfield"),
}


def dataset_option(name: str, data: Path) -> str:
    """What to give as ``--dataset`` for a set: its name where that can be loaded, else a path to complete."""
    known = name.endswith(".jsonl") or name in HUB_DATASETS or "/" in name
    return name if known or look_up(f"problems/{name}.jsonl", data) else f"PATH/TO/{name}.jsonl"


def load_problems(name: str, *, data: Path | None = None) -> tuple[Problem, ...]:
    """Load a problem set in the order of its source.

    Args:
        name: a set under ``data/problems/`` ("lab-500"), a path ending in ``.jsonl``, "MATH-500", "AIME24",
            or "owner/name+configuration+split" of a Hub data set, the last two where needed (see
            :func:`tts_utils.problems.hub.read_hub`; needs the package ``datasets``).
        data: the data directory; None means one's own, and then what is shipped.

    Raises:
        ProblemError: the set is unknown or empty, a line is no JSON object, a problem has no text or no
            answer, or an identifier occurs twice.

    Accepted keys: problem | question; problem_id | unique_id | id (else "<name>-<number>"); answer |
    final_answer | extracted_groundtruth | expected_answer, else the ``\\boxed{}`` of the solution, all as
    :func:`tts_utils.problems.golds.gold_of` says; solution; level as 3 or "Level 3"; subject | type |
    subfield. Other keys go into ``meta``, and for Hub sets its ``source``: what was read.
    """
    if name.endswith(".jsonl"):
        path = Path(os.path.expanduser(name))
        if not path.is_file():
            raise ProblemError(f"no problem file {path}")
        return _load_jsonl(checked_where_listed(path, data))
    if _is_plain(name) and (path := look_up(f"problems/{name}.jsonl", data)):
        return _load_jsonl(path)
    if name in HUB_DATASETS or "/" in name:
        return _load_hub(name)
    stored = [path.stem for layer in layers(data) for path in layer.glob("problems/*.jsonl")]
    known = sorted({*stored, *HUB_DATASETS})
    raise ProblemError(
        f"unknown data set {name!r}; there is {', '.join(known)}, or give the path of a .jsonl file "
        f"or the owner/name of a Hub data set{fetch_hint(f'problems/{name}.jsonl', name, data)}"
    )


def fingerprint(problems: Iterable[Problem]) -> str:
    """A hash of what matters to stored rows: each problem's identifier, text and answer, order aside."""
    lines = sorted(json.dumps([p.problem_id, p.text, p.answer]) for p in problems)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _is_plain(name: str) -> bool:
    return bool(re.fullmatch(r"[\w.+-]+", name))


def _load_jsonl(path: Path) -> tuple[Problem, ...]:
    places_and_rows = []
    try:
        # Not splitlines(): a problem may hold U+2028 and its kin, which JSON does not escape.
        lines = limits.whole_file(path).read_text(encoding="utf-8-sig").split("\n")
    except limits.TooLarge as exc:
        raise ProblemError(str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise ProblemError(f"{path}: not UTF-8 text ({exc})") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            raise ProblemError(
                f"{path}, line {number}: {len(line):,} characters, more than the limit of {MAX_LINE:,} a line"
            )
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:  # also a number too long, brackets too deep
            raise ProblemError(f"{path}, line {number}: not JSON ({exc})") from exc
        if not isinstance(row, dict):
            raise ProblemError(f"{path}, line {number}: a JSON object is wanted, got {type(row).__name__}")
        places_and_rows.append((f"{path}, line {number}", row))
    return _as_problems(places_and_rows, path.stem, str(path))


def _load_hub(name: str) -> tuple[Problem, ...]:
    source, rows = read_hub(name)
    return _as_problems([(place, {**row, "source": source}) for place, row in rows], name, source)


def _as_problems(rows: list[tuple[str, dict[str, Any]]], name: str, source: str) -> tuple[Problem, ...]:
    problems = tuple(
        _as_problem(row, place, f"{name}-{number:04d}") for number, (place, row) in enumerate(rows, start=1)
    )
    if not problems:
        raise ProblemError(f"{source}: holds no problem")
    places: dict[str, str] = {}
    for (place, _), problem in zip(rows, problems, strict=True):
        if not _is_unicode(problem.problem_id):
            raise ProblemError(
                f"{place}: problem_id {problem.problem_id!r} holds half of a surrogate pair, which no table "
                "can store; give the problem another identifier"
            )
        if problem.problem_id in places:
            raise ProblemError(
                f"{place}: problem_id {problem.problem_id!r} was used before, in {places[problem.problem_id]}"
            )
        places[problem.problem_id] = place
    return problems


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _as_problem(row: Mapping[str, Any], place: str, default_id: str) -> Problem:
    values = {
        field: next((row[key] for key in keys if row.get(key) is not None), "")
        for field, keys in _FIELDS.items()
    }
    for field in ("text", "subject"):
        if not isinstance(values[field], str):
            keys = " or ".join(_FIELDS[field])
            raise ProblemError(f"{place}: field {keys} must be a string, got {values[field]!r:.80}")
    if not values["text"].strip():
        raise ProblemError(f"{place}: no text; give it in the field 'problem' or 'question'")
    if len(values["text"]) > MAX_CHARS:
        raise ProblemError(
            f"{place}: a problem of {len(values['text']):,} characters is longer than the limit, "
            f"{MAX_CHARS:,}"
        )
    solution = solution_of(row, place)
    answer, worked = gold_of(row, place)
    known = {*(key for keys in _FIELDS.values() for key in keys), *ANSWER_FIELDS, "solution"}
    return Problem(
        problem_id=str(values["problem_id"]) if values["problem_id"] != "" else default_id,
        text=values["text"],
        answer=answer,
        level=_as_level(values["level"], place),
        subject=values["subject"],
        solution=solution or worked,
        meta={key: value for key, value in row.items() if key not in known},
    )


def _as_level(value: Any, place: str) -> int:
    if value == "":
        return 0
    match = re.fullmatch(r"(?:Level )?\s*(\d)(?:\.0)?", str(value).strip())
    if match and int(match[1]) <= 5:
        return int(match[1])
    if str(value).strip() == "Level ?":  # so written for a few problems of MATH
        return 0
    raise ProblemError(f"{place}: field level must be 1 to 5 or 'Level 1' to 'Level 5', got {value!r}")
