"""Damage one shipped file at a time, a byte or its end; see whether ``tts verify`` and its readers notice."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from tests.faults.readers import READERS, kind_of
from tts_utils import data_folder, hashes, store
from tts_utils.store.manifest import StoreError


@dataclass(slots=True)
class Damaged:
    """What came out of damaging files.

    Attributes:
        flips, cuts: how many bytes were changed, and how many files were cut, by kind.
        unverified: cases that ``tts verify`` did not notice.
        believed: cases in which a reader took the damaged file for what it was.
        readings: how many readers were tried.
        seconds: processor seconds.
    """

    flips: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)
    readings: int = 0
    seconds: float = 0.0


class Mirror:
    """A data folder whose files are those of another one until one of them is damaged."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.names = sorted([*hashes.entries(source), hashes.MANIFEST])
        for name in self.names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(source / name, folder / name)

    @contextmanager
    def damaged(self, name: str, content: bytes) -> Iterator[None]:
        """Within it, a file holds other bytes."""
        path = self.folder / name
        path.unlink()
        path.write_bytes(content)
        try:
            yield
        finally:
            path.unlink()
            os.symlink(self.source / name, path)


@contextmanager
def reading_from(folder: Path) -> Iterator[None]:
    """Within it, a folder is the only data directory."""
    with (
        patch.dict(os.environ, {"TTS_DATA": str(folder)}),
        patch.object(data_folder, "shipped", lambda: ()),
    ):
        yield


def plan(names: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Which files are damaged, each kind as often as any other, and of a kind each file in turn."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(kind_of(name) or name, []).append(name)
    for of_kind in by_kind.values():
        rng.shuffle(of_kind)
    turns = [(names_, i) for i in range(count) for names_ in by_kind.values()]
    return [of_kind[i % len(of_kind)] for of_kind, i in turns[:count]]


def damage(mirror: Mirror, flips: int, cuts: int, seed: int) -> Damaged:
    """Flip so many bytes and cut so many files, one at a time.

    The mirror must be whole; what readers believe of a damaged file is compared with nothing: they must not
    read it at all. Where nothing that is read was changed (a blank of the manifest), a reader may go on.
    """
    rng, out, began = random.Random(seed), Damaged(), time.process_time()
    with reading_from(mirror.folder):
        for number, name in enumerate([*plan(mirror.names, flips, rng), *plan(mirror.names, cuts, rng)]):
            whole = (mirror.source / name).read_bytes()
            place = rng.randrange(len(whole))
            content = whole[:place]
            if number < flips:
                content += bytes([whole[place] ^ rng.randrange(1, 256)]) + whole[place + 1 :]
            of = out.flips if number < flips else out.cuts
            of[kind_of(name) or name] = of.get(kind_of(name) or name, 0) + 1
            what = f"{name}, {'byte' if number < flips else 'cut at'} {place}"
            with mirror.damaged(name, content):
                _try(mirror, name, what, out)
    out.seconds = time.process_time() - began
    return out


def _try(mirror: Mirror, name: str, what: str, out: Damaged) -> None:
    try:
        noticed = bool(store.verify(mirror.folder, shipped=True, only={name}))
    except StoreError:
        noticed = True  # as the command says it, with exit code 2
    if not noticed:
        out.unverified.append(what)
    for reader in READERS[kind_of(name)]:
        out.readings += 1
        try:
            read = reader(name, mirror.folder)
        except StoreError:
            continue
        if name == hashes.MANIFEST and read == reader(name, mirror.source):
            continue
        out.believed.append(what)
