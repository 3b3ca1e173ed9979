"""What goes wrong at paper scale: each a message that helps, and nothing that was finished is lost."""

import errno
import json
import os
import re

import pytest
from typer.testing import CliRunner

from tests.fakes import Counting, FakePolicy, FakePRM, StepPolicy, as_jsonl, problems
from tts_utils import checkpoints, cli, policies, prms
from tts_utils.checkpoints import UnknownModel
from tts_utils.policies.fleet import Fleet
from tts_utils.policies.requests import FULL
from tts_utils.prms.formats import format_name
from tts_utils.protocols import TOO_LONG, BackendError
from tts_utils.recipes import of_table, plan
from tts_utils.recipes.run import Loaded, run
from tts_utils.store import files as table_files
from tts_utils.store.manifest import StoreError

PROBLEMS = problems(12)
TABLE = {
    "name": "toy",
    "dataset": "toy",
    "sampling": {"max_tokens": 64},
    "policies": [{"name": "steps"}],
    "prms": [{"name": "a"}],
    "methods": [
        {"method": "best_of_n", "budgets": [64]},
        {"method": "beam", "budgets": [8]},
        {"method": "dvts", "budgets": [8]},
    ],
}
RECIPE = of_table(TABLE)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(PROBLEMS))
    return tmp_path


class Both(StepPolicy):
    """Writes single steps where it is stopped behind them, else whole answers."""

    revision = ""

    def one(self, state, index, config):
        return (StepPolicy if config.stop else FakePolicy).one(self, state, index, config)


def fill(data, policy=None, prm=None):
    loaded = Loaded(lambda *a, **k: policy or Both("steps"), lambda *a, **k: prm or FakePRM("a"))
    return run(RECIPE, data=data, loaded=loaded, say=lambda line: None)


def stored(data) -> int:
    return sum(job.stored for job in plan.jobs(RECIPE, len(PROBLEMS), data))


def frames(data) -> dict:
    return {
        table.relative: table_files.to_frame(table_files.load(table, data))
        for kind in ("samples", "step_scores", "searches")
        for table in table_files.stored(data, kind, "toy")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tables of a run in which nothing went wrong."""
    data = tmp_path_factory.mktemp("undisturbed")
    (data / "problems").mkdir()
    (data / "problems" / "toy.jsonl").write_text(as_jsonl(PROBLEMS))
    fill(data)
    return frames(data)


def same(data, undisturbed) -> bool:
    found = frames(data)
    return found.keys() == undisturbed.keys() and all(found[key].equals(undisturbed[key]) for key in found)


# --- while a recipe runs


class Dying(Both):
    """A server that is gone from its k-th call on."""

    alive = 2

    def sample(self, states, n, config, first=0):
        self.alive -= 1
        if self.alive < 0:
            raise BackendError("http://one/v1 cannot be reached (ConnectionRefusedError), tried 5 times")
        return super().sample(states, n, config, first)


def test_a_server_that_dies_costs_its_batch_only(data, undisturbed):
    with pytest.raises(BackendError, match="cannot be reached"):
        fill(data, Dying("steps"))
    assert stored(data) > 0  # what was finished
    fill(data)
    assert same(data, undisturbed)


def test_a_fleet_of_which_one_dies_fills_the_same_tables(data, undisturbed):
    fill(data, Fleet([Dying("steps"), Both("steps")]))
    assert same(data, undisturbed)


def test_a_full_disk_is_said_and_costs_the_batch_in_flight_only(data, undisturbed, monkeypatch):
    real, left = table_files.append, [3]

    def append(*args, **facts):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "part.parquet")
        return real(*args, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(table_files, "append", append)
        with pytest.raises(OSError, match="No space left"):
            fill(data)
    assert stored(data) > 0
    fill(data)
    assert same(data, undisturbed)


def test_locks_and_claims_that_nobody_holds_hold_nobody_up(data, undisturbed):
    with pytest.raises(BackendError):
        fill(data, Dying("steps"))
    for folder in data.rglob("*.parts"):
        for name in ("0-0-64x4.claim", "64-8-64x4.claim", "stranger.claim"):
            (folder / name).write_text("4711")
    (data / ".lock").write_text("4711")
    fill(data)
    assert same(data, undisturbed)


def test_another_revision_is_refused_and_the_rows_of_the_first_stay(data):
    first = Dying("steps")
    first.revision = "abc"
    with pytest.raises(BackendError):
        fill(data, first)
    before = stored(data)
    other = Both("steps")
    other.revision = "def"
    with pytest.raises(StoreError, match=r"abc[\s\S]*def|def[\s\S]*abc"):
        fill(data, other)
    assert stored(data) == before > 0


def test_a_context_that_fills_up_in_a_search_ends_the_path_not_the_run(data):
    class Filling(Both):
        def one(self, state, index, config):
            return FULL if len(state.steps) >= 2 and index % 2 else super().one(state, index, config)

    class ShortSighted(FakePRM):
        def one(self, trajectory):
            return TOO_LONG if len(trajectory.steps) > 3 else super().one(trajectory)

    fill(data, Filling("steps"), ShortSighted("a"))
    assert all(not job.missing for job in plan.jobs(RECIPE, len(PROBLEMS), data))
    reasons = {
        reason
        for frame in frames(data).values()
        if "finish_reason" in frame
        for reason in frame["finish_reason"]
    }
    assert "length" in reasons and "eos" in reasons


def test_a_policy_that_returns_fewer_answers_is_refused_before_they_are_stored(data):
    class Fewer(Both):
        def sample(self, states, n, config, first=0):
            return [row[:-1] for row in super().sample(states, n, config, first)]

    with pytest.raises(Exception, match=r"63|64"):
        fill(data, Fewer("steps"))
    assert stored(data) == 0


# --- before it runs


def test_a_recipe_with_an_unknown_key_is_one_line_that_names_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setenv("TTS_DATA", str(tmp_path))
    (tmp_path / "problems").mkdir()
    (tmp_path / "r.toml").write_text('name = "r"\ndataset = "x"\n[[polices]]\nname = "m"\n')
    result = CliRunner().invoke(cli.app, ["run", str(tmp_path / "r.toml")])
    assert result.exit_code == 2
    assert "there is no key 'polices'; did you mean 'policies'?" in result.output


def test_too_little_memory_is_one_message_of_tts_run(tmp_path, monkeypatch):
    from tts_utils import devices

    monkeypatch.setenv("TTS_DATA", str(tmp_path))
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(PROBLEMS))
    monkeypatch.setattr(devices, "found", lambda: devices.gpu(12))
    (tmp_path / "r.toml").write_text(
        'name = "r"\ndataset = "toy"\n[[policies]]\nname = "meta-llama/Llama-3.1-8B-Instruct"\n'
        '[[methods]]\nmethod = "greedy"\n'
    )
    for words in ([], ["--probe", "5"]):
        result = CliRunner().invoke(cli.app, ["run", str(tmp_path / "r.toml"), *words])
        assert result.exit_code == 2 and "there is too little memory, so nothing was loaded" in result.output
        assert "12.0 of 12.0 GB free" in result.output and "Ways out: " in result.output


def test_no_gpu_is_said_where_one_is_asked_for():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    for load, name in ((policies.load_policy, "lab-llama-s"), (prms.load_prm, "lab-skywork-s")):
        with pytest.raises(
            BackendError, match=r"device='cuda' is asked for.*leave the device out.*tts doctor"
        ):
            load(name, device="cuda")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "GatedRepoError",
            r"'meta-llama/x' cannot be loaded.*gated: ask for access at .*/meta-llama/x.*HF_TOKEN",
        ),
        ("RevisionNotFoundError", "no such revision of it.*meta-llama/x/commits"),
        ("RepositoryNotFoundError", "no such model, or it is private"),
        ("LocalEntryNotFoundError", "the Hub cannot be reached"),
        ("OfflineModeIsEnabled", "HF_HUB_OFFLINE forbids"),
    ],
)
def test_what_the_hub_says_becomes_a_way_out(error, message):
    """As transformers raises it: the Hub's own error inside an OSError."""
    errors = pytest.importorskip("huggingface_hub.errors")
    kind = getattr(errors, error)
    inner = kind.__new__(kind)
    Exception.__init__(inner, "401 Client Error")
    with pytest.raises(UnknownModel, match=message), checkpoints.reading("meta-llama/x"):
        try:
            raise inner
        except kind as exc:
            raise OSError("You are trying to access a gated repo.") from exc


def test_no_hub_is_said_by_both_loaders(monkeypatch, tmp_path):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UnknownModel, match=r"'no/such-model' cannot be loaded.*not downloaded before"):
        policies.load_policy("no/such-model")
    with pytest.raises(UnknownModel, match=r"Qwen2.5-Math-PRM-7B' cannot be loaded"):
        prms.load_prm("Qwen/Qwen2.5-Math-PRM-7B")


@pytest.mark.parametrize(
    ("architecture", "found"),
    [("Qwen2ForPrmModel", "skywork"), ("Qwen2ForProcessRewardModel", "qwen-math-prm")],
)
def test_a_folder_s_format_is_read_off_its_architecture(architecture, found, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    assert format_name(str(tmp_path)) == found
    (tmp_path / "tts_prm.json").write_text('{"format": "rlhflow"}')
    assert format_name(str(tmp_path)) == "rlhflow"  # what one says oneself counts more


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"architectures": ["Qwen2ForRewardModel"]},
            r"says Qwen2ForRewardModel, where Qwen2ForPrmModel, .* expected",
        ),
        ({"architectures": ["LlamaForSequenceClassification"]}, "no process reward model that is known here"),
        ({"architectures": ["LlamaForCausalLM"]}, r"a language model, which is a PRM only if.*tts_prm\.json"),
        ({"architectures": []}, r"no known format: it is none of the published"),
        ({"architectures": [7]}, r"no known format: it is none of the published"),
    ],
)
def test_another_kind_of_checkpoint_is_refused_with_what_was_expected(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownModel, match=message):
        prms.load_prm(str(tmp_path))
    with pytest.raises(UnknownModel, match=re.escape('{"format": "rlhflow"}')):
        prms.load_prm(str(tmp_path))


def test_counting_policies_are_asked_for_nothing_twice(data, undisturbed):
    """After everything is stored the same recipe asks no model anything."""
    fill(data)
    counting = Counting("steps")
    assert fill(data, counting) == [] and counting.calls == []
