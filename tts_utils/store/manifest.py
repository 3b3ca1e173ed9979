"""``data/manifest.json``: every stored file with its hash and provenance, and the lock for writing."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tts_utils
from tts_utils import complaints
from tts_utils.data_folder import data_dir
from tts_utils.hashes import MANIFEST as NAME
from tts_utils.hashes import StoreError, sha256_of, written
from tts_utils.hashes import entries as load

LOCK = ".lock"


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the one lock under which files of ``data`` are replaced or removed; killing its holder frees it.

    Not re-entrant. Needs a POSIX system; reading needs no lock and works everywhere.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = os.open(data / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise StoreError(f"cannot write in {data}: {complaints.sentence(exc)}") from exc
    try:
        flock(handle)
        yield
    finally:
        os.close(handle)


def flock(handle: int, *, wait: bool = True) -> bool:
    """Lock an open file for this process; returns whether it did, which without ``wait`` may be False."""
    try:
        import fcntl
    except ImportError as exc:
        raise StoreError(
            "filling tables needs file locks, which Windows lacks: use Linux, macOS, WSL or Colab"
        ) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` so that all of it is seen, or none (call under the lock)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as exc:
        exc.filename = str(path)  # a write that fails names no file, and this one is known to the user
        raise


def put(data: Path, name: str, content: bytes, **entry: Any) -> None:
    """Put a file in its place and note it (call under the lock).

    Where an older one is listed, the new hash is announced first: killed between the two, what lies there is
    still taken for what it is, and the same command goes on.

    Args:
        data: the data directory.
        name: the file's path, relative to it.
        content: all of it.
        entry: what else to note; circumstances and more.
    """
    digest = hashlib.sha256(content).hexdigest()
    if listed := load(data).get(name):
        save_entries(data, {name: {**listed, "next_sha256": digest}})
    replace_file(data / name, content)
    save_entries(data, {name: {"sha256": digest, "bytes": len(content), **entry}})


def save_entries(
    data: Path, entries: dict[str, dict[str, Any]], without: Iterable[str] = (), *, sealed: bool = True
) -> None:
    """Add or replace entries, and leave some out (call under the lock).

    Args:
        data: the data directory.
        entries: by path relative to it.
        without: paths.
        sealed: refuse to go on with a manifest that was changed by hand.
    """
    files = dict(sorted((load(data, sealed=sealed) | entries).items()))
    for name in without:
        files.pop(name, None)
    replace_file(data / NAME, written(files))


def record_files(paths: Iterable[Path], *, data: Path | None = None, **provenance: Any) -> None:
    """Note files that are no tables (problems, models) with their hashes, so that ``tts verify`` checks them.

    Args:
        paths: files under the data directory.
        data: the data directory; None means :func:`tts_utils.data_folder.data_dir`.
        provenance: what else to note of each, for example ``seconds`` or ``command``; JSON values.
    """
    data = data_dir() if data is None else data
    entries = {
        path.resolve().relative_to(data.resolve()).as_posix(): entry_of(path, **provenance) for path in paths
    }
    with locked(data):
        save_entries(data, entries)


def entry_of(path: Path, **provenance: Any) -> dict[str, Any]:
    """What the manifest says of a file that is no table."""
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size, **circumstances(), **provenance}


def circumstances() -> dict[str, str]:
    """Code version, hardware and date (UTC), as noted beside every stored file."""
    return {
        "code_version": _code_version(),
        "hardware": hardware(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    }


def hardware() -> str:
    """The processor, the number of usable cores, and the GPUs if torch is loaded and sees any."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{name} ({cores} cores)"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(parts)


@functools.cache
def _code_version() -> str:
    root = Path(tts_utils.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return tts_utils.__version__
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return f"{tts_utils.__version__}+{commit}" if commit else tts_utils.__version__
