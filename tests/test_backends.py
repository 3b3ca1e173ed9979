"""Options of backends: read off words without evaluating them, and refused with the way out."""

from __future__ import annotations

import pytest

from tts_utils.backends import COUNT, SECONDS, check_backend, check_options, parse_options
from tts_utils.protocols import BackendError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("7", 7), ("-1", -1), ("0.45", 0.45), ("1e3", 1000.0), (".5", 0.5), ("2.", 2.0)),
        *(("true", True), ("False", False), ("", ""), ("fp8", "fp8"), ("a=b", "a=b"), ("a b", "a b")),
        *(("nan", "nan"), ("inf", "inf"), ("1_000", "1_000"), ("None", "None"), ("٣", "٣")),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_value_is_a_number_a_bool_or_text(text, value):
    parsed = parse_options([f"some-key={text}"])
    assert parsed == {"some_key": value} and type(parsed["some_key"]) is type(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_model_len"], r"'max_model_len' is not of the form key=value"),
        (["=4"], "'=4' is not of the form"),
        (["a.b=4"], "'a.b=4' is not of the form"),
        (["a-b=4", "a_b=5"], "a_b is given twice, as 4 and '5'"),
        (["name=other"], "name is no option of a backend: 'name=other'"),
        (["server-url=http://x"], "server_url is no option"),
    ],
)
def test_words_that_are_no_options_are_named(words, message):
    with pytest.raises(BackendError, match=message):
        parse_options(words)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "7", None])
def test_a_count_is_a_whole_number_from_1_on(value):
    check_options("x", {"size": 1}, {"size": COUNT})
    with pytest.raises(BackendError, match=rf"size={value!r} of backend 'x' must be a whole number, 1 or"):
        check_options("x", {"size": value}, {"size": COUNT})


def test_who_takes_which_option():
    known = {"size": COUNT, "pause": SECONDS}
    with pytest.raises(BackendError, match="'x' takes no option 'sise'; it takes size, pause"):
        check_options("x", {"sise": 1}, known)
    check_options("x", {"sise": 1}, known, others=True)
    with pytest.raises(BackendError, match="'x' sets runner itself; leave out runner='pooling'"):
        check_options("x", {"runner": "pooling"}, known, others=True, own=("runner",))


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        *(("y", None, "no backend 'y'; there are x"), ("x", "cpu", "leave out device='cpu'")),
        ("x", 0, "device=0 must be text"),
    ],
)
def test_backends_and_their_devices(backend, device, message):
    with pytest.raises(BackendError, match=message):
        check_backend(backend, ["x"], device)
    check_backend("transformers", ["transformers"], "cuda:0")
