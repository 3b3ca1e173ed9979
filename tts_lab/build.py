"""The lab's stages: each makes its files unless they are there, and notes what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from tts_lab import estimate
from tts_lab.checker import check_steps
from tts_lab.labels import label_shards, labelling_cost, read_shard, shard_paths, shards
from tts_lab.memory import RememberingPolicy, RememberingPRM, RoundingPRM
from tts_lab.policies import PolicySpec, train_policy
from tts_lab.prms import PRMSpec, train_prm
from tts_lab.problems import datasets, write_problems
from tts_lab.recipe import Recipe
from tts_lab.whole import files_of, forget, is_folder_recorded, is_recorded, record
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
    """One stage: its name, how much it is, how many seconds it will take, whether it is done, how to do it.

    ``seconds`` measures a small part of the stage on this machine; see :mod:`tts_lab.estimate`.
    """

    name: str
    size: str
    seconds: Callable[[], float]
    is_done: Callable[[], bool]
    make: Callable[[], None]


def stages(recipe: Recipe, data: Path, device: str, log=print) -> Iterator[Stage]:
    """All stages in order; each is found done or not when its turn comes."""
    problems = data / "problems"
    sets = [problems / f"{name}.jsonl" for name in recipe.num_samples]
    yield Stage(
        "problems",
        f"{len(sets)} test sets",
        lambda: 10.0,
        lambda: is_recorded(sets, data),
        lambda: _problems(sets, data),
    )
    for spec in recipe.policies:
        folder = data / "models" / spec.name
        yield Stage(
            f"policy {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            lambda spec=spec: estimate.policy(spec, data / "models", device),
            lambda folder=folder: is_folder_recorded(folder, data),
            lambda spec=spec, folder=folder: _policy(spec, folder, data, device, log),
        )
    for name in recipe.completers:
        wanted = shard_paths(data, name, recipe.labels)
        yield Stage(
            f"labels {name}",
            f"{recipe.labels.num_shards} shards of {recipe.labels.problems_per_shard} problems",
            lambda name=name: _labelling_seconds(recipe, name, data, device),
            lambda wanted=wanted: is_recorded(_with_costs(wanted), data),
            lambda name=name: make_labels(recipe, name, data, device, log),
        )
    for spec in recipe.prms:
        folder = data / "models" / spec.name
        yield Stage(
            f"prm {spec.name}",
            f"{spec.training.num_tokens / 1e6:.1f}M tokens",
            lambda spec=spec: _prm_seconds(spec, data, device),
            lambda folder=folder: is_folder_recorded(folder, data),
            lambda spec=spec, folder=folder: _prm(spec, folder, data, device, log),
        )
    for spec in recipe.policies:
        for dataset, n in recipe.num_samples.items():
            if spec not in recipe.policies_of(dataset):
                continue
            judges = recipe.judges_of(spec, dataset)
            count = _count(problems / f"{dataset}.jsonl", recipe)
            make = partial(_tables, spec, dataset=dataset, data=data, device=device)
            yield Stage(
                f"tables {spec.name} {dataset}",
                f"{count * n:,} samples, scored by {len(judges)} PRMs and checked",
                lambda make=make, count=count: estimate.share(partial(make, log=_silent), recipe, count),
                lambda: False,  # the store knows best what is missing
                partial(make, recipe, log=log),
            )
    for spec in recipe.policies:
        judges = recipe.prms_of(spec)
        for dataset in recipe.num_samples:
            searches_of_one = sum(len(recipe.grid(dataset, spec.name, prm.name)) for prm in judges)
            if not searches_of_one:
                continue
            count = _count(problems / f"{dataset}.jsonl", recipe)
            make = partial(_searches, spec, dataset=dataset, data=data, device=device)
            yield Stage(
                f"searches {spec.name} {dataset}",
                f"{count} problems, {searches_of_one} searches",
                lambda make=make, count=count: estimate.share(partial(make, log=_silent), recipe, count),
                lambda: False,
                partial(make, recipe, log=log),
            )


def _silent(line: str) -> None:
    pass


def _count(path: Path, recipe: Recipe) -> int:
    """How many of a test set's problems are used."""
    size = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    return min(size, recipe.limit or size)


def _problems(paths: Sequence[Path], data: Path) -> None:
    sets = datasets()
    forget(paths, data)
    for path in paths:
        write_problems(sets[path.stem], path)
    record(paths, data, COMMAND)


def _policy(spec: PolicySpec, folder: Path, data: Path, device: str, log) -> None:
    if not (folder / "training.json").exists():
        _forget_model(folder, data)
        train_policy(spec, folder, device, log)
    _record_model(folder, data)


def _forget_model(folder: Path, data: Path) -> None:
    below = f"{folder.relative_to(data).as_posix()}/"
    forget([data / name for name in manifest.load(data) if name.startswith(below)], data)


def _record_model(folder: Path, data: Path) -> None:
    seconds = json.loads((folder / "training.json").read_text(encoding="utf-8"))["seconds"]
    record(files_of(folder), data, COMMAND, seconds=seconds)


def _with_costs(shards: Sequence[Path]) -> list[Path]:
    """The shards, each with the file of what it cost."""
    return [path for shard in shards for path in (shard, shard.with_suffix(".json"))]


def make_labels(
    recipe: Recipe, name: str, data: Path, device: str, log=print, part: int = 0, parts: int = 1
) -> None:
    """Write the missing shards of labels of one policy's rollouts.

    ``part`` of ``parts`` processes takes every parts-th shard.
    """
    completer = _load(data, recipe.completers[name], device)
    policy = _load(data, name, device)
    forget(_with_costs([p for p in shard_paths(data, name, recipe.labels) if not p.exists()]), data)
    record(_with_costs(shards(data, name)), data, COMMAND)
    for path in label_shards(policy, completer, data / "labels" / name, recipe.labels, part, parts):
        frame = read_shard(path, data)
        log(f"{name} {path.name}: {len(frame)} distinct rollouts, {frame['right'].mean():.0%} right")
        record(_with_costs([path]), data, COMMAND)


def _labelling_seconds(recipe: Recipe, name: str, data: Path, device: str) -> float:
    completer, policy = _load(data, recipe.completers[name], device), _load(data, name, device)
    return estimate.labels(policy, completer, recipe.labels)


def _load(data: Path, name: str, device: str) -> TransformersPolicy:
    return load_policy(str(data / "models" / name), device, name=name)


def _load_prm(data: Path, name: str, device: str) -> TransformersPRM:
    return load_prm(str(data / "models" / name), device, name=name)


def _is_trained(data: Path, spec: PRMSpec, log) -> bool:
    there = (data / "models" / spec.name / "training.json").exists()
    if not there:
        log(f"{spec.name} is not trained yet: run this stage again when it is")
    return there


def _prm(spec: PRMSpec, folder: Path, data: Path, device: str, log) -> None:
    if not (folder / "training.json").exists():
        _forget_model(folder, data)
        used, held_out = _rollouts(spec, data)
        base = _load(data, spec.base, device)
        cost = labelling_cost(data, spec.sources)
        train_prm(spec, base.model, base.tokenizer, used, held_out, cost, folder, device, log)
    _record_model(folder, data)


def _rollouts(spec: PRMSpec, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The labelled rollouts of a PRM's sources: to train on, and the last shard of each, held out."""
    frames, held_out = [], []
    for name in spec.sources:
        *others, last = (read_shard(path, data) for path in shards(data, name))
        frames += others
        held_out.append(last)
    return pd.concat(frames), pd.concat(held_out)


def _prm_seconds(spec: PRMSpec, data: Path, device: str) -> float:
    base = _load(data, spec.base, device)
    return estimate.prm(spec, base.model, base.tokenizer, _rollouts(spec, data)[0], device)


def _tables(spec: PolicySpec, recipe: Recipe, *, dataset: str, data: Path, device: str, log) -> None:
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
        for prm_spec in recipe.judges_of(spec, dataset):
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


def _searches(spec: PolicySpec, recipe: Recipe, *, dataset: str, data: Path, device: str, log) -> None:
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
