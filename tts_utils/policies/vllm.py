"""A policy run by vLLM in this process: thousands of samples at once, equal prefixes read once."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from tts_utils.backends import COUNT, check_options
from tts_utils.checkpoints import load_config, load_tokenizer, pinned, reading, refuse_pickles
from tts_utils.policies.requests import Request, context_length, continuation_of, sample_each
from tts_utils.policies.wide_heads import CPU_SIZES, head_size, widened
from tts_utils.prompts import R1_DISTILL, Family, family_of, state_ids
from tts_utils.protocols import BackendError
from tts_utils.records import Continuation, SamplingConfig, State

SUPPORTED = ((0, 19), (0, 34))
"""Versions of vLLM that are supported: from the first, up to but without the second."""

CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: it starts in seconds, ends cleanly
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # no pinning to cores that others use
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
}
"""Set before vLLM is imported where there is no GPU, each only if it is not set yet."""

SAFE = {"trust_remote_code": False, "load_format": "safetensors"}
"""What nobody may set otherwise: no code of a checkpoint is run, and no pickle is read."""

CONTEXT, LONG_CONTEXT = 8192, 32768
"""Tokens of prompt and answer together, at most: the paper's limits (R1-Distill has the long one)."""


def import_vllm():
    """Import vLLM, after a look at its version.

    Raises:
        BackendError: it is not installed, cannot be imported, or is not of a supported version.
    """
    lowest, beyond = (".".join(map(str, version)) for version in SUPPORTED)
    wanted = f"this package works with vllm>={lowest},<{beyond}: pip install 'vllm>={lowest},<{beyond}'"
    version = installed_version()
    if version is None:
        raise BackendError(f"vLLM is not installed here; {wanted} in an environment of its own")
    numbers = tuple(int(x) for x in re.findall(r"\d+", version)[:2])
    if not SUPPORTED[0] <= numbers < SUPPORTED[1]:
        raise BackendError(f"vLLM {version} is installed, but {wanted}")
    import torch

    if not torch.cuda.is_available():
        for key, value in CPU_ENVIRONMENT.items():
            os.environ.setdefault(key, value)
    try:
        import vllm
    except Exception as exc:  # broken companions raise what they like: RuntimeError, OSError, ImportError
        raise BackendError(
            f"vLLM {version} is installed but cannot be imported ({type(exc).__name__}: {exc}); torchvision, "
            "torchaudio or torchcodec of another build are a common cause: uninstall them"
        ) from exc
    return vllm


def installed_version() -> str | None:
    """The version of vLLM, from whichever package provides it, or None."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def engine_options(config, max_model_len: int, **options) -> dict:
    """Arguments of ``vllm.LLM`` that both policies and PRMs start from; ``options`` win.

    Float32 on a CPU, where results are compared with the transformers backend; the checkpoint's own type on
    a GPU.

    Raises:
        BackendError: ``max_model_len`` is no whole number, 1 or more, or an option of ``SAFE`` is given.
    """
    import torch

    check_options("vllm", {"max_model_len": max_model_len}, {"max_model_len": COUNT})
    check_options("vllm", options, {}, others=True, own=SAFE)

    on_cpu = not torch.cuda.is_available()
    chosen = {
        "dtype": "float32" if on_cpu else "auto",
        "enforce_eager": on_cpu,
        "max_model_len": min(max_model_len, context_length(config)),
        "disable_log_stats": True,
        "seed": 0,
    }
    if on_cpu:
        chosen["enable_chunked_prefill"] = False  # vLLM 0.32 dies over a seeded request read in pieces
        chosen["block_size"] = 32  # the least that it takes here: less of a known prefix is read again
    return chosen | options | SAFE


def load_vllm_policy(
    source: str,
    name: str,
    *,
    revision: str = "",
    num_params: int = 0,
    family: Family | None = None,
    **options,
) -> VLLMPolicy:
    """Start vLLM's engine for a policy.

    Args:
        source: a local folder or a Hub id.
        name: what the policy is called in tables.
        revision, num_params: as in :class:`tts_utils.protocols.Policy`.
        family: how the model is asked; None reads it off the model.
        options: arguments of ``vllm.LLM``, such as ``tensor_parallel_size``, ``gpu_memory_utilization`` or
            ``max_model_len`` (default: the paper's 8,192 tokens, 32,768 for R1-Distill).

    Raises:
        UnknownModel: its tokenizer or configuration cannot be read, or it has no chat template.
        BackendError: as for :func:`import_vllm`, or the engine does not start.
    """
    vllm = import_vllm()
    tokenizer = load_tokenizer(source)
    config = load_config(source)
    refuse_pickles(source)
    family = family or family_of(tokenizer, config.architectures)
    length = options.pop("max_model_len", LONG_CONTEXT if family == R1_DISTILL else CONTEXT)
    options = engine_options(config, length, **{"enable_prefix_caching": True, **options})
    llm = start_engine(vllm, runnable(source, config), options)
    return VLLMPolicy(name, llm, tokenizer, family, options["max_model_len"], num_params, revision)


def runnable(source: str, config, load: Callable[[], Any] | None = None) -> str:
    """The folder that vLLM is to load: the source, or on a CPU a widened copy if its heads are too narrow.

    The copy lies in a temporary folder until this process ends. ``load`` makes the model; by default it is a
    causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if torch.cuda.is_available() or head_size(config) >= min(CPU_SIZES):
        return source
    folder = tempfile.TemporaryDirectory(prefix="tts-wide-")
    atexit.register(folder.cleanup)
    place, revision = pinned(source)
    load = load or (
        lambda: AutoModelForCausalLM.from_pretrained(
            place,
            **revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    )
    with reading(source):
        model = load()
    widened(model, min(CPU_SIZES)).save_pretrained(folder.name)
    load_tokenizer(source).save_pretrained(folder.name)
    return folder.name


def start_engine(vllm, source: str, options: dict):
    """Make the ``vllm.LLM``; BackendError with vLLM's own words if it does not start."""
    place, revision = pinned(source)
    if revision:
        options = options | revision | {"tokenizer_revision": revision["revision"]}
    try:
        return vllm.LLM(model=place, **options)
    except Exception as exc:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise BackendError(f"vLLM cannot run {source!r} with {given}: {type(exc).__name__}: {exc}") from exc


def answers_of(
    call: Callable[..., list], what: str, prompts: Sequence[Sequence[int]], *more, **options
) -> list:
    """What a method of ``vllm.LLM`` answers to prompts of token ids; BackendError where it cannot do so."""
    try:
        return call([{"prompt_token_ids": list(ids)} for ids in prompts], *more, use_tqdm=False, **options)
    except Exception as exc:  # vLLM's errors have no common base
        raise BackendError(
            f"vLLM failed to {what} ({type(exc).__name__}: {exc}); what was finished before is kept"
        ) from exc


class VLLMPolicy:
    """A causal language model run by vLLM's in-process ``LLM``.

    Every sample is a request of its own with a seed of its own, so it does not depend on what else is in
    the batch as far as vLLM's arithmetic goes: exactly for the draws; up to rounding, which may tip a draw
    near the border of two tokens, for the probabilities. Its streams are not the transformers backend's.
    """

    settings = ""

    def __init__(
        self,
        name: str,
        llm,
        tokenizer,
        family: Family,
        max_model_len: int,
        num_params: int = 0,
        revision: str = "",
    ) -> None:
        self.name = name
        self.revision = revision
        self.num_params = num_params
        self.llm = llm
        self.tokenizer = tokenizer
        self.family = family
        self.max_model_len = max_model_len

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        return state_ids(self.tokenizer, self.family, state)

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state in one call of the engine; see ``protocols.Policy``."""

        def answer(requests: list[Request]) -> list[Continuation]:
            return self._generate(requests, config)

        return sample_each(
            answer, self.tokenizer, self.family, self.name, self.max_model_len, states, n, config, first
        )

    def _generate(self, requests: list[Request], config: SamplingConfig) -> list[Continuation]:
        from vllm import SamplingParams

        params = [
            SamplingParams(
                temperature=config.temperature,
                top_p=config.top_p,
                max_tokens=request.max_tokens,
                seed=request.seed,
                stop=list(config.stop) or None,
                skip_special_tokens=False,  # a special token in mid-text stays, as with transformers
                spaces_between_special_tokens=False,
            )
            for request in requests
        ]
        what = f"sample {len(requests)} continuations of {self.name}, the first of problem "
        what += repr(requests[0].problem_id)
        outputs = answers_of(self.llm.generate, what, [r.prompt for r in requests], params)
        results = []
        for request, output in zip(requests, outputs, strict=True):
            (best,) = output.outputs
            results.append(
                continuation_of(
                    request,
                    best.text,
                    len(best.token_ids),
                    best.finish_reason,
                    best.stop_reason,
                    config.stop,
                )
            )
        return results
