"""JSON over HTTP to one address that is not trusted: a deadline, a size limit, bounded retries."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import io
import json
import math
import os
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from tts_utils.protocols import BackendError

KEY_VARIABLE = "TTS_SERVER_KEY"
"""Environment variable that holds the server's key, where it wants one."""

BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which the same request is made again."""

MAX_ANSWER = 16 * 2**20
"""Bytes of one answer at most: 32,768 tokens of text are a hundredth of it."""


class Server:
    """One server, with kept connections, retries, and errors that say where and what.

    Args:
        url: for example "http://127.0.0.1:8000/v1".
        timeout: seconds until an answer must be there whole, all attempts at it included.
        retries: further attempts after a failed connection or a busy server's answer.
        pause: seconds before the first of them, doubled before each next one; a server that says
            ``Retry-After`` is given at least that.
        key: sent as the bearer token; None means the environment variable ``TTS_SERVER_KEY``.
    """

    def __init__(
        self, url: str, timeout: float = 3600, retries: int = 4, pause: float = 0.5, key: str | None = None
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise BackendError(f"{url!r} is no server address: {exc}") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BackendError(f"{url!r} is no server address; write it as http://127.0.0.1:8000/v1")
        self.url = url.rstrip("/")
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        self._path = parts.path.rstrip("/")
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
            BackendError: no answer by the deadline or after all attempts, an error status, more than
                ``MAX_ANSWER`` bytes, or an answer that is no JSON object.
        """
        given_up = given_up or threading.Event()
        until = time.monotonic() + self._timeout
        wrong, wait, tried = "", 0.0, 0
        for attempt in range(self._retries + 1):
            if attempt:
                wait = max(wait, self._pause * 2 ** (attempt - 1))
                if time.monotonic() + wait >= until:
                    wrong += f"; the next attempt, in {wait:g} s, is beyond timeout={self._timeout:g} s"
                    break
                if given_up.wait(wait):
                    break
            wait, tried = 0.0, tried + 1
            try:
                status, headers, content = self._exchange(path, body, until)
            except TimeoutError:
                wrong = f"no whole answer within timeout={self._timeout:g} s"
                break
            except (OSError, http.client.HTTPException) as exc:
                wrong = f"{type(exc).__name__}: {exc}"
                continue
            if status in BUSY:
                wrong = f"status {status}: {shown(content)}"
                wait = _retry_after(headers.get("Retry-After"))
                continue
            if status != 200:
                raise BackendError(f"{self.url}{path} answers with status {status}: {shown(content)}")
            try:
                answer = json.loads(content)
            except (ValueError, RecursionError):
                answer = None
            if not isinstance(answer, dict):
                raise BackendError(f"{self.url}{path} answers with no JSON object: {shown(content)}")
            return answer
        raise BackendError(
            f"{self.url}{path} cannot be reached ({wrong}), tried {tried} times; is the server "
            "running, and is the address right? What was finished before is kept"
        )

    def hang_up(self) -> None:
        """Close every connection; threads that wait for an answer fail at once. A later ask connects anew."""
        for connection in list(self._busy):
            self._busy.discard(connection)  # so that its thread does not keep it
            with contextlib.suppress(OSError, AttributeError):  # closed by its own thread meanwhile
                connection.sock.shutdown(socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop().close()

    def _exchange(
        self, path: str, body: dict[str, Any] | None, until: float
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        try:
            return self._exchange_over(self._idle.pop(), path, body, until)
        except IndexError:
            pass
        except (http.client.BadStatusLine, ConnectionError):
            pass  # the server has closed the kept connection meanwhile: that is no failed attempt
        connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = connect(self._host, self._port, timeout=max(until - time.monotonic(), 0.001))
        connection.connect()
        connection.sock = _TimedSocket(connection.sock)
        return self._exchange_over(connection, path, body, until)

    def _exchange_over(
        self, connection: http.client.HTTPConnection, path: str, body: dict[str, Any] | None, until: float
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        data = None if body is None else json.dumps(body).encode()
        response, kept = None, False
        self._busy.add(connection)
        try:
            connection.sock.until = until
            connection.request("GET" if body is None else "POST", self._path + path, data, self._headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER + 1)
            if len(content) > MAX_ANSWER:
                raise BackendError(f"{self.url}{path} answers with more than {MAX_ANSWER:,} bytes")
            if response.length or (response.status == 200 and not content):
                # It ended early, of which read(n) says nothing.
                raise http.client.IncompleteRead(content, response.length or None)
            kept = not response.will_close
            return response.status, response.headers, content
        finally:
            if kept and connection in self._busy:
                self._idle.append(connection)
            else:
                connection.close()
                if response is not None:
                    response.close()
            self._busy.discard(connection)


class _TimedSocket:
    """A connected socket all of whose operations end by ``until``, a time of ``time.monotonic()``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.until = math.inf
        self.shutdown, self.close = sock.shutdown, sock.close

    def limit(self) -> None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, threading.TIMEOUT_MAX))

    def sendall(self, data) -> None:
        self.limit()
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self, self._sock.makefile(mode, buffering=0)))


class _TimedReader(io.RawIOBase):
    """What arrives on a timed socket; each piece that arrives late is a TimeoutError."""

    def __init__(self, timed: _TimedSocket, raw: io.RawIOBase) -> None:
        self._timed = timed
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._timed.limit()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _retry_after(value: str | None) -> float:
    """Seconds that a server asks to be left alone; 0 where it does not, or not in words that are known.

    >>> _retry_after("3"), _retry_after("soon"), _retry_after("Mon, 01 Jan 2024 00:00:00 GMT")
    (3.0, 0.0, 0.0)
    """
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def shown(content: bytes) -> str:
    """The message of an error answer, shortened."""
    try:
        message = json.loads(content)
        message = message.get("error", message)
        message = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, AttributeError, RecursionError):
        message = content[:2000].decode(errors="replace")
    try:
        return str(message)[:500]
    except RecursionError:
        return content[:500].decode(errors="replace")
