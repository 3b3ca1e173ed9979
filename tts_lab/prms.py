"""The lab's seven PRMs: what each starts from, whose rollouts it learns from, and how one is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast

from tts_lab.feed import fed
from tts_lab.policies import save_model
from tts_lab.prm_data import prm_examples
from tts_lab.train import Example, TrainingConfig, batches, train
from tts_utils.mdp import split_steps
from tts_utils.metrics import within_problem_auc
from tts_utils.prms.formats import FORMATS
from tts_utils.prms.heads import head_model_class
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.protocols import PRM
from tts_utils.records import Problem, State

TERSE = ("lab-llama-m", "lab-llama-l")
VERBOSE = ("lab-qwen-m", "lab-qwen-l")
# A chat that may begin with a system message, which Qwen2.5-Math-PRM's format has.
CHAT_WITH_SYSTEM = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] }}\n"
    "{% elif m['role'] == 'assistant' %}<|assistant|>\n{{ m['content'] }}{{ eos_token }}\n"
    "{% else %}<|user|>\n{{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class PRMSpec:
    """One PRM of the cast.

    Attributes:
        name: its name.
        format: one of :data:`tts_utils.prms.formats.FORMATS`.
        base: the policy it starts from; two untrained layers are put on top.
        sources: the policies whose rollouts it learns from.
        consensus: keep only rollouts whose first wrong step the labels and the checker agree on.
        training: how long and how fast.
        seed: of the fresh weights, the order of the rollouts and the generated solutions.
        model: the published PRM that this one stands for.
        workers: processes that make the examples of a long run, each from a stream of its own; 0 for a short
            run, whose examples come from one stream in the training process.
    """

    name: str
    format: str
    base: str
    sources: tuple[str, ...]
    consensus: bool
    training: TrainingConfig
    seed: int
    model: str
    workers: int = 0

    @property
    def streams(self) -> tuple[int, ...]:
        """The seeds of the training streams that its generated solutions come from."""
        return tuple(self.seed * 1000 + k for k in range(self.workers)) or (self.seed,)


FRESH_LAYERS = 2
GENERATED = 0.6  # share of the training examples that are generated solutions, not rollouts


def _short(millions: float) -> TrainingConfig:
    """Twenty minutes on one core. Such PRMs stay poor judges, and are to: the cast needs both kinds."""
    return TrainingConfig(
        int(millions * 1e6), batch_tokens=4096, peak_lr=2.5e-3, lm_weight=0.3, bfloat16=True
    )


def _long(millions: float, peak_lr: float = 3e-3) -> TrainingConfig:
    """Eight minutes on one large GPU, or hours on a CPU."""
    return TrainingConfig(
        int(millions * 1e6),
        batch_tokens=49_152,
        pool=3072,
        peak_lr=peak_lr,
        warmup=0.02,
        final_lr=0.03,
        lm_weight=0.3,
        bfloat16=True,
    )


PRMS = (
    PRMSpec(
        "lab-math-shepherd",
        "math-shepherd",
        "lab-llama-l",
        TERSE[:1],
        False,
        _short(12),
        31,
        "peiyi9979/math-shepherd-mistral-7b-prm",
    ),
    PRMSpec(
        "lab-rlhflow-terse",
        "rlhflow",
        "lab-llama-l",
        TERSE,
        False,
        _short(25),
        32,
        "RLHFlow/Llama3.1-8B-PRM-Mistral-Data",
    ),
    PRMSpec(
        "lab-rlhflow-verbose",
        "rlhflow",
        "lab-llama-l",
        VERBOSE,
        False,
        _short(20),
        33,
        "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data",
    ),
    PRMSpec(
        "lab-skywork-s",
        "skywork",
        "lab-qwen-m",
        TERSE + VERBOSE,
        False,
        _long(250),
        34,
        "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
        workers=2,
    ),
    PRMSpec(
        "lab-skywork-l",
        "skywork",
        "lab-qwen-l",
        TERSE + VERBOSE,
        False,
        _long(250),
        35,
        "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B",
        workers=2,
    ),
    PRMSpec(
        "lab-qwen-prm-s",
        "qwen-math-prm",
        "lab-qwen-l",
        TERSE + VERBOSE,
        True,
        _long(300),
        36,
        "Qwen/Qwen2.5-Math-PRM-7B",
        workers=3,
    ),
    PRMSpec(
        "lab-qwen-prm-l",
        "qwen-math-prm",
        "lab-qwen-xl",
        TERSE + VERBOSE,
        True,
        _long(204, 1.5e-3),
        37,
        "Qwen/Qwen2.5-Math-PRM-72B",
        workers=3,
    ),
)


def with_fresh_layers(base, count: int, head: str, seed: int):
    """A copy of a policy with ``count`` new layers on top that change nothing until they are trained.

    Args:
        base: a causal language model.
        count: how many layers.
        head: "labels" for a language model, else a head of its own; see :mod:`tts_utils.prms.heads`.
        seed: of the new weights.
    """
    config = base.config.to_dict()
    config["num_hidden_layers"] += count
    config.pop("layer_types", None)
    config.pop("architectures", None)
    torch.manual_seed(seed)
    config = type(base.config)(**config)
    model = type(base)(config) if head == "labels" else head_model_class(type(config), head)(config)
    model.load_state_dict(base.state_dict(), strict=False)
    for layer in model.model.layers[len(base.model.layers) :]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def judge(head: str, label_ids: list[int]):
    """For :func:`tts_lab.train.train`: next-token logits, and the judgement of every token, good first."""

    def outputs(model, ids):
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        # A head model has no words of its own: the lab ties its embeddings.
        embeddings = model.get_output_embeddings() if head == "labels" else model.get_input_embeddings()
        words = hidden @ embeddings.weight.T
        if head == "labels":
            return words, words[..., label_ids]
        logits = model.logits(hidden)
        if head == "value":
            return words, torch.cat([logits, torch.zeros_like(logits)], dim=-1)  # sigmoid(x): softmax of x, 0
        return words, logits.flip(-1)  # this head has its good class second

    return outputs


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
        if result.too_long:
            raise ValueError(
                f"a rollout of {len(state.text)} characters on {state.problem.text[:60]!r} is longer than "
                f"{prm.name} reads; leave such rollouts out of the labels"
            )
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


def agreed(labels: pd.DataFrame) -> pd.DataFrame:
    """The rollouts whose first wrong step is the same by Monte Carlo and by the checker (-1: none).

    Consensus filtering (Zhang et al. 2025, arXiv:2501.07301, section 3.1); their second judge is a language
    model, here it is the exact checker.
    """
    first = [
        _step_of(text, character) for text, character in zip(labels["text"], labels["lost_from"], strict=True)
    ]
    return labels[np.array(first) == labels["first_error"].to_numpy()]


def _step_of(text: str, character: int) -> int:
    """The step in which a character stands; -1 behind the end."""
    if character >= len(text):
        return -1
    return int((np.cumsum([len(step) for step in split_steps(text)]) <= character).sum())


def data_sizes(labels: pd.DataFrame, tokenizer: PreTrainedTokenizerFast) -> dict:
    """The paper's Table 1 for these rollouts: how many, and the mean tokens of a response and of a step."""
    tokens = np.array([len(ids) for ids in tokenizer(list(labels["text"]))["input_ids"]])
    steps = np.array([len(split_steps(text)) for text in labels["text"]])
    return {
        "num_rollouts": len(labels),
        "tokens_per_response": round(float(tokens.mean()), 2),
        "tokens_per_step": round(float(tokens.sum() / steps.sum()), 2),
    }


def prm_model(spec: PRMSpec, base, tokenizer: PreTrainedTokenizerFast):
    """The untrained model of a PRM and what it is trained by; the tokenizer gets the PRM's chat template."""
    if spec.format == "qwen-math-prm":
        tokenizer.chat_template = CHAT_WITH_SYSTEM
    head = FORMATS[spec.format].head
    label_ids = [tokenizer.encode(w, add_special_tokens=False)[-1] for w in ("+", "-")]
    return with_fresh_layers(base, FRESH_LAYERS, head, spec.seed), judge(head, label_ids)


def prm_training_examples(
    spec: PRMSpec, tokenizer: PreTrainedTokenizerFast, labels: pd.DataFrame
) -> Callable[[int], Iterator[Example]]:
    """``seed -> examples`` of a PRM, for this process or another one."""
    used = agreed(labels) if spec.consensus else labels
    registers = tuple(r for r, s in (("terse", TERSE), ("verbose", VERBOSE)) if set(s) & set(spec.sources))
    return partial(prm_examples, spec.format, tokenizer, used, registers, GENERATED)


def train_prm(
    spec: PRMSpec,
    base,
    tokenizer: PreTrainedTokenizerFast,
    labels: pd.DataFrame,
    held_out: pd.DataFrame,
    labels_cost: dict,
    folder: Path,
    device: str,
    log=print,
) -> dict:
    """Train one PRM and write it into ``folder`` with the marker that names its format.

    Args:
        spec: which one.
        base: the policy's model.
        tokenizer: the policy's tokenizer; a copy with the PRM's chat template is written.
        labels: the rollouts of ``spec.sources``, with columns question, text, lost_from, right, first_error.
        held_out: the like, only measured on, at the end.
        labels_cost: what the labels cost, for the record.
        folder: where it goes.
        device: "cpu" or "cuda".
        log: called with a line now and then.
    """
    model, outputs = prm_model(spec, base, tokenizer)
    text_format = FORMATS[spec.format](tokenizer)
    model.to(device)
    used = agreed(labels) if spec.consensus else labels
    make = prm_training_examples(spec, tokenizer, labels)
    if spec.workers:
        data = fed(make, spec.streams, spec.training)
    else:
        data = batches(make(spec.seed), spec.training)
    record = train(model, data, spec.training, spec.seed, log, outputs)
    record |= {"workers": spec.workers, "streams": spec.streams}
    record |= {"stands_for": spec.model, "base": spec.base, "sources": spec.sources, "generated": GENERATED}
    record |= {
        "kept": f"{len(used)} of {len(labels)}",
        "data": data_sizes(used, tokenizer),
        "labels": labels_cost,
    }
    record["held_out_auc"] = held_out_auc(TransformersPRM(spec.name, model, text_format), held_out)
    save_model(model, tokenizer, folder, record, tts_prm=json.dumps({"format": spec.format}))
    return record
