"""A checkpoint's tokenizer, as its own files have it."""

from __future__ import annotations


def load_tokenizer(source: str):
    """The tokenizer of a folder or a Hub id, as its ``tokenizer.json`` has it.

    For some model types, Qwen2 among them, ``AutoTokenizer`` puts the published family's own way of cutting
    words in the place of the checkpoint's, even where the checkpoint says that ``tokenizer.json`` is all
    there is to it; such a tokenizer is loaded by its own name.

    Raises:
        OSError, ValueError: there is none, or it cannot be fetched or read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    declared = get_tokenizer_config(source).get("tokenizer_class")
    if declared in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        return PreTrainedTokenizerFast.from_pretrained(source)
    return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
