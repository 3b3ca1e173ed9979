"""The lessons' exercises: the check takes the folded solution and turns down typical wrong answers."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import notebooks
from tts_utils import mdp, metrics, store, voting
from tts_utils.store import Pool

ROOT = Path(__file__).resolve().parent.parent
FIRST = ROOT / "notebooks" / "01-reasoning-as-a-decision-process.ipynb"
SECOND = ROOT / "notebooks" / "02-does-sampling-more-help.ipynb"
pytestmark = pytest.mark.skipif(not FIRST.exists(), reason="the lessons are still drafts")
PAGES = sorted((ROOT / "book").glob("*.md"))


def tiny_pool() -> Pool:
    """Three problems of four samples, enough for a check to draw on."""
    ids = np.array([[0, 0, 1, 1], [0, 1, 1, -1], [0, 0, 0, 0]])
    return Pool(
        problem_ids=("p0", "p1", "p2"),
        answers=np.array([["5", "5", "6", "6"], ["1", "2", "2", ""], ["9"] * 4], dtype=object),
        answer_ids=ids,
        correct=ids == 0,
        num_tokens=np.full(ids.shape, 10),
        scores=np.array([[0.9, 0.8, 0.1, 0.2], [0.7, 0.1, 0.2, 0.3], [0.5, 0.5, 0.5, 0.5]]),
    )


def namespace(path: Path) -> dict:
    """What the exercises of a lesson use of the cells above them, made small."""
    if path == FIRST:
        texts = ["2 * 3 = 6\n\nso 6", "2 * 3 = 6\n\nso 6", "2 * 3 = 5\n\nso 5"]
        return {"mdp": mdp, "pool": pd.DataFrame({"text": texts, "correct": [True, True, False]})}

    def chosen_right(pool, rule):
        return pool.correct[np.arange(3), voting.select(pool.answer_ids, pool.scores, rule)]

    golds = {"p0": "5", "p1": "1", "p2": "9"}
    problems = {name: type("P", (), {"answer": gold}) for name, gold in golds.items()}
    return {
        "np": np,
        "voting": voting,
        "small": tiny_pool(),
        "replace": replace,
        "chosen_right": chosen_right,
        "num_problems": 3,
        "problems": problems,
    }


def exercise(path: Path, name: str) -> tuple[dict, str, str]:
    """Run one exercise's cell; returns its namespace, what the stub printed, and the solution."""
    cells = {cell["id"]: cell for cell in notebooks.load(path)["cells"]}
    number = path.name[:2]
    scope = namespace(path)
    output = io.StringIO()
    with redirect_stdout(output):
        exec(notebooks.cell_source(cells[f"{number}-exercise-{name}"]), scope)
    (solution,) = notebooks.folded_code(cells[f"{number}-solution-{name}"])
    return scope, output.getvalue(), solution


def sums_of_slices(rollouts):
    """The unweighted mean over next steps."""
    values = [np.mean([r for s, r in rollouts if s == step]) for step in {s for s, _ in rollouts}]
    return float(np.mean(values))


def power_without_scaling(answers, scores, p):
    totals = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer:
            totals[answer] = totals.get(answer, 0.0) + score**p
    return max(totals, key=totals.get)


def power_with_empties(answers, scores, p):
    totals = {}
    for answer, score in zip(answers, scores, strict=True):
        totals[answer] = totals.get(answer, 0.0) + (score / max(scores)) ** p
    return max(totals, key=totals.get)


def shuffled_in_place(scores, rng):
    rng.permuted(scores, axis=1, out=scores)
    return scores


def value_of_text(prefix, texts, correct):
    ends = [c for t, c in zip(texts, correct, strict=True) if t.startswith("".join(prefix))]
    return (sum(ends) / len(ends), len(ends)) if ends else (None, 0)


def value_with_zero(prefix, texts, correct):
    ends = [c for t, c in zip(texts, correct, strict=True) if mdp.split_steps(t)[: len(prefix)] == prefix]
    return sum(ends) / max(len(ends), 1), len(ends)


# (lesson, exercise, check, wrong answer, part of what the check says of it)
WRONG = {
    "slip, from 0": (
        FIRST,
        "slip",
        lambda v: v.index(False) if False in v else None,
        "Count from 1",
    ),
    "slip, the last one": (
        FIRST,
        "slip",
        lambda v: max((i + 1 for i, right in enumerate(v) if not right), default=None),
        "Count from 1",
    ),
    "slip, 0 for none": (FIRST, "slip", lambda v: v.index(False) + 1 if False in v else 0, "return None"),
    "slip, after a right step only": (
        FIRST,
        "slip",
        lambda v: (
            1 if v == [False] else next((i + 1 for i in range(1, len(v)) if v[i - 1] and not v[i]), None)
        ),
        "wrong first step",
    ),
    "value, compared as text": (FIRST, "value", value_of_text, "compare text"),
    "value, 0 without rollouts": (FIRST, "value", value_with_zero, "No completion has"),
    "value, all completions counted": (
        FIRST,
        "value",
        lambda prefix, texts, correct: (sum(correct) / len(correct), len(correct)),
        "you counted 5",
    ),
    "expected value, unweighted": (FIRST, "bellman", sums_of_slices, "weigh each step"),
    "expected value, not divided": (
        FIRST,
        "bellman",
        lambda rollouts: sum(r for _, r in rollouts),
        "weighted mean is 3",
    ),
    "scores, PRM-Max picks 5": (SECOND, "scores", [0.9, 0.1, 0.1, 0.5, 0.5, 0.8], "PRM-Max picks 5"),
    "scores, PRM-Vote picks 7": (SECOND, "scores", [0.1, 0.1, 0.1, 0.2, 0.2, 0.9], "PRM-Vote picks 7"),
    "scores, above 1": (SECOND, "scores", [0.1, 0.1, 0.1, 0.6, 0.6, 2.0], "between 0 and 1"),
    "shuffled, in place": (SECOND, "shuffle", shuffled_in_place, "work on a copy"),
    "shuffled, one order for all": (
        SECOND,
        "shuffle",
        lambda scores, rng: scores[:, rng.permutation(scores.shape[1])],
        "same order",
    ),
    "shuffled, across problems": (
        SECOND,
        "shuffle",
        lambda scores, rng: rng.permutation(scores.ravel()).reshape(scores.shape),
        "between problems",
    ),
    "shuffled, not at all": (SECOND, "shuffle", lambda scores, rng: scores.copy(), "Nothing was shuffled"),
    "power, empties win": (SECOND, "power", power_with_empties, "must never win"),
    "power, underflow": (SECOND, "power", power_without_scaling, "largest"),
    "power, p ignored": (
        SECOND,
        "power",
        lambda answers, scores, p: voting.prm_vote(answers, scores),
        "majority voting",
    ),
}
CHECKS = {
    "slip": "check_slip",
    "value": "check_value",
    "bellman": "check_expected_value",
    "scores": "check_scores",
    "shuffle": "check_shuffled",
    "power": "check_power_vote",
}
EXERCISES = [(path, name) for path, name in dict.fromkeys((path, name) for path, name, *_ in WRONG.values())]


@pytest.mark.parametrize(("path", "name"), EXERCISES, ids=lambda value: getattr(value, "stem", value))
def test_the_stub_says_not_done_and_the_solution_passes(path, name):
    scope, printed, solution = exercise(path, name)
    assert printed.startswith("Not done yet")
    output = io.StringIO()
    with redirect_stdout(output):
        exec(solution, scope)
    assert "Right" in output.getvalue()


@pytest.mark.parametrize("case", WRONG)
def test_a_typical_wrong_answer_is_turned_down_with_the_reason(case):
    path, name, answer, message = WRONG[case]
    scope, _, _ = exercise(path, name)
    output = io.StringIO()
    with redirect_stdout(output), pytest.raises(AssertionError, match=message):
        scope[CHECKS[name]](answer)
    assert "Right" not in output.getvalue()


@pytest.mark.parametrize("path", [FIRST, SECOND], ids=lambda path: path.stem)
def test_every_exercise_of_a_lesson_is_tried_here(path):
    cells = [cell["id"] for cell in notebooks.load(path)["cells"] if cell["cell_type"] == "code"]
    names = {name.split("-exercise-")[1] for name in cells if "-exercise-" in name}
    assert names == {name for lesson, name in EXERCISES if lesson == path}


@pytest.mark.parametrize("path", [FIRST, SECOND], ids=lambda path: path.stem)
def test_a_lesson_has_its_parts_in_order(path):
    text = "\n".join(notebooks.cell_source(cell) for cell in notebooks.load(path)["cells"])
    parts = ["> **Predict.**", "> **Break it.**", "## Exercises", "## Summary", "## Ours and the paper's"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert len(re.findall(r"^- ", text[places[3] : places[4]], flags=re.M)) == 3, (
        "a summary has three bullets"
    )
    assert "minutes" in text.split("\n## ")[0], "the title cell says how long it takes"


# --- what the lessons' prose says of the stored tables


@pytest.fixture(scope="module", params=["lab-llama-m", "lab-llama-l"])
def stored(request):
    """Samples, greedy samples and step labels of one policy on lab-500."""
    samples = store.read_samples("lab-500", request.param)
    greedy = store.read_samples("lab-500", request.param, greedy=True)
    labels = store.read_step_labels("lab-500", request.param)["labels"]
    return samples, greedy, labels


def test_the_pools_have_the_size_the_prose_names(stored):
    samples, greedy, _ = stored
    assert (samples["problem_id"].nunique(), len(samples), len(greedy)) == (500, 500 * 64, 500)


def test_a_solution_with_a_slip_hardly_ever_ends_right(stored):
    samples, _, labels = stored
    sound = np.array([all(verdicts) for verdicts in labels])
    assert samples["correct"].to_numpy()[~sound].mean() < 0.03
    assert samples["correct"].to_numpy()[sound].mean() > 0.99


def test_one_greedy_answer_is_right_more_often_than_one_draw(stored):
    samples, greedy, _ = stored
    a = greedy.groupby("problem_id")["correct"].mean()
    b = samples.groupby("problem_id")["correct"].mean()
    assert metrics.paired_difference(a, b, np.random.default_rng(0)).low > 0


def test_the_problem_of_lesson_1_has_a_block_that_is_blue_and_crossed():
    samples = store.read_samples("lab-500", "lab-llama-m")
    labels = store.read_step_labels("lab-500", "lab-llama-m")
    here = samples["problem_id"] == "lab-500/278"
    walks = samples[here].assign(labels=labels["labels"][here])
    slip_at_first = walks["labels"].map(lambda verdicts: not verdicts[0])
    assert slip_at_first.sum() >= 10
    assert 0 < walks[slip_at_first]["correct"].sum() < slip_at_first.sum() / 2
    cancelled = walks[slip_at_first & walks["correct"]]["text"]
    assert all("58 * 5 = 280" in text and "18 * 7 = 136" in text for text in cancelled)


# --- pages


def slug(heading: str) -> str:
    """The anchor of a heading, as on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_every_link_into_the_bibliography_and_the_notation_arrives():
    anchors = {
        page.name: {slug(line.lstrip("#")) for line in page.read_text().splitlines() if line.startswith("#")}
        for page in PAGES
    }
    sources = {page: page.read_text() for page in PAGES}
    for path in notebooks.lesson_paths(ROOT):
        sources[path] = "\n".join(notebooks.cell_source(cell) for cell in notebooks.load(path)["cells"])
    lost = [
        (path.name, target)
        for path, text in sources.items()
        for page, target in re.findall(r"\]\((?:\.\./book/)?([\w-]+\.md)#([\w-]+)\)", text)
        if target not in anchors[page]
    ]
    assert lost == []


def test_the_bibliography_and_the_bibtex_file_list_the_same_works():
    page = (ROOT / "book" / "bibliography.md").read_text()
    bibtex = (ROOT / "book" / "references.bib").read_text()
    headings = re.findall(r"^### (.+)$", page, flags=re.M)
    keys = re.findall(r"^@\w+\{(\w+),", bibtex, flags=re.M)
    assert [
        re.sub(r" (et al\.|and \w+)", "", heading).replace(" ", "").lower() for heading in headings
    ] == keys
    assert re.findall(r"arXiv:([\d.]+)\]", page) == re.findall(r"eprint = \{([\d.]+)\}", bibtex)


def test_the_notation_page_names_what_the_code_calls_things():
    page = (ROOT / "book" / "notation.md").read_text()
    for name in (*voting.AGGREGATIONS, *voting.SELECTIONS):
        assert f"`{name}`" in page
