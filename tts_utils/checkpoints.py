"""A checkpoint's own files: tokenizer, configuration, and one error for all that may be wrong with them.

A checkpoint is a stranger. No code of it is run, whatever it names, and nothing asks on a terminal whether it
may be; weights are read from safetensors only, never from pickles.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tts_utils import hub_access
from tts_utils.data_folder import checked_where_listed, fetch_hint, layers, places
from tts_utils.protocols import BackendError


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
        way_out = hub_access.way_out(exc, source)
        words = f"{source!r} cannot be loaded, here or from the Hub: "
        raise UnknownModel(words + (way_out or f"{type(exc).__name__}: {exc}")) from exc


def usable_device(device: str | None) -> str:
    """The device that is asked for, or a GPU where there is one, else the CPU.

    Raises:
        BackendError: a GPU is asked for, and torch can use none.
    """
    import torch

    if device and device.startswith("cuda") and not torch.cuda.is_available():
        build = "is built without CUDA" if torch.version.cuda is None else "sees no GPU"
        raise BackendError(
            f"device={device!r} is asked for, but torch {torch.__version__} {build} here: "
            "leave the device out to run on the CPU, or see tts doctor"
        )
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def load_config(source: str):
    """The transformers configuration of a folder or a Hub id; no code of the checkpoint is run.

    Raises:
        UnknownModel: there is none, it cannot be fetched or read, transformers does not know its kind, or it
            names code on the Hub.
    """
    from transformers import AutoConfig

    with reading(source):
        place, revision = pinned(source)
        config = AutoConfig.from_pretrained(place, **revision, trust_remote_code=False)
        parts = [config, *(getattr(config, name, None) for name in config.sub_configs)]
        for attribute in ("_attn_implementation", "_experts_implementation"):
            named = [str(getattr(part, attribute, None) or "") for part in parts]
            if kernels := sorted({name for name in named if "/" in name}):
                raise UnknownModel(
                    f"{source!r} wants the kernel {kernels[0]!r}, which is code from the Hub, and no code "
                    f"that a checkpoint names is run here; remove {attribute[1:]} from its config.json"
                )
        return config


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
        place, revision = pinned(source)
        declared = get_tokenizer_config(place, **revision).get("tokenizer_class")
        if declared in ("PreTrainedTokenizerFast", "TokenizersBackend"):
            return PreTrainedTokenizerFast.from_pretrained(place, **revision)
        return AutoTokenizer.from_pretrained(place, **revision, trust_remote_code=False)


def refuse_pickles(source: str) -> None:
    """Raise UnknownModel for a folder without safetensors weights; a Hub id is left to its loader."""
    if not Path(source).is_dir() or any(Path(source).glob("*.safetensors")):
        return
    others = sorted(
        p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in Path(source).glob(pattern)
    )
    found = f"only {others[0]}, and a pickle can run code as it is read" if others else "no weights"
    raise UnknownModel(
        f"{source!r} cannot be loaded: it has {found}; weights are read from safetensors alone (convert them "
        "with model.save_pretrained, where you trust them)"
    )


def past_name(model) -> str | None:
    """The argument of a model's forward that is its past of keys and values; transformers 5.24 renamed it."""
    taken = inspect.signature(model.base_model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in taken), None)


def refuse_stateful(model, source: str) -> None:
    """Raise UnknownModel for a model that does not keep keys and values of every token, as Mamba does not.

    Such a model cannot drop, copy or go back to a token of its past, which sharing what samples and
    trajectories have in common needs.
    """
    from transformers import DynamicCache

    with reading(source):
        layers = DynamicCache(config=model.config).layers
        keeps = past_name(model) is not None and all(
            hasattr(layer, "batch_select_indices") and "Linear" not in type(layer).__name__
            for layer in layers
        )
        if getattr(model, "_is_stateful", False) or not keeps or model.config.is_encoder_decoder:
            raise UnknownModel(
                f"{source!r} is of the type {model.config.model_type!r}, which does not keep every token "
                "of its past (a hybrid, a state-space model or an encoder), so samples cannot share what "
                "they have in common; take a decoder with attention in every layer, or run this one with "
                "backend vllm or server"
            )


def encodable(text: str) -> str:
    r"""The text with lone surrogates, which JSON can deliver and no tokenizer takes, as "?".

    >>> encodable("1 + 1 = \ud83d2")
    '1 + 1 = ?2'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def find_model(name_or_path: str) -> str:
    """Where a model lies: the folder of a shipped one, a local folder, or the Hub id as it is.

    A Hub id may name a revision, as in "org/name@v1.0"; see :func:`pinned`.

    Raises:
        UnknownModel: there is no such folder, and it is no Hub id; or a revision is asked of a folder.
    """
    stored = [layer / "models" for layer in layers()]

    def folder_of(name: str) -> Path | None:
        places = (*(models / name for models in stored), Path(name))
        return next((place for place in places if (place / "config.json").is_file()), None)

    if folder := folder_of(name_or_path):
        for path in sorted(folder.iterdir()):
            checked_where_listed(path)
        return str(folder)
    hub_id, at, revision = name_or_path.partition("@")
    if at and (folder := folder_of(hub_id)):
        raise UnknownModel(
            f"{name_or_path!r} asks for revision {revision!r} of {folder}, which is a folder: only models "
            "on the Hub have revisions"
        )
    if hub_id.count("/") == 1 and not hub_id.startswith((".", "/")) and (revision or not at):
        return name_or_path
    shipped = sorted({p.parent.name for models in stored for p in models.glob("*/config.json")})
    raise UnknownModel(
        f"no model named {name_or_path!r}: not a folder with a config.json, not a Hub id such as "
        f"'org/name', and not one of the shipped models ({', '.join(shipped) or 'none found'} in models/ of "
        f"{places()}){fetch_hint(f'models/{name_or_path}', f'models/{name_or_path}')}"
    )


def pinned(source: str) -> tuple[str, dict[str, str]]:
    """A folder or a Hub id as the Hub's loaders take it, and the revision that it names, as their keyword.

    Without a revision they take the newest, that is the branch main.

    >>> pinned("org/name"), pinned("org/name@v1.0")
    (('org/name', {}), ('org/name', {'revision': 'v1.0'}))
    """
    place, at, revision = source.partition("@")
    return (place, {"revision": revision}) if at and not Path(source).is_dir() else (source, {})


def downloaded(source: str) -> Path | None:
    """The folder, named by its commit, of what was downloaded of a Hub id; None where nothing was."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    hub_id, revision = pinned(source)
    found = try_to_load_from_cache(hub_id, "config.json", **revision)
    return Path(found).parent if isinstance(found, str) else None


def revision_of(source: str) -> str:
    """What tells two versions of a model apart: the hash of a folder's weights, or the Hub's commit.

    A Hub id's configuration was loaded before, so that it lies in the cache; transformers does not say the
    commit any more.
    """
    if not Path(source).is_dir():
        folder = downloaded(source)
        return "" if folder is None else folder.name
    weights = sorted(Path(source).glob("*.safetensors"))
    if not weights:
        return ""
    digest = hashlib.sha256()
    for path in weights:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


NO_SETTINGS = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")
"""Entries of a configuration that say who saved it, not what it computes; the type is the weights' own."""

_SETTINGS_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tts_prm.json",
)


def settings_of(source: str, asked: object = "") -> str:
    """A hash of what answers depend on besides weights: configuration, tokenizer, template, PRM format.

    Noted beside the revision, so that rows made with another template or configuration are told apart.

    Args:
        source: a folder; of a Hub id the revision says it all, and only ``asked`` is hashed.
        asked: how it is asked, such as its :class:`tts_utils.prompts.Family`.
    """
    digest = hashlib.sha256(repr(asked).encode())
    for name in _SETTINGS_FILES:
        path = Path(source) / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        if name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            with reading(source):
                entries = {k: v for k, v in json.loads(content).items() if k not in NO_SETTINGS}
            content = json.dumps(entries, sort_keys=True).encode()
        digest.update(f"\n{name} {hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()[:16]
