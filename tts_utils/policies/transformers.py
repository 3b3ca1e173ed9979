"""A policy run by transformers: in batches, each sample from its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tts_utils.lean import Leanness
from tts_utils.policies.draws import Draws, stream_key
from tts_utils.policies.requests import FULL, room_behind
from tts_utils.policies.rows import LeanRows, ModelRows
from tts_utils.prompts import Family, family_of, prompt_ids, state_ids, text_of
from tts_utils.protocols import first_indices
from tts_utils.records import Continuation, SamplingConfig, State

BLOCK = 256
"""Tokens of a block, where a draw first takes a block of a large vocabulary and then a token."""


MAX_PROMPTS = 10_000
"""Problems whose chat prompts are kept, as every depth of a search asks for them again."""


class TransformersPolicy:
    """A causal language model run by transformers, on a CPU or one GPU."""

    settings = ""

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
        self._prompts: dict[str, list[int]] = {}  # of problems asked before
        self._may_stop: dict[tuple[str, ...], frozenset[int]] = {}

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        asked = state.problem.text
        if asked not in self._prompts:
            if len(self._prompts) >= MAX_PROMPTS:
                self._prompts.clear()
            self._prompts[asked] = prompt_ids(self.tokenizer, self.family, state.problem)
        return state_ids(self.tokenizer, self.family, state, self._prompts[asked])

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
        texts = {prompt: ",".join(map(str, prompt)) for prompt in set(prompts)}
        keys: list[tuple[int, int]] = []
        for s, (prompt, room) in enumerate(zip(prompts, rooms, strict=True)):
            if room:
                branch = waiting.setdefault(prompt, _Branch(prompt, [], room, []))
                branch.requests.extend(range(s * n, s * n + n))
            if config.temperature > 0:
                keys += [stream_key(texts[prompt], firsts[s] + i, config.seed) for i in range(n)]
        draws = Draws(keys) if config.temperature > 0 else None
        results = [FULL] * (len(states) * n)
        with torch.inference_mode():
            queue = list(waiting.values())
            while queue:
                queue.sort(key=lambda b: len(b.prompt) + len(b.written))
                batch = self._batch(queue)
                queue = queue[len(batch) :] + self._generate(batch, draws, config, results)
        return [results[s * n : s * n + n] for s in range(len(states))]

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
        self,
        branches: list[_Branch],
        draws: Draws | None,
        config: SamplingConfig,
        results: list[Continuation],
    ) -> list[_Branch]:
        """Decode a batch; give back the branches for which there was no row, to be gone on with later.

        Requests that have written the same so far share a row: it is run once, and splits where their draws
        differ. Rows whose requests are done are taken over by others, or dropped once they are a quarter.
        """
        ending = self._tokens_that_may_stop(config.stop) | self.eos_ids
        ending = np.array(sorted(ending), dtype=np.int64)
        rows = list(branches)  # one that is done and not dropped yet stays as it was
        state = self._read([[*b.prompt, *b.written] for b in branches], max(b.room for b in branches))
        requests = np.array([r for b in branches for r in b.requests])  # sorted by row
        row_of = np.repeat(np.arange(len(rows)), [len(b.requests) for b in branches])
        left: list[_Branch] = []
        most = len(rows)
        while True:
            # 1) The next token of every request.
            chosen = _next(state.logits, requests, row_of, rows, draws, config)
            # 2) Requests of a row that chose the same token go on together.
            size = state.logits.shape[1]
            pairs, branch_of = np.unique(row_of * size + chosen, return_inverse=True)
            parents, tokens = pairs // size, pairs % size
            written = [
                [*rows[row].written, token] for row, token in zip(parents, tokens.tolist(), strict=True)
            ]
            at_end = np.isin(tokens, ending)
            at_end |= [len(ids) == rows[row].room for ids, row in zip(written, parents, strict=True)]
            grows = np.ones(len(pairs), dtype=bool)
            for b in at_end.nonzero()[0]:
                ended = self._ended(written[b], rows[parents[b]].room, config.stop)
                grows[b] = ended is None
                if ended:
                    for request in requests[branch_of == b]:
                        results[request] = ended
            # 3) What has no row waits.
            grown = grows.nonzero()[0]
            for b in grown[self.batch_size :]:
                row = rows[parents[b]]
                left.append(_Branch(row.prompt, written[b], row.room, requests[branch_of == b].tolist()))
            grown = grown[: self.batch_size]
            if not len(grown):
                break
            # 4) The others get theirs, and the model reads their tokens.
            order, places = _places(parents[grown].tolist(), len(rows))
            unmoved = order == list(range(len(rows)))
            before, rows = rows, [rows[row] for row in order]
            for b, place in zip(grown, places, strict=True):
                row = before[parents[b]]
                rows[place] = _Branch(row.prompt, written[b], row.room, [])
            place_of = np.full(len(pairs), -1)
            place_of[grown] = places
            row_of = place_of[branch_of]
            live = (row_of >= 0).nonzero()[0]
            live = live[np.argsort(row_of[live], kind="stable")]
            requests, row_of = requests[live], row_of[live]
            most = max(most, len(grown) + len(left))
            state.grow(None if unmoved else order, [b.written[-1] if b.written else 0 for b in rows])
        self._rows_of_a_request = most / sum(len(b.requests) for b in branches)
        return left

    def _read(self, prompts: list[list[int]], room: int) -> ModelRows | LeanRows:
        lean = self._lean()
        return LeanRows(self.model, lean, prompts, room) if lean else ModelRows(self.model, prompts)

    def _ended(self, ids: list[int], room: int, stop: tuple[str, ...]) -> Continuation | None:
        """What was written, if its last token ends it."""
        if ids[-1] in self.eos_ids:
            return Continuation(self._decode(ids[:-1]), len(ids), "eos")
        if ids[-1] in self._tokens_that_may_stop(stop) and (text := self._stopped(ids, stop)) is not None:
            return Continuation(text, len(ids), "stop")
        if len(ids) == room:
            return Continuation(self._decode(ids), len(ids), "length")
        return None

    def _decode(self, ids: list[int]) -> str:
        return text_of(self.tokenizer, ids)

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
class _Branch:
    """Requests that have written the same so far, behind the same prompt."""

    prompt: tuple[int, ...]
    written: list[int]
    room: int  # tokens that may be written in all
    requests: list[int]


def _next(
    logits: torch.Tensor,
    requests: np.ndarray,
    row_of: np.ndarray,
    rows: list[_Branch],
    draws: Draws | None,
    config: SamplingConfig,
) -> np.ndarray:
    """The next token (n,) of n requests, sorted by row, from the logits (rows, V)."""
    if draws is None:
        return choose(logits, None, config)[:, 0].cpu().numpy()[row_of]
    places = np.array([len(row.written) for row in rows])[row_of]
    starts = np.searchsorted(row_of, np.arange(len(rows)))
    column = np.arange(len(row_of)) - starts[row_of]
    points = np.zeros((len(rows), column.max() + 1))
    points[row_of, column] = draws.take(requests, places)
    return choose(logits, torch.from_numpy(points), config).cpu().numpy()[row_of, column]


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
    if logits.shape[1] > 16 * BLOCK and config.top_p == 1:
        return _choose_by_blocks(logits, draws.to(logits.device), config.temperature)
    probs = torch.softmax(logits.double() / config.temperature, dim=-1)
    if config.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= config.top_p
        probs = probs.masked_fill(beyond.gather(1, order.argsort(-1)), 0.0)
    cumulated = probs.cumsum(-1)
    points = draws.to(logits.device) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, points, right=True).clamp(max=logits.shape[1] - 1)


def _choose_by_blocks(logits: torch.Tensor, draws: torch.Tensor, temperature: float) -> torch.Tensor:
    """As :func:`choose`, for large vocabularies: first the block of tokens, then the token in it.

    Only one block of each draw is cumulated token by token. ``logits`` is written over
    where it is float32, as a copy of it would take as long as the rest.
    """
    rows, size = logits.shape
    blocks = -(-size // BLOCK)
    weights = logits.float()
    weights.sub_(weights.amax(-1, keepdim=True)).div_(temperature).exp_()
    weights = F.pad(weights, (0, blocks * BLOCK - size)) if size % BLOCK else weights
    weights = weights.view(rows, blocks, BLOCK)
    sums = weights.sum(-1).double()
    cumulated = sums.cumsum(-1)
    points = draws * cumulated[:, -1:]
    block = torch.searchsorted(cumulated, points, right=True).clamp(max=blocks - 1)
    within = weights[torch.arange(rows, device=logits.device)[:, None], block].double().cumsum(-1)
    rest = points - (cumulated - sums).gather(1, block)
    last = torch.nextafter(within[..., -1], torch.zeros_like(rest))  # a token of weight 0 is never chosen
    rest = torch.minimum(rest.clamp(min=0), last)
    return block * BLOCK + torch.searchsorted(within, rest[..., None], right=True)[..., 0]
