"""Files that appear whole and recorded in the manifest, or do not count: builds may be killed at any moment.

A file or a folder is written beside its place and moved there in one step. A stage is done when all its files
are in the manifest and have the size that stands there; what was put in its place just before a kill, and
never recorded, is whole, and only wants recording.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tts_utils.hashes import checked
from tts_utils.store import manifest


def is_recorded(paths: Iterable[Path], data: Path) -> bool:
    """Whether all these files are there as the manifest has them; sizes only, ``tts verify`` reads hashes."""
    entries = manifest.load(data)
    for path in paths:
        entry = entries.get(path.relative_to(data).as_posix())
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
    return True


def record(paths: Iterable[Path], data: Path, command: str, **provenance) -> None:
    """Record those of the files that the manifest does not have.

    Raises:
        DamagedFile: the manifest has a file with another hash, so it was damaged: to record it would make the
            damage good. Whoever makes a file anew calls :func:`forget` first.
    """
    entries = manifest.load(data)
    new = []
    for path in paths:
        if path.relative_to(data).as_posix() in entries:
            checked(path, data)
        else:
            new.append(path)
    if new:
        manifest.record_files(new, data=data, command=command, **provenance)


def forget(paths: Iterable[Path], data: Path) -> None:
    """Drop what the manifest says of files that are about to be made anew."""
    names = manifest.load(data).keys() & {path.relative_to(data).as_posix() for path in paths}
    if names:
        with manifest.locked(data):
            manifest.save_entries(data, {}, without=names)


def put_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder outside its parent, and move it to its place; an older one gives way."""
    new = folder.parent.with_name(f".{folder.parent.name}.new") / folder.name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    write(new)
    for path in new.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(new, folder)


def files_of(folder: Path) -> list[Path]:
    """The files of a folder, in order; none where it is not there."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def is_folder_recorded(folder: Path, data: Path) -> bool:
    """Whether a model's folder is there with all its files recorded."""
    files = files_of(folder)
    return bool(files) and (folder / "training.json") in files and is_recorded(files, data)
