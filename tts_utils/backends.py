"""The options of the backend that runs a model: read off words such as ``batch_size=64``, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from tts_utils.prompts import Family
from tts_utils.protocols import BackendError

LOADERS_OWN = ("name_or_path", "name", "backend", "server_url")
"""Arguments of ``load_policy`` and ``load_prm`` that are no options of a backend."""

REVISIONS = ("revision", "tokenizer_revision")
"""Options that are set by the Hub id, whatever the backend."""


class Kind(NamedTuple):
    """What an option's value must be, in words and as a check."""

    words: str
    fits: Callable[[Any], bool]


COUNT = Kind("a whole number, 1 or more", lambda value: type(value) is int and value >= 1)
ANY_COUNT = Kind("a whole number, 0 or more", lambda value: type(value) is int and value >= 0)
SECONDS = Kind("a number, 0 or more", lambda value: type(value) in (int, float) and value >= 0)
TEXT = Kind("text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: type(value) is bool)
FAMILY = Kind("a tts_utils.prompts.Family", lambda value: value is None or isinstance(value, Family))


def parse_options(words: Iterable[str]) -> dict[str, bool | int | float | str]:
    """Read options off words ``key=value``; nothing is evaluated.

    Args:
        words: dashes in a key count as underscores. A value is a bool if it reads true or false, an int or a
            float if it is written as a number, else text.

    Raises:
        BackendError: a word without key or "=", a key given twice, or one that is no backend's.

    >>> parse_options(["gpu-memory-utilization=0.4", "max_model_len=4096", "enforce_eager=true"])
    {'gpu_memory_utilization': 0.4, 'max_model_len': 4096, 'enforce_eager': True}
    """
    options: dict[str, bool | int | float | str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise BackendError(
                f"the option {word!r} is not of the form key=value, such as max_model_len=4096"
            )
        if key in options:
            raise BackendError(f"the option {key} is given twice, as {options[key]!r} and {value!r}")
        if key in LOADERS_OWN:
            raise BackendError(f"{key} is no option of a backend: {word!r}")
        options[key] = _value(value)
    return options


def check_backend(backend: str, backends: Collection[str], device: str | None) -> None:
    """Raise BackendError if there is no such backend, or if it cannot be given this device."""
    if backend not in backends:
        raise BackendError(f"there is no backend {backend!r}; there are {', '.join(backends)}")
    if device is not None and not isinstance(device, str):
        raise BackendError(f"device={device!r} must be text, such as 'cpu' or 'cuda:0'")
    if device is not None and backend != "transformers":
        raise BackendError(f"backend {backend!r} chooses its device itself; leave out device={device!r}")


def check_options(
    backend: str,
    options: Mapping[str, Any],
    known: Mapping[str, Kind],
    *,
    others: bool = False,
    own: Collection[str] = (),
) -> None:
    """Check options before anything is loaded with them.

    Args:
        backend: its name, for messages.
        options: those given.
        known: what the backend takes, and what each must be.
        others: whether options that are not known go on to an engine, which checks them itself.
        own: options that the loader sets, so that nobody else may.

    Raises:
        BackendError: naming the option, its value and what would do.
    """
    for key, value in options.items():
        if key in (*own, *REVISIONS):
            behind = "; a revision stands behind the Hub id, as in org/name@v1.0" * key.endswith("revision")
            raise BackendError(f"backend {backend!r} sets {key} itself; leave out {key}={value!r}{behind}")
        if key not in known and not others:
            raise BackendError(f"backend {backend!r} takes no option {key!r}; it takes {', '.join(known)}")
        if key in known and not known[key].fits(value):
            raise BackendError(f"option {key}={value!r} of backend {backend!r} must be {known[key].words}")


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        return float(text)
    return text
