"""Compute-optimal choice: which strategy to run for a policy, a PRM, a budget and a difficulty.

Works on a tidy frame of outcomes, as :func:`read_outcomes` makes it from stored pools and searches: one row
per problem and strategy in a *cell* (one policy, PRM and budget), with how often the strategy is right on the
problem. A *strategy* is the theta of Snell et al. 2024 and of Liu et al. 2025: a method, an aggregation, a
selection rule and a branching. A choice reported on the problems it was made on is flattered by luck;
:func:`cross_fit` chooses on one half and reports on the other.
"""

from tts_utils.optimal.choice import (
    REWARD_AWARE,
    SNELL,
    CrossFit,
    choose,
    cross_fit,
    follow,
    halves,
    with_difficulty,
)
from tts_utils.optimal.grid import CELL, STRATEGY
from tts_utils.optimal.outcomes import (
    BUDGETS,
    best_of_n_outcomes,
    control_outcomes,
    read_outcomes,
    stored_search_outcomes,
)
from tts_utils.optimal.variance import variance_split

__all__ = [
    "BUDGETS",
    "CELL",
    "REWARD_AWARE",
    "SNELL",
    "STRATEGY",
    "CrossFit",
    "best_of_n_outcomes",
    "choose",
    "control_outcomes",
    "cross_fit",
    "follow",
    "halves",
    "read_outcomes",
    "stored_search_outcomes",
    "variance_split",
    "with_difficulty",
]
