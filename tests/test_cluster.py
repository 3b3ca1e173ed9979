"""Ray: the tables are those of one process, a killed worker included (needs ray; skipped without it)."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fakes import FakePolicy, as_jsonl, problems
from tts_utils.protocols import BackendError
from tts_utils.recipes import cluster, of_table, plan
from tts_utils.recipes.run import Loaded, run
from tts_utils.store import files as table_files

ROOT = Path(__file__).resolve().parent.parent
TABLE = {
    "name": "shared",
    "dataset": "lab-30",
    "limit": 8,
    "policies": [{"name": "lab-llama-s"}],
    "prms": [{"name": "lab-skywork-s"}],
    "methods": [
        {"method": "best_of_n", "budgets": [64]},
        {"method": "beam", "budgets": [16]},
        {"method": "dvts", "budgets": [16]},
    ],
}


def test_without_ray_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(BackendError, match=r"pip install .*cluster"):
        cluster.run_on_ray(of_table(TABLE), data=Path("."), workers=2)


def test_no_workers_are_refused():
    with pytest.raises(BackendError, match="at least 1, got 0"):
        cluster.run_on_ray(of_table(TABLE), data=Path("."), workers=0)


class InlineRay:
    """As much of Ray as is used, in this process: a worker works when it is waited for."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.asked, self.down = fails, {}, 0

    def init(self, **facts):
        self.asked |= facts
        if facts["address"] == "nowhere":
            raise ConnectionError("no cluster")

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
    table = {"name": "toy", "dataset": "toy", "policies": [{"name": "p"}]}
    recipe = of_table(table | {"methods": [{"method": "best_of_n", "budgets": [3]}]})
    loaded = Loaded(lambda source, **facts: FakePolicy(source), None)
    monkeypatch.setattr(
        cluster, "_work", lambda r, data: len(run(r, data=Path(data), loaded=loaded, say=lambda line: None))
    )
    return recipe, tmp_path


def test_workers_fill_the_tables_and_the_driver_says_how_far_they_are(toy, monkeypatch):
    recipe, data = toy
    ray, said = InlineRay(), []
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster.run_on_ray(recipe, data=data, workers=3, gpus=1, say=said.append)
    assert said[0] == "3 workers are starting"
    finished = [line for line in said if line.startswith("a worker has finished")]
    assert [line.split("; it ")[1] for line in finished] == [f"filled {n} tables" for n in (1, 0, 0)]
    assert all(not job.missing for job in plan.jobs(recipe, 4, data))
    assert (ray.asked["num_gpus"], ray.asked["max_retries"], ray.down) == (1, cluster.RETRIES, 1)


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


def tables(data: Path) -> dict:
    return {
        table.relative: table_files.to_frame(table_files.load(table, data))
        for kind in ("samples", "step_scores", "searches")
        for table in table_files.stored(data, kind, "lab-30")
    }


@pytest.mark.slow
def test_three_workers_one_killed_make_the_tables_of_one_process(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    import psutil

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from tts_utils.problems import load_problems

    recipe, seconds = of_table(TABLE), {}
    for name in ("one", "three"):
        (tmp_path / name / "problems").mkdir(parents=True)
        (tmp_path / name / "problems" / "lab-30.jsonl").write_text(as_jsonl(load_problems("lab-30")))
    began = time.monotonic()
    run(recipe, data=tmp_path / "one", say=lambda line: None)
    seconds["one process"] = time.monotonic() - began

    killed = []

    def kill_one() -> None:
        while not killed:
            time.sleep(0.5)
            parts = list((tmp_path / "three").rglob("*.parquet"))
            busy = [
                p for p in psutil.Process().children(recursive=True) if "ray::_work" in " ".join(p.cmdline())
            ]
            if parts and busy:
                os.kill(busy[0].pid, signal.SIGKILL)
                killed.append(busy[0].pid)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    began = time.monotonic()
    cluster.run_on_ray(recipe, data=tmp_path / "three", workers=3, say=lambda line: None)
    seconds["three workers, one killed"] = time.monotonic() - began
    assert killed, "no worker was there to be killed"
    assert all(not job.missing for job in plan.jobs(recipe, 30, tmp_path / "three"))
    one, three = tables(tmp_path / "one"), tables(tmp_path / "three")
    assert one.keys() == three.keys() and len(one) == 4
    for name, frame in one.items():
        assert frame.equals(three[name]), name
    print({name: round(s, 1) for name, s in seconds.items()})
