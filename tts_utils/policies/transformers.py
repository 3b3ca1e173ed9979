"""A policy run by transformers: in batches, each sample from its own stream of random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from tts_utils.policies.kv_cache import give_room
from tts_utils.policies.requests import FULL, room_behind
from tts_utils.prompts import Family, family_of, state_ids, text_of
from tts_utils.protocols import first_indices
from tts_utils.records import Continuation, SamplingConfig, State


class TransformersPolicy:
    """A causal language model run by transformers, on a CPU or one GPU."""

    setup = ""

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
        prompts = [self.prompt_ids(state) for state in states]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        rooms = [
            room_behind(ids, state, self.name, limit, config.max_tokens)
            for state, ids in zip(states, prompts, strict=True)
        ]
        requests = [(s, i) for s in range(len(states)) if rooms[s] for i in range(n)]
        requests.sort(key=lambda r: (len(prompts[r[0]]), r))
        results: dict[tuple[int, int], Continuation] = {}
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            streams = [_stream(prompts[s], firsts[s] + i, config) for s, i in batch]
            heads, limits = ([column[s] for s, _ in batch] for column in (prompts, rooms))
            outputs = self._generate(heads, streams, config, limits)
            results.update(zip(batch, outputs, strict=True))
        return [[results[s, i] if rooms[s] else FULL for i in range(n)] for s in range(len(states))]

    def _generate(
        self, prompts: list[list[int]], streams: list, config: SamplingConfig, rooms: list[int]
    ) -> list[Continuation]:
        """Decode one batch of requests, each of at most ``rooms`` tokens (equal prompts have equal rooms).

        Requests that have written the same so far share a row: it is run once, and splits where their draws
        differ. Rows whose requests are done are taken over by others, or dropped once they are a quarter.
        """
        device = self.model.device
        ending = self._tokens_that_may_stop(config.stop)
        longest = max(map(len, prompts))
        index = {p: row for row, p in enumerate(dict.fromkeys(map(tuple, prompts)))}
        row_of = [index[tuple(p)] for p in prompts]  # of each request
        written: list[list[int]] = [[] for _ in index]  # in each row
        results: list[Continuation | None] = [None] * len(prompts)
        live = list(range(len(prompts)))
        with torch.inference_mode():
            # 1) Read each distinct prompt, padded on the left.
            ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in index], device=device)
            mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in index], device=device)
            lengths = mask.sum(1)
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            give_room(cache)
            # 2) One token a round for every request; one step of the model a round for every row.
            for t in range(max(rooms)):
                draws = [streams[i].random() for i in live] if config.temperature > 0 else None
                logits = out.logits[:, -1][[row_of[i] for i in live]]
                branches: dict[tuple[int, int], list[int]] = {}
                for i, token in zip(live, _choose(logits, draws, config).tolist(), strict=True):
                    branches.setdefault((row_of[i], token), []).append(i)
                grown = []  # (row it grew from, what it has written, its requests)
                for (row, token), requests in branches.items():
                    ids_written = [*written[row], token]
                    ended = self._ended(ids_written, rooms[requests[0]], config.stop, ending)
                    if ended is None:
                        grown.append((row, ids_written, requests))
                    for i in requests:
                        results[i] = ended
                if not grown:
                    break
                order, rows = _places([row for row, _, _ in grown], len(written))
                if order != list(range(len(written))):
                    select = torch.tensor(order, device=device)
                    cache.batch_select_indices(select)
                    mask, lengths = mask[select], lengths[select]
                written = [[]] * len(order)
                tokens = [0] * len(order)  # a row that is done and not dropped yet reads anything
                for row, (_, ids_written, requests) in zip(rows, grown, strict=True):
                    written[row], tokens[row] = ids_written, ids_written[-1]
                    for i in requests:
                        row_of[i] = row
                live = [i for _, _, requests in grown for i in requests]
                mask = torch.cat([mask, mask.new_ones(len(written), 1)], dim=1)
                out = self.model(
                    input_ids=torch.tensor(tokens, device=device)[:, None],
                    attention_mask=mask,
                    position_ids=(lengths + t)[:, None],
                    past_key_values=cache,
                    use_cache=True,
                )
        return results

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
        if not stop:
            return frozenset()
        last = {s[-1] for s in stop}
        pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, piece in enumerate(pieces) if last & set(piece) or "\ufffd" in piece)


def _stream(prompt: list[int], sample: int, config: SamplingConfig) -> np.random.Generator:
    """The random stream of one sample, fixed by (prompt, sample index, seed)."""
    text = f"{config.seed}|{sample}|{','.join(map(str, prompt))}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


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
    free = sorted(set(order) - set(parents), reverse=True)
    places: list[int] = []
    for parent in parents:
        if parent not in places:
            places.append(parent)
            continue
        if not free:
            free.append(len(order))
            order.append(parent)
        places.append(free.pop())
        order[places[-1]] = parent
    return order, places


def _choose(logits, draws: list[float] | None, config: SamplingConfig):
    """Next tokens (B,) from logits (B, V): argmax, or the inverse of the cumulated distribution."""
    if config.temperature == 0:
        return logits.argmax(dim=-1)
    probs = torch.softmax(logits.double() / config.temperature, dim=-1)
    if config.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= config.top_p
        probs = probs.masked_fill(beyond.gather(1, order.argsort(-1)), 0.0)
    cumulated = probs.cumsum(-1)
    points = torch.tensor(draws, dtype=torch.float64, device=logits.device) * cumulated[:, -1]
    return torch.searchsorted(cumulated, points[:, None], right=True)[:, 0].clamp(max=logits.shape[1] - 1)
