"""A server that is a stranger: whatever it sends, an answer or one sentence comes by the deadline."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from tts_utils.policies import http
from tts_utils.policies.http import Server
from tts_utils.protocols import BackendError

GOOD = {"ok": 1}


def reply(content: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


OK = reply(json.dumps(GOOD).encode())


class Raw:
    """A server that answers request k with ``script[k]`` (the last one for all after it): bytes, or a call.

    A call gets the connection; what it returns ends the connection when true.
    """

    def __init__(self) -> None:
        self.script: list = [OK]
        self.asked = self.connected = 0
        self.over = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connected += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                while self._read(connection):
                    step = self.script[min(self.asked, len(self.script) - 1)]
                    self.asked += 1
                    if isinstance(step, bytes):
                        connection.sendall(step)
                    elif step(connection):
                        return
            except OSError:
                return

    def _read(self, connection: socket.socket) -> bool:
        text = b""
        while b"\r\n\r\n" not in text:
            piece = connection.recv(65536)
            if not piece:
                return False
            text += piece
        return True  # a GET has no body

    def drip(self, text: bytes):
        def send(connection):
            for i in range(len(text)):
                if self.over.wait(0.05):
                    break
                connection.sendall(text[i : i + 1])
            return True

        return send

    def hang(self, connection):
        self.over.wait(30)
        return True


@pytest.fixture
def raw():
    server = Raw()
    yield server
    server.over.set()
    server.socket.close()


def drop(connection):
    return True


def ask(raw, **options):
    server = Server(raw.url, **{"timeout": 5, "retries": 2, "pause": 0.001, **options})
    try:
        return server.ask("/models")
    finally:
        server.hang_up()


BAD = {
    "no JSON": (reply(b"<html>"), "no JSON object: <html>"),
    "a list": (reply(b"[1]"), "no JSON object"),
    "null": (reply(b"null"), "no JSON object"),
    "half a JSON object": (reply(b'{"a":'), "no JSON object"),
    "nested beyond reading": (reply(b'{"a":' * 100_000), "no JSON object"),
    "not UTF-8": (reply(b'{"a": "\xff\xfe"}'), "no JSON object"),
    "a number of 5,000 digits": (reply(b'{"a": ' + b"9" * 5000 + b"}"), "no JSON object"),
    "400": (reply(b'{"error": {"message": "no such thing"}}', "400 Bad"), "status 400: no such thing"),
    "401": (reply(b"", "401 Unauthorized"), "status 401"),
    "404": (reply(b"{}", "404 Not Found"), "status 404"),
    "a redirect": (reply(b"", "302 Found", "Location: http://127.0.0.1:1/"), "status 302"),
}


@pytest.mark.parametrize("mode", BAD)
def test_an_answer_that_is_none_is_refused_at_once(raw, mode):
    content, message = BAD[mode]
    raw.script = [content]
    with pytest.raises(BackendError, match=message) as caught:
        ask(raw)
    assert raw.url in str(caught.value) and raw.asked == 1


AGAIN = {
    "dropped": drop,
    "cut in the middle": lambda c: c.sendall(reply(b'{"ok', length=100)) or True,
    "cut in the headers": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-") or True,
    "no HTTP": lambda c: c.sendall(b"SSH-2.0-OpenSSH\r\n\r\n") or True,
    "endless headers": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000) or True,
    "408": reply(b"", "408 Request Timeout"),
    "429": reply(b"", "429 Too Many Requests"),
    "500": reply(b"{}", "500 Oh"),
    "503": reply(b"", "503 Busy"),
}


@pytest.mark.parametrize("mode", AGAIN)
def test_what_may_pass_is_tried_again_a_bounded_number_of_times(raw, mode):
    raw.script = [AGAIN[mode], OK]
    assert ask(raw) == GOOD and raw.asked == 2
    raw.script, raw.asked = [AGAIN[mode]], 0
    with pytest.raises(BackendError, match="tried 3 times"):
        ask(raw)
    assert raw.asked == 3


@pytest.mark.parametrize("mode", ["hang", "dripping body", "dripping headers", "endless interim answers"])
def test_every_call_ends_by_its_deadline(raw, mode):
    raw.script = [
        {
            "hang": raw.hang,
            "dripping body": raw.drip(reply(b" " * 10_000)),
            "dripping headers": raw.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90),
            "endless interim answers": raw.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 400),
        }[mode]
    ]
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"no whole answer within timeout=0.3 s"):
        ask(raw, timeout=0.3)
    assert time.monotonic() - began < 0.3 + 1


def test_an_answer_beyond_the_limit_of_size_is_not_read(raw, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER", 1000)
    raw.script = [lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000) or True]
    with pytest.raises(BackendError, match="more than 1,000 bytes"):
        ask(raw)
    assert raw.asked == 1


def waits(monkeypatch) -> list[float]:
    """The waits between attempts, none of which is waited for."""
    waited: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: waited.append(timeout) or False)
    return waited


def test_attempts_back_off_and_retry_after_is_honoured(raw, monkeypatch):
    raw.script = [
        reply(b"", "429 Slow"),
        reply(b"", "429 Slow", "Retry-After: 2"),
        reply(b"", "503 Busy", "Retry-After: Mon, 01 Jan 2024 00:00:00 GMT"),
        OK,
    ]
    server = Server(raw.url, timeout=60, retries=3, pause=0.25)
    waited = waits(monkeypatch)
    assert server.ask("/models") == GOOD
    server.hang_up()
    assert [w for w in waited if w is not None] == [0.25, 2.0, 1.0]  # 0.25, the server's 2 over 0.5, 1


def test_a_wait_beyond_the_deadline_is_not_begun(raw):
    raw.script = [reply(b"", "429 Slow", "Retry-After: 3600")]
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"in 3600 s, is beyond timeout=5 s.*tried 1 times"):
        ask(raw)
    assert time.monotonic() - began < 2 and raw.asked == 1


def test_connections_are_kept_and_reopened_when_the_server_has_dropped_them(raw):
    server = Server(raw.url, timeout=5, retries=0)
    assert [server.ask("/models") for _ in range(3)] == [GOOD] * 3
    assert raw.connected == 1
    server._idle[0].sock._sock.shutdown(socket.SHUT_RDWR)  # as a server's restart does
    assert server.ask("/models") == GOOD and raw.connected == 2
    server.hang_up()


def test_after_hanging_up_no_dead_connection_is_kept(raw):
    raw.script = [raw.hang, OK]
    server = Server(raw.url, timeout=5, retries=0)
    failed: list[BaseException] = []

    def first():
        try:
            server.ask("/models")
        except BackendError as exc:
            failed.append(exc)

    thread = threading.Thread(target=first)
    thread.start()
    while not raw.asked:
        time.sleep(0.005)
    server.hang_up()
    thread.join(5)
    assert failed and server.ask("/models") == GOOD
    server.hang_up()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a/v1", "http://a:99999/v1", "http:///v1"])
def test_an_address_that_is_none_is_named(url):
    with pytest.raises(BackendError, match="no server address"):
        Server(url)
