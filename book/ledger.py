"""Fill the ledger anew: run every lesson, and keep what its cells enter.

    python book/ledger.py --write

Without --write nothing is kept; the differences are printed, and the exit code is 1 where there are any.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
from nbclient import NotebookClient

from tts_utils import ledger
from tts_utils.data_folder import lab_dir
from tts_utils.store import manifest

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python book/ledger.py --write"


def entries(paths: list[Path]) -> pd.DataFrame:
    """Run notebooks that enter something, one after the other, and return what they entered."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "ledger.csv"
        os.environ[ledger.WRITING] = str(target)
        for path in paths:
            if "ledger" not in path.read_text(encoding="utf-8"):
                continue
            print(path.name, flush=True)
            notebook = nbformat.read(path, as_version=4)
            NotebookClient(
                notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}
            ).execute()
        return pd.read_csv(target) if target.exists() else pd.DataFrame(columns=ledger.COLUMNS)


def main() -> int:
    """Print what changes; with --write keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep what the lessons entered")
    write = parser.parse_args().write
    found = entries(sorted((ROOT / "notebooks").glob("[01]*.ipynb")))
    old = ledger.measured()
    both = old.merge(found, how="outer", indicator=True, on=ledger.COLUMNS)
    changed = both[both["_merge"] != "both"].rename(columns={"_merge": "side"})
    for row in changed.itertuples():
        sign = "-" if row.side == "left_only" else "+"
        interval = f"{row.estimate:+.3f} [{row.low:+.3f}, {row.high:+.3f}], n = {row.n}"
        print(f"{sign} {row.claim} | {row.case}: {interval}")
    print(f"{len(found)} entries, {len(changed)} lines changed")
    if write and len(changed):
        path = lab_dir() / ledger.MEASURED
        found.to_csv(path, index=False, float_format="%.6f")
        manifest.record_files([path], data=lab_dir(), command=COMMAND)
    return int(bool(len(changed)) and not write)


if __name__ == "__main__":
    sys.exit(main())
