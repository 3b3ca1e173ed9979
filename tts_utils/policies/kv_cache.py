"""A cache of keys and values with spare room, so that a token or a row is added without copying the rest."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer


def give_room(cache: DynamicCache) -> None:
    """Let the layers of a model's cache that keep every token grow in place; others stay as they are.

    transformers copies the whole cache for every token and every selection of rows, which for a small model
    is most of the work. What the model reads does not change.
    """
    cache.layers = [_RoomyLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]


class _RoomyLayer(DynamicLayer):
    """Keys and values (B, H, T, D) that are views of larger buffers."""

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._buffers = [layer.keys, layer.values]
        self.keys, self.values = layer.keys, layer.values

    def update(self, key_states, value_states, *args, **kwargs):
        """Write the new tokens behind the others."""
        rows, _, new, _ = key_states.shape
        before = self.get_seq_length()
        self._show(rows, before + new)
        self.keys[:, :, before:] = key_states
        self.values[:, :, before:] = value_states
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Let row i be what row indices[i] was; only rows that change are copied."""
        rows, length = len(indices), self.get_seq_length()
        moved = (indices != torch.arange(rows, device=indices.device)).nonzero()[:, 0]
        sources = indices[moved]
        copies = self.keys[sources], self.values[sources]
        self._show(rows, length)
        self.keys[moved], self.values[moved] = copies

    def _show(self, rows: int, length: int) -> None:
        """Let keys and values be the first rows and tokens of the buffers, which grow if these are more."""
        have_rows, heads, have_length, _ = self._buffers[0].shape
        if rows > have_rows or length > have_length:
            shape = (
                rows if rows <= have_rows else max(rows, 2 * have_rows),
                length if length <= have_length else length + length // 2,
            )
            shape = max(shape[0], have_rows), heads, max(shape[1], have_length)
            larger = [old.new_empty(*shape, old.shape[-1]) for old in self._buffers]
            for new, held in zip(larger, (self.keys, self.values), strict=True):
                new[: held.shape[0], :, : held.shape[2]] = held
            self._buffers = larger
        self.keys, self.values = (buffer[:rows, :, :length] for buffer in self._buffers)
