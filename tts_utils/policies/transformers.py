"""A policy run by transformers: in batches, each sample from its own stream of random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tts_utils.lean import Leanness
from tts_utils.policies.requests import FULL, room_behind
from tts_utils.policies.rows import LeanRows, ModelRows
from tts_utils.prompts import Family, family_of, state_ids
from tts_utils.protocols import first_indices
from tts_utils.records import Continuation, SamplingConfig, State


class TransformersPolicy:
    """A causal language model run by transformers, on a CPU or one GPU."""

    def __init__(
        self,
        name: str,
        model,
        tokenizer,
        batch_size: int = 256,
        revision: str = "",
        family: Family | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.family = family or family_of(tokenizer, model.config.architectures)
        self.num_params = sum(p.numel() for p in model.parameters())
        eos = model.generation_config.eos_token_id
        eos = tokenizer.eos_token_id if eos is None else eos
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [eos])
        self._lean = Leanness(model)
        self._rows_of_a_request = 0.25  # as in the batch before; a guess for the first
        self._may_stop: dict[tuple[str, ...], frozenset[int]] = {}

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        return state_ids(self.tokenizer, self.family, state)

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state; see :class:`tts_utils.protocols.Policy`.

        On a CPU in float32 a sample does not depend on its batch (up to a draw that falls within
        rounding, about 1e-6, of the border between two tokens).
        """
        firsts = first_indices(states, n, config, first)
        prompts = self._all_prompt_ids(states)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        rooms = [
            room_behind(ids, state, self.name, limit, config.max_tokens)
            for state, ids in zip(states, prompts, strict=True)
        ]
        waiting: dict[tuple[int, ...], _Branch] = {}
        for s, (prompt, room) in enumerate(zip(prompts, rooms, strict=True)):
            if room:
                text = ",".join(map(str, prompt)) if config.temperature > 0 else ""
                branch = waiting.setdefault(prompt, _Branch(prompt, [], room, []))
                branch.requests.extend(
                    _Request((s, i), _draws(text, firsts[s] + i, config)) for i in range(n)
                )
        results: dict[tuple[int, int], Continuation] = {}
        with torch.inference_mode():
            queue = list(waiting.values())
            while queue:
                queue.sort(key=lambda b: len(b.prompt) + len(b.written))
                batch = self._batch(queue)
                queue = queue[len(batch) :] + self._generate(batch, config, results)
        return [[results[s, i] if rooms[s] else FULL for i in range(n)] for s in range(len(states))]

    def _all_prompt_ids(self, states: Sequence[State]) -> list[tuple[int, ...]]:
        """The token ids of every state, equal ones made once."""
        made: dict[tuple[str, str], tuple[int, ...]] = {}
        for state in states:
            key = (state.problem.text, state.text)
            if key not in made:
                made[key] = tuple(self.prompt_ids(state))
        return [made[state.problem.text, state.text] for state in states]

    def _batch(self, queue: list[_Branch]) -> list[_Branch]:
        """The first branches of a queue that are expected to need no more rows than there may be."""
        rows, taken = 0.0, 0
        while taken < len(queue) and rows < self.batch_size:
            rows += max(1.0, len(queue[taken].requests) * self._rows_of_a_request)
            taken += 1
        return queue[:taken]

    def _generate(
        self, branches: list[_Branch], config: SamplingConfig, results: dict[tuple[int, int], Continuation]
    ) -> list[_Branch]:
        """Decode a batch; give back the branches for which there was no row, to be gone on with later.

        Requests that have written the same so far share a row: it is run once, and splits where their draws
        differ. Rows whose requests are done are taken over by others, or dropped once they are a quarter.
        """
        ending = self._tokens_that_may_stop(config.stop)
        rows: list[_Branch | None] = list(branches)  # None: a row that is done and not dropped yet
        state = self._read([[*b.prompt, *b.written] for b in branches], max(b.room for b in branches))
        left, most = [], len(branches)
        while True:
            grown: list[tuple[int, _Branch]] = []  # (row it grew from, branch)
            chosen = choose(state.logits, _points(rows, config), config).tolist()
            for row, (branch, tokens) in enumerate(zip(rows, chosen, strict=True)):
                if branch is None:
                    continue
                if config.temperature == 0:
                    tokens *= len(branch.requests)
                by_token: dict[int, list[_Request]] = {}
                for token, request in zip(tokens, branch.requests, strict=False):
                    by_token.setdefault(token, []).append(request)
                for token, requests in by_token.items():
                    written = [*branch.written, token]
                    ended = self._ended(written, branch.room, config.stop, ending)
                    if ended is None:
                        grown.append((row, _Branch(branch.prompt, written, branch.room, requests)))
                    else:
                        results.update((request.key, ended) for request in requests)
            left += [branch for _, branch in grown[self.batch_size :]]
            grown = grown[: self.batch_size]
            if not grown:
                break
            order, places = _places([row for row, _ in grown], len(rows))
            unmoved = order == list(range(len(rows)))
            rows = [None] * len(order)
            for place, (_, branch) in zip(places, grown, strict=True):
                rows[place] = branch
            most = max(most, len(grown) + len(left))
            tokens = [0 if branch is None else branch.written[-1] for branch in rows]
            state.grow(None if unmoved else order, tokens)
        self._rows_of_a_request = most / sum(len(b.requests) for b in branches)
        return left

    def _read(self, prompts: list[list[int]], room: int) -> ModelRows | LeanRows:
        lean = self._lean()
        return LeanRows(self.model, lean, prompts, room) if lean else ModelRows(self.model, prompts)

    def _ended(
        self, ids: list[int], room: int, stop: tuple[str, ...], ending: frozenset[int]
    ) -> Continuation | None:
        """What was written, if its last token ends it; ``ending`` are the tokens that may stop."""
        if ids[-1] in self.eos_ids:
            return Continuation(self._decode(ids[:-1]), len(ids), "eos")
        if ids[-1] in ending and (text := self._stopped(ids, stop)) is not None:
            return Continuation(text, len(ids), "stop")
        if len(ids) == room:
            return Continuation(self._decode(ids), len(ids), "length")
        return None

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _stopped(self, ids: list[int], stop: tuple[str, ...]) -> str | None:
        """The text up to the end of the first stop string that the last token completes, or None."""
        text, before = self._decode(ids), len(self._decode(ids[:-1]))
        ends = []
        for s in stop:
            at = text.find(s, max(0, before - len(s) + 1))
            if at >= 0:
                ends.append(at + len(s))
        return text[: min(ends)] if ends else None

    def _tokens_that_may_stop(self, stop: tuple[str, ...]) -> frozenset[int]:
        """Ids of the tokens that contain the last character of a stop string: only these need a look."""
        if stop not in self._may_stop:
            last = {s[-1] for s in stop}
            pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))]) if stop else []
            self._may_stop[stop] = frozenset(
                i for i, piece in enumerate(pieces) if last & set(piece) or "\ufffd" in piece
            )
        return self._may_stop[stop]


@dataclass(frozen=True, slots=True)
class _Request:
    """One sample: whose it is (state, index in the call), and its random numbers."""

    key: tuple[int, int]
    draws: Iterator[float]


@dataclass(frozen=True, slots=True)
class _Branch:
    """Requests that have written the same so far, behind the same prompt."""

    prompt: tuple[int, ...]
    written: list[int]
    room: int  # tokens that may be written in all
    requests: list[_Request]


def _draws(prompt: str, sample: int, config: SamplingConfig) -> Iterator[float]:
    """The random numbers of one sample, fixed by (prompt, sample index, seed); none at temperature 0."""
    if config.temperature == 0:
        return
    text = f"{config.seed}|{sample}|{prompt}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    stream = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
    while True:
        yield from stream.random(16).tolist()


def _points(rows: list[_Branch | None], config: SamplingConfig) -> torch.Tensor | None:
    """The next draws (rows, most requests of a row), 0 where a row has fewer; at temperature 0 None."""
    if config.temperature == 0:
        return None
    width = max(len(b.requests) for b in rows if b)
    return torch.tensor(
        [
            [next(r.draws) for r in b.requests] + [0.0] * (width - len(b.requests)) if b else [0.0] * width
            for b in rows
        ],
        dtype=torch.float64,
    )


def _places(parents: list[int], num_rows: int) -> tuple[list[int], list[int]]:
    """Where the branches go that grew from these rows.

    Returns:
        Which old row each new row continues, and the new row of each branch. The first branch of a row stays
        in it, the others go where a row is done, then to the end; with a quarter of the rows done, all
        close up.
    """
    if len(parents) <= 0.75 * num_rows:
        return parents, list(range(len(parents)))
    order = list(range(num_rows))
    taken: set[int] = set()
    free = sorted(set(order) - set(parents), reverse=True)
    places: list[int] = []
    for parent in parents:
        if parent not in taken:
            taken.add(parent)
            places.append(parent)
            continue
        if not free:
            free.append(len(order))
            order.append(parent)
        places.append(free.pop())
        order[places[-1]] = parent
    return order, places


def choose(logits: torch.Tensor, draws: torch.Tensor | None, config: SamplingConfig) -> torch.Tensor:
    """Next tokens (B, K) of rows of logits (B, V) and K draws in [0, 1) of each.

    A draw u takes the token at u of the cumulated distribution, in the order of the ids. Without draws the
    most likely token, the first of equal ones, (B, 1).
    """
    if draws is None:
        return logits.argmax(dim=-1, keepdim=True)
    probs = torch.softmax(logits.double() / config.temperature, dim=-1)
    if config.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= config.top_p
        probs = probs.masked_fill(beyond.gather(1, order.argsort(-1)), 0.0)
    cumulated = probs.cumsum(-1)
    points = draws.to(logits.device) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, points, right=True).clamp(max=logits.shape[1] - 1)
