"""Prompts, continued turns and PRM formats on the vocabularies that published models have."""

from __future__ import annotations

import copy
import random
from functools import cache

import pytest

pytest.importorskip("transformers")

from tests import vocabularies
from tests.test_prompts import CHATML, DROPS, LLAMA3, R1
from tts_utils import prompts
from tts_utils.policies.requests import FULL
from tts_utils.prms.formats import FORMATS
from tts_utils.protocols import PromptTooLong
from tts_utils.records import Problem, SamplingConfig, State

TEMPLATES = {"llama3": LLAMA3, "qwen": CHATML, "mistral": DROPS, "r1_llama": R1, "r1_qwen": R1}
ARCHITECTURES = {
    "llama3": "LlamaForCausalLM",
    "qwen": "Qwen2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "r1_llama": "LlamaForCausalLM",
    "r1_qwen": "Qwen2ForCausalLM",
}
TEXTS = (
    "## Step 1: Find the area\nThe area is $\\frac{1}{2} \\cdot 12 \\cdot 30 = 180$.\n\n",
    "  Step 2:   subtract\n\n\n",
    "Therefore, the final answer is: $\\boxed{\\frac{9}{19}}$. I hope it is correct.",
    "\n\nÅ ∑ 😀 é x² ≤ ½\t7\n",
    "<html> a < b && b > a </html>\n\n",
)


@cache
def asked(name: str):
    tokenizer = getattr(vocabularies, name)()
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer, prompts.family_of(tokenizer, [ARCHITECTURES[name]])


@pytest.fixture(params=TEMPLATES)
def model(request):
    """A vocabulary with its chat template, and the family it is asked as."""
    return asked(request.param)


def ids(model, text: str) -> list[int]:
    return prompts.prompt_ids(*model, Problem("p", text, "1"))


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_is_the_rendered_chat(model, text):
    tokenizer, family = model
    chat = tokenizer.apply_chat_template(
        prompts.messages(family, Problem("p", text, "1")),
        add_generation_prompt=True, tokenize=False, date_string=prompts.LLAMA_DATE,
    )  # fmt: skip
    assert ids(model, text) == tokenizer(chat, add_special_tokens=False)["input_ids"]


def test_no_text_of_a_problem_is_a_special_token(model):
    tokenizer, _ = model
    special = set(tokenizer.all_special_ids) | {
        i for i, t in tokenizer.added_tokens_decoder.items() if t.special
    }
    marks = [tokenizer.decode([i]) for i in sorted(special)]
    plain = [i for i in ids(model, "Is 1 < 2?") if i in special]
    for text in (*marks, "".join(marks), f"Is {marks[0]}1{marks[-1]} so?", f"{marks[0][:-1]}{marks[1]}>"):
        found = ids(model, f"Is {text} right?")
        assert [i for i in found if i in special] == plain, text
        assert f"Is {text} right?" in tokenizer.decode(found, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("text", TEXTS)
def test_a_turn_is_continued_by_the_tokens_that_were_written(model, text):
    """A policy that writes canonically is cut behind any token and goes on from what it has written."""
    tokenizer, _ = model
    written = prompts.text_ids(tokenizer, text)
    assert prompts.text_of(tokenizer, written) == text
    rng = random.Random(0)
    whole = 0
    for cut in rng.sample(range(1, len(written)), min(12, len(written) - 1)):
        first, second = (prompts.text_of(tokenizer, part) for part in (written[:cut], written[cut:]))
        if "\ufffd" in first + second:  # inside a character: such a sample is cut, and not continued
            continue
        assert first + second == text
        whole += prompts.text_ids(tokenizer, first) == written[:cut]
    assert whole > 0


def test_a_sentencepiece_policy_keeps_the_blank_before_its_first_word():
    """As vLLM's detokenizer gives it: ' Step 1.', of which the ids are those that were written."""
    tokenizer, _ = asked("mistral")
    written = tokenizer("Step 1.\n\n", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(written) == "Step 1.\n\n"  # what the decoder loses
    text = prompts.text_of(tokenizer, written)
    assert text == " Step 1.\n\n" and prompts.text_ids(tokenizer, text) == written
    state = State(Problem("p", "1 + 1?", "2"), (text,))
    assert prompts.state_ids(tokenizer, prompts.NO_SYSTEM, state)[-len(written) :] == written


def test_a_vocabulary_that_does_not_read_text_as_written_is_refused():
    from tokenizers import normalizers

    tokenizer = copy.deepcopy(asked("mistral")[0])
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    with pytest.raises(prompts.UnknownModel, match=r"reads 'Step 1: add.*as 'step 1: add"):
        prompts.family_of(tokenizer)


STEPS = ("12 + 30 = 42.\n\n", "Sum, as\n42 + 7 = 49. \n\n", "The answer is \\boxed{49}.")
TRAJECTORY = State(Problem("p", "Add 12, 30 and 7.", "49"), STEPS)


def test_math_shepherd_reads_its_published_tokens():
    form = FORMATS["math-shepherd"](asked("mistral")[0])
    assert form.labels == (648, 387) and form.tag == 12902
    found = form.encode(TRAJECTORY)
    assert [found.ids[p] for p in found.positions] == [12902] * 3
    assert (
        found.ids
        == form.tokenizer("Add 12, 30 and 7. " + "".join(f"{s.strip()} ки\n" for s in STEPS))["input_ids"]
    )


def test_rlhflow_reads_its_published_tokens_and_strips_every_step():
    tokenizer, _ = asked("llama3")
    form = FORMATS["rlhflow"](tokenizer)
    assert form.labels == (10, 12)
    found = form.encode(TRAJECTORY)
    chat = []
    for k, step in enumerate(STEPS):
        said = f"Add 12, 30 and 7. {step.strip()}" if k == 0 else step.strip()
        chat += [{"role": "user", "content": said}, {"role": "assistant", "content": "+"}]
    whole = tokenizer.apply_chat_template(chat, tokenize=False, date_string=prompts.LLAMA_DATE)
    assert found.ids == tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert [found.ids[p + 1] for p in found.positions] == [10] * 3
    blank_first = State(TRAJECTORY.problem, ("\n\n" + STEPS[0], *STEPS[1:]))
    assert form.encode(blank_first) == found


@pytest.mark.parametrize("strip", [False, True])
def test_skywork_and_qwen_read_their_published_tokens_with_and_without_ends(strip):
    tokenizer, _ = asked("qwen")
    steps = [step.strip() if strip else step.strip("\n") for step in STEPS]
    form = FORMATS["skywork"](tokenizer, strip)
    text = "Add 12, 30 and 7.\n" + "".join(step.replace("\n", " ") + "\n" for step in steps)
    found = form.encode(TRAJECTORY)
    assert [found.ids[p] for p in found.positions] == [198] * 3
    assert tokenizer.decode(found.ids[1:]) == text
    form = FORMATS["qwen-math-prm"](tokenizer, strip)
    found = form.encode(TRAJECTORY)
    chat = [
        {"role": "system", "content": prompts.BOXED},
        {"role": "user", "content": TRAJECTORY.problem.text},
        {"role": "assistant", "content": "".join(step + "<extra_0>" for step in steps)},
    ]
    assert found.ids == tokenizer(tokenizer.apply_chat_template(chat, tokenize=False))["input_ids"]
    assert {found.ids[p] for p in found.positions} == {form.extra} and len(found.positions) == 3


# --- steps that end inside a token, and models of every architecture at reduced depth


def small_policy(name: str, context: int = 512):
    """A random model of the family's architecture and whole vocabulary, one narrow layer deep."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

    from tts_utils.policies.transformers import TransformersPolicy

    tokenizer, family = asked(name)
    kind = {"L": LlamaConfig, "Q": Qwen2Config, "M": MistralConfig}[ARCHITECTURES[name][0]]
    config = kind(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    return TransformersPolicy(name, model, tokenizer, family=family)


def test_a_distilled_model_is_asked_without_a_system_message_and_thinks(model):
    tokenizer, family = model
    if family != prompts.R1_DISTILL:
        pytest.skip("another family")
    text = tokenizer.decode(ids(model, "What is 2 + 3?"), clean_up_tokenization_spaces=False)
    assert text.count("What is 2 + 3?") == 1 and prompts.BOXED in text and "<think>" in text
    assert "system" not in text


def test_every_token_that_can_end_a_step_is_looked_at(model):
    """Most steps of real policies end in a token such as ').\\n\\n'; some tokens go on behind the break."""
    tokenizer, _ = model
    policy = small_policy(next(name for name in TEMPLATES if asked(name) == model))
    looked_at = policy._tokens_that_may_stop(("\n\n",))
    pieces = {i: tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(len(tokenizer))}
    ending = [i for i, piece in pieces.items() if "\n\n" in piece]
    assert set(ending) <= looked_at < set(pieces)
    if "mistral" not in policy.name:  # whose vocabulary writes every line break alone
        assert len(ending) > 100 and any(not pieces[i].endswith("\n\n") for i in ending)
    start = prompts.text_ids(tokenizer, "So it is 42")
    for i in ending[:: max(1, len(ending) // 50)]:
        text = policy._stopped([*start, i], ("\n\n",))
        assert text.endswith("\n\n") and text.count("\n\n") == 1
        assert text == ("".join([policy._decode(start), pieces[i]])).split("\n\n")[0] + "\n\n"


def test_two_line_breaks_in_two_tokens_end_a_step_too(model):
    tokenizer, _ = model
    policy = small_policy(next(name for name in TEMPLATES if asked(name) == model))
    lone = [i for i in policy._tokens_that_may_stop(("\n\n",)) if policy._decode([i]) == "\n"]
    assert lone
    start = prompts.text_ids(tokenizer, "So it is 42.")
    assert policy._stopped([*start, lone[0]], ("\n\n",)) is None
    assert policy._stopped([*start, lone[0], lone[0]], ("\n\n",)) == policy._decode(start) + "\n\n"


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_architecture_samples_steps_and_whole_answers(name):
    """With its whole vocabulary: stop rules, the limit, the context, a turn that is continued."""
    policy = small_policy(name)
    state = State(Problem("p", "What is 2 + 3?", "5"))
    config = SamplingConfig(max_tokens=12, stop=("\n\n",), temperature=1.0)
    (first,) = policy.sample([state], 24, config)
    assert {c.finish_reason for c in first} <= {"stop", "length", "eos"}
    for c in first:
        assert (c.num_tokens == 12) or c.finish_reason != "length"
        assert c.text.endswith("\n\n") == (c.finish_reason == "stop") or c.finish_reason == "length"
    again = State(state.problem, (first[0].text,))
    assert policy.prompt_ids(again)[: len(policy.prompt_ids(state))] == policy.prompt_ids(state)
    assert [c.text for c in policy.sample([again], 2, config)[0]] == [
        c.text for c in policy.sample([again, state], 2, config)[0]
    ]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_context_is_the_limit_of_every_architecture(name):
    length = len(small_policy(name).prompt_ids(State(Problem("p", "1 + 1?", "2"))))
    policy, problem = small_policy(name, context=length + 5), Problem("p", "1 + 1?", "2")
    (row,) = policy.sample([State(problem)], 4, SamplingConfig(max_tokens=50, temperature=1.0))
    assert all(c.num_tokens <= 5 for c in row) and "length" in {c.finish_reason for c in row}
    full = State(problem, ("one two three four five six seven.\n\n",))
    assert policy.sample([full], 2, SamplingConfig(stop=("\n\n",))) == [[FULL, FULL]]
    with pytest.raises(PromptTooLong, match=f"reads at most {length + 5}"):
        policy.sample([State(Problem("q", "1 + 1? " * 20, "2"))], 1, SamplingConfig())
