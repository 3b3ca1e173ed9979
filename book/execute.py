"""Run the notebooks that have changed, one on each core, into the cache that the book is built from.

Sphinx would run them one after another. The cache knows a notebook by its code alone; a new table, a change
in the package or another library would go unseen, so it is emptied when one of those has changed.
"""

import hashlib
import logging
import shutil
from pathlib import Path

import yaml

from notebooks import ROOT, lesson_paths

INPUTS = ("tts_utils/**/*.py", "tts_lab/**/*.py", "data/**/*", "constraints.txt", "requirements.txt")
CACHE = ROOT / "book" / "_build" / ".jupyter_cache"


def fingerprint(root: Path = ROOT) -> str:
    """Hash names and contents of everything the notebooks' output depends on besides the notebooks."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in INPUTS for path in root.glob(pattern) if path.is_file()}):
        if path.name.startswith("."):  # the data folder's lock
            continue
        total.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


def empty_if_stale() -> None:
    """Compare the cache's stamp with the fingerprint; empty the cache and stamp it anew when they differ."""
    stamp, wanted = CACHE.with_suffix(".stamp"), fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)
    print("Tables, package or libraries changed since the last build: all notebooks run again.")


def notebooks() -> list[Path]:
    """The book's notebooks, the largest first: the last one to end is then a short one."""
    return sorted(lesson_paths(), key=lambda path: -path.stat().st_size)


def run(paths: list[Path], timeout: int) -> None:
    """Run the notebooks that the cache does not hold; one that fails is left to the build, to say why."""
    from jupyter_cache import get_cache
    from jupyter_cache.executors import load_executor

    cache = get_cache(CACHE)
    names = [cache.add_nb_to_project(str(path)).uri for path in paths]
    quiet = logging.getLogger("book.execute")
    quiet.setLevel(logging.CRITICAL)
    load_executor("local-parallel", cache, logger=quiet).run_and_cache(filter_uris=names, timeout=timeout)


def main() -> None:
    """Empty the cache where it is stale, and fill it."""
    empty_if_stale()
    config = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))
    run(notebooks(), config["execute"]["timeout"])


if __name__ == "__main__":
    main()
