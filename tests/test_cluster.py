"""Ray: the tables are those of one process, a killed worker included (needs ray; skipped without it)."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fakes import FakePolicy, as_jsonl, problems
from tts_utils import recipes
from tts_utils.problems import load_problems
from tts_utils.protocols import BackendError
from tts_utils.recipes import cluster, of_table, plan
from tts_utils.recipes.run import Loaded, run
from tts_utils.store import files as table_files

ROOT = Path(__file__).resolve().parent.parent
RECIPE = """
name = "shared"
dataset = "mine"
limit = 8
policies = [{ name = "lab-llama-s" }]
prms = [{ name = "lab-skywork-s" }]
methods = [
    { method = "best_of_n", budgets = [64] },
    { method = "beam", budgets = [16] },
    { method = "dvts", budgets = [16] },
]
"""
TOY = of_table(
    {
        "name": "toy",
        "dataset": "toy",
        "policies": [{"name": "p"}],
        "methods": [{"method": "best_of_n", "budgets": [3]}],
    }
)
LIMIT = 400.0
"""Seconds that a run of the slow test may take on a machine of two cores with as much other work again."""


def test_without_ray_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(BackendError, match=r"pip install .*cluster"):
        cluster.run_on_ray(TOY, data=Path("."), workers=2)


def test_no_workers_are_refused():
    with pytest.raises(BackendError, match="at least 1, got 0"):
        cluster.run_on_ray(TOY, data=Path("."), workers=0)


class InlineRay:
    """As much of Ray as is used, in this process: a worker works when it is waited for."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, fails: bool = False, **resources: float) -> None:
        self.fails, self.asked, self.down = fails, {}, 0
        self.resources = {"CPU": 8.0} | resources

    def init(self, **facts):
        self.asked |= facts
        if facts["address"] == "nowhere":
            raise ConnectionError("no cluster")

    def cluster_resources(self):
        return self.resources

    def remote(self, **facts):
        self.asked |= facts
        return lambda work: SimpleNamespace(remote=lambda *args: lambda: work(*args))

    def wait(self, waiting, num_returns, timeout):
        return waiting[:num_returns], waiting[num_returns:]

    def get(self, worker):
        if self.fails:
            raise self.exceptions.RayError("the worker died four times")
        return worker()

    def shutdown(self):
        self.down += 1


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A recipe that needs no model, in its data directory."""
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(problems(4)))
    loaded = Loaded(lambda source, **facts: FakePolicy(source), None)
    monkeypatch.setattr(
        cluster, "_work", lambda r, data: len(run(r, data=Path(data), loaded=loaded, say=lambda line: None))
    )
    return TOY, tmp_path


def test_workers_fill_the_tables_and_the_driver_says_how_far_they_are(toy, monkeypatch):
    recipe, data = toy
    ray, said = InlineRay(GPU=4.0), []
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster.run_on_ray(recipe, data=data, workers=3, gpus=1, say=said.append)
    assert said[:2] == ["toy: starting Ray here", "3 workers are starting"]
    finished = [line for line in said if line.startswith("a worker has finished")]
    assert [line.split("; it ")[1] for line in finished] == [f"filled {n} tables" for n in (1, 0, 0)]
    assert all(not job.missing for job in plan.jobs(recipe, 4, data))
    assert (ray.asked["num_gpus"], ray.asked["max_retries"], ray.down) == (1, cluster.RETRIES, 1)
    assert ray.asked["address"] == "local" and ray.asked["num_cpus"] >= 3  # so that three are at work at once


def test_no_cluster_and_a_worker_that_fails_for_good_are_one_message_each(toy, monkeypatch):
    recipe, data = toy
    monkeypatch.setitem(sys.modules, "ray", InlineRay())
    with pytest.raises(BackendError, match="no Ray cluster at 'nowhere'"):
        cluster.run_on_ray(recipe, data=data, workers=1, address="nowhere")
    failing = InlineRay(fails=True)
    monkeypatch.setitem(sys.modules, "ray", failing)
    with pytest.raises(BackendError, match="a worker failed: the worker died four times"):
        cluster.run_on_ray(recipe, data=data, workers=1, say=lambda line: None)
    assert failing.down == 1


def test_a_ray_that_does_not_start_is_a_message(toy, monkeypatch):
    recipe, data = toy
    slow = InlineRay()
    slow.init = lambda **facts: (_ for _ in ()).throw(Exception("The current node timed out during startup."))
    monkeypatch.setitem(sys.modules, "ray", slow)
    with pytest.raises(BackendError, match=r"Ray does not start on this machine: .* timed out"):
        cluster.run_on_ray(recipe, data=data, workers=1, say=lambda line: None)


def test_workers_that_no_machine_has_room_for_are_not_waited_for_in_silence(toy, monkeypatch):
    """Ray itself would wait for a GPU for ever."""
    recipe, data = toy
    monkeypatch.setitem(sys.modules, "ray", InlineRay())
    with pytest.raises(BackendError, match="a core and 1 GPUs, and there are 8 and 0; leave --gpus"):
        cluster.run_on_ray(recipe, data=data, workers=2, gpus=1, say=lambda line: None)
    assert not list(data.rglob("*.parquet"))
    said = []  # a cluster may grow
    cluster.run_on_ray(recipe, data=data, workers=2, gpus=1, address="auto", say=said.append)
    assert said[1].startswith("0 of 2 workers are starting, the others when there is room")


class Run:
    """`tts run` in a process of its own, with what it says in a file."""

    def __init__(self, recipe: Path, own: Path, *words: str) -> None:
        (own / "problems").mkdir(parents=True)
        (own / "problems" / "mine.jsonl").write_text(as_jsonl(load_problems("lab-30")))
        self.own, self.said, self._began = own, own / "said.txt", time.monotonic()
        with open(self.said, "w") as file:
            command = [sys.executable, "-m", "tts_utils.cli", "run", str(recipe), *words]
            env = os.environ | {"TTS_DATA": str(own), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            # Ray gives its workers little of a machine that others use too.
            env |= {"RAY_worker_niceness": "0"}
            self.process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)

    def ended(self, limit: float) -> float:
        """Seconds that it took; it fails after ``limit`` with what was said."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.terminate()  # Ray takes its workers down with it
            self.process.wait(60)
        assert self.process.returncode == 0, self.said.read_text()
        return time.monotonic() - self._began

    def rows(self) -> dict:
        """Every table, by its place."""
        return {
            table.relative: table_files.to_frame(table_files.load(table, self.own))
            for kind in ("samples", "step_scores", "searches")
            for table in table_files.stored(self.own, kind, "mine")
        }


@pytest.mark.slow
def test_three_workers_one_killed_make_the_tables_of_one_process(tmp_path):
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")
    (tmp_path / "shared.toml").write_text(RECIPE)
    seconds = {}
    one = Run(tmp_path / "shared.toml", tmp_path / "one")
    seconds["one process"] = one.ended(LIMIT)

    three = Run(tmp_path / "shared.toml", tmp_path / "three", "--workers", "3")
    driver, killed, most = psutil.Process(three.process.pid), None, 0
    while three.process.poll() is None and killed is None:
        time.sleep(0.2)
        busy = []
        for process in driver.children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                busy += [process] * ("ray::_work" in " ".join(process.cmdline()))
        most = max(most, len(busy))
        if busy and list(three.own.rglob("*.parquet")):
            killed = busy[0]
            killed.kill()
    seconds["three workers, one killed"] = three.ended(LIMIT)
    assert killed and most == 3, three.said.read_text()
    recipe = recipes.read(tmp_path / "shared.toml")
    assert all(not job.missing for job in plan.jobs(recipe, 30, three.own))
    wanted, found = one.rows(), three.rows()
    assert wanted.keys() == found.keys() and len(wanted) == 4
    for name, frame in wanted.items():
        assert frame.equals(found[name]), name
    print({name: round(s, 1) for name, s in seconds.items()})
