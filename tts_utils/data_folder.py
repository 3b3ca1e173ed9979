"""Where stored data lies: one's own, which is written, over what is shipped, which is only read.

Reading looks in one's own folder first, then in the shipped one; writing goes to one's own only. Shipped data
is ``data/`` of a clone, else what ``tts fetch`` has brought into a cache, one folder for each version of it,
so that a file of another version is never taken for one of this.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from pathlib import Path

import tts_utils
from tts_utils.hashes import MANIFEST, checked

OWN = "tts-data"
TABLES = ("samples", "step_scores", "step_labels", "searches")
OTHERS = ("problems", "answers", "models", "labels", "report", "paper", "logs")
PACKAGED = Path(__file__).resolve().parent / "shipped"  # in a wheel: the manifest, and what is small


class DataDirError(ValueError):
    """A data directory that cannot be used, or a file that is in none; the message says what to do."""


def data_dir() -> Path:
    """One's own data directory, where writing goes: ``TTS_DATA``, else ``tts-data/`` where one stands.

    The latter need not exist; the first row makes it.

    Raises:
        DataDirError: ``TTS_DATA`` names no directory, or one that holds other things.
    """
    named = os.environ.get("TTS_DATA")
    if not named:
        return Path.cwd().resolve() / OWN
    path = Path(os.path.expanduser(named))
    if not path.is_dir():
        raise DataDirError(f"TTS_DATA is {named!r}, which is not a directory; create it or unset TTS_DATA")
    if not (path / MANIFEST).is_file():
        held = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if held and not set(held) & {*TABLES, *OTHERS}:
            raise DataDirError(
                f"TTS_DATA is {named!r}, which holds other things ({', '.join(held[:3])}) and no "
                "stored data; name a new, empty directory"
            )
    return path.resolve()


def clone_dir() -> Path | None:
    """``data/`` of the clone this package lies in, else of one around the working directory, or None."""
    here = Path.cwd().resolve()
    for folder in (Path(__file__).resolve().parent.parent, here, *here.parents):
        if (folder / "data" / MANIFEST).is_file() and (folder / "tts_utils" / "data_folder.py").is_file():
            return folder / "data"
    return None


def lab_dir() -> Path:
    """Where the lab is made: ``TTS_DATA``, else ``data/`` of the clone, else one's own folder."""
    return data_dir() if os.environ.get("TTS_DATA") else clone_dir() or data_dir()


def cache_dir() -> Path:
    """Where ``tts fetch`` puts the shipped data of this version; it need not exist.

    ``TTS_CACHE`` names the folder above it; else it is where the system keeps a user's caches.
    """
    home = Path.home()
    if named := os.environ.get("TTS_CACHE"):
        base = Path(os.path.expanduser(named))
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "tts-utils"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches" / "tts-utils"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tts-utils"
    return base.resolve() / f"{tts_utils.__version__}-{_hash(PACKAGED / MANIFEST)[:8]}"


def shipped() -> tuple[Path, ...]:
    """The folders of shipped data, first come first served."""
    clone = clone_dir()
    return (clone,) if clone else (cache_dir(), PACKAGED)


def layers(data: Path | None = None) -> tuple[Path, ...]:
    """Where reading looks, in this order: one's own data directory and then the shipped ones.

    ``data`` other than one's own directory is that folder alone.
    """
    if data is None:
        own = data_dir()
    else:
        try:
            own = data_dir()
        except DataDirError:
            return (data,)
        if data.resolve() != own:
            return (data,)
    return tuple(dict.fromkeys([own, *shipped()]))


def look_up(name: str, data: Path | None = None) -> Path | None:
    """The first file or folder of this name, such as "paper/prms.csv", that reading finds, else None.

    Raises:
        DamagedFile: a file that is not the one its manifest lists.
    """
    for layer in layers(data):
        path = layer / name
        if path.is_file():
            return checked(path, layer)
        if path.exists():
            return path
    return None


def checked_where_listed(path: Path, data: Path | None = None) -> Path:
    """The path itself; where it lies in a data directory that is read, it is checked against its manifest.

    Args:
        path: any file.
        data: a data directory to look in besides one's own and the shipped ones, or None.

    Raises:
        DamagedFile: it is not the one its manifest lists.
    """
    try:
        folders = layers()
    except DataDirError:
        folders = shipped()
    whole = path.resolve()
    for folder in (*folders, *([data] if data else [])):
        if whole.is_relative_to(folder.resolve()):
            checked(folder / whole.relative_to(folder.resolve()), folder)
    return path


def find(name: str, data: Path | None = None) -> Path:
    """Where the stored file of this name lies, such as "paper/prms.csv".

    Raises:
        DataDirError: nowhere; the message says where it was looked for, and the command that brings it.
    """
    if path := look_up(name, data):
        return path
    raise DataDirError(f"no {name} in {places(data)}{fetch_hint(name, name, data)}")


def fetch_hint(prefix: str, part: str, data: Path | None = None) -> str:
    """The end of a message where files under ``prefix`` are shipped, not here: what fetches them, else ""."""
    return f"; it is shipped, and not fetched yet: tts fetch {part}" if not_fetched(prefix, data) else ""


def not_fetched(prefix: str, data: Path | None = None) -> int:
    """How many of the shipped files under ``prefix`` reading would find only after a ``tts fetch``."""
    if PACKAGED not in layers(data) or not (PACKAGED / MANIFEST).is_file():
        return 0
    names = [name for name in _listed(PACKAGED / MANIFEST) if f"{name}/".startswith(f"{prefix}/")]
    return sum(not (cache_dir() / name).is_file() for name in names)


def places(data: Path | None = None) -> str:
    """Where reading looks, in words."""
    return " or ".join(str(layer) for layer in layers(data) if layer != PACKAGED)


def dataset_name(name: str) -> str:
    """The short name tables use for a data set: the stem of a ``*.jsonl`` path, else the name itself.

    >>> dataset_name("my/problems.jsonl"), dataset_name("lab-500")
    ('problems', 'lab-500')
    """
    return Path(name).stem if name.endswith(".jsonl") else name


@functools.cache
def _listed(path: Path) -> tuple[str, ...]:
    return tuple(json.loads(path.read_text(encoding="utf-8"))["files"])


@functools.cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "0" * 64
