"""Hold a PRM, or somebody's file of step scores, against solutions whose wrong steps are marked.

Step scores are kept in a file of one's own, a line per solution, so that a long run can be stopped and goes
on, and so that others can use it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tts_utils import prm_quality
from tts_utils.prm_bench.data import HUB, Solution, load_solutions, read_rows
from tts_utils.prm_quality import Judged
from tts_utils.problems import ProblemError
from tts_utils.protocols import PRM

__all__ = ["HUB", "Bench", "Solution", "bench", "load_solutions", "read_scores", "score_solutions"]

_STEPS = ["subset", "auc", "calibration_error", "prm_score", "right_steps", "wrong_steps"]
ALL = "all"
MEAN = "mean of subsets"


@dataclass(frozen=True, slots=True)
class Bench:
    """What came out.

    Attributes:
        threshold: below which a step counts as wrong.
        chosen_on: the subset that the threshold was chosen on, "" where it was given; it is not reported on.
        accuracies: one row per subset and measure: subset, measure ("error", "correct", "F1"), estimate, low,
            high, n. The mean of subsets has an F1 alone, without an interval.
        steps: one row per subset: subset, auc, calibration_error, prm_score (PRMBench's), right_steps,
            wrong_steps.
        verdicts: one row per subset with the shares of verdicts on wrong solutions: too early, at the error,
            too late, never.
        calibration: as :func:`tts_utils.prm_quality.calibration` gives it, over all that is reported on.
        unscored: solutions without scores (too long for the PRM, or not in the file), which are not judged.
    """

    threshold: float
    chosen_on: str
    accuracies: pd.DataFrame
    steps: pd.DataFrame
    verdicts: pd.DataFrame
    calibration: pd.DataFrame
    unscored: int


def bench(
    solutions: Sequence[Solution],
    scores: Mapping[str, Sequence[float]],
    *,
    threshold: float = 0.5,
    choose_on: str = "",
    seed: int = 0,
) -> Bench:
    """Judge step scores.

    Args:
        solutions: as :func:`load_solutions` gives them.
        scores: step scores by solution; () or none for one that is not judged.
        threshold: a step that scores below it counts as wrong.
        choose_on: a subset on which the threshold of highest F1 is taken instead, and which is then left out.
        seed: of the bootstrap.

    Raises:
        ProblemError: scores and steps differ in number, no solution has scores, or there is no such subset.
    """
    by_subset: dict[str, list[Judged]] = {}
    unscored = 0
    for solution in solutions:
        found = tuple(scores.get(solution.solution_id, ()))
        if not found:
            unscored += 1
            continue
        if len(found) != len(solution.steps):
            raise ProblemError(
                f"solution {solution.solution_id!r}: {len(found)} scores for {len(solution.steps)} steps"
            )
        one = Judged(found, solution.first_error, solution.wrong, solution.problem.text)
        by_subset.setdefault(solution.subset, []).append(one)
    if choose_on:
        if choose_on not in by_subset:
            raise ProblemError(
                f"no solution of subset {choose_on!r} has scores; there is {', '.join(by_subset) or 'none'}"
            )
        try:
            threshold = prm_quality.best_threshold(by_subset.pop(choose_on))
        except ValueError as exc:
            raise ProblemError(f"subset {choose_on!r}: {exc}") from exc
    if not by_subset:
        raise ProblemError("no solution that could be reported on has scores")
    sets = dict(sorted(by_subset.items()))
    if len(sets) > 1:
        sets[ALL] = [one for found in sets.values() for one in found]
    accuracies, steps, verdicts = [], [], []
    for subset, judged in sets.items():
        accuracies.append(prm_quality.accuracies(judged, threshold, seed).assign(subset=subset))
        step_scores, right = prm_quality.known_steps(judged)
        error = prm_quality.calibration_error(prm_quality.calibration(step_scores, right))
        area = prm_quality.auc(step_scores, right)
        both = prm_quality.prm_score(step_scores, right, threshold)
        steps.append((subset, area, error, both, int(right.sum()), int((~right).sum())))
        verdicts.append({"subset": subset, **prm_quality.verdicts(judged, threshold)})
    frame = pd.concat(accuracies, ignore_index=True)
    if ALL in sets:
        means = frame[(frame["measure"] == "F1") & (frame["subset"] != ALL)]["estimate"]
        if not means.isna().any():
            n = int(frame["n"][frame["subset"] == ALL].max())
            row = {"subset": MEAN, "measure": "F1", "estimate": means.mean(), "n": n}
            row |= {"low": math.nan, "high": math.nan}
            frame = pd.concat([frame, pd.DataFrame([row])], ignore_index=True)
    every = sets.get(ALL) or next(iter(sets.values()))
    return Bench(
        threshold,
        choose_on,
        frame[["subset", "measure", "estimate", "low", "high", "n"]],
        pd.DataFrame(steps, columns=_STEPS),
        pd.DataFrame(verdicts),
        prm_quality.calibration(*prm_quality.known_steps(every)),
        unscored,
    )


def read_scores(path: Path, field: str = "scores") -> dict[str, tuple[float, ...]]:
    """The step scores in somebody's file: ``.json``, ``.jsonl`` or ``.parquet``, with an id and a list a row.

    Args:
        path: the file; rows name their solution in ``id`` (ProcessBench) or ``solution_id``.
        field: the field of the scores, each in [0, 1].

    Raises:
        ProblemError: naming file, row and field.
    """
    found: dict[str, tuple[float, ...]] = {}
    for place, row in read_rows(path):
        solution_id = next((row[key] for key in ("solution_id", "id") if row.get(key) is not None), None)
        if solution_id is None or isinstance(solution_id, list | dict):
            raise ProblemError(f"{place}: no id; the fields are {', '.join(map(str, row)):.200}")
        values = row.get(field)
        if not isinstance(values, list) or not all(
            type(value) in (int, float) and 0 <= value <= 1 for value in values
        ):
            raise ProblemError(
                f"{place}: field {field} must list scores in [0, 1], got {values!r:.80}; the fields are "
                f"{', '.join(map(str, row)):.200}"
            )
        if str(solution_id) in found:
            raise ProblemError(f"{place}: solution {str(solution_id)!r} occurs twice")
        found[str(solution_id)] = tuple(map(float, values))
    return found


def score_solutions(
    prm: PRM,
    solutions: Sequence[Solution],
    path: Path,
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[float, ...]]:
    """Score every solution that the file lacks, a batch at a time, and add it there.

    A solution that is longer than the PRM reads is kept with no scores. Stopped anywhere, the same call goes
    on.

    Args:
        prm: a live PRM.
        solutions: what to score.
        path: a ``.jsonl`` file, which :func:`read_scores` reads as well; made where it is not there.
        batch_size: solutions a call of the PRM.
        progress: called with (solutions there, solutions wanted).

    Raises:
        ProblemError: the file holds scores of another PRM, or of another version of this one.
    """
    made_by = {name: getattr(prm, name, "") for name in ("revision", "settings")}
    said = {"prm": prm.name, **{key: value for key, value in made_by.items() if value}}
    found = dict(_kept(path, said))
    todo = [solution for solution in solutions if solution.solution_id not in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for start in range(0, len(todo), batch_size):
            batch = todo[start : start + batch_size]
            results = prm.score([solution.trajectory for solution in batch])
            for solution, result in zip(batch, results, strict=True):
                found[solution.solution_id] = result.scores
                line = {
                    "id": solution.solution_id,
                    "subset": solution.subset,
                    "scores": result.scores,
                    **said,
                }
                file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            if progress:
                progress(len(solutions) - len(todo) + start + len(batch), len(solutions))
    return found


def _kept(path: Path, said: Mapping[str, str]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """What a file of one's own holds already; a last line that was cut off is dropped from it."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    for place, row in read_rows(path) if whole else ():
        there = {key: row.get(key) for key in said}
        if there != dict(said):
            raise ProblemError(
                f"{place}: scores of {there}, now {dict(said)}; choose another file with --out"
            )
        yield str(row["id"]), tuple(row["scores"])
