"""A recipe on many machines: Ray starts the workers, the store shares the work.

Every worker runs the same recipe on the same data directory. A table is cut into blocks that depend on the
command only, a worker claims a block before it computes it, and a block of a worker that died is free again;
so the table is the one that a single process makes, whoever made which row. The directory must lie on a file
system that all workers see and that knows file locks.
"""

from __future__ import annotations

from collections.abc import Callable
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
        BackendError: Ray is not installed or there is no cluster at the address; or a worker failed with an
            error of its own, which the message holds. What was finished is stored.
    """
    if workers < 1:
        raise BackendError(f"workers must be at least 1, got {workers}")
    try:
        import ray
    except ModuleNotFoundError as exc:
        raise BackendError(
            'several machines need Ray, which is not installed: pip install "tts-utils[cluster]"'
        ) from exc
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except ConnectionError as exc:
        raise BackendError(f"there is no Ray cluster at {address!r}: {exc}") from exc
    try:
        task = ray.remote(num_gpus=gpus, max_retries=RETRIES)(_work)
        waiting: list[Any] = [task.remote(recipe, str(data)) for _ in range(workers)]
        say(f"{workers} workers are starting")
        num_problems = len(load_problems(recipe.dataset, data=data))
        with Progress("row", title=recipe.name, say=say) as progress:
            while waiting:
                finished, waiting = ray.wait(waiting, num_returns=1, timeout=LOOK)
                for worker in finished:
                    say(f"a worker has finished, {len(waiting)} at work; it filled {ray.get(worker)} tables")
                todo = jobs(recipe, num_problems, data)
                progress(sum(job.stored for job in todo), sum(job.wanted for job in todo))
    except ray.exceptions.RayError as exc:
        raise BackendError(f"a worker failed: {exc}") from exc
    finally:
        ray.shutdown()


def _work(recipe: Recipe, data: str) -> int:
    """What a worker does: the whole recipe, of which the others leave it a part."""
    from tts_utils.recipes.run import run

    return len(run(recipe, data=Path(data)))
