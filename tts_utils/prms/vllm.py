"""Process reward models run by vLLM as pooling models: two numbers per step, with no text generated.

Three of the four formats run. A PRM that answers with a word ("labels": Math-Shepherd, RLHFlow) is turned
into a classifier of its two label tokens; Qwen2.5-Math-PRM is a model vLLM knows. Skywork's value head is
not: vLLM would need a plugin for it, and here is none, so a Skywork PRM is refused and runs by transformers.
"""

from __future__ import annotations

from collections.abc import Sequence

from tts_utils.backends import check_options
from tts_utils.checkpoints import find_model, load_config, refuse_pickles, revision_of
from tts_utils.policies import num_params_of
from tts_utils.policies.vllm import CONTEXT, answers_of, engine_options, import_vllm, runnable, start_engine
from tts_utils.prms.formats import FORMATS, Encoded, Format, format_name, load_format
from tts_utils.prms.heads import head_model_class, load_head_model
from tts_utils.protocols import TOO_LONG, BackendError, check_scores
from tts_utils.records import State, StepScores

COLUMN = {"labels": 0, "classes": 1}
"""Which of the two probabilities is the score: that of "+", or that of the second class."""


def load_vllm_prm(name_or_path: str, name: str = "", *, strip: bool = False, **options) -> VLLMPRM:
    """Start vLLM's engine for a PRM: a shipped one, a local folder, or a Hub id.

    Args:
        name_or_path, name, strip: as for :func:`tts_utils.prms.load_prm`.
        options: arguments of ``vllm.LLM``, such as ``tensor_parallel_size``, ``gpu_memory_utilization``
            (beside a policy on one GPU both need a share) or ``max_model_len`` (default 8,192, or what the
            model reads at most): a longer trajectory has no scores.

    Raises:
        UnknownModel: as for :func:`tts_utils.prms.load_prm`.
        BackendError: vLLM cannot be used here, cannot run this PRM, or does not take an option.
    """
    source = find_model(name_or_path)
    kind = format_name(source)
    format_class = FORMATS[kind]
    if format_class.head not in COLUMN:
        those = ", ".join(repr(k) for k, f in FORMATS.items() if f.head in COLUMN)
        raise BackendError(
            f"{name_or_path!r} has the PRM format {kind!r}, which vLLM cannot run; it runs {those}, and a "
            "value head only with a plugin, which tts_utils does not bring. Load it by transformers: "
            "load_prm(..., backend='transformers'), or --prm-backend transformers"
        )
    vllm = import_vllm()
    text_format = load_format(source, strip)
    config = load_config(source)
    refuse_pickles(source)
    pooling = pooling_options(text_format.tokenizer, text_format, config)
    check_options("vllm", options, {}, others=True, own=pooling)
    length = options.pop("max_model_len", CONTEXT)
    options = engine_options(config, length, **pooling, **options)
    folder = runnable(source, config, lambda: load_head_model(source, text_format.head, "cpu"))
    llm = start_engine(vllm, folder, options)
    revision = f"{revision_of(source)} vllm".strip()
    head = text_format.head
    num_params = num_params_of(source, None if head == "labels" else head_model_class(type(config), head))
    return VLLMPRM(name or name_or_path, llm, text_format, options["max_model_len"], num_params, revision)


def pooling_options(tokenizer, text_format: Format, config) -> dict:
    """Arguments of ``vllm.LLM`` that make a PRM of a checkpoint.

    STEP pooling wants the tag's id: without it vLLM returns no rows at all, and no error. A format without
    a tag of its own (RLHFlow) pools ALL tokens; its positions are picked out afterwards.
    """
    from vllm.config import PoolerConfig

    tag = step_tag(text_format)
    pooling = {"tok_pooling_type": "ALL"} if tag is None else {"tok_pooling_type": "STEP", "step_tag_id": tag}
    options = {
        "runner": "pooling",
        "pooler_config": PoolerConfig(task="token_classify", **pooling),
        "enable_prefix_caching": False,  # vLLM 0.32 never reads it where every step is scored
    }
    if text_format.head == "labels":
        options["convert"] = "classify"
        options["hf_overrides"] = {
            "architectures": list(config.architectures),
            "classifier_from_token": tokenizer.convert_ids_to_tokens(list(text_format.labels)),
            "method": "no_post_processing",
            "num_labels": 2,
        }
    return options


def step_tag(text_format: Format) -> int | None:
    """The token that stands behind every step and nowhere else, or None where the format has none."""
    return getattr(text_format, "tag", getattr(text_format, "extra", None))


class VLLMPRM:
    """A PRM run by vLLM's in-process ``LLM``; its scores are those of the transformers adapter."""

    settings = ""

    def __init__(
        self,
        name: str,
        llm,
        text_format: Format,
        max_model_len: int,
        num_params: int = 0,
        revision: str = "",
    ) -> None:
        self.name = name
        self.revision = revision
        self.num_params = num_params
        self.llm = llm
        self.format = text_format
        self.max_model_len = max_model_len

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step of all trajectories in one call of the engine; see ``tts_utils.protocols.PRM``.

        Raises:
            BadScores: scores and steps differ in number, or a score is not in [0, 1].
        """
        encoded = [self.format.encode(t) if t.steps else Encoded([], []) for t in trajectories]
        full = [i for i, (ids, _) in enumerate(encoded) if 0 < len(ids) <= self.max_model_len]
        prompts, what = [encoded[i].ids for i in full], f"score {len(full)} trajectories with {self.name}"
        asked = answers_of(self.llm.encode, what, prompts, pooling_task="token_classify") if full else []
        results = [TOO_LONG if len(ids) > self.max_model_len else StepScores((), 0) for ids, _ in encoded]
        column, tagged = COLUMN[self.format.head], step_tag(self.format) is not None
        for i, output in zip(full, asked, strict=True):
            ids, positions = encoded[i]
            rows = output.outputs.data[:, column].float().tolist()
            results[i] = StepScores(tuple(rows if tagged else (rows[p] for p in positions)), len(ids))
        check_scores(trajectories, results)
        return results
