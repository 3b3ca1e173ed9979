"""Whether the Hugging Face Hub can be reached from here, and whether it knows one's token; never shows it."""

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
