"""Policies: what samples continuations of states, and where to load one from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tts_utils.backends import COUNT, FAMILY, RETRIES, SECONDS, TEXT, check_backend, check_options
from tts_utils.checkpoints import UnknownModel, load_config, load_tokenizer, reading
from tts_utils.policy_requests import BackendError
from tts_utils.problems import data_dir
from tts_utils.records import Continuation, SamplingConfig, State

OPTIONS = {
    "transformers": {"batch_size": COUNT, "family": FAMILY},
    "vllm": {"family": FAMILY},  # and whatever the engine takes
    "server": {
        "family": FAMILY,
        "concurrency": COUNT,
        "timeout": SECONDS,
        "retries": RETRIES,
        "pause": SECONDS,
        "key": TEXT,
    },
}
"""The backends of policies, and the options of each."""


class Policy(Protocol):
    """Anything that continues states.

    Those of :func:`load_policy` also say what they read: ``prompt_ids(state)`` gives the token ids that a
    state is continued from, chat prompt included (:func:`tts_utils.compute.prompt_lengths` counts them).
    """

    name: str
    num_params: int  # 0 where that is not known
    revision: str  # what tells two versions of the model apart; "" where that is not known

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state.

        Args:
            states: where to continue from.
            n: continuations per state, at least 1; at temperature 0 no more, for they would be copies.
            config: how to sample.
            first: index of the first sample, for all states or one per state; sample i of a state
                depends on (state, config, seed, i) alone, so pools grow and resume without change.

        Returns:
            One list of n continuations per state, in order. They report every token that was generated for
            them. A state whose steps have filled the model's context is continued by "", 0 tokens, "length":
            one path that is too long must not end the search of a whole batch.

        Raises:
            ValueError: n is out of range; or (PromptTooLong) a problem fills the context before a step is
                written.
        """
        ...


def load_policy(
    name_or_path: str,
    device: str | None = None,
    name: str = "",
    *,
    backend: str = "transformers",
    server_url: str = "",
    **options,
) -> Policy:
    """Load a policy: a shipped lab policy, a local folder, or a Hub id ("org/name").

    Args:
        name_or_path: for example "lab-llama-s".
        device: "cpu", "cuda", or None for a GPU where there is one (transformers only).
        name: what the policy is called in tables; default: ``name_or_path``.
        backend: "transformers"; "vllm", in this process; or "server", anything that speaks OpenAI's
            completions protocol (``vllm serve``). Prompts are the same everywhere, random streams are not:
            a table of one backend is not continued with another.
        server_url: the server's address, such as "http://127.0.0.1:8000/v1".
        options: of :class:`tts_utils.policy_transformers.TransformersPolicy` (``batch_size``),
            :func:`tts_utils.policy_vllm.load_vllm_policy` (``gpu_memory_utilization``, ``max_model_len``,
            ...) or :func:`tts_utils.policy_server.load_server_policy` (``concurrency``, ...).

    Raises:
        UnknownModel: no such model (the message lists the shipped ones), or one that cannot be loaded or has
            no chat template.
        BackendError: the backend cannot be used here, or an option is not its own or out of range.
    """
    check_backend(backend, OPTIONS, device)
    check_options(
        backend, options, OPTIONS[backend], others=backend == "vllm", own=("revision", "num_params")
    )
    if bool(server_url) != (backend == "server"):
        raise BackendError(
            f"backend {backend!r} is given with the server address {server_url!r}: "
            "backend 'server' needs one, and the others take none"
        )
    source = find_model(name_or_path)
    name = name or name_or_path
    if backend == "transformers":
        from tts_utils.policy_transformers import TransformersPolicy

        tokenizer, model = load_checkpoint(source, device)
        return TransformersPolicy(name, model, tokenizer, revision=revision_of(source, model), **options)
    facts = {"num_params": num_params_of(source), "revision": f"{revision_of(source)} {backend}".strip()}
    if backend == "vllm":
        from tts_utils.policy_vllm import load_vllm_policy

        return load_vllm_policy(source, name, **facts | options)
    from tts_utils.policy_server import load_server_policy

    return load_server_policy(source, name, server_url, **facts | options)


def find_model(name_or_path: str) -> str:
    """Where a model lies: the folder of a shipped one, a local folder, or the Hub id as it is."""
    models = data_dir() / "models"
    for folder in (models / name_or_path, Path(name_or_path)):
        if (folder / "config.json").is_file():
            return str(folder)
    if name_or_path.count("/") == 1 and not name_or_path.startswith((".", "/")):
        return name_or_path
    shipped = sorted(p.parent.name for p in models.glob("*/config.json"))
    raise UnknownModel(
        f"no model named {name_or_path!r}: not a folder with a config.json, not a Hub id such as "
        f"'org/name', and not one of the shipped models ({', '.join(shipped) or 'none found'} in {models})"
    )


def load_checkpoint(source: str, device: str | None = None):
    """The tokenizer and the causal language model of a folder or a Hub id, on a device, ready to read.

    On a CPU in float32; on a GPU in the checkpoint's own type.

    Raises:
        UnknownModel: there is no such model, or it cannot be fetched, read, or put on that device.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if device == "cpu" else "auto"
    tokenizer = load_tokenizer(source)
    with reading(source):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(device)
    return tokenizer, model.eval()


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


def num_params_of(source: str) -> int:
    """Parameters of a folder's or Hub id's causal language model, tied ones counted once; reads no weights.

    0 where torch is not installed, so that a server's policy needs none.
    """
    config = load_config(source)
    try:
        import torch
    except ModuleNotFoundError:
        return 0
    from transformers import AutoModelForCausalLM

    with reading(source), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(p.numel() for p in model.parameters())
