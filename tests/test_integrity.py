"""Every listed file is checked by whoever reads it; what verify notices; versions; other models."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest

from tests import fakes
from tts_utils import checkpoints, data_folder, hashes, store
from tts_utils.problems import load_problems
from tts_utils.report import sizes
from tts_utils.store import files, manifest

PROBLEMS = fakes.problems(4)


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    for name in ("problems", "paper", "models/m"):
        (folder / name).mkdir(parents=True)
    (folder / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    (folder / "paper/numbers.csv").write_text("n,right\n64,0.875\n")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / "models/m" / name).write_text("{}")
    monkeypatch.setenv("TTS_DATA", str(folder))
    monkeypatch.setattr(data_folder, "shipped", lambda: ())
    store.fill_samples("toy", fakes.FakePolicy(), 2)
    others = ("problems", "paper", "models")
    store.record_files([p for name in others for p in (folder / name).rglob("*") if p.is_file()])
    assert store.verify(shipped=True) == []
    return folder


READERS = {
    "problems/toy.jsonl": lambda: load_problems("toy"),
    "paper/numbers.csv": lambda: data_folder.find("paper/numbers.csv"),
    "models/m/config.json": lambda: checkpoints.find_model("m"),
    "models/m/model.safetensors": lambda: checkpoints.find_model("m"),
    "models/m/tokenizer.json": lambda: checkpoints.find_model("m"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_byte_and_a_cut_are_noticed_by_the_reader_and_by_verify(data, name):
    path, whole = data / name, (data / name).read_bytes()
    READERS[name]()
    for place in range(0, len(whole), max(1, len(whole) // 20)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        for content in (bytes(damaged), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(store.StoreError, match="its sha256 differs"):
                READERS[name]()
    assert any(name in message for message in store.verify())
    path.write_bytes(whole)
    READERS[name]()


def change(data, function):
    path = data / manifest.NAME
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


TABLE = "samples/toy/fake-policy/t0.7-04984305.parquet"


@pytest.mark.parametrize("key", ["date", "hardware", "code_version", "seconds", "sources", "bytes"])
def test_changed_provenance_is_noticed(data, key):
    change(data, lambda content: content["files"][TABLE].update({key: {} if key == "sources" else "1999"}))
    assert len(store.verify()) == 1


@pytest.mark.parametrize("name", [TABLE, *READERS])
def test_an_entry_that_vanished_is_noticed(data, name):
    change(data, lambda content: content["files"].pop(name))
    assert len(store.verify()) == 1


def test_a_manifest_that_was_changed_is_refused_by_whoever_reads_it(data):
    change(data, lambda content: content["files"][TABLE].update(seconds=1e9))
    with pytest.raises(store.StoreError, match=r"manifest\.json: an entry has vanished or was changed"):
        store.fill_samples("toy", fakes.FakePolicy(), 3)
    change(data, lambda content: content.update(more=1))
    with pytest.raises(store.StoreError, match=r"manifest\.json is damaged"):
        store.verify()


def test_a_blank_of_the_manifest_is_noticed_by_verify(data):
    path = data / manifest.NAME
    path.write_text(path.read_text().replace("\n ", "\n\t", 1))
    assert len(store.verify()) == 1
    load_problems("toy")  # what it says is what it said


@pytest.mark.parametrize("given", ["whole path", "relative path", "link"])
def test_problems_given_by_their_path_are_checked_too(data, tmp_path, monkeypatch, given):
    monkeypatch.chdir(data)
    (tmp_path / "link.jsonl").symlink_to(data / "problems/toy.jsonl")
    path = {"whole path": str(data / "problems/toy.jsonl"), "relative path": "problems/toy.jsonl"}.get(
        given, str(tmp_path / "link.jsonl")
    )
    assert len(load_problems(path)) == 4
    content = (data / "problems/toy.jsonl").read_text()
    (data / "problems/toy.jsonl").write_text(content.replace('"103"', '"104"'))
    with pytest.raises(store.StoreError, match="its sha256 differs"):
        load_problems(path)
    other = tmp_path / "elsewhere.jsonl"  # in no data directory: nothing is known of it
    other.write_text(content)
    assert len(load_problems(str(other))) == 4


def test_the_size_of_a_model_is_not_read_from_damaged_weights(data):
    (data / "models/m/model.safetensors").write_text("[]")
    with pytest.raises(store.StoreError, match="its sha256 differs"):
        sizes.num_params("m", data)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_model_given_by_its_path_is_checked_too(data, monkeypatch, name):
    monkeypatch.chdir(data)
    (data / "models/m" / name).write_text("[]")
    for source in (str(data / "models/m"), "models/m"):
        with pytest.raises(store.StoreError, match="its sha256 differs"):
            checkpoints.find_model(source)


def test_an_unknown_file_is_noticed_among_the_shipped(data):
    (data / "paper/more.csv").write_text("n\n1\n")
    assert store.verify() == []  # one's own folder may hold what one likes
    assert [message for message in store.verify(shipped=True) if "more.csv is in no manifest" in message]


def test_a_newer_manifest_is_refused(data):
    change(data, lambda content: content.update(version=99))
    with pytest.raises(store.StoreError, match="version 99; this tts-utils reads up to 1: update it"):
        store.read_samples("toy", "fake-policy")


def test_a_newer_schema_is_refused(data):
    path = data / TABLE
    rows = pq.read_table(path)
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, b"tts.schema_version": b"2"}), path)
    with pytest.raises(store.ForeignTable, match="schema version 2; this tts-utils reads up to 1"):
        files.check_file(path)


def test_a_file_is_hashed_once(data, monkeypatch):
    read, path = [], data / "paper/numbers.csv"
    hashes._digests.clear()
    monkeypatch.setattr(hashes, "_SETTLED", -1e9)
    monkeypatch.setattr(hashes, "sha256_of", lambda p, of=hashes.sha256_of: read.append(p) or of(p))
    for _ in range(3):
        data_folder.find("paper/numbers.csv")
    assert read == [path]


# --- what makes a model ---


def model_folder(path):
    path.mkdir()
    (path / "config.json").write_text('{"rope_theta": 10000}')
    (path / "chat_template.jinja").write_text("{{ messages }}")
    (path / "tokenizer.json").write_text("{}")
    return path


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "tokenizer.json"])
def test_another_template_or_configuration_does_not_continue_a_table(data, tmp_path, name):
    folder, policy = model_folder(tmp_path / "model"), fakes.FakePolicy(name="mine")
    policy.revision, policy.settings = "same weights", checkpoints.settings_of(str(folder))
    assert store.fill_samples("toy", policy, 2).added == 8
    assert policy.settings == checkpoints.settings_of(shutil.copytree(folder, tmp_path / "copy"))
    changed = {"config.json": '{"rope_theta": 20000}'}.get(name, (folder / name).read_text() + " ")
    (folder / name).write_text(changed)
    policy.settings = checkpoints.settings_of(str(folder))
    with pytest.raises(store.ForeignTable, match="template, tokenizer or configuration has changed"):
        store.fill_samples("toy", policy, 4)
    assert len(store.read_samples("toy", "mine")) == 8


def test_a_table_from_before_settings_were_noted_is_continued(data):
    policy = fakes.FakePolicy()
    policy.settings = "known now"
    assert store.fill_samples("toy", policy, 4).added == 8
