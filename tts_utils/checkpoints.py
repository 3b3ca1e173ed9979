"""A checkpoint's own files: tokenizer, configuration, and one error for all that may be wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tts_utils.data_folder import fetch_hint, layers, places
from tts_utils.hashes import checked


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


def find_model(name_or_path: str) -> str:
    """Where a model lies: the folder of a shipped one, a local folder, or the Hub id as it is."""
    stored = [layer / "models" for layer in layers()]
    for folder in (*(models / name_or_path for models in stored), Path(name_or_path)):
        if (folder / "config.json").is_file():
            for layer in layers():
                if folder.parent == layer / "models":
                    for path in sorted(folder.iterdir()):
                        checked(path, layer)
            return str(folder)
    if name_or_path.count("/") == 1 and not name_or_path.startswith((".", "/")):
        return name_or_path
    shipped = sorted({p.parent.name for models in stored for p in models.glob("*/config.json")})
    raise UnknownModel(
        f"no model named {name_or_path!r}: not a folder with a config.json, not a Hub id such as "
        f"'org/name', and not one of the shipped models ({', '.join(shipped) or 'none found'} in models/ of "
        f"{places()}){fetch_hint(f'models/{name_or_path}', f'models/{name_or_path}')}"
    )


SETTINGS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "chat_template.jinja", "tts_prm.json"),
)
"""What of a folder, beside its weights, makes the model: how it computes, and how it reads a prompt."""


def settings_of(source: str) -> str:
    """What tells a folder's template, tokenizer and configuration from others; "" for a Hub id.

    A Hub id's commit (:func:`revision_of`) stands for all of its files.
    """
    paths = [path for name in SETTINGS if (path := Path(source) / name).is_file()]
    if not paths:
        return ""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def revision_of(source: str, model=None) -> str:
    """What tells two versions of a model apart: the hash of a folder's weights, or the Hub's commit.

    ``model`` is the loaded model, if there is one; else the Hub is asked.
    """
    weights = sorted(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
    if not weights:
        config = load_config(source) if model is None else model.config
        return getattr(config, "_commit_hash", None) or ""
    digest = hashlib.sha256()
    for path in weights:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
