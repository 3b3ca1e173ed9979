"""Tiny untrained models with the lab's tokenizer, for tests that need a real model and no data."""

from __future__ import annotations

from functools import cache

import torch

from tts_lab.policies import new_model
from tts_lab.tokenizer import build_tokenizer
from tts_utils.policies.transformers import TransformersPolicy
from tts_utils.prms.formats import MathShepherdFormat
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.records import Problem


@cache
def tokenizer():
    """The lab's tokenizer, from fewer problems."""
    return build_tokenizer("llama", num_problems=500)


def tiny_model(seed: int = 0):
    """An untrained Llama whose logits are spread, so that samples differ."""
    model = new_model(tokenizer(), "llama", hidden=32, layers=2, heads=2, seed=seed).eval()
    model.config.tie_word_embeddings = False
    rng = torch.Generator().manual_seed(seed)
    model.lm_head.weight = torch.nn.Parameter(0.6 * torch.randn(len(tokenizer()), 32, generator=rng))
    return model


def grouped_model(heads: int = 6, kv_heads: int = 2):
    """An untrained Llama in float64 whose queries share keys in groups, and whose turns are Llama 3's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=8 * heads,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=1024,
        initializer_range=0.2,
        eos_token_id=tokenizer().eos_token_id,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    )
    return LlamaForCausalLM(config).eval().double()


def tiny_policy(batch_size: int = 256) -> TransformersPolicy:
    """A policy that writes noise, in float64: no draw falls within rounding of the border of two tokens."""
    return TransformersPolicy("tiny", tiny_model().double(), tokenizer(), batch_size)


def tiny_prm(batch_tokens: int = 16_384) -> TransformersPRM:
    """A Math-Shepherd PRM that scores noise."""
    return TransformersPRM("tiny-prm", tiny_model(1), MathShepherdFormat(tokenizer()), batch_tokens)


def problem(i: int = 0) -> Problem:
    """A problem whose text grows with i, so that batches are ragged."""
    return Problem(f"p{i}", "Add 12 and 30." + " Then 7 more." * (i % 5) + f" Now {i}.", "42")
