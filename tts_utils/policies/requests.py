"""What the backends share, and no backend of its own: checks of what is asked, and one request per sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tts_utils.prompts import Family, state_ids
from tts_utils.protocols import BackendError, PromptTooLong, first_indices
from tts_utils.records import Continuation, SamplingConfig, State


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


FULL = Continuation("", 0, "length")
"""How a state goes on whose text has filled the context: it is cut before the first token."""


def room_behind(prompt: Sequence[int], state: State, policy: str, limit: int | None, max_tokens: int) -> int:
    """New tokens that a state may get; 0 where the policy's own text has filled the context.

    Args:
        prompt: the state's token ids.
        policy: the policy's name, for the message.
        limit: tokens that prompt and continuation may have together; None where the model sets none.
        max_tokens: the limit on new tokens.

    Raises:
        PromptTooLong: the problem alone fills the context: it cannot be asked at all.
    """
    if limit is None:
        return max_tokens
    if len(prompt) >= limit and not state.steps:
        raise PromptTooLong(
            f"problem {state.problem.problem_id!r}: its prompt has {len(prompt)} tokens, but {policy} reads "
            f"at most {limit}, its answer included; leave the problem out, or take a policy that reads more"
        )
    return max(0, min(max_tokens, limit - len(prompt)))


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
    """Sample n continuations of every state through ``answer``, as :class:`tts_utils.protocols.Policy` says.

    Every continuation is a request, so that tokens reported are tokens generated. The requests of a state
    stand together, so that a backend can share their prefix. A state that has filled the context makes none:
    its continuations are cut before their first token.

    Args:
        answer: answers all requests of a call, in order.
        policy: the policy's name, for messages.
        limit: tokens that prompt and continuation may have together.

    Raises:
        ValueError, PromptTooLong: as :func:`first_indices` and :func:`room_behind`.
        BackendError: there are too few or too many answers.
    """
    firsts = first_indices(states, n, config, first)
    encoded: dict[tuple[str, str], tuple[int, ...]] = {}
    requests: list[Request] = []
    asked: list[bool] = []  # whether a state made its n requests
    for state, start in zip(states, firsts, strict=True):
        key = (state.problem.text, state.text)
        prompt = encoded.get(key) or encoded.setdefault(key, tuple(state_ids(tokenizer, family, state)))
        room = room_behind(prompt, state, policy, limit, config.max_tokens)
        asked.append(room > 0)
        for i in range(start, start + n) if room else ():
            seed = None if config.temperature == 0 else request_seed(config.seed, prompt, i)
            requests.append(Request(state.problem.problem_id, prompt, room, seed))
    answers = answer(requests) if requests else []
    if len(answers) != len(requests):
        raise BackendError(f"{policy} was asked for {len(requests)} samples and returned {len(answers)}")
    in_order = iter(answers)
    return [[next(in_order) if drawn else FULL for _ in range(n)] for drawn in asked]


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
