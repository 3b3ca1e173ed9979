"""The forward pass of a small Llama or Qwen2 on a CPU, written out.

In a small model most of the time goes into calling modules and into copies, not into arithmetic. Here what
can be fused is fused once: the norms' weights and the attention's scale into the products behind them, the
three projections of the attention into one product, and the turning of queries and keys into that product
too. The numbers are those of transformers up to rounding.
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
"""Hidden size up to which the written-out pass is used; beyond, the products take nearly all the time."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries (B, T, H, D), keys (B, T, K, D), values (B, T, K, D)) -> attention (B, T, H * D)."""


def fits(model) -> bool:
    """Whether a model is of the kind that :class:`Lean` writes out, and small enough for it to pay."""
    base = model.base_model
    config = base.config
    if model.device.type != "cpu" or type(base).__name__ not in ("LlamaModel", "Qwen2Model"):
        return False
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.hidden_size <= MAX_HIDDEN
        and {p.dtype for p in base.parameters()} in ({torch.float32}, {torch.float64})
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type") == "default"
        and kinds == {"full_attention"}
        and all(type(m) is torch.nn.Linear for layer in base.layers for m in _products(layer))
    )


def _products(layer) -> tuple:
    attention, mlp = layer.self_attn, layer.mlp
    return (
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    into: Tensor  # queries, keys, where folded both again a quarter turned, values
    into_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


class Lean:
    """The transformer of a model that :func:`fits`, up to its last hidden states."""

    def __init__(self, model) -> None:
        base, config = model.base_model, model.base_model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.hidden, self.eps = config.hidden_size, config.rms_norm_eps
        self.inner = config.intermediate_size
        self.folded = config.hidden_size <= FOLDED
        self.embedding = base.embed_tokens.weight
        self.norm = base.norm.weight
        with torch.no_grad():
            self.layers = [self._fused(layer) for layer in base.layers]
        self._speeds = base.rotary_emb.inv_freq.float()
        self._turn_up_to(512)

    def _turn_up_to(self, length: int) -> None:
        """Have the turns of so many positions ready, (positions, D) each."""
        angles = (torch.arange(length, dtype=torch.float32)[:, None] * self._speeds).repeat(1, 2)
        self.cos, self.sin = angles.cos().to(self.norm.dtype), angles.sin().to(self.norm.dtype)

    def _fused(self, layer) -> _Layer:
        q, k, v, o, gate, up, down = _products(layer)
        scale = self.size**-0.5
        weights = q.weight * scale, k.weight
        if self.folded:
            weights += tuple(self._turned(w) for w in weights)
        into, bias = torch.cat([*weights, v.weight]), None
        if q.bias is not None:
            biases = q.bias * scale, k.bias
            if self.folded:
                biases += tuple(self._turned(b) for b in biases)
            bias = torch.cat([*biases, v.bias])
        before, behind = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        return _Layer(
            into=into * before,
            into_bias=bias,
            out=o.weight,
            out_bias=o.bias,
            gate_up=torch.cat([gate.weight, up.weight]) * behind,
            gate_up_bias=None if gate.bias is None else torch.cat([gate.bias, up.bias]),
            down=down.weight,
            down_bias=down.bias,
        )

    def _turned(self, weight: Tensor) -> Tensor:
        """The rows of every head so ordered that they give (-second half, first half) of the head."""
        first, second = weight.unflatten(0, (-1, 2, self.size // 2)).unbind(1)
        return torch.stack([-second, first], 1).flatten(0, 2)

    def __call__(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Last hidden states (B, T, hidden) of tokens (B, T) at positions (B, T)."""
        x = F.embedding(ids, self.embedding)
        if (last := int(positions.max())) >= len(self.cos):
            self._turn_up_to(2 * last)
        cos, sin = self.cos[positions][:, :, None], self.sin[positions][:, :, None]  # (B, T, 1, D)
        both, shape = self.heads + self.kv_heads, (self.hidden,)
        parts = [both, both, self.kv_heads] if self.folded else [both, self.kv_heads]
        for number, layer in enumerate(self.layers):
            y = F.rms_norm(x, shape, eps=self.eps)
            y = F.linear(y, layer.into, layer.into_bias).unflatten(-1, (-1, self.size))
            straight, *turned, values = y.split(parts, 2)
            turned = turned[0] if self.folded else _turn(straight)
            turned = torch.addcmul(straight * cos, turned, sin)
            queries, keys = turned.split([self.heads, self.kv_heads], 2)
            seen = attend(number, queries, keys, values)
            x = x + F.linear(seen, layer.out, layer.out_bias)
            y = F.linear(F.rms_norm(x, shape, eps=self.eps), layer.gate_up, layer.gate_up_bias)
            gate, up = y.split(self.inner, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down, layer.down_bias)
        return F.rms_norm(x, shape, self.norm, self.eps)


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
