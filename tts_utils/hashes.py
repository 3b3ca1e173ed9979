"""Hashes of stored files: what the manifest lists, and whether a file is what it lists; it writes nothing.

Whoever reads a file below a data directory goes through :func:`checked` first. A file is hashed once per
process, and again when its size or its times have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
VERSION = 1
"""The form of the manifest. A newer one is refused: it may say what this version would overlook."""

_SETTLED = 0.1  # seconds: a file younger than this could change again without its times showing it

_digests: dict[Path, tuple[tuple[int, ...], str]] = {}
_manifests: dict[Path, tuple[tuple[int, ...], dict[str, dict[str, Any]], bool]] = {}


class StoreError(ValueError):
    """Stored data that cannot be used; the message names the file and the way out."""


class DamagedFile(StoreError):
    """A file whose bytes are not those that the manifest lists."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal, read anew."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """The sha256 of a file, from memory where its size and times are those it had when it was hashed."""
    state = _state(path)
    known = _digests.get(path)
    if known is None or known[0] != state:
        known = (state, sha256_of(path))
        if _settled(state):
            _digests[path] = known
    return known[1]


def entries(data: Path, *, sealed: bool = True) -> dict[str, dict[str, Any]]:
    """The manifest's entries by path relative to ``data``; {} where there is no manifest.

    Args:
        data: the data directory.
        sealed: refuse entries that are not those the manifest was written with.

    Raises:
        StoreError: it is there and cannot be read, was changed by hand, or is of a newer version than this
            package knows.
    """
    path = data / MANIFEST
    if not path.is_file():
        return {}
    state = _state(path)
    known = _manifests.get(path)
    if known is None or known[0] != state:
        known = (state, *_read_manifest(path))
        if _settled(state):
            _manifests[path] = known
    if sealed and not known[2]:
        raise StoreError(
            f"{path}: an entry has vanished or was changed by hand; restore it, for example with git checkout"
        )
    return dict(known[1])


def seal(files: Mapping[str, Any]) -> str:
    """A hash of all entries: an entry that vanished or was changed by hand does not fit it any more."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def written(files: Mapping[str, Any]) -> bytes:
    """The manifest of these entries, as it is written."""
    content = {"version": VERSION, "seal": seal(files), "files": files}
    return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode()


def is_as_written(data: Path) -> bool:
    """Whether the manifest is byte for byte as it was written; one without a seal is, whatever it looks."""
    content = (data / MANIFEST).read_bytes()
    return b'"seal"' not in content or content == written(json.loads(content)["files"])


def checked(path: Path, data: Path) -> Path:
    """The path itself, once it is known to hold the bytes that the manifest of its folder lists.

    A file that is in no manifest is one's own, and nothing is known of it.

    Args:
        path: the file.
        data: the data directory it lies in.

    Raises:
        DamagedFile: it is another than the one listed.
        StoreError: the manifest cannot be read.
    """
    listed = entries(data).get(path.relative_to(data).as_posix())
    if listed is not None and digest(path) not in (listed["sha256"], listed.get("next_sha256")):
        # Another process may write both meanwhile: what is there now must be listed before or after a look.
        looks = [_read_manifest(data / MANIFEST)[0]]
        found = sha256_of(path)
        looks.append(_read_manifest(data / MANIFEST)[0])
        name = path.relative_to(data).as_posix()
        if not any(found in (e["sha256"], e.get("next_sha256")) for look in looks if (e := look.get(name))):
            raise DamagedFile(
                f"{path} is not the file that {data / MANIFEST} lists (its sha256 differs); restore both "
                "(git checkout, or tts fetch), or note the change with tts_utils.store.record_files"
            )
    return path


def _read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """Its entries, and whether they are those it was written with; one without a seal is taken to be so."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files, version = content["files"], content["version"]
        if not isinstance(version, int) or version > VERSION:
            raise StoreError(
                f"{path} is of version {version!r}; this tts-utils reads up to {VERSION}: update it"
            )
        if more := content.keys() - {"version", "seal", "files"}:
            raise KeyError(*more)
        if not all(isinstance(entry["sha256"], str) for entry in files.values()):
            raise TypeError("a sha256 is not a string")
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise StoreError(f"{path} is damaged ({exc!r}); restore it, for example with git checkout") from exc
    return files, content.get("seal") in (None, seal(files))


def _state(path: Path) -> tuple[int, ...]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _settled(state: tuple[int, ...]) -> bool:
    return time.time_ns() - max(state[1:3]) > _SETTLED * 1e9
