"""The Math-Shepherd adapter against a one-sequence-at-a-time reading of the format's definition."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.tiny import grouped_model, problem, tiny_prm, tokenizer  # noqa: E402
from tts_utils.lean import Lean  # noqa: E402
from tts_utils.prms import load_prm  # noqa: E402
from tts_utils.prms.formats import MathShepherdFormat, math_shepherd_text  # noqa: E402
from tts_utils.prms.transformers import TransformersPRM  # noqa: E402
from tts_utils.protocols import TOO_LONG, BadScores, check_scores  # noqa: E402
from tts_utils.records import State, StepScores  # noqa: E402

STEPS = ("12 + 30 = 42.\n\n", "Sum: 42 + 7 = 49.\n\n", "The answer is \\boxed{49}.")


def trajectory(i: int) -> State:
    return State(problem(i), tuple(STEPS[(i + k) % 3] for k in range(1 + i % 7)))


def reference(prm, state: State) -> list[float]:
    """Question, steps and tags as text; the softmax of the whole vocabulary's "+" and "-" at each tag."""
    text = state.problem.text + " " + "".join(f"{s.strip()} ки\n" for s in state.steps)
    ids = prm.format.tokenizer(text, return_tensors="pt")["input_ids"]
    logits = prm.model(ids).logits[0]
    pair = logits[:, list(prm.format.labels)].softmax(-1)[:, 0]
    return pair[ids[0] == prm.format.tag].tolist()


@pytest.mark.parametrize("batch_tokens", [1, 200, 20_000])
def test_scores_equal_the_reference_at_every_batch_size(batch_tokens):
    prm = tiny_prm(batch_tokens)
    states = [trajectory(i) for i in range(40)]
    for state, result in zip(states, prm.score(states), strict=True):
        assert result.scores == pytest.approx(reference(prm, state), abs=1e-5)
        assert len(result.scores) == len(state.steps)
        assert result.num_tokens == len(prm.format.tokenizer(math_shepherd_text(state))["input_ids"])


def test_the_score_of_a_step_is_the_last_score_of_its_prefix():
    prm = tiny_prm()
    (whole,) = prm.score([State(problem(), STEPS)])
    prefixes = prm.score([State(problem(), STEPS[:k]) for k in (1, 2, 3)])
    assert whole.scores == pytest.approx([p.scores[-1] for p in prefixes], abs=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_a_model_with_grouped_heads_is_read_as_it_is(fused, monkeypatch):
    monkeypatch.setattr("tts_utils.lean.Lean", lambda model: Lean(model, fused=fused))
    prm = TransformersPRM("grouped", grouped_model(), MathShepherdFormat(tokenizer()), 100)
    states = [trajectory(i) for i in range(20)]
    for call in (states[:7], states):
        for state, result in zip(call, prm.score(call), strict=True):
            assert result.scores == pytest.approx(reference(prm, state), abs=1e-6)
    assert prm._reader._lean() is not None


def test_the_memory_of_a_prm_is_an_option_of_its_loader():
    prm = load_prm("lab-skywork-s", "cpu", cache_bytes=0)
    state = State(problem(), STEPS)
    for _ in range(2):
        (result,) = prm.score([state])
    assert prm.tokens_run == 2 * result.num_tokens


def test_a_tag_in_the_policys_text_or_the_question_earns_no_score():
    prm = tiny_prm()
    (result,) = prm.score([State(problem(), ("12 ки + ки\n30 = 42. ки\n\n", "ки\n\n"))])
    assert len(result.scores) == 2


def test_no_steps_no_scores_and_no_call():
    assert tiny_prm().score([State(problem())]) == [StepScores((), 0)]
    assert tiny_prm().score([]) == []


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ((0.5,), "1 scores for 2 steps"),
        ((0.5, float("nan")), "step 1 has the score nan"),
        ((0.5, 1.5), "1.5"),
    ],
)
def test_bad_scores_name_the_trajectory(scores, message):
    with pytest.raises(BadScores, match=message) as caught:
        check_scores([State(problem(), STEPS[:2])], [StepScores(scores, 9)])
    assert "'p0'" in str(caught.value)


def test_only_a_trajectory_that_is_said_to_be_too_long_may_lack_scores():
    state = State(problem(), STEPS[:2])
    check_scores([state], [TOO_LONG])
    with pytest.raises(BadScores, match="0 scores for 2 steps"):
        check_scores([state], [StepScores((), 0)])
    with pytest.raises(BadScores, match=r"2 scores of a trajectory that is said to be too long .*'p0'"):
        check_scores([state], [StepScores((0.5, 0.5), 9, too_long=True)])


@pytest.mark.parametrize("batch_tokens", [1, 20_000])
def test_what_is_too_long_is_said_and_its_company_is_scored(batch_tokens):
    prm, states = tiny_prm(batch_tokens), [trajectory(i) for i in (3, 0, 6)]
    whole = prm.score(states)
    lengths = [result.num_tokens for result in whole]
    assert lengths[1] < lengths[0] < lengths[2]
    for limit in (lengths[0], lengths[0] - 1):  # just enough for the first one, and just too little
        prm.model.config.max_position_embeddings = limit
        for result, expected in zip(prm.score(states), whole, strict=True):
            fits = expected.num_tokens <= limit
            assert result.too_long is not fits and (fits or result == TOO_LONG)
            assert not fits or result.scores == pytest.approx(expected.scores, abs=1e-5)


def test_a_missing_result_is_an_error():
    with pytest.raises(BadScores, match="given 1 trajectories and returned 0"):
        check_scores([State(problem(), STEPS)], [])


def test_a_folder_of_another_format_is_refused(tmp_path):
    folder = tmp_path / "prm"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tts_prm\.json"):
        load_prm(str(folder))


def test_a_tokenizer_without_the_tag_is_refused():
    from transformers import AutoTokenizer  # noqa: F401

    from tts_utils.prms.formats import MathShepherdFormat

    class NoTag:
        unk_token_id = 0

        def encode(self, word, add_special_tokens):
            return [0]

    with pytest.raises(ValueError, match="no tokens of their own"):
        MathShepherdFormat(NoTag())
    assert tokenizer().encode("ки") != tokenizer().encode("-")
