"""Hostile texts in blocks: each block leaves a file, so a long run can be stopped, resumed and shared out.

``python -m tests.faults.texts FOLDER --count 20000 --seed 0`` runs the blocks that have no file in FOLDER;
several such processes share them. ``pytest -m faults`` with TTS_FAULTS_FOLDER=FOLDER reads what is there and
runs the rest. The name of a file holds a hash of the code it was run with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import tts_utils
from tests import hostile_texts
from tts_utils import answers, mdp
from tts_utils.store import manifest

BLOCK = 250  # texts
GOLD = r"\frac{387}{2}"
_SOURCES = (Path(hostile_texts.__file__), Path(mdp.__file__), *Path(answers.__file__).parent.glob("*.py"))


def read(text: str) -> float:
    """Do with a text what is done with a completion; return the processor seconds, both processes'."""
    spent, began = answers.MATHS.spent, time.process_time()
    answer = answers.extract_answer(text)
    answers.extract_answer(text, last_number=True, order="released")
    assert "".join(mdp.split_steps(text)) == text
    assert not answers.grade(answer, GOLD)
    assert answers.group_answers([answer, GOLD]).tolist() in ([0, 1], [-1, 0])
    return time.process_time() - began + answers.MATHS.spent - spent


def tried(seed: int, numbers: range) -> dict:
    """The seconds of every text, those that raised an error, and this process's peak memory so far, in MB."""
    answers.equivalent("x", "2x")  # starts the process, which is nobody's cost
    maths = answers.MATHS
    before = maths.parses, maths.comparisons
    seconds, failed = [], []
    for number in numbers:
        text = hostile_texts.text(seed, number)
        try:
            seconds.append(read(text))
        except Exception as exc:
            seconds.append(0.0)
            failed.append(f"{type(exc).__name__}: {exc!s:.100} at text {number}, {len(text):,} characters")
    return {
        "seconds": [round(value, 5) for value in seconds],
        "failed": failed,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parses": maths.parses - before[0],
        "comparisons": maths.comparisons - before[1],
        **manifest.circumstances(),
    }


def blocks(folder: Path, seed: int, count: int) -> Iterator[tuple[Path, range]]:
    """The file and the numbers of every block."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCES))).hexdigest()[:12]
    for first in range(0, count, BLOCK):
        numbers = range(first, min(first + BLOCK, count))
        yield folder / f"texts-{code}-{seed}-{first:06d}-{len(numbers)}.json", numbers


def run(folder: Path, seed: int, count: int) -> list[dict]:
    """Run the blocks that nobody has run or begun, and return all that are finished."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, numbers in blocks(folder, seed, count):
        begun = path.with_suffix(f".{os.getpid()}")
        if path.exists() or any(_alive(other) for other in folder.glob(f"{path.stem}.[0-9]*")):
            continue
        begun.touch()
        begun.write_text(json.dumps(tried(seed, numbers)), encoding="utf-8")
        begun.replace(path)
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path, _ in blocks(folder, seed, count)
        if path.exists()
    ]


def _alive(begun: Path) -> bool:
    try:
        os.kill(int(begun.suffix[1:]), 0)
    except ProcessLookupError:
        begun.unlink(missing_ok=True)
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20_000)
    asked = parser.parse_args()
    done = run(asked.folder, asked.seed, asked.count)
    print(sum(len(block["seconds"]) for block in done), "texts are read; tts-utils", tts_utils.__version__)
