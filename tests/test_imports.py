"""Runs of others: what is stored of them, what is reported as odd, and what is refused."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests import fakes
from tts_utils import cli, imports, limits, store, voting
from tts_utils.imports import files as import_files
from tts_utils.imports.json_fields import BadImport
from tts_utils.records import SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store import manifest

RIGHT, WRONG = "Add.\n\nSo \\boxed{4}.", "Add.\n\nSo \\boxed{5}."
CONFIG = SamplingConfig(temperature=1.0)
PROBLEMS = [
    "How many apples does the farmer carry to the market in 12 baskets?",
    "Find the smallest prime divisor of the polynomial discriminant 1001.",
    "A triangle with hypotenuse 17 and leg 15 has which area?",
    "Each marble in the urn is red with probability 3/8. Expected red among 40?",
]


def line(number: int = 0, **changes) -> dict:
    """A line as search-and-learn writes it: two right completions of two steps, one wrong one that is cut."""
    row = {
        "problem": f"What is 2 + 2, asked for the time {number}?",
        "answer": "4",
        "unique_id": f"test/{number}.json",
        "level": 2,
        "subject": "Prealgebra",
        "solution": "It is \\boxed{4}.",
        "completions": [RIGHT, WRONG, "Add 2 and 2.\n\nIt is", RIGHT],
        "scores": [[0.5, 0.75], [0.5, 0.875], [0.5, 0.25], [0.5, 0.75]],
        "agg_scores": [0.75, 0.875, 0.25, 0.75],
        "completion_tokens": [9, 8, 7, 6],
        "pred": WRONG,
        "pred_maj@4": "\\boxed{4}",
        "pred_naive@1": "\\boxed{4}",
        "pred_weighted@4": "\\boxed{4}",
    } | changes
    return {key: value for key, value in row.items() if value is not None}


def record(question: str, *paths, verdict: int = 1, spent: int = 900) -> dict:
    """A record as the paper's code writes it, each path given as (text, step scores).

    A mark stands behind every step, and all paths but the last say that they cost 0 tokens: the last one
    names what the whole search generated. Tokens on a path are in its history, here 4 a step and 7 the last.
    """
    output = []
    for index, (text, value) in enumerate(paths):
        steps = text.split("\n\n")
        answer = text.partition("\\boxed{")[2].partition("}")[0]
        output.append(
            {
                "path_idx": index,
                "text": "".join(f"{step} ки\n" for step in steps),
                "value": value,
                "extracted_answer": answer,
                "reward_history": value,
                "token_history": [4] * (len(steps) - 1) + [7],
                "prob_history": [0.5] * len(steps),
                "model_history": ["Some-1B-Instruct"] * len(steps),
                "completion_tokens": 0,
                "tree_completion_tokens": 0,
            }
        )
    output[-1] |= {"completion_tokens": spent, "tree_completion_tokens": spent - 100}
    return {
        "question": question,
        "groundtruth": "We add and get $\\boxed{4}.$",
        "result": {"majority_vote": verdict, "total_completion_tokens": spent},
        "output": output,
    }


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("TTS_DATA", str(folder))
    return folder


@pytest.fixture
def write(tmp_path):
    def write(*rows) -> Path:
        path = tmp_path / "run.jsonl"
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), "utf-8")
        return path

    return write


@pytest.fixture
def folder(tmp_path):
    """Ten records of one answer each for one question (so record_10 exists), and two for another."""
    for j in range(11):
        add_record(tmp_path / "records", 0, j, record("What is 2 + 2?", (RIGHT, [0.1, j / 20])))
    for j, (text, verdict) in enumerate([(WRONG, 0), (RIGHT, 1)]):
        row = record("What is 3 + 1?", (text, [0.5, 0.5]), verdict=verdict)
        add_record(tmp_path / "records", 1, j, row)
    return tmp_path / "records"


def add_record(folder: Path, question: int, number: int, *rows) -> Path:
    path = folder / f"question_{question}" / f"record_{number}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def bring(path: Path, dataset="mine", policy="their policy", prm="their prm", **more) -> imports.Imported:
    return imports.import_run(imports.read_search_and_learn(path), dataset, policy, prm, **more)


def found(done: imports.Imported) -> dict:
    return {finding.name: finding for finding in done.findings}


def cells(done: imports.Imported, *names) -> list[tuple[int, int]]:
    return [(found(done)[name].count, found(done)[name].of) for name in names]


def run(*words):
    return CliRunner().invoke(cli.app, ["import", *map(str, words)])


# --- search-and-learn ---


def test_every_field_is_stored_and_only_the_answer_is_ours(data, write):
    path = write(
        line(0), line(1, completions=["a\0\ud800"], scores=[[1.0]], agg_scores=[1.0], completion_tokens=[3])
    )
    done = bring(path, config=CONFIG, licence="Apache-2.0")
    assert done.rows == (5, 5) and done.unscored == 0
    rows = store.read_samples("mine", "their policy", n=1)
    assert rows["text"].tolist() == [RIGHT, "a\0\ud800"]
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["num_tokens"].tolist() == [9, 8, 7, 6, 3]
    assert rows["answer"].tolist() == ["4", "5", "", "4", ""]
    assert rows["correct"].tolist() == [True, False, False, True, False]
    assert set(rows["finish_reason"]) == {"unknown"}
    scores = table_files.to_frame(table_files.load(done.step_scores, data))
    assert scores["scores"].tolist()[:2] == [[0.5, 0.75], [0.5, 0.875]]
    assert set(scores["num_prm_tokens"]) == {-1}
    assert store.verify() == []
    sources = manifest.load(data)[done.samples.relative]["sources"]
    assert sources["import_sha256"] == manifest.sha256_of(path)
    assert sources["import_source"] == "search-and-learn" and sources["import_licence"] == "Apache-2.0"
    written = manifest.load(data)["problems/mine.jsonl"]
    assert written["import_file"] == "run.jsonl" and done.wrote_problems == data / "problems/mine.jsonl"
    problem = store.load_problems("mine")[0]
    assert (problem.answer, problem.level, problem.subject) == ("4", 2, "Prealgebra")


def test_votes_over_the_pool_by_hand(data, write):
    """4 twice (0.75 + 0.75), 5 once (0.875), nothing once: majority and vote say 4, the maximum says 5."""
    done = bring(write(line(0), line(1)))
    accuracy = done.voted[done.voted["grouping"] == "equivalence"].set_index("rule")["accuracy"]
    assert accuracy[["majority_vote", "prm_last_max", "prm_last_vote", "prm_min_max"]].tolist() == [
        1,
        0,
        1,
        1,
    ]
    assert cells(done, "right by our grader", "completions without a final answer") == [(4, 8), (2, 8)]
    assert cells(done, "pred is the completion of highest last-step score") == [(2, 2)]
    names = ("pred is not our prm_max", "pred_maj@4 is not our majority", "pred_naive@1 is not our prm_max")
    assert cells(done, *names) == [(0, 2)] * 3


def test_a_prediction_that_is_not_ours_is_told(data, write):
    done = bring(write(line(0, **{"pred_maj@4": "\\boxed{5}"}), line(1)))
    finding = found(done)["pred_maj@4 is not our majority"]
    assert (finding.count, finding.where) == (1, ("test/0.json",))
    assert "right: 1 of 2" in finding.note and "by our choice 2" in finding.note


def test_oddities_are_counted_and_listed(data, write):
    same, deep = "Same text as elsewhere.", "x\n\n" * 41
    scores = [[0.5, 1], [0.5, 1], [0.5, 1], [0.0] * 41]
    absent = {"completion_tokens": None, "agg_scores": None, "pred": None}
    done = bring(
        write(
            line(0, completion_tokens=[0, None, 7, 6]),
            line(1, completions=[RIGHT, "", same, deep], scores=scores, **absent),
            line(2, completions=[same], scores=[[0.2]], agg_scores=[0.2], completion_tokens=[4]),
        )
    )
    assert cells(done, "token counts of 0 for a text", "token counts missing") == [(1, 9), (5, 9)]
    assert cells(done, "exact duplicate completions", "empty completions") == [(1, 9), (1, 9)]
    assert cells(done, "completions of more than 40 steps") == [(1, 9)]
    assert found(done)["same completion under several problems"].where == (
        "test/0.json #0", "test/0.json #3", "test/1.json #0", "test/1.json #2", "test/2.json #0",
    )  # fmt: skip
    assert found(done)["step scores that are all exactly 0"].where == ("test/1.json #3",)
    assert found(done)["step scores that do not fit the steps"].where == (
        "test/1.json #1: 2 scores for 0 steps", "test/1.json #2: 2 scores for 1 steps",
    )  # fmt: skip
    assert found(done)["problems with fewer completions than others"].where == ("test/2.json",)
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["num_tokens"].tolist() == [-1, -1, 7, 6, -1, -1, -1, -1, 4]


def test_a_pool_of_an_imported_run_claims_no_tokens_that_its_file_does_not_state(data, write):
    scores = [[0.5, 0.9], [0.1, 0.9], [0.5, 0.2], [0.5, 0.9]]
    bring(write(line(0, scores=scores), line(1, scores=scores)), config=SamplingConfig())
    pool = store.read_pool("mine", "their policy", "their prm")
    assert pool.num_tokens.tolist() == [[9, 8, 7, 6]] * 2 and pool.num_prm_tokens is None
    absent = {"completion_tokens": [9, 8, None, 6]}
    bring(write(line(0, scores=scores), line(1, scores=scores, **absent)), config=CONFIG)
    assert store.read_pool("mine", "their policy", "their prm", config=CONFIG).num_tokens is None


def test_ties_at_the_top(data, write):
    scores = [[0.5, 0.9], [0.1, 0.9], [0.5, 0.2], [0.5, 0.9]]
    done = bring(write(line(0, scores=scores, agg_scores=None), line(1)))
    finding = found(done)["top last-step score tied"]
    assert (finding.count, finding.of, finding.where) == (1, 2, ("test/0.json",))
    assert "different texts in 1, different answers in 1" in finding.note


def test_scores_that_do_not_fit_are_left_out_never_mended_and_block_nothing(data, write):
    """Such a completion is read with the others, has no scores and casts no vote."""
    scores = [[0.5], [0.5, float("nan")], [0.5, 0.6, 0.7], [0.5, 0.75]]
    done = bring(write(line(0, scores=scores, agg_scores=None, pred=None)))
    assert done.rows == (4, 4) and done.unscored == 3
    rows = table_files.to_frame(table_files.load(done.step_scores, data))
    assert rows["scores"].tolist() == [[], [], [], [0.5, 0.75]]
    assert found(done)["step scores that do not fit the steps"].where == (
        "test/0.json #0: 1 scores for 2 steps",
        "test/0.json #1: a score outside [0, 1]",
        "test/0.json #2: 3 scores for 2 steps",
    )
    pool = store.read_pool("mine", "their policy", "their prm", config=done.samples.sampling)
    assert pool.scores.tolist() == [[voting.NO_SCORE] * 3 + [0.75]]
    assert voting.select(pool.answer_ids, pool.scores, "prm_vote").tolist() == [3]


def test_scores_of_blank_pieces_fold_into_their_steps(data, write):
    """search-and-learn cuts at every blank line, and scores what lies between two of them as well."""
    texts = ["Add.\n\n\n\nSo \\boxed{4}", "\n\nAdd.\n\nSo \\boxed{4}\n\n", "Add.\n\nSo \\boxed{5}", "\n\n"]
    scores = [[0.9, 0.8, 0.7], [0.1, 0.6, 0.5, 0.2], [0.5, 0.4], [0.3, 0.2]]
    done = bring(write(line(0, completions=texts, scores=scores, agg_scores=[0.7, 0.2, 0.4, 0.2], pred=None)))
    assert done.rows == (4, 4) and done.unscored == 0
    rows = table_files.to_frame(table_files.load(done.step_scores, data))
    assert rows["scores"].tolist() == [[0.9, 0.7], [0.6, 0.5], [0.5, 0.4], [0.2]]
    finding = found(done)["step scores with blank pieces folded in"]
    assert finding.where == ("test/0.json #0", "test/0.json #1", "test/0.json #3")
    pool = store.read_pool("mine", "their policy", "their prm", config=done.samples.sampling)
    assert pool.scores[0, 0] == 0.7


def test_chat_markup_is_a_finding_that_stays_with_the_run(data, write):
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    texts = [header + RIGHT, WRONG + "<|im_end|>", RIGHT, RIGHT + " a < b, <b>4</b>"]
    scores = [[0.1, 0.5, 0.75], [0.5, 0.875], [0.5, 0.25], [0.5, 0.75]]
    done = bring(
        write(line(0, completions=texts, scores=scores), line(1)), config=SamplingConfig(), licence="MIT"
    )
    finding = found(done)["completions holding chat markup"]
    assert finding.where == ("test/0.json #0", "test/0.json #1") and "nothing else in 1" in finding.note
    result = CliRunner().invoke(cli.app, ["report", "--dataset", "mine"])
    assert "completions holding chat markup: 2 of 8" in result.stdout
    assert "right by our grader" not in result.stdout  # no fault
    assert "same completion under several problems" in result.stdout and store.verify(data) == []


def test_a_run_that_mostly_does_not_fit_is_refused_unless_accepted(data, write):
    rows = [line(i, problem=t, completions=[f"{t} \\boxed{{4}}"] * 4) for i, t in enumerate(PROBLEMS)]
    texts = [row["completions"] for row in rows]
    for row, other in zip(rows, texts[1:] + texts[:1], strict=True):
        row["completions"] = other
    path = write(*rows)
    words = ["search-and-learn", path, "--policy", "p", "--prm", "q", "--dataset", "mine"]
    refused = run(*words)
    assert refused.exit_code == 2
    assert "16 of 16 completions do not fit" in refused.stderr and "--accept" in refused.stderr
    assert not list(data.rglob("*.*"))
    assert run(*words, "--accept").exit_code == 0


def test_what_an_import_lacks_is_reported_without_a_command_that_cannot_help(data, write):
    def report() -> str:
        result = CliRunner().invoke(cli.app, ["report", "--dataset", "mine"])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    config = {"config": SamplingConfig()}
    absent = {"agg_scores": None, "pred": None}
    scores = [[0.5, 0.75], [0.5], [0.5, 0.25], [0.5, 0.75]]
    rows = [line(0), line(1, scores=scores, **absent)]
    done = bring(write(*rows), **config)
    out = report()
    assert "PRM-Last + PRM-Vote (their prm)" in out and "answers without a score (their prm)" in out
    assert "step scores that do not fit the steps: 1 of 8" in out
    store.fill_step_scores(done.samples, fakes.FakePRM(), limit=1)
    assert "PRM scores (fake-prm): incomplete, 1 of 2 problems; fill them with: tts score" in report()

    rows[1] |= {"completions": [RIGHT] * 2, "scores": scores[:1] * 2, "completion_tokens": [1] * 2}
    bring(write(*rows), policy="ragged", **config)
    assert "samples: incomplete, 1 of 2 problems; imported: cannot be filled; take n <= 2" in report()
    assert store.read_pool("mine", "ragged", "their prm", n=2).correct.shape == (2, 2)
    with pytest.raises(store.PoolTooSmall, match=r"take n <= 4; .*imported: cannot be filled$"):
        store.read_samples("mine", "ragged", n=5)
    with pytest.raises(store.PoolTooSmall, match=r"imported: cannot be filled$"):
        store.read_step_scores("mine", "their policy", "fake-prm", n=5)


def test_completions_of_another_problem_are_noticed(data, write):
    rows = [line(i, problem=t, completions=[f"{t} \\boxed{{4}}"] * 4) for i, t in enumerate(PROBLEMS)]
    assert cells(bring(write(*rows)), "completions that do not fit their problem") == [(0, 16)]
    rows[1]["completions"] = [rows[1]["completions"][0], *rows[2]["completions"][:3]]
    done = bring(write(*rows), policy="other")
    assert found(done)["completions that do not fit their problem"].where == tuple(
        f"test/1.json #{i} (fits test/2.json)" for i in (1, 2, 3)
    )


def test_the_same_file_again_changes_nothing_and_another_one_is_refused(data, write):
    done = bring(write(line(0)))
    before = {p.name: p.read_bytes() for p in data.rglob("*.parquet")}
    again = bring(write(line(0)))
    assert again.wrote_problems is None and again.rows == done.rows
    assert {p.name: p.read_bytes() for p in data.rglob("*.parquet")} == before
    with pytest.raises(store.StoreError, match="import_sha256"):
        bring(write(line(0, completion_tokens=[1, 1, 1, 1])))


def test_a_stored_problem_set_is_used_and_must_agree(data, write):
    bring(write(line(0), line(1)))
    part = bring(write(line(1)), policy="part")
    assert part.wrote_problems is None
    assert cells(part, "problems of the set that the file does not cover") == [(1, 2)]
    with pytest.raises(BadImport, match=r"line 1: problem 'test/0.json' is a different problem.*What is 9"):
        bring(write(line(0, problem="What is 9?")), policy="third")
    with pytest.raises(BadImport, match=r"line 2: the answer of problem 'test/1.json' is '6' here, '4'"):
        bring(write(line(0), line(1, answer="6")), policy="third")
    with pytest.raises(BadImport, match=r"no problem 'test/7\.json'"):
        bring(write(line(7)), policy="third")
    with pytest.raises(BadImport, match="must not pass for it"):
        bring(write(line(0)), dataset="MATH-500")
    with pytest.raises(BadImport, match="--prm"):
        bring(write(line(0)), prm="")


def test_rows_are_not_mixed_with_sampled_ones(data, write):
    done = bring(write(line(0)))
    other = store.Table("samples", "mine", "live", done.samples.sampling)
    table_files.append(other, table_files.load(done.samples, data).to_pylist(), data, sources={})
    with pytest.raises(BadImport, match="were not imported; choose another --policy"):
        bring(write(line(0)), policy="live")


def test_a_live_model_adds_nothing_to_an_imported_table(data, write):
    """The PRM of the file has scored all but one completion; a live one of that name is another model."""
    scores = [[0.5], [0.5, 0.875], [0.5, 0.25], [0.5, 0.75]]
    done = bring(write(line(0, scores=scores, agg_scores=None)), prm="fake-prm")
    before = done.step_scores.path(data).read_bytes()
    sources = table_files.sources(done.step_scores, data)
    revision = f"imported {sources['import_sha256'][:12]}"
    assert sources["prm_revision"] == sources["policy_revision"] == revision
    assert "prm_revision" not in table_files.sources(done.samples, data)
    for revision in ("", "0123456789abcdef"):
        prm, policy = fakes.FakePRM(), fakes.FakePolicy(name="their policy")
        prm.revision = policy.revision = revision
        with pytest.raises(store.ForeignTable, match=r"prm_revision is imported .* --prm name"):
            store.fill_step_scores(done.samples, prm)
        with pytest.raises(store.ForeignTable, match=r"policy_revision is imported .* --policy"):
            store.fill_samples("mine", policy, 8, done.samples.sampling)
    assert done.step_scores.path(data).read_bytes() == before
    prm.name = "mine"
    assert store.fill_step_scores(done.samples, prm).added == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "line 1: not JSON"),
        ([line(0), json.dumps(line(1))[:-9]], "line 2: not JSON.*cut off"),
        (["[1]"], "line 1: a JSON object is wanted, got list"),
        ([{"prompt": "x", "answer": "4"}], "completions is missing; the fields there are answer, prompt"),
        ([line(0, answer=None)], "line 1: field answer is missing"),
        ([line(0, answer=" ")], "line 1: field answer is empty"),
        ([line(0, unique_id=None)], "line 1: field unique_id is missing"),
        ([line(0, completions=[])], "line 1: field completions is empty"),
        ([line(0, completions=[1])], "must hold strings, got 1"),
        ([line(0, scores=[[0.5]])], "line 1: 1 values in field scores for 4 completions"),
        ([line(0, scores=[["a"]] * 4)], "field scores: a list of numbers is wanted"),
        ([line(0, completion_tokens=[1.5] * 4)], "a number of tokens is wanted, got 1.5"),
        ([line(0, level="hard")], "line 1: field level must be"),
        ([line(0), line(0)], "line 2: unique_id 'test/0.json' stands for the same problem in .*line 1"),
        ([line(0), line(0, problem="Another?")], "line 2: .* stands for a different problem in .*line 1"),
        ([], "holds no line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_exit_code_2(data, write, rows, message):
    path = write(*rows)
    with pytest.raises(BadImport, match=message):
        imports.read_search_and_learn(path)
    result = run("search-and-learn", path, "--policy", "p", "--prm", "q", "--dataset", "d")
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.startswith("tts: ")
    assert list(data.iterdir()) == []


LONG = "x" * 1_000_001


@pytest.mark.parametrize(
    "changes",
    [{"completions": [RIGHT, LONG, RIGHT, RIGHT]}, {"answer": LONG}, {"problem": LONG}, {"pred": LONG}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_text_beyond_the_limit_is_refused_with_the_limit(write, changes):
    with pytest.raises(BadImport, match=rf"line 1: field {next(iter(changes))} .*limit of 1,000,000"):
        imports.read_search_and_learn(write(line(0, **changes)))


def test_a_record_beyond_the_limit_is_refused_with_the_limit(tmp_path):
    add_record(tmp_path / "records", 0, 0, record("What is 2 + 2?", (LONG, [0.5])))
    with pytest.raises(BadImport, match=r"output 0: field text has .*limit of 1,000,000"):
        imports.read_records(tmp_path / "records")


def test_a_line_and_a_file_beyond_the_limit_are_refused_before_they_are_read(write, monkeypatch):
    path = write(line(0), line(1))
    monkeypatch.setattr(limits, "MAX_LINE", 100)
    with pytest.raises(BadImport, match=r"line 1: more than the limit of 100 characters a line"):
        imports.read_search_and_learn(path)
    monkeypatch.setattr(limits, "MAX_FILE", 100)
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail("it was opened"))
    with pytest.raises(BadImport, match=r"bytes, more than the limit of 100; split the file"):
        imports.read_search_and_learn(path)


# --- record files ---


def test_records_are_pooled_in_numerical_order_and_voted(data, folder):
    done = imports.import_run(imports.read_records(folder), "theirs", "policy", "prm")
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["problem_id"].value_counts().to_dict() == {"question_0": 11, "question_1": 2}
    scores = table_files.to_frame(table_files.load(done.step_scores, data))
    assert [s[-1] for s in scores["scores"]][:11] == [j / 20 for j in range(11)]
    assert set(rows["num_tokens"]) == {11} and done.unscored == 0
    finding = found(done)["records' own majority_vote right"]
    assert (finding.count, finding.of) == (12, 13) and "single answer" in finding.note
    accuracy = done.voted[done.voted["grouping"] == "string"].set_index("rule")["accuracy"]
    assert accuracy["majority_vote"] == 0.5  # not 12/13: question_1 ties, and the first seen is wrong
    assert found(done)["problems with fewer completions than others"].where == ("question_1",)
    assert len(store.read_samples("theirs", "policy", n=2)) == 4


def test_a_record_keeps_its_steps_its_scores_and_the_tokens_of_each_path(data, tmp_path):
    long = "Take 2.\n\nAdd\n  2 to it.\n\nSo \\boxed{4}."
    row = record("What is 2 + 2?", (RIGHT, [0.5, 0.75]), (long, [0.25, 0.5, 0.625]), spent=1308)
    add_record(tmp_path / "records", 0, 0, row)
    add_record(tmp_path / "records", 0, 1, record("What is 2 + 2?", (WRONG, [0.5, 0.125]), spent=92))
    done = imports.import_run(imports.read_records(tmp_path / "records"), "theirs", "policy", "prm")
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["text"].tolist() == [RIGHT, long, WRONG]
    assert rows["num_tokens"].tolist() == [11, 15, 11]
    scores = table_files.to_frame(table_files.load(done.step_scores, data))
    assert scores["scores"].tolist() == [[0.5, 0.75], [0.25, 0.5, 0.625], [0.5, 0.125]]
    assert done.unscored == 0 and "prm_last_vote" in set(done.voted["rule"])
    spend = found(done)["problems that say what all their searches spent"]
    assert (spend.count, spend.of) == (1, 1)
    assert spend.note.startswith("1,400 tokens generated, 1,400 a problem; 37 on the paths")
    assert cells(done, "step marks turned into blank lines") == [(3, 3)]


def test_a_groundtruth_without_an_answer_is_none_and_the_named_sets_gold_wins(data, tmp_path):
    row = record("What is 2 + 2?", (RIGHT, [0.5, 0.75])) | {
        "groundtruth": "Two and two give $2+2 = 4$, of course."
    }
    add_record(tmp_path / "records", 0, 0, row)
    run_of = imports.read_records(tmp_path / "records")
    with pytest.raises(BadImport, match=r"question_0: its groundtruth states no answer.*--dataset"):
        imports.import_run(run_of, "theirs", "policy", "prm")
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({"problem": "What is 2 + 2?", "answer": "4", "problem_id": "a"}) + "\n")
    done = imports.import_run(run_of, str(path), "policy", "prm")
    assert cells(done, "right by our grader") == [(1, 1)]
    row["groundtruth"] = " 4 "  # an answer as it stands
    add_record(tmp_path / "records", 0, 0, row)
    imports.import_run(imports.read_records(tmp_path / "records"), "theirs", "policy", "prm")


def test_steps_that_blank_lines_do_not_part_are_unfit_even_where_their_number_agrees(data, tmp_path):
    """A step that is blank and one that holds a blank line: three marked steps, and three by blank lines."""
    row = record("What is 2 + 2?", (RIGHT, [0.5, 0.75]), (RIGHT, [0.5, 0.25, 0.75]))
    row["output"][1]["text"] = " ки\nTake 2.\n\nAdd 2. ки\nSo \\boxed{4}. ки\n"
    add_record(tmp_path / "records", 0, 0, row)
    done = imports.import_run(imports.read_records(tmp_path / "records"), "theirs", "policy", "prm")
    where = found(done)["step scores that do not fit the steps"].where
    assert where == ("question_0 #1: a step holds a blank line",) and done.unscored == 1


def test_what_a_record_does_not_say_stays_unknown(data, tmp_path):
    """A text without marks (CoT) is stored to the byte; the spend of a search is no path's token count."""
    row = record("What is 2 + 2?", (RIGHT, [0.5, 0.75]), (RIGHT, [0.5, 0.75]))
    row["output"][0] |= {"text": f"\n{RIGHT} ки"}
    del row["output"][0]["token_history"], row["output"][0]["completion_tokens"]
    add_record(tmp_path / "records", 0, 0, row)
    done = imports.import_run(imports.read_records(tmp_path / "records"), "theirs", "policy", "prm")
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["text"].tolist() == [f"\n{RIGHT} ки", RIGHT] and rows["num_tokens"].tolist() == [-1, 11]
    assert cells(
        done,
        "token counts missing",
        "problems that say what all their searches spent",
        "step marks turned into blank lines",
    ) == [(1, 2), (0, 1), (1, 2)]


def test_several_answers_in_a_record_and_no_scores(data, tmp_path):
    row = record("What is 2 + 2?", (WRONG, None), (RIGHT, None), (RIGHT, None))
    add_record(tmp_path / "records", 0, 0, row)
    done = imports.import_run(imports.read_records(tmp_path / "records"), "theirs", "policy")
    assert done.step_scores is None and done.rows == (3, 0)
    assert set(done.voted["rule"]) == {"majority_vote"} and done.voted["accuracy"].tolist() == [1, 1]
    assert cells(done, "completions without step scores", "right by string match") == [(3, 3), (2, 3)]


def test_records_take_the_ids_of_a_stored_set_by_their_text(data, folder):
    problems = [("a", "What is 3 + 1?", "4"), ("b", "What is 2 + 2?", "4")]
    (data / "problems").mkdir()
    (data / "problems/theirs.jsonl").write_text(
        "".join(json.dumps({"id": i, "problem": p, "answer": a}) + "\n" for i, p, a in problems), "utf-8"
    )
    done = imports.import_run(imports.read_records(folder), "theirs", "policy", "prm")
    assert done.wrote_problems is None
    rows = table_files.to_frame(table_files.load(done.samples, data))
    assert rows["problem_id"].value_counts().to_dict() == {"b": 11, "a": 2}


def test_records_that_cannot_be_read(data, folder, tmp_path):
    def refused(match):
        with pytest.raises(BadImport, match=match):
            imports.read_records(folder)

    with pytest.raises(BadImport, match=r"holds no question_<i>/record_<j>\.jsonl"):
        imports.read_records(tmp_path)
    broken = add_record(folder, 1, 2, record("Another question?", (RIGHT, [0.5, 0.5])))
    refused(r"question_1/record_2\.jsonl, line 1: its question or groundtruth differs")
    broken.write_text("", "utf-8")
    refused(r"record_2\.jsonl holds no completion")
    broken.write_text('{"question": "What is 3 + 1?"', "utf-8")
    refused(r"record_2\.jsonl, line 1: not JSON")
    broken.write_text(json.dumps({"question": "What is 3 + 1?", "groundtruth": "4"}), "utf-8")
    refused("field output is missing")
    add_record(folder, 1, 2, record("What is 3 + 1?", (RIGHT, ["x"])))
    refused("output 0, field value: a list of numbers")
    row = record("What is 3 + 1?", (RIGHT, [0.5, 0.5]))
    row["output"][0]["token_history"] = [4, "7"]
    add_record(folder, 1, 2, row)
    refused("output 0, field token_history: a number of tokens is wanted, got '7'")
    result = run("records", folder, "--policy", "p", "--dataset", "d")
    assert result.exit_code == 2 and "field token_history" in result.stderr


def test_the_commands_print_what_was_done_and_found(data, write, folder):
    options = ("--policy", "beam", "--prm", "their prm", "--dataset")
    result = run("search-and-learn", write(line(0), line(1)), *options, "mine", "--temperature", "0.8")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "2, written to" in result.stdout and "8 rows in samples/mine/beam/t0.8-" in result.stdout
    assert "assumed" not in result.stdout and "majority_vote    100.0 [" in result.stdout
    result = run("records", folder, *options, "theirs")
    assert result.exit_code == 0 and "temperature 0.7 and" in result.stdout
    assert "records' own majority_vote right" in result.stdout and "n = 2" in result.stdout
    report = CliRunner().invoke(cli.app, ["report", "--dataset", "mine"])
    assert report.exit_code == 0 and "majority@4" in report.stdout, report.output


def test_the_source_is_named_by_its_content(folder, tmp_path):
    before = imports.read_records(folder)
    assert imports.read_records(folder).sha256 == before.sha256 and before.source == import_files.RECORDS
    add_record(folder, 1, 2, record("What is 3 + 1?", (RIGHT, [0.5, 0.5])))
    assert imports.read_records(folder).sha256 != before.sha256


def test_a_hostile_id_reaches_neither_the_terminal_nor_a_path(data, write, tmp_path):
    path = write(line(0, unique_id="/../../x"))
    result = run("search-and-learn", path, "--policy", "../../p", "--prm", "q", "--dataset", "d")
    assert result.exit_code == 0, (result.output, result.exception)
    rows = store.read_samples("d", "../../p", config=imports.ASSUMED["search-and-learn"])
    assert set(rows["problem_id"]) == {"/../../x"}
    assert {p.name for p in tmp_path.iterdir()} == {"data", "run.jsonl"}
    result = run("search-and-learn", path, "--policy", "p", "--prm", "q", "--dataset", "../d")
    assert result.exit_code == 2
    name = "\x1b]0;attacked\x07\ud800"
    for row in ({name: 1}, line(0, unique_id=name), line(0, problem=None)):
        result = run("search-and-learn", write(row), "--policy", "p", "--prm", "q", "--dataset", "d")
        assert result.exit_code == 2 and "line 1: field" in result.stderr and "\x1b" not in result.stderr


# --- a real file ---

REAL = Path(os.environ.get("TTS_REAL_FILES", "nowhere")) / "search_and_learn_beam_llama3.2-3b_n16_q100.jsonl"


@pytest.mark.skipif(
    not REAL.exists(), reason="set TTS_REAL_FILES to the folder with the search-and-learn file"
)
def test_a_real_file(data):
    pytest.importorskip("math_verify")
    done = bring(REAL, dataset="math-100", licence="Apache-2.0")
    assert done.rows == (1600, 1600) and done.unscored == 2
    assert cells(
        done,
        "pred is the completion of highest last-step score",
        "top last-step score tied",
        "token counts of 0 for a text",
        "exact duplicate completions",
        "step scores that do not fit the steps",
        "completions that do not fit their problem",
        "agg_scores that are not the step scores' 'last'",
        "right by string match",
        "right by string match, wrong by our grader",
    ) == [
        (100, 100),
        (81, 100),
        (1600, 1600),
        (597, 1600),
        (2, 1600),
        (0, 1600),
        (0, 1600),
        (875, 1600),
        (0, 1600),
    ]
    assert found(done)["exact duplicate completions"].note.startswith("10.03 of 16 distinct")
    assert found(done)["right by our grader"].count >= 875
    pool = store.read_pool("math-100", "their policy", "their prm", config=done.samples.sampling)
    assert pool.correct.shape == (100, 16)
