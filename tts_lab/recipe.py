"""What is built: the cast, the tables and the grid of searches, at full size and at toy size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tts_lab.labels import LabelConfig
from tts_lab.policies import POLICIES, PolicySpec
from tts_lab.prms import PRMS, PRMSpec
from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Searches by both methods or one, of some policies with some PRMs on one test set.

    Attributes:
        dataset: the test set.
        budgets: every N.
        policies: their names; () for all that are searched with.
        prms: their names; () for all.
        methods: "beam" and "dvts", or one of them.
    """

    dataset: str
    budgets: tuple[int, ...]
    policies: tuple[str, ...] = ()
    prms: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("beam", "dvts")

    def asks(self, dataset: str, policy: str, prm: str) -> bool:
        """Whether the plan asks for searches of this policy with this PRM on this set."""
        return (
            dataset == self.dataset
            and (not self.policies or policy in self.policies)
            and (not self.prms or prm in self.prms)
        )


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
        only: for test sets that are not for all policies, the names of those that they are for.
        judged: for test sets that not all PRMs score, the names of those that do.
        plans: which searches are run.
        limit: only the first so many test problems, or None for all.
    """

    policies: tuple[PolicySpec, ...]
    completers: dict[str, str]
    labels: LabelConfig
    prms: tuple[PRMSpec, ...]
    sampling: SamplingConfig
    long_tokens: int
    num_samples: dict[str, int]
    only: dict[str, tuple[str, ...]]
    judged: dict[str, tuple[str, ...]]
    plans: tuple[SearchPlan, ...]
    limit: int | None = None

    def sampling_of(self, policy: PolicySpec) -> SamplingConfig:
        """How a policy's pools are sampled; one that thinks long gets more tokens."""
        return (
            replace(self.sampling, max_tokens=self.long_tokens)
            if policy.register == "long"
            else self.sampling
        )

    def policies_of(self, dataset: str) -> tuple[PolicySpec, ...]:
        """The policies whose samples of a test set are stored."""
        names = self.only.get(dataset)
        return tuple(p for p in self.policies if names is None or p.name in names)

    def searchers_of(self, dataset: str) -> tuple[PolicySpec, ...]:
        """The policies that search on a test set."""
        return tuple(
            policy
            for policy in self.policies
            if any(self.grid(dataset, policy.name, prm.name) for prm in self.prms_of(policy))
        )

    @property
    def search_sets(self) -> tuple[str, ...]:
        """The test sets on which something is searched."""
        return tuple(dict.fromkeys(plan.dataset for plan in self.plans))

    def prms_of(self, policy: PolicySpec) -> tuple[PRMSpec, ...]:
        """The PRMs that score and search with a policy: all, but none where it thinks long.

        A long chain of thought is its own search; the paper too lets such policies answer alone (Table 6).
        """
        return () if policy.register == "long" else self.prms

    def judges_of(self, policy: PolicySpec, dataset: str) -> tuple[PRMSpec, ...]:
        """The PRMs that score a policy's samples of a test set."""
        names = self.judged.get(dataset)
        return tuple(p for p in self.prms_of(policy) if names is None or p.name in names)

    def grid(self, dataset: str, policy: str, prm: str) -> tuple[TreeSearch, ...]:
        """The searches of one policy with one PRM on one test set, each once."""
        asked = [plan for plan in self.plans if plan.asks(dataset, policy, prm)]
        searches = (TreeSearch(m, n) for plan in asked for n in plan.budgets for m in plan.methods)
        return tuple(dict.fromkeys(searches))


BEST = ("lab-qwen-prm-l",)  # the best PRM by held-out rollouts
LONG_RUNS = tuple(p.name for p in PRMS if p.workers)
SHORT_RUNS = tuple(p.name for p in PRMS if not p.workers)
LARGE = ("lab-llama-l", "lab-qwen-l")
FEW = ("lab-llama-s", "lab-llama-m", *LARGE)  # on the thirty problems, which decide nothing: for lesson 6
TELLING = (  # pairs that also search with N = 256 on lab-200
    ("lab-llama-s", "lab-math-shepherd"),
    ("lab-llama-s", "lab-qwen-prm-l"),
    ("lab-llama-m", "lab-rlhflow-terse"),
    ("lab-llama-m", "lab-qwen-prm-l"),
    ("lab-llama-l", "lab-qwen-prm-l"),
    ("lab-qwen-m", "lab-skywork-l"),
)

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
    num_samples={"lab-500": 64, "lab-200": 256, "lab-30": 256, "lab-hard": 64, "lab-fresh": 64},
    only={"lab-30": FEW, "lab-fresh": LARGE},
    judged={"lab-30": SHORT_RUNS, "lab-hard": LONG_RUNS, "lab-fresh": BEST},
    plans=(
        SearchPlan("lab-200", (4, 16, 64)),
        *(SearchPlan("lab-200", (256,), (policy,), (prm,)) for policy, prm in TELLING),
        SearchPlan("lab-30", (4, 16, 64), FEW, SHORT_RUNS),
        # What was tried on fresh problems, and what was chosen there, once more on the hard ones.
        SearchPlan("lab-fresh", (64,), LARGE, BEST),
        SearchPlan("lab-fresh", (256,), LARGE[1:], BEST, ("beam",)),
        SearchPlan("lab-hard", (64,), LARGE[1:], BEST),
        SearchPlan("lab-hard", (256,), LARGE[1:], BEST, ("beam",)),
        # Tables take some twenty processor hours in all; here the list ends, and would go on with N = 256.
        SearchPlan("lab-hard", (16, 64), ("lab-llama-l", "lab-llama-xl"), LONG_RUNS),
        SearchPlan("lab-hard", (16, 64), ("lab-llama-ml",), BEST),
    ),
)


SMOKE = ("lab-llama-m", "lab-llama-l", "lab-qwen-m", "lab-qwen-l", "lab-qwen-xl", "lab-long-m")


def smoke() -> Recipe:
    """The same stages at toy size: a minute, and nothing to be learnt from the result.

    Of the policies only those that something else is made of, and one that thinks long.
    """
    tiny = {"num_tokens": 12_000, "batch_tokens": 2048, "pool": 64, "compiled": False}
    return replace(
        FULL,
        policies=tuple(
            replace(p, hidden=32, layers=2, heads=2, training=replace(p.training, **tiny))
            for p in FULL.policies
            if p.name in SMOKE
        ),
        labels=LabelConfig(num_shards=2, problems_per_shard=4, rollouts=2, completions=1),
        prms=tuple(
            replace(p, training=replace(p.training, **tiny), workers=min(p.workers, int(p is FULL.prms[-1])))
            for p in FULL.prms
        ),
        sampling=replace(FULL.sampling, max_tokens=32),
        long_tokens=48,
        num_samples={"lab-500": 4, "lab-30": 4},
        plans=(SearchPlan("lab-30", (4,)), SearchPlan("lab-30", (8,), LARGE[:1], BEST)),
        limit=3,
    )
