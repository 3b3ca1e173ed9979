"""Count the same texts in several vocabularies, for lesson 10: ``data/report/vocabularies.csv``.

    .venv-test/bin/python book/currency.py

The texts are this project's own: problems and solutions of lab-200, what three of its policies wrote on it,
and the Markdown cells of the lessons, which have mathematics in LaTeX. Published vocabularies come from the
packages that tests/vocabularies.py names; without them the script says so.
"""

import sys
from pathlib import Path

import pandas as pd

from notebooks import ROOT, cell_source, load

sys.path.insert(0, str(ROOT))
DATASET = "lab-200"
WRITERS = ("lab-llama-l", "lab-qwen-l", "lab-long-l")
LAB = ("lab-llama-l", "lab-qwen-l")  # the two families' vocabularies
PUBLISHED = ("llama3", "qwen", "mistral")
SHORTEST = 200  # characters of a Markdown cell that is counted
TABLE = Path("report") / "vocabularies.csv"


def lab_texts(data: Path) -> dict[str, list[str]]:
    """Texts by kind, one per problem: of the problem set itself and of the policies, their first sample."""
    from tts_utils import store
    from tts_utils.problems import load_problems

    problems = load_problems(DATASET, data=data)
    texts = {"problems": [p.text for p in problems], "solutions": [p.solution for p in problems]}
    for name in WRITERS:
        first = store.read_samples(DATASET, name, n=1, data=data, config=_config(name))
        texts[f"written by {name}"] = first.sort_values("problem_id")["text"].tolist()
    return texts


def _config(policy: str):
    from tts_lab.recipe import FULL

    return FULL.sampling_of(next(spec for spec in FULL.policies if spec.name == policy))


def book_texts() -> list[str]:
    """The longer Markdown cells of the lessons."""
    cells = [
        cell_source(cell)
        for path in sorted((ROOT / "notebooks").glob("[01]*.ipynb"))
        for cell in load(path)["cells"]
        if cell["cell_type"] == "markdown"
    ]
    return [text for text in cells if len(text) >= SHORTEST]


def counted(texts: dict[str, list[str]], tokenizers: dict) -> pd.DataFrame:
    """One row per text: kind, number, characters, and its tokens in each vocabulary; no special tokens.

    A vocabulary that cannot write a text has a missing count there.
    """
    rows = []
    for kind, of_kind in texts.items():
        for number, text in enumerate(of_kind):
            tokens = {name: _tokens(tokenizer, text) for name, tokenizer in tokenizers.items()}
            rows.append({"kind": kind, "text": number, "characters": len(text)} | tokens)
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in tokenizers})


def _tokens(tokenizer, text: str) -> int | None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return len(ids) if tokenizer.decode(ids).strip() == text.strip() else None


def main() -> None:
    """Count, write, and record in the manifest."""
    from tests import vocabularies
    from tts_utils.checkpoints import find_model, load_tokenizer
    from tts_utils.data_folder import lab_dir
    from tts_utils.store import manifest

    data = lab_dir()
    tokenizers = {name: load_tokenizer(find_model(name)) for name in LAB}
    tokenizers |= {name: getattr(vocabularies, name)() for name in PUBLISHED}
    frame = counted(lab_texts(data) | {"this book": book_texts()}, tokenizers)
    manifest.replace_file(data / TABLE, frame.to_csv(index=False).encode())
    manifest.record_files([data / TABLE], data=data, command="python book/currency.py")
    known = frame.dropna(subset=list(PUBLISHED)).groupby("kind", sort=False)[list(PUBLISHED)].sum()
    print(known.div(known.min(axis=1), axis=0).round(3).to_string())


if __name__ == "__main__":
    main()
