"""A policy behind any server that speaks OpenAI's completions protocol, such as ``vllm serve``."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tts_utils.checkpoints import load_config, load_tokenizer
from tts_utils.policies.requests import Request, context_length, continuation_of, sample_each
from tts_utils.prompts import Family, family_of, state_ids
from tts_utils.protocols import BackendError
from tts_utils.records import Continuation, SamplingConfig, State

KEY_VARIABLE = "TTS_SERVER_KEY"
"""Environment variable that holds the server's key, where it wants one."""

BUSY = (429, 500, 502, 503, 504)


class Server:
    """JSON over HTTP to one address, with kept connections, retries, and errors that say where and what.

    Args:
        url: for example "http://127.0.0.1:8000/v1".
        timeout: seconds to wait for an answer.
        retries: further attempts after a failed connection or a busy server's answer.
        pause: seconds before the first of them; doubled before each next one.
        key: sent as the bearer token; None means the environment variable ``TTS_SERVER_KEY``.
    """

    def __init__(
        self, url: str, timeout: float = 3600, retries: int = 4, pause: float = 0.5, key: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BackendError(f"{url!r} is no server address; write it as http://127.0.0.1:8000/v1")
        self.url = url.rstrip("/")
        self._parts = parts
        self._timeout = timeout
        self._retries = retries
        self._pause = pause
        key = os.environ.get(KEY_VARIABLE, "") if key is None else key
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {key}"} if key else {}
        )
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()

    def ask(
        self, path: str, body: dict[str, Any] | None = None, given_up: threading.Event | None = None
    ) -> dict[str, Any]:
        """Answer of GET ``path``, or of POST with ``body``; no further attempt once ``given_up`` is set.

        Raises:
            BackendError: no connection after all attempts, an error status, or an answer that is no JSON
                object.
        """
        wrong = ""
        given_up = given_up or threading.Event()
        for attempt in range(self._retries + 1):
            if attempt and given_up.wait(self._pause * 2 ** (attempt - 1)):
                break
            try:
                status, content = self._exchange(path, body)
            except (OSError, http.client.HTTPException) as exc:
                wrong = f"{type(exc).__name__}: {exc}"
                continue
            if status in BUSY:
                wrong = f"status {status}: {_shown(content)}"
                continue
            if status != 200:
                raise BackendError(f"{self.url}{path} answers with status {status}: {_shown(content)}")
            try:
                answer = json.loads(content)
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise BackendError(f"{self.url}{path} answers with no JSON object: {_shown(content)}")
            return answer
        raise BackendError(
            f"{self.url}{path} cannot be reached ({wrong}), tried {self._retries + 1} times; is the server "
            "running, and is the address right? What was finished before is kept"
        )

    def hang_up(self) -> None:
        """Close every connection; threads that wait for an answer fail at once. A later ask connects anew."""
        for connection in list(self._busy):
            with contextlib.suppress(OSError, AttributeError):  # closed by its own thread meanwhile
                connection.sock.shutdown(socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        try:
            connection = self._idle.pop()
        except IndexError:
            secure = self._parts.scheme == "https"
            connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = connect(self._parts.hostname, self._parts.port, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        where = self._parts.path.rstrip("/") + path
        kept = False
        self._busy.add(connection)
        try:
            connection.request("GET" if body is None else "POST", where, data, self._headers)
            response = connection.getresponse()
            content = response.read()
            kept = not response.will_close
            return response.status, content
        finally:
            self._busy.discard(connection)
            if kept:
                self._idle.append(connection)
            else:
                connection.close()


def find_served_model(server: Server, names: Sequence[str]) -> dict[str, Any]:
    """The entry of the server's model list that is one of ``names``: the same id or root, or the last part.

    Raises:
        BackendError: there is none, or more than one; the message lists what the server has.
    """
    listed = server.ask("/models").get("data")
    if not isinstance(listed, list) or not all(isinstance(m, dict) and "id" in m for m in listed):
        raise BackendError(f"{server.url}/models answers with no list of models")
    called = {m["id"]: {str(m["id"]), str(m.get("root") or m["id"])} for m in listed}
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
        model = find_served_model(server, (source, name))
    finally:
        server.hang_up()
    config = load_config(source)
    limit = min(context_length(config), int(model.get("max_model_len") or context_length(config)))
    tokenizer = load_tokenizer(source)
    family = family or family_of(tokenizer, config.architectures)
    return ServerPolicy(
        name, server, model["id"], tokenizer, family, limit, num_params, revision, concurrency
    )


class ServerPolicy:
    """A causal language model behind a server; prompts are sent as token ids, so turns continue exactly.

    Every sample is a request of its own with a seed of its own, the same seed as in
    :class:`tts_utils.policies.vllm.VLLMPolicy`.
    """

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

    def prompt_ids(self, state: State) -> list[int]:
        """Token ids of the state: the chat prompt, then the policy's own text continued as it stands."""
        return state_ids(self.tokenizer, self.family, state)

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state, ``concurrency`` of them at a time; see ``protocols.Policy``.

        Raises:
            BackendError: a request fails for good; the others are given up.
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
                return [future.result() for future in futures]
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
        reply = self.server.ask("/completions", body, given_up)
        try:
            (choice,) = reply["choices"]
            text, reason = str(choice["text"]), choice["finish_reason"]
            num_read, num_tokens = (int(reply["usage"][f"{k}_tokens"]) for k in ("prompt", "completion"))
        except (KeyError, TypeError, ValueError) as exc:
            raise BackendError(f"{where}: the answer lacks text, finish_reason or usage ({exc!r})") from exc
        if num_read != len(request.prompt):
            raise BackendError(
                f"{where}: the server read {num_read} tokens where {len(request.prompt)} were sent; it does "
                "not continue token ids as they are"
            )
        said = next((choice[key] for key in ("stop_reason", "matched_stop") if key in choice), _NOT_SAID)
        if said is _NOT_SAID and config.stop and reason == "stop":
            raise BackendError(
                f"{where}: the server does not say whether a stop string or the model ended the text (vLLM's "
                "stop_reason, SGLang's matched_stop), so steps and ends cannot be told apart"
            )
        said = None if said is _NOT_SAID else said
        return continuation_of(request, text, num_tokens, reason, said, config.stop)


_NOT_SAID = object()


def _shown(content: bytes) -> str:
    """The message of an error answer, shortened."""
    try:
        message = json.loads(content)
        message = message.get("error", message)
        message = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, AttributeError):
        message = content.decode(errors="replace")
    return str(message)[:500]
