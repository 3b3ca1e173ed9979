r"""What a policy reads: the chat prompt of its family, and its own text continued token by token.

A model's family is read off its chat template and architecture, never off its name, so that a checkpoint in
a local folder is asked exactly as the one on the Hub. An assistant turn is continued by putting the tokens
of its text behind the tokens of the chat prompt. No template renders the partial turn, because templates
trim it (Llama-3 drops a trailing blank line, and with it the step separator), cut it (R1-Distill drops
what stands before ``</think>``) or close it.
Source: the authors' released code of arXiv:2502.06703 (tables 7 and 8 of the paper show the instructions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tts_utils.checkpoints import UnknownModel, encodable
from tts_utils.records import Problem, State

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."
"""The instruction of Qwen2.5 and of every family without one of its own (table 8 of arXiv:2502.06703)."""

LLAMA_MATH = r"""Solve the following math problem efficiently and clearly:

- For simple problems (2 steps or fewer):
Provide a concise solution with minimal explanation.

- For complex problems (3 steps or more):
Use this step-by-step format:

## Step 1: [Concise description]
[Brief explanation and calculations]

## Step 2: [Concise description]
[Brief explanation and calculations]

...

Regardless of the approach, always conclude with:

Therefore, the final answer is: $\boxed{answer}$. I hope it is correct.

Where [answer] is just the final number or expression that solves the problem."""
"""Meta's own prompt for MATH (table 7 of arXiv:2502.06703), as huggingface/search-and-learn quotes it
(src/sal/config.py, ``system_prompt``); a test compares its hash, since one changed letter changes results."""

LLAMA_DATE = "26 Jul 2024"
"""The date in Llama-3's system header: the template's own fallback. Left alone, Llama-3.2's template writes
today's date, and the same seed gives other samples tomorrow."""


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one family are asked; a step ends with ``mdp.SEPARATOR`` in every family.

    Attributes:
        name: for messages and reports.
        system: the system message, or "" for none.
        instruction: what follows the problem in the user's turn, after a newline, or "".
    """

    name: str
    system: str = ""
    instruction: str = ""


LLAMA3 = Family("llama-3", system=LLAMA_MATH)
QWEN2 = Family("qwen2.5", system=BOXED)
R1_DISTILL = Family("r1-distill", instruction=BOXED)
LAB = Family("lab")
DEFAULT = Family("default", system=BOXED)
NO_SYSTEM = Family("default, no system message", instruction=BOXED)


def family_of(tokenizer, architectures: Sequence[str] | None = None) -> Family:
    """The family of a model, by the marks of its chat template and its architecture.

    A template that refuses or drops a system message gets the instruction in the user's turn.

    Args:
        tokenizer: a transformers tokenizer.
        architectures: ``architectures`` of the model's config; None or () where it is not known.

    Raises:
        UnknownModel: the tokenizer has no chat template (a base model's).
    """
    template = _template(tokenizer)

    def built_on(stem: str) -> bool:
        return not architectures or any(name.startswith(stem) for name in architectures)

    if "<｜Assistant｜>" in template:  # with full-width bars
        return R1_DISTILL
    if "<|start_header_id|>" in template and built_on("Llama"):
        return LLAMA3
    if "<|im_start|>" in template and built_on("Qwen2"):
        return QWEN2
    if tokenizer.bos_token == "<|bos|>" and "<|user|>" in template and "system" not in template:
        return LAB
    return DEFAULT if _takes_system(tokenizer) else NO_SYSTEM


def messages(family: Family, problem: Problem) -> list[dict[str, str]]:
    r"""The chat that asks for a solution: a system message where the family has one, and the user's turn.

    >>> messages(R1_DISTILL, Problem("p", "What is 2 + 3?", "5"))[0]["content"].splitlines()
    ['What is 2 + 3?', 'Please reason step by step, and put your final answer within \\boxed{}.']
    """
    user = encodable(problem.text) + ("\n" + family.instruction if family.instruction else "")
    system = [{"role": "system", "content": family.system}] if family.system else []
    return [*system, {"role": "user", "content": user}]


def prompt_ids(tokenizer, family: Family, problem: Problem) -> list[int]:
    """Token ids of the chat prompt, up to where the assistant's turn begins; the same on every day."""
    return list(
        tokenizer.apply_chat_template(
            messages(family, problem),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            date_string=LLAMA_DATE,
        )["input_ids"]
    )


def state_ids(tokenizer, family: Family, state: State, prompt: Sequence[int] | None = None) -> list[int]:
    """Token ids of a state: the chat prompt's, then those of the policy's text as it stands.

    The text is encoded apart from the prompt, so that no token spans both, and without special tokens, so
    that it is read as the policy wrote it, whatever it contains (a lone surrogate alone is read as "?").
    ``prompt`` are the chat prompt's ids where they have been made before.
    """
    ids = prompt_ids(tokenizer, family, state.problem) if prompt is None else list(prompt)
    if state.text:
        text = tokenizer(encodable(state.text), add_special_tokens=False, split_special_tokens=True)
        ids += text["input_ids"]
    return ids


def _template(tokenizer) -> str:
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    if not template:
        raise UnknownModel(
            f"the tokenizer of {getattr(tokenizer, 'name_or_path', '') or 'this model'} has no chat "
            "template: it belongs to a base model; take the instruction-tuned one, or add a template"
        )
    return template


def _takes_system(tokenizer) -> bool:
    """Whether the chat template accepts a system message and shows it."""
    from jinja2 import TemplateError

    probe = [{"role": "system", "content": "system-probe"}, {"role": "user", "content": "user-probe"}]
    try:
        return "system-probe" in tokenizer.apply_chat_template(probe, tokenize=False)
    except TemplateError:
        return False
