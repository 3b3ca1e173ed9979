"""A recipe on many machines: Ray starts the workers, the store shares the work.

Every worker runs the same recipe on the same data directory. A table is cut into blocks that depend on the
command only, a worker claims a block before it computes it, and a block of a worker that died is free again;
so the table is the one that a single process makes, whoever made which row. The directory must lie on a file
system that all workers see and that knows file locks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tts_utils.problems import load_problems
from tts_utils.progress import Progress
from tts_utils.protocols import BackendError
from tts_utils.recipes import Recipe
from tts_utils.recipes.plan import jobs

RETRIES = 3
"""How often Ray starts a worker again that died."""
LOOK = 20.0
"""Seconds between looks at what is stored."""


def run_on_ray(
    recipe: Recipe,
    *,
    data: Path,
    workers: int,
    address: str | None = None,
    gpus: float = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Fill every table of a recipe with several workers; returns when all of them have nothing left to do.

    Args:
        recipe: the recipe; the models it names are loaded by every worker.
        data: the data directory, on a file system that all workers see.
        workers: how many.
        address: of a running cluster, such as "auto"; None starts Ray on this machine.
        gpus: GPUs of each worker.
        say: receives a line when a worker has finished.

    Raises:
        BackendError: Ray is not installed or does not start, there is no cluster at the address, or this
            machine lacks the GPUs that a worker asks for; or a worker failed with an error of its own, which
            the message holds. What was finished is stored.
    """
    if workers < 1:
        raise BackendError(f"workers must be at least 1, got {workers}")
    say(f"{recipe.name}: {'asking the Ray cluster at ' + address if address else 'starting Ray here'}")
    with Progress("row", title=recipe.name, say=say) as progress:
        ray = _started(workers, address)
        try:
            say(_room(ray.cluster_resources(), workers, gpus, address))
            task = ray.remote(num_gpus=gpus, max_retries=RETRIES)(_work)
            waiting: list[Any] = [task.remote(recipe, str(data)) for _ in range(workers)]
            num_problems = len(load_problems(recipe.dataset, data=data))
            while waiting:
                finished, waiting = ray.wait(waiting, num_returns=1, timeout=LOOK)
                for worker in finished:
                    say(f"a worker has finished, {len(waiting)} at work; it filled {ray.get(worker)} tables")
                todo = jobs(recipe, num_problems, data)
                progress(sum(job.stored for job in todo), sum(job.wanted for job in todo))
        except ray.exceptions.RayError as exc:
            raise BackendError(f"a worker failed: {getattr(exc, 'cause', None) or exc}") from exc
        finally:
            ray.shutdown()


def _started(workers: int, address: str | None):
    """Ray, once it runs."""
    try:
        import ray
    except ModuleNotFoundError as exc:
        raise BackendError(
            'several machines need Ray, which is not installed: pip install "tts-utils[cluster]"'
        ) from exc
    # Ray runs no more tasks at once than a machine has cores; here as many run as are asked for.
    here = {} if address else {"num_cpus": max(workers, os.cpu_count() or 1)}
    try:
        ray.init(address=address or "local", log_to_driver=False, include_dashboard=False, **here)
    except Exception as exc:  # ConnectionError, and a plain Exception where starting takes it too long
        what = f"there is no Ray cluster at {address!r}" if address else "Ray does not start on this machine"
        raise BackendError(f"{what}: {exc}") from exc
    return ray


def _room(has: Mapping[str, float], workers: int, gpus: float, address: str | None) -> str:
    """How many workers a cluster can run at once, in words; BackendError where this machine can run none."""
    room = int(min(has.get("CPU", 0), has.get("GPU", 0) / gpus if gpus else workers))
    if room >= workers:
        return f"{workers} workers are starting"
    there = f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g}"
    lacks = f"each asks for a core and {gpus:g} GPUs, and there are {there}"
    if room < 1 and not address:
        raise BackendError(f"no worker can start: {lacks}; leave --gpus out, or see tts doctor")
    return f"{max(room, 0)} of {workers} workers are starting, the others when there is room: {lacks}"


def _work(recipe: Recipe, data: str) -> int:
    """What a worker does: the whole recipe, of which the others leave it a part."""
    from tts_utils.recipes.run import run

    return len(run(recipe, data=Path(data)))
