"""The same model with wider attention heads, for engines that know few head sizes.

vLLM's CPU attention takes heads of 32, 64, 80, 96, ... dimensions; the lab's smaller models have 8 to 16.
Zeros put in the right places change nothing of what a model computes.
"""

from __future__ import annotations

import copy

CPU_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes of vLLM's CPU attention (vllm/v1/attention/backends/cpu_attn.py, version 0.32)."""


def head_size(config) -> int:
    """Dimensions of an attention head, by a transformers configuration."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def widened(model, width: int = 32):
    """A copy of a Llama- or Qwen2-like model with heads of ``width`` dimensions and the same outputs.

    Hidden states grow to heads x width, zeros behind. The norms' weights take up the longer mean, the queries
    the change of the attention's scale. Pair i of a head's d/2 turns at theta**(-2i/d); put at place i of
    width/2 it does so with theta**(width/d).

    Args:
        model: a transformers model, its head included (a language model's, or that of a PRM).
        width: at least the model's head size; even.

    Raises:
        ValueError: the model's heads are wider than that, or its hidden states are longer than all heads.
    """
    import torch

    old, size = model.config, head_size(model.config)
    hidden, grown = old.hidden_size, old.num_attention_heads * width
    if size > width or hidden > grown:
        raise ValueError(
            f"a model with heads of {size} dimensions and hidden states of {hidden} has no form with "
            f"{old.num_attention_heads} heads of {width}"
        )
    config = copy.deepcopy(old)
    config.hidden_size, config.head_dim = grown, width
    config.rms_norm_eps = old.rms_norm_eps * hidden / grown
    rope = dict(old.rope_parameters)
    config.rope_parameters = rope | {"rope_theta": rope["rope_theta"] ** (width / size)}
    half = torch.arange(size // 2)
    place = torch.cat([half, width // 2 + half])

    def spread(weight, heads: int, factor: float = 1.0):
        """Rows of ``heads`` heads, each row of a head to its place."""
        places = (width * torch.arange(heads)[:, None] + place).flatten()
        wide = weight.new_zeros(heads * width, *weight.shape[1:])
        wide[places] = weight * factor
        return wide

    wide = type(model)(config)
    shapes = {name: weight.shape for name, weight in wide.state_dict().items()}
    weights = {}
    for name, weight in model.state_dict().items():
        part = name.split(".")[-2]
        if part == "q_proj":
            weight = spread(weight, old.num_attention_heads, (width / size) ** 0.5)
        elif part in ("k_proj", "v_proj"):
            weight = spread(weight, old.num_key_value_heads)
        elif part == "o_proj":
            weight = spread(weight.T, old.num_attention_heads).T
        elif part.endswith("norm"):
            weight = weight * (hidden / grown) ** 0.5
        padded = weight.new_zeros(shapes[name])
        padded[tuple(slice(n) for n in weight.shape)] = weight
        weights[name] = padded
    wide.load_state_dict(weights)
    if model.can_generate():
        wide.generation_config = model.generation_config
    return wide.eval()
