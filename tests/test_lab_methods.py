"""The table of searches that the paper has not: what it holds, against the searches and the pool."""

import pytest

from tests import fakes
from tts_lab import methods
from tts_utils import store
from tts_utils.records import SamplingConfig
from tts_utils.search import run
from tts_utils.tree_search import TreeSearch
from tts_utils.voting import select

CONFIG = SamplingConfig(max_tokens=300)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "BUDGETS", (4, 8))
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems/lab-200.jsonl").write_text(fakes.as_jsonl(fakes.problems(5)), encoding="utf-8")
    store.fill_samples("lab-200", fakes.Repeating(), 16, CONFIG, data=tmp_path)
    samples = store.find_table("samples", "lab-200", "fake-policy", config=CONFIG, data=tmp_path)
    store.fill_step_scores(samples, fakes.FakePRM(), data=tmp_path)
    return tmp_path


def test_every_method_is_there_with_what_it_reached_and_cost(data):
    policy, prm = fakes.StepPolicy(), fakes.FakePRM()
    methods.fill(policy, prm, CONFIG, data, log=lambda line: None)
    frame = methods.outcomes("fake-policy", "fake-prm", CONFIG, data=data)
    names = ["majority", "best_of_n", "particles", "beam, every 2", "beam, every 3", "beam, every 40"]
    assert list(dict.fromkeys(frame["method"])) == names and len(frame) == 2 * 6 * 5
    found = run([TreeSearch("particles", 8)(p) for p in fakes.problems(5)], policy, prm, CONFIG)
    rows = frame[(frame["method"] == "particles") & (frame["budget"] == 8)].set_index("problem_id")
    for result in found:
        row = rows.loc[result.problem_id]
        assert row["prm_tokens"] == result.num_prm_tokens
        ids = [[int(c.answer) for c in result.completions]]
        best = select(ids, [[s.scores[-1] for s in result.step_scores]], "prm_vote")[0]
        assert row["right"] == result.completions[best].correct


def test_a_pool_is_cut_into_blocks_and_equal_texts_are_read_once(data):
    pool = store.read_pool("lab-200", "fake-policy", "fake-prm", config=CONFIG, data=data)
    frame = methods.outcomes("fake-policy", "fake-prm", CONFIG, data=data)
    rows = frame[(frame["method"] == "best_of_n") & (frame["budget"] == 8)].set_index("problem_id")
    for i, problem_id in enumerate(pool.problem_ids):
        right = []
        for block in (slice(0, 8), slice(8, 16)):
            best = select(pool.answer_ids[i : i + 1, block], pool.scores[i : i + 1, block], "prm_vote")[0]
            right.append(pool.correct[i, block][best])
        assert rows.loc[problem_id, "right"] == sum(right) / 2
        # Two different texts in all, one token a character: their lengths, not those of eight samples.
        assert rows.loc[problem_id, "prm_tokens"] == pool.num_prm_tokens[i, :2].sum()
    votes = frame[(frame["method"] == "majority")]
    assert (votes["prm_tokens"] == 0).all() and (votes["policy_tokens"] > 0).all()


def test_what_was_written_is_read(data):
    frame = methods.outcomes("fake-policy", "fake-prm", CONFIG, data=data)
    methods.write(frame, data)
    again = methods.read(data)
    assert again.astype(frame.dtypes.to_dict()).equals(frame)
