"""Commands that are killed: each with what it starts from, run as a user runs it, with fakes for models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tests import fakes
from tts_utils import cli, data_folder, store
from tts_utils.records import SamplingConfig
from tts_utils.store import fetch, manifest
from tts_utils.store import files as table_files

PROBLEMS = fakes.problems(4)
RECIPE = """\
name = "toy"
dataset = "toy"
[[policies]]
name = "fake-policy"
[[prms]]
name = "fake-prm"
[[methods]]
method = "greedy"
[[methods]]
method = "best_of_n"
budgets = [2]
[[methods]]
method = "beam"
budgets = [4]
"""


class Both(fakes.StepPolicy):
    """Writes single steps where it is stopped behind them, else whole answers."""

    model = tokenizer = None  # of a base that a PRM is trained from

    def one(self, state, index, config):
        return (fakes.StepPolicy if config.stop else fakes.FakePolicy).one(self, state, index, config)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that may be killed at any moment.

    Attributes:
        name: as a user knows it.
        prepare: makes, in an empty folder, what the command starts from.
        run: runs it to the end, and returns how many rows it stored; None where it stores files.
        folder: where its files go, relative to that folder.
        made_once: of these files none is made a second time once it is finished: their paths' beginnings.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], int | None]
    folder: str = "data"
    made_once: tuple[str, ...] = ()


def _problems(folder: Path) -> None:
    path = folder / "data/problems/toy.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    manifest.record_files([path], data=folder / "data")


def _samples(folder: Path) -> None:
    _problems(folder)
    store.fill_samples("toy", fakes.FakePolicy(), 3, data=folder / "data")


def _grown(folder: Path) -> None:
    """A table that is to grow, with what two kills have left beside it."""
    _samples(folder)
    data, table = folder / "data", store.Table("samples", "toy", "fake-policy", SamplingConfig())
    rows = table_files.load(table, data).to_pylist()[:2]
    table_files.append(table, rows, data, sources=table_files.sources(table, data))


@contextmanager
def _counted() -> Iterator[list[int]]:
    """The rows of every part that is stored meanwhile, counted where all rows pass."""
    stored = []

    def append(table, rows, *args, **kwargs):
        rows = list(rows)
        part = appended(table, rows, *args, **kwargs)
        stored.append(len(rows))
        return part

    appended = table_files.append
    with patch.object(table_files, "append", append):
        yield stored


def _tts(*words: str) -> Callable[[Path], int]:
    """The command ``tts`` with fakes for models; the number of rows it stores."""

    def run(folder: Path) -> int:
        os.environ["TTS_DATA"] = str(folder / "data")
        with (
            _counted() as stored,
            patch.object(data_folder, "shipped", lambda: ()),
            patch("tts_utils.cli.filling.load_policy", lambda *_: Both()),
            patch("tts_utils.cli.filling.load_prm", lambda *_: fakes.FakePRM()),
            patch("tts_utils.recipes.cli.Loaded", _loaded),
        ):
            cli.app(list(words), standalone_mode=False)
        return sum(stored)

    return run


def _loaded():
    from tts_utils.recipes.run import Loaded

    return Loaded(lambda source, **_: Both(source), lambda source, **_: fakes.FakePRM(source))


def _recipe(folder: Path) -> None:
    _problems(folder)
    (folder / "toy.toml").write_text(RECIPE, encoding="utf-8")


# --- import, pull, verdicts


def _run_of_others(folder: Path) -> None:
    """An output file of search-and-learn, and data to import it into."""
    _problems(folder)
    lines = []
    for problem in fakes.problems(3, prefix="q"):
        texts = [f"It is.\n\nSo \\boxed{{{int(problem.answer) + off}}}." for off in (0, 0, 1)]
        row = {"problem": problem.text, "answer": problem.answer, "unique_id": problem.problem_id}
        lines.append(json.dumps(row | {"completions": texts, "scores": [[0.5, 0.75]] * 3}))
    (folder / "theirs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _import(folder: Path) -> None:
    """Rows are not counted: an import hands over all of them each time, and those that are stored stay."""
    names = ("--policy", "their-policy", "--prm", "their-prm", "--dataset", "theirs")
    _tts("import", "search-and-learn", "theirs.jsonl", *names)(folder)


class _Hub:
    """A folder that answers as the Hub does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def snapshot_download(self, repo_id, *, local_dir, **_):
        shutil.copytree(self.folder, local_dir, dirs_exist_ok=True)


def _shared(folder: Path) -> None:
    """Tables that somebody shares, one of them in another version than one's own."""
    _samples(folder)
    _problems(folder / "theirs")
    theirs = folder / "theirs/data"
    filled = store.fill_samples("toy", fakes.FakePolicy(), 5, data=theirs)
    store.fill_step_scores(filled.table, fakes.FakePRM(), data=theirs)
    shared = folder / "hub"
    listed = {n: e for n, e in manifest.load(theirs).items() if "config" in e}
    for name in listed:
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(theirs / name, shared / name)
    (shared / "manifest.json").write_text(json.dumps({"version": 1, "files": listed}), encoding="utf-8")


def _pull(folder: Path) -> None:
    with patch("tts_utils.store.share.hub", lambda: _Hub(folder / "hub")):
        _tts("pull", "some/tables", "--replace")(folder)


def _verdicts(folder: Path) -> None:
    """What filling a table does with what mathematics says of its answers; nothing is asked here."""
    from tts_utils.store import verdicts

    with patch.object(data_folder, "shipped", lambda: ()):
        for n in range(1, 4):
            verdicts.recall(folder / "data")
            verdicts.store({(f"{n}/2", f"{2 * n}/4"): True, ("x", f"{n}x"): False}, folder / "data")


# --- fetch


def _source(folder: Path) -> None:
    """Shipped data elsewhere, the manifest that a wheel carries, and the data of another version."""
    data = folder / "source/data"
    fakes.ship(data, PROBLEMS, {"report/old.csv": b"a,b\n1,2\n"})
    (folder / "packaged").mkdir()
    shutil.copy(data / "manifest.json", folder / "packaged")
    other = folder / "cache/0.0.1-older"
    (other / "report").mkdir(parents=True)
    shutil.copy(data / "report/old.csv", other / "report")
    shutil.copy(data / "manifest.json", other)


def _fetch(folder: Path) -> None:
    os.environ.pop("TTS_DATA", None)
    os.environ["TTS_CACHE"] = str(folder / "cache")
    with (
        patch.object(data_folder, "clone_dir", lambda: None),
        patch.object(data_folder, "PACKAGED", folder / "packaged"),
        patch.object(data_folder, "cache_dir", lambda: folder / "cache/here"),
        patch.object(fetch, "CHUNK", 1 << 12),
    ):
        cli.app(["fetch", "all", "--from", str(folder / "source")], standalone_mode=False)


# --- the lab


@cache
def _lab_recipe():
    """The lab's own recipe at toy size, smaller still."""
    from tts_lab import recipe
    from tts_lab.recipe import SearchPlan

    small = recipe.smoke()
    names = ("lab-llama-m", "lab-llama-l")
    return replace(
        small,
        policies=tuple(p for p in small.policies if p.name in names),
        completers={"lab-llama-m": "lab-llama-l"},
        prms=tuple(replace(p, sources=("lab-llama-m",)) for p in small.prms[:1]),
        labels=replace(small.labels, problems_per_shard=2),
        num_samples={"lab-30": 2},
        only={"lab-30": names[:1]},
        plans=(SearchPlan("lab-30", (4,), names[:1]),),
        limit=2,
    )


@cache
def _lab_problems():
    from tts_lab.problems import datasets, held_out

    held_out()  # the training stream leaves these out
    return {name: problems[:3] for name, problems in datasets().items()}


def _nothing(folder: Path) -> None:
    _lab_recipe()
    _lab_problems()


def _model(folder: Path, what: str) -> dict:
    from tts_lab.whole import put_folder

    def write(new: Path) -> None:
        for name in ("config.json", "model.safetensors", "training.json"):
            (new / name).write_text(json.dumps({"seconds": 1.0, "what": what, "name": name}))

    put_folder(folder, write)
    return {}


def _build(folder: Path) -> int:
    from tts_lab.__main__ import app

    os.environ.pop("TTS_DATA", None)
    with (
        _counted() as stored,
        patch.object(data_folder, "shipped", lambda: ()),
        patch("tts_lab.recipe.smoke", _lab_recipe),
        patch("tts_lab.build.datasets", _lab_problems),
        patch("tts_lab.build.train_policy", lambda spec, folder, *_: _model(folder, spec.name)),
        patch("tts_lab.build.train_prm", lambda spec, *rest: _model(rest[-3], spec.name)),
        patch("tts_lab.build._load", lambda data, name, device: Both(name)),
        patch("tts_lab.build._load_prm", lambda data, name, device: fakes.FakePRM(name)),
    ):
        app(["build", "--smoke", "--data", str(folder / "data"), "--device", "cpu"], standalone_mode=False)
    return sum(stored)


FAKES = ("--policy", "fake-policy", "--dataset", "toy")
COMMANDS = {
    command.name: command
    for command in (
        Command("sample", _problems, _tts("sample", *FAKES, "--n", "6", "--batch-size", "8")),
        Command("sample more", _grown, _tts("sample", *FAKES, "--n", "5", "--batch-size", "4")),
        Command("score", _samples, _tts("score", *FAKES, "--prm", "fake-prm", "--batch-size", "4")),
        Command(
            "search",
            _problems,
            _tts("search", "--method", "beam", *FAKES, "--prm", "fake-prm", "--n", "4", "--batch-size", "8"),
        ),
        Command("run", _recipe, _tts("run", "toy.toml")),
        Command("import", _run_of_others, _import),
        Command("pull", _shared, _pull),
        Command("verdicts", _problems, _verdicts),
        Command("fetch", _source, _fetch, "cache/here", ("problems", "models", "report", "samples")),
        Command("lab build", _nothing, _build, "data", ("labels", "models")),
    )
}
