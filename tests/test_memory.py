"""Memory of a recipe's models: shapes, refusals before loading, what is held side by side or in turn."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import FakePRM, StepPolicy, as_jsonl, problems
from tts_utils import devices, recipes
from tts_utils.checkpoints import UnknownModel
from tts_utils.recipes import Model, memory, of_table, plan, shapes
from tts_utils.recipes.run import Loaded, run
from tts_utils.records import SamplingConfig

ROOT = Path(__file__).resolve().parent.parent
NAMES = {  # parameters as the model cards and index files give them
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "peiyi9979/math-shepherd-mistral-7b-prm": 7_241_732_096,
}


def config_of(name: str, layers: int):
    """The transformers configuration of a published model, of fewer layers."""
    from transformers import LlamaConfig, MistralConfig, Qwen2Config

    shape = shapes.PUBLISHED[name]
    kind = Qwen2Config if shape.biased else MistralConfig if "mistral" in name else LlamaConfig
    return kind(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
    )


# --- shapes


def test_every_model_of_the_paper_has_a_shape():
    import pandas as pd

    from tts_utils.data_folder import find

    named = [
        *pd.read_csv(find("paper/policy_models.csv"))["hf_id"],
        *pd.read_csv(find("paper/prms.csv"))["hf_id"],
    ]
    for path in (ROOT / "recipes").glob("*.toml"):
        recipe = recipes.read(path)
        named += [model.name for model in recipe.policies + recipe.prms]
    assert len(named) > 22 and [name for name in named if not shapes.shape_of(name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_that_are_published(name):
    assert shapes.PUBLISHED[name].num_params == NAMES[name]


@pytest.mark.parametrize("name", shapes.PUBLISHED)
def test_parameters_are_those_of_transformers(name):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from tts_utils.prms.heads import head_model_class

    config, head = config_of(name, layers=2), shapes.PUBLISHED[name].head
    shape = replace(shapes.PUBLISHED[name], layers=2)
    with torch.device("meta"):
        if head in ("value", "classes"):
            model = head_model_class(type(config), head)(config)
        else:
            model = AutoModelForCausalLM.from_config(config)
    assert shape.num_params == sum(p.numel() for p in model.parameters())
    assert shapes.of_config(config.to_dict(), head) == shape


def test_the_lab_s_models_have_the_shapes_of_their_folders():
    from tts_utils.checkpoints import find_model
    from tts_utils.policies import num_params_of

    for name in ("lab-llama-s", "lab-qwen-xl"):
        assert shapes.shape_of(name).num_params == num_params_of(find_model(name))
    assert shapes.shape_of("lab-skywork-l").head == "value"


def test_what_is_no_known_shape_is_none_and_a_folder_that_lies_is_no_traceback(tmp_path):
    assert shapes.shape_of("someone/else") is None and shapes.shape_of("absent") is None
    for text in ("{", "[]", '{"model_type": "mamba"}', '{"model_type": "llama"}'):
        (tmp_path / "config.json").write_text(text)
        assert shapes.shape_of(str(tmp_path)) is None
    with pytest.raises(UnknownModel, match=r"of the type 'mamba' is not known.*llama"):
        shapes.of_config({"model_type": "mamba"})


def test_quantised_checkpoints_are_smaller():
    whole, small = (shapes.shape_of(f"Qwen/Qwen2.5-7B-Instruct{end}") for end in ("", "-AWQ"))
    sizes = [memory.weight_bytes(shape, 16) / 1e9 for shape in (whole, small)]
    assert sizes[0] == pytest.approx(15.2, abs=0.1) and sizes[1] == pytest.approx(5.6, abs=0.3)
    said = {"model_type": "qwen2", "quantization_config": {"bits": 4}}
    config = config_of("Qwen/Qwen2.5-7B-Instruct", 28).to_dict()
    assert shapes.of_config(config | said) == small


# --- what fits


def todo_of(name: str) -> list[plan.Job]:
    return plan.jobs(recipes.read(ROOT / "recipes" / f"{name}.toml"), 500, Path("/nowhere"))


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("colab-lesson-2", 15.8),  # a T4 has 15.8e9 bytes
        ("figure-7-small", 24),
        ("table-6-distilled", 24),
        ("figure-4-llama-8b", 80),
        ("figure-4-qwen-7b", 80),
    ],
)
def test_shipped_recipes_fit_the_gpu_that_they_name_and_no_much_smaller_one(name, gigabytes):
    assert memory.complaints(todo_of(name), devices.gpu(gigabytes)) == []
    assert memory.complaints(todo_of(name), devices.gpu(gigabytes / 4))


def test_too_little_memory_is_said_before_anything_is_loaded(tmp_path):
    def refuse(*args, **facts):
        raise AssertionError("something was loaded")

    recipe = recipes.read(ROOT / "recipes" / "figure-4-llama-8b.toml")
    with pytest.raises(memory.TooLittleMemory) as found:
        run(
            recipe,
            data=tmp_path,
            loaded=Loaded(refuse, refuse),
            problems=problems(3),
            device=devices.gpu(16),
            say=lambda line: None,
        )
    message = str(found.value)
    assert "Llama-3.1-8B-Instruct needs 19.4 GB (weights 16.1 GB" in message  # what is needed
    assert "16.0 of 16.0 GB free" in message  # what is there
    assert "weights of 4 bits" in message and "2 such GPUs" in message and "server" in message  # the ways out
    assert "math-shepherd" in message and "Qwen2.5-Math-PRM-7B" in message  # all of it at once
    (skywork,) = [line for line in message.split("\n") if "Skywork" in line]  # which vLLM cannot run
    assert '2 such GPUs (device = "auto"' in skywork and "vllm" not in skywork


def test_a_way_out_leads_out():
    """What the message proposes for too large a batch, and for too small a share, does fit."""
    recipe = of_table(
        {
            "name": "x",
            "dataset": "MATH-500",
            "sampling": {"max_tokens": 2048},
            "policies": [{"name": "meta-llama/Llama-3.2-1B-Instruct"}],
            "methods": [{"method": "best_of_n", "budgets": [4]}],
        }
    )

    def said(options, backend="transformers"):
        model = replace(recipe.policies[0], options=options, backend=backend)
        return memory.complaints(plan.jobs(replace(recipe, policies=(model,)), 500, Path("/nowhere")), gpu)

    gpu = devices.gpu(24)
    (line,) = said({})
    assert "batch_size = 64 in its options" in line
    assert said({"batch_size": 64}) == [] and said({"batch_size": 128})
    (line,) = said({"gpu_memory_utilization": 0.1}, "vllm")
    share = float(line.split("gpu_memory_utilization = ")[1].split(" ")[0])
    assert said({"gpu_memory_utilization": share}, "vllm") == []
    (line,) = said({"gpu_memory_utilization": 1.2}, "vllm")
    assert "there is a GPU of 24 GB" in line


def test_two_engines_that_take_a_whole_gpu_each_are_refused_for_searches_only():
    table = {
        "name": "x",
        "dataset": "MATH-500",
        "policies": [{"name": "Qwen/Qwen2.5-7B-Instruct", "backend": "vllm"}],
        "prms": [{"name": "Qwen/Qwen2.5-Math-PRM-7B", "backend": "vllm"}],
        "methods": [{"method": "best_of_n", "budgets": [4]}],
    }
    gpu = devices.gpu(80)
    assert memory.complaints(plan.jobs(of_table(table), 500, Path("/nowhere")), gpu) == []
    table["methods"] = [{"method": "beam", "budgets": [4]}]
    (line,) = memory.complaints(plan.jobs(of_table(table), 500, Path("/nowhere")), gpu)
    assert "searches need Qwen/Qwen2.5-7B-Instruct (72.0 GB) and Qwen/Qwen2.5-Math-PRM-7B (72.0 GB)" in line
    shares = [float(part.split(" ")[0]) for part in line.split("gpu_memory_utilization = ")[1:]]
    for key, share in zip(("policies", "prms"), shares, strict=True):
        table[key][0]["options"] = {"gpu_memory_utilization": share}
    assert memory.complaints(plan.jobs(of_table(table), 500, Path("/nowhere")), gpu) == []
    table["policies"] = [
        {"name": "Qwen/Qwen2.5-7B-Instruct", "backend": "server", "server_urls": ["http://a/v1"]}
    ]
    assert memory.complaints(plan.jobs(of_table(table), 500, Path("/nowhere")), gpu) == []


@pytest.mark.parametrize(("gigabytes", "most"), [(1.6, 1), (4, 2)])
def test_policy_and_prm_are_held_side_by_side_where_they_fit_and_in_turn_elsewhere(tmp_path, gigabytes, most):
    """Pools of a lab policy and two PRMs, with loaders that count what is alive."""
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "toy.jsonl").write_text(as_jsonl(problems(3)))
    alive, seen = set(), []

    class Counted(FakePRM):
        def __del__(self):
            alive.discard(id(self))

    class CountedPolicy(StepPolicy):
        def one(self, state, index, config):
            return super().one(state, index, replace(config, stop=("\n\n",)))

        def __del__(self):
            alive.discard(id(self))

    def load(kind):
        def loader(source, **facts):
            made = kind(source)
            alive.add(id(made))
            seen.append(len(alive))
            return made

        return loader

    recipe = of_table(
        {
            "name": "turns",
            "dataset": "toy",
            "sampling": {"max_tokens": 512},
            "policies": [{"name": "lab-llama-s"}],
            "prms": [{"name": "lab-math-shepherd"}, {"name": "lab-skywork-s"}],
            "methods": [{"method": "best_of_n", "budgets": [2]}],
        }
    )
    device = devices.Device("small", "cpu", gigabytes * 1e9, gigabytes * 1e9)
    done = run(
        recipe,
        data=tmp_path,
        loaded=Loaded(load(CountedPolicy), load(Counted)),
        device=device,
        say=lambda _: None,
    )
    assert len(done) == 3 and max(seen) == most


def test_a_model_of_unknown_size_is_not_refused_and_said_to_be_unknown():
    recipe = of_table(
        {
            "name": "x",
            "dataset": "MATH-500",
            "policies": [{"name": "someone/else"}],
            "methods": [{"method": "greedy"}],
        }
    )
    todo, said = plan.jobs(recipe, 5, Path("/nowhere")), []
    memory.check(todo, devices.gpu(1))
    memory.lines(todo, devices.gpu(1), said.append)
    assert "someone/else: not known without its config.json" in said[-1]


# --- against a real process

MEASURE = """
import sys
from pathlib import Path

def held():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon")]
    return int(line.split()[1]) * 1024

import torch, transformers
from transformers import AutoModelForCausalLM
from tts_utils.policies import load_checkpoint
from tts_utils.prms.heads import load_head_model
before, (folder, head) = held(), sys.argv[1:]
model = load_checkpoint(folder, "cpu")[1] if head == "lm" else load_head_model(folder, head, "cpu")
print(held() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.2-1B-Instruct",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
    ],
)
def test_weights_take_the_memory_that_is_planned(name, tmp_path):
    """Models of the true width and vocabulary and of two layers, stored in bfloat16, run in float32."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from tests import tiny
    from tts_utils.prms.heads import head_model_class

    shape = replace(shapes.PUBLISHED[name], layers=2)
    config = config_of(name, layers=2)
    kind = head_model_class(type(config), shape.head) if shape.head == "value" else None
    model = kind(config) if kind else AutoModelForCausalLM.from_config(config)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    del model
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), shape.head],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = int(answer.stdout.split()[-1])
    need = memory.need_of(
        "prm" if shape.head == "value" else "policy", Model(name), shape, SamplingConfig(), devices.cpu()
    )
    print(json.dumps({name: {"planned, GB": need.weights / 1e9, "measured, GB": measured / 1e9}}))
    assert measured == pytest.approx(need.weights, rel=0.2)
