"""The lab's policies: their sizes, their training text, and one function that trains one.

Two families of five sizes, and two policies that think long. The Llama-like family writes tersely, two
operations a step; the Qwen-like one writes a sentence for every operation; the long ones check every
operation and redo what they find wrong. The smaller of these is a Qwen-like policy trained on, as R1's
distilled models are: from nothing it had not learnt to calculate after 25M tokens of long solutions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tts_lab.pretokens import PretokenCache
from tts_lab.problems import training_stream
from tts_lab.solutions import pieces
from tts_lab.tokenizer import build_tokenizer
from tts_lab.train import IGNORE, Example, TrainingConfig, batches, train
from tts_lab.whole import put_folder
from tts_utils.policies import load_checkpoint
from tts_utils.prompts import family_of, prompt_ids


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One policy of the cast: its family, its shape, the register it writes and how long it is trained.

    ``base`` names the policy, of the same family and shape, whose weights it starts from; "" for one that
    starts from nothing.
    """

    name: str
    family: str  # "llama" or "qwen": architecture and tokenizer
    register: str  # see tts_lab.solutions
    hidden: int
    layers: int
    heads: int
    training: TrainingConfig
    seed: int
    base: str = ""


def _training(millions: float, peak_lr: float = 3e-3, **options) -> TrainingConfig:
    return TrainingConfig(int(millions * 1e6), batch_tokens=4096, peak_lr=peak_lr, **options)


POLICIES = (
    PolicySpec("lab-llama-s", "llama", "terse", 32, 4, 4, _training(40, bfloat16=True, stop_loss=0.09), 41),
    PolicySpec("lab-llama-m", "llama", "terse", 40, 4, 4, _training(20), 42),
    PolicySpec("lab-llama-ml", "llama", "terse", 48, 4, 4, _training(22), 45),
    PolicySpec("lab-llama-l", "llama", "terse", 64, 4, 4, _training(30), 43),
    PolicySpec("lab-llama-xl", "llama", "terse", 192, 5, 6, _training(12, 2e-3, bfloat16=True), 44),
    PolicySpec("lab-qwen-s", "qwen", "verbose", 32, 4, 4, _training(32, bfloat16=True, stop_loss=0.16), 51),
    PolicySpec("lab-qwen-m", "qwen", "verbose", 40, 4, 4, _training(20), 52),
    PolicySpec("lab-qwen-ml", "qwen", "verbose", 48, 4, 4, _training(22), 55),
    PolicySpec("lab-qwen-l", "qwen", "verbose", 64, 4, 4, _training(30), 53),
    PolicySpec("lab-qwen-xl", "qwen", "verbose", 192, 5, 6, _training(25, 2e-3, bfloat16=True), 54),
    PolicySpec("lab-long-m", "qwen", "long", 40, 4, 4, _training(15, 2e-3), 62, "lab-qwen-m"),
    PolicySpec("lab-long-l", "qwen", "long", 64, 4, 4, _training(15, 2e-3), 63, "lab-qwen-l"),
)


def policy_examples(tokenizer: PreTrainedTokenizerFast, register: str, seed: int) -> Iterator[Example]:
    """Chat-formatted training problems; the solution and its end are learnt, but not its deliberate slips."""
    rng = np.random.default_rng([seed, 2])
    family = family_of(tokenizer)
    words_of = PretokenCache(tokenizer)
    for problem in training_stream(seed):
        ids = prompt_ids(tokenizer, family, problem)
        targets = [IGNORE] * (len(ids) - 1)
        for piece in pieces(problem, register, rng):
            words = words_of(piece.text, add_special_tokens=False)["input_ids"]
            ids += words
            targets += words if piece.learn else [IGNORE] * len(words)
        yield Example(ids, [*targets, tokenizer.eos_token_id])


def new_model(
    tokenizer: PreTrainedTokenizerFast, family: str, hidden: int, layers: int, heads: int, seed: int
) -> LlamaForCausalLM | Qwen2ForCausalLM:
    """An untrained model of the family's architecture and the given shape."""
    torch.manual_seed(seed)
    config_class, model_class = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen": (Qwen2Config, Qwen2ForCausalLM),
    }[family]
    return model_class(
        config_class(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 8 * 8,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_policy(spec: PolicySpec, folder: Path, device: str, log=print) -> dict:
    """Train one policy and write it, its tokenizer and its training record into ``folder``.

    A policy with a base starts from the weights in the folder beside it; the record's tokens and FLOPs are
    its own, without those that the base had cost.
    """
    tokenizer = build_tokenizer(spec.family)
    if spec.base:
        _, model = load_checkpoint(str(folder.parent / spec.base), device)
    else:
        model = new_model(tokenizer, spec.family, spec.hidden, spec.layers, spec.heads, spec.seed).to(device)
    examples = policy_examples(tokenizer, spec.register, spec.seed)
    record = train(model, batches(examples, spec.training), spec.training, spec.seed, log)
    record |= {"family": spec.family, "register": spec.register, "base": spec.base}
    save_model(model, tokenizer, folder, record)
    return record


def save_model(model, tokenizer: PreTrainedTokenizerFast, folder: Path, record: dict, **files: str) -> None:
    """Write a Hugging Face checkpoint (safetensors, fast tokenizer, chat template) and its record, whole.

    Args:
        model, tokenizer: what is written.
        folder: where.
        record: for ``training.json``.
        files: further JSON files by their names without the ending, and what stands in them.
    """
    if model.can_generate():
        model.generation_config.pad_token_id = tokenizer.pad_token_id

    def write(new: Path) -> None:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for name, content in files.items():
            (new / f"{name}.json").write_text(content + "\n", encoding="utf-8")

    put_folder(folder, write)
