"""Read the output files of other projects into one shape; it grades, judges and stores nothing.

Two formats: the JSONL of search-and-learn (one line per problem) and the record files that the code released
with Liu et al. 2025 (arXiv:2502.06703) writes (``question_<i>/record_<j>.jsonl``). Where a file lacks
something, so does what is returned; nothing is filled in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_utils.answers import extract_answer
from tts_utils.manifest import StoreError, sha256_of
from tts_utils.records import Problem

SEARCH_AND_LEARN = "search-and-learn"
RECORDS = "records"
_PREDICTION = re.compile(r"pred(_(naive|weighted|maj)@\d+)?")
_MISSING = object()


class BadImport(StoreError):
    """A file that cannot be imported; the message names file, line and field, and the way out."""


@dataclass(frozen=True, slots=True)
class Output:
    """One completion as a file states it.

    Attributes:
        text: the completion.
        scores: its step scores, or None where the file gives none.
        num_tokens: its token count, or None where the file gives none.
        answer: the final answer that the file itself extracted, or None.
    """

    text: str
    scores: tuple[float, ...] | None = None
    num_tokens: int | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """All that a source says of one problem.

    Attributes:
        problem: the problem.
        place: where it stands, for messages.
        outputs: its completions in the order of the file or of the records.
        predictions: the answers that the source chose, by its names ("pred", "pred_maj@4", ...).
        agg_scores: one aggregated score per completion, or ().
        verdicts: "majority_vote" of each record, or ().
    """

    problem: Problem
    place: str
    outputs: tuple[Output, ...]
    predictions: Mapping[str, str] = field(default_factory=dict)
    agg_scores: tuple[float, ...] = ()
    verdicts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run of others: which format, which file or folder, the sha256 of its content, its questions."""

    source: str
    name: str
    sha256: str
    questions: tuple[Question, ...]


def read_search_and_learn(path: Path) -> Run:
    """Read a search-and-learn JSONL file.

    Needed in each line: problem, answer, unique_id (or problem_id or id) and completions. Used where there:
    scores (one list per completion), agg_scores, completion_tokens, pred and pred_*@k, level, subject,
    solution. An id may occur once.

    Raises:
        BadImport: naming file, line and field.
    """
    if not path.is_file():
        raise BadImport(f"no file {path}; give the .jsonl file that search-and-learn wrote")
    questions: dict[str, Question] = {}
    for place, row in _lines(path):
        question = _search_and_learn_line(row, place)
        problem_id = question.problem.problem_id
        if before := questions.get(problem_id):
            same = before.problem == question.problem
            what = "the same problem" if same else "a different problem"
            raise BadImport(
                f"{place}: unique_id {problem_id!r} stands for {what} in {before.place}; an id must be used "
                "once, so split a file of several runs, or rename the ids"
            )
        questions[problem_id] = question
    if not questions:
        raise BadImport(f"{path} holds no line")
    return Run(SEARCH_AND_LEARN, path.name, sha256_of(path), tuple(questions.values()))


def read_records(folder: Path) -> Run:
    """Read a folder of ``question_<i>/record_<j>.jsonl`` and pool the records of each question.

    Needed in each record: question, groundtruth and output, a list of objects with text. Used where there:
    value (step scores), extracted_answer, completion_tokens, and majority_vote in result. The completions of
    a question are those of record 0, then of record 1, and so on. The problem is named like its folder.

    Raises:
        BadImport: naming file, line and field; also where records of one question differ in their question.
    """
    numbered = re.compile(r"(?:question|record)_(\d+)(?:\.jsonl)?")

    def children(parent: Path, pattern: str) -> list[Path]:
        found = [p for p in parent.glob(pattern) if numbered.fullmatch(p.name)]
        return sorted(found, key=lambda p: int(numbered.fullmatch(p.name)[1]))

    questions, digest = [], hashlib.sha256()
    for place in children(folder, "question_*"):
        files = children(place, "record_*.jsonl")
        for file in files:
            digest.update(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n".encode())
        if files:
            questions.append(_pooled(place.name, files))
    if not questions:
        raise BadImport(
            f"{folder} holds no question_<i>/record_<j>.jsonl; give the folder in which question_0 lies"
        )
    return Run(RECORDS, folder.resolve().name, digest.hexdigest(), tuple(questions))


def _search_and_learn_line(row: dict[str, Any], place: str) -> Question:
    texts = _get(row, place, "completions", list)
    for text in texts:
        if not isinstance(text, str):
            raise BadImport(f"{place}: field completions must hold strings, got {text!r:.80}")
    if not texts:
        raise BadImport(f"{place}: field completions is empty")

    def per_completion(name: str) -> list:
        values = _get(row, place, name, list, default=None)
        if values is None:
            return [None] * len(texts)
        if len(values) != len(texts):
            raise BadImport(f"{place}: {len(values)} values in field {name} for {len(texts)} completions")
        return values

    scores = [_scores(value, f"{place}, field scores") for value in per_completion("scores")]
    tokens = [
        _count(value, f"{place}, field completion_tokens") for value in per_completion("completion_tokens")
    ]
    agg_scores = _scores(_get(row, place, "agg_scores", list, default=None), f"{place}, field agg_scores")
    id_field = next((name for name in ("unique_id", "problem_id", "id") if name in row), "unique_id")
    problem = Problem(
        problem_id=str(_get(row, place, id_field, (str, int))),
        text=_text(row, place, "problem"),
        answer=_text(row, place, "answer"),
        level=_level(row.get("level"), place),
        subject=_get(row, place, "subject", str, default=""),
        solution=_get(row, place, "solution", str, default=""),
    )
    if agg_scores is not None and len(agg_scores) != len(texts):
        raise BadImport(f"{place}: {len(agg_scores)} values in field agg_scores for {len(texts)} completions")
    return Question(
        problem=problem,
        place=place,
        outputs=tuple(Output(*parts) for parts in zip(texts, scores, tokens, strict=True)),
        predictions={k: v for k, v in row.items() if _PREDICTION.fullmatch(k) and isinstance(v, str)},
        agg_scores=agg_scores or (),
    )


def _pooled(name: str, files: list[Path]) -> Question:
    problem, outputs, verdicts = None, [], []
    for file in files:
        before = len(outputs)
        for place, row in _lines(file):
            gold = _text(row, place, "groundtruth")
            found = Problem(name, _text(row, place, "question"), extract_answer(gold) or gold.strip())
            if problem not in (None, found):
                raise BadImport(
                    f"{place}: its question or groundtruth differs from that of {files[0]}; one folder must "
                    "hold the records of one problem"
                )
            problem = found
            result = _get(row, place, "result", dict, default={})
            if isinstance(result.get("majority_vote"), (int, float)):
                verdicts.append(float(result["majority_vote"]))
            for number, output in enumerate(_get(row, place, "output", list)):
                outputs.append(_record_output(output, f"{place}, output {number}"))
        if len(outputs) == before:
            raise BadImport(f"{file} holds no completion; remove it, or run that record again")
    return Question(problem, str(files[0].parent), tuple(outputs), verdicts=tuple(verdicts))


def _record_output(output: Any, place: str) -> Output:
    if not isinstance(output, dict):
        raise BadImport(f"{place}: an object with text and value is wanted, got {output!r:.80}")
    return Output(
        text=_get(output, place, "text", str),
        scores=_scores(output.get("value"), f"{place}, field value"),
        num_tokens=_count(output.get("completion_tokens"), f"{place}, field completion_tokens"),
        answer=_get(output, place, "extracted_answer", str, default=None),
    )


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the object of every line that is not blank."""
    try:
        # Not splitlines(): a completion may hold U+2028 and its kin, which JSON does not escape.
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as exc:
        raise BadImport(f"{path}: not UTF-8 text ({exc})") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:  # a number too long is no JSONDecodeError
            raise BadImport(f"{place}: not JSON ({exc}); the file may be cut off there") from exc
        if not isinstance(row, dict):
            raise BadImport(f"{place}: a JSON object is wanted, got {type(row).__name__}")
        yield place, row


def _get(row: Mapping[str, Any], place: str, name: str, kind: Any, default: Any = _MISSING) -> Any:
    value = row.get(name)
    if value is None:
        if default is not _MISSING:
            return default
        found = ", ".join(sorted(row)) or "none"
        raise BadImport(f"{place}: field {name} is missing; the fields there are {found:.300}")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadImport(f"{place}: field {name} has a wrong type, got {value!r:.80}")
    return value


def _text(row: Mapping[str, Any], place: str, name: str) -> str:
    text = str(_get(row, place, name, (str, int, float)))
    if not text.strip():
        raise BadImport(f"{place}: field {name} is empty")
    return text


def _scores(value: Any, place: str) -> tuple[float, ...] | None:
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


def _count(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not -1 <= value < 2**31:
        raise BadImport(f"{place}: a number of tokens is wanted, got {value!r:.80}")
    return value


def _level(value: Any, place: str) -> int:
    found = re.fullmatch(r"(?:Level )?\s*([0-5?])", str(0 if value in (None, "") else value).strip())
    if not found:
        raise BadImport(f"{place}: field level must be 1 to 5 or 'Level 1' to 'Level 5', got {value!r}")
    return int(found[1].replace("?", "0"))
