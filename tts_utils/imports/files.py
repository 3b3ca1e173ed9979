"""Read the output files of other projects into one shape; it grades, judges and stores nothing.

Two formats: the JSONL of search-and-learn (one line per problem) and the record files that the code released
with Liu et al. 2025 (arXiv:2502.06703) writes (``question_<i>/record_<j>.jsonl``). Where a file lacks
something, so does what is returned; nothing is filled in. Texts are as they stand there, but for the marks
that the paper's code sets behind its steps: blank lines part them here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_utils.answers import extract_answer
from tts_utils.imports.json_fields import (
    BadImport,
    as_count,
    as_level,
    as_scores,
    get,
    get_text,
    read_lines,
    whole,
)
from tts_utils.mdp import SEPARATOR
from tts_utils.records import Problem
from tts_utils.store.manifest import sha256_of

SEARCH_AND_LEARN = "search-and-learn"
RECORDS = "records"
STEP_MARK = " ки\n"
"""What the paper's code writes behind every step, where the policy wrote a blank line or ended."""

WORDS_OF_AN_ANSWER = 3
"""A record's groundtruth that states no answer and has more words is a solution, and no answer itself."""

_PREDICTION = re.compile(r"pred(_(naive|weighted|maj)@\d+)?")


@dataclass(frozen=True, slots=True)
class Output:
    """One completion as a file states it.

    Attributes:
        text: the completion; its steps, where the file marks them, joined by blank lines.
        scores: its step scores, or None where the file gives none.
        num_tokens: its own token count, or None where the file gives none.
        answer: the final answer that the file itself extracted, or None.
        steps: its steps where the file marks their ends, or None.
        spent: tokens that a search generated for it and, shared among them all, for the completions of its
            record: 0 for all but the last. None where the file does not say.
    """

    text: str
    scores: tuple[float, ...] | None = None
    num_tokens: int | None = None
    answer: str | None = None
    steps: tuple[str, ...] | None = None
    spent: int | None = None


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
        gold_known: whether the source states the gold answer, and not only a solution without one.
    """

    problem: Problem
    place: str
    outputs: tuple[Output, ...]
    predictions: Mapping[str, str] = field(default_factory=dict)
    agg_scores: tuple[float, ...] = ()
    verdicts: tuple[float, ...] = ()
    gold_known: bool = True


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
    for place, row in read_lines(path):
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
    value (step scores), extracted_answer, token_history (tokens of the path's steps), completion_tokens (what
    the whole search generated, not the path), and majority_vote in result. The completions of a question are
    those of record 0, then of record 1, and so on. The problem is named like its folder.

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
    texts = get(row, place, "completions", list)
    for text in texts:
        if not isinstance(text, str):
            raise BadImport(f"{place}: field completions must hold strings, got {text!r:.80}")
        whole(text, place, "completions")
    if not texts:
        raise BadImport(f"{place}: field completions is empty")

    def per_completion(name: str) -> list:
        values = get(row, place, name, list, default=None)
        if values is None:
            return [None] * len(texts)
        if len(values) != len(texts):
            raise BadImport(f"{place}: {len(values)} values in field {name} for {len(texts)} completions")
        return values

    scores = [as_scores(value, f"{place}, field scores") for value in per_completion("scores")]
    tokens = [
        as_count(value, f"{place}, field completion_tokens") for value in per_completion("completion_tokens")
    ]
    agg_scores = as_scores(get(row, place, "agg_scores", list, default=None), f"{place}, field agg_scores")
    id_field = next((name for name in ("unique_id", "problem_id", "id") if name in row), "unique_id")
    problem_id = str(get(row, place, id_field, (str, int)))
    if not problem_id.isprintable() or not problem_id.strip():
        raise BadImport(f"{place}: field {id_field} must be printable text, got {problem_id!r:.80}")
    problem = Problem(
        problem_id=problem_id,
        text=get_text(row, place, "problem"),
        answer=get_text(row, place, "answer"),
        level=as_level(row.get("level"), place),
        subject=get(row, place, "subject", str, default=""),
        solution=get(row, place, "solution", str, default=""),
    )
    if agg_scores is not None and len(agg_scores) != len(texts):
        raise BadImport(f"{place}: {len(agg_scores)} values in field agg_scores for {len(texts)} completions")
    return Question(
        problem=problem,
        place=place,
        outputs=tuple(Output(*parts) for parts in zip(texts, scores, tokens, strict=True)),
        predictions={
            k: whole(v, place, k) for k, v in row.items() if _PREDICTION.fullmatch(k) and isinstance(v, str)
        },
        agg_scores=agg_scores or (),
    )


def _pooled(name: str, files: list[Path]) -> Question:
    problem, outputs, verdicts, gold_known = None, [], [], True
    for file in files:
        before = len(outputs)
        for place, row in read_lines(file):
            gold = get_text(row, place, "groundtruth")
            answer = extract_answer(gold)
            gold_known = bool(answer) or len(gold.split()) <= WORDS_OF_AN_ANSWER
            found = Problem(name, get_text(row, place, "question"), answer or gold.strip())
            if problem not in (None, found):
                raise BadImport(
                    f"{place}: its question or groundtruth differs from that of {files[0]}; one folder must "
                    "hold the records of one problem"
                )
            problem = found
            result = get(row, place, "result", dict, default={})
            if isinstance(result.get("majority_vote"), (int, float)):
                verdicts.append(float(result["majority_vote"]))
            for number, output in enumerate(get(row, place, "output", list)):
                outputs.append(_record_output(output, f"{place}, output {number}"))
        if len(outputs) == before:
            raise BadImport(f"{file} holds no completion; remove it, or run that record again")
    return Question(
        problem, str(files[0].parent), tuple(outputs), verdicts=tuple(verdicts), gold_known=gold_known
    )


def _record_output(output: Any, place: str) -> Output:
    if not isinstance(output, dict):
        raise BadImport(f"{place}: an object with text and value is wanted, got {output!r:.80}")
    text = get(output, place, "text", str)
    marked = STEP_MARK in text
    steps = tuple(text.removesuffix(STEP_MARK).split(STEP_MARK)) if marked else None
    return Output(
        text=SEPARATOR.join(steps) if marked else text,
        scores=as_scores(output.get("value"), f"{place}, field value"),
        num_tokens=_path_tokens(output, place),
        answer=get(output, place, "extracted_answer", str, default=None),
        steps=steps,
        spent=as_count(output.get("completion_tokens"), f"{place}, field completion_tokens"),
    )


def _path_tokens(output: dict[str, Any], place: str) -> int | None:
    history = get(output, place, "token_history", list, default=[])
    counts = [as_count(value, f"{place}, field token_history") for value in history]
    known = counts and all(count is not None and count >= 0 for count in counts)
    return sum(counts) if known else None
