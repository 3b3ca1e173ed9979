"""Kill a command again and again, at its durable operations and at random; then let it end, and compare.

``python -m tests.faults.kills sample "lab build" --kills 200 --seed 0`` prints, as JSON, what came out. It
runs as a process of its own, so that its children are forked from one that has a single thread.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import random
import resource
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.faults import children
from tests.faults.commands import COMMANDS, Command
from tts_utils import hashes, store
from tts_utils.store import manifest
from tts_utils.store.tables import KEYS, SCHEMAS

_TIMES = ("seconds", "date", "code_version", "hardware", "seal")
_MENDED_BY_RUNNING_AGAIN = ("run the command again", "is not listed in", "lists no file")


@dataclass(slots=True)
class Outcome:
    """What came out of killing one command.

    Attributes:
        command: its name.
        kills: how often it was killed, by where: "operation", "half written", "at random".
        trials: how often it was let end and compared.
        operations: durable operations of a run that is not killed.
        blocked: runs that did not end.
        different: trials that ended in another state than a run that was not killed.
        lost: kills after which a finished row or file was gone, changed, or made a second time.
        damaged: kills after which `tts verify` complained of more than an interrupted run.
        words: the first few of what was wrong.
        seconds: processor seconds, those of the children too.
    """

    command: str
    kills: dict[str, int] = field(default_factory=dict)
    trials: int = 0
    operations: int = 0
    blocked: int = 0
    different: int = 0
    lost: int = 0
    damaged: int = 0
    words: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, kind: str, words: str) -> None:
        """Count something that went wrong."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.words) < 10:
            self.words.append(f"{kind}: {words}")


def state(folder: Path) -> dict[str, Any]:
    """What lies in a folder, by path: the bytes; of a manifest or a log what is no time."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            found[name] = "a folder"
        elif path.name == hashes.MANIFEST:
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".log":
            found[name] = "a log"
        elif path.suffix == ".json" and "labels" in path.parts:  # what a shard cost
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = path.read_bytes()
    return found


def _timeless(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    kept = {key: _timeless(value) for key, value in content.items() if key not in _TIMES}
    if "sha256" in kept and "rows" not in kept:  # a cost's hash depends on its seconds
        kept.pop("sha256")
        kept.pop("bytes", None)
    return kept


def rows(folder: Path) -> dict[str, dict[tuple, str]]:
    """Every stored row of every table, finished or not, by the table's path and the row's key."""
    found: dict[str, dict[tuple, str]] = {}
    for kind in SCHEMAS:
        for path in sorted((folder / kind).rglob("*.parquet")):
            if path.name.startswith("."):
                continue
            table = path.parent.with_suffix(".parquet") if path.parent.suffix == ".parts" else path
            of_table = found.setdefault(table.relative_to(folder).as_posix(), {})
            for row in pq.ParquetFile(path).read(use_threads=False).to_pylist():
                of_table[tuple(row[key] for key in KEYS[kind])] = repr(row)
    return found


def finished(command: Command, folder: Path, whole: dict[str, Any]) -> dict[str, int]:
    """The files that must not be made again: those that are as they will be, by path, with their inodes."""
    return {
        name: (folder / name).stat().st_ino
        for name in whole
        if name.startswith(tuple(f"{kind}/" for kind in command.made_once))
        and (folder / name).is_file()
        and (whole[name] == (folder / name).read_bytes() or name.endswith(".json"))
        # The cost of a shard is written before it; alone it is not finished.
        and (not name.startswith("labels/") or (folder / name).with_suffix(".parquet").is_file())
    }


class Trials:
    """A command's runs, each in a folder that is a copy of the same beginning."""

    def __init__(self, command: Command, work: Path) -> None:
        self.command, self.work = command, work
        self.outcome = Outcome(command.name)
        self.start = work / "start"
        self.start.mkdir()
        command.prepare(self.start)
        folder = self.fresh()
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            command.run(folder)  # so that children need not import what it needs
        gc.freeze()
        folder = self.fresh()
        self.whole = children.run(command.run, folder)
        if self.whole.error or self.whole.killed:
            raise RuntimeError(f"{command.name} does not end by itself: {self.whole.error}")
        self.outcome.operations = len(self.whole.operations)
        self.state, self.rows = state(folder / command.folder), rows(folder / command.folder)
        again = children.run(command.run, folder)
        if again.result or again.error or state(folder / command.folder) != self.state:
            raise RuntimeError(f"{command.name} does something when all is done: {again.error}")
        shutil.rmtree(folder)

    def fresh(self) -> Path:
        """A folder to run in, always at the same path: paths may stand in files."""
        folder = self.work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.start, folder)
        for memory in (hashes._digests, hashes._manifests):
            memory.clear()
        return folder

    def trial(self, *deaths: dict[str, Any]) -> None:
        """Run the command to each of the deaths in turn, and then to its end."""
        folder = self.fresh()
        data = folder / self.command.folder
        kept: dict[str, int] = {}
        there: dict[str, dict[tuple, str]] = rows(data)
        for death in deaths:
            ended = children.run(self.command.run, folder, **death)
            where = f"{self.command.name}, {death}"
            if not ended.killed:  # it was done before
                if ended.error:
                    self.outcome.note("blocked", f"{where}: {ended.error[-600:]}")
                there = rows(data)
                continue
            kind = "at random" if "after" in death else "half written" if death["half"] else "operation"
            self.outcome.kills[kind] = self.outcome.kills.get(kind, 0) + 1
            there, kept = self._look(folder, where, there, kept)
        ended = children.run(self.command.run, folder)
        where = f"{self.command.name} after {deaths}"
        self.outcome.trials += 1
        if ended.blocked or ended.killed or ended.error:
            self.outcome.note("blocked", f"{where}: {ended.error[-600:]}")
            return
        if (found := state(data)) != self.state:
            names = sorted(n for n in {*found, *self.state} if found.get(n) != self.state.get(n))
            self.outcome.note("different", f"{where}: {names[:5]}")
        missing = _count(self.rows) - _count(there)
        if ended.result is not None and ended.result != missing:
            self.outcome.note("lost", f"{where}: {missing} rows were missing, {ended.result} were made")
        if again := [name for name, inode in kept.items() if (data / name).stat().st_ino != inode]:
            self.outcome.note("lost", f"{where}: made again: {again[:3]}")

    def _look(
        self, folder: Path, where: str, there: dict[str, dict[tuple, str]], kept: dict[str, int]
    ) -> tuple[dict[str, dict[tuple, str]], dict[str, int]]:
        """Check what a kill has left, and return the rows and the finished files."""
        data = folder / self.command.folder
        try:
            now = rows(data)
            complaints = store.verify(data, whole=False) if (data / manifest.NAME).exists() else []
        except Exception as exc:
            self.outcome.note("damaged", f"{where}: {exc!r}")
            return there, kept
        if bad := [c for c in complaints if not any(w in c for w in _MENDED_BY_RUNNING_AGAIN)]:
            self.outcome.note("damaged", f"{where}: {bad[0]}")
        for name, before in there.items():
            if any(now.get(name, {}).get(key) != row for key, row in before.items()):
                self.outcome.note("lost", f"{where}: rows of {name}")
        for name, found in now.items():
            if any(self.rows[name].get(key) != row for key, row in found.items()):
                self.outcome.note("lost", f"{where}: other rows in {name}")
        if gone := [
            n for n, inode in kept.items() if not (data / n).is_file() or (data / n).stat().st_ino != inode
        ]:
            self.outcome.note("lost", f"{where}: {gone[:3]}")
        return now, finished(self.command, data, self.state)


def _count(tables: dict[str, dict[tuple, str]]) -> int:
    return sum(len(of_table) for of_table in tables.values())


def kill(name: str, kills: int, seed: int) -> Outcome:
    """Kill a command so many times: half of the runs at each durable operation in turn, half at random.

    Where there are fewer kills than operations, these are spread evenly. Every second trial is killed again
    while it goes on.
    """
    began, rng = _spent(), random.Random(f"{seed}/{name}")
    with tempfile.TemporaryDirectory() as work:
        trials = Trials(COMMANDS[name], Path(work).resolve())
        count = trials.outcome.operations
        systematic = max(1, round(kills * 0.7))
        places = [dict(at=at, half=half) for at in range(count) for half in (False, True)]
        # A file is half written only just before it is synced, or renamed or left.
        places = [p for p in places if not p["half"] or _follows_writing(trials.whole.operations, p["at"])]
        step = max(1.0, len(places) / systematic)
        spread = min(systematic, len(places))
        chosen = [places[min(int((i + rng.random()) * step), len(places) - 1)] for i in range(spread)]
        for number, place in enumerate(chosen):
            if sum(trials.outcome.kills.values()) >= systematic:
                break
            second = [dict(at=rng.randrange(count), half=False)] * (number % 2)
            trials.trial(place, *second)
        while sum(trials.outcome.kills.values()) < kills:
            trials.trial(
                *(dict(after=rng.uniform(0.005, trials.whole.seconds)) for _ in range(rng.choice((1, 2))))
            )
    trials.outcome.seconds = _spent() - began
    return trials.outcome


def _spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _follows_writing(operations: list[str], at: int) -> bool:
    return (
        at > 0
        and operations[at - 1].startswith("open")
        and not operations[at - 1].endswith((".lock", ".claim"))
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS, nargs="+")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps([asdict(kill(name, asked.kills, asked.seed)) for name in asked.command]))
