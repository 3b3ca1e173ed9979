"""Random numbers that depend on nothing but a key and a place: those of numpy's Philox, many at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

WINDOW = 16
"""Numbers of a stream that are made at once; a multiple of 4, as Philox gives four."""

_MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], dtype=np.uint64)
_LOW, _HALF = np.uint64(2**32 - 1), np.uint64(32)


def stream_key(prompt: str, sample: int, seed: int) -> tuple[int, int]:
    """The key of one sample's stream, fixed by (prompt, sample index, seed): two words of 64 bits."""
    digest = hashlib.blake2b(f"{seed}|{sample}|{prompt}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[8:], "big"), int.from_bytes(digest[:8], "big")


class Draws:
    """Streams of uniform numbers in [0, 1): number i of stream s, for any s and i."""

    def __init__(self, keys: Iterable[tuple[int, int]]) -> None:
        """One stream a key; each is that of ``numpy.random.Philox(key=...)``."""
        self._keys = np.array(list(keys), dtype=np.uint64).reshape(-1, 2)
        self._first = np.full(len(self._keys), -1)  # of the numbers that are at hand
        self._numbers = np.empty((len(self._keys), WINDOW))

    def take(self, streams: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The numbers (n,) at n places of n streams."""
        first = places - places % WINDOW
        new = self._first[streams] != first
        if new.any():
            which = streams[new]
            self._numbers[which] = philox(self._keys[which], first[new] // 4)
            self._first[which] = first[new]
        return self._numbers[streams, places % WINDOW]


def philox(keys: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Numbers (n, WINDOW) of n streams, from the given block of four on.

    Source: Salmon et al. 2011, Philox4x64-10, with numpy's counter, which is 1 at the first block, and its
    53 bits of every word.

    >>> keys = np.array([[7, 0]], dtype=np.uint64)
    >>> same = np.random.Generator(np.random.Philox(key=7)).random(WINDOW)
    >>> bool((philox(keys, np.array([0]))[0] == same).all())
    True
    """
    count = np.arange(1, WINDOW // 4 + 1, dtype=np.uint64)
    counters = [blocks.astype(np.uint64)[:, None] + count]  # (n, WINDOW / 4)
    counters += [np.zeros_like(counters[0]) for _ in range(3)]
    for turn in range(10):
        key = keys + np.uint64(turn) * _WEYL  # (n, 2), modulo 2**64
        high0, low0 = _product(_MULTIPLIERS[0], counters[0])
        high1, low1 = _product(_MULTIPLIERS[1], counters[2])
        counters = [high1 ^ counters[1] ^ key[:, :1], low1, high0 ^ counters[3] ^ key[:, 1:], low0]
    words = np.stack(counters, -1).reshape(len(keys), WINDOW)
    return (words >> np.uint64(11)) * 2.0**-53


def _product(a: np.uint64, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low words of the products of 64-bit words."""
    a_high, a_low = a >> _HALF, a & _LOW
    b_high, b_low = b >> _HALF, b & _LOW
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF), a * b
