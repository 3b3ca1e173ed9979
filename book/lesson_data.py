"""List the shipped files that each lesson reads, for ``tts fetch lesson-NN``; with --check say what is old.

The lessons' cells are run, and what they open under the data directory is noted. Needs what the lessons need.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from notebooks import ROOT, lesson_paths

LESSONS = ROOT / "tts_utils" / "store" / "lessons.json"
# Runs in a process of its own, in a lesson's folder; argv: the notebook, the data folder, the list to write.
RUN = """
import builtins, json, os, sys
notebook, data, target = sys.argv[1:]
opened = set()
def note(event, args):
    if event == "open" and isinstance(args[0], (str, os.PathLike)):
        path = os.path.realpath(os.fspath(args[0]))
        if path.startswith(data + os.sep):
            opened.add(path[len(data) + 1:].replace(os.sep, "/"))
builtins.display = lambda *values: None
cells = json.load(open(notebook, encoding="utf-8"))["cells"]
sys.addaudithook(note)
scope = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        try:
            exec(compile("".join(cell["source"]), cell["id"], "exec"), scope)
        except Exception:
            if "raises-exception" not in cell["metadata"].get("tags", ()):
                raise
json.dump(sorted(opened), open(target, "w"))
"""


def files_read(notebook: Path) -> list[str]:
    """Return the shipped files that a lesson opens, relative to data/: those that the manifest lists."""
    data = ROOT / "data"
    listed = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["files"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "opened.json"
        command = [sys.executable, "-c", RUN, str(notebook), str(data), str(target)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=notebook.parent, env=environment, stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"{notebook.name} does not run: its message is above")
        return [name for name in json.loads(target.read_text()) if name in listed]


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="such as 02; all without one")
    parser.add_argument("--write", action="store_true", help="bring the list up to date")
    options = parser.parse_args()
    known = json.loads(LESSONS.read_text(encoding="utf-8")) if LESSONS.exists() else {}
    found = {
        f"lesson-{path.name[:2]}": files_read(path)
        for path in lesson_paths()
        if not options.lessons or path.name[:2] in options.lessons
    }
    wanted = {**(known if options.lessons else {}), **found}
    if wanted == known:
        return
    if not options.write:
        sys.exit("The list of what the lessons read is old: python book/lesson_data.py --write")
    LESSONS.write_text(json.dumps(dict(sorted(wanted.items())), indent=1) + "\n", encoding="utf-8")
    print(f"{LESSONS.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
