r"""What a policy reads: the chat prompt of its family, and its own text continued token by token.

A model's family is read off its chat template and architecture, never off its name, so that a checkpoint in
a local folder is asked exactly as the one on the Hub. An assistant turn is continued by putting the tokens
of its text behind the tokens of the chat prompt. No template renders the partial turn, because templates
trim it (Llama-3 drops a trailing blank line, and with it the step separator), cut it (R1-Distill drops
what stands before ``</think>``) or close it.
Source: the authors' released code of arXiv:2502.06703 (tables 7 and 8 of the paper show the instructions).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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

OPEN = "\ue000"
"""Private use: stands in a rendered chat for what is filled in as token ids."""

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
        UnknownModel: the tokenizer has no chat template (a base model's) or one that cannot be used, or its
            vocabulary does not read the policy's own text as written.
    """
    template = _template(tokenizer)
    check_continues(tokenizer)

    def built_on(stem: str) -> bool:
        return not architectures or any(name.startswith(stem) for name in architectures)

    takes_system = _takes_system(tokenizer)
    if "<｜Assistant｜>" in template:  # with full-width bars
        return R1_DISTILL
    if "<|start_header_id|>" in template and built_on("Llama"):
        return LLAMA3
    if "<|im_start|>" in template and built_on("Qwen2"):
        return QWEN2
    if tokenizer.bos_token == "<|bos|>" and "<|user|>" in template and "system" not in template:
        return LAB
    return DEFAULT if takes_system else NO_SYSTEM


def messages(family: Family, problem: Problem) -> list[dict[str, str]]:
    r"""The chat that asks for a solution: a system message where the family has one, and the user's turn.

    >>> messages(R1_DISTILL, Problem("p", "What is 2 + 3?", "5"))[0]["content"].splitlines()
    ['What is 2 + 3?', 'Please reason step by step, and put your final answer within \\boxed{}.']
    """
    user = encodable(problem.text) + ("\n" + family.instruction if family.instruction else "")
    system = [{"role": "system", "content": family.system}] if family.system else []
    return [*system, {"role": "user", "content": user}]


def rendered(tokenizer, chat: Sequence[Mapping[str, str]], *, answer: bool = False) -> str:
    """What the chat template makes of messages, the same on every day.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        chat: messages with role and content.
        answer: whether to go on to where the assistant's turn begins.

    Raises:
        UnknownModel: the template cannot be rendered: it is no template, refuses these messages, or does what
            Jinja's sandbox forbids.
    """
    try:
        return tokenizer.apply_chat_template(
            list(chat), add_generation_prompt=answer, tokenize=False, date_string=LLAMA_DATE
        )
    except Exception as exc:  # the checkpoint's own code, in a sandbox: it raises what it likes
        raise UnknownModel(
            f"the chat template of {getattr(tokenizer, 'name_or_path', '') or 'this model'} cannot be used "
            f"({type(exc).__name__}: {exc!s:.200}); restore the published one"
        ) from exc


def prompt_ids(tokenizer, family: Family, problem: Problem) -> list[int]:
    """Token ids of the chat prompt, up to where the assistant's turn begins; the same on every day.

    They are those of the rendered chat, and nothing in the problem's text is a special token, nor one of the
    marks that the chat template sets: where it looks like one, it is read letter by letter.
    """
    return list(_prompt_ids(tokenizer, str(tokenizer.chat_template), family, problem.text))


@lru_cache(maxsize=1024)  # a search asks for the prompt of a problem at every node
def _prompt_ids(tokenizer, template: str, family: Family, text: str) -> tuple[int, ...]:
    held = [mark for mark in _marks(tokenizer, template) if mark in text]
    if not held:
        chat = rendered(tokenizer, messages(family, Problem("", text, "")), answer=True)
        return tuple(tokenizer(chat, add_special_tokens=False)["input_ids"])
    # Each mark in the text is rendered as one private character, so that what the template does to the rest
    # (to trim it, say) stays, and is put back as the tokens of its letters.
    pattern = re.compile("|".join(map(re.escape, held)))
    looks = pattern.findall(text)
    opened = Problem("", pattern.sub(OPEN, text.replace(OPEN, " ")), "")
    first, *others = rendered(tokenizer, messages(family, opened), answer=True).split(OPEN)
    if len(others) != len(looks):
        raise UnknownModel("this chat template does not write the problem once")
    ids = tokenizer(first, add_special_tokens=False)["input_ids"]
    for look, piece in zip(looks, others, strict=True):
        for letter in look:
            ids += text_ids(tokenizer, letter)
        ids += _behind_a_break(tokenizer, piece)
    return tuple(ids)


def _marks(tokenizer, template: str) -> tuple[str, ...]:
    """Texts that a prompt must not take from a problem: special tokens, and added ones of the template."""
    added = tokenizer.added_tokens_decoder.values()
    found = {token.content for token in added if token.special or token.content in template}
    return tuple(sorted((text for text in found if text.strip()), key=len, reverse=True))


def state_ids(tokenizer, family: Family, state: State, prompt: Sequence[int] | None = None) -> list[int]:
    """Token ids of a state: the chat prompt's, then those of the policy's text as it stands.

    The text is encoded apart from the prompt, so that no token spans both, and without special tokens, so
    that it is read as the policy wrote it, whatever it contains (a lone surrogate alone is read as "?").
    ``prompt`` are the chat prompt's ids where they have been made before.
    """
    ids = prompt_ids(tokenizer, family, state.problem) if prompt is None else list(prompt)
    return ids + text_ids(tokenizer, state.text) if state.text else ids


def text_ids(tokenizer, text: str) -> list[int]:
    """Token ids of a policy's own text, as they stand in the middle of a text.

    A sentencepiece vocabulary puts a word mark before what it encodes, and its decoder takes one away; behind
    a line break neither happens, so that ``text_of(tokenizer, text_ids(tokenizer, text)) == text``.
    """
    return _behind_a_break(tokenizer, encodable(text), split_special_tokens=True)


def text_of(tokenizer, ids: Sequence[int]) -> str:
    """The text of token ids that a policy wrote, as it stands in the middle of a text."""
    before = _break_ids(tokenizer)
    text = tokenizer.decode([*before, *ids], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text.removeprefix(_BREAK) if before else text


_BREAK = "\n"


def _behind_a_break(tokenizer, text: str, **options: bool) -> list[int]:
    before = _break_ids(tokenizer)
    text = _BREAK + text if before else text
    return tokenizer(text, add_special_tokens=False, **options)["input_ids"][len(before) :]


@lru_cache(maxsize=16)
def _break_ids(tokenizer) -> tuple[int, ...]:
    """The ids of a line break where sentencepiece's word mark stands before all that is encoded, else ()."""
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])
    if not pieces or not pieces[0].startswith("\u2581"):
        return ()
    return tuple(tokenizer(_BREAK, add_special_tokens=False)["input_ids"])


def check_continues(tokenizer) -> None:
    """Raise UnknownModel for a sentencepiece vocabulary that does not read a policy's own text as written."""
    if not _break_ids(tokenizer):
        return
    for text in ("Step 1: add.\n\n", " two", "two", "\n\nA", "  12 + 30\n  = 42\n\n\n", "\\boxed{é}"):
        if (read := text_of(tokenizer, text_ids(tokenizer, text))) != text:
            raise UnknownModel(
                f"the tokenizer of {getattr(tokenizer, 'name_or_path', '') or 'this model'} reads {text!r} "
                f"as {read!r}, so a policy's own text would not be continued as it stands; no backend can "
                "run it"
            )


def _template(tokenizer) -> str:
    try:
        template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    except ValueError as exc:  # several templates and no default
        raise UnknownModel(f"this tokenizer's chat templates cannot be told apart: {exc}") from exc
    if not template:
        raise UnknownModel(
            f"the tokenizer of {getattr(tokenizer, 'name_or_path', '') or 'this model'} has no chat "
            "template: it belongs to a base model; take the instruction-tuned one, or add a template"
        )
    return template


def _takes_system(tokenizer) -> bool:
    """Whether the chat template accepts a system message and shows it."""
    probe = [{"role": "user", "content": "user-probe"}]
    rendered(tokenizer, probe, answer=True)  # a template that refuses this as well is unusable
    try:
        return "system-probe" in rendered(tokenizer, [{"role": "system", "content": "system-probe"}, *probe])
    except UnknownModel:
        return False
