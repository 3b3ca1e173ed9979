"""Where data lies: one's own over what is shipped, a clone's or a cache's."""

import shutil
from types import SimpleNamespace

import pytest

from tests import fakes
from tts_utils import data_folder, store
from tts_utils.checkpoints import find_model
from tts_utils.data_folder import DataDirError, cache_dir, clone_dir, data_dir, find, layers, look_up
from tts_utils.problems import load_problems
from tts_utils.store import ForeignTable, StoreError, files
from tts_utils.store.tables import Table

PROBLEMS = fakes.problems(3)


class Mute(fakes.FakePolicy):
    """A policy that must not be asked."""

    def sample(self, *args, **kwargs):
        raise AssertionError("nothing was missing")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A clone with one problem set, and a working directory elsewhere."""
    clone, work = tmp_path / "clone", tmp_path / "work"
    (clone / "data/problems").mkdir(parents=True)
    (clone / "data/problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    (clone / "tts_utils").mkdir()
    (clone / "tts_utils/data_folder.py").touch()
    store.record_files([clone / "data/problems/toy.jsonl"], data=clone / "data")
    work.mkdir()
    monkeypatch.delenv("TTS_DATA", raising=False)
    monkeypatch.setenv("TTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data_folder, "__file__", str(clone / "tts_utils/data_folder.py"))
    monkeypatch.setattr(data_folder, "PACKAGED", tmp_path / "packaged")
    monkeypatch.chdir(work)
    return SimpleNamespace(clone=clone / "data", work=work, own=work / "tts-data", root=tmp_path)


def as_wheel(place, monkeypatch):
    """As if the package were installed without a clone."""
    monkeypatch.setattr(data_folder, "__file__", str(place.root / "site/tts_utils/data_folder.py"))


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- which folder ---


def test_own_data_lies_in_the_working_directory_or_where_the_environment_says(place, monkeypatch):
    assert data_dir() == place.own and not place.own.exists()
    mine = place.root / "mine"
    mine.mkdir()
    monkeypatch.setenv("TTS_DATA", str(mine))
    assert data_dir() == mine and layers() == (mine, place.clone)
    monkeypatch.setenv("TTS_DATA", str(place.root / "absent"))
    with pytest.raises(DataDirError, match=r"TTS_DATA is .*absent.*not a directory; create it"):
        data_dir()


def test_a_foreign_folder_is_refused_as_ones_own(place, monkeypatch):
    photos = place.root / "photos"
    photos.mkdir()
    monkeypatch.setenv("TTS_DATA", str(photos))
    (photos / ".hidden").touch()
    assert data_dir() == photos
    (photos / "beach.jpg").touch()
    with pytest.raises(DataDirError, match=r"photos.*holds other things \(beach.jpg\)"):
        data_dir()
    (photos / "samples").mkdir()  # rows have begun to arrive
    assert data_dir() == photos


def test_a_clone_is_that_of_the_package_then_the_one_around(place, monkeypatch):
    assert clone_dir() == place.clone
    as_wheel(place, monkeypatch)
    assert clone_dir() is None
    (place.clone.parent / "notebooks/deep").mkdir(parents=True)
    monkeypatch.chdir(place.clone.parent / "notebooks/deep")
    assert clone_dir() == place.clone
    (place.clone.parent / "tts_utils/data_folder.py").unlink()  # another project with a data/manifest.json
    assert clone_dir() is None


def test_the_cache_has_a_folder_for_each_version_of_the_shipped_data(place, monkeypatch):
    as_wheel(place, monkeypatch)
    first = cache_dir()
    assert first.parent == place.root / "cache" and layers() == (place.own, first, place.root / "packaged")
    (place.root / "packaged").mkdir()
    (place.root / "packaged/manifest.json").write_text("{}")
    data_folder._hash.cache_clear()
    assert cache_dir() != first and cache_dir().parent == first.parent


def test_another_folder_than_ones_own_stands_alone(place, monkeypatch):
    assert layers(place.root) == (place.root,)
    assert layers(place.own) == layers() == (place.own, place.clone)
    monkeypatch.setenv("TTS_DATA", str(place.root / "absent"))
    assert layers(place.root) == (place.root,)
    monkeypatch.setenv("TTS_DATA", str(place.clone))
    assert layers() == (place.clone,)


def test_find_says_where_it_looked(place):
    assert find("problems/toy.jsonl") == place.clone / "problems/toy.jsonl"
    assert look_up("problems/other.jsonl") is None
    with pytest.raises(DataDirError) as caught:
        find("paper/x.csv")
    assert str(place.own) in str(caught.value) and "tts fetch" not in str(caught.value)


# --- rows of two layers ---


@pytest.fixture
def pool(place):
    """Two samples of each problem are shipped."""
    filled = store.fill_samples("toy", fakes.FakePolicy(), 2, data=place.clone)
    return SimpleNamespace(table=filled.table, before=content(place.clone))


def test_a_shipped_pool_grows_in_ones_own_folder_only(place, pool):
    filled = store.fill_samples("toy", fakes.FakePolicy(), 5)
    assert (filled.added, filled.rows) == (9, 15) and filled.path == pool.table.path(place.own)
    assert content(place.clone) == pool.before
    frame = store.read_samples("toy", "fake-policy")
    alone = place.root / "alone"
    store.fill_samples("toy", fakes.FakePolicy(), 5, problems=PROBLEMS, data=alone)
    assert frame.equals(store.read_samples("toy", "fake-policy", problems=PROBLEMS, data=alone))
    assert files.stored(place.own, "samples", "toy") == [pool.table]
    assert store.verify(place.own) == [] and store.verify(place.clone) == []


def test_nothing_is_written_where_all_is_shipped(place, pool):
    filled = store.fill_samples("toy", Mute(), 2)
    assert (filled.added, filled.rows, filled.path) == (0, 6, pool.table.path(place.clone))
    assert not list(place.own.rglob("*.parquet")) and content(place.clone) == pool.before


def test_own_scores_of_shipped_samples(place, pool):
    store.fill_step_scores(pool.table, fakes.FakePRM())
    read = store.read_pool("toy", "fake-policy", "fake-prm")
    assert read.scores.shape == (3, 2) and content(place.clone) == pool.before
    assert {p.name for p in place.own.glob("[!.]*")} == {"manifest.json", "step_scores"}


def test_own_rows_are_not_mixed_with_those_of_an_updated_model(place, pool):
    """The shipped table is replaced by one of another model version, as a git pull may do."""
    policy = fakes.FakePolicy()
    policy.revision = "old"
    shutil.rmtree(place.clone / "samples")
    (place.clone / "manifest.json").unlink()
    store.fill_samples("toy", policy, 2, data=place.clone)
    store.fill_samples("toy", policy, 4)
    assert len(store.read_samples("toy", "fake-policy")) == 12
    shutil.rmtree(place.clone / "samples")
    (place.clone / "manifest.json").unlink()
    policy.revision = "new"
    store.fill_samples("toy", policy, 2, data=place.clone)
    with pytest.raises(ForeignTable, match=r"tts-data.*policy_revision is old, now new.*move this file away"):
        store.read_samples("toy", "fake-policy")


def test_own_scores_of_samples_that_an_update_replaced_are_refused(place, pool):
    policy = fakes.FakePolicy()
    policy.revision = "old"
    for revision in ("old", "new"):
        policy.revision = revision
        shutil.rmtree(place.clone / "samples")
        (place.clone / "manifest.json").unlink()
        table = store.fill_samples("toy", policy, 2, data=place.clone).table
        if revision == "old":
            store.fill_step_scores(table, fakes.FakePRM())
            assert store.read_pool("toy", "fake-policy", "fake-prm").scores.shape == (3, 2)
    with pytest.raises(ForeignTable, match=r"tts-data.*of the samples: policy_revision is old"):
        store.read_pool("toy", "fake-policy", "fake-prm")


def test_a_miss_names_both_folders(place, pool):
    with pytest.raises(store.StoreMiss) as caught:
        store.read_samples("toy", "nobody")
    assert str(place.own) in str(caught.value) and str(place.clone) in str(caught.value)


def test_an_own_problem_set_or_model_comes_first(place):
    (place.own / "problems").mkdir(parents=True)
    (place.own / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS[:1]), encoding="utf-8")
    assert len(load_problems("toy")) == 1 and len(load_problems("toy", data=place.clone)) == 3
    for folder in (place.clone, place.own):
        (folder / "models/m").mkdir(parents=True)
        (folder / "models/m/config.json").write_text("{}")
    assert find_model("m") == str(place.own / "models/m")


def test_a_folder_that_cannot_be_written_is_named(place):
    place.own.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot write in .*tts-data.*move it away"):
        store.fill_samples("toy", fakes.FakePolicy(), 1)


def test_tables_of_a_wheel_without_a_cache(place, monkeypatch):
    as_wheel(place, monkeypatch)
    store.fill_samples("toy", fakes.FakePolicy(), 1, problems=PROBLEMS)
    assert Table("samples", "toy", "fake-policy", fakes.SamplingConfig()).path(place.own).is_file()
