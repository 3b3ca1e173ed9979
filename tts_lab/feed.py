"""Training batches made by worker processes, so that a GPU need not wait for the tokenizer."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context

import numpy as np
import torch

from tts_lab.train import Batch, Example, TrainingConfig, batches

AHEAD = 8  # batches that each worker may be ahead
PATIENCE = 5.0  # seconds between two looks at whether a worker is still alive


def fed(
    make: Callable[[int], Iterator[Example]], seeds: Sequence[int], config: TrainingConfig
) -> Iterator[Batch]:
    """Batches from one process per seed, taken in turn: the same ones however fast each of them is.

    Args:
        make: ``seed -> examples``, endless; it is sent to the processes.
        seeds: one per process.
        config: how large the batches are.

    Raises:
        RuntimeError: a process ended; what it said stands above.
    """
    context = get_context("spawn")  # a fork would copy a GPU's state
    queues = [context.Queue(AHEAD) for _ in seeds]
    workers = [
        context.Process(target=_work, args=(made, make, seed, config), daemon=True)
        for made, seed in zip(queues, seeds, strict=True)
    ]
    try:
        for worker in workers:
            worker.start()
        while True:
            for made, worker in zip(queues, workers, strict=True):
                yield tuple(torch.from_numpy(field.astype(np.int64)) for field in _next(made, worker))
    finally:
        for worker in workers:
            worker.terminate()


def _work(made, make: Callable[[int], Iterator[Example]], seed: int, config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    for batch in batches(make(seed), config):
        made.put([field.numpy().astype(np.int16) for field in batch])


def _next(made, worker) -> list[np.ndarray]:
    while True:
        try:
            return made.get(timeout=PATIENCE)
        except queue.Empty:
            if not worker.is_alive():
                raise RuntimeError(
                    f"a worker that makes training examples ended ({worker.exitcode})"
                ) from None
