"""Solutions whose wrong steps are marked: ProcessBench and PRMBench, in the layouts they are published in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_utils import limits
from tts_utils.problems import ProblemError
from tts_utils.records import Problem, State

HUB = {
    "ProcessBench": ("Qwen/ProcessBench", ("gsm8k", "math", "olympiadbench", "omnimath")),
    "PRMBench": ("hitsmy/PRMBench_Preview", ("train",)),
}
"""The sets on the Hugging Face Hub, and their splits."""

CORRECT_OF = "redundency"
"""PRMBench's rows (its spelling) whose original processes are its right solutions, as its own code has it."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A solution with the first wrong step marked.

    Attributes:
        solution_id: unique within its set.
        subset: ProcessBench's split, or PRMBench's kind of error.
        problem: what is solved; its answer is not known, and is not asked for.
        steps: the H steps, at least 1, as the source cuts them.
        first_error: index of the first wrong step, or -1.
        wrong: all wrong steps where the source says which they are (PRMBench), else None.
    """

    solution_id: str
    subset: str
    problem: Problem
    steps: tuple[str, ...]
    first_error: int
    wrong: frozenset[int] | None = None

    @property
    def trajectory(self) -> State:
        """What a PRM scores: every step with a blank line behind it, the last one without."""
        texts = [step.strip("\n") + "\n\n" for step in self.steps]
        return State(self.problem, (*texts[:-1], texts[-1].removesuffix("\n\n")))


def load_solutions(name: str) -> tuple[Solution, ...]:
    """Load marked solutions.

    Args:
        name: "ProcessBench" or "PRMBench" (from the Hub; needs the package ``datasets``); a ``.json``,
            ``.jsonl`` or ``.parquet`` file in the layout of one of them, or a folder of such files. A row of
            ProcessBench has id ("gsm8k-0", of the subset gsm8k), problem, steps and label (index of the first
            wrong step, -1 for none). One of PRMBench has idx, modified_question, modified_process,
            error_steps (from 1) and classification, and gives a second solution, the original, where its own
            code takes one.

    Raises:
        ProblemError: naming file, row and field.
    """
    solutions: list[Solution] = []
    seen: dict[str, str] = {}
    for place, subset, row in _rows(name):
        for solution in _solutions(row, place, subset):
            if solution.solution_id in seen:
                if "error_steps" in row:  # PRMBench repeats some; its own code takes the first
                    continue
                raise ProblemError(
                    f"{place}: id {solution.solution_id!r} was used before, in {seen[solution.solution_id]}"
                )
            seen[solution.solution_id] = place
            solutions.append(solution)
    if not solutions:
        raise ProblemError(f"{name}: holds no solution")
    return tuple(solutions)


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of every row of a ``.json`` list, a ``.jsonl`` file or a parquet table.

    Raises:
        ProblemError: the file cannot be read, or a row is no object.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows: list[Any] = pq.read_table(limits.whole_file(path)).to_pylist()
        else:
            text = limits.whole_file(path).read_text(encoding="utf-8")
            whole = text.lstrip().startswith("[")
            rows = json.loads(text) if whole else [json.loads(x) for x in text.split("\n") if x.strip()]
    except FileNotFoundError as exc:
        raise ProblemError(f"no file {path}") from exc
    except limits.TooLarge as exc:
        raise ProblemError(str(exc)) from exc
    except (ValueError, RecursionError, OSError) as exc:
        raise ProblemError(f"{path} cannot be read as JSON, JSONL or parquet ({exc!s:.200})") from exc
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ProblemError(f"{path}, row {number}: an object is wanted, got {type(row).__name__}")
        yield f"{path}, row {number}", row


def _rows(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Place, subset and object of every row of a set."""
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".json", ".jsonl", ".parquet"))
        if not files:
            raise ProblemError(f"{path} holds no .json, .jsonl or .parquet file")
    elif path.suffix in (".json", ".jsonl", ".parquet"):
        files = [path]
    elif name in HUB:
        yield from _hub_rows(name)
        return
    else:
        raise ProblemError(
            f"{name!r} is no set of marked solutions: give {' or '.join(HUB)}, or the path of a .json, "
            ".jsonl or .parquet file, or a folder of them"
        )
    for file in files:
        for place, row in read_rows(file):
            yield place, file.stem, row


def _hub_rows(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    repo, splits = HUB[name]
    try:
        import datasets
    except ImportError as exc:
        raise ProblemError(
            f"{name} comes from the Hugging Face Hub, which needs: pip install datasets; or give the path of "
            "its files"
        ) from exc
    for split in splits:
        try:
            rows = datasets.load_dataset(repo, split=split)
        except Exception as exc:  # the Hub client has no common base for its errors
            raise ProblemError(f"could not load {repo!r}, split {split!r}, from the Hub: {exc}") from exc
        for number, row in enumerate(rows):
            yield f"{repo}/{split}, row {number}", split, dict(row)


def _solutions(row: Mapping[str, Any], place: str, subset: str) -> Iterator[Solution]:
    if "modified_process" in row:
        yield from _of_prmbench(row, place)
        return
    steps = _steps(row, place, "steps")
    label = row.get("label")
    if type(label) is not int or not -1 <= label < len(steps):
        raise ProblemError(
            f"{place}: field label must be the index of one of {len(steps)} steps, or -1, got {label!r:.80}"
        )
    solution_id = _text(row, place, "id")
    problem = Problem(solution_id, _text(row, place, "problem"), "?")
    subset = solution_id.rpartition("-")[0] or subset
    yield Solution(solution_id, subset, problem, steps, label)


def _of_prmbench(row: Mapping[str, Any], place: str) -> Iterator[Solution]:
    kind, number = _text(row, place, "classification"), _text(row, place, "idx")
    if kind == CORRECT_OF:
        problem = Problem(number, _text(row, place, "original_question"), "?")
        steps = _steps(row, place, "original_process")
        yield Solution(f"correct_{number}", "correct", problem, steps, -1, frozenset())
    steps, marked = _steps(row, place, "modified_process"), row.get("error_steps")
    if not isinstance(marked, list) or not all(type(k) is int and k >= 1 for k in marked):
        raise ProblemError(f"{place}: field error_steps must list steps from 1 on, got {marked!r:.80}")
    wrong = frozenset(k - 1 for k in marked if k <= len(steps))  # its own code skips those beyond the end
    problem = Problem(number, _text(row, place, "modified_question"), "?")
    yield Solution(f"{kind}_{number}", kind, problem, steps, min(wrong, default=-1), wrong)


def _steps(row: Mapping[str, Any], place: str, name: str) -> tuple[str, ...]:
    value = row.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(step, str) for step in value):
        raise ProblemError(f"{place}: field {name} must be a list of steps, got {value!r:.80}")
    return tuple(value)


def _text(row: Mapping[str, Any], place: str, name: str) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ProblemError(f"{place}: field {name} must be text, got {value!r:.80}")
    return str(value)
