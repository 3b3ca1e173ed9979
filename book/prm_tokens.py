"""Write lesson 3's table of tokens: one solution in each PRM format, on the lab's and on real vocabularies.

    .venv-test/bin/python book/prm_tokens.py

The book itself needs no tokenizer: the table stands in a cell of the lesson. The real vocabularies come from
the packages that tests/vocabularies.py names; without them the script says so.
"""

import sys
from pathlib import Path

from notebooks import ROOT, cell_source, dump, load, set_cell_source

sys.path.insert(0, str(ROOT))
LESSON = ROOT / "notebooks" / "03-what-does-a-reward-model-see.ipynb"
CELL = "03-token-table"
PROBLEM, SAMPLE = "lab-500/022", 2
LAB = {
    "math-shepherd": "lab-math-shepherd",
    "rlhflow": "lab-rlhflow-terse",
    "skywork": "lab-skywork-l",
    "qwen-math-prm": "lab-qwen-prm-l",
}
REAL = {"math-shepherd": "mistral", "rlhflow": "llama3", "skywork": "qwen", "qwen-math-prm": "qwen"}
HEAD = """\
# Written by book/prm_tokens.py: tokens, parted by "¦"; «2» before one: the score of step 2 is read there.
def tokens(text):
    pairs = [re.fullmatch(r"(?:«(\\d)»)?(.*)", piece).groups() for piece in text.split("¦")]
    return [(word, step and int(step)) for step, word in pairs]


TOKENS = {"""


def spelled(tokenizer, ids: list[int], positions: list[int]) -> list:
    """Tokens as text; one at which a score is read is a pair of text and number of the step."""
    steps = {position: step for step, position in enumerate(positions, start=1)}
    pieces = [tokenizer.decode([i], skip_special_tokens=False) for i in ids]
    words = tokenizer.convert_ids_to_tokens(ids)
    pieces = [
        " " + piece.lstrip() if word.startswith("▁") else piece
        for piece, word in zip(pieces, words, strict=True)
    ]
    return [(piece, steps.get(at)) for at, piece in enumerate(pieces)]


def written(tokenizer, steps: tuple[str, ...]) -> list:
    """A policy's own text; a token in which a step ends is a pair of text and number of the step."""
    text, ends, total = "".join(steps), [], 0
    for step in steps:
        total += len(step)
        ends.append(total)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = []
    for low, high in found["offset_mapping"]:
        inside = [n for n, end in enumerate(ends, start=1) if low < end <= high]
        tokens.append((text[low:high], inside[0] if inside else None))
    return tokens


def table(real: bool = True) -> dict:
    """The tokens by vocabulary ("lab", "real") and format; "text" is the policy's own."""
    from tts_utils import mdp, store
    from tts_utils.checkpoints import find_model, load_tokenizer
    from tts_utils.prms.formats import load_format
    from tts_utils.problems import load_problems

    problem = next(p for p in load_problems("lab-500") if p.problem_id == PROBLEM)
    samples = store.read_samples("lab-500", "lab-llama-m")
    text = samples[(samples["problem_id"] == PROBLEM) & (samples["sample"] == SAMPLE)]["text"].item()
    state = mdp.state_of(problem, text)
    tokenizer = load_tokenizer(find_model("lab-llama-m"))
    found: dict = {"lab": {"text": written(tokenizer, state.steps)}}
    for name, prm in LAB.items():
        form = load_format(find_model(prm))
        found["lab"][name] = spelled(form.tokenizer, *form.encode(state))
    if real:
        found["real"] = _on_real_vocabularies(state)
    return found


def _on_real_vocabularies(state) -> dict:
    from tests import vocabularies
    from tests.test_prompts import CHATML, LLAMA3
    from tts_utils.prms.formats import FORMATS

    # the date that Llama 3.1's template writes, which the RLHFlow models were trained with
    llama = LLAMA3.replace("Today Date: {{ date_string }}", "Today Date: 26 Jul 2024")
    found = {"text": written(vocabularies.llama3(), state.steps)}
    for name, vocabulary in REAL.items():
        tokenizer = getattr(vocabularies, vocabulary)()
        tokenizer.chat_template = llama if vocabulary == "llama3" else CHATML
        found[name] = spelled(tokenizer, *FORMATS[name](tokenizer).encode(state))
    return found


def cell_text(found: dict) -> str:
    """The source of the lesson's cell."""
    lines = [HEAD]
    for vocabulary, formats in found.items():
        lines.append(f'    "{vocabulary}": {{')
        for name, tokens in formats.items():
            marked = [f"«{step}»{word}" if step else word for word, step in tokens]
            text = "¦".join(marked).replace("\n", "↵")
            lines.append(f'        "{name}": tokens(')
            lines += [f'            r"{text[at : at + 80]}"' for at in range(0, len(text), 80)]
            lines.append("        ),")
        lines.append("    },")
    return "\n".join([*lines, "}"])


def main() -> None:
    """Write the cell."""
    notebook = load(Path(LESSON))
    (cell,) = [cell for cell in notebook["cells"] if cell["id"] == CELL]
    text = cell_text(table())
    if text != cell_source(cell):
        set_cell_source(cell, text)
        LESSON.write_text(dump(notebook), encoding="utf-8")
        print(f"{LESSON.name}: {CELL} written")


if __name__ == "__main__":
    main()
