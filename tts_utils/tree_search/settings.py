"""Which search over steps, with all its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tts_utils import mdp
from tts_utils.records import Problem
from tts_utils.search import Method
from tts_utils.tree_search.beams import grow, grow_many
from tts_utils.tree_search.particles import RESAMPLING, filter_particles
from tts_utils.voting import AGGREGATIONS

METHODS = ("beam", "dvts", "particles")


@dataclass(frozen=True, slots=True)
class TreeSearch:
    """Which search, with all its settings; calling it on a problem gives the method.

    Attributes:
        method: "beam", "dvts" or "particles".
        budget: N, a positive multiple of ``branching``.
        branching: M, the steps sampled from each kept beam, at least 1; 4 in the paper. A particle goes on in
            one way, whatever is given: there it is 1.
        how: what ranks paths inside the search: "last" (PRM-Last, the paper's), "min" or "avg".
        max_depth: the depth limit, at least 1; 40 in the paper.
        retire: whether a finished path that is kept leaves with its width, as in the authors' code, or stays
            and competes at every depth.
        distinct: whether equal candidates are dropped but for the first, as in the authors' code; then there
            may be fewer than N/M beams, and completions.
        every: g: beam search has the PRM read, and prunes, every g steps; 1 in the paper. With g at the depth
            limit it is Best-of-N, step by step: nothing is pruned, and all N are voted on. More is the same.
        resampling: how particles are drawn, "systematic" or "multinomial".

    ``every`` is for beam search, ``resampling`` for particles, ``retire`` and ``distinct`` for the others.

    >>> TreeSearch("beam", 16).num_kept, TreeSearch("dvts", 16).num_subtrees, TreeSearch("beam", 16).label
    (4, 4, 'beam-n16-m4')
    >>> TreeSearch("beam", 16, every=3).label, TreeSearch("particles", 16).label
    ('beam-n16-m4-g3', 'particles-n16')
    """

    method: Literal["beam", "dvts", "particles"]
    budget: int
    branching: int = 4
    how: str = "last"
    max_depth: int = mdp.MAX_STEPS
    retire: bool = True
    distinct: bool = False
    every: int = 1
    resampling: str = "systematic"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; there is {', '.join(METHODS)}")
        if min(self.branching, self.max_depth, self.every) < 1:
            raise ValueError(
                f"branching, max_depth and every must be at least 1, got {self.branching!r}, "
                f"{self.max_depth!r} and {self.every!r}"
            )
        if self.method == "particles":
            object.__setattr__(self, "branching", 1)
        object.__setattr__(self, "every", min(self.every, self.max_depth))
        if self.budget < 1 or self.budget % self.branching:
            raise ValueError(
                f"the budget must be a positive multiple of the branching {self.branching}, got "
                f"{self.budget!r}"
            )
        if self.how not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {self.how!r}; choose from {', '.join(AGGREGATIONS)}")
        if self.every > 1 and self.method != "beam":
            raise ValueError(f"every is a setting of beam search; {self.method!r} verifies every step")
        if self.method == "particles" and (self.distinct or not self.retire):
            raise ValueError(
                "retire and distinct are settings of beam search and DVTS; particles are resampled"
            )
        if self.resampling not in RESAMPLING:
            raise ValueError(f"unknown resampling {self.resampling!r}; choose from {', '.join(RESAMPLING)}")
        if self.method != "particles" and self.resampling != "systematic":
            raise ValueError(f"resampling is a setting of particle filtering, not of {self.method!r}")

    @property
    def num_beams(self) -> int:
        """Beams that one tree begins with: N/M for beam search, 1 for DVTS, N particles."""
        return 1 if self.method == "dvts" else self.budget // self.branching

    @property
    def num_kept(self) -> int:
        """Paths of one tree that are voted on: its beams, and all N where the first reading is the last."""
        whole = self.method == "beam" and self.every >= self.max_depth
        return self.budget if whole else self.num_beams

    @property
    def num_subtrees(self) -> int:
        """Independent trees: 1 for beam search and particle filtering, N/M for DVTS."""
        return self.budget // self.branching if self.method == "dvts" else 1

    @property
    def label(self) -> str:
        """The name of its table; the budget is no part of it for DVTS, whose set of trees can grow."""
        parts: list[str] = [self.method]
        if self.method != "dvts":
            parts.append(f"n{self.budget}")
        if self.method != "particles":
            parts.append(f"m{self.branching}")
        if self.every > 1:
            parts.append(f"g{self.every}")
        if self.how != "last":
            parts.append(self.how)
        if self.max_depth != mdp.MAX_STEPS:
            parts.append(f"d{self.max_depth}")
        if not self.retire:
            parts.append("compete")
        if self.distinct:
            parts.append("distinct")
        if self.resampling != "systematic":
            parts.append(self.resampling)
        return "-".join(parts)

    @classmethod
    def of_label(cls, label: str, num_subtrees: int = 1) -> TreeSearch:
        """The search that a label names; of a DVTS the one of so many trees.

        >>> TreeSearch.of_label("beam-n8-m2-min-compete").label, TreeSearch.of_label("dvts-m4", 16).budget
        ('beam-n8-m2-min-compete', 64)
        """
        method, *words = label.split("-")
        settings: dict[str, Any] = {"retire": "compete" not in words, "distinct": "distinct" in words}
        for word in words:
            if word in AGGREGATIONS:
                settings["how"] = word
            elif word in RESAMPLING:
                settings["resampling"] = word
            elif word[1:].isdecimal():
                settings[{"n": "budget", "m": "branching", "g": "every", "d": "max_depth"}[word[0]]] = int(
                    word[1:]
                )
        if method == "dvts":
            settings["budget"] = num_subtrees * settings["branching"]
        return cls(method, **settings)  # type: ignore[arg-type]

    def __call__(self, problem: Problem, *, run: int = 0) -> Method:
        """The generator that searches for one problem; DVTS grows the trees run, run + 1, ..."""
        if self.method == "particles":
            return filter_particles(problem, self, run)
        if self.method == "beam":
            return grow(problem, self, run, {})
        return grow_many(problem, self, run)


def beam_search(problem: Problem, budget: int, *, run: int = 0, **settings: Any) -> Method:
    """Beam search: keep the best N/M of N candidate steps at every depth, or at every g-th.

    Args:
        problem: the problem.
        budget: N, a positive multiple of ``branching``.
        run: number of an independent repetition, from 0; no two runs share a sample index of any state.
        settings: branching, how, max_depth, retire, distinct, every, as in :class:`TreeSearch`.

    Raises:
        ValueError: settings out of range.
    """
    return TreeSearch("beam", budget, **settings)(problem, run=run)


def dvts(problem: Problem, budget: int, *, first_tree: int = 0, **settings: Any) -> Method:
    """Diverse verifier tree search: N/M independent trees of budget M, each keeping one path.

    Tree t is ``beam_search(problem, M, run=t)``, so DVTS(N) is the first N/M trees of every larger DVTS.
    Each tree gives one completion, whose ``sample`` is t. Arguments as for :func:`beam_search`.
    """
    return TreeSearch("dvts", budget, **settings)(problem, run=first_tree)


def particle_filter(problem: Problem, budget: int, *, run: int = 0, **settings: Any) -> Method:
    """Particle filtering: N paths go on step by step, and who goes on is drawn in proportion to the scores.

    All N are voted on. A vote weighed by the score that ranks them (PRM-Vote of PRM-Last) is the filter's own
    estimate, for their last scores have not been resampled by.

    Args:
        problem: the problem.
        budget: N, the number of particles, at least 1.
        run: number of an independent repetition, from 0; it fixes the draws of the resampling too.
        settings: how, max_depth, resampling, as in :class:`TreeSearch`.

    Source: arXiv:2502.01618, and the code of its_hub, which weighs by odds s / (1 - s) instead of s.
    """
    return TreeSearch("particles", budget, **settings)(problem, run=run)
