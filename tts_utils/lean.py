"""The forward pass of Llama-like models, written out.

In a small model, and in a large one that writes a token at a time, most of the time goes into calling
modules, starting kernels and copying, not into arithmetic. Here little but arithmetic is left. On a CPU what
can be fused is fused once: the norms' weights and the attention's scale into the products behind them, the
three projections of the attention into one product, and the turning of queries and keys into that product
too. On a GPU the weights stay where they are. The numbers are those of transformers up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FOLDED = 96
"""Hidden size up to which turning queries and keys is a part of the product; beyond, it costs more so."""

MAX_HIDDEN = 1024
"""Hidden size up to which the written-out pass is used on a CPU; beyond, the products take all the time."""

MODELS = ("LlamaModel", "MistralModel", "Qwen2Model")

ROPES = ("default", "linear", "llama3")
"""Ways of turning queries and keys that are the same at every length."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries (..., H, D), keys (..., K, D), values (..., K, D)) -> attention (..., H * D)."""


def fits(model) -> bool:
    """Whether a model is of the kind that :class:`Lean` writes out, and stands where that pays."""
    base, device = model.base_model, model.device.type
    config = base.config
    if type(base).__name__ not in MODELS or device not in ("cpu", "cuda"):
        return False
    if len({p.device for p in base.parameters()}) > 1:
        return False
    dtypes = {p.dtype for p in base.parameters()}
    on_cpu = config.hidden_size <= MAX_HIDDEN and dtypes in ({torch.float32}, {torch.float64})
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and not getattr(config, "layer_types", None)
    return (
        (on_cpu if device == "cpu" else len(dtypes) == 1)
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type") in ROPES
        and kinds == {"full_attention"}
        and not windowed
        and all(type(m) is torch.nn.Linear for layer in base.layers for m in _products(layer))
    )


def _products(layer) -> tuple:
    attention, mlp = layer.self_attn, layer.mlp
    return (
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    before: Tensor | None  # the norms' weights; None where they are in the products
    behind: Tensor | None
    into: tuple[_Linear, ...]  # queries, keys, values; or one product of all, folded with the turned ones
    out: _Linear
    gate_up: tuple[_Linear, ...]  # two, or one product of both
    down: _Linear


class Lean:
    """The transformer of a model that :func:`fits`, up to its last hidden states.

    Attributes:
        scale: what attention multiplies its scores by.
    """

    def __init__(self, model, fused: bool | None = None) -> None:
        """Take a model's weights: fused copies on a CPU, where models are small; on a GPU as they are."""
        base, config = model.base_model, model.base_model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.hidden, self.eps = config.hidden_size, config.rms_norm_eps
        self.inner = config.intermediate_size
        self.embedding = base.embed_tokens.weight
        self.norm = base.norm.weight
        self.fused = self.embedding.device.type == "cpu" if fused is None else fused
        self.folded = self.fused and config.hidden_size <= FOLDED
        self.scale = 1.0 if self.fused else self.size**-0.5
        with torch.no_grad():
            self.layers = [self._fused(layer) if self.fused else _as_is(layer) for layer in base.layers]
        self._speeds = base.rotary_emb.inv_freq.float()
        self._turn_up_to(512)

    def _turn_up_to(self, length: int) -> None:
        """Have the turns of so many positions ready, (positions, D) each."""
        places = torch.arange(length, dtype=torch.float32, device=self._speeds.device)
        angles = (places[:, None] * self._speeds).repeat(1, 2)
        self.cos, self.sin = angles.cos().to(self.norm.dtype), angles.sin().to(self.norm.dtype)

    def _fused(self, layer) -> _Layer:
        q, k, v, o, gate, up, down = _products(layer)
        scale = self.size**-0.5
        weights, biases = (q.weight * scale, k.weight), ()
        if q.bias is not None:
            biases = (q.bias * scale, k.bias)
        if self.folded:
            weights, biases = ((*x, *(self._turned(y) for y in x)) for x in (weights, biases))
        before, behind = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        into = _Linear(
            torch.cat([*weights, v.weight]) * before, torch.cat([*biases, v.bias]) if biases else None
        )
        bias = None if gate.bias is None else torch.cat([gate.bias, up.bias])
        gate_up = _Linear(torch.cat([gate.weight, up.weight]) * behind, bias)
        return _Layer(
            None, None, (into,), _Linear(o.weight, o.bias), (gate_up,), _Linear(down.weight, down.bias)
        )

    def _turned(self, weight: Tensor) -> Tensor:
        """The rows of every head so ordered that they give (-second half, first half) of the head."""
        first, second = weight.unflatten(0, (-1, 2, self.size // 2)).unbind(1)
        return torch.stack([-second, first], 1).flatten(0, 2)

    def __call__(self, ids: Tensor, positions: Tensor, end: int, attend: Attend) -> Tensor:
        """Last hidden states (..., hidden) of tokens (...) at positions (...), all below ``end``."""
        x = F.embedding(ids, self.embedding)
        if end > len(self.cos):
            self._turn_up_to(2 * end)
        cos, sin = (turn[positions].unsqueeze(-2) for turn in (self.cos, self.sin))  # (..., 1, D)
        shape = (self.hidden,)
        for number, layer in enumerate(self.layers):
            y = F.rms_norm(x, shape, layer.before, self.eps)
            queries, keys, values = self._heads(y, layer, cos, sin)
            x = x + layer.out(attend(number, queries, keys, values))
            y = F.rms_norm(x, shape, layer.behind, self.eps)
            parts = [part(y) for part in layer.gate_up]
            gate, up = parts[0].split(self.inner, -1) if self.fused else parts
            x = x + layer.down(F.silu(gate) * up)
        return F.rms_norm(x, shape, self.norm, self.eps)

    def _heads(self, y: Tensor, layer: _Layer, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (..., H, D), keys and values (..., K, D), the first two turned to their positions."""
        parts = [part(y).unflatten(-1, (-1, self.size)) for part in layer.into]
        if not self.fused:
            queries, keys, values = parts
            return *(torch.addcmul(x * cos, _turn(x), sin) for x in (queries, keys)), values
        both = self.heads + self.kv_heads
        straight, *turned, values = parts[0].split([both] * (1 + self.folded) + [self.kv_heads], -2)
        turned = torch.addcmul(straight * cos, turned[0] if self.folded else _turn(straight), sin)
        return *turned.split([self.heads, self.kv_heads], -2), values


def _as_is(layer) -> _Layer:
    q, k, v, o, gate, up, down = (_Linear(m.weight, m.bias) for m in _products(layer))
    before, behind = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
    return _Layer(before, behind, (q, k, v), o, (gate, up), down)


def _turn(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


class Weights:
    """Watches whether the weights of a model are replaced or written to."""

    def __init__(self, model) -> None:
        self._parameters = list(model.parameters())
        self._seen = self._state()

    def changed(self) -> bool:
        """Whether they have changed since the last time that was asked."""
        before, self._seen = self._seen, self._state()
        return before != self._seen

    def _state(self) -> list[tuple[int, int]]:
        return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in self._parameters]


class Leanness:
    """The written-out pass of a model where there is one, made anew when the model's weights have changed."""

    def __init__(self, model) -> None:
        self._model, self._made, self._weights = model, None, Weights(model)
        self._asked = False

    def __call__(self) -> Lean | None:
        """The pass, or None for a model that does not fit."""
        if self._weights.changed() or not self._asked:
            self._made = Lean(self._model) if fits(self._model) else None
            self._asked = True
        return self._made
