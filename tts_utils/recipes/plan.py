"""What a recipe still has to do, and what it will cost: rows, tokens, operations, hours, memory, disk.

Rows come from the store. Tokens are rows times the mean length of a sample, which a probe measures or stored
samples tell; a search of budget N generates as many tokens as N samples (within 2 % for every policy, PRM and
budget of the lab). What the PRM reads in a search is an upper bound: equal texts are read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tts_utils.compute import inference_flops
from tts_utils.data_folder import dataset_name
from tts_utils.progress import duration
from tts_utils.recipes import Model, Recipe
from tts_utils.recipes.shapes import shape_of
from tts_utils.records import SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store.searches import table_of_search
from tts_utils.store.tables import Table
from tts_utils.tree_search import TreeSearch

ASSUMED_TOKENS = 400
"""Tokens of a sample where nothing was measured: what Table 4 of the paper implies, if its FLOPs are for
MATH-500 at N = 256."""

ASSUMED_STEPS = 8
SIZES = {"MATH-500": 500, "AIME24": 30}
"""Problems of the paper's sets, so that a plan needs no download."""
BYTES_PER_TOKEN = 6
"""Disk that a stored token takes in a compressed table, its share of all columns included."""


@dataclass(frozen=True, slots=True)
class Job:
    """One table to fill.

    Attributes:
        kind: "greedy", "samples", "scores" or "search".
        policy: its model.
        prm: its model; None for samples.
        config: how the policy is sampled.
        count: samples per problem, or 1.
        search: which tree search, or None.
        stored: rows (trees, for searches) that are there.
        wanted: rows or trees that the recipe asks for.
        is_open: a run was ended before it brought the table's parts together.
    """

    kind: str
    policy: Model
    prm: Model | None
    config: SamplingConfig
    count: int
    search: TreeSearch | None
    stored: int
    wanted: int
    is_open: bool = False

    @property
    def title(self) -> str:
        """Its name in messages."""
        names = [self.policy.called, *([self.prm.called] if self.prm else [])]
        what = (
            f"{self.search.method} N={self.search.budget}" if self.search else f"{self.kind} x {self.count}"
        )
        return f"{what}, {', '.join(names)}, seed {self.config.seed}"

    @property
    def missing(self) -> int:
        """Rows or trees still to be made."""
        return max(0, self.wanted - self.stored)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.missing and not self.is_open


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured of the models, or assumed.

    Attributes:
        tokens: tokens of one sample of a policy, by its name.
        prompt: tokens of a prompt.
        steps: steps of a sample.
        policy_speed, prm_speed: tokens a second, by name; missing where nothing was measured.
        policy_params, prm_params: parameters, by name; missing or 0 where that is not known.
        measured: whether tokens were measured, else assumed.
        distinct: the share of a problem's samples that differ: a PRM reads equal texts once.
    """

    tokens: dict[str, float]
    prompt: float
    steps: float
    policy_speed: dict[str, float]
    prm_speed: dict[str, float]
    policy_params: dict[str, float]
    prm_params: dict[str, float]
    measured: bool
    distinct: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one job: tokens generated and read, FLOPs, seconds, bytes; None where it cannot be said."""

    policy_tokens: float
    prm_tokens: float
    flops: float | None
    seconds: float | None
    disk: float


def assumed(recipe: Recipe) -> Rates:
    """What can be said of a recipe's models without running them: their sizes, and usual lengths."""
    sizes = [
        {model.called: float(shape.num_params) for model in models if (shape := shape_of(model.source))}
        for models in (recipe.policies, recipe.prms)
    ]
    return Rates({}, 100.0, float(ASSUMED_STEPS), {}, {}, *sizes, measured=False)


def jobs(recipe: Recipe, num_problems: int, data: Path) -> list[Job]:
    """Every table of a recipe in the order to fill it: of each policy the samples, then what reads them.

    Args:
        recipe: the recipe.
        num_problems: problems of its data set, before ``limit``.
        data: the data directory that rows are counted in.
    """
    size = min(num_problems, recipe.limit or num_problems)
    return [
        job
        for seed in recipe.seeds
        for policy in recipe.policies
        for job in _jobs_of(recipe, policy, seed, size, data)
    ]


def _jobs_of(recipe: Recipe, policy: Model, seed: int, size: int, data: Path) -> Iterator[Job]:
    config = recipe.sampling_of(policy, seed)
    dataset, name = dataset_name(recipe.dataset), policy.called
    pools = [("greedy", replace(config, temperature=0.0), 1)] * recipe.greedy
    pools += [("samples", config, recipe.pool)] * bool(recipe.pool)
    for kind, how, count in pools:
        samples = Table("samples", dataset, name, how)
        _check_commits(samples, data, policy=policy)
        there = min(table_files.stored_rows(samples, data), size * count)
        open_ = table_files.is_open(samples, data)
        yield Job(kind, policy, None, how, count, None, there, size * count, open_)
    for prm in recipe.prms:
        prm_name = prm.called
        for _, how, count in pools:
            scores = Table("step_scores", dataset, name, how, prm=prm_name)
            _check_commits(scores, data, policy=policy, prm=prm)
            there = min(table_files.stored_rows(scores, data), size * count)
            open_ = table_files.is_open(scores, data)
            yield Job("scores", policy, prm, how, count, None, there, size * count, open_)
        for search in recipe.searches():
            trees = table_of_search(dataset, name, prm_name, search, config)
            _check_commits(trees, data, policy=policy, prm=prm)
            wanted = size * search.num_subtrees
            there = min(_stored_trees(trees, search, data), wanted)
            open_ = table_files.is_open(trees, data)
            yield Job("search", policy, prm, config, 1, search, there, wanted, open_)


def _check_commits(table: Table, data: Path, **models: Model) -> None:
    """Refuse rows of another commit than a recipe asks for, also where no model is loaded to fill more.

    A branch or a tag is known only when a model is loaded; then filling refuses rows of another commit.
    """
    asked = {
        f"{role}_revision": model.revision + f" {model.backend}" * (model.backend != "transformers")
        for role, model in models.items()
        if re.fullmatch("[0-9a-f]{40}", model.revision)
    }
    if asked:
        table_files.check_sources(table, asked, data)


def _stored_trees(table: Table, search: TreeSearch, data: Path) -> int:
    if not table_files.stored_rows(table, data):
        return 0
    rows = table_files.load(table, data, columns=["problem_id", "run", "node"]).to_pandas()
    return int(((rows["node"] == 0) & (rows["run"] < search.num_subtrees)).sum())


def estimate(job: Job, rates: Rates) -> Estimate:
    """What one job still costs.

    A search of budget N draws N steps at each depth. Its PRM reads each new state whole, prompt and steps:
    with H steps of equal length that is N times the sum over t of (prompt + t/H of the sample).
    """
    policy, prm = job.policy.called, job.prm.called if job.prm else ""
    length = rates.tokens.get(policy, ASSUMED_TOKENS)
    if job.kind == "scores":
        generated, read = 0.0, job.missing * (rates.prompt + length)
    elif job.search:
        samples = job.missing / job.search.num_subtrees * job.search.budget
        generated = samples * length
        read = samples * (rates.steps * rates.prompt + length * (rates.steps + 1) / 2)
    else:
        generated, read = job.missing * length, 0.0
    sizes = rates.policy_params.get(policy, 0), rates.prm_params.get(prm, 0)
    known = (sizes[0] or not generated) and (sizes[1] or not read)
    flops = None
    if known:
        flops = sum(inference_flops(p, t) for p, t in zip(sizes, (generated, read), strict=True) if p and t)
    # What a search's PRM read before it does not read again (vLLM but for a block); what is charged stays.
    passes = (generated if job.search else read) * rates.distinct
    seconds: float | None = 0.0
    for tokens, speed in (
        (generated, rates.policy_speed.get(policy)),
        (passes, rates.prm_speed.get(prm)),
    ):
        if tokens:
            seconds = None if seconds is None or not speed else seconds + tokens / speed
    stored = generated or job.missing * rates.steps
    return Estimate(generated, read, flops, seconds, stored * BYTES_PER_TOKEN)


def total(todo: Iterable[Job], rates: Rates) -> Estimate:
    """What all jobs together still cost."""
    sums = Estimate(0, 0, 0, 0, 0)
    for job in todo:
        if job.missing:
            cost = estimate(job, rates)
            sums = Estimate(
                sums.policy_tokens + cost.policy_tokens,
                sums.prm_tokens + cost.prm_tokens,
                _plus(sums.flops, cost.flops),
                _plus(sums.seconds, cost.seconds),
                sums.disk + cost.disk,
            )
    return sums


def lines(
    recipe: Recipe,
    todo: Sequence[Job],
    rates: Rates,
    echo: Callable[[str], None],
    flops_per_second: float | None = None,
    brief: bool = False,
) -> None:
    """Say the plan: one line a job that is not done, and the sums.

    Args:
        recipe: whose.
        todo: its jobs.
        rates: what is known of its models.
        echo: receives the lines.
        flops_per_second: what the device achieves, to turn FLOPs into hours where no speed was measured.
        brief: only the sums.
    """
    missing = [job for job in todo if not job.is_done]
    if not missing:
        echo(f"{recipe.name}: nothing to do, all {len(todo)} tables of {recipe.dataset} are whole")
        return
    whole = len(todo) - len(missing)
    echo(f"{recipe.name}: {len(todo)} tables of {recipe.dataset}, {whole} of them whole")
    for model in () if brief else (*recipe.policies, *recipe.prms):
        if model.label:
            echo(f"  {model.label} is {model.source}")
    for job in [] if brief else missing:
        cost = estimate(job, rates)
        echo(f"  {job.title}: {job.missing:,} of {job.wanted:,} to do, {_words(cost, flops_per_second)}")
    echo(f"in all: {_words(total(missing, rates), flops_per_second)}")
    basis = "measured" if rates.measured else f"assumed ({ASSUMED_TOKENS} a sample; --probe measures them)"
    echo(f"Lengths are {basis}; what a PRM reads in searches is an upper bound.")
    if flops_per_second and not rates.measured:
        echo(f"Hours are FLOPs at {flops_per_second:.1e} a second, which you gave.")


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _words(cost: Estimate, flops_per_second: float | None = None) -> str:
    parts = []
    seconds = cost.seconds
    if seconds is None and flops_per_second and cost.flops is not None:
        seconds = cost.flops / flops_per_second
    if cost.policy_tokens:
        parts.append(f"{_short(cost.policy_tokens)} tokens to generate")
    if cost.prm_tokens:
        parts.append(f"{_short(cost.prm_tokens)} to read")
    parts.append("FLOPs not known" if cost.flops is None else f"{cost.flops:.1e} FLOPs")
    parts.append("time not known" if seconds is None else duration(seconds))
    parts.append(f"{max(1, round(cost.disk / 1e6)):,} MB")
    return ", ".join(parts)


def _short(count: float) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return f"{count:.0f}"
