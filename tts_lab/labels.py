"""Monte-Carlo labels: a prefix is good if some completion that goes through it reaches the right answer.

Math-Shepherd's hard estimation (Wang et al. 2024, arXiv:2312.08935, section 3.3), with three changes. A
rollout that reached the right answer is itself such a completion for each of its prefixes. In a rollout
that did not, the first bad step is found by bisection (Luo et al. 2024, arXiv:2406.06592), since a prefix
that extends a lost one is lost. And since every completion that got there is known word for word, the
estimate is made for every character, not only at the ends of steps: a rollout is lost where it leaves the
last completion that got there. The step checker has no part in any of it; its own verdict is noted beside
the label, for the PRMs that keep only what both agree on, and to measure the labels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from tts_lab.checker import check_steps, first_error
from tts_lab.problems import training_stream
from tts_utils.answers import extract_answer
from tts_utils.compute import inference_flops
from tts_utils.hashes import checked
from tts_utils.mdp import split_steps
from tts_utils.protocols import Policy
from tts_utils.records import Problem, SamplingConfig, State
from tts_utils.store.manifest import replace_file

MAX_TOKENS = 320


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """How rollouts are drawn and labelled.

    Attributes:
        num_shards: pieces that are written one by one.
        problems_per_shard: training problems in each.
        rollouts: samples per problem, policy and temperature.
        temperatures: of the pools; 1.0 adds the rarer errors.
        completions: completions tried from a prefix.
        seed: of the problem stream and the draws.
    """

    num_shards: int
    problems_per_shard: int = 250
    rollouts: int = 4
    temperatures: tuple[float, ...] = (0.7, 1.0)
    completions: int = 4
    seed: int = 21


class _Counted:
    """A policy that counts the tokens it generates."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.num_params = policy.num_params
        self.num_tokens = 0

    def sample(self, *args, **kwargs):
        pools = self.policy.sample(*args, **kwargs)
        self.num_tokens += sum(c.num_tokens for pool in pools for c in pool)
        return pools


def labelling_cost(data: Path, names: Sequence[str]) -> dict:
    """What all shards of some policies cost together: rollouts, tokens generated, FLOPs, seconds.

    Raises:
        DamagedFile: a file is not the one that the manifest lists.
    """
    paths = [path for name in names for path in sorted((data / "labels" / name).glob("shard-*.json"))]
    costs = [json.loads(checked(path, data).read_text(encoding="utf-8")) for path in paths]
    return {name: sum(cost[name] for cost in costs) for name in costs[0]}


def shard_paths(data: Path, name: str, config: LabelConfig) -> list[Path]:
    """Where all shards of one policy's rollouts lie, or will lie."""
    return [data / "labels" / name / f"shard-{i:03d}.parquet" for i in range(config.num_shards)]


def shards(data: Path, name: str) -> list[Path]:
    """The shards of one policy's rollouts that are there, in order."""
    return sorted((data / "labels" / name).glob("shard-*.parquet"))


def read_shard(path: Path, data: Path) -> pd.DataFrame:
    """The labelled rollouts of one shard; see :func:`label_shards`.

    Raises:
        DamagedFile: the file is not the one that the manifest lists.
    """
    return pd.read_parquet(checked(path, data))


def is_right(problem: Problem, text: str) -> bool:
    """Whether a solution ends in the gold answer (the lab's answers are integers)."""
    return extract_answer(text).strip() == problem.answer


def rollouts(problems: Sequence[Problem], policy: Policy, config: LabelConfig) -> pd.DataFrame:
    """Distinct finished rollouts of a policy: columns problem (its index), text, right."""
    rows = []
    states = [State(p) for p in problems]
    for temperature in config.temperatures:
        sampling = SamplingConfig(temperature=temperature, max_tokens=MAX_TOKENS, seed=config.seed)
        for i, pool in enumerate(policy.sample(states, config.rollouts, sampling)):
            for c in pool:
                if c.finish_reason == "eos" and c.text:
                    rows.append((i, c.text, is_right(problems[i], c.text)))
    frame = pd.DataFrame(rows, columns=["problem", "text", "right"])
    return frame.drop_duplicates(["problem", "text"]).reset_index(drop=True)


def lost_from(
    problems: Sequence[Problem], frame: pd.DataFrame, completer: Policy, config: LabelConfig
) -> list[int]:
    """For every rollout the index of the character from which it is lost; its length where it never is.

    All rollouts bisect over their steps together: each round asks the completer once for every prefix that
    is still in question. Then each rollout is followed along all solutions known to be right.
    """
    steps = [split_steps(text) for text in frame["text"]]
    right: dict[int, set[str]] = {i: set() for i in range(len(problems))}
    for i, text, is_good in zip(frame["problem"], frame["text"], frame["right"], strict=True):
        if is_good:
            right[i].add(text)
    # Invariant: the prefix of `low` steps is alive (0: the problem itself), that of `high` steps is lost.
    low = [len(s) if good else 0 for s, good in zip(steps, frame["right"], strict=True)]
    high = [len(s) for s in steps]
    sampling = SamplingConfig(temperature=0.7, max_tokens=MAX_TOKENS, seed=config.seed + 1)
    known: dict[tuple[int, str], bool] = {}
    while open_rows := [row for row in range(len(steps)) if high[row] - low[row] > 1]:
        asked = {}
        for row in open_rows:
            prefix = steps[row][: (low[row] + high[row]) // 2]
            key = (frame["problem"].iloc[row], "".join(prefix))
            if key not in known:
                asked[key] = State(problems[key[0]], prefix)
        pools = completer.sample(list(asked.values()), config.completions, sampling) if asked else []
        for (i, prefix), pool in zip(asked, pools, strict=True):
            reached = [prefix + c.text for c in pool if is_right(problems[i], prefix + c.text)]
            right[i].update(reached)
            known[i, prefix] = bool(reached)
        for row in open_rows:
            middle = (low[row] + high[row]) // 2
            if known[frame["problem"].iloc[row], "".join(steps[row][:middle])]:
                low[row] = middle
            else:
                high[row] = middle
    return [
        max([_common(text, other) for other in right[i]], default=0)
        for i, text in zip(frame["problem"], frame["text"], strict=True)
    ]


def _common(a: str, b: str) -> int:
    """Length of the common prefix."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def label_shards(
    policy: Policy, completer: Policy, folder: Path, config: LabelConfig, part: int = 0, parts: int = 1
) -> Iterator[Path]:
    """Write the missing shards of one policy's rollouts, and yield the path of each.

    A shard is a parquet file of rollouts with ``lost_from`` and the checker's ``first_error`` (-1: none),
    beside a JSON file of what it cost. Shard k
    holds problems k * problems_per_shard onwards of the stream, whatever was written before; this process
    takes those with k % parts == part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = training_stream(config.seed)
    for shard in range(config.num_shards):
        problems = list(islice(stream, config.problems_per_shard))
        path = folder / f"shard-{shard:03d}.parquet"
        if path.exists() or shard % parts != part:
            continue
        started = time.perf_counter()
        writer, finisher = _Counted(policy), _Counted(completer)
        frame = rollouts(problems, writer, config)
        frame["lost_from"] = lost_from(problems, frame, finisher, config)
        cost = {
            "num_rollouts": len(frame),
            "num_tokens": writer.num_tokens + finisher.num_tokens,
            "flops": sum(inference_flops(p.num_params, p.num_tokens) for p in (writer, finisher)),
            "seconds": round(time.perf_counter() - started, 1),
        }
        frame["first_error"] = [
            first_error(check_steps(problems[i], split_steps(text)))
            for i, text in zip(frame["problem"], frame["text"], strict=True)
        ]
        frame["question"] = [problems[i].text for i in frame["problem"]]
        frame["problem"] += shard * config.problems_per_shard
        replace_file(path.with_suffix(".json"), (json.dumps(cost) + "\n").encode())
        # The shard comes last: where it is, its cost is there too.
        replace_file(path, frame.to_parquet(compression="zstd", compression_level=9))
        yield path
