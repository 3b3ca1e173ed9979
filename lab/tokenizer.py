"""The lab's tokenizer: byte-level BPE that never joins digits, so numbers are read digit by digit."""

from __future__ import annotations

from itertools import islice

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lab.problems import training_stream

VOCABULARY = 640
STEP_TAG = "ки"  # Math-Shepherd's step tag; swallows the space before and the newline after it
# A blank line, an operator with its spaces and a colon with its space are one token each; a digit is
# always a token of its own; a word carries the space before it.
PATTERN = r"\n\n| [-+*/=] |: |\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}{{ eos_token }}"
    "{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer(num_problems: int = 20_000, seed: int = 7) -> PreTrainedTokenizerFast:
    """Train the tokenizer on problems and solutions of the training stream."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"],
    )
    problems = islice(training_stream(seed), num_problems)
    bpe.train_from_iterator((f"{p.text}\n\n{p.solution}" for p in problems), trainer)
    bpe.add_special_tokens([AddedToken(STEP_TAG, lstrip=True, rstrip=True, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
