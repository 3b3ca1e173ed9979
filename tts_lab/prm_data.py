"""Labelled rollouts as training sequences, in whatever format the PRM reads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerFast

from tts_lab.pretokens import PretokenCache
from tts_lab.problems import training_stream
from tts_lab.solutions import solution, with_slip
from tts_lab.train import IGNORE, Example
from tts_utils.mdp import split_steps, strip_separator
from tts_utils.prms.formats import FORMATS, Format
from tts_utils.records import Problem, State

SLIPPED = 0.8  # of the generated solutions


def prm_example(text_format: Format, pieces: list[str], question: str, text: str, lost_from: int) -> Example:
    """One labelled rollout: good (0) up to the character that loses it, bad (1) from there.

    Every token of the steps carries a label, not only the position that is read in the end: a slip is
    easiest to see where it stands (token-level verifiers, Cobbe et al. 2021, arXiv:2110.14168, section 4.2).
    The words are learnt beside the labels as long as all is well, so that the sums are not forgotten.

    Args:
        text_format: the PRM's format.
        pieces: the text of every token of its tokenizer; see :func:`token_texts`.
        question: the problem's text.
        text: the rollout.
        lost_from: index of the character from which it is lost; its length where it never is.
    """
    steps = split_steps(text)
    ids, positions = text_format.encode(State(Problem("", question, "0"), steps))
    labels, tags, targets = [IGNORE] * len(ids), [0] * len(ids), [IGNORE] * len(ids)
    slips = [0] * len(ids)
    begin = here = 0
    for step, position in zip(steps, positions, strict=True):
        bare = strip_separator(step)
        segment = [pieces[i] for i in ids[begin : position + 1]]
        start = "".join(segment).rfind(bare)  # behind the question, a role or a blank; -1: not spelt out
        end, first = 0, True
        for i, piece in enumerate(segment, start=begin):
            end += len(piece)
            if start < 0 or not start < end <= start + len(bare):
                continue
            labels[i] = int(here + end - start > lost_from)
            if labels[i] == 0 and not first:
                targets[i - 1] = ids[i]
            first = False
        here += len(step)
        labels[position], tags[position] = int(here > lost_from), 1
        begin = position + 1
    if 1 in labels:
        slips[labels.index(1)] = 1
    return Example(ids, targets, labels, tags, slips)


def token_texts(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """What every token id stands for in a text."""
    return [tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(len(tokenizer))]


def prm_examples(
    format_name: str,
    tokenizer: PreTrainedTokenizerFast,
    labels: pd.DataFrame,
    registers: tuple[str, ...],
    generated: float,
    seed: int,
) -> Iterator[Example]:
    """Labelled rollouts, drawn so that wrong ones come as often as right ones, among generated solutions.

    A problem's rollouts all stay in: what tells them apart is what the PRM has to learn. They are few and
    come back often. The generated solutions are new each time, and most of them have a slip put in: they
    teach to compare a number with what it should be, which a large model brings along from pre-training.

    Args:
        format_name: the PRM's format, one of :data:`tts_utils.prms.formats.FORMATS`.
        tokenizer: its tokenizer.
        labels: rollouts, with columns question, text, lost_from.
        registers: of the generated solutions, in turn.
        generated: their share of the examples, in [0, 1).
        seed: of the order, and of the stream of generated solutions.
    """
    text_format = FORMATS[format_name](tokenizer)
    text_format.tokenizer = PretokenCache(tokenizer)
    pieces = token_texts(tokenizer)
    rng = np.random.default_rng(seed)
    stream = training_stream(seed)
    lost = (labels["lost_from"] < labels["text"].str.len()).to_numpy()
    counts = np.array([(~lost).sum(), lost.sum()])
    weights = 1.0 / counts[lost.astype(int)]  # both kinds weigh the same together, where there are both
    rows = list(zip(labels["question"], labels["text"], labels["lost_from"], strict=True))
    turn = 0
    while True:
        for i in rng.choice(len(rows), size=len(rows), p=weights / weights.sum()):
            while rng.random() < generated:
                problem = next(stream)
                text = solution(problem, registers[turn % len(registers)], rng)
                turn += 1
                lost_from = len(text)
                if rng.random() < SLIPPED:
                    text, lost_from = with_slip(text, rng)
                yield prm_example(text_format, pieces, problem.text, text, lost_from)
            yield prm_example(text_format, pieces, *rows[i])
