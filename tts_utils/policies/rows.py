"""Rows of text that grow by a token at a time: the model, its cache of keys and values, and nothing of draws.

Two of a kind: :class:`ModelRows` runs any causal language model of transformers, :class:`LeanRows` the
written-out pass of a small one on a CPU. Rows are padded on the left, so that all grow at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from tts_utils.lean import Lean
from tts_utils.policies.kv_cache import give_room

PREFILL_TOKENS = 2048
"""Tokens of prompts that the written-out pass reads at once: more do not stay in a CPU's caches."""


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
        self.cache = out.past_key_values
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
            past_key_values=self.cache,
            use_cache=True,
        )
        self.lengths = self.lengths + 1
        self.logits = out.logits[:, -1]


class LeanRows:
    """Rows of a small model on a CPU: the same, faster."""

    def __init__(self, model, lean: Lean, prompts: Sequence[Sequence[int]], room: int) -> None:
        """Read prompts, a row each, that will grow by at most ``room`` tokens."""
        self.lean, self.head = lean, model.get_output_embeddings()
        self.length = max(map(len, prompts))
        self.lengths = torch.tensor([len(p) for p in prompts])
        rows = len(prompts)
        self._buffers(rows, self.length + min(room, 64))
        columns = torch.arange(self.keys.shape[-1])
        pads = columns < (self.length - self.lengths)[:, None]  # (rows, capacity)
        self.mask.copy_(torch.zeros(pads.shape).masked_fill(pads, -torch.inf)[:, None, None])
        last = [self._read(prompts, batch) for batch in _prefills([len(p) for p in prompts])]
        self.logits = torch.cat(last)

    def _buffers(self, rows: int, capacity: int) -> None:
        lean, like = self.lean, self.lean.norm
        layers, heads, size = len(lean.layers), lean.kv_heads, lean.size
        self.keys = like.new_zeros(layers, rows, heads, size, capacity)
        self.values = like.new_zeros(layers, rows, heads, capacity, size)
        self.mask = like.new_zeros(rows, heads, 1, capacity)  # 0, or -inf at a pad

    def _read(self, prompts: Sequence[Sequence[int]], batch: range) -> torch.Tensor:
        """Read some of the prompts, padded on the right; give the logits of their next tokens."""
        lengths = self.lengths[batch.start : batch.stop]
        width = int(lengths.max())
        ids = torch.tensor([list(prompts[i]) + [0] * (width - len(prompts[i])) for i in batch])
        at = slice(self.length - width, self.length)
        source = (torch.arange(width) - (width - lengths)[:, None]).clamp(min=0)  # right to left padding
        rows = torch.arange(len(batch))
        ragged = int(lengths.min()) < width

        def attend(layer, queries, keys, values):
            chosen = (k[rows[:, None], source] if ragged else k for k in (keys, values))
            for buffer, kept, turn in zip((self.keys, self.values), chosen, (1, 0), strict=True):
                part = buffer[layer, batch.start : batch.stop]
                if turn:
                    part[..., at] = kept.permute(0, 2, 3, 1)
                else:
                    part[:, :, at] = kept.transpose(1, 2)
            return causal(queries, keys, values)

        positions = torch.arange(width).expand(len(batch), width)
        hidden = self.lean(ids, positions, attend)
        return self.head(hidden[rows, lengths - 1])

    def grow(self, order: Sequence[int] | None, tokens: Sequence[int]) -> None:
        """As :meth:`ModelRows.grow`."""
        if order is not None:
            self._select(order)
        if self.length == self.keys.shape[-1]:
            self._widen()
        rows, length, at = len(tokens), self.length + 1, self.length
        heads, size = self.lean.kv_heads, self.lean.size
        mask = self.mask[:rows].flatten(0, 1)[:, :, :length]

        def attend(layer, queries, keys, values):
            held = self.keys[layer, :rows], self.values[layer, :rows]
            held[0][..., at], held[1][:, :, at] = keys[:, 0], values[:, 0]
            queries = queries.reshape(rows * heads, -1, size)
            shares = torch.baddbmm(mask, queries, held[0].flatten(0, 1)[:, :, :length]).softmax(-1)
            return torch.bmm(shares, held[1].flatten(0, 1)[:, :length]).view(rows, 1, -1)

        hidden = self.lean(torch.tensor(tokens)[:, None], self.lengths[:, None], attend)
        self.lengths = self.lengths + 1
        self.length = length
        self.logits = self.head(hidden[:, 0])

    def _select(self, order: Sequence[int]) -> None:
        moved = [row for row, source in enumerate(order) if row != source]
        self.lengths = self.lengths[torch.tensor(order)]
        if not moved:
            return
        sources, targets = torch.tensor([order[row] for row in moved]), torch.tensor(moved)
        have = self.mask.shape[0]
        parts = self.keys[..., : self.length], self.values[:, :, :, : self.length]
        copies = [part[:, sources] for part in parts]
        pads = self.mask[sources]
        if len(order) > have:
            old = self.keys, self.values, self.mask
            self._buffers(max(len(order), have + have // 2), self.keys.shape[-1])
            for new, held in zip((self.keys, self.values), old[:2], strict=True):
                new[:, :have] = held
            self.mask[:have] = old[2]
        self.keys[:, targets, :, :, : self.length], self.values[:, targets, :, : self.length] = copies
        self.mask[targets] = pads

    def _widen(self) -> None:
        old, capacity = (self.keys, self.values, self.mask), self.keys.shape[-1]
        self._buffers(old[2].shape[0], capacity + capacity // 2 + 1)
        self.keys[..., :capacity], self.values[:, :, :, :capacity] = old[:2]
        self.mask[..., :capacity] = old[2]


def causal(queries, keys, values) -> torch.Tensor:
    """Attention among the tokens of a row, each looking at itself and what stands before it."""
    seen = F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (queries, keys, values)),
        is_causal=True,
        scale=1.0,
        enable_gqa=queries.shape[2] != keys.shape[2],
    )
    return seen.transpose(1, 2).flatten(2)


def _prefills(lengths: Sequence[int]) -> list[range]:
    """Runs of neighbours whose padded size stays within the budget."""
    runs, start = [], 0
    for end in range(1, len(lengths) + 1):
        if end < len(lengths) and max(lengths[start : end + 1]) * (end + 1 - start) <= PREFILL_TOKENS:
            continue
        runs.append(range(start, end))
        start = end
    return runs
