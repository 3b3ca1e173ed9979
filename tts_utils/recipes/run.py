"""Do what a recipe's plan lists: one table at a time, resumable, with a word at least every half minute."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tts_utils import devices, policies, prms, store
from tts_utils.data_folder import dataset_name
from tts_utils.devices import Device
from tts_utils.problems import load_problems
from tts_utils.progress import Progress
from tts_utils.protocols import PRM, Policy
from tts_utils.recipes import Model, Recipe
from tts_utils.recipes.memory import Load, beside, check, loads
from tts_utils.recipes.plan import Job, jobs
from tts_utils.recipes.shapes import shape_of
from tts_utils.records import Problem
from tts_utils.store.tables import Table


class Loaded:
    """The models that are loaded: one policy and one PRM at most, each until another one is asked for."""

    def __init__(
        self,
        load_policy: Callable[..., Policy] = policies.load_policy,
        load_prm: Callable[..., PRM] = prms.load_prm,
    ) -> None:
        self._load = {"policy": load_policy, "prm": load_prm}
        self._held: dict[str, tuple[Model, Any]] = {}

    def get(self, kind: str, model: Model) -> Any:
        """The policy or PRM of a recipe, loaded unless it is the one that is held."""
        if kind in self._held and self._held[kind][0] == model:
            return self._held[kind][1]
        self.drop(kind)  # no name here may hold it on while the next one is loaded
        facts = {"backend": model.backend, "name": model.label, **model.options}
        if kind == "policy" and model.server_urls:
            from tts_utils.policies.fleet import Fleet

            members = [self._load[kind](model.source, server_url=url, **facts) for url in model.server_urls]
            loaded = members[0] if len(members) == 1 else Fleet(members)
        else:
            loaded = self._load[kind](model.source, **facts)
        self._held[kind] = (model, loaded)
        return loaded

    def make_room(self, job: Job, device: Device) -> None:
        """Let go of what a job does not use, unless it fits beside what the job uses."""
        used = loads([job])
        for kind, (model, _) in list(self._held.items()):
            held = Load(kind, model, shape_of(model.source), job.config)
            if all(load.model != model for load in used.values()) and not beside(
                (held, *used.values()), device
            ):
                self.drop(kind)

    def drop(self, kind: str) -> None:
        """Let go of a model and of the GPU memory it takes."""
        if self._held.pop(kind, None):
            gc.collect()
            _empty_cache()


def run(
    recipe: Recipe,
    *,
    data: Path,
    say: Callable[[str], None] = print,
    loaded: Loaded | None = None,
    only: Callable[[Job], bool] = lambda job: True,
    problems: Sequence[Problem] | None = None,
    device: Device | None = None,
) -> list[Job]:
    """Fill every table of a recipe that is not whole, and return the jobs that were done.

    Args:
        recipe: the recipe.
        data: the data directory that is written to.
        say: receives lines of progress.
        loaded: the models; None loads them as the recipe says.
        only: which jobs to do.
        problems: the whole data set, if it is already loaded.
        device: whose memory decides which models are loaded side by side; None looks.

    Raises:
        TooLittleMemory: a model, or a pair that searches need, does not fit; nothing was loaded.
        StoreError, UnknownModel, BackendError and the like: as the functions that fill a table. What was
        finished before is stored; the same recipe goes on from there.
    """
    loaded = loaded or Loaded()
    with Progress(title=recipe.name, say=say):  # rows of many large tables are counted
        problems = load_problems(recipe.dataset, data=data) if problems is None else problems
        device = device or devices.found()
        todo = [job for job in jobs(recipe, len(problems), data) if not job.is_done and only(job)]
        check(todo, device)
    done = []
    for job in todo:
        loaded.make_room(job, device)
        say(f"{job.title}: {job.missing:,} of {job.wanted:,} to do")
        with Progress("tree" if job.search else "row", title=job.title, say=say) as progress:
            filled = _fill(job, recipe, loaded, problems, data, progress)
        say(f"{job.title}: {filled.added:,} rows in {filled.seconds:.0f} s, {filled.path.name}")
        done.append(job)
    return done


def _fill(
    job: Job, recipe: Recipe, loaded: Loaded, problems: Sequence[Problem], data: Path, progress: Progress
) -> store.Filled:
    where: dict[str, Any] = {"problems": problems, "limit": recipe.limit, "data": data, "progress": progress}
    if job.prm is None:
        policy = loaded.get("policy", job.policy)
        return store.fill_samples(recipe.dataset, policy, job.count, job.config, **where)
    if job.search is None:
        name = job.policy.called
        samples = Table("samples", dataset_name(recipe.dataset), name, job.config)
        return store.fill_step_scores(samples, loaded.get("prm", job.prm), **where)
    policy, prm = loaded.get("policy", job.policy), loaded.get("prm", job.prm)
    return store.fill_searches(recipe.dataset, policy, prm, job.search, job.config, **where)


def _empty_cache() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
