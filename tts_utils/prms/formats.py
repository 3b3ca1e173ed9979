"""The four input formats of the seven published PRMs: how a trajectory is written and how a score is read.

A format is one class of two methods. ``encode`` turns a trajectory into token ids and says at which of them
the score of each step stands; ``read`` turns the model's hidden states there into scores. Positions are
noted while the ids are put together, never searched for in text that a policy wrote (Math-Shepherd's tag,
which is part of the text, is taken out of what a policy wrote). This module runs no model.

Source: the released code of Liu et al. 2025 (arXiv:2502.06703), and for each format the code or model card
of its own authors, named in its class.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from tts_utils.checkpoints import UnknownModel, encodable, load_tokenizer, pinned
from tts_utils.mdp import strip_separator
from tts_utils.prompts import OPEN, rendered
from tts_utils.protocols import BackendError
from tts_utils.records import State

STEP_TAG = "ки"
"""Math-Shepherd's step tag."""

EXTRA = "<extra_0>"
"""Qwen2.5-Math-PRM's step separator."""

QWEN_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."

MAX_TEXTS = 50_000
"""Texts whose token ids a format keeps."""


class Encoded(NamedTuple):
    """A trajectory as a PRM reads it.

    Attributes:
        ids: (T,) token ids.
        positions: (H,) for every step the index in ``ids`` at which its score is read, increasing.
    """

    ids: list[int]
    positions: list[int]


class Format(Protocol):
    """How one kind of PRM is written and read."""

    head: Literal["labels", "value", "classes"]  # asked when a model is loaded for it, not when it scores

    def encode(self, trajectory: State) -> Encoded:
        """Token ids of a trajectory of H steps, 1 or more, and the H positions of its scores."""
        ...

    def read(self, model: Any, hidden: Any) -> Any:
        """Scores (K,) in [0, 1] from the last hidden states (K, D) at K positions, all in float32."""
        ...


def math_shepherd_text(trajectory: State, without: Sequence[str] = (STEP_TAG,)) -> str:
    r"""The text a Math-Shepherd PRM reads: question, then every step with the tag behind it.

    Args:
        trajectory: its steps lose the white space around them, so that the tag always follows one space.
        without: strings that become a space in question and steps, so that a policy cannot write itself
            a score.

    Source: Wang et al. 2024 (arXiv:2312.08935) and its model card's example.
    """
    steps = [clean(step, without).strip() for step in trajectory.steps]
    question = clean(trajectory.problem.text, without)
    if not steps:
        return f"{question} "
    texts = [f"{question} {steps[0]}".rstrip(), *steps[1:]]
    return "".join(f"{text} {STEP_TAG}\n" for text in texts)


class MathShepherdFormat:
    """Plain text with a tag behind every step; "+" against "-" at the tag.

    A score is the softmax over the two label logits at the tag, "+" first. Source: the model card of
    peiyi9979/math-shepherd-mistral-7b-prm.
    """

    head: ClassVar = "labels"

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.labels = _labels(tokenizer)
        # The last id, because sentencepiece tokenizers put a word-start mark before a lone character.
        self.tag = tokenizer.encode(STEP_TAG, add_special_tokens=False)[-1]
        if len({*self.labels, self.tag, tokenizer.unk_token_id}) < 4:
            raise UnknownModel(
                f"this tokenizer has no tokens of their own for '+', '-' and {STEP_TAG!r}: "
                "not a Math-Shepherd PRM"
            )
        special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
        self.without = (STEP_TAG, *(s for s in special if s.strip()))

    def encode(self, trajectory: State) -> Encoded:
        """See :class:`Format`."""
        ids = list(self.tokenizer(math_shepherd_text(trajectory, self.without), verbose=False)["input_ids"])
        return Encoded(ids, [i for i, token in enumerate(ids) if token == self.tag])

    def read(self, model, hidden):
        """See :class:`Format`."""
        return _read_labels(model, hidden, self.labels)


class RLHFlowFormat:
    """A chat in which the user writes one step a turn and the assistant answers "+".

    The first user turn is question, space, first step; every step stands without the white space around it. A
    score is the softmax over the logits of "+" and "-" at the token before each answer, "+" first. As every
    answer in the chat is "+", all steps are read from one pass, where the authors' own script makes one pass
    a step; the numbers are the same.
    Source: math-rm/prm_evaluate.py of RLHFlow/RLHF-Reward-Modeling.
    """

    head: ClassVar = "labels"

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self._plain = _Plain(tokenizer)
        self.labels = _labels(tokenizer)
        if len({*self.labels, tokenizer.unk_token_id}) < 3:
            raise UnknownModel(
                "this tokenizer has no tokens of their own for '+' and '-': not an RLHFlow PRM"
            )
        self._frames: dict[int, list[list[int]]] = {}
        self._frame(1)  # a tokenizer without a chat template is refused here

    def encode(self, trajectory: State) -> Encoded:
        """See :class:`Format`."""
        first, *others = (step.strip() for step in trajectory.steps)
        turns = [f"{trajectory.problem.text} {first}", *others]
        frame = self._frame(len(turns))
        ids, positions = [], []
        for t, content in enumerate(self._plain([turn.strip() for turn in turns])):
            ids += frame[2 * t] + content + frame[2 * t + 1]
            positions.append(len(ids) - 1)
            ids.append(self.labels[0])
        return Encoded(ids + frame[-1], positions)

    def read(self, model, hidden):
        """See :class:`Format`."""
        return _read_labels(model, hidden, self.labels)

    def _frame(self, num_steps: int) -> list[list[int]]:
        if num_steps not in self._frames:
            chat = [("user", OPEN), ("assistant", OPEN)] * num_steps
            self._frames[num_steps] = _chat_frame(self.tokenizer, chat)
        return self._frames[num_steps]


class SkyworkFormat:
    r"""Question and steps as lines; the sigmoid of a value head at the line break that ends each step.

    Ids are those of bos, question and ``"\n"``, then for every step those of its text, inner line breaks
    turned into spaces, and of ``"\n"``. Source: model_utils/io_utils.py of
    SkyworkAI/skywork-o1-prm-inference; its line breaks inside a step would be steps of their own. White space
    at the ends of a step stays, as there; the released code of Liu et al. 2025 drops it, as ``strip`` does.
    """

    head: ClassVar = "value"

    def __init__(self, tokenizer, strip: bool = False) -> None:
        self.tokenizer = tokenizer
        self.strip = strip
        self._plain = _Plain(tokenizer)
        newline = tokenizer.encode("\n", add_special_tokens=False)
        if tokenizer.bos_token_id is None or len(newline) != 1:
            raise UnknownModel(
                "this tokenizer has no bos token, or no token for a line break: not a Skywork PRM"
            )
        self.newline = newline[0]

    def encode(self, trajectory: State) -> Encoded:
        """See :class:`Format`."""
        lines = [_without_ends(step, self.strip).replace("\n", " ") for step in trajectory.steps]
        question, *steps = self._plain([trajectory.problem.text + "\n", *lines])
        ids, positions = [self.tokenizer.bos_token_id, *question], []
        for step in steps:
            ids += [*step, self.newline]
            positions.append(len(ids) - 1)
        return Encoded(ids, positions)

    def read(self, model, hidden):
        """See :class:`Format`."""
        return model.logits(hidden)[:, 0].sigmoid()


class QwenMathFormat:
    """A chat whose one answer has ``<extra_0>`` behind every step; two classes there.

    A score is the softmax of the two-class head, second class. Source: the model cards of
    Qwen/Qwen2.5-Math-PRM-7B and -72B, system prompt included. White space at the ends of a step stays, as
    there; the released code of Liu et al. 2025 drops it, as ``strip`` does.
    """

    head: ClassVar = "classes"

    def __init__(self, tokenizer, strip: bool = False) -> None:
        self.tokenizer = tokenizer
        self.strip = strip
        self._plain = _Plain(tokenizer)
        extra = tokenizer.encode(EXTRA, add_special_tokens=False)
        if len(extra) != 1 or extra[0] == tokenizer.unk_token_id:
            raise UnknownModel(f"this tokenizer has no token {EXTRA!r}: not a Qwen2.5-Math-PRM")
        self.extra = extra[0]
        chat = [("system", QWEN_SYSTEM), ("user", OPEN), ("assistant", OPEN)]
        self.frame = _chat_frame(tokenizer, chat)

    def encode(self, trajectory: State) -> Encoded:
        """See :class:`Format`."""
        asked = strip_separator(clean(trajectory.problem.text, (EXTRA,)))
        texts = [_without_ends(clean(step, (EXTRA,)), self.strip) for step in trajectory.steps]
        question, *steps = self._plain([asked, *texts])
        ids, positions = self.frame[0] + question + self.frame[1], []
        for step in steps:
            ids += [*step, self.extra]
            positions.append(len(ids) - 1)
        return Encoded(ids + self.frame[2], positions)

    def read(self, model, hidden):
        """See :class:`Format`."""
        return model.logits(hidden).softmax(-1)[:, 1]


FORMATS = {
    "math-shepherd": MathShepherdFormat,
    "rlhflow": RLHFlowFormat,
    "skywork": SkyworkFormat,
    "qwen-math-prm": QwenMathFormat,
}
"""The formats by the names that ``tts_prm.json`` uses."""

PUBLISHED = {
    "peiyi9979/math-shepherd-mistral-7b-prm": "math-shepherd",
    "RLHFlow/Llama3.1-8B-PRM-Mistral-Data": "rlhflow",
    "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data": "rlhflow",
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B": "skywork",
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B": "skywork",
    "Qwen/Qwen2.5-Math-PRM-7B": "qwen-math-prm",
    "Qwen/Qwen2.5-Math-PRM-72B": "qwen-math-prm",
}
"""The paper's seven PRMs on the Hub, and the format of each."""


def clean(text: str, without: Sequence[str] = ()) -> str:
    """The text with each of some strings as a space, and lone surrogates as "?".

    >>> clean("12 ккии = 12", without=["ки"])
    '12 к и = 12'
    """
    text = encodable(text)
    return re.sub("|".join(map(re.escape, without)), " ", text) if without else text


def _without_ends(step: str, strip: bool) -> str:
    return step.strip() if strip else strip_separator(step)


class _Plain:
    """Ids of texts in which nothing is a special token, whatever it looks like.

    Added tokens that are not special (Qwen's ``<tool_call>``) are still read whole; they mark nothing. A
    search asks for the steps of a path again at every depth, so that ids are kept for a while.
    """

    def __init__(self, tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            if len(self._known) >= MAX_TEXTS:
                self._known.clear()
                new = list(dict.fromkeys(texts))
            encoded = self._tokenizer(
                [clean(text) for text in new],
                add_special_tokens=False,
                split_special_tokens=True,
                verbose=False,
            )
            self._known.update(zip(new, encoded["input_ids"], strict=True))
        return [self._known[text] for text in texts]


def _chat_frame(tokenizer, chat: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Ids of what the chat template writes around the contents left open: one piece more than these."""
    if not tokenizer.chat_template:
        raise UnknownModel("this tokenizer has no chat template, which this PRM format needs")
    messages = [{"role": role, "content": content} for role, content in chat]
    pieces = rendered(tokenizer, messages).split(OPEN)
    if len(pieces) != 1 + sum(content == OPEN for _, content in chat):
        raise UnknownModel("this tokenizer's chat template does not write every message once")
    return [list(tokenizer(p, add_special_tokens=False)["input_ids"]) if p else [] for p in pieces]


def _labels(tokenizer) -> tuple[int, int]:
    """The ids of "+" and "-"."""
    good, bad = (tokenizer.encode(word, add_special_tokens=False)[-1] for word in ("+", "-"))
    return good, bad


def _read_labels(model, hidden, labels: tuple[int, int]):
    """The softmax of the language model's two label logits, the first one's share."""
    rows = model.get_output_embeddings().weight[list(labels)].to(hidden.device).float()  # (2, D)
    return (hidden @ rows.T).softmax(-1)[:, 0]


STRIPPABLE = ("skywork", "qwen-math-prm")
"""The formats that keep white space at the ends of steps unless told to strip; the others never keep it."""


def load_format(source: str, strip: bool = False) -> Format:
    """The format of a PRM's folder or Hub id, with its tokenizer.

    Args:
        source: the folder or the Hub id.
        strip: for a format in ``STRIPPABLE``, whether steps lose the white space around them.

    Raises:
        UnknownModel: the format is not known, or the tokenizer is not of that format.
        BackendError: ``strip`` is asked of a format that has no such choice.
    """
    kind = format_name(source)
    if strip and kind not in STRIPPABLE:
        raise BackendError(
            f"strip=True: the PRM format {kind!r} strips every step anyway; leave the option out"
        )
    format_class = functools.partial(FORMATS[kind], **({"strip": True} if strip else {}))
    tokenizer = load_tokenizer(source)
    try:
        return format_class(tokenizer)
    except Exception as exc:  # a chat template may raise what it likes
        raise UnknownModel(f"{source!r}: {exc}") from exc


ARCHITECTURES = {"Qwen2ForPrmModel": "skywork", "Qwen2ForProcessRewardModel": "qwen-math-prm"}
"""The architectures that name a PRM format by themselves, in a ``config.json``."""

_WORDS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


def format_name(source: str) -> str:
    """The name of a PRM's format: the published models' are known, a folder's stands in its files.

    A folder says it in ``tts_prm.json``, else by the architecture in its ``config.json``; a PRM that answers
    with a word is a plain language model there, and needs the former.

    Raises:
        UnknownModel: neither tells; the message says what was found and what was expected.
    """
    marker = Path(source) / "tts_prm.json"
    known = ", ".join(map(repr, FORMATS))
    way_out = f'a PRM folder names its format in tts_prm.json, as in {{"format": "rlhflow"}}; known: {known}'
    if (hub_id := pinned(source)[0]) in PUBLISHED:
        return PUBLISHED[hub_id]
    if not marker.is_file():
        found = _architecture(Path(source))
        if found in ARCHITECTURES:
            return ARCHITECTURES[found]
        what = f"its config.json says {found}, " if found else ""
        if found in _WORDS:
            what += "a language model, which is a PRM only if it was trained to answer with a word. It is "
        elif found:
            expected = ", ".join((*ARCHITECTURES, *_WORDS))
            what += f"where {expected} was expected: no process reward model that is known here. It is "
        raise UnknownModel(
            f"{source!r} is a PRM of no known format: {what or 'it is '}none of the published PRMs "
            f"({', '.join(PUBLISHED)}) and no folder with a tts_prm.json. {way_out}"
        )
    try:
        kind = json.loads(marker.read_text(encoding="utf-8"))["format"]
    except (ValueError, KeyError, TypeError) as exc:
        raise UnknownModel(f"{marker} names no format; {way_out}") from exc
    if kind not in FORMATS:
        raise UnknownModel(f"{marker} names the format {kind!r}; {way_out}")
    return kind


def _architecture(folder: Path) -> str:
    """What a folder's ``config.json`` calls the model; "" where it says nothing."""
    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""
    return named if isinstance(named, str) else ""
