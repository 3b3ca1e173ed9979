"""The lab's two tokenizers: byte-level BPE that never joins digits, so numbers are read digit by digit.

The Llama-like one begins a chat with a bos token and ends a turn with ``<|eos|>``. The Qwen-like one begins
with nothing, has line breaks behind its roles, and ends a turn with ``<|end|>``.
"""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tts_lab.problems import training_stream
from tts_lab.solutions import solution

VOCABULARY = 896
TOKENIZER_SEED = 7  # of the stream of problems that both tokenizers are trained on
NUM_PROBLEMS = 20_000
STEP_TAG = "ки"  # Math-Shepherd's step tag; swallows the space before and the newline after it
EXTRA = "<extra_0>"  # Qwen2.5-Math-PRM's mark behind a step
# A blank line, an operator with its spaces and a colon with its space are one token each; a digit is
# always a token of its own; a word carries the space before it.
PATTERN = r"\n\n| [-+*/=] |: |\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s"
REGISTERS = {"llama": ("terse",), "qwen": ("verbose", "long")}
CHAT_TEMPLATES = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}"
        "{% if m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}{{ eos_token }}"
        "{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "qwen": (
        "{% for m in messages %}"
        "{% if m['role'] == 'assistant' %}<|assistant|>\n{{ m['content'] }}{{ eos_token }}\n"
        "{% else %}<|user|>\n{{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
}


@cache
def build_tokenizer(
    family: str, num_problems: int = NUM_PROBLEMS, seed: int = TOKENIZER_SEED
) -> PreTrainedTokenizerFast:
    """Train a family's tokenizer on problems and solutions of the training stream.

    Args:
        family: "llama" or "qwen".
        num_problems: how many problems it is trained on.
        seed: the stream's.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    end = {"llama": "<|eos|>", "qwen": "<|end|>"}[family]
    mark = {"llama": STEP_TAG, "qwen": EXTRA}[family]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|pad|>", "<|bos|>", end, "<|user|>", "<|assistant|>"],
    )
    bpe.train_from_iterator(_texts(family, num_problems, seed), trainer)
    bpe.add_special_tokens(
        [AddedToken(mark, lstrip=mark == STEP_TAG, rstrip=mark == STEP_TAG, normalized=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|bos|>",
        eos_token=end,
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATES[family],
        clean_up_tokenization_spaces=False,
    )


def _texts(family: str, num_problems: int, seed: int):
    rng = np.random.default_rng(seed)
    for problem in islice(training_stream(seed), num_problems):
        yield problem.text
        for register in REGISTERS[family]:
            yield solution(problem, register, rng)
