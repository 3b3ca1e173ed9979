"""A PRM run by transformers: every step behind the same beginning is read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from tts_utils.prms.formats import Encoded, Format
from tts_utils.protocols import TOO_LONG, check_scores
from tts_utils.records import Problem, State, StepScores

CPU_CACHE = 256 * 2**20
GPU_CACHE = 4 * 2**30
"""Bytes that a PRM may keep of what it has read, unless it is told otherwise."""


class TransformersPRM:
    """A PRM run by transformers, on a CPU or on GPUs, whatever its format.

    Attributes:
        tokens_run: tokens that went through the model so far, with pads where the model's own modules run.
            What a trajectory is charged (``StepScores.num_tokens``) does not depend on it: that is the
            trajectory's length.
    """

    settings = ""

    def __init__(
        self,
        name: str,
        model,
        text_format: Format,
        batch_tokens: int = 16_384,
        revision: str = "",
        cache_bytes: int | None = None,
    ) -> None:
        """Put a model and a format together.

        Args:
            name: what the PRM is called in tables.
            model: a transformers model; its ``base_model`` gives the hidden states.
            text_format: how trajectories are written and scores are read.
            batch_tokens: tokens of a batch at most, padding included; a longer sequence goes alone.
            revision: what tells two versions of the model apart.
            cache_bytes: memory for what has been read, so that a trajectory that continues another costs its
                new steps only; 0 reads every trajectory whole. None: 256 MiB on a CPU, 4 GiB on a GPU.
        """
        from tts_utils.lean import Weights  # torch is imported with a model, not before
        from tts_utils.prms.reading import Reader

        self.name = name
        self.revision = revision
        self.model = model
        self.format = text_format
        self.batch_tokens = batch_tokens
        self.num_params = sum(p.numel() for p in model.parameters())
        self.tokens_run = 0
        if cache_bytes is None:
            cache_bytes = CPU_CACHE if model.device.type == "cpu" else GPU_CACHE
        self._weights = Weights(model)
        self._reader = Reader(model, text_format, batch_tokens, cache_bytes)
        self._begins: dict[tuple[str, str], tuple[int, ...]] = {}  # ids that a problem's trajectories share

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step; see :class:`PRM`.

        A step that was read before behind the same tokens, in this call or an earlier one, is not read again
        while there is memory for it; nor is the problem's text. Only the hidden states at the steps go
        through the head, in float32. A trajectory without steps has no scores and costs nothing, nor does one
        of more tokens than the model reads. Tokens are counted as if each were read alone.

        Raises:
            BadScores: scores and steps differ in number, or a score is not in [0, 1].
        """
        if self._weights.changed():
            self.forget()
        encoded = [self.format.encode(t) if t.steps else Encoded([], []) for t in trajectories]
        limit = getattr(self.model.config, "max_position_embeddings", None) or math.inf
        results = [TOO_LONG if len(ids) > limit else StepScores((), 0) for ids, _ in encoded]
        chosen = [i for i, (ids, _) in enumerate(encoded) if 0 < len(ids) <= limit]
        pieces = [self._pieces(trajectories[i].problem, encoded[i]) for i in chosen]
        before = self._reader.tokens_run
        for i, scores in zip(chosen, self._reader.read(pieces), strict=True):
            results[i] = StepScores(scores, len(encoded[i].ids))
        self.tokens_run += self._reader.tokens_run - before
        check_scores(trajectories, results)
        return results

    def forget(self) -> None:
        """Forget what was read, so that scores are those of a PRM that was just loaded, to the last bit."""
        self._reader.forget()

    def _pieces(self, problem: Problem, sequence: Encoded) -> list[tuple[int, ...]]:
        """Token ids cut behind what the problem's trajectories share and behind every scored position.

        What stands behind the last of these is left out: no score depends on it.
        """
        ids, begin = sequence.ids, self._begin(problem, sequence)
        cuts = [0, len(begin), *(position + 1 for position in sequence.positions)]
        return [tuple(ids[a:b]) for a, b in pairwise(cuts)]

    def _begin(self, problem: Problem, sequence: Encoded) -> tuple[int, ...]:
        """The first tokens of a sequence that other trajectories of its problem have too, as far as known."""
        key = (problem.problem_id, problem.text)
        known = self._begins.get(key)
        if known is None or tuple(sequence.ids[: len(known)]) != known or len(known) > sequence.positions[0]:
            other = self.format.encode(State(problem, ("?",)))
            known = tuple(sequence.ids[: common_prefix([sequence, other])])
            if len(self._begins) >= 10_000:
                self._begins.clear()
            self._begins[key] = known
        return known


def common_prefix(sequences: Sequence[Encoded]) -> int:
    """How many first tokens all sequences share, the first position that is scored not among them.

    >>> common_prefix([Encoded([7, 8, 9, 4], [3]), Encoded([7, 8, 9, 5], [2, 3])])
    2
    """
    most = min(min(len(s.ids) - 1, *s.positions) for s in sequences)
    first = sequences[0].ids
    return next((k for k in range(most) if any(s.ids[k] != first[k] for s in sequences)), most)
