"""A checkpoint's own files: tokenizer, configuration, and one error for all that may be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UnknownModel(ValueError):
    """No model of this name or path can be found, or what is found cannot be used as what was asked for."""


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Around the reading of a folder's or Hub id's files: whatever fails is an UnknownModel that names it.

    Everything is caught because libraries raise what they like over files that others wrote: OSError and
    ValueError, KeyError for a foreign tokenizer.json, SafetensorError for a cut file or a Git LFS pointer,
    RuntimeError for weights of another shape.
    """
    try:
        yield
    except UnknownModel:
        raise
    except Exception as exc:
        raise UnknownModel(
            f"{source!r} cannot be loaded, here or from the Hub: {type(exc).__name__}: {exc}"
        ) from exc


def load_config(source: str):
    """The transformers configuration of a folder or a Hub id; no code of the checkpoint is run.

    Raises:
        UnknownModel: there is none, it cannot be fetched or read, or transformers does not know its kind.
    """
    from transformers import AutoConfig

    with reading(source):
        return AutoConfig.from_pretrained(source, trust_remote_code=False)


def load_tokenizer(source: str):
    """The tokenizer of a folder or a Hub id, as its ``tokenizer.json`` has it.

    For some model types, Qwen2 among them, ``AutoTokenizer`` puts the published family's own way of cutting
    words in the place of the checkpoint's, even where the checkpoint says that ``tokenizer.json`` is all
    there is to it; such a tokenizer is loaded by its own name.

    Raises:
        UnknownModel: there is none, or it cannot be fetched or read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    with reading(source):
        declared = get_tokenizer_config(source).get("tokenizer_class")
        if declared in ("PreTrainedTokenizerFast", "TokenizersBackend"):
            return PreTrainedTokenizerFast.from_pretrained(source)
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def encodable(text: str) -> str:
    r"""The text with lone surrogates, which JSON can deliver and no tokenizer takes, as "?".

    >>> encodable("1 + 1 = \ud83d2")
    '1 + 1 = ?2'
    """
    return text.encode("utf-8", "replace").decode("utf-8")
