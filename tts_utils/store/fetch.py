"""Fetch shipped data into the cache: by the manifest, resumable, every hash checked, no half-written file.

A file arrives as ``.NAME.part`` beside its place and moves there when its bytes have the hash that the
manifest of this package lists. What a killed run leaves behind is whole files, and parts that the next run
goes on with.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import re
import shutil
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import tts_utils
from tts_utils import data_folder
from tts_utils.store import manifest
from tts_utils.store.manifest import StoreError

PLACEHOLDER = "https://github.com/OWNER/REPO"
LESSONS = Path(__file__).with_name("lessons.json")
TRIES = 5  # of one file; each goes on where the one before was cut
TIMEOUT = 30.0  # seconds without a byte
PAUSE = 0.5  # seconds before the second try; before each later one about twice as long
WORKERS = 4
CHUNK = 1 << 16


class FetchError(StoreError):
    """Data could not be fetched; the message names the file or the address, and the way out."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did.

    Attributes:
        files, size: of the parts asked for, in number and bytes.
        new_files, new_size: of these, what was brought from the source.
        seconds: time it took.
    """

    files: int
    size: int
    new_files: int
    new_size: int
    seconds: float


def shipped_files() -> dict[str, dict[str, Any]]:
    """The manifest this package was built with: every shipped file by its path, with sha256 and bytes.

    Raises:
        FetchError: the package carries none.
    """
    files = manifest.load(data_folder.PACKAGED)
    if not files:
        raise FetchError(
            "this copy of tts-utils carries no manifest of the shipped data: install the wheel of a release, "
            "or work in a clone, where data/ holds everything"
        )
    return files


def lessons() -> dict[str, list[str]]:
    """The files each lesson reads, "lesson-02" -> paths; ``book/lesson_data.py`` writes the list."""
    return json.loads(LESSONS.read_text(encoding="utf-8"))


def part(name: str, files: Mapping[str, Any]) -> list[str]:
    """The files that one part means, in the manifest's order.

    Args:
        name: "lesson-02"; "course", what all lessons read together; "all"; or a word or more of a path,
            such as "lab-500", "models/lab-llama-m" or "samples/lab-500": every file whose path holds these
            words, one after the other.
        files: the manifest.

    Raises:
        FetchError: it means none.

    >>> part("lab-500", {"problems/lab-500.jsonl": {}, "samples/lab-500/m/a.parquet": {}, "report/x.csv": {}})
    ['problems/lab-500.jsonl', 'samples/lab-500/m/a.parquet']
    """
    if name == "all":
        return list(files)
    if name == "course":
        read = {path for paths in lessons().values() for path in paths}
        return [path for path in files if path in read]
    if name in lessons():
        return [path for path in lessons()[name] if path in files]
    words = tuple(name.strip("/").split("/"))
    found = [path for path in files if _holds(path, words)]
    if not found:
        raise FetchError(f"there is no part {name!r} to fetch; there are {', '.join(part_names(files))}, all")
    return found


def part_names(files: Iterable[str]) -> list[str]:
    """The parts worth naming: lessons, all of them, problem sets, models and reports."""
    sets = sorted(Path(path).stem for path in files if path.startswith("problems/"))
    return [*lessons(), "course", *sets, "models", "report"]


def _holds(path: str, words: Sequence[str]) -> bool:
    there = path.split("/")
    there = [*there[:-1], there[-1], Path(there[-1]).stem]  # "lab-500" means problems/lab-500.jsonl too
    return any(tuple(there[i : i + len(words)]) == tuple(words) for i in range(len(there)))


def is_there(name: str, entry: Mapping[str, Any], folder: Path) -> bool:
    """Whether a file lies in a folder with the bytes the manifest lists."""
    path = folder / name
    with suppress(OSError):
        return path.stat().st_size == entry["bytes"] and manifest.sha256_of(path) == entry["sha256"]
    return False


def fetch(
    names: Sequence[str], source: str = "", *, say: Callable[[str], None] = print, every: float = 5.0
) -> Fetched:
    """Bring the shipped files of some parts into the cache; what is there already is not brought again.

    Args:
        names: parts, see :func:`part`.
        source: the address or folder under which ``samples/``, ``problems/`` and the rest lie, or a
            repository on GitHub; "" means that of the environment variable ``TTS_SOURCE``, which a classroom
            may set to a copy nearby, else that of this package's metadata.
        say: where sizes and progress go.
        every: seconds between two lines of progress, at least.

    Raises:
        FetchError: a part or source is unknown, the source cannot be reached, or a file is not there, stays
            cut, or is another one than the manifest lists. Files that had arrived stay.
    """
    start = time.perf_counter()
    files = shipped_files()
    wanted = {path: files[path] for name in names for path in part(name, files)}
    folder = data_folder.cache_dir()
    with _alone(folder, say):
        manifest.replace_file(folder / manifest.NAME, (data_folder.PACKAGED / manifest.NAME).read_bytes())
        missing = {path: e for path, e in wanted.items() if not is_there(path, e, folder)}
        taken = [path for path, entry in missing.items() if _take_over(path, entry, folder)]
        missing = {path: entry for path, entry in missing.items() if path not in taken}
        size, new_size = _size(wanted), _size(missing)
        if taken:
            say(
                f"{len(taken)} files have not changed since an older version of the data, and were taken over"
            )
        if missing:
            base = base_of(source or os.environ.get("TTS_SOURCE") or public_address())
            say(f"fetching {len(missing)} files, {megabytes(new_size)}, from {base} into {folder}")
            _bring_all(missing, base, folder, say, every)
    return Fetched(len(wanted), size, len(missing), new_size, time.perf_counter() - start)


def public_address() -> str:
    """The repository's address from the package's metadata, which pyproject.toml is the source of.

    Raises:
        FetchError: the package is not published yet, or has no metadata.
    """
    try:
        urls = importlib.metadata.metadata("tts-utils").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        urls = []
    address = next((url.split(", ", 1)[1] for url in urls if url.startswith("Repository, ")), "")
    project = Path(tts_utils.__file__).resolve().parent.parent / "pyproject.toml"
    if not address and project.is_file():
        address = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    if address in ("", PLACEHOLDER):
        raise FetchError(
            "this package does not know its public address yet (project.urls in its pyproject.toml is a "
            "placeholder); name the data folder of a clone, or an address that serves one: "
            "tts fetch PART --from /path/to/clone/data"
        )
    return address


def base_of(source: str) -> str:
    """The address or folder that a file's path is added to.

    A repository on GitHub stands for its files at the tag of this version, at the branch main for a version
    that is not released (".dev").

    Raises:
        FetchError: it is no address, and no folder that holds data.
    """
    if found := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", source):
        version = tts_utils.__version__
        revision = "main" if "dev" in version else f"v{version}"
        return f"https://raw.githubusercontent.com/{found[1]}/{revision}/data"
    if re.match(r"https?://", source):
        return source.rstrip("/")
    folder = Path(source).expanduser()
    for inner in (folder / "data", folder):
        if (inner / manifest.NAME).is_file():
            return str(inner.resolve())
    raise FetchError(
        f"--from {source!r} is neither an http address nor a folder that holds a {manifest.NAME}"
    )


def megabytes(size: int) -> str:
    """A size in words.

    >>> megabytes(1_840_000), megabytes(999)
    ('1.8 MB', '1 kB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{max(1, round(size / 1e3))} kB"


def others() -> list[Path]:
    """Folders of the cache that hold the data of other versions."""
    here = data_folder.cache_dir()
    folders = here.parent.glob("*-*") if here.parent.is_dir() else []
    return sorted(p for p in folders if p != here and (p / manifest.NAME).is_file())


def _take_over(name: str, entry: Mapping[str, Any], folder: Path) -> bool:
    """Take a file that has not changed from the data of another version."""
    for other in others():
        if is_there(name, entry, other):
            part = _part_of(folder / name)
            shutil.copyfile(other / name, part)
            os.replace(part, folder / name)
            return True
    return False


@contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the one lock of fetching, where the system has locks; killing its holder frees it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".fetch", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise FetchError(
            f"cannot write in {folder} ({exc.strerror}); set TTS_CACHE to a folder of your own"
        ) from exc
    try:
        if os.name == "posix" and not manifest.flock(handle, wait=False):
            say("another process is fetching into this folder; waiting for it")
            manifest.flock(handle)
        yield
    except OSError as exc:
        raise FetchError(f"cannot write in {folder} ({exc}); is there room on the disk?") from exc
    finally:
        os.close(handle)


def _bring_all(
    missing: Mapping[str, Mapping[str, Any]],
    base: str,
    folder: Path,
    say: Callable[[str], None],
    every: float,
) -> None:
    # A model's config.json comes when the rest is there: with it a folder counts as a model.
    last = [name for name in missing if name.endswith("/config.json")]
    with ThreadPoolExecutor(WORKERS) as pool:
        for group in ([name for name in missing if name not in last], last):
            pending = {pool.submit(_bring, name, missing[name], base, folder) for name in group}
            try:
                while pending:
                    done, pending = wait(pending, timeout=every, return_when=FIRST_EXCEPTION)
                    for job in done:
                        job.result()
                    if pending:
                        arrived = megabytes(sum(_arrived(folder / name) for name in missing))
                        say(f"  {arrived} of {megabytes(_size(missing))}")
            finally:
                for job in pending:
                    job.cancel()


def _bring(name: str, entry: Mapping[str, Any], base: str, folder: Path) -> None:
    """Bring one file, whole and as the manifest lists it, or raise."""
    part = _part_of(folder / name)
    failure, mistaken = "", 0
    for attempt in range(TRIES):
        time.sleep(PAUSE * (2**attempt - 1))
        try:
            _go_on(part, name, entry["bytes"], base)
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in (404, 410):
                raise FetchError(
                    f"{base}/{name} is not there ({exc.code}): this address does not hold the data of "
                    f"version {tts_utils.__version__}; update the package, or name another source with --from"
                ) from exc
            failure = f"{exc.code} {exc.reason}"
            continue
        except FileNotFoundError as exc:
            raise FetchError(f"{exc.filename} is not there; name another source with --from") from exc
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as exc:
            failure = str(getattr(exc, "reason", exc)) or type(exc).__name__
            continue
        if (have := part.stat().st_size) < entry["bytes"]:
            failure = f"cut after {have} of {entry['bytes']} bytes"
            continue
        if manifest.sha256_of(part) == entry["sha256"]:
            os.replace(part, folder / name)
            return
        part.unlink()
        mistaken += 1
        if mistaken == 2:  # the first may have gone on with an older run's beginning of another version
            raise FetchError(
                f"{base}/{name} is not the file that this version ({tts_utils.__version__}) lists: its "
                "sha256 differs. It is of another version, or was changed on the way; update the package, or "
                "name another source with --from"
            )
    raise FetchError(
        f"could not fetch {base}/{name}: {failure}, {TRIES} times; check the network and run the same "
        "command again, which goes on from here, or fetch from a copy of the data: --from FOLDER_OR_ADDRESS"
    )


def _go_on(part: Path, name: str, size: int, base: str) -> None:
    """Add to a part what it lacks; at most one byte too many, which tells a longer file."""
    have = _size_of(part)
    if have > size:
        part.unlink()
        have = 0
    if have == size > 0:
        return
    with _open(name, base, have) as (stream, first), open(part, "ab" if first else "wb") as file:
        left = size + 1 - first
        while left > 0 and (chunk := stream.read(min(CHUNK, left))):
            file.write(chunk)
            left -= len(chunk)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _open(name: str, base: str, first: int) -> Iterator[tuple[BinaryIO, int]]:
    """A file's bytes from ``first`` on, or from 0 where the source cannot; and which of the two."""
    if not base.startswith("http"):
        with open(Path(base) / name, "rb") as file:
            file.seek(first)
            yield file, first
        return
    request = urllib.request.Request(f"{base}/{urllib.parse.quote(name)}")
    request.add_header("User-Agent", f"tts-utils/{tts_utils.__version__}")
    if first:
        request.add_header("Range", f"bytes={first}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {first}-"
        )
        yield answer, first if goes_on else 0


def _part_of(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.part")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _arrived(path: Path) -> int:
    return max(_size_of(path), _size_of(_part_of(path)))


def _size(files: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(entry["bytes"] for entry in files.values())
