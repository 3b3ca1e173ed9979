"""What the system refuses ends in one sentence, exit code 2 and no traceback, and the data are safe."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import cli, complaints, policies, store
from tts_utils.records import SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store import manifest

CONFIG = SamplingConfig(max_tokens=40)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with a table of two samples a problem, and a live policy that the command line loads."""
    folder = tmp_path / "data"
    (folder / "problems").mkdir(parents=True)
    (folder / "problems/toy.jsonl").write_text(fakes.as_jsonl(fakes.problems(3)), encoding="utf-8")
    monkeypatch.setenv("TTS_DATA", str(folder))
    monkeypatch.setattr(policies, "load_policy", lambda *_, **__: fakes.FakePolicy(name="p"))
    store.fill_samples("toy", fakes.FakePolicy(name="p"), 2, CONFIG, data=folder)
    return folder


def run(*words: str, code: int = 2) -> str:
    result = CliRunner().invoke(cli.app, list(words))
    assert result.exit_code == code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stderr


def sample(n: int = 4, code: int = 2) -> str:
    return run("sample", "--policy", "p", "--dataset", "toy", "--n", str(n), "--max-tokens", "40", code=code)


REFUSALS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only; set TTS_DATA",
    errno.EACCES: "permission denied; ask",
    errno.EPERM: "permission denied; ask",
    errno.EIO: "the disk fails",
    errno.EMFILE: "ulimit -n",
    errno.ESTALE: "mount it again",
    errno.ENOTSUP: "see what the system says",
}


def refusing(monkeypatch, owner, name: str, number: int, part: str) -> None:
    """Let a call refuse with this error where its first argument names a file of this kind."""
    real = getattr(owner, name, None) or getattr(__builtins__, name, None) or __builtins__[name]

    def call(path, *args, **kwargs):
        if part in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(owner, name, call, raising=False)


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("owner", "name", "part"),
    [(os, "open", ".lock"), (manifest, "open", ".parquet"), (os, "replace", ".manifest.json")],
    ids=["lock", "table", "manifest"],
)
def test_what_cannot_be_written_is_a_sentence_and_goes_on_later(data, monkeypatch, number, owner, name, part):
    with monkeypatch.context() as patch:
        refusing(patch, owner, name, number, part)
        said = sample()
    assert REFUSALS[number] in said and "What was finished before is kept" in said and str(data) in said
    assert len(said.splitlines()) == 1 and "remove" not in said
    assert len(store.read_samples("toy", "p", config=CONFIG, n=2)) == 6  # the old rows are there
    sample(code=0)
    assert len(store.read_samples("toy", "p", config=CONFIG, n=4)) == 12 and store.verify(data) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_really_full(data):
    (data / ".manifest.json.new").symlink_to("/dev/full")
    said = sample()
    assert f"{data / 'manifest.json'}: the disk is full; make room" in said
    (data / ".manifest.json.new").unlink()
    sample(code=0)
    assert store.verify(data) == []


def test_a_table_that_may_not_be_read_is_not_called_damaged(data, monkeypatch):
    def denied(path, **_):
        raise PermissionError(errno.EACCES, "Failed to open local file. Detail: [errno 13] Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(table_files.pq, "ParquetFile", denied)
        said = run("report", "--dataset", "toy")
    assert "permission denied" in said and "damaged" not in said and "remove" not in said
    assert ".parquet" in said
    assert run("report", "--dataset", "toy", code=0) == ""


def test_a_name_that_is_too_long(data):
    assert "too long" in run("sample", "--policy", "p", "--dataset", "x" * 300 + ".jsonl", "--n", "1")
    assert "too long" in run("report", "--dataset", "x" * 300)


def test_a_folder_in_the_place_of_a_file(data):
    (data / "problems" / "other.jsonl").mkdir()
    assert "other.jsonl" in run(
        "sample", "--policy", "p", "--dataset", str(data / "problems" / "other.jsonl")
    )
    (data / "manifest.json").unlink()
    (data / "manifest.json").mkdir()
    assert "manifest.json" in sample()


def test_a_home_that_does_not_exist(data, monkeypatch):
    monkeypatch.setenv("TTS_DATA", "~nosuchuser/x")
    assert "TTS_DATA is '~nosuchuser/x'" in run("report", "--dataset", "toy")


def test_a_file_that_vanishes(data, monkeypatch):
    def gone(path, **_):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    monkeypatch.setattr(table_files.pq, "ParquetFile", gone)
    assert "has vanished meanwhile" in run("report", "--dataset", "toy")


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


def test_other_errors_of_the_system_and_faults_of_ours():
    assert "smaller --batch-size" in complaints.sentence(MemoryError())
    assert "CUDA" in complaints.sentence(OutOfMemoryError("CUDA out of memory"))
    assert "UTF-8" in complaints.sentence(
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
    )
    for exc in (BrokenPipeError(), ValueError("ours"), KeyError(1)):
        assert complaints.sentence(exc) is None
