"""Share one's own tables through a data set repository on the Hugging Face Hub: one's GPU hours serve others.

A repository holds tables at the paths they have in a data directory, and a manifest of their hashes. What
comes from there is data of strangers: only tables are taken, each at the place its own configuration names
and with the bytes that the manifest lists; nothing in it is run.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tts_utils.store import files as table_files
from tts_utils.store import manifest
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import table_of

KINDS = ("samples", "step_scores", "step_labels", "searches")
LARGEST = 4 << 30
"""Bytes of a single file at most."""

SHARED = ("sha256", "bytes", "code_version", "date", "seconds", "sources")
"""What is told of a table. Machine and command stay at home."""


class Hub(Protocol):
    """The three calls that sharing makes; ``huggingface_hub.HfApi`` has them."""

    def create_repo(self, repo_id: str, *, repo_type: str, exist_ok: bool) -> Any: ...

    def upload_folder(
        self, *, repo_id: str, repo_type: str, folder_path: str, commit_message: str
    ) -> Any: ...

    def snapshot_download(
        self,
        repo_id: str,
        *,
        repo_type: str,
        local_dir: str,
        allow_patterns: Sequence[str],
        revision: str | None,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What sharing did: the tables that went or came, and those that were there already."""

    tables: tuple[str, ...]
    same: tuple[str, ...] = ()


def hub() -> Hub:
    """The Hub itself; its library reads the access token where the user has put it.

    Raises:
        StoreError: ``huggingface_hub`` is not installed.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as exc:
        raise StoreError("sharing needs huggingface_hub: pip install huggingface_hub") from exc
    return huggingface_hub.HfApi()


def push(
    repo: str,
    parts: Sequence[str] = (),
    *,
    data: Path,
    to: Hub | None = None,
    say: Callable[[str], None] = print,
) -> Shared:
    """Upload tables of a data directory, each checked against its hash first.

    Args:
        repo: the data set repository, "name/of-it"; made where it is not there.
        parts: words of a path, such as "MATH-500" or "samples"; tables whose path has all of them; none: all.
        data: the data directory.
        to: the Hub.
        say: receives the sizes before anything is sent.

    Raises:
        StoreError: there is no such table, or one is damaged; or the Hub refuses (its message is passed on).
    """
    entries = {
        name: entry
        for name, entry in manifest.load(data).items()
        if name.split("/")[0] in KINDS and all(part in name.split("/") for part in parts)
    }
    if not entries:
        raise StoreError(f"no table in {data} has {' and '.join(parts) or 'been filled'} in its path")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, entry in entries.items():
            _checked(data / path, path, entry)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / path, folder / path)
        told = {path: {k: v for k, v in entry.items() if k in SHARED} for path, entry in entries.items()}
        content = {"version": 1, "files": told}
        (folder / manifest.NAME).write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        say(f"{len(entries)} tables, {sum(e['bytes'] for e in entries.values()) / 1e6:.1f} MB, to {repo}")
        with _hub_errors(repo):
            api = to or hub()
            api.create_repo(repo, repo_type="dataset", exist_ok=True)
            message = f"{len(entries)} tables of tts_utils"
            api.upload_folder(
                repo_id=repo, repo_type="dataset", folder_path=str(folder), commit_message=message
            )
    return Shared(tuple(entries))


def pull(
    repo: str,
    *,
    data: Path,
    revision: str | None = None,
    replace: bool = False,
    source: Hub | None = None,
    say: Callable[[str], None] = print,
) -> Shared:
    """Download the tables of a repository into a data directory; all of them are checked before any is used.

    Args:
        repo: the data set repository.
        data: where they go.
        revision: a branch, tag or commit; None is the newest.
        replace: whether a table of one's own with other rows gives way.
        source: the Hub.
        say: receives what came.

    Raises:
        StoreError: a file that is no table, lies at another place than its configuration names, is larger
            than allowed or not what the repository's manifest lists; or one's own table would be replaced.
            Nothing is taken then.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _hub_errors(repo):
            (source or hub()).snapshot_download(
                repo,
                repo_type="dataset",
                local_dir=str(folder),
                allow_patterns=[manifest.NAME, *(f"{kind}/**" for kind in KINDS)],
                revision=revision,
            )
        entries = manifest.load(folder)
        if not entries:
            raise StoreError(f"{repo} holds no {manifest.NAME}: it was not made by tts push")
        for path, entry in entries.items():
            _check_place(repo, folder, path, entry)
        same = tuple(path for path, entry in entries.items() if _is_same(data / path, entry))
        new = [path for path in entries if path not in same]
        taken = [path for path in new if (data / path).exists()]
        if taken and not replace:
            raise StoreError(
                f"{len(taken)} tables of your own have other rows than {repo}, {taken[0]} among them; "
                "nothing was taken: move them away, or let them be replaced (--replace)"
            )
        with manifest.locked(data):
            noted = manifest.load(data)
            for path, entry in entries.items():
                if path in same and "next_sha256" not in noted.get(path, {"next_sha256": ""}):
                    continue  # else it came, and that run was killed before it was noted
                told = {key: entry[key] for key in SHARED if key in entry}
                content = (folder / path).read_bytes()
                manifest.put(data, path, content, **told | {"command": f"tts pull {repo}"})
    say(f"{len(new)} tables came from {repo}, {len(same)} were there already")
    return Shared(tuple(new), same)


def _check_place(repo: str, folder: Path, path: str, entry: Any) -> None:
    parts = path.split("/")
    plain = parts[0] in KINDS and path.endswith(".parquet") and not {"", ".", ".."} & set(parts)
    if not plain or "\\" in path:
        raise StoreError(f"{repo} lists {path!r}, which is no place of a table; nothing was taken")
    if not (folder / path).is_file() or (folder / path).is_symlink():
        raise StoreError(f"{repo} lists {path} and does not hold it; nothing was taken")
    _checked(folder / path, path, entry)
    file = table_files.check_file(folder / path)
    belongs = table_of(json.loads(file.schema_arrow.metadata[b"tts.config"])).relative
    if belongs != path:
        raise StoreError(f"{repo}: {path} holds the table that belongs at {belongs}; nothing was taken")


def _checked(file: Path, path: str, entry: Any) -> None:
    size = file.stat().st_size if file.is_file() else -1
    if size > LARGEST:
        raise StoreError(f"{path} has {size:,} bytes, more than the {LARGEST:,} allowed; nothing was shared")
    if (
        not isinstance(entry, dict)
        or size != entry.get("bytes")
        or manifest.sha256_of(file) != entry["sha256"]
    ):
        raise StoreError(f"{path} is not what its manifest lists (size or sha256 differ); nothing was shared")


def _is_same(file: Path, entry: dict[str, Any]) -> bool:
    return file.is_file() and manifest.sha256_of(file) == entry["sha256"]


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Around calls of the Hub: whatever its library raises becomes one sentence."""
    try:
        yield
    except StoreError:
        raise
    except Exception as exc:
        raise StoreError(f"the Hub refused {repo}: {exc}") from exc
