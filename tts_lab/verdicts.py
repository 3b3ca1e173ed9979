"""Store what math-verify says of all answers in all tables, so that whoever reads them need not ask it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tts_utils.problems import load_problems
from tts_utils.store import files, verdicts
from tts_utils.store.outcomes import read_outcome, searches_in


def settle(data: Path, log: Callable[[str], None] = lambda line: None) -> None:
    """Go over every stored table of samples and of searches; what is stored is not asked for again.

    Args:
        data: the data directory.
        log: told the path of every table.
    """
    for dataset in sorted(path.stem for path in (data / "problems").glob("*.jsonl")):
        problems = load_problems(dataset, data=data)
        for table in files.stored(data, "samples", dataset):
            log(table.relative)
            verdicts.settle_samples(table, problems, data)
        for table, search in searches_in(dataset, data):
            log(table.relative)
            with verdicts.settling(data):
                config = table.sampling
                read_outcome(dataset, table.policy, table.prm, search, config=config, data=data)
