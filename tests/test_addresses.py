"""The check of addresses: what it finds in the book, and what it says of a server that answers so or so."""

import http.server
import threading

import pytest

import addresses


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code = int(self.path[1:])
        self.server.asked.append(code)
        if code == 503 and self.server.asked.count(503) == 2:  # busy once
            code = 200
        self.send_response(code)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "said", "times"), [(200, "", 1), (404, "404", 1), (403, "", 1), (503, "", 2), (500, "500", 3)]
)
def test_what_a_server_says(server, code, said, times):
    found = addresses.answer(f"{server.address}/{code}", pause=0.0)
    assert found.startswith(said) and bool(found) == bool(said)
    assert server.asked == [code] * times


def test_nobody_there():
    assert "refused" in addresses.answer("http://127.0.0.1:9/", tries=1)


def test_the_book_s_addresses_are_found_whole_and_its_own_left_out():
    found = addresses.addresses()
    assert (
        "https://arxiv.org/abs/2502.06703" in found
        and "bibliography.md" in found["https://arxiv.org/abs/2502.06703"]
    )
    assert len(found) > 30
    assert not any("OWNER" in address or "127.0.0.1" in address for address in found)
    assert not any(address.endswith((".", ",", ")", ":")) for address in found)
