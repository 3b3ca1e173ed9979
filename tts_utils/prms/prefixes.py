"""What a PRM has read already: the keys, values and scores of steps, shared by all that begin with them.

A tree: a node is the tokens from one scored position to the next, behind those of its parent. What stands in
it is exact, as attention looks back only: a step behind the same tokens has the same keys and values whatever
follows. Memory is bounded; what has not been asked for longest makes room, leaves first, and is read again
if it is wanted once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F


@dataclass(slots=True, eq=False)
class Node:
    """Tokens that are read: their places in the pool, and the score at the last of them, if it is a step."""

    parent: Node | None
    depth: int
    key: tuple[int, ...]
    places: list[int] = field(default_factory=list)  # of all tokens up to here, in the pool
    read: bool = False
    score: float = -1.0
    used: int = 0  # number of the call that last wanted it
    children: dict[tuple[int, ...], Node] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Tokens of this node alone."""
        return len(self.key)


class Prefixes:
    """The tree, and the pool of keys and values that its nodes point into."""

    def __init__(self, heads: int, size: int, likes: Sequence[torch.Tensor], limit_bytes: int) -> None:
        """An empty tree over a pool that grows up to a number of bytes.

        Args:
            heads, size: heads of keys and values of a layer, and their dimensions.
            likes: a tensor of every layer, which says type and device.
            limit_bytes: of all layers together.
        """
        per_token = sum(2 * heads * size * like.element_size() for like in likes)
        self.capacity = limit_bytes // per_token  # tokens
        self._pool = [like.new_empty(2, 0, heads, size) for like in likes]  # (2, places, heads, size) each
        self._free: list[int] = []
        self._roots: dict[tuple[int, ...], Node] = {}
        self.now = 0

    @property
    def num_layers(self) -> int:
        """Layers whose keys and values are kept."""
        return len(self._pool)

    def next_call(self) -> None:
        """Begin a call: what it wants from here on is not dropped while it lasts."""
        self.now += 1

    def clear(self) -> None:
        """Forget everything."""
        self._roots.clear()
        self._free = list(range(self._pool[0].shape[1]))

    def root(self, ids: Sequence[int]) -> Node:
        """The node of tokens that a problem's trajectories begin with; a new one is unread."""
        key = tuple(ids)
        return self._touched(self._roots.setdefault(key, Node(None, 0, key)))

    def child(self, parent: Node, ids: Sequence[int]) -> Node:
        """The node of these tokens behind a node; a new one is unread."""
        key = tuple(ids)
        found = parent.children.get(key)
        if found is None:
            found = parent.children[key] = Node(parent, parent.depth + 1, key)
        return self._touched(found)

    def _touched(self, node: Node) -> Node:
        node.used = self.now
        return node

    def make_room(self, tokens: int) -> None:
        """Have so many places free, dropping what this call does not want."""
        size = self._pool[0].shape[1]
        if len(self._free) < tokens and size < self.capacity:
            larger = min(self.capacity, max(2 * size, size + tokens - len(self._free), 4096))
            for layer, old in enumerate(self._pool):
                self._pool[layer] = old.new_empty(2, larger, *old.shape[2:])
                self._pool[layer][:, :size] = old
            self._free += range(larger - 1, size - 1, -1)
        if len(self._free) < tokens:
            self._drop(tokens + self.capacity // 4)

    def _drop(self, tokens: int) -> None:
        """Drop nodes until so many places are free, or only what this call wants is left."""
        old: list[Node] = []
        stack = list(self._roots.values())
        while stack:
            node = stack.pop()
            stack += node.children.values()
            if node.used < self.now:
                old.append(node)
        old.sort(key=lambda node: (node.used, -node.depth))  # a parent is used no earlier than its children
        for node in old:
            if len(self._free) >= tokens:
                break
            if node.places:
                self._free += node.places[-node.length :]
            siblings = self._roots if node.parent is None else node.parent.children
            del siblings[node.key]

    def take(self, node: Node) -> list[int]:
        """Take places for the tokens of a node whose parent is read; a node that has some keeps them."""
        if not node.places and node.length:
            own = [self._free.pop() for _ in range(node.length)]
            node.places = (node.parent.places if node.parent else []) + own
        return node.places[-node.length :] if node.length else []

    def write(self, layer: int, places: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep keys and values (tokens, heads, size) of a layer."""
        pool = self._pool[layer]
        places = places.to(pool.device)
        pool[0, places], pool[1, places] = keys, values

    def past(self, layer: int, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (B, P, heads, size) of a layer at places (B, P)."""
        pool = self._pool[layer]
        places, shape = places.to(pool.device), pool.shape[2:]
        # An embedding copies whole rows, five times as fast on a CPU as an index does.
        keys, values = (F.embedding(places, part.flatten(1)).unflatten(2, shape) for part in pool)
        return keys, values
