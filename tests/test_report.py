"""``tts report`` of searches, by groups, as CSV and JSON, on a screen; progress in a log; named models."""

from __future__ import annotations

import io
import json
import re
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import cli, data_folder, policies, prms, progress, store
from tts_utils.progress import Progress
from tts_utils.report import COLUMNS, page, report
from tts_utils.tree_search import TreeSearch

PROBLEMS = fakes.problems(10)
NAMES = ("toy", "fake-policy", "fake-prm")


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "problems").mkdir(parents=True)
    (folder / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    monkeypatch.setenv("TTS_DATA", str(folder))
    monkeypatch.setattr(data_folder, "shipped", lambda: ())
    return folder


def run(*words):
    return CliRunner().invoke(cli.app, list(words))


def fill_all():
    store.fill_samples("toy", fakes.FakePolicy(), 16)
    store.fill_step_scores(store.find_table("samples", "toy", "fake-policy"), fakes.FakePRM())
    for search in (TreeSearch("beam", 16), TreeSearch("dvts", 16), TreeSearch("particles", 16)):
        store.fill_searches("toy", fakes.StepPolicy(), fakes.FakePRM(), search)


def test_a_search_is_reported_beside_best_of_n_with_its_cost(data):
    fill_all()
    frame = report("toy")
    assert list(frame.columns) == COLUMNS
    for search, label in (
        (TreeSearch("beam", 16), "beam-n16-m4"),
        (TreeSearch("dvts", 16), "dvts-n16-m4"),
        (TreeSearch("particles", 16), "particles-n16"),
    ):
        results = store.replay(*NAMES, search)
        row = frame[(frame["method"] == label) & (frame["rule"] != "")].iloc[0]
        assert row["estimate"] == store.pool_of(results).right("prm_vote").mean() and row["n"] == 10
        assert row["policy_tokens"] == np.mean([result.num_policy_tokens for result in results])
        assert row["prm_tokens"] == np.mean([result.num_prm_tokens for result in results])
    best = frame[(frame["method"] == "best-of-n") & (frame["N"] == 16)].iloc[0]
    pool = store.read_pool(*NAMES)
    assert best["estimate"] == pool.right("prm_vote").mean()
    assert best["policy_tokens"] == pool.num_tokens.sum(axis=1).mean()
    # A DVTS of four trees also says what one tree does.
    assert set(frame[frame["method"].str.startswith("dvts")]["N"]) == {4, 16}
    out = run("report", "--dataset", "toy", "--all").stdout
    assert re.search(r"beam-n16-m4, PRM-Last \+ PRM-Vote \(fake-prm\) +N = 16 .* tokens", out)


def test_the_columns_of_a_report_stand_under_each_other_whatever_the_names(data):
    long = fakes.FakePRM(name="somebody/a-process-reward-model-of-many-billions")
    store.fill_searches("toy", fakes.StepPolicy(), fakes.FakePRM(), TreeSearch("beam", 8))
    store.fill_searches("toy", fakes.StepPolicy(), long, TreeSearch("beam", 8))
    lines = page.lines(report("toy"), "toy", everything=True)
    rows = [line for line in lines if " N = " in line]
    assert len(rows) == 4 and len({line.index(" N = ") for line in rows}) == 1
    assert any(line.startswith("  beam-n8-m4, no answer (fake-prm) ") for line in rows)
    assert sum(line.startswith("  no answer: ") for line in lines) == 1


def test_only_a_search_is_reported_too(data):
    store.fill_searches("toy", fakes.StepPolicy(), fakes.FakePRM(), TreeSearch("beam", 8))
    result = run("report", "--dataset", "toy")
    assert result.exit_code == 0 and "beam-n8-m4, PRM-Last + PRM-Vote" in result.stdout


def test_the_least_samples_say_whether_they_were_cut_or_have_no_answer(data):
    store.fill_samples("toy", fakes.Truncating(name="cut"), 2)
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    out = run("report", "--dataset", "toy").stdout
    assert re.search(r"samples cut by the token limit +N = 2 +100\.0", out)
    assert re.search(r"samples without an answer +N = 2 +100\.0", out)
    assert len(re.findall(r"samples cut by the token limit +N = 2 +0\.0", out)) == 1


def test_one_prm_one_rule_one_n(data):
    fill_all()
    frame = report("toy", prm="fake-prm", rule="prm_min_max", n=4)
    assert set(frame[frame["prm"] != ""]["rule"]) == {"prm_min_max", ""} and set(frame["N"]) == {4}
    assert report("toy", prm="nobody")["prm"].eq("").all()
    for words in (("--rule", "best"), ("--by", "colour")):
        result = run("report", "--dataset", "toy", *words)
        assert result.exit_code == 2 and "choose from" in result.stderr


@pytest.mark.parametrize("by", ["level", "difficulty"])
def test_groups_are_the_problems_of_each(data, by):
    fill_all()
    whole, parts = report("toy"), report("toy", by=by)
    for measure in ("pass@1", "majority@16", "beam-n16-m4, PRM-Last + PRM-Vote (fake-prm)"):
        rows = parts[parts["measure"] == measure]
        assert rows["n"].sum() == 10 and (len(rows) == 5 or by == "difficulty")
        mean = np.average(rows["estimate"], weights=rows["n"])
        assert mean == pytest.approx(whole[whole["measure"] == measure]["estimate"].iloc[0])
    assert set(parts["group"]) <= {*(f"level {i}" for i in range(1, 6)), "easy", "medium", "hard"}


def test_csv_and_json_hold_every_figure(data):
    fill_all()
    frame = report("toy")
    read = pd.read_csv(io.StringIO(run("report", "--dataset", "toy", "--csv").stdout))
    assert list(read.columns) == COLUMNS and np.allclose(read["estimate"], frame["estimate"])
    lines = run("report", "--dataset", "toy", "--json").stdout.splitlines()
    assert [json.loads(line)["measure"] for line in lines] == frame["measure"].tolist()


def test_no_interval_of_width_zero_without_a_word(data):
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    table = store.find_table("samples", "toy", "fake-policy")
    store.fill_step_scores(table, fakes.KnowingPRM())
    frame = report("toy", problems=PROBLEMS[:1])
    row = frame[frame["measure"].str.endswith("- majority")].iloc[0]
    assert row["low"] == row["high"] and row["note"].startswith("the same on all 1 problems")
    assert row["note"] in "\n".join(page.lines(frame, "toy", everything=True))


def test_a_large_report_fits_a_screen(data):
    fill_all()
    for i in range(5):
        store.fill_samples("toy", fakes.FakePolicy(name=f"policy-{i}"), 4)
    frame = report("toy")
    short, whole = page.lines(frame, "toy"), page.lines(frame, "toy", everything=True)
    assert len(short) <= page.SCREEN < len(whole) and "--all" in short[-1]
    assert max(map(len, short)) < 130
    assert any(re.match(r"fake-policy +16 +- ", line) for line in short)


# --- progress without a terminal ---


def test_a_log_says_soon_how_far_it_is_and_again_while_nothing_moves():
    log = io.StringIO()
    with Progress("row", quiet_for=0.05, every=0.1, stream=log) as bar:
        time.sleep(0.12)
        bar(10, 100)
        time.sleep(0.05)
        bar(30, 100)
        time.sleep(0.3)
    lines = log.getvalue().splitlines()
    assert "nothing finished yet" in lines[0] and "30 of 100 rows (30 %), about" in lines[-1]
    assert len(lines) >= 3 and progress.FIRST < 5 and progress.EVERY < 30


def test_a_quick_command_says_nothing():
    log = io.StringIO()
    with Progress(stream=log) as bar:
        bar(1, 1)
    assert log.getvalue() == ""


# --- models that are named ---


def test_a_prm_of_ones_own_is_named_by_module_and_class(data, tmp_path, monkeypatch):
    (tmp_path / "ownprm.py").write_text(
        "from tests.fakes import FakePRM\n\nclass Mine(FakePRM):\n"
        "    def __init__(self, name='mine'):\n"
        "        super().__init__(name=name)\n        self.revision = '1'\n"
    )
    monkeypatch.chdir(tmp_path)
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    words = ("score", "--policy", "fake-policy", "--dataset", "toy", "--prm")
    assert "20 new" in run(*words, "ownprm:Mine").stdout.replace("of them ", "")
    assert len(store.read_step_scores("toy", "fake-policy", "mine")) == 20
    for name, says in (("ownprm:Absent", "no attribute"), ("nowhere:X", "No module"), ("json:dumps", "PRM")):
        result = run(*words, name)
        assert result.exit_code == 2 and says in result.stderr, result.stderr


def test_a_reward_model_is_no_policy(data):
    folder = data / "models/judge"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tts_prm.json").write_text('{"format": "rlhflow"}')
    result = run("sample", "--policy", "judge", "--dataset", "toy")
    assert result.exit_code == 2 and "'judge' is a reward model, not a policy" in result.stderr


def test_lab_policies_on_strangers_problems_get_a_word(data, tmp_path, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", lambda name, **how: fakes.FakePolicy(name=name))
    monkeypatch.setattr(prms, "load_prm", lambda name, **how: fakes.FakePRM(name=name))
    result = run("sample", "--policy", "lab-llama-m", "--dataset", "toy", "--n", "1")
    assert result.exit_code == 0 and "taught the lab's kinds of problems only" in result.stderr
    (data / "problems/lab-9.jsonl").write_text(fakes.as_jsonl(PROBLEMS))
    assert "taught" not in run("sample", "--policy", "lab-llama-m", "--dataset", "lab-9", "--n", "1").stderr
