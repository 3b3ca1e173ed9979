"""Empty the book's execution cache when what the notebooks read has changed.

The cache knows a notebook by its code alone; a new table, a change in the package or another library would
go unseen.
"""

import hashlib
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def main() -> None:
    """Compare the cache's stamp with the fingerprint; empty the cache and stamp it anew when they differ."""
    stamp, wanted = CACHE.with_suffix(".stamp"), fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)
    print("Tables, package or libraries changed since the last build: all notebooks run again.")


if __name__ == "__main__":
    main()
