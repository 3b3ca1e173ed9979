"""Sharing tables: what goes comes back the same; what a stranger has tampered with is not taken."""

import json
import shutil
from pathlib import Path

import pytest

from tests.fakes import FakePolicy, FakePRM, as_jsonl, problems
from tts_utils import store
from tts_utils.store import share
from tts_utils.store.manifest import NAME, StoreError

REPO = "someone/tables"


class LocalHub:
    """A folder that answers as the Hub does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_repo(self, repo_id, *, repo_type, exist_ok):
        assert repo_type == "dataset" and exist_ok
        (self.folder / repo_id).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id, repo_type, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, repo_id, *, repo_type, local_dir, allow_patterns, revision):
        if not (self.folder / repo_id).is_dir():
            raise RuntimeError("404 Client Error: repository not found")
        shutil.copytree(self.folder / repo_id, local_dir, dirs_exist_ok=True)
        return local_dir


@pytest.fixture
def mine(tmp_path):
    data = tmp_path / "mine"
    (data / "problems").mkdir(parents=True)
    (data / "problems" / "toy.jsonl").write_text(as_jsonl(problems(4)))
    filled = store.fill_samples("toy", FakePolicy(), 3, data=data)
    store.fill_step_scores(filled.table, FakePRM(), data=data)
    return data


@pytest.fixture
def hub(tmp_path):
    return LocalHub(tmp_path / "hub")


def quiet(line):
    pass


def tampered(hub, change):
    path = hub.folder / REPO / NAME
    content = json.loads(path.read_text())
    change(content["files"])
    path.write_text(json.dumps(content))


def test_what_goes_comes_back_the_same(mine, hub, tmp_path):
    sent = share.push(REPO, data=mine, to=hub, say=quiet)
    assert len(sent.tables) == 2
    yours = tmp_path / "yours"
    shutil.copytree(mine / "problems", yours / "problems")
    came = share.pull(REPO, data=yours, source=hub, say=quiet)
    assert set(came.tables) == set(sent.tables) and came.same == ()
    assert all((yours / t).read_bytes() == (mine / t).read_bytes() for t in sent.tables)
    assert store.read_pool("toy", "fake-policy", "fake-prm", data=yours).correct.shape == (4, 3)
    assert share.pull(REPO, data=yours, source=hub, say=quiet).same == came.tables
    assert store.verify(yours) == []


def test_parts_are_words_of_the_path_and_machines_stay_at_home(mine, hub):
    assert [t.split("/")[0] for t in share.push(REPO, ["samples"], data=mine, to=hub, say=quiet).tables] == [
        "samples"
    ]
    told = json.loads((hub.folder / REPO / NAME).read_text())["files"]
    assert all("hardware" not in entry and "command" not in entry for entry in told.values())
    with pytest.raises(StoreError, match=r"no table in .* has lab-500"):
        share.push(REPO, ["lab-500"], data=mine, to=hub, say=quiet)


def test_a_damaged_table_is_not_sent(mine, hub):
    path = next((mine / "samples").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="not what its manifest lists"):
        share.push(REPO, data=mine, to=hub, say=quiet)
    assert not (hub.folder / REPO).exists()


def test_one_s_own_rows_are_not_replaced_unasked(mine, hub, tmp_path):
    share.push(REPO, ["samples"], data=mine, to=hub, say=quiet)
    store.fill_samples("toy", FakePolicy(), 5, data=mine)
    before = next((mine / "samples").rglob("*.parquet")).read_bytes()
    with pytest.raises(StoreError, match="other rows than someone/tables"):
        share.pull(REPO, data=mine, source=hub, say=quiet)
    assert next((mine / "samples").rglob("*.parquet")).read_bytes() == before
    assert share.pull(REPO, data=mine, source=hub, replace=True, say=quiet).tables
    assert len(store.read_samples("toy", "fake-policy", data=mine)) == 12


@pytest.mark.parametrize(
    "place", ["samples/../../evil.parquet", "models/x/model.safetensors", "/samples/x.parquet"]
)
def test_names_cannot_leave_the_data_folder(mine, hub, tmp_path, place):
    share.push(REPO, data=mine, to=hub, say=quiet)
    tampered(hub, lambda files: files.update({place: {"sha256": "0", "bytes": 1}}))
    with pytest.raises(StoreError, match="no place of a table"):
        share.pull(REPO, data=tmp_path / "yours", source=hub, say=quiet)
    assert not list((tmp_path / "yours").rglob("*.parquet"))


def test_changed_bytes_missing_files_and_tables_at_another_s_place_are_refused(mine, hub, tmp_path):
    share.push(REPO, data=mine, to=hub, say=quiet)
    one, other = sorted((hub.folder / REPO).rglob("*.parquet"))
    good = one.read_bytes()
    one.write_bytes(good[:-1] + b"x")
    with pytest.raises(StoreError, match="size or sha256 differ"):
        share.pull(REPO, data=tmp_path / "a", source=hub, say=quiet)
    one.unlink()
    with pytest.raises(StoreError, match="does not hold it"):
        share.pull(REPO, data=tmp_path / "b", source=hub, say=quiet)
    one.write_bytes(other.read_bytes())
    name, from_ = (str(p.relative_to(hub.folder / REPO)) for p in (one, other))
    tampered(hub, lambda files: files.update({name: files[from_]}))
    with pytest.raises(StoreError, match="belongs at"):
        share.pull(REPO, data=tmp_path / "c", source=hub, say=quiet)


def test_a_table_that_is_none_is_refused_and_so_is_a_foreign_repository(mine, hub, tmp_path):
    with pytest.raises(StoreError, match="the Hub refused someone/tables: 404"):
        share.pull(REPO, data=tmp_path / "a", source=hub, say=quiet)
    (hub.folder / REPO).mkdir(parents=True)
    with pytest.raises(StoreError, match="not made by tts push"):
        share.pull(REPO, data=tmp_path / "a", source=hub, say=quiet)


def test_the_table_of_a_pull_names_where_it_came_from(mine, hub, tmp_path):
    share.push(REPO, data=mine, to=hub, say=quiet)
    shutil.copytree(mine / "problems", tmp_path / "yours" / "problems")
    share.pull(REPO, data=tmp_path / "yours", source=hub, say=quiet)
    entries = json.loads((tmp_path / "yours" / NAME).read_text())["files"]
    assert all(
        entry["command"] == f"tts pull {REPO}" for name, entry in entries.items() if "problems" not in name
    )
