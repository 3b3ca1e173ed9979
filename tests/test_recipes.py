"""Recipes: what they refuse, what they plan, and that running one fills just what was planned."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import notebooks
from tests import lesson_runs
from tests.fakes import FakePolicy, FakePRM, StepPolicy, as_jsonl, problems
from tts_utils import cli, optimal, recipes, store
from tts_utils.problems import load_problems
from tts_utils.progress import Progress
from tts_utils.recipes import Model, RecipeError, of_table, plan, probe
from tts_utils.recipes.run import Loaded, run
from tts_utils.store import files as table_files

ROOT = Path(__file__).resolve().parent.parent
TABLE = {
    "name": "toy",
    "dataset": "toy",
    "sampling": {"max_tokens": 64},
    "policies": [{"name": "steps"}],
    "prms": [{"name": "a"}, {"name": "b"}],
    "methods": [
        {"method": "greedy"},
        {"method": "best_of_n", "budgets": [2, 4]},
        {"method": "beam", "budgets": [4, 8]},
        {"method": "dvts", "budgets": [4, 8]},
    ],
}
PROBLEMS = problems(6)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(PROBLEMS))
    return tmp_path


def fakes() -> Loaded:
    return Loaded(lambda source, **_: Both(source), lambda source, **_: FakePRM(source))


class Both(StepPolicy):
    """Writes single steps where it is stopped behind them, else whole answers."""

    def one(self, state, index, config):
        return (StepPolicy if config.stop else FakePolicy).one(self, state, index, config)


# --- reading


def test_every_recipe_of_the_repository_can_be_read():
    paths = sorted((ROOT / "recipes").glob("*.toml"))
    assert len(paths) >= 5
    for path in paths:
        assert recipes.read(path).name == path.stem


def test_a_recipe_says_what_it_says():
    recipe = of_table(TABLE)
    assert recipe.pool == 4 and recipe.greedy and recipe.sampling.max_tokens == 64
    assert [(s.method, s.budget) for s in recipe.searches()] == [("beam", 4), ("dvts", 8), ("beam", 8)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"polices": []}, "no key 'polices'; did you mean 'policies'"),
        (
            {"sampling": {"temprature": 1}},
            r"\[sampling\]: there is no key 'temprature'; did you mean 'temperature'",
        ),
        ({"sampling": {"temperature": -1}}, "temperature must be 0 or more"),
        ({"sampling": {"seed": 3}}, "seeds stand at the top"),
        ({"methods": [{"method": "bean"}]}, "no method 'bean'; did you mean 'beam'"),
        ({"methods": [{"method": "beam", "budgets": [6]}]}, "multiple of the branching 4, got 6"),
        ({"methods": [{"method": "best_of_n", "budgets": [0]}]}, "whole numbers from 1"),
        ({"methods": []}, "at least one of"),
        ({"prms": []}, "searches need at least one"),
        ({"sampling": {"temperature": 0}}, "temperature above 0"),
        ({"policies": [{"name": "x"}, {"name": "x"}]}, "'x' twice; give one of them a label"),
        ({"policies": [{"nmae": "x"}]}, "policies 1: there is no key 'nmae'; did you mean 'name'"),
        ({"policies": [{}]}, "policies 1: the key 'name' is missing"),
        ({"policies": [{"name": 3}]}, "name has the value 3, which is no str"),
        ({"policies": [{"name": "x", "backend": "server"}]}, "'server' needs server_urls"),
        (
            {"policies": [{"name": "x", "sampling": {"top_k": 3}}]},
            "policies 1, sampling: there is no key 'top_k'",
        ),
        ({"policies": {"name": "x"}}, r"must be written as \[\[policies\]\]"),
        ({"limit": 0}, "limit must be a whole number from 1"),
        ({"seeds": ["one"]}, "seeds must be whole numbers"),
        ({"seeds": []}, "seeds must be whole numbers"),
        ({"dataset": None}, "dataset has the value None"),
    ],
)
def test_what_is_not_known_is_refused_where_it_stands(change, message):
    with pytest.raises(RecipeError, match=message):
        of_table(TABLE | change)


def test_files_that_are_no_recipe_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*absent\.toml"):
        recipes.read(tmp_path / "absent.toml")
    (tmp_path / "cut.toml").write_text("name = ")
    with pytest.raises(RecipeError, match=r"cut\.toml is no TOML file"):
        recipes.read(tmp_path / "cut.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"bytes\.toml is no TOML file"):
        recipes.read(tmp_path / "bytes.toml")


# --- plan and run


def test_what_is_planned_is_done_once_and_is_what_the_fillers_make(data):
    recipe = of_table(TABLE)
    todo = plan.jobs(recipe, len(PROBLEMS), data)
    assert [job.kind for job in todo] == ["greedy", "samples"] + 2 * (2 * ["scores"] + 3 * ["search"])
    assert [job.wanted for job in todo] == [6, 24] + 2 * [6, 24, 6, 12, 6]
    assert all(job.stored == 0 for job in todo)
    said = []
    assert run(recipe, data=data, loaded=fakes(), say=said.append) == todo
    assert all(not job.missing for job in plan.jobs(recipe, len(PROBLEMS), data))
    assert run(recipe, data=data, loaded=fakes(), say=said.append) == []
    pool = store.read_pool("toy", "steps", "a", config=recipe.sampling_of(recipe.policies[0], 0), data=data)
    assert pool.correct.shape == (6, 4)


def test_seeds_and_limits_make_tables_of_their_own(data):
    recipe = of_table(TABLE | {"seeds": [0, 1], "limit": 2, "methods": TABLE["methods"][1:2]})
    run(recipe, data=data, loaded=fakes(), say=lambda line: None)
    tables = table_files.stored(data, "samples", "toy")
    assert sorted(t.sampling.seed for t in tables) == [0, 1]
    assert [table_files.stored_rows(t, data) for t in tables] == [8, 8]


def test_a_table_whose_parts_a_kill_left_is_brought_together(data, monkeypatch):
    """All rows are there, so nothing is missing; but the table is in no manifest yet."""
    recipe = of_table(TABLE | {"methods": TABLE["methods"][1:2], "prms": []})
    with monkeypatch.context() as patched:
        patched.setattr(table_files, "compact", lambda table, data: table.path(data))
        run(recipe, data=data, loaded=fakes(), say=lambda line: None)
    (job,) = plan.jobs(recipe, len(PROBLEMS), data)
    assert not job.missing and job.is_open and not job.is_done
    run(recipe, data=data, loaded=fakes(), say=lambda line: None)
    (job,) = plan.jobs(recipe, len(PROBLEMS), data)
    assert job.is_done and store.verify(data) == []


def test_rows_that_a_kill_left_twice_do_not_make_a_table_whole(data, monkeypatch):
    """Killed after the table was written and before its parts were removed."""
    recipe = of_table(TABLE | {"methods": [{"method": "best_of_n", "budgets": [2]}], "prms": []})
    with monkeypatch.context() as patched:
        patched.setattr(table_files.shutil, "rmtree", lambda *args, **kwargs: None)
        run(recipe, data=data, loaded=fakes(), say=lambda line: None)
    larger = of_table(TABLE | {"methods": [{"method": "best_of_n", "budgets": [4]}], "prms": []})
    (job,) = plan.jobs(larger, len(PROBLEMS), data)
    assert job.missing == 12
    run(larger, data=data, loaded=fakes(), say=lambda line: None)
    pool = store.read_pool("toy", "steps", config=recipe.sampling_of(recipe.policies[0], 0), data=data)
    assert pool.correct.shape == (6, 4)


def test_models_are_loaded_once_each_and_let_go():
    loads = []
    loaded = Loaded(lambda source, **facts: loads.append((source, facts)) or object(), None)
    one, two = Model("one", options={"x": 1}), Model("two", label="zwei")
    first = loaded.get("policy", one)
    assert loaded.get("policy", one) is first
    loaded.get("policy", two)
    loaded.get("policy", one)
    assert [name for name, _ in loads] == ["one", "two", "one"]
    assert loads[0][1] == {"backend": "transformers", "name": "", "x": 1} and loads[1][1]["name"] == "zwei"


def test_several_servers_become_a_fleet():
    class Served(StepPolicy):
        revision = ""

    urls = ("http://one/v1", "http://two/v1")
    asked = []
    loaded = Loaded(lambda source, **facts: asked.append(facts["server_url"]) or Served(source), None)
    fleet = loaded.get("policy", Model("m", backend="server", server_urls=urls))
    assert asked == list(urls) and len(fleet.members) == 2


def test_estimates_add_up():
    """3 of 4 samples of 10 problems missing, 50 tokens each; a PRM that reads them at 100 tokens a second."""
    recipe = of_table(TABLE)
    sampling = recipe.sampling_of(recipe.policies[0], 0)
    policy, prm = recipe.policies[0], recipe.prms[0]
    rates = plan.Rates({"steps": 50}, 10, 5, {"steps": 25}, {"a": 100}, {"steps": 7}, {"a": 2}, True)
    job = plan.Job("samples", policy, None, sampling, 4, None, 10, 40)
    cost = plan.estimate(job, rates)
    assert (cost.policy_tokens, cost.prm_tokens, cost.seconds, cost.flops) == (1500, 0, 60, 2 * 7 * 1500)
    job = plan.Job("scores", policy, prm, sampling, 4, None, 0, 40)
    cost = plan.estimate(job, rates)
    assert (cost.policy_tokens, cost.prm_tokens, cost.seconds) == (0, 40 * 60, 24)
    assert plan.estimate(job, replace(rates, distinct=0.5)).seconds == 12  # equal texts are read once
    beam = recipe.searches()[0]  # N = 4: 10 trees are 40 samples' tokens; a state of depth t reads 10 + 10 t
    job = plan.Job("search", policy, prm, sampling, 1, beam, 0, 10)
    cost = plan.estimate(job, rates)
    assert cost.policy_tokens == 2000
    assert cost.prm_tokens == 40 * sum(10 + 10 * t for t in range(1, 6))
    unknown = replace(rates, policy_params={}, prm_speed={})
    assert plan.estimate(job, unknown).flops is None and plan.estimate(job, unknown).seconds is None


def test_the_plan_says_every_table_and_the_sum(data):
    recipe, said = of_table(TABLE), []
    todo = plan.jobs(recipe, len(PROBLEMS), data)
    plan.lines(recipe, todo, plan.assumed(recipe), said.append)
    assert len(said) == 1 + len(todo) + 2 and said[0] == "toy: 12 tables of toy, 0 of them whole"
    assert "assumed" in said[-1] and said[-2].startswith("in all: ")


def test_a_probe_measures_lengths_and_leaves_no_row(data):
    recipe, loaded = of_table(TABLE), fakes()
    rates = probe.measure(recipe, PROBLEMS, loaded, seconds=0.01)
    run(recipe, data=data, loaded=loaded, say=lambda line: None)
    rows = store.read_samples("toy", "steps", config=recipe.sampling_of(recipe.policies[0], 0), data=data)
    assert rates.measured and rates.policy_speed["steps"] > 0 and rates.prm_speed.keys() == {"a", "b"}
    assert rates.tokens["steps"] == pytest.approx(rows["num_tokens"].mean(), rel=0.2)


def test_a_probe_asks_for_no_sample_and_scores_no_text_twice(data):
    """A PRM that remembers what it has read would seem to read without end in no time."""
    recipe = of_table(TABLE | {"prms": [{"name": "a"}]})
    asked, scored = [], []

    class Policy(Both):
        def one(self, state, index, config):
            asked.append((state.problem.problem_id, index))
            return super().one(state, index, config)

    class PRM(FakePRM):
        def one(self, trajectory):
            scored.append((trajectory.problem.problem_id, trajectory.steps))
            return super().one(trajectory)

    ticks = iter(range(10**6))
    loaded = Loaded(lambda source, **_: Policy(source), lambda source, **_: PRM(source))
    rates = probe.measure(recipe, PROBLEMS, loaded, seconds=8, clock=lambda: next(ticks))
    assert len(set(asked)) == len(asked) == len(PROBLEMS) * (probe.FEW + 4 * probe.MANY)
    assert len(set(scored)) == len(scored) > 0
    assert 0 < rates.prm_speed["a"] < float("inf")


def test_something_is_said_at_once_and_then_again_without_a_batch_ending():
    said = []
    with Progress("tree", title="long", quiet_for=0.05, every=0.1, say=said.append) as progress:
        time.sleep(0.2)
        progress(1, 4)
        time.sleep(0.15)
        progress(2, 4)
        time.sleep(0.15)
    assert said[0].startswith("long: 0 s: loading") and len(said) >= 3
    assert "2 of 4 trees (50 %), about" in said[-1]


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_the_first_word_comes_before_anything_slow_is_imported(data, words):
    """By the order of a line and of imports, so that no clock decides; a first word is due within 5 s."""
    (data / "r.toml").write_text(
        'name = "r"\ndataset = "toy"\n[[policies]]\nname = "absent"\n[[methods]]\nmethod = "greedy"\n'
    )
    command = [sys.executable, "-X", "importtime", "-m", "tts_utils.cli", "run", str(data / "r.toml"), *words]
    ran = subprocess.run(
        command,
        env=os.environ | {"TTS_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    before, said, after = ran.stdout.partition("r: looking at what is stored of toy")
    slow = ("torch", "transformers", "vllm", "ray", "scipy", "datasets", "altair")
    loaded = {line.split("|")[-1].strip() for line in before.splitlines() if line.startswith("import time")}
    assert said and "pandas" in loaded  # that imports are seen at all
    assert not loaded.intersection(slow)
    if words == ["--dry-run"]:
        assert "r: 1 tables of toy" in after


@pytest.mark.slow
def test_a_probe_foretells_tokens_within_a_fifth_and_time_within_a_factor_of_two(tmp_path):
    """The lab's models on a CPU, in processor seconds, as other work may hold the machine."""
    items = load_problems("lab-200")
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "mine.jsonl").write_text(as_jsonl(items))
    recipe = of_table(
        {
            "name": "foretold",
            "dataset": "mine",
            "limit": 100,
            "sampling": {"max_tokens": 512},
            "policies": [{"name": "lab-llama-m"}],
            "prms": [{"name": "lab-skywork-l"}],
            "methods": [
                {"method": "best_of_n", "budgets": [16]},
                {"method": "beam", "budgets": [16]},
                {"method": "dvts", "budgets": [16]},
            ],
        }
    )
    loaded = Loaded()
    rates = probe.measure(recipe, items[:100], loaded, seconds=10.0, clock=time.process_time)
    todo = plan.jobs(recipe, len(items), tmp_path)
    seconds = []
    for i, _ in enumerate(todo):
        began = time.process_time()
        run(
            recipe,
            data=tmp_path,
            loaded=loaded,
            problems=items,
            only=todo[i : i + 1].__contains__,
            say=print,
        )
        seconds.append(time.process_time() - began)
    made = {str(place): frame for place, frame in frames(tmp_path).items()}
    spent = [
        sum(
            frame["num_tokens"].sum()
            for place, frame in made.items()
            if place.startswith("searches/" if job.search else f"{job.kind}/")
            and (not job.search or f"/{job.search.label}-" in place)
        )
        for job in todo
    ]
    assert len(todo) == 4 and sum(tokens > 0 for tokens in spent) == 3  # scores cost the policy nothing
    for job, took, tokens in zip(todo, seconds, spent, strict=True):
        foretold = plan.estimate(job, rates)
        print(
            f"{job.title}: tokens {foretold.policy_tokens:,.0f} foretold, {tokens:,} spent; "
            f"{foretold.seconds:.1f} s foretold, {took:.1f} s spent"
        )
        assert foretold.policy_tokens == pytest.approx(tokens, rel=0.2)
    searches = [i for i, job in enumerate(todo) if job.search]
    for part in (range(len(todo)), searches):
        foretold = plan.total([todo[i] for i in part], rates).seconds
        assert 0.5 <= foretold / sum(seconds[i] for i in part) <= 2


STAND_INS = {  # what runs on a laptop in the place of the paper's models
    "meta-llama/Llama-3.1-8B-Instruct": "lab-llama-s",
    "peiyi9979/math-shepherd-mistral-7b-prm": "lab-math-shepherd",
    "Qwen/Qwen2.5-Math-PRM-7B": "lab-qwen-prm-s",
}


def stood_in(name: str, dataset: Path, limit: int) -> str:
    """A shipped recipe file with other ids: the lab's models, a file of problems, N = 4 and 16."""
    head, *blocks = re.split(r"\n(?=\[\[)", (ROOT / "recipes" / f"{name}.toml").read_text())
    named = [(block, re.search(r'^name = "(.+)"', block, re.M)) for block in blocks]
    kept = [block for block, found in named if not found or found[1] in STAND_INS]
    text = "\n".join([head, *kept])
    for theirs, ours in STAND_INS.items():
        text = text.replace(f'"{theirs}"', f'"{ours}"')
    text = text.replace('dataset = "MATH-500"', f'dataset = "{dataset}"\nlimit = {limit}')
    text = re.sub(r"^(backend|options) = .*\n", "", text, flags=re.M)
    return re.sub(r"max_tokens = \d+", "max_tokens = 512", text.replace("[4, 16, 64, 256]", "[4, 16]"))


FORK = multiprocessing.get_context("fork")  # so that torch is imported once, not in every run that is killed


def tts(words: list[str], own: Path) -> None:
    """The command, in a process of its own."""
    os.environ["TTS_DATA"] = str(own)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        cli.app(words)


def frames(own: Path) -> dict:
    """Every table of a data directory, by its place in it."""
    return {
        table.relative: table_files.to_frame(table_files.load(table, own))
        for kind in ("samples", "step_scores", "searches")
        for table in table_files.stored(own, kind, "mine")
    }


def same(frame: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Equal rows; scores to five digits: after a kill a PRM reads in other batches, which round otherwise."""
    exact = [name for name in frame if not name.startswith("score")]
    return frame[exact].equals(other[exact]) and all(
        np.allclose(
            np.hstack(frame[name].tolist()).astype(float),
            np.hstack(other[name].tolist()).astype(float),
            rtol=0,
            atol=1e-5,
            equal_nan=True,
        )
        for name in frame
        if name.startswith("score")
    )


def draw_lesson_6(own: Path, recipe: recipes.Recipe, monkeypatch) -> pd.DataFrame:
    """Run the cells of lesson 6 that draw its first figure, on tables of one's own; its rows come back."""
    from tts_lab import strategies

    found = optimal.read_outcomes(
        "mine",
        "lab-llama-s",
        [prm.called for prm in recipe.prms],
        recipe.searches(),
        budgets=[4, 16],
        config=recipe.sampling_of(recipe.policies[0], 0),
        problems=load_problems(recipe.dataset)[: recipe.limit],
        data=own,
    )
    monkeypatch.setattr(strategies, "read", lambda dataset: found)
    (path,) = (ROOT / "notebooks").glob("06-*.ipynb")
    lesson = lesson_runs.LessonRun(path)
    sources = {cell["id"]: notebooks.cell_source(cell) for cell in notebooks.load(path)["cells"]}
    for name in ("06-imports", "06-grid"):
        lesson.execute(name, sources[name])
    assert "mark" in lesson.shown["06-grid"].to_json()
    return lesson.namespace["grid"]


@pytest.mark.slow
def test_a_recipe_killed_ten_times_ends_as_one_that_was_not(tmp_path, monkeypatch):
    """The lab's models through a recipe file of the paper; `tts run` is killed at ten moments on its way.

    What it leaves is drawn by lesson 6 as it stands.
    """
    (tmp_path / "mine.jsonl").write_text(as_jsonl(load_problems("lab-30")))
    (tmp_path / "grid.toml").write_text(stood_in("figure-4-llama-8b", tmp_path / "mine.jsonl", limit=4))
    recipe = recipes.read(tmp_path / "grid.toml")
    assert len(recipe.prms) == 2 and recipe.pool == 16 and len(recipe.searches()) == 3

    def start(own: Path) -> multiprocessing.Process:
        process = FORK.Process(target=tts, args=(["run", str(tmp_path / "grid.toml")], own))
        process.start()
        return process

    def rows(own: Path) -> int:
        return sum(job.stored for job in plan.jobs(recipe, 30, own))

    tables = {}
    for name, kills in (("whole", 0), ("killed", 10)):
        own = tmp_path / name
        own.mkdir()
        after = []
        for i in range(kills):
            process, before = start(own), rows(own)
            while process.is_alive() and rows(own) == before:
                time.sleep(0.05)  # until it has stored something more, then at another moment each time
            time.sleep(0.05 * i)
            process.kill()
            process.join()
            after.append(rows(own))
        assert after == sorted(after)  # nothing that was finished is lost
        process = start(own)
        process.join()
        assert process.exitcode == 0
        assert all(not job.missing for job in plan.jobs(recipe, 30, own))
        tables[name] = frames(own)
        if kills:
            print("rows after each kill:", after, "of", rows(own))
    log = (tmp_path / "killed" / "logs" / "grid.log").read_text()
    assert log.count("looking at what is stored") == 11 and "12 tables filled" not in log
    assert tables["whole"].keys() == tables["killed"].keys() and len(tables["whole"]) == 12
    for path, frame in tables["whole"].items():
        assert same(frame, tables["killed"][path]), path
    drawn = draw_lesson_6(tmp_path / "killed", recipe, monkeypatch)
    assert set(drawn["rule"]) == {"best_of_n", "beam", "dvts", "majority", "random", "pass_at_k"}
    assert set(drawn["budget"]) == {4, 16} and set(drawn["judge"]) == {"Math-Shepherd", "Qwen-PRM, small"}
    assert (drawn["n"] == 4).all() and drawn["accuracy"].between(0, 1).all()
