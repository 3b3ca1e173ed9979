"""Process reward models: one score in [0, 1] for every step of a trajectory.

A PRM of one's own is any object with ``name``, ``num_params``, ``revision`` and one method:

    class ShortStepsPRM:
        name, num_params, revision = "short-steps", 0, "1"

        def score(self, trajectories):
            return [StepScores(tuple(1 / (1 + len(s)) for s in t.steps), 0) for t in trajectories]

A trajectory that is longer than it can read gets ``TOO_LONG`` as its result; a PRM without such a limit need
not think of it.

A PRM that transformers runs needs less: a format, one class of two methods (``encode`` a trajectory, ``read``
scores off hidden states; see ``tts_utils.prms.formats``), and ``TransformersPRM(name, model, MyFormat(...))``
does the batching.
"""

from __future__ import annotations

from tts_utils.backends import ANY_COUNT, COUNT, FLAG, check_backend, check_options
from tts_utils.checkpoints import find_model, refuse_stateful, revision_of, settings_of
from tts_utils.prms.formats import load_format
from tts_utils.prms.heads import load_head_model
from tts_utils.prms.transformers import TransformersPRM
from tts_utils.protocols import PRM

OPTIONS = {
    "transformers": {"batch_tokens": COUNT, "cache_bytes": ANY_COUNT, "strip": FLAG},
    "vllm": {"strip": FLAG},  # and whatever the engine takes
}
"""The backends of PRMs, and the options of each."""


def load_prm(
    name_or_path: str,
    device: str | None = None,
    name: str = "",
    *,
    backend: str = "transformers",
    **options,
) -> PRM:
    """Load a PRM: a shipped lab PRM, a local folder, or the Hub id of one of the paper's seven.

    Args:
        name_or_path: for example "lab-math-shepherd". A folder names its format in ``tts_prm.json``:
            ``{"format": "rlhflow"}``; the published models' formats are known. Behind a Hub id may stand a
            branch, a tag or a commit, as in "org/name@v1.0".
        device: "cpu", "cuda", "auto" to spread a large model over several GPUs (needs ``accelerate``), or
            None for a GPU where there is one (transformers only).
        name: what the PRM is called in tables, by default ``name_or_path``.
        backend: "transformers"; or "vllm", in this process, which runs every format but Skywork's. Scores
            agree up to rounding; still a table of one backend is not continued with the other.
        options: of :class:`TransformersPRM` (``batch_tokens``, ``cache_bytes``) or
            :func:`tts_utils.prms.vllm.load_vllm_prm` (``gpu_memory_utilization``, ``tensor_parallel_size``,
            ...). Both take ``strip=True``: it drops white space around steps where the format keeps it
            (Skywork, Qwen2.5-Math-PRM), as the paper's code does and their authors' does not. Scores of the
            two are never mixed in a table.

    Raises:
        UnknownModel: no such model, one that cannot be loaded, one whose PRM format is not known, or one that
            is not of its format.
        BackendError: the backend cannot be used here or cannot run this format, or an option is not its own
            or out of range.
    """
    check_backend(backend, OPTIONS, device)
    check_options(backend, options, OPTIONS[backend], others=backend == "vllm")
    source = find_model(name_or_path)
    strip = options.pop("strip", False)
    settings = settings_of(source, "stripped" if strip else "")
    if backend == "vllm":
        from tts_utils.prms.vllm import load_vllm_prm

        prm = load_vllm_prm(name_or_path, name, strip=strip, **options)
        prm.settings = settings
        return prm
    text_format = load_format(source, strip)
    model = load_head_model(source, text_format.head, device)
    refuse_stateful(model, source)
    # On a CPU small batches stay in its caches: a quarter faster than large ones (benchmarks/prm_scoring.py).
    budget = {"batch_tokens": 1024 if model.device.type == "cpu" else 16_384}
    prm = TransformersPRM(
        name or name_or_path, model, text_format, revision=revision_of(source), **budget | options
    )
    prm.settings = settings
    return prm
