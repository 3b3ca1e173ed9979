"""Reading pieces of text behind what has been read: one pass of a model for many of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tts_utils.lean import Leanness
from tts_utils.prms.formats import Format
from tts_utils.prms.passes import Row, batch_of, through_modules, written_out
from tts_utils.prms.prefixes import Node, Prefixes

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
"""Models whose layers keep keys and values of every token, so that a prefix can be taken up again."""

ROW_TOKENS = 64
"""Tokens of the pieces behind one node that stand in one row; each sees the node's tokens and its own."""

Pieces = Sequence[tuple[int, ...]]


class Reader:
    """A model, and what it has read."""

    def __init__(self, model, text_format: Format, batch_tokens: int, cache_bytes: int) -> None:
        """Nothing read yet; see :class:`tts_utils.prms.transformers.TransformersPRM`."""
        self.model = model
        self.format = text_format
        self.batch_tokens = batch_tokens
        self.tokens_run = 0
        self._lean = Leanness(model)
        self._known, self._longest = None, 0
        config = model.base_model.config
        implementation = getattr(config, "_attn_implementation", "")
        if config.model_type in MODEL_TYPES and implementation in ("sdpa", "eager") and cache_bytes:
            size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            likes = [next(layer.parameters()) for layer in model.base_model.layers]
            self._known = Prefixes(config.num_key_value_heads, size, likes, cache_bytes)
            window = getattr(config, "sliding_window", None)
            self._longest = min(self._known.capacity, window or self._known.capacity)

    def forget(self) -> None:
        """Forget everything that was read."""
        if self._known:
            self._known.clear()

    def read(self, texts: Sequence[Pieces]) -> list[tuple[float, ...]]:
        """The score at the end of every piece but the first, for every text.

        Args:
            texts: pieces of token ids, each text's first piece being what it shares with most others. What
                was read before, as far as it is remembered, is not read again. Texts that begin alike should
                stand together, as those that do not fit into the memory together are read one after another.
        """
        results: list[tuple[float, ...]] = [()] * len(texts)
        sizes = [sum(map(len, pieces)) for pieces in texts]
        whole = [i for i, size in enumerate(sizes) if size > self._longest]
        portions: list[list[int]] = [[]]
        room = 0 if self._known is None else self._known.capacity
        for i, size in enumerate(sizes):
            if size > self._longest:
                continue
            if size > room:
                portions.append([])
                room = self._known.capacity
            portions[-1].append(i)
            room -= size
        with torch.inference_mode():
            for i, scores in zip(whole, self._whole([texts[i] for i in whole]), strict=True):
                results[i] = scores
            for portion in portions:
                for i, scores in zip(portion, self._behind([texts[i] for i in portion]), strict=True):
                    results[i] = scores
        return results

    def _behind(self, texts: list[Pieces]) -> list[tuple[float, ...]]:
        """Read what is new in texts that fit into the memory together."""
        if not texts:
            return []
        known = self._known
        known.next_call()
        chains: list[list[Node]] = []
        levels: dict[int, dict[int, Node]] = {}
        for first, *others in texts:
            chain = [known.root(first)]
            for piece in others:
                chain.append(known.child(chain[-1], piece))
            chains.append(chain)
            for node in chain:
                if not node.read:
                    levels.setdefault(node.depth, {})[id(node)] = node
        known.make_room(sum(node.length for level in levels.values() for node in level.values()))
        for _, level in sorted(levels.items()):
            for batch in self._batches(rows_of(list(level.values()))):
                self._run(batch)
        return [tuple(node.score for node in chain[1:]) for chain in chains]

    def _batches(self, rows: list[Row]) -> list[list[Row]]:
        """Rows of like length together, within the budget of tokens; what they look back at counts a bit."""
        wide = [sum(node.length for node in nodes) for _, nodes in rows]
        past = [len(parent.places) if parent else 0 for parent, _ in rows]
        result: list[list[Row]] = []
        widest = longest = 0
        for i in sorted(range(len(rows)), key=lambda i: (wide[i], past[i])):
            count = len(result[-1]) + 1 if result else 1
            widest, longest = max(widest, wide[i]), max(longest, past[i])
            fits = count * max(widest, (widest + longest) / 8) <= self.batch_tokens
            if result and fits:
                result[-1].append(rows[i])
            else:
                result.append([rows[i]])
                widest, longest = wide[i], past[i]
        return result

    def _run(self, rows: list[Row]) -> None:
        """Read the nodes of some rows; keep their keys, values and scores."""
        new = [node for _, nodes in rows for node in nodes]
        scores: list[float] = []
        if any(node.length for node in new):
            batch, lean = batch_of(rows, self._known, self.model.device), self._lean()
            self.tokens_run += len(batch.ids) if lean else batch.grid.numel()
            if lean:
                hidden = written_out(lean, self._known, batch)
            else:
                hidden = through_modules(self.model, self._known, batch)
            if len(hidden):
                scores = self.format.read(self.model, hidden.float()).tolist()
        following = iter(scores)
        for node in new:
            node.read = True
            if node.depth:
                node.score = next(following)

    def _whole(self, texts: list[Pieces]) -> list[tuple[float, ...]]:
        """Read texts from their beginnings, keeping nothing; pads stand on the right, where nobody looks."""
        results: list[tuple[float, ...]] = [()] * len(texts)
        flat = [[token for piece in pieces for token in piece] for pieces in texts]
        for batch in batches([len(ids) for ids in flat], self.batch_tokens):
            width = max(len(flat[i]) for i in batch)
            ids = torch.tensor(
                [flat[i] + [0] * (width - len(flat[i])) for i in batch], device=self.model.device
            )
            self.tokens_run += ids.numel()
            ends = [
                (row, sum(map(len, texts[i][: k + 1])) - 1)
                for row, i in enumerate(batch)
                for k in range(1, len(texts[i]))
            ]
            rows, columns = zip(*ends, strict=True)
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            scores = iter(self.format.read(self.model, hidden[list(rows), list(columns)].float()).tolist())
            for i in batch:
                results[i] = tuple(next(scores) for _ in texts[i][1:])
        return results


def rows_of(nodes: Sequence[Node]) -> list[Row]:
    """Nodes put into rows: those behind the same node together, about ``ROW_TOKENS`` tokens at most."""
    rows: list[Row] = []
    open_rows: dict[int, list[Node]] = {}
    for node in nodes:
        key = id(node.parent)
        row = open_rows.get(key)
        if row is None or node.parent is None or sum(n.length for n in row) + node.length > ROW_TOKENS:
            row = open_rows[key] = []
            rows.append((node.parent, row))
        row.append(node)
    return rows


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
