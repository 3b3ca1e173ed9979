"""The lab's policies: their sizes, their training text, and one function that trains one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lab.problems import training_stream
from lab.train import IGNORE, Example, TrainingConfig, train


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One policy of the cast: its shape and how long it is trained."""

    name: str
    hidden: int
    layers: int
    heads: int
    training: TrainingConfig
    seed: int


POLICIES = (
    PolicySpec("lab-llama-s", 40, 4, 4, TrainingConfig(15_000_000, batch_tokens=4096, peak_lr=3e-3), seed=14),
    PolicySpec("lab-llama-l", 48, 4, 4, TrainingConfig(16_000_000, batch_tokens=4096, peak_lr=3e-3), seed=13),
    PolicySpec(
        "lab-llama-xl", 64, 4, 4, TrainingConfig(30_000_000, batch_tokens=4096, peak_lr=3e-3), seed=11
    ),
)


def policy_examples(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Example]:
    """Chat-formatted training problems; only the solution and its end are learnt."""
    for problem in training_stream(seed):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": problem.text}], add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer(problem.solution + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        yield Example((ids + answer)[:-1], [IGNORE] * (len(ids) - 1) + answer)


def new_llama(
    tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int, heads: int, seed: int
) -> LlamaForCausalLM:
    """An untrained Llama of the given shape."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
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


def train_policy(
    spec: PolicySpec, tokenizer: PreTrainedTokenizerFast, folder: Path, device: str, log=print
) -> dict:
    """Train one policy and write it, its tokenizer and its training record into ``folder``."""
    model = new_llama(tokenizer, spec.hidden, spec.layers, spec.heads, spec.seed).to(device)
    record = train(model, policy_examples(tokenizer, spec.seed), spec.training, spec.seed, log)
    save_model(model, tokenizer, folder, record)
    return record


def save_model(model, tokenizer: PreTrainedTokenizerFast, folder: Path, record: dict) -> None:
    """Write a Hugging Face checkpoint (safetensors, fast tokenizer, chat template) and its record."""
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
