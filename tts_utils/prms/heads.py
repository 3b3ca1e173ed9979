"""The models behind the PRM formats: a causal language model, or a transformer with a small head of its own.

Three heads: ``"labels"`` reads two words of a causal language model; ``"value"`` (Skywork) has one output
per token, stored as ``v_head.summary.*`` beside the language model; ``"classes"`` (Qwen2.5-Math-PRM) has
two, stored as ``score.0.*`` and ``score.2.*``. The last two are built here over the transformer that a
checkpoint's configuration names, so no code from a checkpoint is ever run. Weights are read from safetensors
only.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from tts_utils import hub_access
from tts_utils.checkpoints import UnknownModel, load_config, pinned, reading, usable_device

HEAD_WEIGHTS = {"labels": "lm_head", "value": "v_head.summary", "classes": "score.0 and score.2"}


@cache
def head_model_class(config_class: type, head: str) -> type:
    """The model class for a configuration class and ``"value"`` or ``"classes"``; made on first use.

    For ``Qwen2Config`` its names are those of the published checkpoints: ``Qwen2ForPrmModel`` (Skywork) and
    ``Qwen2ForProcessRewardModel`` (Qwen2.5-Math-PRM), weight names too. ``model.logits`` maps hidden states
    (..., D) to (..., 1) or (..., 2); calling the model does so at every token.
    """
    from torch import nn
    from transformers import MODEL_MAPPING

    backbone = MODEL_MAPPING[config_class]

    class HeadModel(backbone.__base__):
        _keys_to_ignore_on_load_unexpected: ClassVar = [r"^lm_head\."]  # kept by Skywork, read by nobody

        def __init__(self, config) -> None:
            super().__init__(config)
            self.model = backbone(config)
            size = config.hidden_size
            if head == "value":
                self.v_head = nn.ModuleDict({"summary": nn.Linear(size, 1)})
            else:
                self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 2))
            self.post_init()

        @property
        def head(self) -> nn.Module:
            return self.v_head["summary"] if head == "value" else self.score

        def logits(self, hidden):
            return self.head(hidden)

        def forward(self, input_ids, attention_mask=None):
            out = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
            return self.logits(out.last_hidden_state.to(self.head_dtype))

        @property
        def head_dtype(self):
            return next(self.head.parameters()).dtype

    suffix = "ForPrmModel" if head == "value" else "ForProcessRewardModel"
    HeadModel.__name__ = HeadModel.__qualname__ = backbone.__name__.removesuffix("Model") + suffix
    return HeadModel


def load_head_model(source: str, head: str, device: str | None = None):
    """The model of a folder or a Hub id, on a device, ready to read; its own head in float32.

    Args:
        source: a folder or a Hub id.
        head: "labels", "value" or "classes".
        device: "cpu", "cuda", "auto" to spread a model over all GPUs (needs ``accelerate``), or None for a
            GPU where there is one. On a CPU the model is float32, on GPUs of the checkpoint's own type.

    Raises:
        UnknownModel: no such model or device, no safetensors, or a checkpoint with another head or none.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = usable_device(device)
    try:
        config = load_config(source)
        loader = AutoModelForCausalLM if head == "labels" else head_model_class(type(config), head)
        place, revision = pinned(source)
        model, report = loader.from_pretrained(
            place,
            **revision,
            config=config,
            dtype=torch.float32 if device == "cpu" else "auto",
            device_map="auto" if device == "auto" else None,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as exc:  # as in checkpoints.reading, with more to say
        if way_out := hub_access.way_out(exc, source):
            raise UnknownModel(f"{source!r} cannot be loaded, here or from the Hub: {way_out}") from exc
        raise UnknownModel(
            f"{source!r} cannot be loaded, here or from the Hub, as a PRM that reads {HEAD_WEIGHTS[head]} "
            f"(safetensors weights, a model type transformers knows): {exc}"
        ) from exc
    missing = sorted(report["missing_keys"]) + sorted(m[0] for m in report["mismatched_keys"])
    others = ("score.", "v_head.", "classifier.")
    foreign = sorted(k for k in report["unexpected_keys"] if k.startswith(others))
    if missing or foreign:
        raise UnknownModel(
            f"{source!r} is no PRM that reads {HEAD_WEIGHTS[head]}: its weights lack {missing[:4]} and hold "
            f"{foreign[:4]} besides. Does its format say what it is?"
        )
    if head != "labels":
        model.head.float()
    with reading(source):
        return (model if device == "auto" else model.to(device)).eval()
