"""One request per sample: what the vLLM and the server backends share, and no backend of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tts_utils.prompts import Family, state_ids
from tts_utils.records import Continuation, SamplingConfig, State


class BackendError(RuntimeError):
    """A backend cannot be used here, or answered with something that cannot be relied on."""


class PromptTooLong(ValueError):
    """A prompt leaves no room for an answer in the model's context; the message names its problem."""


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to be drawn.

    Attributes:
        problem_id: whose problem, for messages.
        prompt: token ids to continue.
        max_tokens: limit on new tokens, the room in the model's context included.
        seed: of this sample alone, or None for greedy decoding.
    """

    problem_id: str
    prompt: tuple[int, ...]
    max_tokens: int
    seed: int | None


def context_length(config) -> int:
    """Tokens that a model reads at most, by its transformers config; the paper's 8,192 if it says nothing."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or 8192


def request_seed(seed: int, prompt: Sequence[int], sample: int) -> int:
    """The seed of one sample, in [0, 2**63), fixed by (seed, prompt, sample index) and by nothing else."""
    text = f"{seed}|{sample}|{','.join(map(str, prompt))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def sample_each(
    answer: Callable[[list[Request]], list[Continuation]],
    tokenizer,
    family: Family,
    policy: str,
    limit: int,
    states: Sequence[State],
    n: int,
    config: SamplingConfig,
    first: int | Sequence[int] = 0,
) -> list[list[Continuation]]:
    """Sample n continuations of every state through ``answer``, as :class:`tts_utils.policies.Policy` says.

    Greedy decoding is asked for once per distinct state. Requests of equal prompts stand together, so that
    a backend can share their prefix.

    Args:
        answer: answers all requests of a call, in order.
        policy: the policy's name, for messages.
        limit: tokens that prompt and continuation may have together.

    Raises:
        PromptTooLong: a prompt fills the limit.
        ValueError: n below 1, or ``first`` of the wrong length.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    firsts = [first] * len(states) if isinstance(first, int) else list(first)
    if len(firsts) != len(states):
        raise ValueError(f"{len(states)} states but {len(firsts)} first sample indices")
    encoded: dict[tuple[str, str], tuple[int, ...]] = {}
    places: dict[Request, list[tuple[int, int]]] = {}  # who waits for its answer: (state, sample)
    for s, state in enumerate(states):
        key = (state.problem.text, state.text)
        prompt = encoded.get(key) or encoded.setdefault(key, tuple(state_ids(tokenizer, family, state)))
        if len(prompt) >= limit:
            raise PromptTooLong(
                f"problem {state.problem.problem_id!r}: its prompt has {len(prompt)} tokens, "
                f"but {policy} reads at most {limit}"
            )
        room = min(config.max_tokens, limit - len(prompt))
        for i in range(n):
            seed = None if config.temperature == 0 else request_seed(config.seed, prompt, firsts[s] + i)
            request = Request(state.problem.problem_id, prompt, room, seed)
            places.setdefault(request, []).append((s, i))
    requests = list(places)
    answers = answer(requests) if requests else []
    if len(answers) != len(requests):
        raise BackendError(f"{policy} was asked for {len(requests)} samples and returned {len(answers)}")
    results: list[list[Continuation]] = [[None] * n for _ in states]  # type: ignore[list-item]
    for request, continuation in zip(requests, answers, strict=True):
        for s, i in places[request]:
            results[s][i] = continuation
    return results


def continuation_of(
    request: Request,
    text: str,
    num_tokens: int,
    finish_reason: str | None,
    stop_reason: str | int | None,
    stop: Sequence[str],
) -> Continuation:
    r"""What vLLM says of a sample, as a record; the stop string is put back where it was cut off.

    ("stop", a string) is a stop string; ("stop", None) and ("stop", a token id) are an end of sequence;
    "length" is the limit. The text ends with the first stop string in it, as with every other backend.

    >>> continuation_of(Request("p", (1,), 9, 0), "A.", 2, "stop", "\n\n", ("\n\n",))
    Continuation(text='A.\n\n', num_tokens=2, finish_reason='stop')

    Raises:
        BackendError: another finish reason, such as "abort".
    """
    if finish_reason == "length":
        return Continuation(text, num_tokens, "length")
    if finish_reason != "stop":
        raise BackendError(
            f"problem {request.problem_id!r}: a sample ended with finish_reason {finish_reason!r}, "
            "neither finished nor cut by the limit"
        )
    if not isinstance(stop_reason, str):
        return Continuation(text, num_tokens, "eos")
    text += stop_reason
    ends = [at + len(s) for s in (*stop, stop_reason) if (at := text.find(s)) >= 0]
    return Continuation(text[: min(ends)], num_tokens, "stop")
