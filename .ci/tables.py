"""Check that no table was rewritten without a change of its rows: the history would keep it twice.

The working tree is compared with a commit, by default the one before HEAD. Needs git and pyarrow.
"""

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def git(root: Path, *words: str) -> bytes:
    """Return what git prints."""
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True).stdout


def changed_tables(root: Path, base: str) -> list[str]:
    """Return the tables under data/ that are there now and in ``base``, with other bytes."""
    words = ["diff", "--name-only", "--diff-filter=M", "-z", base, "--", "data"]
    names = git(root, *words).decode().split("\0")
    return [name for name in names if name.endswith(".parquet")]


def same_rows(old: bytes, new: bytes) -> bool:
    """Return whether two tables hold the same rows and the same notes (configuration, sources)."""
    return unpacked(old) == unpacked(new)


def unpacked(content: bytes) -> bytes:
    """Return a table's rows and notes as bytes that do not depend on its packing; a NaN equals a NaN."""
    table = pq.read_table(io.BytesIO(content)).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def rewritten(root: Path, base: str) -> list[str]:
    """Return the tables that differ from ``base`` in their bytes only."""
    return [
        name
        for name in changed_tables(root, base)
        if same_rows(git(root, "show", f"{base}:{name}"), (root / name).read_bytes())
    ]


def main() -> None:
    """Compare with the commit named, else with the one before HEAD where there is one."""
    root = Path(__file__).resolve().parent.parent
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "HEAD^"], cwd=root, capture_output=True
    )
    base = sys.argv[1] if len(sys.argv) > 1 else "HEAD^" if known.returncode == 0 else "HEAD"
    if found := rewritten(root, base):
        sys.exit(
            f"{len(found)} tables were rewritten with the same rows, such as {found[0]}: put the old files "
            f"back (git checkout {base} -- {found[0]}), and keep new settings of packing for new tables"
        )


if __name__ == "__main__":
    main()
