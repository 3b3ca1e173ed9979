"""How long a stage will take, from a small part of it done on this machine.

Training: a few steps on a copy of the model. Labels: a few problems, thrown away. Tables and searches: the
first problems of the set, which stay; a larger batch is quicker, so a tenth of the set is measured.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd

from tts_lab.labels import LabelConfig, lost_from, rollouts
from tts_lab.policies import PolicySpec, new_model, policy_examples
from tts_lab.prms import PRMSpec, prm_model, prm_training_examples
from tts_lab.problems import training_stream
from tts_lab.recipe import Recipe
from tts_lab.tokenizer import build_tokenizer
from tts_lab.train import Batch, TrainingConfig, batches, train, words_only

STEPS = 4  # training steps that are measured, behind as many that are not
# What compiling leaves of a step's time on a CPU: .55 was seen on an AMD EPYC, .98 (lab-qwen-l) and 1.15
# (lab-llama-m, steps 300 to 600 of each) on an Intel Xeon. Between them, it is within a factor of two.
FUSED = 0.8
COMPILING = 60.0  # seconds
SHARE = 10  # one problem in so many is searched first
LABELLED = 16  # problems


def policy(spec: PolicySpec, models: Path, device: str) -> float:
    """Seconds to train a policy."""
    tokenizer = build_tokenizer(spec.family)
    model = new_model(tokenizer, spec.family, spec.hidden, spec.layers, spec.heads, spec.seed).to(device)
    return training(
        model, batches(policy_examples(tokenizer, spec.register, 0), spec.training), spec.training
    )


def prm(spec: PRMSpec, base, tokenizer, labels: pd.DataFrame, device: str) -> float:
    """Seconds to train a PRM; its examples are made by as many processes as it has workers."""
    model, outputs = prm_model(spec, copy.deepcopy(base), tokenizer)
    data = batches(prm_training_examples(spec, tokenizer, labels)(0), spec.training)
    return training(model.to(device), data, spec.training, outputs)


def training(model, data: Iterator[Batch], config: TrainingConfig, outputs: Callable = words_only) -> float:
    """Seconds of a training run, from a few steps of a copy without compiling."""
    ready = list(islice(data, 2 * STEPS))
    tokens = sum(int((batch[0] != 0).sum()) for batch in ready[STEPS:])
    still = replace(config, num_tokens=10**15, compiled=False)
    model = copy.deepcopy(model)
    train(model, iter(ready[:STEPS]), still, 0, _silent, outputs)
    began = time.perf_counter()
    train(model, iter(ready[STEPS:]), still, 0, _silent, outputs)
    seconds = (time.perf_counter() - began) / tokens * config.num_tokens
    on_cpu = next(model.parameters()).device.type == "cpu"
    compiled = config.compiled and on_cpu and shutil.which("c++") is not None
    return COMPILING + FUSED * seconds if compiled else seconds


def labels(writer, completer, config: LabelConfig) -> float:
    """Seconds to label all shards."""
    problems = list(islice(training_stream(config.seed), min(LABELLED, config.problems_per_shard)))
    began = time.perf_counter()
    lost_from(problems, rollouts(problems, writer, config), completer, config)
    total = config.num_shards * config.problems_per_shard
    return (time.perf_counter() - began) / len(problems) * total


def share(make: Callable[[Recipe], None], recipe: Recipe, count: int) -> float:
    """Seconds of all problems of a test set, from the first of them; what they give is kept.

    Doing these again finds nothing missing, and so takes what does not grow with the problems.
    """
    first = max(1, count // SHARE)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        make(replace(recipe, limit=first))
        seconds.append(time.perf_counter() - began)
    return seconds[1] + max(0.0, seconds[0] - seconds[1]) * count / first


def _silent(line: str) -> None:
    pass
