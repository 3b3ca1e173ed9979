"""Note in the manifest what the shipped data holds beside tables, so that it is checked when it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tts_utils import hashes
from tts_utils.store import checking, manifest
from tts_utils.store.tables import SCHEMAS


def note(data: Path, log: Callable[[str], None] = lambda line: None) -> None:
    """Note files that are not listed or have changed, and drop entries of files that are gone; no tables.

    Args:
        data: the data directory.
        log: told every change.
    """
    listed = manifest.load(data, sealed=False)  # whoever notes has looked
    others = [name for name in listed if Path(name).parts[0] not in SCHEMAS]
    gone = [name for name in others if not (data / name).is_file()]
    changed = [
        name
        for name in others
        if name not in gone and hashes.sha256_of(data / name) != listed[name]["sha256"]
    ]
    new = [name for name in checking.unlisted(data) if Path(name).parts[0] not in SCHEMAS]
    for words, names in (("new", new), ("changed", changed), ("gone", gone)):
        for name in names:
            log(f"{words}: {name}")
    entries = {name: manifest.entry_of(data / name) for name in (*new, *changed)}
    with manifest.locked(data):
        manifest.save_entries(data, entries, without=gone, sealed=False)
