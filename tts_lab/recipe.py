"""What is built: the cast, the tables and the grid of searches, at full size and at toy size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tts_lab.labels import LabelConfig
from tts_lab.policies import POLICIES, PolicySpec
from tts_lab.prms import PRMS, PRMSpec
from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that ``python -m tts_lab build`` makes, in order.

    Attributes:
        policies: the policies, weakest first within a family.
        completers: for every policy whose rollouts are labelled, the one that completes their prefixes.
        labels: how the rollouts are labelled.
        prms: the PRMs.
        sampling: how the pools are sampled.
        long_tokens: the limit on a sample's tokens for policies that think long.
        num_samples: samples per problem of each test set.
        searches: which searches every policy runs with every PRM on ``search_sets``.
        search_sets: the test sets that are searched.
        large: pairs (policy, PRM) that also search with ``large_budget``.
        large_budget: see there.
        limit: only the first so many test problems, or None for all.
    """

    policies: tuple[PolicySpec, ...]
    completers: dict[str, str]
    labels: LabelConfig
    prms: tuple[PRMSpec, ...]
    sampling: SamplingConfig
    long_tokens: int
    num_samples: dict[str, int]
    searches: tuple[TreeSearch, ...]
    search_sets: tuple[str, ...]
    large: tuple[tuple[str, str], ...]
    large_budget: int
    limit: int | None = None

    def sampling_of(self, policy: PolicySpec) -> SamplingConfig:
        """How a policy's pools are sampled; one that thinks long gets more tokens."""
        return (
            replace(self.sampling, max_tokens=self.long_tokens)
            if policy.register == "long"
            else self.sampling
        )

    def prms_of(self, policy: PolicySpec) -> tuple[PRMSpec, ...]:
        """The PRMs that score and search with a policy: all, but none where it thinks long.

        A long chain of thought is its own search; the paper too lets such policies answer alone (Table 6).
        """
        return () if policy.register == "long" else self.prms

    def grid(self, policy: str, prm: str) -> tuple[TreeSearch, ...]:
        """The searches of one policy with one PRM."""
        methods = {s.method: s for s in self.searches}.values()
        large = tuple(replace(s, budget=self.large_budget) for s in methods)
        return self.searches + (large if (policy, prm) in self.large else ())


FULL = Recipe(
    policies=POLICIES,
    completers={
        "lab-llama-m": "lab-llama-l",
        "lab-llama-l": "lab-llama-l",
        "lab-qwen-m": "lab-qwen-l",
        "lab-qwen-l": "lab-qwen-l",
    },
    labels=LabelConfig(num_shards=16),
    prms=PRMS,
    sampling=SamplingConfig(),
    long_tokens=768,
    num_samples={"lab-500": 64, "lab-200": 256, "lab-30": 256},
    searches=tuple(TreeSearch(method, budget) for budget in (4, 16, 64) for method in ("beam", "dvts")),
    search_sets=("lab-200", "lab-30"),
    large=(
        ("lab-llama-s", "lab-math-shepherd"),
        ("lab-llama-s", "lab-qwen-prm-l"),
        ("lab-llama-m", "lab-rlhflow-terse"),
        ("lab-qwen-s", "lab-rlhflow-verbose"),
        ("lab-qwen-s", "lab-qwen-prm-l"),
        ("lab-qwen-m", "lab-skywork-l"),
    ),
    large_budget=256,
)


def smoke() -> Recipe:
    """The same stages at toy size: minutes, and nothing to be learnt from the result."""
    tiny = {"num_tokens": 20_000, "batch_tokens": 2048, "compiled": False}
    return replace(
        FULL,
        policies=tuple(
            replace(p, hidden=32, layers=2, heads=2, training=replace(p.training, **tiny))
            for p in FULL.policies
        ),
        labels=LabelConfig(num_shards=2, problems_per_shard=4, rollouts=2, completions=2),
        prms=tuple(replace(p, training=replace(p.training, **tiny)) for p in FULL.prms),
        sampling=replace(FULL.sampling, max_tokens=48),
        long_tokens=64,
        num_samples={"lab-500": 4, "lab-200": 4, "lab-30": 4},
        searches=FULL.searches[:2],
        search_sets=("lab-30",),
        large_budget=8,
        limit=3,
    )
