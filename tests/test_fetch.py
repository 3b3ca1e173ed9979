"""Fetching shipped data from a folder and from a local server that cuts, corrupts and refuses."""

import http.server
import importlib.metadata
import json
import re
import shutil
import threading
import urllib.parse
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import cli, data_folder, problems, store
from tts_utils.checkpoints import UnknownModel, find_model
from tts_utils.store import fetch, manifest
from tts_utils.store.fetch import FetchError

ROOT = Path(__file__).resolve().parent.parent
PROBLEMS = fakes.problems(3)
BIG = "models/m/model.safetensors"


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; ``broken`` says what is wrong with a path: a status, "cut", "corrupt", "longer"."""

    def __init__(self, folder, ranges=True):
        self.folder, self.ranges, self.broken, self.asked = folder, ranges, {}, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, asked = urllib.parse.unquote(self.path[1:]), self.headers.get("Range", "")
        self.server.asked.append((name, asked))
        how = self.server.broken.get(name, [None])
        how = how.pop(0) if len(how) > 1 else how[0]
        if isinstance(how, int) or not (self.server.folder / name).is_file():
            self.send_error(how or 404)
            return
        content = (self.server.folder / name).read_bytes()
        if how == "corrupt":
            content = bytes([content[0] ^ 1]) + content[1:]
        first = int(asked[6:-1]) if asked and self.server.ranges else 0
        body = content[first:] + b"x" * (how == "longer")
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "cut" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A wheel without a clone, a working directory, and the data it was built with elsewhere."""
    data, packaged = tmp_path / "source/data", tmp_path / "packaged"
    fakes.ship(data, PROBLEMS, {})
    packaged.mkdir()
    shutil.copy(data / "manifest.json", packaged)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("TTS_DATA", raising=False)
    monkeypatch.setenv("TTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data_folder, "__file__", str(tmp_path / "site/tts_utils/data_folder.py"))
    monkeypatch.setattr(data_folder, "PACKAGED", packaged)
    monkeypatch.setattr(fetch, "PAUSE", 0.001)
    lessons = {"lesson-07": ["problems/toy.jsonl", BIG], "lesson-08": ["report/odd name.csv", BIG]}
    monkeypatch.setattr(fetch, "lessons", lambda: lessons)
    data_folder._hash.cache_clear()
    data_folder._listed.cache_clear()
    return SimpleNamespace(data=data, packaged=packaged, root=tmp_path)


@pytest.fixture
def server(place):
    server = Server(place.data)
    yield server
    server.shutdown()
    server.server_close()


def bring(*names, source):
    lines = []
    return fetch.fetch(names, str(source), say=lines.append), "\n".join(lines)


def arrived():
    """What lies in the cache and is whole, by its path."""
    files, cache = fetch.shipped_files(), data_folder.cache_dir()
    seen = {p.relative_to(cache).as_posix() for p in cache.rglob("*") if p.is_file() and p.name[0] != "."}
    assert all(fetch.is_there(name, files[name], cache) for name in seen - {"manifest.json"})
    return seen - {"manifest.json"}


# --- what works ---


def test_the_manifest_of_the_cache_comes_whole_or_not_at_all(place, monkeypatch):
    """A reader at the same time, or after a kill, would find half of one damaged."""

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        bring("all", source=place.data)
    assert not (data_folder.cache_dir() / "manifest.json").exists()


def test_all_from_an_address_is_all_there_and_readable(place, server):
    done, said = bring("all", source=server.address)
    assert arrived() == set(fetch.shipped_files()) and done.new_files == done.files == 5
    size = sum(entry["bytes"] for entry in fetch.shipped_files().values())
    assert (done.size, done.new_size) == (size, size)
    assert f"fetching 5 files, 0.3 MB, from {server.address}" in said
    assert len(store.read_samples("toy", "fake-policy")) == 6
    assert find_model("m") == str(data_folder.cache_dir() / "models/m")
    assert store.verify(data_folder.cache_dir()) == []


def test_a_second_fetch_asks_nothing_and_needs_no_network(place, server):
    bring("all", source=server.address)
    server.asked.clear()
    done, said = bring("all", source="http://127.0.0.1:9")
    assert (done.new_files, server.asked, said) == (0, [], "")


def test_a_part_brings_its_files_only(place, server):
    bring("lesson-07", source=server.address)
    assert arrived() == {"problems/toy.jsonl", BIG}
    bring("models/m", source=server.address)
    assert arrived() == {"problems/toy.jsonl", BIG, "models/m/config.json"}
    assert {name for name, _ in server.asked} == arrived()  # nothing was asked for twice


def test_the_course_is_what_all_lessons_read_each_file_once(place, server):
    done, _ = bring("course", source=server.address)
    assert arrived() == {"problems/toy.jsonl", "report/odd name.csv", BIG} and done.new_files == 3
    assert sorted(name for name, _ in server.asked) == sorted(
        urllib.parse.unquote(name) for name in arrived()
    )


def test_a_course_is_handed_on_without_a_network(place, server, monkeypatch):
    """A teacher fetches once; a class fetches from the folder that the teacher's cache is."""
    bring("course", source=server.address)
    stick, wanted = data_folder.cache_dir(), arrived()
    server.asked.clear()
    monkeypatch.setenv("TTS_CACHE", str(place.root / "another"))
    done, _ = bring("course", source=stick)
    assert data_folder.cache_dir() != stick and arrived() == wanted
    assert (done.new_files, server.asked) == (3, [])


@pytest.mark.parametrize("inner", ["", "data"])
def test_from_a_folder_or_a_clone(place, inner):
    bring("toy", source=(place.data.parent / inner))
    assert {name.split("/")[0] for name in arrived()} == {"problems", "samples"}


def test_parts_by_hand():
    files = dict.fromkeys(
        ["problems/a.jsonl", "samples/a/m/t0.parquet", "samples/b/m/t0.parquet", "models/m/config.json"]
    )
    assert fetch.part("a", files) == ["problems/a.jsonl", "samples/a/m/t0.parquet"]
    assert fetch.part("samples/a", files) == ["samples/a/m/t0.parquet"]
    assert fetch.part("m", files) == list(files)[1:] and fetch.part("models/m/", files) == list(files)[3:]
    assert fetch.part("all", files) == list(files)


def test_a_grown_pool_of_a_wheel_lies_in_ones_own_folder(place):
    bring("all", source=place.data)
    before = {p: p.read_bytes() for p in data_folder.cache_dir().rglob("*") if p.is_file()}
    assert store.fill_samples("toy", fakes.FakePolicy(), 3).added == 3
    assert len(store.read_samples("toy", "fake-policy")) == 9
    assert {p: p.read_bytes() for p in data_folder.cache_dir().rglob("*") if p.is_file()} == before


# --- a network that fails ---


def test_a_cut_download_goes_on_where_it_was_cut(place, server):
    server.broken[BIG] = ["cut", "cut", None]
    bring("models", source=server.address)
    size = (place.data / BIG).stat().st_size
    firsts = [asked for name, asked in server.asked if name == BIG]
    assert firsts == ["", f"bytes={size // 2}-", f"bytes={size // 2 + size // 4}-"]
    assert arrived() == {BIG, "models/m/config.json"}


def test_a_server_without_ranges_begins_again(place, server):
    server.ranges, server.broken[BIG] = False, ["cut", None]
    bring("models", source=server.address)
    assert BIG in arrived()


def test_what_stays_cut_is_never_used_and_the_next_run_goes_on(place, server):
    server.broken[BIG] = ["cut"]
    with pytest.raises(FetchError, match=rf"{BIG}: cut after \d+ of 256000 bytes, 5 times; .*goes on"):
        bring("models", source=server.address)
    assert BIG not in arrived()
    with pytest.raises(UnknownModel, match="not fetched yet: tts fetch models/m"):
        find_model("m")
    server.broken.clear()
    server.asked.clear()
    done, _ = bring("models", source=server.address)
    (first,) = [asked for name, asked in server.asked if name == BIG]
    assert first.startswith("bytes=") and BIG in arrived() and done.new_files >= 1


@pytest.mark.parametrize("how", ["corrupt", "longer"])
def test_bytes_that_are_not_those_of_the_manifest(place, server, how):
    server.broken[BIG] = [how]
    with pytest.raises(FetchError, match=f"{BIG} is not the file that this version .* sha256 differs"):
        bring("models", source=server.address)
    assert BIG not in arrived() and not list(data_folder.cache_dir().glob("models/m/.*.part"))
    server.broken[BIG] = [how, None]  # once only
    bring("models", source=server.address)
    assert BIG in arrived()


def test_the_beginning_of_another_version_is_not_gone_on_with(place, server):
    """A part that an older run left: the hash of the whole tells, and it is fetched from its beginning."""
    part = data_folder.cache_dir() / "models/m/.model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another beginning")
    bring("models", source=server.address)
    assert [asked for name, asked in server.asked if name == BIG] == ["bytes=17-", ""] and BIG in arrived()


def test_404_says_that_the_address_holds_another_version(place, server):
    server.broken["problems/toy.jsonl"] = [404]
    with pytest.raises(FetchError, match=r"toy\.jsonl is not there \(404\).*version .*--from"):
        bring("lesson-07", source=server.address)
    assert [name for name, _ in server.asked].count("problems/toy.jsonl") == 1


def test_a_busy_server_is_asked_again(place, server):
    server.broken["problems/toy.jsonl"] = [503, 503, None]
    bring("toy", source=server.address)
    assert "problems/toy.jsonl" in arrived()


def test_no_network(place):
    with pytest.raises(FetchError, match=r"could not fetch http.*:9/.*refused.*check the network"):
        bring("toy", source="http://127.0.0.1:9")


def test_a_damaged_file_of_the_cache_is_fetched_again(place, server):
    bring("models", source=server.address)
    (data_folder.cache_dir() / BIG).write_bytes(b"damaged")
    done, _ = bring("models", source=server.address)
    assert done.new_files == 1 and BIG in arrived()


# --- nothing fetched, other versions, other processes ---


def test_with_nothing_fetched_every_message_names_the_command(place):
    with pytest.raises(store.StoreMiss, match="it is shipped, and not fetched yet: tts fetch toy"):
        store.read_pool("toy", "fake-policy")
    with pytest.raises(problems.ProblemError, match="tts fetch toy"):
        problems.load_problems("toy")
    with pytest.raises(UnknownModel, match="tts fetch models/m"):
        find_model("m")
    with pytest.raises(data_folder.DataDirError, match=r"tts fetch report/odd name\.csv"):
        data_folder.find("report/odd name.csv")
    with pytest.raises(store.StoreMiss) as caught:
        store.read_pool("toy", "nobody")  # what is not shipped is not offered
    assert "tts fetch" not in str(caught.value)


def test_after_an_update_the_old_cache_is_not_read_and_what_has_not_changed_is_taken_over(place, server):
    bring("all", source=server.address)
    old = data_folder.cache_dir()
    (place.data / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS[:2]), encoding="utf-8")
    store.record_files([place.data / "problems/toy.jsonl"], data=place.data)
    shutil.copy(place.data / "manifest.json", place.packaged)
    data_folder._hash.cache_clear()
    assert data_folder.cache_dir() != old
    with pytest.raises(problems.ProblemError, match="not fetched yet: tts fetch toy"):
        problems.load_problems("toy")
    server.asked.clear()
    done, said = bring("all", source=server.address)
    assert [name for name, _ in server.asked] == ["problems/toy.jsonl"] and done.new_files == 1
    assert "4 files have not changed" in said and len(problems.load_problems("toy")) == 2
    assert fetch.others() == [old] and (old / "problems/toy.jsonl").is_file()


def test_two_that_fetch_at_once_bring_each_file_once(place, server):
    done = []
    run = lambda: done.append(bring("all", source=server.address))  # noqa: E731
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(d.new_files for d, _ in done) == [0, 5] and len(server.asked) == 5
    assert arrived() == set(fetch.shipped_files())


def test_a_cache_that_cannot_be_written_is_named(place):
    (place.root / "cache").write_text("a file where the folder should be")
    with pytest.raises(FetchError, match=r"cannot write in .*cache.*set TTS_CACHE"):
        bring("toy", source=place.data)


# --- where from ---


def metadata(monkeypatch, address):
    found = Message()
    found["Project-URL"] = f"Repository, {address}"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: found)


def test_the_address_comes_from_the_metadata(place, monkeypatch):
    metadata(monkeypatch, "https://github.com/someone/a-book")
    assert fetch.public_address() == "https://github.com/someone/a-book"
    wanted = f"https://raw.githubusercontent.com/someone/a-book/v{fetch.tts_utils.__version__}/data"
    assert fetch.base_of(fetch.public_address()) == wanted
    monkeypatch.setattr(fetch.tts_utils, "__version__", "0.3.dev0")
    assert fetch.base_of("https://github.com/someone/a-book.git").endswith("/someone/a-book/main/data")


def test_a_placeholder_is_said_with_the_way_out(place, monkeypatch):
    metadata(monkeypatch, fetch.PLACEHOLDER)
    with pytest.raises(FetchError, match=r"does not know its public address yet.*--from /path/to/clone/data"):
        bring("toy", source="")


def test_unknown_parts_and_sources(place):
    there = "there are lesson-07, lesson-08, course, toy, models"
    with pytest.raises(FetchError, match=f"no part 'lesson-99' to fetch; {there}"):
        bring("lesson-99", source=place.data)
    with pytest.raises(FetchError, match="neither an http address nor a folder that holds"):
        bring("toy", source=place.root / "absent")
    (place.data / "problems/toy.jsonl").unlink()
    with pytest.raises(FetchError, match=r"toy\.jsonl is not there; name another source"):
        bring("toy", source=place.data)
    (place.packaged / "manifest.json").unlink()
    with pytest.raises(FetchError, match="carries no manifest"):
        bring("toy", source=place.data)


# --- the command ---


def tts(*words):
    return CliRunner().invoke(cli.app, words)


def test_the_command_lists_fetches_and_says_bytes_and_seconds(place):
    out = tts("fetch").stdout
    assert re.search(r"lesson-07 +0\.3 MB +2 files\n", out) and re.search(r"all +0\.3 MB +5 files\n", out)
    out = tts("fetch", "lesson-07", "--from", str(place.data)).stdout
    assert re.search(r"2 files, 0.3 MB, are there, 2 of them new \(\d+ bytes\), in [\d.]+ s", out)
    assert re.search(r"lesson-07 .* fetched\n", tts("fetch").stdout)
    failed = tts("fetch", "lesson-07", "nonsense", "--from", str(place.data))
    assert failed.exit_code == 2 and failed.stderr.startswith("tts: there is no part 'nonsense'")


def test_in_a_clone_there_is_nothing_to_fetch(place, monkeypatch):
    monkeypatch.setattr(data_folder, "clone_dir", lambda: place.data)
    assert "nothing to fetch: this is a clone" in tts("fetch", "all").stdout


# --- the lessons ---


def test_what_the_lessons_list_is_shipped_and_below_10_mb():
    """tests/test_wheel.py compares the list with what the lessons read."""
    files = manifest.load(ROOT / "data")
    for lesson, paths in json.loads(fetch.LESSONS.read_text(encoding="utf-8")).items():
        assert list((ROOT / "notebooks").glob(f"{lesson[-2:]}-*.ipynb")), lesson
        assert set(paths) <= set(files), lesson
        assert sum(files[path]["bytes"] for path in paths) < 10e6, lesson


def test_the_course_has_every_lesson_and_at_most_40_mb():
    files = manifest.load(ROOT / "data")
    course = fetch.part("course", files)
    read = json.loads(fetch.LESSONS.read_text(encoding="utf-8"))
    assert {f"lesson-{path.name[:2]}" for path in (ROOT / "notebooks").glob("*.ipynb")} == set(read)
    assert set(course) == {path for paths in read.values() for path in paths}
    assert sum(files[path]["bytes"] for path in course) <= 40e6
