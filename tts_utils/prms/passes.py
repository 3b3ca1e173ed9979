"""One pass of a model over rows of new tokens, each row behind tokens that are read: two of a kind.

:func:`written_out` runs no pads but in the attention; :func:`through_modules` runs any model of transformers,
pads and all. Both keep the new keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import DynamicCache

from tts_utils.checkpoints import past_name
from tts_utils.lean import Lean
from tts_utils.prms.prefixes import Node, Prefixes

Row = tuple[Node | None, list[Node]]  # a node that is read, and nodes behind it that are not


class Batch(NamedTuple):
    """Rows of new tokens: N tokens row after row, which are also a grid of R rows of T.

    Attributes:
        ids, positions, places: (N,) the tokens, where they stand in their texts, and where in the pool.
        cells: (N,) where they stand in the grid, counted along its rows.
        grid: (R, T) which token stands there; pads are on the right, and say 0.
        behind: (R, P) places of what stands before each row; pads are on the left.
        seen: (R, T, P + T) where a token of the grid looks: at all that stands before its row, and in the row
            at its own node up to itself.
        ends: (E,) which of the N are the last tokens of their nodes, those of a problem's text left out.
    """

    ids: Tensor
    positions: Tensor
    places: Tensor
    cells: Tensor
    grid: Tensor
    behind: Tensor
    seen: Tensor
    ends: Tensor


def batch_of(rows: Sequence[Row], known: Prefixes, device: torch.device) -> Batch:
    """Lay out some rows, at least one token among them, and take places for their tokens."""
    pasts = [len(parent.places) if parent else 0 for parent, _ in rows]
    widths = [sum(node.length for node in nodes) for _, nodes in rows]
    past, width = max(pasts), max(widths)
    ids, positions, places, cells, pieces, behind, ends = [], [], [], [], [], [], []
    for row, (parent, nodes) in enumerate(rows):
        behind.append([0] * (past - pasts[row]) + (parent.places if parent else []))
        cells += range(row * width, row * width + widths[row])
        for number, node in enumerate(nodes):
            ids += node.key
            positions += range(pasts[row], pasts[row] + node.length)
            places += known.take(node)
            pieces += [number] * node.length
            if node.depth:
                ends.append(len(ids) - 1)
    lines = torch.tensor([ids, positions, places, cells, pieces], device=device)
    tokens, positions, places, cells, pieces = lines
    grid = cells.new_zeros(len(rows) * width)
    grid[cells] = torch.arange(len(cells), device=device)
    grid = grid.view(len(rows), width)
    starts = past - torch.tensor(pasts, device=device)
    before = torch.arange(past, device=device) >= starts[:, None, None]
    pieces = pieces[grid]
    within = (pieces[:, :, None] == pieces[:, None]).tril()
    seen = torch.cat([before.expand(-1, width, -1), within], 2)
    behind, ends = (torch.tensor(x, device=device, dtype=torch.long) for x in (behind, ends))
    return Batch(tokens, positions, places, cells, grid, behind, seen, ends)


def written_out(lean: Lean, known: Prefixes, batch: Batch) -> Tensor:
    """Last hidden states (E, D) at the ends of nodes, row after row."""
    groups, cells = lean.heads // lean.kv_heads, batch.cells
    together = torch.cat([batch.behind, batch.places[batch.grid]], 1)  # a pad's keys are those of any token
    mask = _mask(batch.seen, lean.norm, groups)

    def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        known.write(layer, batch.places, keys, values)
        keys, values = (x.transpose(1, 2) for x in known.past(layer, together))
        # Queries that share keys are looked at as tokens of one head: no key is copied.
        queries = F.embedding(batch.grid, queries.flatten(1)).unflatten(2, (lean.kv_heads, groups, -1))
        queries = queries.permute(0, 2, 3, 1, 4).flatten(2, 3)
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=lean.scale)
        seen = seen.unflatten(2, (groups, -1)).permute(0, 3, 1, 2, 4).flatten(2)
        return F.embedding(cells, seen.flatten(0, 1))

    return lean(batch.ids, batch.positions, batch.seen.shape[2], attend)[batch.ends]


def through_modules(model, known: Prefixes, batch: Batch) -> Tensor:
    """The same by the model's own modules, for any model that has a cache of keys and values."""
    past, cache = batch.behind.shape[1], DynamicCache()
    for layer in range(known.num_layers if past else 0):
        cache.update(*(x.transpose(1, 2) for x in known.past(layer, batch.behind)), layer)
    out = model.base_model(
        input_ids=batch.ids[batch.grid],
        attention_mask=_mask(batch.seen, next(model.parameters())),
        position_ids=batch.positions[batch.grid],
        **{past_name(model): cache},
        use_cache=True,
    )
    for number, layer in enumerate(cache.layers):
        new = (x[:, :, past:].transpose(1, 2).flatten(0, 1) for x in (layer.keys, layer.values))
        known.write(number, batch.places, *(x[batch.cells.to(x.device)] for x in new))
    return out.last_hidden_state.flatten(0, 1)[batch.cells[batch.ends].to(out.last_hidden_state.device)]


def _mask(seen: Tensor, like: Tensor, groups: int = 1) -> Tensor:
    """What is added to attention (R, 1, groups * T, P + T): 0 where a token looks, very little elsewhere.

    On a GPU its rows are 16 numbers apart: else the kernels there would copy it in every layer.
    """
    mask = torch.zeros(seen.shape, dtype=like.dtype, device=seen.device)
    mask.masked_fill_(~seen, torch.finfo(like.dtype).min)
    mask, width = mask.repeat(1, groups, 1)[:, None], seen.shape[2]
    if mask.device.type == "cpu" or width % 16 == 0:
        return mask
    return F.pad(mask, (0, 16 - width % 16))[..., :width]
