"""Particle filtering: sequential Monte Carlo over steps, with a PRM's scores as weights.

N particles take one step each, the PRM scores the paths, and N paths are drawn from them in proportion to
their scores, with repetition: a good path goes on in several copies, a poor one dies out, but by chance and
not by rank. A particle that has ended keeps its last score and takes part in every later draw, as in the code
of its_hub. Once all have ended there is no further draw: their last scores are left for the vote to weigh.
A step that was cut by the token limit, or a path longer than the PRM reads, has the weight 0.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tts_utils import mdp
from tts_utils.records import Problem, StepScores
from tts_utils.search import Method
from tts_utils.tree_search.growing import RETRIES, Found, Path, Tree, expand, judge, read, scored

if TYPE_CHECKING:
    from tts_utils.tree_search.settings import TreeSearch

RESAMPLING = ("systematic", "multinomial")


def effective_size(weights: ArrayLike) -> float:
    """How many particles of equal weight say as much: squared sum over sum of squares; 0 without any.

    >>> effective_size([1, 1, 1, 1]), effective_size([1, 0, 0, 0]), effective_size([3, 1])
    (4.0, 1.0, 1.6)
    """
    w = np.asarray(weights, dtype=float)
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


def resample(weights: ArrayLike, pointers: ArrayLike) -> NDArray[np.int64]:
    """Which particle each pointer falls on, when their weights are laid end to end on a stretch of length 1.

    Args:
        weights: (N,) at least 0; where all are 0 they count as equal.
        pointers: (K,) places in [0, 1). For systematic resampling (0 + u)/N, (1 + u)/N, ... with one draw u;
            for multinomial resampling N draws.

    Returns:
        (K,) indices of particles. Systematic resampling takes particle i floor(N w_i) or ceil(N w_i) times, w
        normalised.

    >>> resample([0.9, 0.1, 0.6, 0.4], [0.125, 0.375, 0.625, 0.875]).tolist()  # .9 | 1.0 | 1.6 | 2.0 of 2
    [0, 0, 2, 3]
    """
    w = np.asarray(weights, dtype=float)
    if (w < 0).any() or not np.isfinite(w).all():
        raise ValueError(f"weights must be finite and at least 0, got {w.tolist()}")
    if not w.any():
        w = np.ones_like(w)
    sums = np.cumsum(w)
    found = np.searchsorted(sums, np.asarray(pointers, dtype=float) * sums[-1], side="right")
    return np.minimum(found, np.flatnonzero(w)[-1])  # a pointer just below 1 may round up to the end


def pointers_of(problem: Problem, run: int, depth: int, count: int, how: str) -> NDArray[np.float64]:
    """The pointers of one draw: fixed by problem, run and depth, whatever else is searched beside it."""
    key = f"{problem.problem_id}|{problem.text}|{run}|{depth}"
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    if how == "systematic":
        return (np.arange(count) + rng.random()) / count
    return rng.random(count)


def filter_particles(problem: Problem, search: TreeSearch, run: int) -> Method:
    """One filter; see the module's first lines."""
    tree = Tree(run, search.budget * (1 + RETRIES) * search.max_depth)
    known: dict[str, StepScores] = {}
    passed: dict[str, float] = {}
    particles = [Path(mdp.initial_state(problem))] * search.budget
    depth = 0
    while not all(_over(particle) for particle in particles):
        depth += 1
        going = [i for i, particle in enumerate(particles) if not _over(particle)]
        steps = yield from expand(tree, [particles[i] for i in going], 1, search.max_depth)
        whole = {going[step.beam]: step for step in steps if not step.cut}
        yield from read([step.path for step in whole.values()], known)
        found: Found = {}
        moved = {}
        for i, step in whole.items():
            if not (reading := known[step.path.text]).too_long:
                moved[i] = scored(step, judge(step, reading, search.how, passed, found), found)
        particles = [
            particle if _over(particle) else moved.get(i) or particle._replace(finish_reason="length")
            for i, particle in enumerate(particles)
        ]
        if not all(_over(particle) for particle in particles):
            pointers = pointers_of(problem, run, depth, search.budget, search.resampling)
            chosen = resample([_weight(particle) for particle in particles], pointers)
            particles = [particles[i] for i in chosen]
        tree.log(steps, found, {particle.node for particle in particles})
    return tree.result(problem, particles)


def _over(path: Path) -> bool:
    return path.finished or path.finish_reason == "length"


def _weight(path: Path) -> float:
    """A path without steps has no score; one that was cut or that the PRM cannot read does not go on."""
    return 0.0 if path.finish_reason == "length" else max(0.0, path.value)
