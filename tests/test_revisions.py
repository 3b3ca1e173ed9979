"""A revision of a Hub id: what is loaded is that one, tables tell, and rows of two never share one."""

import http.server
import threading

import pytest

pytest.importorskip("torch")

import huggingface_hub.constants
from typer.testing import CliRunner

from tests.fakes import FakePolicy, FakePRM, as_jsonl, problems
from tests.test_prm_formats import tokenizer_for
from tests.tiny import tiny_model, tokenizer
from tts_utils import checkpoints, cli, recipes
from tts_utils.backends import check_options
from tts_utils.checkpoints import UnknownModel, find_model, pinned
from tts_utils.policies import load_policy
from tts_utils.policies.vllm import start_engine
from tts_utils.prms import load_prm
from tts_utils.prms.formats import format_name
from tts_utils.protocols import BackendError
from tts_utils.recipes import RecipeError, of_table, plan
from tts_utils.recipes.run import Loaded, run
from tts_utils.recipes.shapes import shape_of
from tts_utils.records import SamplingConfig, State
from tts_utils.store import files as table_files
from tts_utils.store.tables import ForeignTable

OLD, NEW = "1" * 40, "2" * 40
PRM = "RLHFlow/Llama3.1-8B-PRM-Mistral-Data"
PROBLEMS = problems(3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The Hub's cache with two models, each in two commits, of which the newer is main and the older v1.0."""
    cache = tmp_path_factory.mktemp("cache")
    for hub_id, tok in (("org/tiny", tokenizer()), (PRM, tokenizer_for("rlhflow"))):
        repo = cache / f"models--{hub_id.replace('/', '--')}"
        (repo / "refs").mkdir(parents=True)
        for seed, (commit, name) in enumerate(((OLD, "v1.0"), (NEW, "main"))):
            (repo / "refs" / name).write_text(commit)
            model = tiny_model(seed)
            model.resize_token_embeddings(len(tok), mean_resizing=False)
            model.save_pretrained(repo / "snapshots" / commit)
            tok.save_pretrained(repo / "snapshots" / commit)
    return cache


@pytest.fixture
def hub(cache, monkeypatch):
    """Offline, with that cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_a_policy_and_a_prm_are_those_of_the_revision(hub):
    drawn = {}
    for name in ("org/tiny", "org/tiny@v1.0", f"org/tiny@{OLD}", f"org/tiny@{NEW}"):
        policy = load_policy(name, "cpu")
        ((sample,),) = policy.sample([State(PROBLEMS[0])], 1, SamplingConfig(max_tokens=8))
        drawn[name] = sample.text
        assert policy.name == name
        assert policy.revision == (OLD if name.endswith(("v1.0", OLD)) else NEW)
    assert drawn["org/tiny@v1.0"] == drawn[f"org/tiny@{OLD}"] != drawn["org/tiny"] == drawn[f"org/tiny@{NEW}"]
    state = State(PROBLEMS[0], ("Add.\n\n",))
    scores = [load_prm(f"{PRM}{at}", "cpu").score([state])[0].scores for at in ("@v1.0", "", "@main")]
    assert scores[0] != scores[1] == scores[2]


def test_what_is_read_of_a_hub_id_is_read_of_its_revision_too(hub, cache):
    assert pinned(find_model("org/tiny@v1.0")) == ("org/tiny", {"revision": "v1.0"})
    assert format_name(f"{PRM}@v1.0") == "rlhflow"
    assert shape_of("Qwen/Qwen2.5-7B-Instruct@v1.0") == shape_of("Qwen/Qwen2.5-7B-Instruct")
    assert shape_of("org/tiny@v1.0") is not None is shape_of("org/tiny@v2.0")


def test_a_folder_has_no_revisions(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModel, match=r"revision 'v1.0' of some/model, which is a folder"):
        find_model("some/model@v1.0")
    with pytest.raises(UnknownModel, match="no model named 'org/tiny@'"):
        find_model("org/tiny@")
    at_home = folder.rename(tmp_path / "some" / "model@home")
    assert find_model("some/model@home") == "some/model@home" == str(at_home.relative_to(tmp_path))
    assert pinned("some/model@home") == ("some/model@home", {})


@pytest.mark.parametrize("load", [load_policy, load_prm])
def test_a_revision_that_was_not_downloaded_is_named(load, hub):
    name = "org/tiny" if load is load_policy else PRM
    with pytest.raises(UnknownModel, match=rf"'{name}@v2.0' cannot be loaded.*not downloaded before"):
        load(f"{name}@v2.0", "cpu")


def test_a_revision_that_the_hub_does_not_have_is_a_way_out(hub, monkeypatch, tmp_path):
    """A server on this machine that refuses as the Hub does."""

    class NoSuchRevision(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("X-Request-Id", "1")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NoSuchRevision)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    try:
        with pytest.raises(
            UnknownModel, match=r"'org/tiny@v9' cannot be loaded.*no such revision.*\.co/org/tiny/commits$"
        ):
            checkpoints.load_config("org/tiny@v9")
    finally:
        server.shutdown()
        server.server_close()


def test_vllm_is_given_the_revision_of_weights_and_tokenizer():
    class Engine:
        @staticmethod
        def LLM(**options):
            return options

    assert start_engine(Engine, "org/tiny", {"seed": 0}) == {"model": "org/tiny", "seed": 0}
    assert start_engine(Engine, "org/tiny@v1.0", {"seed": 0}) == {
        "model": "org/tiny",
        "seed": 0,
        "revision": "v1.0",
        "tokenizer_revision": "v1.0",
    }
    with pytest.raises(BackendError, match=r"sets tokenizer_revision itself.*as in org/name@v1\.0"):
        check_options("vllm", {"tokenizer_revision": "v1.0"}, {}, others=True)


# --- recipes and tables


def recipe(revision: str = "", label: str = "") -> recipes.Recipe:
    more = {key: value for key, value in (("revision", revision), ("label", label)) if value}
    return of_table(
        {
            "name": "r",
            "dataset": "toy",
            "policies": [{"name": "org/tiny", **more}],
            "prms": [{"name": "org/prm", "revision": "v1.0"}],
            "methods": [{"method": "best_of_n", "budgets": [2]}],
        }
    )


@pytest.fixture
def data(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(PROBLEMS))
    return tmp_path


def fill(data, asked: recipes.Recipe) -> list[str]:
    """Run it with fakes that know the commit of a revision; what was loaded comes back."""
    loaded = []

    def load(kind):
        def made(source, *, name="", **facts):
            loaded.append(source)
            model = kind(name or source)
            at = pinned(source)[1].get("revision", "main")
            model.revision = {"main": NEW, "v1.0": OLD}.get(at, at)
            return model

        return made

    run(asked, data=data, loaded=Loaded(load(FakePolicy), load(FakePRM)), say=lambda line: None)
    return loaded


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "lab-llama-s", "revision": "v1.0"}, "policies 1: a revision is that of a Hub id"),
        ({"name": "org/tiny@v1.0", "revision": "v1.0"}, "the name is 'org/tiny@v1.0'"),
        ({"name": "org/tiny", "revision": 3}, "revision has the value 3, which is no str"),
        ({"name": "org/tiny", "revison": "x"}, "no key 'revison'; did you mean 'revision'"),
        ({"name": "org/tiny", "options": {"revision": "x"}}, "revision is no option"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_a_revision(model, message):
    with pytest.raises(RecipeError, match=message):
        of_table(
            {"name": "r", "dataset": "toy", "policies": [model], "methods": [{"method": "greedy"}]},
        )


def test_two_revisions_fill_two_tables_and_each_says_which_it_is(data):
    assert fill(data, recipe("v1.0")) == ["org/tiny@v1.0", "org/prm@v1.0"]
    assert fill(data, recipe()) == ["org/tiny", "org/prm@v1.0"]
    assert fill(data, recipe("v1.0")) == []
    tables = table_files.stored(data, "samples", "toy")  # by their folders' names
    assert [table.policy for table in tables] == ["org/tiny@v1.0", "org/tiny"]
    assert [table_files.sources(t, data)["policy_revision"] for t in tables] == [OLD, NEW]
    (scores,) = table_files.stored(data, "step_scores", "toy", "org/tiny@v1.0")
    assert scores.prm == "org/prm@v1.0" and table_files.sources(scores, data)["prm_revision"] == OLD


def test_under_one_name_a_revision_goes_on_with_its_own_rows_only(data):
    """Tables that were filled without a revision are continued by a recipe that pins the commit they name."""
    fill(data, recipe())
    assert fill(data, recipe(NEW, label="org/tiny")) == []  # whole, and of that commit
    with pytest.raises(ForeignTable, match=rf"{NEW}, now {OLD}.*label in a recipe"):
        plan.jobs(recipe(OLD, label="org/tiny"), len(PROBLEMS), data)
    larger = of_table(
        {
            "name": "r",
            "dataset": "toy",
            "policies": [{"name": "org/tiny", "revision": "v1.0", "label": "org/tiny"}],
            "methods": [{"method": "best_of_n", "budgets": [3]}],
        }
    )
    with pytest.raises(ForeignTable, match=rf"{NEW}, now {OLD}"):  # a tag, known once the model is loaded
        fill(data, larger)
    (table,) = table_files.stored(data, "samples", "toy")
    assert table_files.stored_rows(table, data) == 2 * len(PROBLEMS)


def test_the_plan_shows_the_revision(data, monkeypatch):
    monkeypatch.setenv("TTS_DATA", str(data))
    (data / "r.toml").write_text(
        'name = "r"\ndataset = "toy"\n[[policies]]\nname = "org/tiny"\nrevision = "v1.0"\n'
        '[[policies]]\nname = "org/tiny"\nlabel = "newest"\nrevision = "main"\n'
        '[[methods]]\nmethod = "greedy"\n'
    )
    said = CliRunner().invoke(cli.app, ["run", str(data / "r.toml"), "--dry-run"]).output
    assert "greedy x 1, org/tiny@v1.0, seed 0: 3 of 3 to do" in said
    assert "newest is org/tiny@main" in said
