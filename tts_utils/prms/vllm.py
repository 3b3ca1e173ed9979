"""Process reward models run by vLLM as pooling models: two numbers per step, with no text generated.

Three of the four formats run. A PRM that answers with a word ("labels": Math-Shepherd, RLHFlow) is turned
into a classifier of its two label tokens; Qwen2.5-Math-PRM is a model vLLM knows. Skywork's value head is
not: vLLM would need a plugin for it, and here is none, so a Skywork PRM is refused and runs by transformers.

A trajectory that continues another costs its new tokens, as far as the engine's prefix cache holds whole
blocks of it (16 tokens on a GPU, 32 on a CPU). vLLM returns no scores for what it takes from the cache;
those are remembered here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice

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

REMEMBERED = 2**20
"""Scores that are remembered at most, about 100 MB; the oldest go first."""


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

    ALL tokens are pooled and the steps' positions picked out afterwards: STEP pooling looks for the tag among
    a prompt's tokens and fails where some of them came from the cache (vLLM 0.32).
    """
    from vllm.config import PoolerConfig

    options = {
        "runner": "pooling",
        "pooler_config": PoolerConfig(task="token_classify", tok_pooling_type="ALL"),
        "enable_prefix_caching": True,
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


class VLLMPRM:
    """A PRM run by vLLM's in-process ``LLM``; its scores are those of the transformers adapter.

    Attributes:
        tokens_run: tokens that went through the model so far; those taken from the prefix cache did not.
    """

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
        self.tokens_run = 0
        self._known: dict[bytes, float] = {}  # the score of a step, by all tokens up to its end

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step of all trajectories in one call of the engine; see ``tts_utils.protocols.PRM``.

        Raises:
            BadScores: scores and steps differ in number, or a score is not in [0, 1].
        """
        encoded = [self.format.encode(t) if t.steps else Encoded([], []) for t in trajectories]
        full = [i for i, (ids, _) in enumerate(encoded) if 0 < len(ids) <= self.max_model_len]
        results = [TOO_LONG if len(ids) > self.max_model_len else StepScores((), 0) for ids, _ in encoded]
        for i, scores in zip(full, self._scores([encoded[i] for i in full]), strict=True):
            results[i] = StepScores(scores, len(encoded[i].ids))
        check_scores(trajectories, results)
        return results

    def _scores(self, encoded: Sequence[Encoded]) -> list[tuple[float, ...]]:
        """The scores of every trajectory's steps; a trajectory is read whole where one is not remembered."""
        names = [list(_names(one)) for one in encoded]
        self._read(encoded, names)
        missing = [i for i, steps in enumerate(names) if any(name not in self._known for name in steps)]
        self._read([encoded[i] for i in missing], [names[i] for i in missing], whole=True)
        scores = [tuple(self._known[name] for name in steps if name in self._known) for steps in names]
        for name in list(islice(self._known, max(0, len(self._known) - REMEMBERED))):
            del self._known[name]
        return scores

    def _read(
        self, encoded: Sequence[Encoded], names: Sequence[Sequence[bytes]], whole: bool = False
    ) -> None:
        """Remember the scores of what the engine does not take from its cache: of all if ``whole``."""
        if not encoded:
            return
        from vllm import PoolingParams

        params = PoolingParams(task="token_classify", skip_reading_prefix_cache=whole)
        what = f"score {len(encoded)} trajectories with {self.name}"
        prompts, task = [ids for ids, _ in encoded], "token_classify"
        asked = answers_of(self.llm.encode, what, prompts, pooling_params=params, pooling_task=task)
        for (ids, positions), steps, output in zip(encoded, names, asked, strict=True):
            rows = output.outputs.data[:, COLUMN[self.format.head]].float().tolist()  # of the last tokens
            self.tokens_run += len(rows)
            cached = len(ids) - len(rows)
            for position, name in zip(positions, steps, strict=True):
                if position >= cached:
                    self._known[name] = rows[position - cached]


def _names(encoded: Encoded) -> Iterator[bytes]:
    """For every step a name of all tokens up to its end."""
    digest, done = blake2b(digest_size=16), 0
    for position in encoded.positions:
        digest.update(array("I", encoded.ids[done : position + 1]).tobytes())
        done = position + 1
        yield digest.digest()
