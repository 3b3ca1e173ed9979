"""Train the lab's Math-Shepherd PRM: "+" or "-" at the tag behind every step, from Monte-Carlo labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lab.policies import save_model
from lab.problems import training_stream
from lab.train import IGNORE, Example, TrainingConfig, train
from tts_utils.mdp import split_steps, strip_separator
from tts_utils.metrics import within_problem_auc
from tts_utils.prms import PRM, STEP_TAG, MathShepherdPRM, math_shepherd_text
from tts_utils.records import Problem, State


@dataclass(frozen=True, slots=True)
class PRMSpec:
    """One PRM of the cast: the policy it starts from, the layers put on top, and its training."""

    name: str
    base: str
    fresh_layers: int
    training: TrainingConfig
    clean: float  # fraction of the sequences that are solutions of the training stream
    seed: int


PRMS = (
    PRMSpec(
        "lab-math-shepherd",
        base="lab-llama-xl",
        fresh_layers=2,
        training=TrainingConfig(30_000_000, batch_tokens=4096, peak_lr=1.5e-3, lm_weight=0.3),
        clean=0.15,
        seed=31,
    ),
)


def with_fresh_layers(base: LlamaForCausalLM, count: int, seed: int) -> LlamaForCausalLM:
    """A copy of the model with ``count`` new layers on top that change nothing until they are trained."""
    config = base.config.to_dict()
    config["num_hidden_layers"] += count
    config.pop("layer_types", None)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(type(base.config)(**config))
    model.load_state_dict(base.state_dict(), strict=False)
    for layer in model.model.layers[len(base.model.layers) :]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def prm_example(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, lost_from: int, tag: int
) -> Example:
    """One labelled rollout: good (0) up to the character that loses it, bad (1) from there.

    Every token of the steps carries a label, not only the tag that is read in the end: a slip is easiest to
    see where it stands (token-level verifiers, Cobbe et al. 2021, arXiv:2110.14168, section 4.2). The words
    are learnt beside the labels as long as all is well, so that the sums are not forgotten.
    """
    steps = split_steps(text)
    encoded = tokenizer(
        math_shepherd_text(State(Problem("", question, "0"), steps)), return_offsets_mapping=True
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    # Where each step begins, in the rollout and in the PRM's text; a step's own characters stand in both.
    here, there = 0, len(question) + 1
    lost_at = len(math_shepherd_text(State(Problem("", question, "0"), steps)))
    for step in steps:
        bare = strip_separator(step)
        if lost_from < here + len(step):
            lost_at = there + min(max(lost_from - here, 0), len(bare))
            break
        here += len(step)
        there += len(bare) + len(f" {STEP_TAG}\n")
    start = len(question)
    labels = [IGNORE if begin < start else int(end > lost_at) for begin, end in offsets]
    tags = [int(token == tag) for token in ids]
    targets = [
        after if good == 0 and tag not in (token, after) else IGNORE
        for token, after, good in zip(ids, [*ids[1:], tag], [*labels[1:], 1], strict=True)
    ]
    return Example(ids, targets, labels, tags)


def prm_examples(
    tokenizer: PreTrainedTokenizerFast, labels: pd.DataFrame, clean: float, seed: int
) -> Iterator[Example]:
    """Labelled rollouts, drawn so that wrong ones come as often as right ones, and clean solutions.

    A problem's rollouts all stay in: what tells them apart is what the PRM has to learn.
    """
    tag = tokenizer.encode(STEP_TAG, add_special_tokens=False)[-1]
    rng = np.random.default_rng(seed)
    stream = training_stream(seed)
    lost = (labels["lost_from"] < labels["text"].str.len()).to_numpy()
    counts = np.array([(~lost).sum(), lost.sum()])
    weights = 1.0 / counts[lost.astype(int)]  # both kinds weigh the same together, where there are both
    rows = list(zip(labels["question"], labels["text"], labels["lost_from"], strict=True))
    while True:
        for i in rng.choice(len(rows), size=len(rows), p=weights / weights.sum()):
            if rng.random() < clean:
                p = next(stream)
                yield prm_example(tokenizer, p.text, p.solution, len(p.solution), tag)
            yield prm_example(tokenizer, *rows[i], tag)


def held_out_auc(prm: PRM, labels: pd.DataFrame, seed: int = 0) -> dict:
    """Within-problem AUC on labelled rollouts that were not trained on; the labels are Monte-Carlo too.

    Returns:
        ``steps``: kept steps against the one that loses, up to that one; ``completions``: right final
        answers against wrong ones by PRM-Last. Each [auc, low, high, number of problems], or None.
    """
    states = [
        State(Problem(str(i), question, "0"), split_steps(text))
        for i, question, text in zip(labels["problem"], labels["question"], labels["text"], strict=True)
    ]
    ids, values, kept = [], [], []
    last = []
    for state, result, character in zip(states, prm.score(states), labels["lost_from"], strict=True):
        ends = np.cumsum([len(step) for step in state.steps])
        lost = int((ends <= character).sum())  # the step that the character stands in
        upto = result.scores[: lost + 1]
        ids += [state.problem.problem_id] * len(upto)
        values += upto
        kept += [step < lost for step in range(len(upto))]
        last.append(result.scores[-1])
    rng = np.random.default_rng(seed)
    return {
        "steps": _auc(ids, values, kept, rng),
        "completions": _auc(labels["problem"], last, labels["right"], rng),
    }


def _auc(problem_ids, scores, right, rng: np.random.Generator) -> list[float] | None:
    """The AUC and its interval, or None where no problem has both right and wrong (as at toy size)."""
    frame = pd.DataFrame({"problem": list(problem_ids), "right": list(right)})
    if frame.groupby("problem")["right"].nunique().max() < 2:
        return None
    return [round(x, 4) for x in within_problem_auc(problem_ids, scores, right, rng)]


def train_prm(
    spec: PRMSpec,
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    labels: pd.DataFrame,
    held_out: pd.DataFrame,
    labels_cost: dict,
    folder: Path,
    device: str,
    log=print,
) -> dict:
    """Train one PRM and write it into ``folder`` with the marker that names its format.

    ``held_out`` is labelled like ``labels`` and only measured on, at the end.
    """
    model = with_fresh_layers(base, spec.fresh_layers, spec.seed).to(device)
    label_ids = tuple(tokenizer.encode(w, add_special_tokens=False)[-1] for w in ("+", "-"))
    examples = prm_examples(tokenizer, labels, spec.clean, spec.seed)
    record = train(model, examples, spec.training, spec.seed, log, label_ids)
    record |= {"base": spec.base, "clean": spec.clean, "labels": labels_cost}
    record["held_out_auc"] = held_out_auc(MathShepherdPRM(spec.name, model, tokenizer), held_out)
    save_model(model, tokenizer, folder, record)
    (folder / "tts_prm.json").write_text(json.dumps({"format": "math-shepherd"}) + "\n", encoding="utf-8")
    return record
