"""What math-verify said of the answers in stored tables, kept beside them: reading asks no SymPy.

``answers/verdicts.jsonl`` holds one pair of tidied answers a line and whether they are equal, as
``["5/2","2.5",true]``. Filling a table adds the pairs that grading and grouping its answers want; reading
takes them all into the memory of ``tts_utils.answers``. A pair that is not there is asked about as ever.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tts_utils import answers
from tts_utils.answers.verdicts import Pair
from tts_utils.data_folder import layers
from tts_utils.hashes import checked, digest
from tts_utils.records import Problem
from tts_utils.store import columns, files, manifest
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import Table

NAME = "answers/verdicts.jsonl"


def recall(data: Path) -> None:
    """Take the stored verdicts into memory; once per version of the file."""
    for path in _places(data):
        answers.VERDICTS.remember(_read(path, digest(path)))


@contextmanager
def settling(data: Path) -> Iterator[None]:
    """Store the verdicts that are used within it, as far as they are not stored yet."""
    recall(data)
    with answers.VERDICTS.noting() as notes:
        yield
    store(notes, data)


def settle_samples(table: Table, problems: Sequence[Problem], data: Path) -> None:
    """Store the verdicts that grading and grouping the answers of a table of samples want."""
    gold = {problem.problem_id: problem.answer for problem in problems}
    rows = files.load(table, data, columns=["problem_id", "sample", "answer"])
    distinct: dict[str, dict[str, None]] = {}  # in the order of the samples
    pairs = zip(columns.strings(rows["problem_id"]), columns.strings(rows["answer"]), strict=True)
    for problem_id, answer in pairs:
        distinct.setdefault(problem_id, {})[answer] = None
    with settling(data):
        for problem_id, given in distinct.items():
            answers.group_answers(list(given))
            if problem_id in gold:
                for answer in given:
                    answers.grade(answer, gold[problem_id])


def store(verdicts: Mapping[Pair, bool], data: Path) -> None:
    """Add verdicts to the file of a data directory, sorted; those it has already are left as they are."""
    known = {pair: verdict for path in _places(data) for pair, verdict in _read(path, digest(path)).items()}
    path = data / NAME
    if verdicts.keys() <= known.keys() and (not path.is_file() or _is_noted(data)):
        return
    with manifest.locked(data):
        own = dict(_read(path, digest(path))) if path.is_file() else {}
        own |= {pair: verdict for pair, verdict in verdicts.items() if pair not in known}
        lines = (json.dumps([*pair, verdict], separators=(",", ":")) for pair, verdict in sorted(own.items()))
        content = "".join(f"{line}\n" for line in lines).encode()
        manifest.put(data, NAME, content, **manifest.circumstances())


def _is_noted(data: Path) -> bool:
    """Whether the manifest lists the file as it is; a run may have been killed before it did."""
    entry = manifest.load(data).get(NAME)
    return entry is not None and "next_sha256" not in entry


def _places(data: Path) -> list[Path]:
    return [path for layer in layers(data) if (path := layer / NAME).is_file()]


@functools.lru_cache(maxsize=8)
def _read(path: Path, version: str) -> Mapping[Pair, bool]:
    """The verdicts of a file, of which ``version`` is the hash."""
    checked(path, path.parents[1])
    pairs: dict[Pair, bool] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            a, b, verdict = json.loads(line)
            if not (isinstance(a, str) and isinstance(b, str) and isinstance(verdict, bool)):
                raise TypeError("two texts and true or false are wanted")
        except (ValueError, TypeError) as exc:
            raise StoreError(f"{path}, line {number}: {exc}; restore the file, or remove it") from exc
        pairs[a, b] = verdict
    return pairs
