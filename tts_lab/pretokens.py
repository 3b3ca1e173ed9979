"""A tokenizer that remembers the ids of every pre-token: exact, and several times as fast on training text.

Byte-level BPE merges within the pieces that the pre-tokenizer cuts (words, digits, signs), never across them,
so the ids of a text are those of its pieces put together. The lab's texts are made of a few thousand pieces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

# tts_lab.tokenizer.PATTERN for ASCII text, where a letter is A-Z or a-z.
ASCII_PIECES = re.compile(r"\n\n| [-+*/=] |: |\d| ?[A-Za-z]+| ?[^\sA-Za-z\d]+|\s", re.ASCII)


class PretokenCache:
    """Stands in for a lab tokenizer where texts without special tokens are encoded; see the module.

    Anything else (other characters than ASCII, special tokens to be recognised, chat templates) goes to the
    tokenizer itself.

    Args:
        tokenizer: one of :func:`tts_lab.tokenizer.build_tokenizer`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        self._special = re.compile("|".join(map(re.escape, tokenizer.get_added_vocab())))

    def __getattr__(self, name: str):
        if name.startswith("__"):  # while it is being unpickled there is no tokenizer yet
            raise AttributeError(name)
        return getattr(self._tokenizer, name)

    def __call__(self, text: str | Sequence[str], **options) -> dict[str, list]:
        """As the tokenizer's own call, ``input_ids`` alone."""
        texts = [text] if isinstance(text, str) else list(text)
        plain = options.get("add_special_tokens", True) is False
        literal = options.get("split_special_tokens", False)
        ids = [self._encode(t, options) if plain and self._is_cut_here(t, literal) else None for t in texts]
        if other := [i for i, found in enumerate(ids) if found is None]:
            for i, found in zip(other, self._real([texts[i] for i in other], options), strict=True):
                ids[i] = found
        return {"input_ids": ids[0] if isinstance(text, str) else ids}

    def _is_cut_here(self, text: str, literal: bool) -> bool:
        return text.isascii() and (literal or not self._special.search(text))

    def _encode(self, text: str, options: dict) -> list[int]:
        ids: list[int] = []
        for piece in ASCII_PIECES.findall(text):
            known = self._ids.get(piece)
            if known is None:
                known = self._ids[piece] = self._real([piece], options | {"split_special_tokens": True})[0]
            ids += known
        return ids

    def _real(self, texts: list[str], options: dict) -> list[list[int]]:
        return self._tokenizer(texts, **options)["input_ids"]
