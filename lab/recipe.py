"""What is built: the cast and the tables, at full size and at toy size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.labels import LabelConfig
from lab.policies import POLICIES, PolicySpec
from lab.prms import PRMS, PRMSpec
from tts_utils.records import SamplingConfig


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that ``python -m lab build`` makes, in order.

    Attributes:
        policies: the policies, weakest first.
        label_sources: the policies whose rollouts are labelled.
        completer: the policy that completes their prefixes.
        labels: how the rollouts are labelled.
        prms: the PRMs.
        sampling: how the pools are sampled.
        num_samples: samples per problem.
        limit: only the first so many test problems, or None for all.
    """

    policies: tuple[PolicySpec, ...]
    label_sources: tuple[str, ...]
    completer: str
    labels: LabelConfig
    prms: tuple[PRMSpec, ...]
    sampling: SamplingConfig
    num_samples: int
    limit: int | None = None


FULL = Recipe(
    policies=POLICIES,
    label_sources=("lab-llama-s", "lab-llama-l"),
    completer="lab-llama-xl",
    labels=LabelConfig(num_shards=20),
    prms=PRMS,
    sampling=SamplingConfig(),
    num_samples=64,
)


def smoke() -> Recipe:
    """The same stages at toy size: minutes, and nothing to be learnt from the result."""
    tiny = {"num_tokens": 60_000, "batch_tokens": 2048}
    return replace(
        FULL,
        policies=tuple(
            replace(p, hidden=32, layers=2, heads=2, training=replace(p.training, **tiny))
            for p in FULL.policies
        ),
        labels=LabelConfig(num_shards=2, problems_per_shard=4, rollouts=2, completions=2),
        prms=tuple(replace(p, training=replace(p.training, **tiny)) for p in FULL.prms),
        sampling=replace(FULL.sampling, max_tokens=48),
        num_samples=4,
        limit=6,
    )
