"""Bring runs of others into the store, so that the same notebooks analyse them; says what is odd about them.

The rows are what the file says: texts, step scores and token counts as given, except that the marks which the
paper's code sets behind its steps become the blank lines that part steps here. Only two things are ours: the
final answer of a text and whether it is right. What a file does not say is marked as unknown (a token count
of -1, the finish reason "unknown") and never made up; scores that do not fit the steps are left out of
``step_scores`` and listed. Of what a whole search spent the store holds nothing; the findings say it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tts_utils import answers
from tts_utils.data_folder import data_dir, dataset_name
from tts_utils.imports import checks as import_checks
from tts_utils.imports import grading as import_grading
from tts_utils.imports.checks import Finding
from tts_utils.imports.files import RECORDS, SEARCH_AND_LEARN, Run, read_records, read_search_and_learn
from tts_utils.imports.grading import Graded
from tts_utils.imports.json_fields import BadImport
from tts_utils.problems import HUB_DATASETS, fingerprint, load_problems
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store import manifest
from tts_utils.store.tables import IMPORTED, UNKNOWN_TOKENS, Table

__all__ = ["BadImport", "Imported", "import_run", "read_records", "read_search_and_learn"]

UNKNOWN_REASON = "unknown"

ASSUMED = {
    SEARCH_AND_LEARN: SamplingConfig(temperature=0.8, max_tokens=2048),
    RECORDS: SamplingConfig(temperature=0.7, max_tokens=2048),
}
"""How the sources sample by default; no file says how it was made, so give the configuration where known."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did and found.

    Attributes:
        samples: the table of samples.
        step_scores: the table of step scores; None where the file has none.
        wrote_problems: the problem file that was written; None where the set was stored already.
        rows: rows in the two tables.
        unscored: completions with step scores that are not in ``step_scores``.
        findings: every check with its outcome.
        voted: accuracy of the pooled answers by each rule; see :func:`tts_utils.imports.grading.voted`.
    """

    samples: Table
    step_scores: Table | None
    wrote_problems: Path | None
    rows: tuple[int, int]
    unscored: int
    findings: tuple[Finding, ...]
    voted: pd.DataFrame


def import_run(
    run: Run,
    dataset: str,
    policy: str,
    prm: str = "",
    *,
    config: SamplingConfig | None = None,
    licence: str = "",
    accept: bool = False,
    data: Path | None = None,
) -> Imported:
    """Store a run under a policy's and a PRM's name, with what is odd about it; the same run again changes
    nothing.

    Args:
        run: as :func:`read_search_and_learn` or :func:`read_records` returns it.
        dataset: a stored problem set, the path of a ``.jsonl`` file, or a new name: then the problems of the
            run are written as that set.
        policy: the name to store it under; say the search method in it, for what a search returns are no
            independent samples.
        prm: the name of the PRM whose scores the run holds.
        config: how the run was sampled; None assumes the source's own default.
        licence: the licence of the file, noted with its sha256 in the manifest.
        accept: store the run even where most completions do not fit their problems.
        data: the data directory; None means ``data_dir()``.

    Raises:
        BadImport: a problem is not the one stored under its id, the set is unknown, the PRM has no name, or
            most completions do not fit their problems; nothing is stored then.
        StoreError: the tables hold other rows already.
    """
    data = data_dir() if data is None else data
    if not prm and any(o.scores is not None for q in run.questions for o in q.outputs):
        raise BadImport(f"{run.name} holds step scores; name the PRM that gave them with --prm")
    problems, content = _problem_set(run, dataset, data)
    graded = [import_grading.grade(q, p) for q, p in zip(run.questions, _matched(run, problems), strict=True)]
    known = len(problems)
    findings = [
        Finding("problems of the set that the file does not cover", known - len(run.questions), known),
        *import_checks.examine(run, graded),
    ]
    if not accept:
        _refuse_misfits(run, findings)
    revision = f"{IMPORTED} {run.sha256[:12]}"  # so that no live model adds to these rows
    sources = {
        "import_sha256": run.sha256,
        "import_file": run.name,
        "import_source": run.source,
        "import_licence": licence or "not stated",
        "import_sampling": "assumed" if config is None else "given",
        "problems_sha256": fingerprint(problems),
        "policy_revision": revision,
    }
    config = ASSUMED[run.source] if config is None else config
    samples = Table("samples", dataset_name(dataset), policy, config)
    scores = Table("step_scores", samples.dataset, policy, config, prm=prm) if prm else None
    sample_rows, score_rows = _rows(graded)
    tables = [(samples, sample_rows, sources)]
    if scores and score_rows:
        tables.append((scores, score_rows, {**sources, "prm_revision": revision}))
    for table, _, made_from in tables:
        _refuse_other_rows(table, made_from, data)
    if content is not None:
        _write_problems(data / "problems" / f"{dataset}.jsonl", content, run, sources, data)
    for table, rows, made_from in tables:
        table_files.append(table, rows, data, sources=made_from)
        table_files.compact(table, data)
    _note(samples, findings, data)
    given = sum(o.scores is not None for q in run.questions for o in q.outputs)
    return Imported(
        samples=samples,
        step_scores=scores if score_rows else None,
        wrote_problems=None if content is None else data / "problems" / f"{dataset}.jsonl",
        rows=(len(sample_rows), len(score_rows)),
        unscored=given - sum(bool(row["scores"]) for row in score_rows),
        findings=tuple(findings),
        voted=import_grading.voted(graded),
    )


def _rows(graded: Sequence[Graded]) -> tuple[list[dict], list[dict]]:
    samples, scores = [], []
    scored = any(output.scores is not None for g in graded for output in g.question.outputs)
    for g in graded:
        for i, output in enumerate(g.question.outputs):
            key = {"problem_id": g.problem.problem_id, "sample": i}
            known = output.num_tokens is not None and (output.num_tokens > 0 or not output.text)
            samples.append(
                key
                | {
                    "text": output.text,
                    "num_tokens": output.num_tokens if known else UNKNOWN_TOKENS,
                    "finish_reason": UNKNOWN_REASON,
                    "answer": g.answers[i],
                    "correct": g.correct[i],
                }
            )
            # One without usable scores has a row without, so that the pool is read whole; it casts no vote.
            if scored:
                scores.append(key | {"scores": list(g.scores[i]), "num_prm_tokens": UNKNOWN_TOKENS})
    return samples, scores


def _refuse_misfits(run: Run, findings: Sequence[Finding]) -> None:
    """Raise BadImport where most completions are about other problems: rows of such a file are shifted."""
    found = next(finding for finding in findings if finding.name == import_checks.MISFITS)
    if 2 * found.count > found.of:
        raise BadImport(
            f"{run.name}: {found.count} of {found.of} completions do not fit their problem "
            f"({found.where[0]}, by its words), so they probably stand beside the wrong problems; nothing is "
            "stored. Align them, or import it as it is with --accept"
        )


def _note(table: Table, findings: Sequence[Finding], data: Path) -> None:
    """Keep what was found with the table's entry in the manifest, where ``tts report`` reads it."""
    odd = [
        {"name": f.name, "count": f.count, "of": f.of, "note": f.note} for f in findings if f.count and f.odd
    ]
    with manifest.locked(data):
        entry = manifest.load(data)[table.relative]
        manifest.save_entries(data, {table.relative: entry | {"findings": odd}})


def _problem_set(run: Run, dataset: str, data: Path) -> tuple[tuple[Problem, ...], bytes | None]:
    """The stored problem set, or that of the run and the content of the file to write."""
    path = data / "problems" / f"{dataset}.jsonl"
    if dataset.endswith(".jsonl") or path.is_file():
        problems, whole = load_problems(dataset, data=data), _as_lines(run)
        # What such a run put there and did not note, as it was killed, is noted now.
        own = not dataset.endswith(".jsonl") and f"problems/{path.name}" not in manifest.load(data)
        return problems, whole if own and path.read_bytes() == whole else None
    if dataset in HUB_DATASETS:
        raise BadImport(
            f"{dataset} is not stored in {path.parent}, and the {len(run.questions)} problems of {run.name} "
            "must not pass for it; choose another name, or give the path of its .jsonl file as --dataset"
        )
    if not dataset or dataset_name(dataset) != Path(dataset).name or dataset.startswith("."):
        raise BadImport(f"{dataset!r} cannot name a problem set; use letters, digits, '.', '-' and '_'")
    for question in run.questions:
        if not question.gold_known:
            raise BadImport(
                f"{question.place}: its groundtruth states no answer (no \\boxed{{}}), so nothing could "
                "be graded by it; give the problem set, with its answers, as --dataset"
            )
    return tuple(question.problem for question in run.questions), _as_lines(run)


def _as_lines(run: Run) -> bytes:
    """The problem file of a run's own problems."""
    lines = [
        {
            "problem_id": p.problem_id,
            "problem": p.text,
            "answer": p.answer,
            **{name: getattr(p, name) for name in ("level", "subject", "solution") if getattr(p, name)},
        }
        for p in (question.problem for question in run.questions)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _matched(run: Run, problems: Sequence[Problem]) -> list[Problem]:
    """The problem of the set for each question: by its id, else (records name none) by its text."""
    by_id = {problem.problem_id: problem for problem in problems}
    by_text: dict[str, list[Problem]] = {}
    for problem in problems:
        by_text.setdefault(problem.text.strip(), []).append(problem)
    matched: dict[str, str] = {}
    found = []
    for question in run.questions:
        asked = question.problem
        same = by_text.get(asked.text.strip(), [])
        problem = by_id.get(asked.problem_id) or (
            same[0] if run.source == RECORDS and len(same) == 1 else None
        )
        if problem is None:
            raise BadImport(
                f"{question.place}: the problem set has no problem {asked.problem_id!r}, nor its text"
            )
        if problem.text.strip() != asked.text.strip():
            raise BadImport(
                f"{question.place}: problem {asked.problem_id!r} is a different problem in the set: "
                f"{asked.text!r:.100} here, {problem.text!r:.100} there; import it under another --dataset"
            )
        if question.gold_known and not answers.equivalent(problem.answer, asked.answer):
            raise BadImport(
                f"{question.place}: the answer of problem {problem.problem_id!r} is {asked.answer!r:.100} "
                f"here, {problem.answer!r:.100} in the set"
            )
        if before := matched.get(problem.problem_id):
            raise BadImport(f"{question.place} and {before} hold the same problem, {problem.problem_id!r}")
        matched[problem.problem_id] = question.place
        found.append(problem)
    return found


def _refuse_other_rows(table: Table, sources: dict[str, str], data: Path) -> None:
    if table_files.stored_rows(table, data) and "import_sha256" not in table_files.sources(table, data):
        raise BadImport(
            f"{table.relative} holds rows that were not imported; choose another --policy name for this file"
        )
    table_files.load(table, data, sources=sources, columns=["problem_id", "sample"])


def _write_problems(path: Path, content: bytes, run: Run, sources: dict[str, str], data: Path) -> None:
    provenance = {key: value for key, value in sources.items() if key.startswith("import_")}
    noted = {"problems": len(run.questions), **provenance, **manifest.circumstances()}
    with manifest.locked(data):
        manifest.put(data, path.relative_to(data).as_posix(), content, **noted)
