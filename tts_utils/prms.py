"""Process reward models: one score in [0, 1] for every step of a trajectory."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tts_utils.mdp import strip_separator
from tts_utils.policies import UnknownModel, find_model, load_checkpoint, revision_of
from tts_utils.records import State, StepScores


class BadScores(ValueError):
    """A PRM returned something that is not one score in [0, 1] per step."""


class PRM(Protocol):
    """Anything that scores the steps of trajectories."""

    name: str
    num_params: int
    revision: str  # what tells two versions of the model apart; "" where that is not known

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step of every trajectory: H steps in, H scores in [0, 1] out, in order."""
        ...


def check_scores(trajectories: Sequence[State], results: Sequence[StepScores]) -> None:
    """Raise BadScores, naming the trajectory, unless there is one score in [0, 1] for every step."""
    if len(results) != len(trajectories):
        raise BadScores(f"the PRM was given {len(trajectories)} trajectories and returned {len(results)}")
    for i, (state, result) in enumerate(zip(trajectories, results, strict=True)):
        where = f"problem {state.problem.problem_id!r}, trajectory {i} of the batch ({state.text[:60]!r}…)"
        if len(result.scores) != len(state.steps):
            raise BadScores(f"{len(result.scores)} scores for {len(state.steps)} steps: {where}")
        for step, score in enumerate(result.scores):
            if math.isnan(score) or not 0 <= score <= 1:
                raise BadScores(f"step {step} has the score {score}, not a number in [0, 1]: {where}")


def load_prm(name_or_path: str, device: str | None = None, name: str = "") -> MathShepherdPRM:
    """Load a PRM: a shipped lab PRM, a local folder, or a Hub id.

    ``name`` is what the PRM is called in tables, by default ``name_or_path``. The input format is read
    from the folder's ``tts_prm.json`` or known for the published models.

    Raises:
        UnknownModel: no such model, or one whose PRM format is not known.
    """
    source = find_model(name_or_path)
    marker = Path(source) / "tts_prm.json"
    if marker.is_file():
        kind = json.loads(marker.read_text(encoding="utf-8")).get("format")
    else:
        kind = "math-shepherd" if source == "peiyi9979/math-shepherd-mistral-7b-prm" else None
    if kind != "math-shepherd":
        raise UnknownModel(
            f"{name_or_path!r} says PRM format {kind!r}; known: 'math-shepherd'. "
            f'A local PRM folder names its format in tts_prm.json: {{"format": "math-shepherd"}}'
        )
    tokenizer, model = load_checkpoint(source, device)
    return MathShepherdPRM(name or name_or_path, model, tokenizer, revision=revision_of(source, model))


STEP_TAG = "ки"


def math_shepherd_text(trajectory: State) -> str:
    """The text a Math-Shepherd PRM reads: question, then every step with the tag behind it.

    A tag inside a step's own text is taken out, so that a policy cannot write itself a score.
    Source: Wang et al. 2024 (arXiv:2312.08935) and its model card's example.
    """
    steps = [strip_separator(s).replace(STEP_TAG, "") for s in trajectory.steps]
    question = trajectory.problem.text.replace(STEP_TAG, "")
    return question + " " + "".join(f"{step} {STEP_TAG}\n" for step in steps)


class MathShepherdPRM:
    """A causal language model that answers "+" or "-" at the tag behind every step.

    The score of a step is the probability of "+" against "-" at its tag.
    """

    def __init__(self, name: str, model, tokenizer, batch_tokens: int = 16_384, revision: str = "") -> None:
        self.name = name
        self.revision = revision
        self.model = model
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.num_params = sum(p.numel() for p in model.parameters())
        # The last id, because sentencepiece tokenizers put a word-start mark before a lone character.
        self.good, self.bad, self.tag = (
            tokenizer.encode(word, add_special_tokens=False)[-1] for word in ("+", "-", STEP_TAG)
        )
        if len({self.good, self.bad, self.tag, tokenizer.unk_token_id}) < 4:
            raise ValueError(
                f"{name} has no tokens of their own for '+', '-' and {STEP_TAG!r}: not this kind of PRM"
            )

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step; see :class:`PRM`.

        Sequences of like length share a batch of at most ``batch_tokens`` tokens, padded on the right;
        only the two label logits are computed, at the tags, in float32.

        Raises:
            BadScores: tags and steps differ in number, or a score is not in [0, 1].
        """
        encoded = [self.tokenizer(math_shepherd_text(t))["input_ids"] for t in trajectories]
        order = sorted((i for i, t in enumerate(trajectories) if t.steps), key=lambda i: len(encoded[i]))
        scores: list[tuple[float, ...]] = [()] * len(trajectories)
        while order:
            size = 1
            while size < len(order) and len(encoded[order[size]]) * (size + 1) <= self.batch_tokens:
                size += 1
            batch, order = order[:size], order[size:]
            for i, row in zip(batch, self._score_batch([encoded[i] for i in batch]), strict=True):
                scores[i] = row
        results = [StepScores(row, len(ids) if row else 0) for row, ids in zip(scores, encoded, strict=True)]
        check_scores(trajectories, results)
        return results

    def _score_batch(self, sequences: list[list[int]]) -> list[tuple[float, ...]]:
        import torch

        width = max(map(len, sequences))
        device = self.model.device
        ids = torch.tensor([s + [0] * (width - len(s)) for s in sequences], device=device)
        real = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences], device=device)
        with torch.inference_mode():
            hidden = self.model.base_model(
                input_ids=ids, attention_mask=real, use_cache=False
            ).last_hidden_state
            tags = (ids == self.tag) & real.bool()  # (B, T)
            head = self.model.get_output_embeddings()
            logits = hidden[tags].float() @ head.weight[[self.good, self.bad]].float().T  # (tags, 2)
            flat = torch.softmax(logits, dim=-1)[:, 0].tolist()
        rows, start = [], 0
        for count in tags.sum(1).tolist():
            rows.append(tuple(flat[start : start + count]))
            start += count
        return rows
