"""Checkpoints that attack their reader, as policy and PRM, on every backend: no code runs, nothing asks."""

from __future__ import annotations

import builtins
import json
import sys
import types
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.test_prm_formats import folder_for  # noqa: E402
from tests.test_server import server  # noqa: F401, E402
from tests.tiny import tiny_model, tokenizer  # noqa: E402
from tts_utils import checkpoints  # noqa: E402
from tts_utils.checkpoints import UnknownModel  # noqa: E402
from tts_utils.policies import load_policy  # noqa: E402
from tts_utils.policies import vllm as policy_vllm  # noqa: E402
from tts_utils.prms import load_prm  # noqa: E402
from tts_utils.protocols import BackendError  # noqa: E402


def changed(path: Path, **more) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | more))


def code(folder: Path, name: str) -> None:
    """A module that leaves a mark where it is run."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"open({str(folder / 'attacked')!r}, 'w').close()\nclass Evil: pass\n")


class Pickled:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def code_for_an_unknown_type(folder):
    code(folder, "evil.py")
    changed(
        folder / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoModel": "evil.Evil"},
    )


def code_for_a_known_type(folder):
    code(folder, "evil.py")
    changed(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Evil", "AutoModel": "evil.Evil"})


def code_from_elsewhere(folder):
    changed(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil/repo--evil.Evil"})


def code_for_the_tokenizer(folder):
    code(folder, "evil.py")
    changed(
        folder / "tokenizer_config.json",
        tokenizer_class="Evil",
        auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
    )


def code_that_generates(folder):
    code(folder, "custom_generate/generate.py")


def a_kernel_from_the_hub(folder):
    changed(folder / "config.json", attn_implementation="evil/kernel")


def pickled_weights(folder):
    for path in folder.glob("*.safetensors"):
        path.unlink()
    torch.save({"weight": Pickled(str(folder / "attacked"))}, folder / "pytorch_model.bin")


def a_pickle_named_safetensors(folder):
    for path in folder.glob("*.safetensors"):
        torch.save({"weight": Pickled(str(folder / "attacked"))}, path)


def pickles_by_an_index(folder):
    pickled_weights(folder)
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "pytorch_model.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def an_index_that_points_outside(folder):
    for path in folder.glob("*.safetensors"):
        path.unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def a_template_that_leaves_the_sandbox(folder):
    (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")


def a_template_without_end(folder):
    (folder / "chat_template.jinja").write_text("{% for i in range(10 ** 12) %}x{% endfor %}")


def a_configuration_nested_beyond_reading(folder):
    (folder / "config.json").write_text('{"a":' * 100_000)


RUNS = {code_for_a_known_type, code_that_generates}
"""What is not refused, because the code that it names is simply not used."""

NOT_OF_WEIGHTS = {
    pickled_weights,
    a_pickle_named_safetensors,
    pickles_by_an_index,
    an_index_that_points_outside,
}
"""What a server's policy does not meet, as the server reads the weights."""

TEMPLATES = {a_template_that_leaves_the_sandbox, a_template_without_end}

KINDS = [
    code_for_an_unknown_type, code_for_a_known_type, code_from_elsewhere, code_for_the_tokenizer,
    code_that_generates, a_kernel_from_the_hub, pickled_weights, a_pickle_named_safetensors,
    pickles_by_an_index, an_index_that_points_outside, a_template_that_leaves_the_sandbox,
    a_template_without_end, a_configuration_nested_beyond_reading,
]  # fmt: skip


@pytest.fixture
def engine(monkeypatch):
    """A stand-in for vLLM that reads weights as vLLM does when it is told to read safetensors only."""

    class LLM:
        def __init__(self, model, **options):
            assert options["trust_remote_code"] is False and options["load_format"] == "safetensors"
            from safetensors.torch import load_file

            assert list(Path(model).glob("*.safetensors"))
            for path in Path(model).glob("*.safetensors"):
                load_file(path)

    fake = types.ModuleType("vllm")
    fake.LLM = LLM
    config = types.ModuleType("vllm.config")
    config.PoolerConfig = dict
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setitem(sys.modules, "vllm.config", config)
    monkeypatch.setattr(policy_vllm, "installed_version", lambda: "0.32.0")


@pytest.fixture
def watched(monkeypatch):
    """Nothing may ask on the terminal."""

    def asked(*words):
        raise AssertionError(f"asked on the terminal: {words}")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def policy_folder(tmp_path) -> Path:
    folder = tmp_path / "tiny"
    tiny_model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tried(load, folder: Path, refused: bool) -> None:
    try:
        load()
    except (UnknownModel, BackendError) as exc:
        assert refused, exc
        assert len(str(exc)) < 3000
    else:
        assert not refused
    assert not (folder / "attacked").exists()


@pytest.mark.parametrize("backend", ["transformers", "vllm", "server"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hostile_policy_runs_no_code_and_asks_nothing(kind, backend, tmp_path, watched, engine, server):  # noqa: F811
    folder = policy_folder(tmp_path)
    kind(folder)
    options = {"server_url": server.url} if backend == "server" else {}
    refused = kind not in RUNS and not (backend == "server" and kind in NOT_OF_WEIGHTS)
    tried(lambda: load_policy(str(folder), backend=backend, **options), folder, refused)


@pytest.mark.parametrize("backend", ["transformers", "vllm"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hostile_prm_runs_no_code_and_asks_nothing(kind, backend, tmp_path, watched, engine):
    folder = Path(folder_for("rlhflow", tmp_path))
    kind(folder)
    tried(lambda: load_prm(str(folder), backend=backend), folder, kind not in RUNS)


@pytest.mark.parametrize("option", [{"trust_remote_code": True}, {"load_format": "pt"}])
def test_nobody_can_ask_for_it(option, tmp_path, engine):
    with pytest.raises(BackendError, match=f"sets {next(iter(option))} itself"):
        load_policy(str(policy_folder(tmp_path)), backend="vllm", **option)


CHANGES = {
    "another template": lambda f: (f / "chat_template.jinja").write_text(
        (f / "chat_template.jinja").read_text() + " "
    ),
    "another rotation": lambda f: changed(f / "config.json", rms_norm_eps=0.5),
    "another end": lambda f: changed(f / "generation_config.json", eos_token_id=5),
    "another tokenizer": lambda f: changed(f / "tokenizer.json", truncation=None, version="1.1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_settings_tells_configurations_apart_and_the_revision_stays(change, tmp_path):
    folder = policy_folder(tmp_path)
    before = checkpoints.revision_of(str(folder)), checkpoints.settings_of(str(folder))
    changed(folder / "config.json", transformers_version="9.9")  # who saved it does not matter
    assert (checkpoints.revision_of(str(folder)), checkpoints.settings_of(str(folder))) == before
    change(folder)
    assert checkpoints.revision_of(str(folder)) == before[0]  # that of the weights, as stored tables have it
    assert checkpoints.settings_of(str(folder)) != before[1]


def test_another_template_does_not_continue_a_table_and_an_old_table_is_continued(tmp_path, monkeypatch):
    from tests import fakes
    from tts_utils import store
    from tts_utils.records import SamplingConfig

    data = tmp_path / "data"
    (data / "problems").mkdir(parents=True)
    (data / "problems/toy.jsonl").write_text(fakes.as_jsonl(fakes.problems(2)), encoding="utf-8")
    folder, config = policy_folder(tmp_path), SamplingConfig(max_tokens=4)
    old = load_policy(str(folder), "cpu", name="t")
    old.settings = ""  # as tables have it that were made before it was noted
    store.fill_samples("toy", old, 1, config, data=data)
    now = load_policy(str(folder), "cpu", name="t")
    assert store.fill_samples("toy", now, 2, config, data=data).added == 2
    (folder / "chat_template.jinja").write_text((folder / "chat_template.jinja").read_text() + " ")
    other = load_policy(str(folder), "cpu", name="t")
    with pytest.raises(
        store.ForeignTable, match=r"policy_settings is .* its chat template, tokenizer or config"
    ):
        store.fill_samples("toy", other, 3, config, data=data)


@pytest.mark.parametrize("kind", ["mamba", "qwen3_next", "falcon_h1"])
def test_an_architecture_that_does_not_keep_every_token_is_refused_in_one_sentence(kind):
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    sizes = {"hidden_size": 32, "intermediate_size": 32, "vocab_size": 64, "num_hidden_layers": 4}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes), trust_remote_code=False)
    with pytest.raises(UnknownModel, match=f"'{kind}', which does not keep every token of its past"):
        checkpoints.refuse_stateful(model, "some/model")
    checkpoints.refuse_stateful(tiny_model(), "tiny")


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (lambda input_ids, past_key_values=None: None, "past_key_values"),  # transformers below 5.24
        (lambda input_ids, cache=None: None, "cache"),
        (lambda input_ids, attention_mask=None: None, None),
    ],
)
def test_the_past_of_a_model_is_called_what_its_forward_calls_it(forward, name):
    model = types.SimpleNamespace(base_model=types.SimpleNamespace(forward=forward))
    assert checkpoints.past_name(model) == name
