"""Check that the lessons' notebooks are clean sources, or clean them with ``--fix``.

Clean: no outputs, execution counts or widget state; a readable cell id, unique in the book, starting with the
lesson's number; little metadata; JSON laid out as Jupyter lays it out. Standard library only.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TAGS = {"remove-cell", "hide-input", "hide-output", "remove-input", "remove-output", "raises-exception"}
CELL_KEYS = {"markdown": {"cell_type", "id", "metadata", "source"}}
CELL_KEYS["code"] = CELL_KEYS["markdown"] | {"execution_count", "outputs"}
CELL_ID = re.compile(r"\d\d-[a-z][a-z0-9]*(-[a-z0-9]+)*")


def lesson_paths(root: Path = ROOT) -> list[Path]:
    """Return the notebooks of the book, in order."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def load(path: Path) -> dict:
    """Read a notebook; a file that is not one is refused by name."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4 or not notebook["cells"]:
            raise ValueError(f"nbformat {notebook['nbformat']}, {len(notebook['cells'])} cells")
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: not a notebook of format 4 with cells ({error})") from error
    return notebook


def dump(notebook: dict) -> str:
    """Return a notebook's text, laid out as Jupyter lays it out."""
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def cell_source(cell: dict) -> str:
    """Return a cell's text."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def set_cell_source(cell: dict, text: str) -> None:
    """Replace a cell's text, as a list of lines."""
    cell["source"] = text.splitlines(keepends=True)


def cleaned(notebook: dict) -> dict:
    """Return a copy of the notebook without outputs, counts, widget state and foreign metadata; ids stay."""
    cells = []
    for cell in notebook["cells"]:
        cell = {key: value for key, value in cell.items() if key in CELL_KEYS.get(cell["cell_type"], cell)}
        cell["metadata"] = {key: cell["metadata"][key] for key in ("tags",) if cell["metadata"].get(key)}
        set_cell_source(cell, cell_source(cell))
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        cells.append(cell)
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def cell_problems(cell: dict, number: str) -> list[str]:
    """Say what is wrong with one cell of the notebook whose name starts with ``number`` ("01")."""
    found = []
    kind, name = cell["cell_type"], cell.get("id")
    if kind not in CELL_KEYS:
        found.append(f"is of type {kind}; use markdown or code")
    if not name:
        found.append("has no id")
    elif not CELL_ID.fullmatch(name) or looks_random(name) or len(name) > 64:
        found.append(f"has the unreadable id {name!r}; write one such as '{number}-predict-next-state'")
    elif not name.startswith(f"{number}-"):
        found.append(f"has the id {name!r}, which does not start with the lesson's number {number}")
    if cell.get("outputs"):
        found.append("has outputs")
    if cell.get("execution_count") is not None:
        found.append("has an execution count")
    if extra := set(cell["metadata"]) - {"tags"}:
        found.append(f"has metadata {sorted(extra)}")
    if unknown := set(cell["metadata"].get("tags", ())) - TAGS:
        found.append(f"has tags {sorted(unknown)}, which the book does not know ({', '.join(sorted(TAGS))})")
    if not cell_source(cell).strip():
        found.append("is empty")
    return found


def looks_random(name: str) -> bool:
    """Tell ids made by a program (hexadecimal digits after the lesson's number) from words.

    >>> looks_random("01-3f9c2a7b"), looks_random("01-a1b2c3d4-e5f6"), looks_random("01-pass-at-k")
    (True, True, False)
    """
    return any(re.fullmatch(r"[0-9a-f]{8,}", part) and re.search(r"\d", part) for part in name.split("-"))


def notebook_problems(path: Path) -> list[str]:
    """Say everything that is wrong with one notebook, one line each."""
    notebook, number = load(path), path.name[:2]
    found = []
    if not re.fullmatch(r"\d\d-[a-z0-9-]+\.ipynb", path.name):
        found.append(
            f"{path.name}: name it for its question after two digits, such as 03-how-good-is-a-step.ipynb"
        )
    for position, cell in enumerate(notebook["cells"]):
        where = f"{path.name}: cell {position} ({cell.get('id', 'no id')})"
        found += [f"{where} {problem}" for problem in cell_problems(cell, number)]
    if "widgets" in notebook["metadata"]:
        found.append(f"{path.name}: has widget state")
    if notebook["metadata"] != METADATA or notebook.get("nbformat_minor") != 5:
        found.append(f"{path.name}: its metadata differ from the book's (format 4.5, {METADATA})")
    if path.read_text(encoding="utf-8") != dump(cleaned(notebook)):
        found.append(f"{path.name}: not in the plain form that `make format` writes")
    return found


def book_problems(paths: list[Path]) -> list[str]:
    """Say everything that is wrong with the notebooks together: each on its own, and ids used twice."""
    ids = Counter(cell.get("id") for path in paths for cell in load(path)["cells"])
    return [problem for path in paths for problem in notebook_problems(path)] + [
        f"the cell id {name!r} is used {times} times in the book"
        for name, times in ids.items()
        if name and times > 1
    ]


def folded_code(cell: dict) -> list[str]:
    """Return the Python blocks inside the <details> of a Markdown cell: the hints' and solutions' code."""
    folds = re.findall(r"<details\b.*?</details>", cell_source(cell), flags=re.DOTALL)
    return [
        code
        for fold in folds
        for code in re.findall(r"^```python\n(.*?)^```", fold, flags=re.DOTALL | re.MULTILINE)
    ]


def main() -> None:
    """Check or fix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true", help="strip and lay out; ids are for a person to write")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    options = parser.parse_args()
    paths = options.notebooks or lesson_paths()
    if options.fix:
        for path in paths:
            text = dump(cleaned(load(path)))
            if text != path.read_text(encoding="utf-8"):
                path.write_text(text, encoding="utf-8")
                print(f"{path.name}: cleaned")
    found = book_problems(paths)
    print("\n".join(found), file=sys.stderr)
    if found:
        sys.exit(f"{len(found)} problems in the notebooks; `make format` mends what a program can.")


if __name__ == "__main__":
    main()
