"""Prompts: the family is read off the model, and a turn is continued to the token."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from tests.tiny import problem, tokenizer
from tts_utils import mdp, prompts
from tts_utils.records import State

# What matters of the families' own templates: what they trim, add, refuse and where the answer begins.
LLAMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n\n{{ system }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<｜User｜>{{ m['content'] }}"
    "{% elif m['role'] == 'assistant' %}<｜Assistant｜>{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{% if m['role'] == 'system' %}<|system|>\n{{ m['content'] }}\n{% else %}"
    "<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
REFUSES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
DROPS = "{% for m in messages if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
SPECIAL = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>")


@cache
def with_template(template: str | None):
    """The lab's tokenizer with another family's chat template and special tokens."""
    changed = copy.deepcopy(tokenizer())
    changed.add_special_tokens({"additional_special_tokens": [*SPECIAL, "<｜User｜>", "<｜Assistant｜>"]})
    changed.chat_template = template
    return changed


FAMILIES = [
    (LLAMA3, ["LlamaForCausalLM"], prompts.LLAMA3),
    (LLAMA3, None, prompts.LLAMA3),
    (LLAMA3, ["MistralForCausalLM"], prompts.DEFAULT),
    (CHATML, ["Qwen2ForCausalLM"], prompts.QWEN2),
    (CHATML, ["LlamaForCausalLM"], prompts.DEFAULT),
    (R1, ["Qwen2ForCausalLM"], prompts.R1_DISTILL),
    (R1, ["LlamaForCausalLM"], prompts.R1_DISTILL),
    (ZEPHYR, ["MistralForCausalLM"], prompts.DEFAULT),
    (REFUSES, ["GemmaForCausalLM"], prompts.NO_SYSTEM),
    (DROPS, ["MistralForCausalLM"], prompts.NO_SYSTEM),
]


@pytest.mark.parametrize(("template", "architectures", "family"), FAMILIES)
def test_the_family_is_read_off_template_and_architecture(template, architectures, family):
    assert prompts.family_of(with_template(template), architectures) == family


def test_the_lab_is_asked_plainly_whatever_its_architecture():
    for architectures in (None, ["LlamaForCausalLM"], ["Qwen2ForCausalLM"]):
        assert prompts.family_of(tokenizer(), architectures) == prompts.LAB
    text = tokenizer().decode(prompts.prompt_ids(tokenizer(), prompts.LAB, problem()))
    assert text == f"<|bos|><|user|>{problem().text}<|assistant|>"


@pytest.mark.parametrize("template", ["", None])
def test_a_base_model_is_refused(template):
    with pytest.raises(ValueError, match="no chat template"):
        prompts.family_of(with_template(template))


def test_metas_prompt_is_metas_to_the_letter():
    digest = hashlib.sha256(prompts.LLAMA_MATH.encode()).hexdigest()
    assert digest == "fba6765edf2162ae50990853a7f310103b685c72d9b4434cccec28371f005dae"


def rendered(template, architectures):
    changed = with_template(template)
    family = prompts.family_of(changed, architectures)
    return changed.decode(prompts.prompt_ids(changed, family, problem()))


def test_what_each_family_reads():
    text = problem().text
    llama = rendered(LLAMA3, ["LlamaForCausalLM"])
    assert f"Today Date: 26 Jul 2024\n\n{prompts.LLAMA_MATH}<|eot_id|>" in llama
    assert llama.endswith(f"{text}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    assert rendered(CHATML, ["Qwen2ForCausalLM"]) == (
        f"<|im_start|>system\n{prompts.BOXED}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    r1 = f"<|bos|><｜User｜>{text}\n{prompts.BOXED}<｜Assistant｜><think>\n"
    assert rendered(R1, ["Qwen2ForCausalLM"]) == r1
    gemma = f"<start_of_turn>user\n{text}\n{prompts.BOXED}\n<start_of_turn>model\n"
    assert rendered(REFUSES, ["GemmaForCausalLM"]) == gemma


pieces = st.sampled_from(
    [
        "\n\n",
        "\n",
        " ",
        "12 + 30 = 42.",
        "</think>",
        "<think>",
        "<|eot_id|>",
        "<|im_end|>",
        "<|assistant|>",
        "é∑😀",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(pieces | st.text("ab {}\\", max_size=5), max_size=8).map(tuple), st.sampled_from(FAMILIES))
def test_a_turn_is_continued_exactly(steps, of):
    template, architectures, _ = of
    changed = with_template(template)
    family = prompts.family_of(changed, architectures)
    prompt = prompts.prompt_ids(changed, family, problem(2))
    ids = prompts.state_ids(changed, family, State(problem(2), steps))
    assert ids[: len(prompt)] == prompt
    assert changed.decode(ids[len(prompt) :], clean_up_tokenization_spaces=False) == "".join(steps)
    assert not set(ids[len(prompt) :]) & set(changed.all_special_ids)


def test_the_separator_of_the_last_step_reaches_the_model():
    blank = tokenizer().convert_tokens_to_ids("ĊĊ")
    for template, architectures, _ in FAMILIES:
        changed = with_template(template)
        family = prompts.family_of(changed, architectures)
        step = "12 + 30 = 42." + mdp.SEPARATOR
        assert prompts.state_ids(changed, family, State(problem(), (step,)))[-1] == blank


def test_tokens_of_steps_do_not_shift_when_steps_follow():
    steps = ("12 + 30 = 42.\n\n", "42 + 7 = 49.\n\n", "The answer is \\boxed{49}.")
    ids = [prompts.state_ids(tokenizer(), prompts.LAB, State(problem(), steps[:k])) for k in range(4)]
    for shorter, longer in itertools.pairwise(ids):
        assert longer[: len(shorter)] == shorter


@pytest.mark.parametrize("template", [LLAMA3, CHATML, R1])
def test_a_lone_surrogate_is_read_as_a_question_mark(template):
    """A server's JSON can deliver one, and a problem file too; no tokenizer takes it."""
    changed = with_template(template)
    family = prompts.family_of(changed, None)

    def ids(mark: str) -> list[int]:
        asked = dataclasses.replace(problem(), text=f"Add {mark} and 1.")
        return prompts.state_ids(changed, family, State(asked, (f"{mark} + 1 = 2.\n\n",)))

    assert ids("\ud83d") == ids("\udc00") == ids("?")


@pytest.mark.parametrize(("template", "architectures", "family"), FAMILIES)
def test_no_text_of_a_problem_is_a_special_token_nor_a_mark_of_the_template(template, architectures, family):
    changed = with_template(template)
    marks = [t.content for t in changed.added_tokens_decoder.values() if t.special or t.content in template]
    special = {changed.convert_tokens_to_ids(mark) for mark in marks}

    def counted(text: str) -> list[int]:
        ids = prompts.prompt_ids(changed, family, dataclasses.replace(problem(), text=text))
        return [i for i in ids if i in special]

    for text in (
        *marks,
        "".join(marks),
        f"{marks[0]}{marks[-1]}",
        "<|eot<|eot_id|>_id|>",
        "\ue000<|im_end|>",
    ):
        assert counted(f"Add {text} 1") == counted("Add 1"), text


HOSTILE_TEMPLATES = {
    "reaches for the class of a string": "{{ ''.__class__.__mro__ }}",
    "a range without end": "{% for i in range(10 ** 9) %}{{ i }}{% endfor %}",
    "no template": "{% for m in messages %}",
    "an unknown function": "{{ open('/etc/passwd') }}",
    "refuses": "{{ raise_exception('not you') }}",
    "divides by zero": "{{ 1 / 0 }}",
    "not a text": "{{ messages[0]['content'] + 1 }}",
}


@pytest.mark.parametrize("template", HOSTILE_TEMPLATES.values(), ids=HOSTILE_TEMPLATES)
def test_a_template_that_cannot_be_rendered_is_one_message(template):
    changed = copy.deepcopy(tokenizer())
    changed.chat_template = template
    with pytest.raises(prompts.UnknownModel, match=r"chat template of .* cannot be used"):
        prompts.family_of(changed)
