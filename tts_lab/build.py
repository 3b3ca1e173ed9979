"""The lab's stages: each makes its files unless they are there, and notes what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tts_lab.checker import check_steps
from tts_lab.labels import label_shards, labelling_cost
from tts_lab.memory import RememberingPolicy, RememberingPRM, RoundingPRM
from tts_lab.policies import PolicySpec, train_policy
from tts_lab.prms import PRMSpec, train_prm
from tts_lab.problems import datasets, write_problems
from tts_lab.recipe import Recipe
from tts_utils.policies import load_policy
from tts_utils.policies.transformers import TransformersPolicy
from tts_utils.prms import load_prm
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.problems import load_problems
from tts_utils.store import files as table_files
from tts_utils.store import fill, manifest, searches
from tts_utils.store.tables import Table

COMMAND = "python -m tts_lab build"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name, what it is expected to take, whether it is done, and how to do it."""

    name: str
    estimate: str
    is_done: Callable[[], bool]
    make: Callable[[], None]


def stages(recipe: Recipe, data: Path, device: str, log=print) -> Iterator[Stage]:
    """All stages in order; each is found done or not when its turn comes."""
    problems = data / "problems"
    yield Stage(
        "problems",
        "seconds",
        lambda: all((problems / f"{name}.jsonl").exists() for name in recipe.num_samples),
        lambda: _problems(problems, data),
    )
    for spec in recipe.policies:
        folder = data / "models" / spec.name
        yield Stage(
            f"policy {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            (folder / "training.json").exists,
            lambda spec=spec, folder=folder: _policy(spec, folder, data, device, log),
        )
    labels = data / "labels"
    for name in recipe.completers:
        yield Stage(
            f"labels {name}",
            f"{recipe.labels.num_shards} shards of {recipe.labels.problems_per_shard} problems",
            lambda name=name: len(_shards(labels, name)) >= recipe.labels.num_shards,
            lambda name=name: make_labels(recipe, name, data, labels, device, log),
        )
    for spec in recipe.prms:
        folder = data / "models" / spec.name
        yield Stage(
            f"prm {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            (folder / "training.json").exists,
            lambda spec=spec, folder=folder: _prm(spec, folder, data, labels, device, log),
        )
    for spec in recipe.policies:
        judges = recipe.prms_of(spec)
        for dataset, n in recipe.num_samples.items():
            if spec not in recipe.policies_of(dataset):
                continue
            rows = _count(problems / f"{dataset}.jsonl", recipe) * n
            yield Stage(
                f"tables {spec.name} {dataset}",
                f"{rows:,} samples, scored by {len(judges)} PRMs and checked",
                lambda: False,  # the store knows best what is missing
                lambda spec=spec, dataset=dataset: _tables(spec, recipe, dataset, data, device, log),
            )
    for spec in recipe.policies:
        judges = recipe.prms_of(spec)
        for dataset in recipe.num_samples:
            count = sum(len(recipe.grid(dataset, spec.name, prm.name)) for prm in judges)
            if not count:
                continue
            yield Stage(
                f"searches {spec.name} {dataset}",
                f"{_count(problems / f'{dataset}.jsonl', recipe)} problems, {count} searches",
                lambda: False,
                lambda spec=spec, dataset=dataset: _searches(spec, recipe, dataset, data, device, log),
            )


def _count(path: Path, recipe: Recipe) -> int:
    """How many of a test set's problems are used."""
    size = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    return min(size, recipe.limit or size)


def _problems(folder: Path, data: Path) -> None:
    paths = []
    for name, problems in datasets().items():
        paths.append(folder / f"{name}.jsonl")
        write_problems(problems, paths[-1])
    manifest.record_files(paths, data=data, command=COMMAND)


def _policy(spec: PolicySpec, folder: Path, data: Path, device: str, log) -> None:
    train_policy(spec, folder, device, log)
    _record_model(folder, data)


def _record_model(folder: Path, data: Path) -> None:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    manifest.record_files(
        sorted(p for p in folder.iterdir() if p.is_file()),
        data=data,
        command=COMMAND,
        seconds=record["seconds"],
    )


def _shards(labels: Path, name: str) -> list[Path]:
    return sorted((labels / name).glob("shard-*.parquet"))


def make_labels(
    recipe: Recipe, name: str, data: Path, folder: Path, device: str, log=print, part: int = 0, parts: int = 1
) -> None:
    """Write the missing shards of labels of one policy's rollouts.

    ``part`` of ``parts`` processes takes every parts-th shard.
    """
    completer = _load(data, recipe.completers[name], device)
    policy = _load(data, name, device)
    for path in label_shards(policy, completer, folder / name, recipe.labels, part, parts):
        frame = pd.read_parquet(path)
        log(f"{name} {path.name}: {len(frame)} distinct rollouts, {frame['right'].mean():.0%} right")
        manifest.record_files([path, path.with_suffix(".json")], data=data, command=COMMAND)


def _load(data: Path, name: str, device: str) -> TransformersPolicy:
    return load_policy(str(data / "models" / name), device, name=name)


def _load_prm(data: Path, name: str, device: str) -> TransformersPRM:
    return load_prm(str(data / "models" / name), device, name=name)


def _is_trained(data: Path, spec: PRMSpec, log) -> bool:
    there = (data / "models" / spec.name / "training.json").exists()
    if not there:
        log(f"{spec.name} is not trained yet: run this stage again when it is")
    return there


def _prm(spec: PRMSpec, folder: Path, data: Path, labels: Path, device: str, log) -> None:
    frames, held_out = [], []
    for name in spec.sources:
        *shards, last = map(pd.read_parquet, _shards(labels, name))  # the last is kept out of training
        frames += shards
        held_out.append(last)
    base = _load(data, spec.base, device)
    cost = labelling_cost([labels / name for name in spec.sources])
    train_prm(
        spec, base.model, base.tokenizer, pd.concat(frames), pd.concat(held_out), cost, folder, device, log
    )
    _record_model(folder, data)


def _tables(spec: PolicySpec, recipe: Recipe, dataset: str, data: Path, device: str, log) -> None:
    policy = RememberingPolicy(_load(data, spec.name, device))
    sampling = recipe.sampling_of(spec)
    problems = load_problems(dataset, data=data)
    others = [other for other in recipe.num_samples if other != dataset]
    for config, n in ((replace(sampling, temperature=0), 1), (sampling, recipe.num_samples[dataset])):
        for table in _stored([Table("samples", other, spec.name, config) for other in others], data):
            policy.recall(table, problems, data)
        filled = fill.fill_samples(
            dataset, policy, n, config, limit=recipe.limit, data=data, batch_size=512, progress=_progress(log)
        )
        log(f"{filled.path.name}: {filled.added} samples added in {filled.seconds:.0f} s")
        fill.fill_step_labels(filled.table, check_steps, limit=recipe.limit, data=data)
        for prm_spec in recipe.prms_of(spec):
            if not _is_trained(data, prm_spec, log):
                continue
            prm = RememberingPRM(_load_prm(data, prm_spec.name, device))
            scores = [Table("step_scores", other, spec.name, config, prm=prm.name) for other in others]
            for table in _stored(scores, data):
                prm.recall(table, problems, data)
            scored = fill.fill_step_scores(filled.table, RoundingPRM(prm), limit=recipe.limit, data=data)
            log(f"{prm_spec.name}: {scored.added} samples scored in {scored.seconds:.0f} s")


def _stored(tables: Sequence[Table], data: Path) -> list[Table]:
    return [table for table in tables if table_files.stored_rows(table, data)]


def _searches(spec: PolicySpec, recipe: Recipe, dataset: str, data: Path, device: str, log) -> None:
    policy = RememberingPolicy(_load(data, spec.name, device))
    for prm_spec in recipe.prms_of(spec):
        if not _is_trained(data, prm_spec, log):
            continue
        prm = RememberingPRM(_load_prm(data, prm_spec.name, device))
        for search in recipe.grid(dataset, spec.name, prm_spec.name):
            filled = searches.fill_searches(
                dataset,
                policy,
                prm,
                search,
                recipe.sampling_of(spec),
                limit=recipe.limit,
                data=data,
                progress=_progress(log),
            )
            log(f"{filled.path.name}: {filled.added} nodes added in {filled.seconds:.0f} s")


def _progress(log):
    """Report every tenth of the way."""
    said = [0]

    def progress(done: int, total: int) -> None:
        if done * 10 // total > said[0]:
            said[0] = done * 10 // total
            log(f"  {done:,} of {total:,}")

    return progress
