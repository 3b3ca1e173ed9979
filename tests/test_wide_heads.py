"""A model with wider heads computes what it computed."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import tokenizer
from tts_lab.policies import new_model
from tts_lab.prms import with_fresh_layers
from tts_utils.policies.wide_heads import head_size, widened


def random_model(family: str):
    model = new_model(tokenizer(), family, hidden=24, layers=3, heads=3, seed=0).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():  # biases and norms too, which start as zeros and ones
            weight.copy_(0.3 * torch.randn(weight.shape, generator=rng) + (weight.dim() == 1))
    return model


@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_widening_changes_no_logit(family):
    model = random_model(family)
    wide = widened(model)
    assert (head_size(model.config), head_size(wide.config)) == (8, 32)
    assert wide.config.hidden_size == 3 * 32  # what Qwen2 in vLLM takes for granted: hidden = heads x size
    ids = torch.randint(5, 600, (2, 50), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        before, after = model(ids).logits, wide(ids).logits
    assert before.std() > 0.5
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("head", ["value", "classes"])
def test_widening_keeps_the_head_of_a_prm(head):
    model = with_fresh_layers(random_model("qwen"), 1, head, seed=3).eval()
    ids = torch.arange(20, 60)[None]
    with torch.inference_mode():
        assert torch.allclose(model(ids), widened(model)(ids), atol=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="heads of 8 dimensions"):
        widened(random_model("llama"), width=6)
