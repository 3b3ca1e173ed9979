"""Policies: what samples continuations of states, and where to load one from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tts_utils.backends import ANY_COUNT, COUNT, FAMILY, SECONDS, TEXT, check_backend, check_options
from tts_utils.checkpoints import (
    find_model,
    load_config,
    load_tokenizer,
    pinned,
    reading,
    refuse_pickles,
    refuse_stateful,
    revision_of,
    settings_of,
    usable_device,
)
from tts_utils.protocols import BackendError, Policy

OPTIONS = {
    "transformers": {"batch_size": COUNT, "family": FAMILY},
    "vllm": {"family": FAMILY},  # and whatever the engine takes
    "server": {
        "family": FAMILY,
        "concurrency": COUNT,
        "timeout": SECONDS,
        "retries": ANY_COUNT,
        "pause": SECONDS,
        "key": TEXT,
    },
}
"""The backends of policies, and the options of each."""


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
        name_or_path: for example "lab-llama-s". Behind a Hub id may stand a branch, a tag or a commit, as in
            "org/name@v1.0".
        device: "cpu", "cuda", or None for a GPU where there is one (transformers only).
        name: what the policy is called in tables; default: ``name_or_path``.
        backend: "transformers"; "vllm", in this process; or "server", anything that speaks OpenAI's
            completions protocol (``vllm serve``). Prompts are the same everywhere, random streams are not:
            a table of one backend is not continued with another.
        server_url: the server's address, such as "http://127.0.0.1:8000/v1".
        options: of :class:`tts_utils.policies.transformers.TransformersPolicy` (``batch_size``),
            :func:`tts_utils.policies.vllm.load_vllm_policy` (``gpu_memory_utilization``, ``max_model_len``,
            ...) or :func:`tts_utils.policies.server.load_server_policy` (``concurrency``, ...).

    Raises:
        UnknownModel: no such model (the message lists the shipped ones), or one that cannot be loaded or has
            no chat template.
        BackendError: the backend cannot be used here, or an option is not its own or out of range.
    """
    check_backend(backend, OPTIONS, device)
    check_options(backend, options, OPTIONS[backend], others=backend == "vllm", own=["num_params"])
    if bool(server_url) != (backend == "server"):
        raise BackendError(
            f"backend {backend!r} is given with the server address {server_url!r}: "
            "backend 'server' needs one, and the others take none"
        )
    source = find_model(name_or_path)
    policy = _load(source, name or name_or_path, device, backend, server_url, options)
    policy.settings = settings_of(source, policy.family)
    return policy


def _load(source: str, name: str, device: str | None, backend: str, server_url: str, options: dict):
    if backend == "transformers":
        from tts_utils.policies.transformers import TransformersPolicy

        tokenizer, model = load_checkpoint(source, device)
        return TransformersPolicy(name, model, tokenizer, revision=revision_of(source), **options)
    facts = {"num_params": num_params_of(source), "revision": f"{revision_of(source)} {backend}".strip()}
    if backend == "vllm":
        from tts_utils.policies.vllm import load_vllm_policy

        return load_vllm_policy(source, name, **facts, **options)
    from tts_utils.policies.server import load_server_policy

    return load_server_policy(source, name, server_url, **facts, **options)


def load_checkpoint(source: str, device: str | None = None):
    """The tokenizer and the causal language model of a folder or a Hub id, on a device, ready to read.

    On a CPU in float32; on a GPU in the checkpoint's own type.

    Raises:
        UnknownModel: there is no such model, it cannot be fetched, read, or put on that device, it has no
            safetensors, or it is of a kind that does not keep every token of its past.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = usable_device(device)
    dtype = torch.float32 if device == "cpu" else "auto"
    tokenizer = load_tokenizer(source)
    config = load_config(source)
    refuse_pickles(source)
    place, revision = pinned(source)
    with reading(source):
        model = AutoModelForCausalLM.from_pretrained(
            place, **revision, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False
        ).to(device)
    refuse_stateful(model, source)
    return tokenizer, model.eval()


def num_params_of(source: str, make: Callable[[Any], Any] | None = None) -> int:
    """Parameters of a folder's or Hub id's model, tied ones counted once; reads no weights.

    ``make`` makes it of its configuration; by default it is a causal language model. 0 where torch is not
    installed, so that a server's policy needs none.
    """
    config = load_config(source)
    try:
        import torch
    except ModuleNotFoundError:
        return 0
    from transformers import AutoModelForCausalLM

    with reading(source), torch.device("meta"):
        model = make(config) if make else AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return sum(p.numel() for p in model.parameters())
