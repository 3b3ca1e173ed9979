"""The command line: what it prints, and one clear message with exit code 2 for everything that is wrong."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import sys
import types

import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import checkpoints, cli, data_folder, policies, prms, store
from tts_utils.records import SamplingConfig
from tts_utils.store import Table, manifest
from tts_utils.tree_search import TreeSearch

PROBLEMS = fakes.problems(6)
TABLE = Table("samples", "toy", "fake-policy", SamplingConfig())
SAMPLE = ("sample", "--policy", "fake-policy", "--dataset", "toy")
SCORE = ("score", "--prm", "fake-prm", "--policy", "fake-policy", "--dataset", "toy")


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "problems").mkdir(parents=True)
    (folder / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    monkeypatch.setenv("TTS_DATA", str(folder))
    monkeypatch.setattr(data_folder, "shipped", lambda: ())
    return folder


@pytest.fixture
def models(monkeypatch):
    """What the command line loads in place of real models; a test may put in others."""
    loaded = types.SimpleNamespace(policy=fakes.Counting(), prm=fakes.FakePRM(), asked={})

    def load_policy(name, **how):
        loaded.asked["policy"] = how
        return loaded.policy

    def load_prm(name, **how):
        loaded.asked["prm"] = how
        return loaded.prm

    monkeypatch.setattr(policies, "load_policy", load_policy)
    monkeypatch.setattr(prms, "load_prm", load_prm)
    return loaded


def run(*words):
    return CliRunner().invoke(cli.app, list(words))


def ok(*words):
    result = run(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*words):
    """The message on stderr; one, without a traceback, with exit code 2."""
    result = run(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.output and result.stdout == ""
    return result.stderr


# --- what works ---


def test_sample_score_report_verify(data, models):
    assert "96 rows, 96 of them new" in ok(*SAMPLE, "--n", "16")
    assert "6 rows, 6 of them new" in ok(*SAMPLE, "--greedy")
    assert "96 rows, 96 of them new" in ok(*SCORE)
    assert "3 files" in ok("verify")
    out = ok("report", "--dataset", "toy")
    for words in ("CoT (greedy)", "pass@1", "majority@16", "PRM-Min + PRM-Max (fake-prm)", "pass@16"):
        assert re.search(rf"  {re.escape(words)} .*\[.*\]  n = 6", out), words
    assert re.search(r"PRM-Last \+ PRM-Vote \(fake-prm\) - majority +N = 16 +[+-]\d.*\[[+-].*\]  n = 6", out)
    assert len(re.findall(r"PRM-(Min|Last|Avg) \+ PRM-(Max|Vote) \(fake-prm\) ", out)) == 7


def test_report_by_hand(data, models):
    """Problem p000: answers 100 100 7; the others: 100 100 7 with other gold answers; a PRM that knows."""
    models.policy = fakes.Saying(texts=(r"\boxed{7}", r"\boxed{7}", r"\boxed{100}", "no answer"))
    models.prm = fakes.KnowingPRM()
    ok(*SAMPLE, "--n", "4")
    ok(*SCORE)
    out = ok("report", "--dataset", "toy")
    sixth = f"{100 / 6:.1f}"
    for words, estimate in {
        "pass@1": f"{100 / 24:.1f}",  # 1 of 4 samples of 1 of 6 problems
        "majority@4": "0.0",  # 7, twice
        "PRM-Last + PRM-Max (fake-prm)": sixth,
        "PRM-Last + PRM-Vote (fake-prm)": sixth,
        "pass@4": sixth,
        "PRM-Last + PRM-Vote (fake-prm) - majority": f"+{sixth}",
    }.items():
        assert re.search(rf"^  {re.escape(words)} +N = 4 +{re.escape(estimate)}  \[", out, re.MULTILINE), (
            words
        )


def test_samples_that_the_prm_cannot_read_are_counted_in_words(data, models):
    long = r"By a long way round we find that it is \boxed{100}."
    models.policy = fakes.Saying(texts=(long, long, r"\boxed{7}", "no answer"))
    models.prm = fakes.ShortSightedPRM(limit=20)
    ok(*SAMPLE, "--n", "4")
    said = "12 samples are longer than fake-prm reads: they have no scores, and cast no vote"
    assert said in ok(*SCORE) and said in ok(*SCORE)
    out = ok("report", "--dataset", "toy")
    sixth = f"{100 / 6:.1f}"
    for words, estimate in {
        "majority@4": sixth,
        "answers without a score (fake-prm)": "50.0",
        "PRM-Last + PRM-Max (fake-prm)": "0.0",
        "PRM-Last + PRM-Vote (fake-prm)": "0.0",
    }.items():
        assert re.search(rf"^  {re.escape(words)} +N = 4 +{re.escape(estimate)}  \[", out, re.MULTILINE), (
            words
        )


def test_report_of_fewer_samples_problems_and_policies(data, models):
    ok(*SAMPLE, "--n", "8")
    models.policy = fakes.FakePolicy(name="other")
    ok("sample", "--policy", "other", "--dataset", "toy", "--n", "2", "--limit", "3")
    out = ok("report", "--dataset", "toy", "--policy", "fake-policy", "--n", "4")
    assert "majority@4" in out and "other" not in out
    out = ok("report", "--dataset", "toy", "--limit", "3")
    assert "other on toy: n = 3" in out and "fake-policy on toy: n = 3" in out


def the_command_in(out: str) -> list[str]:
    return shlex.split(re.search(r"(?:fill them|grow the pool) with: tts (.*)", out)[1])


def test_report_says_what_is_incomplete_and_reports_the_rest(data, models):
    ok(*SAMPLE, "--n", "4")
    ok(*SCORE)
    models.policy, prm = fakes.FakePolicy(name="other"), fakes.FakePRM(name="half-done")
    ok("sample", "--policy", "other", "--dataset", "toy", "--n", "4", "--limit", "2")
    store.fill_step_scores(TABLE, prm, limit=3)
    out = ok("report", "--dataset", "toy")
    scores = re.search(r"^  PRM scores \(half-done\): incomplete, 3 of 6 problems; fill .*", out, re.M)[0]
    samples = re.search(r"^  samples: incomplete, 2 of 6 problems; fill .*", out, re.M)[0]
    for words in ("majority@4", "pass@4", r"PRM-Last \+ PRM-Vote \(fake-prm\) - majority"):
        assert len(re.findall(rf"^  {words} .*\[.*\]  n = 6(?:  \(the same .*\))?$", out, re.M)) == 1, words
    models.prm = prm
    ok(*the_command_in(samples))
    ok(*the_command_in(scores))
    out = ok("report", "--dataset", "toy")
    assert "incomplete" not in out and "PRM-Last + PRM-Vote (half-done)" in out
    assert len(re.findall(r"^  pass@4 .* n = 6$", out, re.M)) == 2


def test_report_of_more_samples_than_one_pool_holds(data, models):
    ok(*SAMPLE, "--n", "4")
    models.policy = fakes.FakePolicy(name="small")
    ok("sample", "--policy", "small", "--dataset", "toy", "--n", "2")
    out = ok("report", "--dataset", "toy", "--n", "4")
    assert "majority@4" in out and "samples: incomplete, 0 of 6 problems; take n <= 2, or grow" in out
    ok(*the_command_in(out))
    assert "incomplete" not in ok("report", "--dataset", "toy", "--n", "4")


def test_report_without_a_problem_file_finds_problems_without_scores(data, models):
    ok(*SAMPLE, "--n", "4")
    store.fill_step_scores(TABLE, fakes.FakePRM(), limit=2)
    (data / "problems/toy.jsonl").unlink()
    out = ok("report", "--dataset", "toy")
    assert "PRM scores (fake-prm): incomplete, 2 of 6 problems" in out and "majority@4" in out


def test_report_of_several_configurations_names_them(data, models):
    ok(*SAMPLE, "--n", "2")
    ok(*SAMPLE, "--n", "2", "--temperature", "1")
    out = ok("report", "--dataset", "toy")
    assert re.search(r"fake-policy \[t0\.7-\w{8}\]", out) and re.search(r"fake-policy \[t1-\w{8}\]", out)


def test_sample_defaults_and_options(data, models):
    ok(*SAMPLE, "--limit", "2")
    assert sum(len(ids) * n for ids, n, _ in models.policy.calls) == 2 * 64
    ok(*SAMPLE, "--n", "3", "--temperature", "1.5", "--seed", "4", "--max-tokens", "77", "--top-p", "0.9")
    config = SamplingConfig(temperature=1.5, top_p=0.9, max_tokens=77, seed=4)
    assert len(store.read_samples("toy", "fake-policy", config=config)) == 18
    ok(*SAMPLE, "--temperature", "0")
    assert len(store.read_samples("toy", "fake-policy", greedy=True)) == 6


def test_batch_size_reaches_the_models_and_changes_nothing(data, models):
    ok(*SAMPLE, "--n", "4", "--batch-size", "5")
    assert max(len(ids) * n for ids, n, _ in models.policy.calls) == 4
    before = TABLE.path(data).read_bytes()
    shutil.rmtree(data / "samples")
    (data / manifest.NAME).unlink()
    ok(*SAMPLE, "--n", "4")
    assert TABLE.path(data).read_bytes() == before
    ok(*SCORE, "--batch-size", "5")
    assert max(map(len, models.prm.calls)) == 5


def test_score_of_a_named_configuration(data, models):
    ok(*SAMPLE, "--n", "2", "--temperature", "1.5")
    ok(*SAMPLE, "--n", "3")
    assert "12 rows" in ok(*SCORE, "--temperature", "1.5")
    assert "18 rows" in ok(*SCORE)
    assert "tts sample" in refused(*SCORE, "--greedy")
    ok(*SAMPLE, "--greedy")
    assert "6 rows" in ok(*SCORE, "--greedy")


def test_a_dataset_given_as_a_path(data, models):
    path = str(data / "problems/toy.jsonl")
    ok("sample", "--policy", "fake-policy", "--dataset", path, "--n", "2")
    ok("score", "--prm", "fake-prm", "--policy", "fake-policy", "--dataset", path)
    assert TABLE.path(data).is_file()
    assert "pass@2" in ok("report", "--dataset", path)


def test_the_command_for_a_data_set_that_lies_elsewhere_works(data, models, tmp_path):
    path = tmp_path / "my problems.jsonl"
    path.write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    steps = fakes.StepPolicy()
    for policy, read in (
        (models.policy, lambda name: store.read_samples(name, "fake-policy")),
        (models.policy, lambda name: store.read_samples(name, "fake-policy", n=65)),
        (models.policy, lambda name: store.read_step_scores(name, "fake-policy", "fake-prm")),
        (steps, lambda name: store.replay(name, "fake-policy", "fake-prm", TreeSearch("beam", 4))),
        (steps, lambda name: store.replay(name, "fake-policy", "fake-prm", TreeSearch("dvts", 4))),
    ):
        models.policy = policy
        with pytest.raises(store.StoreError) as miss:
            read(str(path))
        ok(*the_command_in(str(miss.value)))
        assert len(read(str(path)))
    with pytest.raises(store.StoreMiss, match=r"--dataset 'PATH/TO/my problems\.jsonl'"):
        store.read_samples("my problems", "another policy")


def test_a_live_prm_scores_samples_of_a_data_set_that_lies_elsewhere(data, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    store.fill_samples(str(path), fakes.FakePolicy(), 2)
    assert len(store.read_step_scores(str(path), "fake-policy", "fake-prm", live=fakes.FakePRM())) == 12


def test_doctor(data, models):
    ok(*SAMPLE, "--n", "2")
    out = ok("doctor")
    for words in (
        "python ",
        "numpy ",
        "torch ",
        "vllm ",
        "hardware",
        f"data            {data}",
        "problems        toy",
    ):
        assert words in out
    assert "toy: 1 of samples; 12 rows" in out and "models          none" in out
    assert TABLE.relative not in out and len(out.splitlines()) < 40
    assert f"12 rows  {TABLE.relative}" in ok("doctor", "--tables")


def test_doctor_without_data_and_without_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TTS_DATA", str(tmp_path / "absent"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = ok("doctor")
    assert "none: TTS_DATA" in out


def test_doctor_says_what_cannot_be_run(data, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not here        tts sample" in ok("doctor")


def test_help_names_every_command():
    out = ok("--help")
    assert all(f" {name} " in out for name in ("doctor", "sample", "score", "search", "report", "verify"))


SEARCH = ("search", "--policy", "fake-policy", "--prm", "fake-prm", "--dataset", "toy")


def test_backends_and_their_options_reach_the_loaders(data, models):
    ok(*SAMPLE, "--n", "2")
    assert models.asked == {"policy": {"backend": "transformers", "server_url": ""}}
    words = ("--backend", "vllm", "--option", "gpu-memory-utilization=0.4", "--option", "max_model_len=4096")
    asked = {"backend": "vllm", "server_url": "", "gpu_memory_utilization": 0.4, "max_model_len": 4096}
    ok(*SAMPLE, "--n", "2", *words)
    assert models.asked == {"policy": asked}
    ok(*SCORE, "--prm-option", "device=auto", "--prm-option", "batch_tokens=99")
    assert models.asked["prm"] == {"backend": "transformers", "device": "auto", "batch_tokens": 99}
    models.policy = fakes.StepPolicy()
    ok(*SEARCH, "--method", "beam", *words, "--prm-backend", "vllm", "--prm-option", "enforce_eager=true")
    assert models.asked == {"policy": asked, "prm": {"backend": "vllm", "enforce_eager": True}}


@pytest.mark.parametrize("method", ["beam", "dvts", "particles"])
def test_search(data, models, method):
    models.policy = fakes.StepPolicy()
    out = ok(*SEARCH, "--method", method, "--n", "8", "--max-tokens", "77")
    tree_search, config = TreeSearch(method, 8), SamplingConfig(max_tokens=77)
    frame = store.read_searches("toy", "fake-policy", "fake-prm", tree_search, config=config)
    assert f"{len(frame)} rows, {len(frame)} of them new" in out
    assert " 0 of them new" in ok(*SEARCH, "--method", method, "--n", "8", "--max-tokens", "77")
    assert "files" in ok("verify")


def test_the_command_that_a_missing_search_names_fills_it(data, models):
    models.policy = fakes.StepPolicy()
    for tree_search, config in (
        (TreeSearch("dvts", 8), None),
        (TreeSearch("beam", 6, 2, "avg", 9, False, True), SamplingConfig(0.5, max_tokens=99)),
        (TreeSearch("beam", 1, 1, "avg"), SamplingConfig(0, max_tokens=99)),
        (TreeSearch("beam", 8, 2, every=3), None),
        (TreeSearch("particles", 6, how="min", resampling="multinomial"), None),
        (TreeSearch("beam", 4), SamplingConfig(0.9, 0.8, seed=3)),
    ):
        which = ("toy", "fake-policy", "fake-prm", tree_search)
        with pytest.raises(store.StoreMiss) as miss:
            store.replay(*which, config=config)
        ok(*shlex.split(str(miss.value).split("fill them with: tts ")[1]))
        assert len(store.replay(*which, config=config)) == 6


@pytest.mark.parametrize(
    "words",
    [
        *(("--method", "mcts"), ("--method", "beam", "--n", "6"), ("--method", "dvts", "--branching", "0")),
        *(("--method", "beam", "--how", "max"), ("--method", "beam", "--max-depth", "0")),
        *(("--method", "dvts", "--every", "2"), ("--method", "beam", "--resampling", "multinomial")),
    ],
)
def test_search_settings_out_of_range(data, models, words):
    assert "Invalid value" in refused(*SEARCH, *words)


# --- what is wrong ---


def test_unknown_policy_and_prm(data, monkeypatch):
    def unknown(name, **_):
        raise checkpoints.UnknownModel(f"no model named {name!r}; there is lab-llama-s")

    monkeypatch.setattr(policies, "load_policy", unknown)
    monkeypatch.setattr(prms, "load_prm", unknown)
    message = refused("sample", "--policy", "nope", "--dataset", "toy")
    assert "'nope'" in message and "lab-llama-s" in message
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    message = refused("score", "--prm", "nope", "--policy", "fake-policy", "--dataset", "toy")
    assert "'nope'" in message and "lab-llama-s" in message


def test_options_that_cannot_be_taken_are_named(data):
    assert "'batch_size' is not of the form key=value" in refused(*SAMPLE, "--option", "batch_size")
    assert "given twice" in refused(*SAMPLE, "--option", "a=1", "--option", "a=2")
    message = refused(*SAMPLE, "--option", "max_model_len=9")
    assert "'transformers' takes no option 'max_model_len'; it takes batch_size" in message
    message = refused(*SAMPLE, "--backend", "tgi")
    assert "no backend 'tgi'; there are transformers, vllm, server" in message
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    message = refused(*SCORE, "--prm-option", "batch_tokens=0.5")
    assert "batch_tokens=0.5 of backend 'transformers' must be a whole number" in message
    assert "no backend 'server'; there are transformers, vllm" in refused(*SCORE, "--prm-backend", "server")
    assert "leave out device='cuda'" in refused(
        *SCORE, "--prm-backend", "vllm", "--prm-option", "device=cuda"
    )


def test_unknown_data_set(data, models):
    for command in (SAMPLE, SCORE):
        message = refused(*command[:-1], "toys")
        assert "'toys'" in message and ", toy, or give" in message
    assert "'toys'" in refused("report", "--dataset", "toys")
    assert "no problem file" in refused(*SAMPLE[:-1], "toys.jsonl")


@pytest.mark.parametrize("broken", ["cut", "swapped"])
def test_damaged_and_foreign_tables(data, models, broken):
    ok(*SAMPLE, "--n", "4")
    ok(*SAMPLE, "--n", "4", "--temperature", "1")
    path = TABLE.path(data)
    other = next(p for p in path.parent.iterdir() if p.name.startswith("t1-"))
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        shutil.copy(other, path)
    commands = (SAMPLE, SCORE, ("report", "--dataset", "toy"), ("verify",))
    for command in commands:
        message = refused(*command)
        assert str(path) in message, command
    if broken == "swapped":  # known for what it is even without a manifest
        (data / manifest.NAME).unlink()
        for command in commands[:-1]:
            message = refused(*command)
            assert str(path) in message and '"temperature":1.0' in message, command


def test_verify_names_each_bad_file(data, models):
    ok(*SAMPLE, "--n", "4")
    ok(*SAMPLE, "--greedy")
    paths = sorted(TABLE.path(data).parent.glob("*.parquet"))
    for path in paths:
        path.write_bytes(path.read_bytes() + b"\0")
    message = refused("verify")
    assert len(paths) == 2 and all(str(path) in message for path in paths)
    shutil.rmtree(data / "samples")
    assert "is missing" in refused("verify")


def test_verify_without_a_manifest(data):
    assert "manifest.json" in refused("verify")


def test_a_problem_without_an_answer(data, models):
    rows = [{"id": "a", "problem": "1 + 1?", "answer": "2"}, {"id": "b", "problem": "2 + 2?"}]
    path = data / "problems/bad.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    message = refused(*SAMPLE[:-1], "bad")
    assert f"{path}, line 2" in message and "no answer" in message and models.policy.calls == []


def test_completions_without_an_answer_are_kept_scored_and_reported(data, models):
    """No \\boxed, and nothing at all: not bad input but bad luck; they are wrong, and cannot win a vote."""
    models.policy = fakes.Saying(texts=("I give up.", ""))
    ok(*SAMPLE, "--n", "4")
    ok(*SCORE)
    out = ok("report", "--dataset", "toy")
    for measure in ("pass@1", "majority@4", "PRM-Last + PRM-Vote (fake-prm)", "pass@4"):
        assert re.search(rf"  {re.escape(measure)} +N = 4 +0\.0  ", out)
    assert set(store.read_samples("toy", "fake-policy")["answer"]) == {""}


@pytest.mark.parametrize(
    ("prm", "words"), [(fakes.MiscountingPRM(), "1 scores for 2 steps"), (fakes.NaNPRM(), "nan")]
)
def test_a_prm_with_bad_scores(data, models, prm, words):
    ok(*SAMPLE, "--n", "2")
    models.prm = prm
    message = refused(*SCORE)
    assert words in message and "p000" in message
    assert not (data / "step_scores").exists() or not list((data / "step_scores").rglob("*.parquet"))


def test_a_policy_that_returns_too_little(data, models):
    models.policy = fakes.Short()
    assert "p000" in refused(*SAMPLE, "--n", "3")


def test_n_larger_than_the_pool(data, models):
    ok(*SAMPLE, "--n", "4")
    message = refused("report", "--dataset", "toy", "--n", "5")
    assert "n = 5" in message and "4 samples" in message
    assert "tts sample --policy fake-policy --dataset toy --n 5" in message


def test_missing_rows_with_no_live_policy(data, models):
    assert "tts sample --policy fake-policy --dataset toy --n 64" in refused(*SCORE)
    assert "tts sample" in refused("report", "--dataset", "toy")
    assert "tts sample --policy who" in refused("report", "--dataset", "toy", "--policy", "who")
    ok(*SAMPLE, "--n", "4", "--limit", "4")
    message = refused("report", "--dataset", "toy")
    assert "8 of the first 4 samples" in message and "tts sample --policy fake-policy" in message
    models.policy = fakes.FakePolicy(name="other")
    ok("sample", "--policy", "other", "--dataset", "toy", "--n", "2", "--limit", "1")
    message = refused("report", "--dataset", "toy")
    assert "'p004' has 0" in message and "'p001' has 0" in message  # of the one and the other


def test_greedy_with_many_samples(data, models):
    assert "take n = 1 (--n 1)" in refused(*SAMPLE, "--greedy", "--n", "5")
    cold = ("--method", "beam", "--n", "8", "--temperature", "0")
    assert "take n = 1 (--n 1)" in refused(*SEARCH, *cold)


@pytest.mark.parametrize(
    "option",
    [("--temperature", "-1"), ("--top-p", "0"), ("--max-tokens", "0"), ("--n", "0"), ("--batch-size", "0")],
)
def test_values_out_of_range(data, models, option):
    message = refused(*SAMPLE, *option)
    assert option[0].strip("-").split("-")[0] in message


def test_an_unexpected_failure_keeps_its_traceback(data, models):
    """Only known errors become a message; a defect must stay visible as one."""
    models.policy = fakes.Counting(fail_on=1)
    result = run(*SAMPLE)
    assert isinstance(result.exception, RuntimeError)


def test_stopping_by_hand_says_that_nothing_is_lost(data, models, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    models.policy.sample = interrupt
    result = run(*SAMPLE)
    assert result.exit_code == 130 and "kept" in result.stderr


def test_without_torch_it_says_what_to_install(data, monkeypatch):
    def load(name, **_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(policies, "load_policy", load)
    assert "requirements-lab.txt" in refused(*SAMPLE)


def test_the_package_imports_without_torch():
    import subprocess

    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('torch', 'transformers'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import tts_utils.cli"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_file_of_new_problems_of_the_lab_is_the_lab_s(tmp_path):
    from tts_utils.cli.loading import dataset_of_the_lab

    mine, new, broken = (tmp_path / f"{name}.jsonl" for name in ("mine", "new", "broken"))
    mine.write_text('{"problem": "2 + 2?", "answer": "4"}\n')
    new.write_text('{"problem": "2 + 2?", "answer": "4", "template": "sum", "nodes": []}\n')
    broken.write_text("no JSON")
    found = [dataset_of_the_lab(str(path)) for path in (mine, new, broken, tmp_path / "absent.jsonl")]
    assert found == [False, True, False, False]
    assert dataset_of_the_lab("lab-500") and not dataset_of_the_lab("MATH-500")
