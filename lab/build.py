"""The lab's stages: each makes its files unless they are there, and notes what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lab.checker import check_steps
from lab.labels import label_shards, labelling_cost
from lab.policies import PolicySpec, train_policy
from lab.prms import PRMSpec, train_prm
from lab.problems import test_set, write_problems
from lab.recipe import Recipe
from lab.tokenizer import build_tokenizer
from tts_utils import fill, manifest
from tts_utils.policies import TransformersPolicy, load_policy
from tts_utils.prms import load_prm
from tts_utils.records import SamplingConfig

DATASET = "lab-500"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name, what it is expected to take, whether it is done, and how to do it."""

    name: str
    estimate: str
    is_done: Callable[[], bool]
    make: Callable[[], None]


def stages(recipe: Recipe, data: Path, work: Path, device: str, log=print) -> Iterator[Stage]:
    """All stages in order; each is found done or not when its turn comes."""
    problems = data / "problems" / f"{DATASET}.jsonl"
    yield Stage("problems", "seconds", problems.exists, lambda: _problems(problems, data))
    for spec in recipe.policies:
        folder = data / "models" / spec.name
        yield Stage(
            f"policy {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            (folder / "training.json").exists,
            lambda spec=spec, folder=folder: _policy(spec, folder, data, device, log),
        )
    labels = work / "labels"
    count = recipe.labels.num_shards * len(recipe.label_sources)
    yield Stage(
        "labels",
        f"{count} shards of {recipe.labels.problems_per_shard} problems",
        lambda: len(list(labels.glob("*/shard-*.parquet"))) >= count,
        lambda: make_labels(recipe, data, labels, device, log),
    )
    for spec in recipe.prms:
        folder = data / "models" / spec.name
        yield Stage(
            f"prm {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            (folder / "training.json").exists,
            lambda spec=spec, folder=folder: _prm(
                spec, folder, data, labels, recipe.labels.num_shards, device, log
            ),
        )
    rows = (recipe.limit or 500) * recipe.num_samples
    for spec in recipe.policies:
        yield Stage(
            f"tables {spec.name}",
            f"{rows:,} samples of about 75 tokens, scored and checked",
            lambda: False,  # the store knows best what is missing
            lambda spec=spec: _tables(spec, recipe, data, device, log),
        )


def _problems(path: Path, data: Path) -> None:
    write_problems(test_set(), path)
    manifest.record_files([path], data=data, command="python -m lab build")


def _policy(spec: PolicySpec, folder: Path, data: Path, device: str, log) -> None:
    train_policy(spec, build_tokenizer(), folder, device, log)
    _record_model(folder, data)


def _record_model(folder: Path, data: Path) -> None:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    manifest.record_files(
        sorted(p for p in folder.iterdir() if p.is_file()),
        data=data,
        command="python -m lab build",
        seconds=record["seconds"],
    )


def make_labels(
    recipe: Recipe, data: Path, folder: Path, device: str, log=print, part: int = 0, parts: int = 1
) -> None:
    """Write the missing shards of labels; ``part`` of ``parts`` processes takes every parts-th shard."""
    completer = _load(data, recipe.completer, device)
    for name in recipe.label_sources:
        policy = _load(data, name, device)
        for path in label_shards(policy, completer, folder / name, recipe.labels, part, parts):
            frame = pd.read_parquet(path)
            log(f"{name} {path.name}: {len(frame)} distinct rollouts, {frame['right'].mean():.0%} right")


def _load(data: Path, name: str, device: str) -> TransformersPolicy:
    return load_policy(str(data / "models" / name), device, name=name)


def _prm(spec: PRMSpec, folder: Path, data: Path, labels: Path, num_shards: int, device: str, log) -> None:
    last = f"shard-{num_shards - 1:03d}.parquet"  # of each policy: kept out of training
    shards = {p: pd.read_parquet(p) for p in sorted(labels.glob("*/shard-*.parquet"))}
    frame = pd.concat([f for p, f in shards.items() if p.name != last])
    held_out = pd.concat([f for p, f in shards.items() if p.name == last])
    base = _load(data, spec.base, device)
    cost = labelling_cost(labels)
    train_prm(spec, base.model, base.tokenizer, frame, held_out, cost, folder, device, log)
    _record_model(folder, data)


def _tables(spec: PolicySpec, recipe: Recipe, data: Path, device: str, log) -> None:
    policy = _load(data, spec.name, device)
    greedy = SamplingConfig(temperature=0, max_tokens=recipe.sampling.max_tokens)
    for config, n in ((greedy, 1), (recipe.sampling, recipe.num_samples)):
        filled = fill.fill_samples(
            DATASET, policy, n, config, limit=recipe.limit, data=data, batch_size=512, progress=_progress(log)
        )
        log(f"{filled.path.name}: {filled.added} samples added in {filled.seconds:.0f} s")
        fill.fill_step_labels(filled.table, check_steps, limit=recipe.limit, data=data)
        for prm_spec in recipe.prms:
            prm = load_prm(str(data / "models" / prm_spec.name), device, name=prm_spec.name)
            scored = fill.fill_step_scores(filled.table, prm, limit=recipe.limit, data=data)
            log(f"{prm_spec.name}: {scored.added} samples scored in {scored.seconds:.0f} s")


def _progress(log):
    """Report every tenth of the way."""
    said = [0]

    def progress(done: int, total: int) -> None:
        if done * 10 // total > said[0]:
            said[0] = done * 10 // total
            log(f"  {done:,} of {total:,} samples")

    return progress
