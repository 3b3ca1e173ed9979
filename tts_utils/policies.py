"""Policies: sample continuations of states, in batches, each from its own stream of random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tts_utils.backends import COUNT, FAMILY, RETRIES, SECONDS, TEXT, check_backend, check_options
from tts_utils.checkpoints import UnknownModel, load_config, load_tokenizer, reading
from tts_utils.policy_requests import FULL, BackendError, first_indices, room_behind
from tts_utils.problems import data_dir
from tts_utils.prompts import Family, family_of, state_ids
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
        options: of :class:`TransformersPolicy` (``batch_size``),
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


class TransformersPolicy:
    """A causal language model run by transformers, on a CPU or one GPU."""

    def __init__(
        self,
        name: str,
        model,
        tokenizer,
        batch_size: int = 256,
        revision: str = "",
        family: Family | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.family = family or family_of(tokenizer, model.config.architectures)
        self.num_params = sum(p.numel() for p in model.parameters())
        eos = model.generation_config.eos_token_id
        eos = tokenizer.eos_token_id if eos is None else eos
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [eos])

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        return state_ids(self.tokenizer, self.family, state)

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state; see :class:`Policy`.

        On a CPU in float32 a sample does not depend on its batch (up to a draw that falls within
        rounding, about 1e-6, of the border between two tokens).
        """
        firsts = first_indices(states, n, config, first)
        prompts = [self.prompt_ids(state) for state in states]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        rooms = [
            room_behind(ids, state, self.name, limit, config.max_tokens)
            for state, ids in zip(states, prompts, strict=True)
        ]
        requests = [(s, i) for s in range(len(states)) if rooms[s] for i in range(n)]
        requests.sort(key=lambda r: (len(prompts[r[0]]), r))
        results: dict[tuple[int, int], Continuation] = {}
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            streams = [_stream(prompts[s], firsts[s] + i, config) for s, i in batch]
            heads, limits = ([column[s] for s, _ in batch] for column in (prompts, rooms))
            outputs = self._generate(heads, streams, config, limits)
            results.update(zip(batch, outputs, strict=True))
        return [[results[s, i] if rooms[s] else FULL for i in range(n)] for s in range(len(states))]

    def _generate(
        self, prompts: list[list[int]], streams: list, config: SamplingConfig, rooms: list[int]
    ) -> list[Continuation]:
        """Decode one batch of requests, each of at most ``rooms`` tokens, dropping rows as they finish."""
        import torch

        device = self.model.device
        ending = self._tokens_that_may_stop(config.stop)
        longest = max(map(len, prompts))
        # 1) Read each distinct prompt once, padded on the left, and fan its cache out to its rows.
        index = {p: i for i, p in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in index], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in index], device=device)
        rows = torch.tensor([index[tuple(p)] for p in prompts], device=device)
        written: list[list[int]] = [[] for _ in prompts]
        reasons: list[str | None] = [None] * len(prompts)
        texts: list[str | None] = [None] * len(prompts)
        held = list(range(len(prompts)))  # which request each row of the cache belongs to
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=True,
                logits_to_keep=1,
            )
            cache, logits = out.past_key_values, out.logits[:, -1][rows]
            cache.batch_select_indices(rows)
            mask, lengths = mask[rows], mask.sum(1)[rows]
            # 2) One token a round for every row; finished rows are dropped once they are a quarter.
            for t in range(max(rooms)):
                draws = [streams[i].random() for i in held] if config.temperature > 0 else None
                tokens = _choose(logits, draws, config)
                for i, token in zip(held, tokens.tolist(), strict=True):
                    if reasons[i] is not None:
                        continue
                    written[i].append(token)
                    if token in self.eos_ids:
                        reasons[i] = "eos"
                    elif token in ending and (cut := self._stopped(written[i], config.stop)) is not None:
                        reasons[i], texts[i] = "stop", cut
                    elif len(written[i]) == rooms[i]:
                        reasons[i] = "length"
                live = [row for row, i in enumerate(held) if reasons[i] is None]
                if not live:
                    break
                if len(live) <= 0.75 * len(held):
                    select = torch.tensor(live, device=device)
                    cache.batch_select_indices(select)
                    held = [held[row] for row in live]
                    tokens, mask, lengths = tokens[select], mask[select], lengths[select]
                mask = torch.cat([mask, mask.new_ones(len(held), 1)], dim=1)
                out = self.model(
                    input_ids=tokens[:, None],
                    attention_mask=mask,
                    position_ids=(lengths + t)[:, None],
                    past_key_values=cache,
                    use_cache=True,
                )
                logits = out.logits[:, -1]
        results = []
        for ids_written, reason, text in zip(written, reasons, texts, strict=True):
            if text is None:
                text = self._decode(ids_written[:-1] if reason == "eos" else ids_written)
            results.append(Continuation(text, len(ids_written), reason))
        return results

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _stopped(self, ids: list[int], stop: tuple[str, ...]) -> str | None:
        """The text up to the end of the first stop string that the last token completes, or None."""
        text, before = self._decode(ids), len(self._decode(ids[:-1]))
        ends = []
        for s in stop:
            at = text.find(s, max(0, before - len(s) + 1))
            if at >= 0:
                ends.append(at + len(s))
        return text[: min(ends)] if ends else None

    def _tokens_that_may_stop(self, stop: tuple[str, ...]) -> frozenset[int]:
        """Ids of the tokens that contain the last character of a stop string: only these need a look."""
        if not stop:
            return frozenset()
        last = {s[-1] for s in stop}
        pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, piece in enumerate(pieces) if last & set(piece) or "\ufffd" in piece)


def _stream(prompt: list[int], sample: int, config: SamplingConfig) -> np.random.Generator:
    """The random stream of one sample, fixed by (prompt, sample index, seed)."""
    text = f"{config.seed}|{sample}|{','.join(map(str, prompt))}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def _choose(logits, draws: list[float] | None, config: SamplingConfig):
    """Next tokens (B,) from logits (B, V): argmax, or the inverse of the cumulated distribution."""
    import torch

    if config.temperature == 0:
        return logits.argmax(dim=-1)
    probs = torch.softmax(logits.double() / config.temperature, dim=-1)
    if config.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= config.top_p
        probs = probs.masked_fill(beyond.gather(1, order.argsort(-1)), 0.0)
    cumulated = probs.cumsum(-1)
    points = torch.tensor(draws, dtype=torch.float64, device=logits.device) * cumulated[:, -1]
    return torch.searchsorted(cumulated, points[:, None], right=True)[:, 0].clamp(max=logits.shape[1] - 1)
