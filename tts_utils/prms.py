"""Process reward models: one score in [0, 1] for every step of a trajectory.

A PRM of one's own is any object with ``name``, ``num_params``, ``revision`` and one method:

    class ShortStepsPRM:
        name, num_params, revision = "short-steps", 0, "1"

        def score(self, trajectories):
            return [StepScores(tuple(1 / (1 + len(s)) for s in t.steps), 0) for t in trajectories]

A trajectory that is longer than it can read gets ``TOO_LONG`` as its result; a PRM without such a limit need
not think of it.

A PRM that transformers runs needs less: a format, one class of two methods (``encode`` a trajectory, ``read``
scores off hidden states; see ``tts_utils.prm_formats``), and ``TransformersPRM(name, model, MyFormat(...))``
does the batching.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tts_utils.backends import COUNT, check_backend, check_options
from tts_utils.checkpoints import UnknownModel, load_tokenizer
from tts_utils.policies import find_model, revision_of
from tts_utils.prm_formats import (
    FORMATS,
    PUBLISHED,
    STEP_TAG,
    Encoded,
    Format,
    MathShepherdFormat,
    math_shepherd_text,
)
from tts_utils.prm_heads import load_head_model
from tts_utils.records import State, StepScores

__all__ = [
    "PRM",
    "STEP_TAG",
    "TOO_LONG",
    "BadScores",
    "MathShepherdPRM",
    "TransformersPRM",
    "check_scores",
    "load_prm",
    "math_shepherd_text",
]


OPTIONS = {"transformers": {"batch_tokens": COUNT}, "vllm": {}}  # vllm: whatever the engine takes
"""The backends of PRMs, and the options of each."""

MIN_SHARING = 8
"""Trajectories of a problem that a PRM must be given at once to read what they share only once."""

TOO_LONG = StepScores((), 0, too_long=True)
"""What a PRM says of a trajectory that is longer than it can read. Such a trajectory has no scores: it casts
no vote under a rule that wants them, and does not compete in a search."""


class BadScores(ValueError):
    """A PRM returned something that is not one score in [0, 1] per step."""


class PRM(Protocol):
    """Anything that scores the steps of trajectories."""

    name: str
    num_params: int
    revision: str  # what tells two versions of the model apart; "" where that is not known

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step of every trajectory: H steps in, H scores in [0, 1] out, in order.

        One that is longer than the PRM reads gets ``TOO_LONG``; every other failure is an error.
        """
        ...


def check_scores(trajectories: Sequence[State], results: Sequence[StepScores]) -> None:
    """Raise BadScores, naming the trajectory, unless there is one score in [0, 1] for every step.

    A trajectory that is said to be too long must have no scores.
    """
    if len(results) != len(trajectories):
        raise BadScores(f"the PRM was given {len(trajectories)} trajectories and returned {len(results)}")
    for i, (state, result) in enumerate(zip(trajectories, results, strict=True)):
        if result.too_long:
            if result.scores:
                raise BadScores(
                    f"{len(result.scores)} scores of a trajectory that is said to be too long to be read: "
                    f"{_where(state, i)}"
                )
            continue
        if len(result.scores) != len(state.steps):
            raise BadScores(f"{len(result.scores)} scores for {len(state.steps)} steps: {_where(state, i)}")
        for step, score in enumerate(result.scores):
            if math.isnan(score) or not 0 <= score <= 1:
                raise BadScores(
                    f"step {step} has the score {score}, not a number in [0, 1]: {_where(state, i)}"
                )


def load_prm(
    name_or_path: str,
    device: str | None = None,
    name: str = "",
    *,
    backend: str = "transformers",
    **options,
) -> PRM:
    """Load a PRM: a shipped lab PRM, a local folder, or the Hub id of one of the paper's seven.

    Args:
        name_or_path: for example "lab-math-shepherd". A folder names its format in ``tts_prm.json``:
            ``{"format": "rlhflow"}``; the published models' formats are known.
        device: "cpu", "cuda", "auto" to spread a large model over several GPUs (needs ``accelerate``), or
            None for a GPU where there is one (transformers only).
        name: what the PRM is called in tables, by default ``name_or_path``.
        backend: "transformers"; or "vllm", in this process, which runs every format but Skywork's. Scores
            agree up to rounding; still a table of one backend is not continued with the other.
        options: of :class:`TransformersPRM` (``batch_tokens``) or :func:`tts_utils.prm_vllm.load_vllm_prm`
            (``gpu_memory_utilization``, ``tensor_parallel_size``, ...).

    Raises:
        UnknownModel: no such model, one that cannot be loaded, one whose PRM format is not known, or one that
            is not of its format.
        BackendError: the backend cannot be used here or cannot run this format, or an option is not its own
            or out of range.
    """
    check_backend(backend, OPTIONS, device)
    check_options(backend, options, OPTIONS[backend], others=backend == "vllm")
    if backend == "vllm":
        from tts_utils.prm_vllm import load_vllm_prm

        return load_vllm_prm(name_or_path, name, **options)
    source = find_model(name_or_path)
    text_format = load_format(source)
    model = load_head_model(source, text_format.head, device)
    # On a CPU small batches stay in its caches: a quarter faster than large ones (benchmarks/prm_scoring.py).
    budget = {"batch_tokens": 1024 if model.device.type == "cpu" else 16_384}
    return TransformersPRM(
        name or name_or_path, model, text_format, revision=revision_of(source, model), **budget | options
    )


def load_format(source: str) -> Format:
    """The format of a PRM's folder or Hub id, with its tokenizer.

    Raises:
        UnknownModel: the format is not known, or the tokenizer is not of that format.
    """
    format_class = FORMATS[format_name(source)]
    tokenizer = load_tokenizer(source)
    try:
        return format_class(tokenizer)
    except Exception as exc:  # a chat template may raise what it likes
        raise UnknownModel(f"{source!r}: {exc}") from exc


def format_name(source: str) -> str:
    marker = Path(source) / "tts_prm.json"
    known = ", ".join(map(repr, FORMATS))
    way_out = f'a PRM folder names its format in tts_prm.json, as in {{"format": "rlhflow"}}; known: {known}'
    if source in PUBLISHED:
        return PUBLISHED[source]
    if not marker.is_file():
        raise UnknownModel(
            f"{source!r} is a PRM of no known format: it is none of the published PRMs "
            f"({', '.join(PUBLISHED)}) and no folder with a tts_prm.json. {way_out}"
        )
    try:
        kind = json.loads(marker.read_text(encoding="utf-8"))["format"]
    except (ValueError, KeyError, TypeError) as exc:
        raise UnknownModel(f"{marker} names no format; {way_out}") from exc
    if kind not in FORMATS:
        raise UnknownModel(f"{marker} names the format {kind!r}; {way_out}")
    return kind


class TransformersPRM:
    """A PRM run by transformers, on a CPU or on GPUs, whatever its format."""

    def __init__(
        self, name: str, model, text_format: Format, batch_tokens: int = 16_384, revision: str = ""
    ) -> None:
        """Put a model and a format together.

        Args:
            name: what the PRM is called in tables.
            model: a transformers model; its ``base_model`` gives the hidden states.
            text_format: how trajectories are written and scores are read.
            batch_tokens: tokens of a batch at most, padding included; a longer sequence goes alone.
            revision: what tells two versions of the model apart.
        """
        self.name = name
        self.revision = revision
        self.model = model
        self.format = text_format
        self.batch_tokens = batch_tokens
        self.num_params = sum(p.numel() for p in model.parameters())

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step; see :class:`PRM`.

        What all trajectories of a problem begin with (its text, as a rule) is read once, unless there are
        few of them. Sequences of like length share a batch, padded on the right. Only the hidden states at
        the steps go through the head, in float32. A trajectory without steps has no scores and costs nothing,
        nor does one of more tokens than the model reads. Tokens are counted as if each were read alone.

        Raises:
            BadScores: scores and steps differ in number, or a score is not in [0, 1].
        """
        encoded = [self.format.encode(t) if t.steps else Encoded([], []) for t in trajectories]
        limit = getattr(self.model.config, "max_position_embeddings", None) or math.inf
        results = [TOO_LONG if len(ids) > limit else StepScores((), 0) for ids, _ in encoded]
        groups: dict[tuple[str, str], list[int]] = {}
        for i, (trajectory, (ids, _)) in enumerate(zip(trajectories, encoded, strict=True)):
            if 0 < len(ids) <= limit:
                key = (trajectory.problem.problem_id, trajectory.problem.text)
                groups.setdefault(key, []).append(i)
        few = [i for group in groups.values() if len(group) < MIN_SHARING for i in group]
        for group in (few, *(group for group in groups.values() if len(group) >= MIN_SHARING)):
            sequences = [encoded[i] for i in group]
            shared = 0 if group is few else common_prefix(sequences)
            for i, row in zip(group, self._score_group(sequences, shared), strict=True):
                results[i] = StepScores(row, len(encoded[i].ids))
        check_scores(trajectories, results)
        return results

    def _score_group(self, sequences: list[Encoded], shared: int) -> list[tuple[float, ...]]:
        """Score sequences whose first ``shared`` tokens are the same."""
        import torch

        results: list[tuple[float, ...]] = [()] * len(sequences)
        with torch.inference_mode():
            past = self._read([sequences[0].ids[:shared]], keep=True).past_key_values if shared else None
            for batch in batches([len(s.ids) for s in sequences], self.batch_tokens):
                chosen = [sequences[i] for i in batch]
                width = max(len(s.ids) for s in chosen)
                ids = [s.ids[shared:] + [0] * (width - len(s.ids)) for s in chosen]
                rows = [row for row, s in enumerate(chosen) for _ in s.positions]
                columns = [column - shared for s in chosen for column in s.positions]
                hidden = self._read(ids, past).last_hidden_state[rows, columns]  # (steps in all, D)
                flat = iter(self.format.read(self.model, hidden.float()).tolist())
                for i, s in zip(batch, chosen, strict=True):
                    results[i] = tuple(next(flat) for _ in s.positions)
        return results

    def _read(self, ids: list[list[int]], past=None, keep: bool = False):
        """Run the transformer over (B, T) tokens, behind the cache of one sequence where there is one.

        Attention is causal and pads stand on the right, so that no token looks at a pad. ``keep`` gives the
        cache of these tokens.
        """
        import torch

        if past is not None:
            past = copy.deepcopy(past)
            past.batch_repeat_interleave(len(ids))
        return self.model.base_model(
            input_ids=torch.tensor(ids, device=self.model.device), past_key_values=past, use_cache=keep
        )


class MathShepherdPRM(TransformersPRM):
    """A causal language model that answers "+" or "-" at the tag behind every step."""

    def __init__(self, name: str, model, tokenizer, batch_tokens: int = 16_384, revision: str = "") -> None:
        super().__init__(name, model, MathShepherdFormat(tokenizer), batch_tokens, revision)


def common_prefix(sequences: Sequence[Encoded]) -> int:
    """How many first tokens all sequences share, the first position that is scored not among them.

    >>> common_prefix([Encoded([7, 8, 9, 4], [3]), Encoded([7, 8, 9, 5], [2, 3])])
    2
    """
    most = min(min(len(s.ids) - 1, *s.positions) for s in sequences)
    first = sequences[0].ids
    return next((k for k in range(most) if any(s.ids[k] != first[k] for s in sequences)), most)


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group sequences by length into batches whose padded size stays within a budget of tokens.

    Args:
        lengths: tokens of each sequence; those of 0 are left out.
        budget: rows times width of a batch at most; a sequence longer than that makes a batch of its own.

    >>> batches([5, 2, 9, 3, 0], budget=10)
    [[1, 3], [0], [2]]
    """
    result: list[list[int]] = []
    for i in sorted((i for i, length in enumerate(lengths) if length), key=lambda i: lengths[i]):
        if result and lengths[i] * (len(result[-1]) + 1) <= budget:
            result[-1].append(i)
        else:
            result.append([i])
    return result


def _where(state: State, i: int) -> str:
    return f"problem {state.problem.problem_id!r}, trajectory {i} of the batch ({state.text[:60]!r}…)"
