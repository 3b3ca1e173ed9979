"""A reader without a clone: the wheel in an empty folder, data from a local server, README's lines."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow
SOURCES = (
    "tts_utils",
    "tts_lab",
    "data/paper",
    "data/answers",
    "data/manifest.json",
    "pyproject.toml",
    "setup.py",
)
TEXTS = ("README.md", "LICENSE", "DATA_LICENSE.md", "MANIFEST.in")
CELLS = """
import builtins, json, sys
builtins.display = lambda *values: None
scope = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), scope)
"""


def readme(language: str) -> list[str]:
    """The README's blocks of a language, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


class Quiet(http.server.SimpleHTTPRequestHandler):
    sent = 0

    def copyfile(self, source, outputfile):
        Quiet.sent += os.fstat(source.fileno()).st_size
        super().copyfile(source, outputfile)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    """A local server of data/."""
    handler = functools.partial(Quiet, directory=str(ROOT / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which a wheel of this tree is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in filter(lambda name: (ROOT / name).exists(), (*SOURCES, *TEXTS)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    for words in (
        ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(tree)],
        ["install", "--quiet", "--no-deps", "--target", str(folder / "site")],
    ):
        wheels = [str(path) for path in folder.glob("*.whl")]
        done = subprocess.run([*pip, *words, *wheels], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    print(f"\nwheel: {wheel.stat().st_size} bytes")
    assert wheel.stat().st_size < 2e6
    return folder / "site"


@pytest.fixture
def run(site, address, tmp_path):
    """Run something in an empty folder, as with only the wheel installed; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TTS_", "PYTHON"))}
    environment |= {
        "PYTHONPATH": str(site),
        "PATH": f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TTS_SOURCE": address,
        "TTS_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    folder = tmp_path / "empty"
    folder.mkdir()

    def call(*command, fails=False):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    call.folder, call.environment = folder, environment
    return call


def test_nothing_fetched_and_no_network(run):
    run.environment["TTS_SOURCE"] = "http://127.0.0.1:9"
    said = run(sys.executable, "-c", readme("python")[0], fails=True)
    assert "it is shipped, and not fetched yet: tts fetch lab-500" in said
    said = run("tts", "report", "--dataset", "lab-500", fails=True)
    assert "tts fetch lab-500" in said and "Traceback" not in said
    said = run("tts", "fetch", "lesson-02", fails=True)
    assert "check the network" in said and "Traceback" not in said
    del run.environment["TTS_SOURCE"]
    assert "public address" in run("tts", "fetch", "lesson-02", fails=True)


def test_lesson_2_runs_from_what_it_lists(run):
    before, start = Quiet.sent, time.perf_counter()
    out = run("tts", "fetch", "lesson-02")
    sent, seconds = Quiet.sent - before, time.perf_counter() - start
    print(f"\ntts fetch lesson-02: {sent} bytes in {seconds:.1f} s")
    assert 0 < sent < 10e6 and f"{sent} bytes" in out
    (lesson,) = (ROOT / "notebooks").glob("02-*.ipynb")
    start = time.perf_counter()
    run(sys.executable, "-c", CELLS, str(lesson))
    print(f"lesson 2's cells: {time.perf_counter() - start:.1f} s")
    assert list(run.folder.iterdir()) == []


def test_the_readme_from_an_empty_folder(run):
    start = time.perf_counter()
    shell, python = readme("sh"), readme("python")
    for block, kind in ((shell[0], "bash"), (python[0], "python"), *((more, "bash") for more in shell[1:])):
        program = sys.executable if kind == "python" else "bash"
        out = run(program, *(["-e"] if kind == "bash" else []), "-c", block)
        print(out)
    print(f"README's lines: {time.perf_counter() - start:.1f} s, {Quiet.sent} bytes in all")
    said = run("tts", "report", "--dataset", "own.jsonl")
    assert "lab-llama-m on own.jsonl: n = 5 problems" in said
    assert re.search(r"^  beam-n16-m4, PRM-Last \+ PRM-Vote \(lab-math-shepherd\) .* n = 5 ", said, re.M)
    shutil.rmtree(run.folder / "__pycache__", ignore_errors=True)
    assert sorted(path.name for path in run.folder.iterdir()) == ["mine.py", "own.jsonl", "tts-data"]


def test_new_problems_of_the_lab_s_kinds_without_a_clone(run):
    """README's way to problems that the lab's policies can solve."""
    command = re.search(r"`python (-m tts_lab problems [^`]+)`", (ROOT / "README.md").read_text())[1]
    run(sys.executable, *command.split())
    rows = [json.loads(line) for line in (run.folder / "new.jsonl").read_text().splitlines()]
    assert len(rows) == 40 and all(row["problem"] and row["answer"] for row in rows)


def test_a_class_without_a_network(run, address, tmp_path):
    """The teacher fetches the course; a pupil's machine takes it from that folder and runs a lesson."""
    run("tts", "fetch", "course")
    stick = next(path for path in Path(run.environment["TTS_CACHE"]).iterdir() if path.is_dir())
    run.environment |= {"TTS_CACHE": str(tmp_path / "pupil"), "TTS_SOURCE": "http://127.0.0.1:9"}
    before = Quiet.sent
    assert "are there" in run("tts", "fetch", "course", "--from", str(stick))
    (lesson,) = (ROOT / "notebooks").glob("14-*.ipynb")
    run(sys.executable, "-c", CELLS, str(lesson))
    assert Quiet.sent == before


def test_two_processes_fetching_at_once_and_one_that_is_killed(run, address):
    """The first is killed in the middle; two go on from what it left, at once, and bring each file once."""
    command = ["tts", "fetch", "lab-500"]
    options = {"cwd": run.folder, "env": run.environment, "stdout": subprocess.DEVNULL}
    cache = Path(run.environment["TTS_CACHE"])
    first = subprocess.Popen(command, **options)
    while first.poll() is None and len(list(cache.rglob("*.parquet"))) < 5:
        time.sleep(0.005)
    first.kill()
    first.wait()
    before = Quiet.sent
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    size = sum(
        entry["bytes"]
        for name, entry in json.loads((ROOT / "data/manifest.json").read_text())["files"].items()
        if "lab-500" in name.replace(".jsonl", "").split("/")
    )
    print(f"\nafter the killed one: {Quiet.sent - before} of {size} bytes")
    assert Quiet.sent - before < size
    out = run("tts", "verify")
    assert "are as its manifest says" in out and not list(cache.rglob("*.part"))


def test_what_each_lesson_lists_is_what_it_reads():
    script = str(ROOT / "book" / "lesson_data.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
