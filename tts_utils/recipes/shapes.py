"""How large a model is, read off its ``config.json`` by arithmetic: no weights, no torch, no network.

The shapes of the paper's models are written down here, so that a plan can be made before anything is
downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tts_utils.checkpoints import UnknownModel, downloaded, find_model, pinned
from tts_utils.prms.formats import FORMATS, format_name

BIASED = ("qwen2",)
"""Model types whose queries, keys and values have a bias, though their configuration does not say so."""

KNOWN = ("llama", "mistral", "qwen2")


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a ``config.json`` that a model's size follows from.

    Attributes:
        layers, hidden, inner, heads, kv_heads, vocab: of the transformer; ``inner`` is the width of its MLP.
        context: tokens that it reads at most.
        head_dim: of a query; 0: hidden / heads.
        tied: whether the embedding is the output matrix too.
        biased: whether queries, keys and values have a bias.
        head: "lm", "labels", "value" or "classes": what stands on top.
        bits: of a weight of the layers' matrices, as stored; embeddings stay at 16 or more.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    head_dim: int = 0
    tied: bool = False
    biased: bool = False
    head: str = "lm"
    bits: int = 16

    @property
    def layer_params(self) -> int:
        """Parameters of all layers and the last norm."""
        size = self.head_dim or self.hidden // self.heads
        queries, keys = self.heads * size, self.kv_heads * size
        attention = self.hidden * (2 * queries + 2 * keys) + self.biased * (queries + 2 * keys)
        return self.layers * (attention + 3 * self.hidden * self.inner + 2 * self.hidden) + self.hidden

    @property
    def other_params(self) -> int:
        """Parameters of the embedding and of what stands on top.

        >>> Shape(16, 2048, 8192, 32, 8, 128_256, 131_072, tied=True).num_params  # Llama 3.2 1B
        1235814400
        """
        embedding = self.vocab * self.hidden
        if self.head == "value":
            return embedding + self.hidden + 1
        if self.head == "classes":
            return embedding + self.hidden * (self.hidden + 1) + 2 * (self.hidden + 1)
        return embedding * (1 if self.tied else 2)

    @property
    def num_params(self) -> int:
        """All parameters, tied ones counted once."""
        return self.layer_params + self.other_params

    @property
    def cached_numbers(self) -> int:
        """Numbers that the cache of keys and values holds of one token."""
        return 2 * self.layers * self.kv_heads * (self.head_dim or self.hidden // self.heads)


def of_config(config: Mapping[str, Any], head: str = "lm") -> Shape:
    """The shape that a ``config.json`` describes.

    Raises:
        UnknownModel: it is of no kind that is known here, or lacks a number.
    """
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise UnknownModel(f"the size of a model of the type {kind!r} is not known here; known: {KNOWN}")
    try:
        heads, size = config["num_attention_heads"], config.get("head_dim") or 0
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            vocab=config["vocab_size"],
            context=config["max_position_embeddings"],
            head_dim=0 if size * heads == config["hidden_size"] else size,
            tied=bool(config.get("tie_word_embeddings", False)),
            biased=kind in BIASED or bool(config.get("attention_bias", False)),
            head=head,
            bits=int((config.get("quantization_config") or {}).get("bits", 16)),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise UnknownModel(f"this config.json does not say how large the model is: {exc!r}") from exc


def shape_of(name: str) -> Shape | None:
    """The shape of a shipped model, a folder, or a Hub id that is published here or was downloaded before.

    None where it is not known without a download.
    """
    try:
        source = find_model(name)
    except UnknownModel:
        return None  # what loads it says what is wrong
    if Path(source).is_dir():
        return _of_folder(Path(source))
    hub_id, folder = pinned(source)[0], downloaded(source)
    return PUBLISHED.get(hub_id) or _quantised(hub_id) or (folder and _of_folder(folder))


def _of_folder(folder: Path) -> Shape | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return of_config(config, _head(folder))
    except (OSError, ValueError, AttributeError):  # UnknownModel is a ValueError
        return None


def _head(folder: Path) -> str:
    try:
        return FORMATS[format_name(str(folder))].head
    except UnknownModel:
        return "lm"


def _quantised(name: str) -> Shape | None:
    """A published checkpoint of Qwen's with smaller weights, such as Qwen/Qwen2.5-7B-Instruct-AWQ."""
    for ending, bits in (("-AWQ", 4), ("-GPTQ-Int4", 4), ("-GPTQ-Int8", 8)):
        if name.endswith(ending) and (whole := PUBLISHED.get(name.removesuffix(ending))):
            return replace(whole, bits=bits)
    return None


def _qwen(layers: int, hidden: int, inner: int, heads: int, kv_heads: int, **others: Any) -> Shape:
    vocab = others.pop("vocab", 152_064)
    context = others.pop("context", 32_768)
    return Shape(layers, hidden, inner, heads, kv_heads, vocab, context, biased=True, **others)


_SMALL = 151_936  # rows of the embedding of Qwen2.5 up to 3B; the larger ones have more
_LLAMA_8B = Shape(32, 4096, 14_336, 32, 8, 128_256, 131_072)
_LLAMA_70B = Shape(80, 8192, 28_672, 64, 8, 128_256, 131_072)
_QWEN_HALF = _qwen(24, 896, 4864, 14, 2, vocab=_SMALL, tied=True)
_QWEN_1_5B = _qwen(28, 1536, 8960, 12, 2, vocab=_SMALL, tied=True)
_QWEN_3B = _qwen(36, 2048, 11_008, 16, 2, vocab=_SMALL, tied=True)
_QWEN_7B = _qwen(28, 3584, 18_944, 28, 4)
_QWEN_14B = _qwen(48, 5120, 13_824, 40, 8)
_QWEN_32B = _qwen(64, 5120, 27_648, 40, 8)
_QWEN_72B = _qwen(80, 8192, 29_568, 64, 8)
_MATH = 4096  # tokens that Qwen2.5-Math reads
_DISTILLED = 131_072

PUBLISHED = {
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "meta-llama/Llama-3.1-70B-Instruct": _LLAMA_70B,
    "meta-llama/Llama-3.2-1B-Instruct": Shape(16, 2048, 8192, 32, 8, 128_256, 131_072, tied=True),
    "meta-llama/Llama-3.2-3B-Instruct": Shape(28, 3072, 8192, 24, 8, 128_256, 131_072, tied=True),
    "Qwen/Qwen2.5-0.5B-Instruct": _QWEN_HALF,
    "Qwen/Qwen2.5-1.5B-Instruct": _QWEN_1_5B,
    "Qwen/Qwen2.5-3B-Instruct": _QWEN_3B,
    "Qwen/Qwen2.5-7B-Instruct": _QWEN_7B,
    "Qwen/Qwen2.5-14B-Instruct": _QWEN_14B,
    "Qwen/Qwen2.5-32B-Instruct": _QWEN_32B,
    "Qwen/Qwen2.5-72B-Instruct": _QWEN_72B,
    "Qwen/Qwen2.5-Math-1.5B-Instruct": replace(_QWEN_1_5B, context=_MATH),
    "Qwen/Qwen2.5-Math-7B-Instruct": replace(_QWEN_7B, context=_MATH),
    "Qwen/Qwen2.5-Math-72B-Instruct": replace(_QWEN_72B, context=_MATH),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": replace(_QWEN_1_5B, tied=False, context=_DISTILLED),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": replace(_QWEN_7B, context=_DISTILLED),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA_8B,
    "peiyi9979/math-shepherd-mistral-7b-prm": Shape(32, 4096, 14_336, 32, 8, 32_000, 32_768, head="labels"),
    "RLHFlow/Llama3.1-8B-PRM-Mistral-Data": replace(_LLAMA_8B, head="labels"),
    "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data": replace(_LLAMA_8B, head="labels"),
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B": replace(_QWEN_1_5B, context=_MATH, head="value"),
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B": replace(_QWEN_7B, context=_MATH, head="value"),
    "Qwen/Qwen2.5-Math-PRM-7B": replace(_QWEN_7B, context=_MATH, head="classes"),
    "Qwen/Qwen2.5-Math-PRM-72B": replace(_QWEN_72B, context=_MATH, head="classes"),
}
"""The shapes of the paper's policies and PRMs, from their ``config.json``."""
