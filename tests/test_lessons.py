"""The lessons have their parts in order; what their prose says of the stored tables is so; links arrive."""

import re
from pathlib import Path

import numpy as np
import pytest

import notebooks
from tests.lesson_runs import LESSONS
from tts_utils import metrics, store, voting

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "book").glob("*.md"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
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


def test_what_the_book_cites_by_number_stands_in_the_bibliography():
    page = (ROOT / "book" / "bibliography.md").read_text()
    listed = set(re.findall(r"arXiv:([\d.]+\d)\]", page))
    sources = {path.name: path.read_text() for path in [*PAGES, *notebooks.lesson_paths(ROOT)]}
    sources["claims.csv"] = (ROOT / "data" / "paper" / "claims.csv").read_text()
    lost = {
        (name, number)
        for name, text in sources.items()
        for number in re.findall(r"(?:arxiv\.org/abs/|arXiv:)(\d{4}\.\d{5})", text)
        if number not in listed
    }
    assert lost == set()


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
    source = "\n".join(path.read_text() for path in (ROOT / "tts_utils").rglob("*.py"))
    part = page.split("## Judges and their errors")[1].split('## "Beam width"')[0]
    names = {
        name for row in re.findall(r"^\|.*\|$", part, flags=re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert len(names) > 20
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


def test_the_week_s_plan_counts_the_minutes_that_the_lessons_name():
    minutes = {}
    for path in LESSONS:
        title = notebooks.cell_source(notebooks.load(path)["cells"][0])
        read, exercises = re.search(r"\*\*(\d+) minutes, and (\d+) for the exercises", title).groups()
        minutes[int(path.name[:2])] = int(read), int(exercises)
    week = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8").partition("**One week")[2]
    rows = re.findall(r"^\| \d \| ([^|]+) \| ([^|]+) \|([^|]+)\|", week.partition("**Half")[0], flags=re.M)
    assert len(rows) == 5
    for lessons, in_class, at_home in rows:
        named = [minutes[int(number)] for number in re.findall(r"\d+", lessons)]
        planned = sum(map(int, re.findall(r"\d+", in_class))), sum(map(int, at_home.split()))
        assert planned[0] <= 90
        assert sum(planned) == sum(map(sum, named)), lessons
