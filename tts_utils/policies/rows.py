"""Rows of text that grow by a token at a time: the model, its cache of keys and values, and nothing of draws.

Two of a kind: :class:`ModelRows` runs any causal language model of transformers, :class:`LeanRows` the
written-out pass of a small one on a CPU. Rows are padded on the left, so that all grow at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from tts_utils.checkpoints import past_name
from tts_utils.lean import Lean
from tts_utils.policies.kv_cache import give_room

PREFILL_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Tokens of prompts that the written-out pass reads at once; more do not stay in a CPU's caches."""


class ModelRows:
    """Rows of a model that transformers runs."""

    def __init__(self, model, prompts: Sequence[Sequence[int]]) -> None:
        """Read prompts, a row each; ``logits`` are then those of their next tokens, (rows, V)."""
        self.model, device = model, model.device
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=device)
        self.mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        self.lengths = self.mask.sum(1)
        out = model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=(self.mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        self.past_name = past_name(model)
        self.cache = out[self.past_name]
        give_room(self.cache)
        self.logits = out.logits[:, -1]

    def grow(self, order: Sequence[int] | None, tokens: Sequence[int]) -> None:
        """Let row i be what row order[i] was (None: every row stays), then append a token to every row."""
        device = self.model.device
        if order is not None:
            select = torch.tensor(order, device=device)
            self.cache.batch_select_indices(select)
            self.mask, self.lengths = self.mask[select], self.lengths[select]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        out = self.model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=self.mask,
            position_ids=self.lengths[:, None],
            **{self.past_name: self.cache},
            use_cache=True,
        )
        self.lengths = self.lengths + 1
        self.logits = out.logits[:, -1]


class LeanRows:
    """Rows of a model whose pass is written out: the same, faster."""

    def __init__(self, model, lean: Lean, prompts: Sequence[Sequence[int]], room: int) -> None:
        """Read prompts, a row each, that will grow by at most ``room`` tokens."""
        self.lean, self.head, self.device = lean, model.get_output_embeddings(), model.device
        self.length = max(map(len, prompts))
        self.lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        self._buffers(len(prompts), self.length + min(room, 64))
        columns = torch.arange(self.mask.shape[-1], device=self.device)
        pads = columns < (self.length - self.lengths)[:, None]  # (rows, capacity)
        self.mask.masked_fill_(pads[:, None, None], -torch.inf)
        runs = _prefills([len(p) for p in prompts], PREFILL_TOKENS[self.device.type])
        self.logits = torch.cat([self._read(prompts, run) for run in runs])

    def _buffers(self, rows: int, capacity: int) -> None:
        """Room for keys (layers, rows, heads, D, T), values (.., T, D) and the mask, -inf at pads.

        On a CPU the tokens of the keys are last in memory too: so a query's product with all reads in order.
        """
        lean, like = self.lean, self.lean.norm
        on_cpu, capacity = self.device.type == "cpu", -(-capacity // 16) * 16
        shape = len(lean.layers), rows, lean.kv_heads
        self.values = like.new_zeros(*shape, capacity, lean.size)
        self.keys = like.new_zeros(*shape, lean.size, capacity) if on_cpu else self.values.clone().mT
        self.mask = like.new_zeros(rows, lean.kv_heads if on_cpu else 1, 1, capacity)

    def _read(self, prompts: Sequence[Sequence[int]], run: range) -> torch.Tensor:
        """Read some of the prompts, padded on the right; give the logits of their next tokens."""
        device, sizes = self.device, [len(prompts[i]) for i in run]
        width, ragged = max(sizes), min(sizes) < max(sizes)
        lengths, rows = self.lengths[run.start : run.stop], torch.arange(len(run), device=device)
        ids = torch.tensor([[*prompts[i], *[0] * (width - len(prompts[i]))] for i in run], device=device)
        columns = torch.arange(width, device=device)
        source = (columns - (width - lengths)[:, None]).clamp(min=0)  # from pads on the right to the left
        at = slice(self.length - width, self.length)

        def attend(layer, queries, keys, values):
            kept = [x[rows[:, None], source] for x in (keys, values)] if ragged else [keys, values]
            self.keys[layer, run.start : run.stop, ..., at] = kept[0].permute(0, 2, 3, 1)
            self.values[layer, run.start : run.stop, :, at] = kept[1].transpose(1, 2)
            return causal(queries, keys, values, self.lean.scale)

        hidden = self.lean(ids, columns.expand(len(run), width), width, attend)
        return self.head(hidden[rows, lengths - 1])

    def grow(self, order: Sequence[int] | None, tokens: Sequence[int]) -> None:
        """As :meth:`ModelRows.grow`."""
        if order is not None:
            self._select(order)
        if self.length == self.mask.shape[-1]:
            self._widen()
        rows, at, self.length = len(tokens), self.length, self.length + 1
        attend = self._attend_on_cpu if self.device.type == "cpu" else self._attend_on_gpu

        def keep_and_attend(layer, queries, keys, values):
            self.keys[layer, :rows, ..., at], self.values[layer, :rows, :, at] = keys[:, 0], values[:, 0]
            held = self.keys[layer, :rows, ..., : self.length], self.values[layer, :rows, :, : self.length]
            return attend(queries, *held, self.mask[:rows, ..., : self.length])

        ids = torch.tensor(tokens, device=self.device)[:, None]
        hidden = self.lean(ids, self.lengths[:, None], self.length, keep_and_attend)
        self.lengths = self.lengths + 1
        self.logits = self.head(hidden[:, 0])

    def _attend_on_cpu(self, queries, keys, values, mask) -> torch.Tensor:
        """For rows of one query each: three operations, where the general one is slow."""
        rows, heads = keys.shape[:2]
        queries = queries.reshape(rows * heads, -1, self.lean.size)
        shares = torch.baddbmm(mask.flatten(0, 1), queries, keys.flatten(0, 1)).softmax(-1)
        return torch.bmm(shares, values.flatten(0, 1)).view(rows, 1, -1)

    def _attend_on_gpu(self, queries, keys, values, mask) -> torch.Tensor:
        """Queries that share keys are looked at as tokens of one head, so that no key is copied."""
        rows, heads = keys.shape[:2]
        queries = queries.reshape(rows, heads, -1, self.lean.size)
        mask = mask.expand(rows, heads, queries.shape[2], -1)
        seen = F.scaled_dot_product_attention(
            queries, keys.transpose(2, 3), values, attn_mask=mask, scale=self.lean.scale
        )
        return seen.reshape(rows, 1, -1)

    def _select(self, order: Sequence[int]) -> None:
        """Let row i be what row order[i] was; only rows that change are copied."""
        moved = [row for row, source in enumerate(order) if row != source]
        self.lengths = self.lengths[torch.tensor(order, device=self.device)]
        if not moved:
            return
        sources, targets = torch.tensor([[order[row] for row in moved], moved], device=self.device)
        copies = [part[:, sources] for part in self._filled()]
        pads = self.mask[sources]
        if len(order) > (have := len(self.mask)):
            self._resize(max(len(order), have + have // 2), self.mask.shape[-1])
        for part, copy in zip(self._filled(), copies, strict=True):
            part[:, targets] = copy
        self.mask[targets] = pads

    def _filled(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.keys[..., : self.length], self.values[:, :, :, : self.length]

    def _widen(self) -> None:
        rows, *_, capacity = self.mask.shape
        self._resize(rows, capacity + capacity // 2)

    def _resize(self, rows: int, capacity: int) -> None:
        keys, values, mask = self.keys, self.values, self.mask
        have, *_, filled = mask.shape
        self._buffers(rows, capacity)
        self.keys[:, :have, ..., :filled], self.values[:, :have, :, :filled] = keys, values
        self.mask[:have, ..., :filled] = mask


def causal(queries, keys, values, scale: float) -> torch.Tensor:
    """Attention among the tokens of a row, each looking at itself and what stands before it."""
    seen = F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (queries, keys, values)),
        is_causal=True,
        scale=scale,
        enable_gqa=queries.shape[2] != keys.shape[2],
    )
    return seen.transpose(1, 2).flatten(2)


def _prefills(lengths: Sequence[int], budget: int) -> list[range]:
    """Runs of neighbours whose padded size stays within the budget."""
    runs, start = [], 0
    for end in range(1, len(lengths) + 1):
        if end < len(lengths) and max(lengths[start : end + 1]) * (end + 1 - start) <= budget:
            continue
        runs.append(range(start, end))
        start = end
    return runs
