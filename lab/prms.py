"""Train the lab's Math-Shepherd PRM: "+" or "-" at the tag behind every step, from Monte-Carlo labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lab.policies import save_model
from lab.problems import training_stream
from lab.train import Example, TrainingConfig, train
from tts_utils.mdp import split_steps
from tts_utils.prms import math_shepherd_text
from tts_utils.records import Problem, State


@dataclass(frozen=True, slots=True)
class PRMSpec:
    """One PRM of the cast: the policy it starts from, the layers put on top, and its training."""

    name: str
    base: str
    fresh_layers: int
    training: TrainingConfig
    clean: float  # fraction of the sequences that are solutions of the training stream
    seed: int


PRMS = (
    PRMSpec(
        "lab-math-shepherd",
        base="lab-llama-xl",
        fresh_layers=2,
        training=TrainingConfig(30_000_000, batch_tokens=4096, peak_lr=1.5e-3, lm_weight=0.3),
        clean=0.15,
        seed=31,
    ),
)


def with_fresh_layers(base: LlamaForCausalLM, count: int, seed: int) -> LlamaForCausalLM:
    """A copy of the model with ``count`` new layers on top that change nothing until they are trained."""
    config = base.config.to_dict()
    config["num_hidden_layers"] += count
    config.pop("layer_types", None)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(type(base.config)(**config))
    model.load_state_dict(base.state_dict(), strict=False)
    for layer in model.model.layers[len(base.model.layers) :]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def prm_example(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, first_lost: int, ids: tuple[int, int, int]
) -> Example:
    """One labelled rollout: "+" up to the step that loses it, "-" from there; its words up to there too."""
    good, bad, tag = ids
    state = State(Problem("", question, "0"), split_steps(text))
    tokens = tokenizer(math_shepherd_text(state))["input_ids"]
    targets = [*tokens[1:], -100]
    start = len(tokenizer(question)["input_ids"])
    step = 0
    for t, token in enumerate(tokens):
        if token == tag:
            targets[t] = good if step < first_lost else bad
            step += 1
        elif t < start - 1 or step >= first_lost or targets[t] == tag:
            targets[t] = -100  # the question, the words of lost steps, and the tag itself are not learnt
    return tokens, targets


def prm_examples(
    tokenizer: PreTrainedTokenizerFast, labels: pd.DataFrame, clean: float, seed: int
) -> Iterator[Example]:
    """Labelled rollouts, drawn so that wrong ones come as often as right ones, and clean solutions.

    A problem's rollouts all stay in: what tells them apart is what the PRM has to learn.
    """
    ids = tuple(tokenizer.encode(w, add_special_tokens=False)[-1] for w in ("+", "-", "ки"))
    rng = np.random.default_rng(seed)
    stream = training_stream(seed)
    steps = labels["text"].map(lambda text: len(split_steps(text)))
    lost = (labels["first_lost"] < steps).to_numpy()
    share = lost.mean()
    weights = np.where(lost, 0.5 / share, 0.5 / (1 - share))
    rows = list(zip(labels["question"], labels["text"], labels["first_lost"], strict=True))
    while True:
        for i in rng.choice(len(rows), size=len(rows), p=weights / weights.sum()):
            if rng.random() < clean:
                p = next(stream)
                yield prm_example(tokenizer, p.text, p.solution, len(split_steps(p.solution)), ids)
            yield prm_example(tokenizer, *rows[i], ids)


def train_prm(
    spec: PRMSpec,
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    labels: pd.DataFrame,
    labels_cost: dict,
    folder: Path,
    device: str,
    log=print,
) -> dict:
    """Train one PRM and write it into ``folder`` with the marker that names its format."""
    model = with_fresh_layers(base, spec.fresh_layers, spec.seed).to(device)
    label_ids = tuple(tokenizer.encode(w, add_special_tokens=False)[-1] for w in ("+", "-"))
    examples = prm_examples(tokenizer, labels, spec.clean, spec.seed)
    record = train(model, examples, spec.training, spec.seed, log, label_ids)
    record |= {"base": spec.base, "clean": spec.clean, "labels": labels_cost}
    save_model(model, tokenizer, folder, record)
    (folder / "tts_prm.json").write_text(json.dumps({"format": "math-shepherd"}) + "\n", encoding="utf-8")
    return record
