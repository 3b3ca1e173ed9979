"""A byte of a shipped file is changed, or its end is cut: verify notices it, and so does whoever reads it.

The long part damages 1,000 bytes and cuts 200 files (TTS_FAULTS_FLIPS, TTS_FAULTS_CUTS, TTS_FAULTS_SEED).
"""

import os
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.flips import Mirror, damage
from tests.faults.readers import READERS, kind_of
from tts_utils import hashes

SHIPPED = Path(__file__).resolve().parents[2] / "data"
SEED = int(os.environ.get("TTS_FAULTS_SEED", 0))
FLIPS = int(os.environ.get("TTS_FAULTS_FLIPS", 1000))
CUTS = int(os.environ.get("TTS_FAULTS_CUTS", 200))


def test_every_kind_of_shipped_file_has_its_readers_and_every_reader_its_files():
    kinds = {name: kind_of(name) for name in (*hashes.entries(SHIPPED), hashes.MANIFEST)}
    assert [name for name, kind in kinds.items() if kind is None] == []
    assert set(kinds.values()) == set(READERS)


def test_readers_read_what_is_whole(tmp_path):
    from tests.faults.flips import reading_from

    mirror = Mirror(SHIPPED, tmp_path)
    first = {kind_of(name): name for name in reversed(mirror.names)}
    with reading_from(mirror.folder):
        for kind, name in first.items():
            for reader in READERS[kind]:
                reader(name, mirror.folder)


@pytest.mark.parametrize(
    ("flips", "cuts"), [(len(READERS), len(READERS)), pytest.param(FLIPS, CUTS, marks=pytest.mark.faults)]
)
def test_damage_is_noticed_by_verify_and_by_every_reader(flips, cuts, tmp_path):
    found = damage(Mirror(SHIPPED, tmp_path), flips, cuts, SEED)
    assert sum(found.flips.values()) == flips and sum(found.cuts.values()) == cuts
    if flips == FLIPS:
        facts = {"seconds": found.seconds, "seed": SEED}
        case = f"noticed by tts verify ({flips} bytes, {cuts} cuts)"
        figures.note("damage", case, flips + cuts, len(found.unverified), **facts)
        case = f"noticed by the readers of {len(READERS)} kinds of files"
        figures.note("damage", case, found.readings, len(found.believed), **facts)
    assert found.unverified == [] and found.believed == []
