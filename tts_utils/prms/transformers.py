"""A PRM run by transformers: what the trajectories of a problem share is read once."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from tts_utils.prms.formats import Encoded, Format
from tts_utils.protocols import TOO_LONG, check_scores
from tts_utils.records import State, StepScores

MIN_SHARING = 8
"""Trajectories of a problem that a PRM must be given at once to read what they share only once."""


class TransformersPRM:
    """A PRM run by transformers, on a CPU or on GPUs, whatever its format."""

    setup = ""

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
