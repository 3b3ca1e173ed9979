"""The options that several commands share, in words."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_utils.records import SamplingConfig

Policy = Annotated[str, typer.Option("--policy", help="Name of a policy, a model folder, or a Hub id.")]
Dataset = Annotated[
    str, typer.Option("--dataset", help="Name of a problem set, or the path of a .jsonl file.")
]
Temperature = Annotated[float, typer.Option(help="Sampling temperature.")]
Seed = Annotated[int, typer.Option(help="Seed of all draws.")]
Greedy = Annotated[bool, typer.Option("--greedy", help="Temperature 0, one sample (CoT).")]
MaxTokens = Annotated[int, typer.Option(help="Limit on the tokens of a sample.")]
TopP = Annotated[float, typer.Option(help="Nucleus mass.")]
BatchSize = Annotated[
    int, typer.Option(min=1, help="How many go to the model at once; results do not depend on it.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")]
Backend = Annotated[
    str, typer.Option(help="What runs the policy: transformers, vllm, or server with --server-url.")
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="Option of the policy's backend, such as batch_size=64 or device=cpu (transformers), "
        "gpu_memory_utilization=0.45 or max_model_len=4096 (vllm), concurrency=64 (server). Repeatable.",
    ),
]
PRMBackend = Annotated[
    str,
    typer.Option("--prm-backend", help="What runs the PRM: transformers, or vllm (not Skywork's format)."),
]
PRMOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--prm-option",
        metavar="KEY=VALUE",
        help="Option of the PRM's backend, such as batch_tokens=4096, or device=auto to spread a large one "
        "over all GPUs (transformers), gpu_memory_utilization=0.45 or tensor_parallel_size=2 (vllm). "
        "Repeatable.",
    ),
]
ServerUrl = Annotated[str, typer.Option(help="Address of the server, such as http://127.0.0.1:8000/v1.")]
PrmName = Annotated[
    str,
    typer.Option("--prm", help="Name of a PRM, a model folder, a Hub id, or module:Class of one's own."),
]
DEFAULT = SamplingConfig()


def sampling_of(temperature: float, seed: int, greedy: bool, max_tokens: int, top_p: float) -> SamplingConfig:
    """The configuration that the options give.

    Raises:
        typer.BadParameter: one of them is out of range.
    """
    try:
        return SamplingConfig(0.0 if greedy else temperature, top_p, max_tokens, (), seed)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
