"""The Hugging Face Hub: whether it can be reached, whether it takes one's token, what its errors mean.

The token is never shown.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

ENDPOINT = "https://huggingface.co"
TIMEOUT = 4.0
"""Seconds that a look may take."""


class Access(NamedTuple):
    """What a look at the Hub found, in words, and whether gated models can be asked for."""

    words: str
    reached: bool
    has_token: bool


def cache_dir() -> Path:
    """Where models that were downloaded lie."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def token() -> str:
    """The token, as the Hub's own library finds it; "" where there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if found := os.environ.get(name, "").strip():
            return found
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def access() -> Access:
    """Look whether the Hub answers, and whether it takes the token; at most ``TIMEOUT`` seconds."""
    secret = token()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Access("not asked, as HF_HUB_OFFLINE is set: only what was downloaded", False, bool(secret))
    address = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/") + "/api/whoami-v2"
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT):
            return Access("reached; it takes your token", True, True)
    except urllib.error.HTTPError as exc:
        if exc.code in (401, 403):
            words = (
                "reached; it does not take your token" if secret else "reached; no token (HF_TOKEN) is set"
            )
            return Access(f"reached; {words}, so gated models such as Llama are closed", True, False)
        return Access(f"answers with status {exc.code}", False, bool(secret))
    except (OSError, ValueError) as exc:
        reason = str(getattr(exc, "reason", exc)).replace(secret or "\0", "...")
        return Access(f"not reached ({reason:.100}): only what was downloaded", False, bool(secret))


def free_bytes(path: Path) -> int:
    """Bytes that are free where a folder lies or would lie."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


ERRORS = {
    "GatedRepoError": "it is gated: ask for access at {endpoint}/{source}, then set HF_TOKEN to a token of "
    "yours (tts doctor says whether the Hub takes it)",
    "RevisionNotFoundError": "the Hub has no such revision of it (a branch, a tag, or all 40 digits of a "
    "commit); those that there are: {endpoint}/{source}/commits",
    "RepositoryNotFoundError": "the Hub has no such model, or it is private and HF_TOKEN is not set to a "
    "token that may read it",
    "OfflineModeIsEnabled": "it was not downloaded before, and HF_HUB_OFFLINE forbids asking the Hub: unset "
    "it, or copy the model's folder here and name that",
    "LocalEntryNotFoundError": "it was not downloaded before, and the Hub cannot be reached (tts doctor): "
    "mend the connection, or copy the model's folder here and name that",
}
"""What to tell of the errors that the Hub's library raises, by their names: it need not be installed."""


def way_out(exc: BaseException, source: str) -> str:
    """What lies behind an error that the Hub caused, and the way out; "" for any other error.

    Libraries wrap the Hub's errors, so the whole chain of causes is looked through.
    """
    seen: BaseException | None = exc
    while seen is not None:
        for kind in type(seen).__mro__:
            if kind.__name__ in ERRORS:
                return ERRORS[kind.__name__].format(source=source.partition("@")[0], endpoint=ENDPOINT)
        seen = seen.__cause__ or seen.__context__
    return ""
