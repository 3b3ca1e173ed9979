"""The lab: problems are what they say, the checker is right, labels and targets mean what they should."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd
import pytest

from tests.tiny import problem as tiny_problem
from tts_lab.checker import all_right, check_steps, first_error, is_derived, parse
from tts_lab.problems import (
    LEVEL_COUNTS,
    datasets,
    draw,
    long_set,
    signature,
    test_set,
    training_stream,
    write_problems,
)
from tts_lab.templates import SUBJECTS
from tts_lab.templates.common import OPERATIONS
from tts_utils.answers import extract_answer
from tts_utils.mdp import SEPARATOR, split_steps
from tts_utils.problems import load_problems
from tts_utils.records import Continuation, Problem, State

test_set.__test__ = False  # a function of the lab's, not a test

# "Buy 5 at 30, then 20 off": 30 * 5 = 150, 150 - 20 = 130; beside it 7 * 8 = 56, which nothing needs first.
NODES = [
    {"op": "*", "args": [30, 5], "deps": [], "value": 150},
    {"op": "*", "args": [7, 8], "deps": [], "value": 56},
    {"op": "+", "args": [150, 56], "deps": [0, 1], "value": 206},
]
PROBLEM = Problem("p", "text", "206", meta={"nodes": NODES, "template": "t", "given": [30, 5, 7, 8]})
GOOD = [
    "A: 30 * 5 = 150.\n\n",
    "B: 7 * 8 = 56.\n\n",
    "Sum: 150 + 56 = 206.\n\n",
    "The answer is \\boxed{206}.",
]


def test_the_checker_on_a_hand_made_problem():
    assert check_steps(PROBLEM, GOOD) == [True] * 4
    assert all_right(PROBLEM, GOOD)
    assert not all_right(PROBLEM, GOOD[:3])  # not finished
    assert not all_right(PROBLEM, [])


@pytest.mark.parametrize(
    ("steps", "verdicts"),
    [
        (["B: 8 * 7 = 56.", "A: 5 * 30 = 150.", "56 + 150 = 206"], [True, True, True]),  # order, turned round
        (["30 * 5 + 7 * 8 = 206", "\\boxed{206}"], [True, True]),  # several operations in one step
        (["30 * 5 = 150 and 7 * 8 = 56", "150 + 56 = 206"], [True, True]),  # two equations in one step
        (
            ["30 * 5 = 140.", "7 * 8 = 56.", "140 + 56 = 196."],
            [False, True, False],
        ),  # a slip, then built upon
        (["30 * 5 = 150. Check: 5 * 30 = 150, good."], [True]),
        (["7 * 8 = 56. Check: 56 / 8 = 7."], [True]),
        (["7 * 8 = 54.", "Check: 8 * 7 = 56, not 54.", "30 * 5 = 150."], [False, True, True]),
        (["Check: 56 / 8 = 7."], [False]),  # nothing to check yet
        (["30 * 5 = 140.", "150 + 56 = 206"], [False, False]),  # right, but nothing derived it
        (["30 + 5 = 35."], [False]),  # true, and not on the way
        (["Let us think."], [False]),
        (["30 * 5 = 150.", "\\boxed{206}"], [True, False]),  # the answer, out of nowhere
        ([*GOOD[:3], "\\boxed{207}"], [True, True, True, False]),
        ([*GOOD[:3], "\\boxed{206} or \\boxed{207}"], [True, True, True, False]),
        (["9" * 300 + " * 1 = 9", "(" * 150 + "1 = 1"], [False, False]),
        (["30 * = 150", "= 5", "1 = = 1", "30 * 5 = 75 + 75"], [False] * 4),
    ],
)
def test_verdicts(steps, verdicts):
    assert check_steps(PROBLEM, steps) == verdicts


@pytest.mark.parametrize(
    ("steps", "derived"),
    [
        (GOOD, True),
        (GOOD[:3], False),  # not finished
        ([], False),
        (["30 * 5 = 140.", *GOOD], True),  # a slip, then redone
        (["30 * 5 = 150. Check: 5 * 30 = 140, good.", *GOOD[1:]], True),  # a slip in a check
        (["30 * 5 = 140. Check: 5 * 30 = 150, good.", *GOOD[1:]], True),  # the check had it right
        (["30 * 5 = 140.", *GOOD[1:]], False),  # 150 comes out of nowhere
        ([*GOOD[:3], "\\boxed{207}"], False),
        (["\\boxed{206}"], False),
    ],
)
def test_an_answer_is_derived_by_right_equations_whatever_stands_beside_them(steps, derived):
    assert is_derived(PROBLEM, steps) is derived


def test_first_error():
    assert first_error([True, False, True, False]) == 1
    assert first_error([True]) == first_error([]) == -1


@pytest.mark.parametrize("text", ["2 +", "(2", "2)", "()", "2 3", "+ 2", "", "2 ** 3"])
def test_parse_refuses_what_is_no_expression(text):
    with pytest.raises(ValueError, match="cannot read"):
        parse(text)


def test_every_solution_of_every_template_and_level_is_right_and_ends_in_its_answer():

    rng = np.random.default_rng(0)
    seen = set()
    for subject in SUBJECTS:
        for level in OPERATIONS:
            for i in range(40):
                p = draw(rng, subject, level, f"x{i}")
                steps = split_steps(p.solution)
                assert all_right(p, steps), p
                assert extract_answer(p.solution) == p.answer
                assert len(p.meta["nodes"]) == OPERATIONS[level] == len(steps) - 1
                assert str(p.meta["given"][0]) in p.text or p.meta["template"] == "base"
                seen.add((p.meta["template"], level))
    assert len(seen) == 5 * sum(map(len, SUBJECTS.values()))


def test_a_changed_digit_in_any_result_is_found_at_that_step():
    for p in islice(training_stream(77), 150):
        steps = list(split_steps(p.solution))
        for k, node in enumerate(p.meta["nodes"]):
            wrong = [*steps]
            wrong[k] = steps[k].replace(f"= {node['value']}.", f"= {node['value'] + 10}.")
            assert wrong[k] != steps[k]
            assert first_error(check_steps(p, wrong)) == k


def test_the_test_set_has_math_500s_levels_and_no_problem_twice():
    problems = test_set()
    assert len(problems) == 500
    for level, count in LEVEL_COUNTS.items():
        assert sum(p.level == level for p in problems) == count
    assert len({signature(p) for p in problems}) == 500
    assert test_set() == problems


def test_no_test_problem_is_in_the_training_stream_up_to_names_and_order():
    forbidden = {signature(p) for p in (*test_set(), *long_set())}
    assert not any(signature(p) in forbidden for p in islice(training_stream(11), 5_000))
    # The filter does something: without it the stream does hold some.
    assert any(signature(p) in forbidden for p in islice(training_stream(11, frozenset()), 5_000))


def test_streams_of_one_seed_are_equal_and_of_two_differ():
    texts = [[p.text for p in islice(training_stream(seed), 50)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", ["lab-500", "lab-200", "lab-30", "lab-hard", "lab-fresh"])
def test_the_shipped_test_sets_are_those_the_generator_makes(name, tmp_path):
    write_problems(datasets()[name], tmp_path / f"{name}.jsonl")
    again = load_problems(str(tmp_path / f"{name}.jsonl"))
    shipped = load_problems(name)
    assert [(p.problem_id, p.text, p.answer, p.meta) for p in again] == [
        (p.problem_id, p.text, p.answer, p.meta) for p in shipped
    ]


class Completer:
    """Reaches the gold answer from every prefix without the word WRONG; notes what it is asked."""

    name = "completer"

    def __init__(self):
        self.asked = []

    def sample(self, states, n, config, first=0):
        self.asked += [(s.problem.problem_id, s.text) for s in states]
        good = {True: "\\boxed{42}", False: "\\boxed{41}"}
        return [[Continuation(good["WRONG" not in s.text], 3, "eos")] * n for s in states]


def test_labels_find_the_losing_character_by_bisection_and_ask_once_per_prefix():
    import pandas as pd

    from tts_lab.labels import LabelConfig, lost_from

    def text(lost: int, length: int = 6) -> str:
        return "\n\n".join(f"step {k} WRONG" if k == lost else f"step {k} fine" for k in range(length))

    problems = [tiny_problem(0), tiny_problem(1)]
    rows = [(0, text(k), False) for k in range(6)] + [(1, text(2), False), (1, text(99), True)]
    frame = pd.DataFrame(rows, columns=["problem", "text", "right"])
    completer = Completer()
    lost = lost_from(problems, frame, completer, LabelConfig(num_shards=1))
    slips = [text(k).index("WRONG") for k in range(6)]
    # A right rollout, or a completion behind a later step, goes along up to the very slip. Behind the last
    # slip there is none: what is known is only that the prefix before its step is good.
    assert lost[6:] == [slips[2], len(text(99))]
    assert lost[:6] == [*slips[:5], text(5).index("step 5")]
    assert len(set(completer.asked)) == len(completer.asked) < 6 * 7


def test_shards_do_not_depend_on_which_process_wrote_them(tmp_path):
    import pandas as pd

    from tests.tiny import tiny_policy
    from tts_lab.labels import LabelConfig, label_shards

    config = LabelConfig(num_shards=3, problems_per_shard=2, rollouts=2, completions=1)
    policy = tiny_policy()
    policy.model.config.max_position_embeddings = 120
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    list(label_shards(policy, policy, whole, config))
    for part in (1, 0):
        list(label_shards(policy, policy, shared, config, part, 2))
    for path in sorted(whole.glob("*.parquet")):
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(shared / path.name))
    assert len(list(whole.glob("*.parquet"))) == 3


@pytest.mark.parametrize("name", ["math-shepherd", "rlhflow", "skywork", "qwen-math-prm"])
def test_prm_labels_turn_bad_at_the_slip_and_stay_bad_in_every_format(name):
    from tts_lab.prm_data import prm_example, token_texts
    from tts_lab.prms import CHAT_WITH_SYSTEM
    from tts_lab.tokenizer import build_tokenizer
    from tts_lab.train import IGNORE
    from tts_utils.prms.formats import FORMATS

    family = "qwen" if name == "qwen-math-prm" else "llama"
    tok = build_tokenizer(family, num_problems=500)
    if family == "qwen":
        tok.chat_template = CHAT_WITH_SYSTEM
    text_format, pieces = FORMATS[name](tok), token_texts(tok)
    text = "1 + 2 = 3.\n\n3 + 4 = 8.\n\n\\boxed{8}"
    example = prm_example(text_format, pieces, "Add 1 and 2.", text, text.index("8"))
    steps = State(Problem("", "Add 1 and 2.", "0"), split_steps(text))
    ids, positions = text_format.encode(steps)
    assert example.ids == ids
    assert [i for i, is_tag in enumerate(example.tags) if is_tag] == positions
    assert [example.labels[i] for i in positions] == [0, 1, 1]
    labelled = [(tok.decode([i]), y) for i, y in zip(ids, example.labels, strict=True) if y != IGNORE]
    assert [y for _, y in labelled] == sorted(y for _, y in labelled)  # good, then bad
    first_bad = next(i for i, (_, y) in enumerate(labelled) if y)
    assert labelled[first_bad][0] == "8"
    spelt = "".join(word for word, _ in labelled)
    assert "1 + 2 = 3." in spelt and "3 + 4 = 8." in spelt and "\\boxed{8}" in spelt
    assert "Add" not in spelt  # the question is nobody's step
    words = [tok.decode([t]) for t in example.targets if t != IGNORE]
    # What was right and nothing after the slip; a step's first token is not predicted from the mark.
    assert "".join(words).replace(" ", "") == "+2=3.+4="
    sound = prm_example(text_format, pieces, "Add 1 and 2.", text, len(text))
    assert set(sound.labels) == {0, IGNORE}


@pytest.mark.parametrize("head", ["value", "classes"])
def test_a_head_judges_in_training_as_it_scores_later(head):
    import torch

    from tests.tiny import tiny_model
    from tts_lab.prms import judge, with_fresh_layers

    base = tiny_model()
    base.config.tie_word_embeddings = True
    model = with_fresh_layers(base, 1, head, seed=3).eval()
    ids = torch.arange(20, 40)[None]
    words, judged = judge(head, [])(model, ids)
    assert words.shape == (1, 20, len(base.get_input_embeddings().weight))
    good = judged.softmax(-1)[..., 0]
    logits = model(input_ids=ids)
    expected = logits[..., 0].sigmoid() if head == "value" else logits.softmax(-1)[..., 1]
    assert torch.allclose(good, expected, atol=1e-6)


def test_consensus_keeps_what_both_judges_say_of_the_first_wrong_step():
    import pandas as pd

    from tts_lab.prms import agreed

    text = "a = 1.\n\nb = 2.\n\nc = 3."
    frame = pd.DataFrame(
        [(text, len(text), -1), (text, len(text), 1), (text, 10, 1), (text, 10, 2), (text, 0, -1)],
        columns=["text", "lost_from", "first_error"],
    )
    assert list(agreed(frame).index) == [0, 2]


def test_a_long_solution_checks_every_operation_and_repairs_its_slips():

    from tts_lab.solutions import pieces, solution

    rng = np.random.default_rng(5)
    slipped = 0
    for p in islice(training_stream(5), 300):
        state = rng.bit_generator.state
        parts = pieces(p, "long", rng)
        rng.bit_generator.state = state
        text = solution(p, "long", rng)
        assert "".join(part.text for part in parts) == text
        verdicts = check_steps(p, split_steps(text))
        unlearnt = [part.text for part in parts if not part.learn]
        assert verdicts.count(False) == len(unlearnt)  # one wrong step a slip, and it is the slip's
        assert verdicts[-1] and extract_answer(text) == p.answer
        assert text.count("Check: ") == len(p.meta["nodes"]) + len(unlearnt)
        slipped += len(unlearnt)
    assert slipped > 100


def test_terse_and_verbose_solutions_say_the_same_in_fewer_and_more_steps():

    from tts_lab.solutions import solution

    rng = np.random.default_rng(6)
    for p in islice(training_stream(6), 300):
        operations = len(p.meta["nodes"])
        for register, count in (("terse", (operations + 1) // 2), ("verbose", operations)):
            steps = split_steps(solution(p, register, rng))
            assert all_right(p, steps) and len(steps) == count + 1
    with pytest.raises(ValueError, match="curt"):
        solution(p, "curt", rng)


def test_fresh_layers_change_nothing_at_first():
    import torch

    from tests.tiny import tiny_model
    from tts_lab.prms import with_fresh_layers

    base = tiny_model()
    ids = torch.arange(20, 40)[None]
    grown = with_fresh_layers(base, 2, "labels", seed=5).eval()
    assert len(grown.model.layers) == len(base.model.layers) + 2
    assert torch.allclose(grown(ids).logits, base(ids).logits, atol=1e-5)


def test_training_learns_and_counts_its_tokens():
    from tests.tiny import tiny_model, tokenizer
    from tts_lab.policies import policy_examples
    from tts_lab.train import TrainingConfig, batches, train

    model = tiny_model()
    config = TrainingConfig(60_000, batch_tokens=256, compiled=False)
    data = batches(policy_examples(tokenizer(), "terse", 1), config)
    record = train(model, data, config, seed=0, log=lambda _: None)
    assert record["losses"][-1][1] < 0.9 * record["losses"][0][1]
    assert 60_000 <= record["num_tokens"] < 61_000
    assert record["flops"] == 6 * record["num_params"] * record["num_tokens"]


def test_a_policy_with_a_base_is_trained_on_from_its_weights(tmp_path, monkeypatch):
    import torch

    from tts_lab import policies
    from tts_lab.policies import PolicySpec, train_policy
    from tts_lab.tokenizer import build_tokenizer
    from tts_lab.train import TrainingConfig
    from tts_utils.policies import load_policy

    monkeypatch.setattr(policies, "build_tokenizer", partial(build_tokenizer, num_problems=500))
    still = TrainingConfig(500, batch_tokens=256, peak_lr=0.0, compiled=False)
    first = PolicySpec("first", "qwen", "verbose", 16, 1, 2, still, seed=1)
    models = {}
    for spec in (first, replace(first, name="second", register="long", seed=2, base="first")):
        record = train_policy(spec, tmp_path / spec.name, "cpu", lambda _: None)
        assert record["base"] == spec.base
        models[spec.name] = load_policy(str(tmp_path / spec.name), "cpu").model
    for name, weight in models["first"].state_dict().items():
        assert torch.equal(weight, models["second"].state_dict()[name]), name


def test_training_stops_at_the_loss_it_is_given():
    from tests.tiny import tiny_model, tokenizer
    from tts_lab.policies import policy_examples
    from tts_lab.train import TrainingConfig, batches, train

    lengths = []
    for stop_loss in (None, 0.1, 100):  # the loss of noise is about 6
        config = TrainingConfig(15_000, batch_tokens=64, compiled=False, stop_loss=stop_loss)
        examples = policy_examples(tokenizer(), "terse", 1)
        record = train(tiny_model(), batches(examples, config), config, seed=0, log=lambda _: None)
        lengths.append(record["num_tokens"])
    assert lengths[0] == lengths[1] >= 15_000
    assert lengths[2] == record["losses"][0][0] < 15_000  # at the first look, after 100 steps


def test_a_slip_is_one_wrong_number_and_the_solution_ends_with_its_step():
    from tts_lab.solutions import solution, with_slip

    rng = np.random.default_rng(0)
    kinds = set()
    for p in islice(training_stream(8), 300):
        text = solution(p, ("terse", "verbose")[rng.integers(2)], rng)
        slipped, at = with_slip(text, rng)
        assert slipped[:at] == text[:at] and slipped[at] != text[at]
        whole, found = split_steps(text), split_steps(slipped)
        assert len(found) <= len(whole) and found[:-1] == whole[: len(found) - 1]
        old, new = (re.findall(r"\d+", step) for step in (whole[len(found) - 1], found[-1]))
        assert len(old) == len(new) and sum(a != b for a, b in zip(old, new, strict=True)) == 1
        assert re.sub(r"\d+", "#", found[-1]) == re.sub(r"\d+", "#", whole[len(found) - 1])
        kinds.add(len(found) == len(whole))
    assert kinds == {True, False}  # the boxed answer may be the wrong number too
    with pytest.raises(ValueError, match="no number"):
        with_slip("no digits here", rng)


def test_phenomena_by_hand():
    from tts_lab.phenomena import by_difficulty, by_f1, by_prm, by_size
    from tts_lab.results import Result

    rng = np.random.default_rng(0)
    # Twenty easy problems, that best-of-N solves and beam search does not; twenty hard ones, the other way.
    easy = np.repeat([1.0, 0.0], 20)
    found = [
        Result("p", "", "sample", "", 1, easy, 9, 0),
        Result("p", "", "greedy", "", 1, np.zeros(40), 9, 0),
        Result("p", "", "majority", "majority_vote", 4, np.zeros(40), 36, 0),
        Result("p", "prm", "best_of_n", "prm_last_vote", 4, easy, 36, 50),
        Result("p", "prm", "beam", "prm_last_vote", 4, 1 - easy, 36, 50),
        Result("p", "prm", "beam", "prm_last_vote", 16, np.ones(40), 99, 99),
        Result("p", "prm", "beam", "prm_last_max", 4, np.zeros(40), 36, 50),
    ]
    levels = {case: row.mean for _, case, row in by_difficulty(found, ["p"], rng)}
    assert levels == {
        "p, prm, beam N = 4, easy: minus best-of-N": -1,
        "p, prm, beam N = 4, hard: minus best-of-N": 1,
    }
    sizes = {case: row.mean for _, case, row in by_size(found, ["p"], rng)}
    assert sizes["p, prm, beam N = 4: minus best-of-N"] == 0
    assert sizes["p, prm, beam N = 16: minus greedy"] == 1
    prms = {case: row.mean for _, case, row in by_prm(found, ["p"], rng)}
    assert prms["p, prm, beam N = 16: minus N = 4"] == prms["p, prm, best_of_n N = 4: minus majority"] == 0.5
    others = [
        Result("p", name, "beam", "prm_last_vote", 4, np.full(40, x), 1, 1)
        for name, x in (("a", 0.2), ("b", 0.1), ("c", 0.3), ("d", 0.4))
    ]
    f1 = {"a": 0.5, "b": 0.4, "c": 0.7, "d": 0.6}  # ranks 2 1 4 3 against 2 1 3 4: rho = 1 - 6 * 2 / 60
    quality = pd.DataFrame([("p", prm, "F1", x) for prm, x in f1.items()] + [("q", "a", "F1", 0.9)])
    quality.columns = ["policy", "prm", "measure", "estimate"]
    rows = {case: row for _, case, row in by_f1(others, ["p", "q"], quality)}
    assert list(rows) == ["p, beam N = 4"]
    assert rows["p, beam N = 4"].mean == pytest.approx(0.8)
    assert rows["p, beam N = 4"].n == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile imports
def test_compiled_training_is_the_same_training():
    from tests.tiny import tiny_model, tokenizer
    from tts_lab.policies import policy_examples
    from tts_lab.train import TrainingConfig, batches, train

    losses = []
    for compiled in (False, True):
        config = TrainingConfig(60_000, batch_tokens=512, compiled=compiled)
        data = batches(policy_examples(tokenizer(), "terse", 1), config)
        record = train(tiny_model(), data, config, 0, lambda _: None)
        losses.append([loss for _, loss in record["losses"]])
    assert len(losses[0]) > 0 and losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_the_tokenizer_reads_digit_by_digit_and_gives_the_text_back():
    from tests.tiny import tokenizer

    tok = tokenizer()
    for p in islice(training_stream(3), 200):
        for text in (p.text, p.solution):
            ids = tok(text)["input_ids"]
            assert tok.decode(ids) == text
            assert not any(sum(ch.isdigit() for ch in tok.decode([i])) > 1 for i in ids)
    assert tok.decode(tok("naïve ✓ 数\x00")["input_ids"]) == "naïve ✓ 数\x00"
    assert SEPARATOR in [tok.decode([i]) for i in tok("a\n\nb")["input_ids"]]


def test_a_policy_and_a_prm_that_remember_change_no_search_and_are_asked_everything_once():
    from tests.fakes import FakePRM, StepPolicy
    from tts_lab.memory import RememberingPolicy, RememberingPRM
    from tts_utils.records import Problem, SamplingConfig
    from tts_utils.search import run
    from tts_utils.tree_search import TreeSearch

    problems = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1)) for i in range(3)]
    grid = [TreeSearch(method, budget) for budget in (4, 8, 8) for method in ("beam", "dvts")]
    plain, watched = (StepPolicy(), FakePRM()), (StepPolicy(), FakePRM())
    remembering = RememberingPolicy(watched[0]), RememberingPRM(watched[1])
    for search in grid:
        alone = run([search(p) for p in problems], *plain, SamplingConfig())
        assert run([search(p) for p in problems], *remembering, SamplingConfig()) == alone
    for first, again in zip(plain, watched, strict=True):
        (asked, wanted) = ([x for call in model.calls for x in call] for model in (again, first))
        assert len(asked) == len(set(asked)) and set(asked) == set(wanted) and len(asked) < len(wanted) / 2


def test_rounded_scores_are_near_and_keep_what_is_too_long():
    from tests.fakes import FakePRM
    from tts_lab.memory import RoundingPRM
    from tts_utils.protocols import TOO_LONG

    class PRM(FakePRM):
        def score(self, trajectories):
            return [TOO_LONG, *super().score(trajectories[1:])]

    states = [State(tiny_problem(), ("a\n\n", "b\n\n")[:steps]) for steps in (2, 1, 2)]
    exact, rounded = PRM().score(states), RoundingPRM(PRM()).score(states)
    assert rounded[0] is not None and rounded[0].too_long
    for a, b in zip(exact, rounded, strict=True):
        assert b.num_tokens == a.num_tokens
        assert np.abs(np.subtract(a.scores, b.scores)).max(initial=0) <= 2**-17
        assert all((score * 2**16).is_integer() for score in b.scores)


def test_memory_tells_problems_of_two_data_sets_apart():
    from tests.fakes import FakePolicy, KnowingPRM
    from tts_lab.memory import RememberingPolicy, RememberingPRM
    from tts_utils.records import Continuation, Problem, SamplingConfig, State

    class Reading(FakePolicy):
        def one(self, state, index, config):
            return Continuation(state.problem.text, 1, "eos")

    problems = [Problem("p1", "What is 1 + 1?", "2"), Problem("p1", "What is 2 + 2?", "4")]
    policy, prm = RememberingPolicy(Reading()), RememberingPRM(KnowingPRM())
    written = policy.sample([State(p) for p in problems], 1, SamplingConfig())
    assert [pool[0].text for pool in written] == [p.text for p in problems]
    scored = prm.score([State(p, (r"It is \boxed{2}.",)) for p in problems])
    assert [s.scores for s in scored] == [(1.0,), (0.0,)]


def test_samples_and_scores_of_a_test_set_are_recalled_for_another_one_with_the_same_problems(tmp_path):
    from tests.fakes import Counting, FakePRM
    from tts_lab.memory import RememberingPolicy, RememberingPRM
    from tts_utils.records import Problem, SamplingConfig
    from tts_utils.store import files as table_files
    from tts_utils.store import fill
    from tts_utils.store.tables import ForeignTable

    problems = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1)) for i in range(4)]
    stored, config, width = tmp_path / "stored", SamplingConfig(), fill.SAMPLES_PER_BLOCK
    large, small = problems[:3], [problems[1], problems[2], problems[3]]

    def models(revision="a"):
        policy, prm = Counting(), FakePRM()
        policy.revision = prm.revision = revision
        return policy, prm

    def filled(name, chosen, n, policy, prm, data):
        samples = fill.fill_samples(name, policy, n, config, problems=chosen, data=data).table
        scores = fill.fill_step_scores(samples, prm, problems=chosen, data=data).table
        frames = [table_files.to_frame(table_files.load(table, data)) for table in (samples, scores)]
        return samples, scores, frames

    samples, scores, _ = filled("large", large, width, *models(), stored)
    policy, prm = models()
    knowing = RememberingPolicy(policy), RememberingPRM(prm)
    knowing[0].recall(samples, small, stored)
    knowing[1].recall(scores, small, stored)
    *_, frames = filled("small", small, 2 * width, *knowing, stored)
    fresh_policy, fresh_prm = models()
    *_, alone = filled("small", small, 2 * width, fresh_policy, fresh_prm, tmp_path / "alone")
    for known, new in zip(frames, alone, strict=True):
        pd.testing.assert_frame_equal(known, new)
    asked, wanted = (sum(len(ids) * n for ids, n, _ in p.calls) for p in (policy, fresh_policy))
    assert (asked, wanted) == (4 * width, 6 * width)  # the first block of p1 and p2 is known
    read, all_read = ([x for call in p.calls for x in call] for p in (prm, fresh_prm))
    assert len(all_read) > len(read) and set(read) < set(all_read)
    policy, prm = models("b")  # other weights remember nothing
    with pytest.raises(ForeignTable):
        RememberingPolicy(policy).recall(samples, small, stored)
    with pytest.raises(ForeignTable):
        RememberingPRM(prm).recall(scores, small, stored)


@pytest.mark.slow
def test_all_stages_run_at_toy_size_and_a_second_run_changes_nothing(tmp_path):
    from tts_lab import recipe
    from tts_lab.build import stages
    from tts_lab.grid import completeness
    from tts_lab.phenomena import phenomena
    from tts_lab.quality import process_bench
    from tts_lab.results import results
    from tts_utils import store

    data, said = tmp_path / "data", []
    small = recipe.smoke()
    for stage in stages(small, data, "cpu", said.append):
        if not stage.is_done():
            stage.make()
    assert store.verify(data) == []
    again = list(stages(small, data, "cpu", said.append))
    open_ended = [stage for stage in again if not stage.is_done()]  # the store says what they lack
    assert {stage.name.split()[0] for stage in open_ended} == {"tables", "searches"}
    made = {path: path.read_bytes() for path in data.rglob("*.parquet")}
    for stage in open_ended[:3] + open_ended[-3:]:
        stage.make()  # finds nothing missing
    assert {path: path.read_bytes() for path in data.rglob("*.parquet")} == made
    judged = process_bench("lab-30", data=data, limit=small.limit)
    found = phenomena(small, results(small, "lab-30", data), judged)
    assert found["claim"].nunique() >= 4 and found["estimate"].abs().max() <= 1
    whole = completeness(small, data)
    kinds = sum(
        (2 if small.prms_of(p) else 1) * sum(p in small.policies_of(d) for d in small.num_samples)
        + bool(small.prms_of(p))
        for p in small.policies
    )
    assert (whole["there"] == whole["wanted"]).all() and len(whole) == kinds


def test_a_recipe_says_who_searches_and_who_judges():
    from tts_lab.prms import PRMS
    from tts_lab.recipe import FULL, SearchPlan
    from tts_utils.tree_search import TreeSearch

    plans = (
        SearchPlan("a", (4, 16), ("lab-llama-s",)),
        SearchPlan("a", (16, 64), ("lab-llama-s", "lab-qwen-s"), ("lab-skywork-l",), ("beam",)),
    )
    two = replace(FULL, plans=plans, judged={"a": ("lab-skywork-l",)}, only={"b": ("lab-qwen-s",)})
    both = (TreeSearch("beam", 4), TreeSearch("dvts", 4), TreeSearch("beam", 16), TreeSearch("dvts", 16))
    assert two.grid("a", "lab-llama-s", "lab-skywork-s") == both
    assert two.grid("a", "lab-llama-s", "lab-skywork-l") == (*both, TreeSearch("beam", 64))  # each once
    assert two.grid("a", "lab-qwen-s", "lab-skywork-l") == (TreeSearch("beam", 16), TreeSearch("beam", 64))
    assert two.grid("a", "lab-qwen-s", "lab-skywork-s") == two.grid("b", "lab-qwen-s", "lab-skywork-l") == ()
    assert [p.name for p in two.searchers_of("a")] == ["lab-llama-s", "lab-qwen-s"]
    assert two.searchers_of("b") == () and two.search_sets == ("a",)
    small, long = (next(p for p in two.policies if p.name == name) for name in ("lab-qwen-s", "lab-long-m"))
    assert two.policies_of("b") == (small,)
    assert [p.name for p in two.judges_of(small, "a")] == ["lab-skywork-l"]
    assert two.judges_of(small, "b") == PRMS and two.judges_of(long, "b") == ()


@pytest.mark.slow
def test_the_shipped_lab_is_healthy():
    """The three figures that make the miniature fair, and a reward model that selects within problems."""
    from tts_lab.policies import POLICIES
    from tts_lab.report import health

    long = [policy.name for policy in POLICIES if policy.register == "long"]
    rows = health("lab-500", long).set_index(["policy", "prm", "measure"])
    table, low, high = rows["estimate"], rows["low"], rows["high"]
    sampled = sorted({policy for policy, _, measure in table.index if measure == "guess rate"})
    assert "lab-llama-m" in sampled
    for policy in sampled:
        assert table[policy, "", "guess rate"] < 0.02
        # The smallest Llama-like policy stands at both limits, so here the intervals decide.
        assert high[policy, "", "right for the right reason (share of right answers)"] >= 0.95
        assert high[policy, "", "next step right, given right so far"] >= 0.60
        # The largest policies play the frontier, and slip even less.
        assert low[policy, "", "next step right, given right so far"] <= 0.98 or policy.endswith("-xl")
        assert low[policy, "", "pass@64 minus majority@64"] > 0
    small = table["lab-llama-m", "lab-math-shepherd"]
    assert small["steps: within-problem AUC"] > 0.65
    assert small["last + prm_vote minus majority @64"] > 0.02


def test_process_bench_by_hand():
    from tts_utils.prm_quality import Judged, accuracies

    # Two solutions with an error at step 1 (found; passed), two correct ones (passed; error cried at 0), and
    # one with an error at 0 that is placed at 1, which counts as not found.
    truth, said = [1, 1, -1, -1, 0], [1, -1, -1, 0, 1]
    judged = [
        Judged(tuple(0.4 if i == at else 0.6 for i in range(2)), first, group=of)
        for of, first, at in zip("abcde", truth, said, strict=True)
    ]
    rows = {row.measure: (row.estimate, row.n) for row in accuracies(judged, 0.5).itertuples()}
    assert rows["error"] == (pytest.approx(1 / 3), 3)
    assert rows["correct"] == (pytest.approx(1 / 2), 2)
    assert rows["F1"] == (pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)), 5)
    wrong = accuracies(judged[:2], 0.5).set_index("measure")
    assert wrong.loc["error", "estimate"] == 0.5 and wrong.loc["correct", "n"] == 0
    assert wrong.loc["correct", ["estimate", "low", "high"]].isna().all()


def test_solutions_that_a_prm_cannot_read_are_left_out_of_its_measures(tmp_path):
    """A PRM that is right about all it reads; a long right solution would count as a wrong verdict."""
    import numpy as np

    from tests import fakes
    from tts_lab.quality import KEY, process_bench
    from tts_lab.report import _prm_rows
    from tts_utils import store
    from tts_utils.protocols import TOO_LONG
    from tts_utils.records import Continuation

    class Policy(fakes.FakePolicy):
        def one(self, state, index, config):
            right = rf"\boxed{{{state.problem.answer}}}"
            text = (right, r"\boxed{7}", "So it is after a long way round that " + right)[index % 3]
            return Continuation(text, 9, "eos")

    class PRM(fakes.KnowingPRM):
        def one(self, trajectory):
            return TOO_LONG if len(trajectory.text) > 20 else super().one(trajectory)

    (tmp_path / "problems").mkdir()
    (tmp_path / "problems/toy.jsonl").write_text(fakes.as_jsonl(fakes.problems(4)))
    samples = store.fill_samples("toy", Policy(), 9, data=tmp_path).table
    store.fill_step_labels(samples, lambda _, steps: ["{7}" not in step for step in steps], data=tmp_path)
    store.fill_step_scores(samples, PRM(), limit=2, data=tmp_path)
    assert process_bench("toy", data=tmp_path).empty  # a table that is still being filled is left out
    assert store.fill_step_scores(samples, PRM(), data=tmp_path).unscored == 12
    bench = process_bench("toy", data=tmp_path).set_index("measure")
    # Of the first 8 samples of a problem three are right and short, three wrong, two not read.
    assert bench["n"].to_dict() == {"error": 12, "correct": 12, "F1": 24} and (bench["estimate"] == 1).all()
    rows = store.read_samples("toy", "fake-policy", data=tmp_path)
    labels = store.read_step_labels("toy", "fake-policy", data=tmp_path)
    scores = store.read_step_scores("toy", "fake-policy", "fake-prm", data=tmp_path)
    frame = rows.merge(labels[[*KEY, "labels"]], on=KEY)
    found = dict(_prm_rows(frame, scores, store.pivot(rows), 0))
    assert found["steps: within-problem AUC"].mean == 1
    assert all(found[f"completions: within-problem AUC, {how}"].mean == 1 for how in ("min", "last", "avg"))
    assert np.isclose(found["last + prm_vote @9"].mean, 1)


def test_the_test_sets_are_what_the_book_says_of_them():
    sets = datasets()
    assert {name: len(problems) for name, problems in sets.items()} == {
        "lab-500": 500,
        "lab-200": 200,
        "lab-30": 30,
        "lab-hard": 200,
        "lab-fresh": 100,
    }
    assert {p.problem_id for p in sets["lab-200"]} < {p.problem_id for p in sets["lab-500"]}
    for level in LEVEL_COUNTS:
        assert sum(p.level == level for p in sets["lab-200"]) == 40
    long = [*sets["lab-30"], *sets["lab-hard"], *sets["lab-fresh"]]
    assert all(9 <= len(p.meta["nodes"]) <= 13 for p in long)
    assert len({signature(p) for p in long}) == len(long)
    assert all(len(templates) >= 4 for templates in SUBJECTS.values())


def test_guess_rate_and_next_step_rate_by_hand():
    import pandas as pd

    from tts_lab.report import guess_rate, next_step_rate

    problems = tuple(
        Problem(name, "text", gold, meta={"template": template})
        for name, gold, template in (("a", "5", "t"), ("b", "7", "t"), ("c", "5", "u"))
    )
    rows = [("a", "7", [True, False, True]), ("a", "5", [True, True, True])]
    rows += [("b", "5", [False]), ("b", "", []), ("c", "5", [True])]
    frame = pd.DataFrame(rows, columns=["problem_id", "answer", "labels"])
    # a: the answers to b are one 5, which is a's gold; b: one of a's two answers is 7; c: no other problem.
    assert guess_rate(frame, problems).mean == pytest.approx((1 + 0.5) / 2)
    # Steps tried while all was right: a 2 + 3, b 1, c 1; right among them: 1 + 3, 0, 1.
    assert next_step_rate(frame).mean == pytest.approx(5 / 7)
