"""A policy behind any server that speaks OpenAI's completions protocol, such as ``vllm serve``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import PurePosixPath
from typing import Any

from tts_utils.checkpoints import load_config, load_tokenizer, pinned
from tts_utils.policies.http import Server
from tts_utils.policies.requests import (
    Request,
    context_length,
    continuation_of,
    request_seed,
    sample_each,
)
from tts_utils.prompts import Family, family_of, state_ids
from tts_utils.protocols import BackendError
from tts_utils.records import Continuation, SamplingConfig, State

__all__ = ["Server", "ServerPolicy", "find_served_model", "load_server_policy"]

PROBE = SamplingConfig(temperature=2.0, max_tokens=64)
"""How it is asked whether a server heeds seeds: so hot that two draws of a model never are the same."""

PROBES = 4


def find_served_model(server: Server, names: Sequence[str]) -> dict[str, Any]:
    """The entry of the server's model list that is one of ``names``: the same id or root, or the last part.

    Raises:
        BackendError: there is none, or more than one; the message lists what the server has.
    """
    listed = server.ask("/models").get("data")
    if not isinstance(listed, list) or not all(
        isinstance(m, dict) and isinstance(m.get("id"), str) and isinstance(m.get("root"), str | None)
        for m in listed
    ):
        raise BackendError(f"{server.url}/models answers with no list of models")
    called = {m["id"]: {m["id"], m.get("root") or m["id"]} for m in listed}
    exact = [m for m in listed if called[m["id"]] & set(names)]
    last = {PurePosixPath(name).name for name in names}
    loose = [m for m in listed if {PurePosixPath(c).name for c in called[m["id"]]} & last]
    found = exact or loose
    if len(found) != 1:
        raise BackendError(
            f"the server at {server.url} has {'no' if not found else 'more than one'} model called "
            f"{names[0]!r}, but: {', '.join(map(repr, called)) or 'none at all'}. "
            "Serve that model, or load the policy that is served"
        )
    return found[0]


def load_server_policy(
    source: str,
    name: str,
    server_url: str,
    *,
    revision: str = "",
    num_params: int = 0,
    family: Family | None = None,
    concurrency: int = 128,
    **options,
) -> ServerPolicy:
    """Connect to a server that has this policy's model; only its tokenizer is loaded here.

    Args:
        source: a local folder or a Hub id, for tokenizer and config.
        name: what the policy is called in tables.
        server_url: for example "http://127.0.0.1:8000/v1".
        revision, num_params: as in :class:`tts_utils.protocols.Policy`.
        family: how the model is asked; None reads it off the model.
        concurrency: requests under way at once.
        options: arguments of :class:`Server`.

    Raises:
        UnknownModel: its tokenizer or configuration cannot be read, or it has no chat template.
        BackendError: no server there, or none that has this model.
    """
    server = Server(server_url, **options)
    try:
        model = find_served_model(server, (pinned(source)[0], name))
    finally:
        server.hang_up()
    config = load_config(source)
    limit, served = context_length(config), model.get("max_model_len")
    if served is not None:
        if type(served) is not int or served < 1:
            raise BackendError(f"{server.url}/models gives max_model_len={served!r:.80}, no number of tokens")
        limit = min(limit, served)
    tokenizer = load_tokenizer(source)
    family = family or family_of(tokenizer, config.architectures)
    return ServerPolicy(
        name, server, model["id"], tokenizer, family, limit, num_params, revision, concurrency
    )


class ServerPolicy:
    """A causal language model behind a server; prompts are sent as token ids, so turns continue exactly.

    Every sample is a request of its own with a seed of its own, the same seed as in
    :class:`tts_utils.policies.vllm.VLLMPolicy`. Nothing the server says is believed unless it is of its type
    and possible.
    """

    settings = ""

    def __init__(
        self,
        name: str,
        server: Server,
        model: str,
        tokenizer,
        family: Family,
        limit: int,
        num_params: int = 0,
        revision: str = "",
        concurrency: int = 128,
    ) -> None:
        self.name = name
        self.revision = revision
        self.num_params = num_params
        self.server = server
        self.model = model
        self.tokenizer = tokenizer
        self.family = family
        self.limit = limit
        self.concurrency = concurrency
        self._longest = max(map(len, tokenizer.get_vocab()))  # characters of a token
        self._heeds_seeds = False  # once that was seen
        self._drawn: dict[tuple[int, ...], tuple[int | None, str]] = {}  # prompt -> a seed and its text

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        return state_ids(self.tokenizer, self.family, state)

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state, ``concurrency`` of them at a time; see ``protocols.Policy``.

        Raises:
            BackendError: a request fails for good, and the others are given up; or the server gives the same
                text whatever the seed.
        """

        def answer(requests: list[Request]) -> list[Continuation]:
            given_up, wrong = threading.Event(), []

            def one(request: Request) -> Continuation | None:
                if given_up.is_set():
                    return None
                try:
                    return self._complete(request, config, given_up)
                except BaseException as exc:
                    wrong.append(exc)  # after its retries: what still waits would fail as well
                    given_up.set()
                    raise

            pool = ThreadPoolExecutor(min(self.concurrency, len(requests)), "tts-server")
            try:
                futures = [pool.submit(one, request) for request in requests]
                wait(futures, return_when=FIRST_EXCEPTION)
                if wrong:
                    raise wrong[0]
                answers = [future.result() for future in futures]
                if not self._heeds_seeds:
                    self._refuse_copies(requests, answers)
                return answers
            finally:  # after an error or an interrupt, what is under way is cut, not waited for
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self.server.hang_up()
                pool.shutdown(wait=True)

        return sample_each(
            answer, self.tokenizer, self.family, self.name, self.limit, states, n, config, first
        )

    def _complete(self, request: Request, config: SamplingConfig, given_up: threading.Event) -> Continuation:
        where = f"{self.server.url}/completions, problem {request.problem_id!r}"
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(request.prompt),
            "max_tokens": request.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "n": 1,
            # A server fills what is left out from the model's generation_config.json (Qwen2.5: top_k 20,
            # repetition_penalty 1.05), so every setting is sent.
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if config.stop:
            body["stop"] = list(config.stop)
        if config is PROBE:
            body["ignore_eos"] = True
        reply = self.server.ask("/completions", body, given_up)
        text, num_tokens, reason = self._checked(reply, request, where)
        # vLLM says stop_reason, SGLang matched_stop; the one that is not null counts.
        said = [reply["choices"][0][k] for k in ("stop_reason", "matched_stop") if k in reply["choices"][0]]
        if not said and config.stop and reason == "stop":
            raise BackendError(
                f"{where}: the server does not say whether a stop string or the model ended the text (vLLM's "
                "stop_reason, SGLang's matched_stop), so steps and ends cannot be told apart"
            )
        stopped_by = next((value for value in said if value is not None), None)
        if not (stopped_by is None or type(stopped_by) is int or stopped_by in config.stop):
            raise BackendError(f"{where}: the server names {stopped_by!r:.80} as what ended the text")
        return continuation_of(request, text, num_tokens, reason, stopped_by, config.stop)

    def _checked(self, reply: dict[str, Any], request: Request, where: str) -> tuple[str, int, str]:
        """Text, tokens and finish reason of an answer, once each is of its type and possible."""
        choices, usage = reply.get("choices"), reply.get("usage")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise BackendError(f"{where}: the answer lacks its one choice, got {choices!r:.200}")
        text, reason = choices[0].get("text"), choices[0].get("finish_reason")
        usage = usage if isinstance(usage, dict) else {}
        num_read, num_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        for name, value, kind in (
            ("text", text, str),
            ("finish_reason", reason, str),
            ("usage.prompt_tokens", num_read, int),
            ("usage.completion_tokens", num_tokens, int),
        ):
            if type(value) is not kind:
                raise BackendError(
                    f"{where}: the answer lacks text, finish_reason or usage: {name} is {value!r:.80}, "
                    f"no {kind.__name__}"
                )
        if num_read != len(request.prompt):
            raise BackendError(
                f"{where}: the server read {num_read} tokens where {len(request.prompt)} were sent; it does "
                "not continue token ids as they are"
            )
        if not bool(text) <= num_tokens <= request.max_tokens:
            raise BackendError(
                f"{where}: the server counts {num_tokens} tokens for a text of {len(text)} characters, of "
                f"which {request.max_tokens} were allowed; its counts cannot be relied on"
            )
        if len(text) > num_tokens * self._longest:
            raise BackendError(
                f"{where}: {num_tokens} tokens cannot make a text of {len(text):,} characters; the longest "
                f"token has {self._longest}"
            )
        return text, num_tokens, reason

    def _refuse_copies(self, requests: Sequence[Request], answers: Sequence[Continuation]) -> None:
        """Raise BackendError where the server draws alike whatever the seed.

        Two draws of a state that are the same prove nothing, as a policy may be sure of itself. Such a state
        is drawn from again, at a temperature at which nobody is; one look that finds draws to differ is
        enough.
        """
        for request, answer in zip(requests, answers, strict=True):
            seed, text = self._drawn.setdefault(request.prompt, (request.seed, answer.text))
            self._heeds_seeds |= seed != request.seed and text != answer.text
        for request in requests:
            if not self._heeds_seeds and request.seed != self._drawn[request.prompt][0]:
                self._probe(request)
        if self._heeds_seeds or len(self._drawn) > 4096:
            self._drawn.clear()

    def _probe(self, suspect: Request) -> None:
        room = min(PROBE.max_tokens, suspect.max_tokens)
        seeds = [request_seed(PROBE.seed, suspect.prompt, i) for i in range(PROBES)]
        draws = [Request(suspect.problem_id, suspect.prompt, room, seed) for seed in seeds]
        if len({self._complete(draw, PROBE, threading.Event()).text for draw in draws}) == 1:
            raise BackendError(
                f"{self.server.url} ignores seeds: problem {suspect.problem_id!r} is continued alike by all "
                f"samples, also in {PROBES} draws at temperature {PROBE.temperature:g}, so its samples would "
                "be copies of one. Nothing of this batch is stored; take a server that draws by the seed of "
                "each request, such as vllm serve"
            )
        self._heeds_seeds = True
