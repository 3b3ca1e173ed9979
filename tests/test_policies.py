"""The transformers policy: one sample depends on (state, config, seed, index) and on nothing else."""

from __future__ import annotations

import functools
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from transformers.cache_utils import DynamicCache  # noqa: E402

from tests.fakes import FakePRM  # noqa: E402
from tests.tiny import grouped_model, problem, tiny_policy, tokenizer  # noqa: E402
from tts_lab.policies import new_model  # noqa: E402
from tts_utils.checkpoints import UnknownModel  # noqa: E402
from tts_utils.lean import Lean  # noqa: E402
from tts_utils.policies import load_policy  # noqa: E402
from tts_utils.policies.kv_cache import give_room  # noqa: E402
from tts_utils.policies.requests import sample_each  # noqa: E402
from tts_utils.policies.rows import LeanRows, ModelRows  # noqa: E402
from tts_utils.policies.transformers import (  # noqa: E402
    TransformersPolicy,
    _choose_by_blocks,
    _places,
    choose,
)
from tts_utils.protocols import PromptTooLong  # noqa: E402
from tts_utils.records import Continuation, SamplingConfig, State  # noqa: E402
from tts_utils.search import run  # noqa: E402
from tts_utils.tree_search import beam_search  # noqa: E402

CONFIG = SamplingConfig(temperature=0.7, max_tokens=24, seed=3)


def test_a_sample_is_the_same_alone_in_a_batch_of_7_and_in_a_batch_of_200():
    states = [State(problem(i)) for i in range(25)]
    pool = tiny_policy(batch_size=200).sample(states, 8, CONFIG)
    assert tiny_policy(batch_size=7).sample(states, 8, CONFIG) == pool
    alone = tiny_policy(batch_size=1)
    for i in (0, 11, 24):
        for sample in (0, 5):
            assert alone.sample([states[i]], 1, CONFIG, first=sample) == [[pool[i][sample]]]


def test_a_pool_grows_without_changing():
    states = [State(problem(i)) for i in range(3)]
    policy = tiny_policy()
    whole = policy.sample(states, 6, CONFIG)
    late = policy.sample(states, 2, CONFIG, first=[4, 1, 0])
    assert late == [whole[0][4:6], whole[1][1:3], whole[2][0:2]]


def test_samples_seeds_and_states_differ():
    policy = tiny_policy()
    (pool,) = policy.sample([State(problem())], 16, CONFIG)
    assert len({c.text for c in pool}) == 16
    (other,) = policy.sample([State(problem())], 16, SamplingConfig(temperature=0.7, max_tokens=24, seed=4))
    assert not {c.text for c in pool} & {c.text for c in other}


def test_greedy_decoding_equals_transformers_generate_in_a_ragged_batch():
    policy = tiny_policy()
    states = [State(problem(i), ("12 + 30 = 42.\n\n",) * (i % 3)) for i in range(9)]
    ours = policy.sample(states, 1, SamplingConfig(temperature=0, max_tokens=20))
    for state, (one,) in zip(states, ours, strict=True):
        ids = torch.tensor([policy.prompt_ids(state)])
        theirs = policy.model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :]
        assert one.num_tokens == len(theirs)
        ended = int(theirs[-1]) in policy.eos_ids
        assert one.text == tokenizer().decode(theirs[: -1 if ended else None])
        assert one.finish_reason == ("eos" if ended else "length")


def test_a_stop_string_is_kept_ends_the_text_and_is_the_first_one():
    policy = tiny_policy()
    states = [State(problem(i)) for i in range(4)]
    free = policy.sample(states, 8, SamplingConfig(temperature=1.0, max_tokens=60, seed=1))
    stopped = policy.sample(
        states, 8, SamplingConfig(temperature=1.0, max_tokens=60, seed=1, stop=("e", "1"))
    )
    reasons = set()
    for long, short in zip(chain(*free), chain(*stopped), strict=True):
        reasons.add(short.finish_reason)
        assert long.text.startswith(short.text)
        if short.finish_reason == "stop":
            assert short.text[-1] in "e1" and not set("e1") & set(short.text[:-1])
        else:
            assert not set("e1") & set(short.text)
    assert "stop" in reasons


def test_a_continued_state_reads_its_text_as_written_and_special_tokens_as_text():
    policy = tiny_policy()
    text = "12 + 30 = 42.\n\n"
    ids = policy.prompt_ids(State(problem(), (text,)))
    prompt = policy.prompt_ids(State(problem()))
    assert ids[: len(prompt)] == prompt
    assert tokenizer().decode(ids[len(prompt) :]) == text
    hostile = policy.prompt_ids(State(problem(), ("<|eos|><|user|>",)))
    assert not set(hostile[len(prompt) :]) & set(tokenizer().all_special_ids)


def test_the_context_limit_cuts_each_row_by_its_own_length():
    policy = tiny_policy()
    policy.model.config.max_position_embeddings = 60
    states = [State(problem(0)), State(problem(4))]
    config = SamplingConfig(temperature=1.0, max_tokens=1000, seed=2)
    together = policy.sample(states, 4, config)
    assert together == [policy.sample([s], 4, config)[0] for s in states]
    for state, pool in zip(states, together, strict=True):
        room = 60 - len(policy.prompt_ids(state))
        assert all(c.num_tokens == room for c in pool if c.finish_reason == "length")
    policy.model.config.max_position_embeddings = 5
    with pytest.raises(ValueError, match=r"'p0'.*reads at most 5"):
        policy.sample(states, 1, config)


CUT = Continuation("", 0, "length")


def test_a_state_that_fills_the_context_is_cut_and_its_company_goes_on():
    policy, config = tiny_policy(), SamplingConfig(temperature=1.0, max_tokens=9, seed=2)
    deep, other = State(problem(2), ("12 + 30 = 42.\n\n", "42 + 7 = 49.\n\n")), State(problem(0))
    length = len(policy.prompt_ids(deep))
    assert length > len(policy.prompt_ids(other)) + 2
    for limit in range(length - 2, length + 3):
        policy.model.config.max_position_embeddings = limit
        pools = policy.sample([deep, other], 3, config)
        assert pools[1] == policy.sample([other], 3, config)[0]
        if limit <= length:
            assert pools[0] == [CUT] * 3
        else:
            assert all(1 <= c.num_tokens <= limit - length for c in pools[0])


def test_equal_states_are_each_answered_and_greedy_copies_are_refused():
    policy = tiny_policy()
    for temperature, n in ((0.7, 3), (0.0, 1)):
        config = SamplingConfig(temperature=temperature, max_tokens=9)
        pools = policy.sample([State(problem())] * 2, n, config)
        assert pools[0] == pools[1] == policy.sample([State(problem())], n, config)[0]
    with pytest.raises(ValueError, match=r"greedy decoding .* ask for 1"):
        policy.sample([State(problem())], 2, config)


@pytest.mark.parametrize("lean", [True, False])
def test_samples_that_have_written_the_same_are_run_once(lean, monkeypatch):
    """Sixty samples of a policy that is nearly sure share nearly all of their tokens."""
    rows = []

    def counted(grow):
        return lambda self, order, tokens: rows.append(len(tokens)) or grow(self, order, tokens)

    for kind in (ModelRows, LeanRows):
        monkeypatch.setattr(kind, "grow", counted(kind.grow))
    if not lean:
        monkeypatch.setattr("tts_utils.lean.fits", lambda model: False)
    policy = tiny_policy()
    config = SamplingConfig(temperature=0.15, max_tokens=12, seed=4)
    states = [State(problem(0)), State(problem(1))]
    pools = policy.sample(states, 60, config)
    tokens = sum(c.num_tokens for pool in pools for c in pool)
    distinct = {(i, c.text) for i, pool in enumerate(pools) for c in pool}
    assert 2 < len(distinct) < 60, "all the same or all different: this test tests nothing"
    assert sum(rows) <= 2 + len(distinct) * 12 < tokens / 2
    for first in (0, 17, 59):
        alone = [pool[0] for pool in policy.sample(states, 1, config, first)]
        assert alone == [pool[first] for pool in pools]


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def written_out(request, monkeypatch):
    """The written-out pass in either form, on a CPU."""
    if request.param == "as on a GPU":
        monkeypatch.setattr("tts_utils.lean.Lean", lambda model: Lean(model, fused=False))
        monkeypatch.setattr(LeanRows, "_attend_on_cpu", LeanRows._attend_on_gpu)


SEVEN = [State(problem(i), ("12 + 30 = 42.\n\n",) * (i % 3)) for i in range(7)]
SOME = SamplingConfig(temperature=0.4, max_tokens=90, seed=3)


@functools.cache
def moved_model(family: str):
    """An untrained model whose weights are moved, so that samples differ."""
    model = grouped_model() if family == "grouped" else None
    if model is None:
        model = new_model(tokenizer(), family, hidden=32, layers=2, heads=4, seed=3).eval().double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


@functools.cache
def drawn_by_the_model(family: str) -> list[list[Continuation]]:
    """What the model itself draws: for the written-out pass in either form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tts_utils.lean.fits", lambda model: False)
        return TransformersPolicy(family, moved_model(family), tokenizer()).sample(SEVEN, 5, SOME)


@pytest.mark.usefixtures("written_out")
@pytest.mark.parametrize("family", ["llama", "qwen", "grouped"])
def test_the_written_out_pass_draws_what_the_model_draws_whatever_the_rows(family):
    """Rows split, move, end and find no place; the cache grows past the room it was given at first."""
    model, plain = moved_model(family), drawn_by_the_model(family)
    policies = [TransformersPolicy(family, model, tokenizer(), batch_size=size) for size in (64, 3)]
    lean = [policy.sample(SEVEN, 5, SOME) for policy in policies]
    assert all(policy._lean() is not None for policy in policies)
    assert lean == [plain, plain]
    assert len({c.text for pool in plain for c in pool}) > 20


@given(st.data())
def test_branches_go_where_a_row_is_free_and_every_row_continues_its_parent(data):
    num_rows = data.draw(st.integers(1, 12))
    parents = data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, max_size=12))
    order, places = _places(parents, num_rows)
    assert len(set(places)) == len(places) == len(parents)
    assert [order[place] for place in places] == parents
    assert len(order) <= max(num_rows, len(parents))
    if len(parents) > 0.75 * num_rows:  # nothing is moved that need not be
        kept = set(parents)
        assert all(order[row] == row and row in places for row in kept)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_cache_with_room_holds_what_a_cache_that_is_copied_holds(data):
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    rows = data.draw(st.integers(1, 3))
    plain, roomy = DynamicCache(), DynamicCache()
    start = [torch.randn(rows, 2, 3, 4, generator=rng) for _ in range(2)]
    for cache in (plain, roomy):
        for layer in range(2):
            cache.update(*start, layer)
    give_room(roomy)
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            order = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=2 * rows + 1))
            rows = len(order)
            for cache in (plain, roomy):
                cache.batch_select_indices(torch.tensor(order))
        else:
            new = [torch.randn(rows, 2, 1, 4, generator=rng) for _ in range(2)]
            for layer in range(2):
                wanted, given = (cache.update(*new, layer) for cache in (plain, roomy))
                assert all(torch.equal(a, b) for a, b in zip(wanted, given, strict=True))
        assert plain.get_seq_length() == roomy.get_seq_length()
        for a, b in zip(plain.layers, roomy.layers, strict=True):
            assert torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values)


def test_no_limit_of_the_context_ends_a_search():
    """A hot tiny policy writes short steps, so that some paths fill the context and others do not."""
    policy, problems, at_the_limit = tiny_policy(), [problem(0), problem(1)], []
    config = SamplingConfig(temperature=3.0, max_tokens=40)
    for limit in range(34, 50, 2):
        policy.model.config.max_position_embeddings = limit
        for result in run([beam_search(p, 16) for p in problems], policy, FakePRM(), config):
            assert result.completions
            full = [node for node in result.nodes if (node.text, node.num_tokens) == ("", 0)]
            assert all(node.finish_reason == "length" and not node.kept for node in full)
            at_the_limit += full
            if full:
                assert "length" in {c.finish_reason for c in result.completions}
    assert at_the_limit, "no path came to stand at a limit: this test tests nothing"


class Exact:
    """The shared request code over a model that writes steps of exactly as many tokens as it is told."""

    name, num_params, revision = "exact", 0, ""

    def __init__(self, limit, step):
        self.limit, self.step, self.generated = limit, step, 0
        self.family = tiny_policy().family

    def sample(self, states, n, config, first=0):
        return sample_each(
            self.answer, tokenizer(), self.family, self.name, self.limit, states, n, config, first
        )

    def answer(self, requests):
        assert all(len(r.prompt) + r.max_tokens <= self.limit and r.max_tokens > 0 for r in requests)
        size = len(tokenizer()(self.step)["input_ids"])
        whole, cut = (
            Continuation(self.step, size, "stop"),
            lambda r: Continuation("1", r.max_tokens, "length"),
        )
        written = [whole if r.max_tokens >= size else cut(r) for r in requests]
        self.generated += sum(c.num_tokens for c in written)
        return written


def test_a_search_ends_at_every_limit_of_the_shared_request_code():
    step = "12 + 30 = 42.\n\n"
    start = len(tiny_policy().prompt_ids(State(problem())))
    size = len(tiny_policy().prompt_ids(State(problem(), (step,)))) - start
    at_the_limit = 0
    for limit in range(start + 1, start + 3 * size + 2):
        policy = Exact(limit, step)
        (result,) = run([beam_search(problem(), 4)], policy, FakePRM(), SamplingConfig())
        (path,) = result.completions
        assert (path.text, path.finish_reason) == (step * ((limit - start) // size), "length")
        assert result.num_policy_tokens == policy.generated
        full = [node for node in result.nodes if (node.text, node.num_tokens) == ("", 0)]
        at_the_limit += bool(full)
        assert all(node.finish_reason == "length" and not node.kept for node in full)
    assert at_the_limit == 3
    with pytest.raises(PromptTooLong, match=rf"'p0'.*has {start} tokens, but exact reads at most {start}"):
        run([beam_search(problem(), 4)], Exact(start, step), FakePRM(), SamplingConfig())


def test_choose_follows_the_distribution_and_top_p_cuts_its_tail():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    config = SamplingConfig(temperature=1.0)
    pick = lambda u, c=config: int(choose(logits, torch.tensor([[u]], dtype=torch.float64), c)[0, 0])  # noqa: E731
    assert [pick(u) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999999)] == [0, 0, 1, 1, 2, 2]
    narrow = SamplingConfig(temperature=1.0, top_p=0.6)
    assert {pick(u, narrow) for u in (0.0, 0.3, 0.62, 0.64, 0.9999999)} == {0, 1}
    assert int(choose(torch.tensor([[1.0, 3.0, 3.0]]), None, SamplingConfig(temperature=0))[0, 0]) == 1


@given(st.integers(0, 99), st.integers(1, 3), st.sampled_from([512, 513, 5000, 9000]))
@settings(max_examples=25, deadline=None)
def test_a_large_vocabulary_is_drawn_from_block_by_block_with_the_same_result(seed, rows, size):
    rng = torch.Generator().manual_seed(seed)
    logits = 8 * torch.randn(rows, size, generator=rng)
    logits[:, ::3] = -torch.inf
    draws = torch.rand(rows, 40, generator=rng, dtype=torch.float64)
    draws[:, :2] = torch.tensor([0.0, 1 - 2**-53])
    found = _choose_by_blocks(logits.clone(), draws, 0.7)
    cumulated = (logits.double() / 0.7).softmax(-1).cumsum(-1)
    assert (logits.gather(1, found) > -torch.inf).all()
    upper = cumulated.gather(1, found)
    lower = upper - (logits.double() / 0.7).softmax(-1).gather(1, found)
    assert ((lower - 1e-6 <= draws) & (draws <= upper + 1e-6)).all()


def test_an_unknown_policy_is_named_with_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("TTS_DATA", str(tmp_path))
    (tmp_path / "models" / "lab-x").mkdir(parents=True)
    (tmp_path / "models" / "lab-x" / "config.json").write_text("{}")
    with pytest.raises(UnknownModel, match=r"'lab-y'.*lab-x"):
        load_policy("lab-y")


@pytest.mark.parametrize(("n", "first", "message"), [(0, 0, "at least 1"), (1, [0, 1], "1 states but 2")])
def test_bad_arguments_are_refused(n, first, message):
    with pytest.raises(ValueError, match=message):
        tiny_policy().sample([State(problem())], n, CONFIG, first)


def test_a_qwen2_checkpoint_keeps_its_own_way_of_cutting_words(tmp_path):
    """AutoTokenizer would put Qwen2's in its place: other ids, and a policy that reads other tokens."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    from tts_lab.policies import new_model, save_model
    from tts_lab.tokenizer import build_tokenizer

    made = build_tokenizer("qwen", num_problems=300)
    save_model(new_model(made, "qwen", 24, 2, 3, seed=0), made, tmp_path, {})
    text = "So 123 * 45 = 6 apples.\n\nThen"
    own = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids
    assert load_policy(str(tmp_path), "cpu").tokenizer(text)["input_ids"] == own
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] != own  # else this test tests nothing
