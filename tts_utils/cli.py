"""The command ``tts``: parses, calls, prints; the work is done in the modules it calls."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import math
import platform
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tts_utils import (
    backends,
    checkpoints,
    data_folder,
    mdp,
    policies,
    prms,
    problems,
    protocols,
    report,
    store,
)
from tts_utils.imports import cli as cli_import
from tts_utils.recipes import cli as cli_recipes
from tts_utils.records import SamplingConfig
from tts_utils.store import cli as cli_store
from tts_utils.store import files as table_files
from tts_utils.store import fill, manifest, misses
from tts_utils.tree_search import TreeSearch

app = typer.Typer(
    help="Fill, check and read the stored tables of model outputs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

KNOWN_ERRORS = (
    store.StoreError,
    problems.ProblemError,
    cli_recipes.RecipeError,
    data_folder.DataDirError,
    checkpoints.UnknownModel,
    protocols.BackendError,
    protocols.PromptTooLong,
    protocols.BadScores,
    protocols.BadContinuations,
)

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
DEFAULT = SamplingConfig()


def _says_what_is_wrong(run: Callable) -> Callable:
    """Turn every known error into one message on stderr and exit code 2."""

    @functools.wraps(run)
    def wrapped(*args, **kwargs):
        try:
            return run(*args, **kwargs)
        except KNOWN_ERRORS as exc:
            typer.echo(f"tts: {exc}", err=True)
        except ModuleNotFoundError as exc:
            if exc.name not in ("torch", "transformers"):
                raise
            typer.echo(
                f"tts: running a model needs {exc.name}, which is not installed: "
                "pip install -r requirements-lab.txt (CPU) or requirements-gpu.txt (GPU)",
                err=True,
            )
        except KeyboardInterrupt:
            typer.echo(
                "tts: stopped; finished batches are kept, the same command goes on from there", err=True
            )
            raise typer.Exit(130) from None
        raise typer.Exit(2)

    return wrapped


@app.command()
@_says_what_is_wrong
def sample(
    policy: Policy,
    dataset: Dataset,
    n: Annotated[
        int | None, typer.Option(min=1, help="Samples per problem [default: 64; greedy: 1].")
    ] = None,
    temperature: Temperature = DEFAULT.temperature,
    seed: Seed = DEFAULT.seed,
    greedy: Greedy = False,
    max_tokens: MaxTokens = DEFAULT.max_tokens,
    top_p: TopP = DEFAULT.top_p,
    batch_size: BatchSize = 256,
    limit: Limit = None,
    backend: Backend = "transformers",
    server_url: ServerUrl = "",
    option: Options = None,
) -> None:
    """Fill the table of samples of a policy on a problem set; stopped at any time, it goes on from there."""
    config = _config(temperature, seed, greedy, max_tokens, top_p)
    fill.refuse_copies(n or 1, config)
    loaded = problems.load_problems(dataset)
    with _Bar() as bar:
        filled = store.fill_samples(
            dataset,
            _load_policy(policy, backend, server_url, option),
            n or (1 if config.temperature == 0 else 64),
            config,
            problems=loaded,
            limit=limit,
            batch_size=batch_size,
            progress=bar,
        )
    _say(filled)


@app.command()
@_says_what_is_wrong
def score(
    prm: Annotated[str, typer.Option("--prm", help="Name of a PRM, a model folder, or a Hub id.")],
    policy: Policy,
    dataset: Dataset,
    temperature: Annotated[
        float | None, typer.Option(help="Which samples, where several are stored.")
    ] = None,
    seed: Seed = DEFAULT.seed,
    greedy: Greedy = False,
    max_tokens: MaxTokens = DEFAULT.max_tokens,
    top_p: TopP = DEFAULT.top_p,
    batch_size: BatchSize = 256,
    limit: Limit = None,
    prm_backend: PRMBackend = "transformers",
    prm_option: PRMOptions = None,
) -> None:
    """Fill the table of step scores that a PRM gives to the stored samples of a policy."""
    given = (temperature, seed, max_tokens, top_p) != (None, DEFAULT.seed, DEFAULT.max_tokens, DEFAULT.top_p)
    config = None
    if given:
        config = _config(
            DEFAULT.temperature if temperature is None else temperature, seed, greedy, max_tokens, top_p
        )
    loaded = problems.load_problems(dataset)
    samples = store.find_table("samples", dataset, policy, config=config, greedy=greedy)
    if not table_files.stored_rows(samples, data_folder.data_dir()):
        first = misses.command(samples, 64, dataset, data_folder.data_dir())
        raise store.StoreMiss(f"there is nothing to score yet; first run: {first}")
    with _Bar() as bar:
        filled = store.fill_step_scores(
            samples,
            _load_prm(prm, prm_backend, prm_option),
            problems=loaded,
            limit=limit,
            batch_size=batch_size,
            progress=bar,
        )
    _say(filled)
    if filled.unscored:
        typer.echo(
            f"{filled.unscored} samples are longer than {prm} reads: they have no scores, and cast no vote "
            "under a rule that uses them (to score them with more room, remove the table first)"
        )


@app.command("search")
@_says_what_is_wrong
def fill_searches(
    method: Annotated[str, typer.Option(help="beam or dvts.")],
    policy: Policy,
    prm: Annotated[str, typer.Option("--prm", help="Name of a PRM, a model folder, or a Hub id.")],
    dataset: Dataset,
    n: Annotated[int, typer.Option(help="The budget N, a multiple of the branching.")] = 16,
    branching: Annotated[int, typer.Option(help="M, the steps sampled from each kept beam.")] = 4,
    how: Annotated[
        str, typer.Option(help="What ranks paths: last, min or avg of their step scores.")
    ] = "last",
    max_depth: Annotated[int, typer.Option(help="Limit on the steps of a path.")] = mdp.MAX_STEPS,
    compete: Annotated[
        bool, typer.Option("--compete", help="Finished paths stay and compete instead of retiring.")
    ] = False,
    distinct: Annotated[bool, typer.Option("--distinct", help="Drop equal candidates but one.")] = False,
    temperature: Temperature = DEFAULT.temperature,
    seed: Seed = DEFAULT.seed,
    max_tokens: Annotated[int, typer.Option(help="Limit on the tokens of a step.")] = DEFAULT.max_tokens,
    top_p: TopP = DEFAULT.top_p,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Steps sampled at once; results do not depend on it.")
    ] = 4096,
    limit: Limit = None,
    backend: Backend = "transformers",
    server_url: ServerUrl = "",
    option: Options = None,
    prm_backend: PRMBackend = "transformers",
    prm_option: PRMOptions = None,
) -> None:
    """Fill the table of search trees of a policy led by a PRM; stopped at any time, it goes on from there."""
    try:
        tree_search = TreeSearch(method, n, branching, how, max_depth, not compete, distinct)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    config = _config(temperature, seed, False, max_tokens, top_p)
    fill.refuse_copies(n, config)
    loaded = problems.load_problems(dataset)
    with _Bar("tree") as bar:
        filled = store.fill_searches(
            dataset,
            _load_policy(policy, backend, server_url, option),
            _load_prm(prm, prm_backend, prm_option),
            tree_search,
            config,
            problems=loaded,
            limit=limit,
            batch_size=batch_size,
            progress=bar,
        )
    _say(filled)


@app.command("report")
@_says_what_is_wrong
def print_report(
    dataset: Dataset,
    n: Annotated[int | None, typer.Option(min=1, help="Only the first N samples of each problem.")] = None,
    policy: Annotated[str | None, typer.Option(help="Only this policy.")] = None,
    limit: Limit = None,
) -> None:
    """Print accuracies in percent from the stored tables, each with its 95 % interval over n problems."""
    only = None if limit is None else problems.load_problems(dataset)[:limit]
    frame = report.report(dataset, n=n, policy=policy, problems=only)
    for name, rows in frame.groupby("policy", sort=False):
        typer.echo(f"\n{name} on {dataset}: n = {rows['n'].max()} problems")
        for row in rows.itertuples():
            if math.isnan(row.estimate):
                typer.echo(f"  {row.measure}")
                continue
            estimate, low, high = (100 * value for value in (row.estimate, row.low, row.high))
            sign = "+" if row.measure.endswith("- majority") else ""
            typer.echo(
                f"  {row.measure:<54} N = {row.N:<4} {estimate:{sign}6.1f}  "
                f"[{low:{sign}.1f}, {high:{sign}.1f}]  n = {row.n}"
            )


app.add_typer(cli_import.commands(_says_what_is_wrong), name="import")
app.command("fetch")(_says_what_is_wrong(cli_store.fetch))
app.command("push")(_says_what_is_wrong(cli_store.push))
app.command("pull")(_says_what_is_wrong(cli_store.pull))
app.command("run")(_says_what_is_wrong(cli_recipes.run))


@app.command()
@_says_what_is_wrong
def verify() -> None:
    """Check every stored file, one's own and shipped, against its manifest: hash, schema, configuration."""
    bad, good, cache = [], [], data_folder.cache_dir()
    for data in data_folder.layers():
        if data == data_folder.PACKAGED or not data.is_dir() or not any(data.glob("[!.]*")):
            continue
        bad += store.verify(data, whole=data != cache)
        count = sum((data / name).is_file() for name in manifest.load(data))
        good.append(f"{count} files in {data} are as its manifest says")
    if not good:
        raise store.StoreError(f"there is nothing to check in {data_folder.places()}; see tts fetch")
    for message in bad:
        typer.echo(f"bad: {message}", err=True)
    if bad:
        raise typer.Exit(2)
    typer.echo("\n".join(good))


@app.command()
@_says_what_is_wrong
def doctor() -> None:
    """Say what is installed, what is stored, and what can be run here."""
    typer.echo(f"python      {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in (
        "tts-utils",
        "numpy",
        "pandas",
        "pyarrow",
        "altair",
        "torch",
        "transformers",
        "vllm",
        "datasets",
    ):
        typer.echo(f"{name:<12}{_version(name)}")
    gpu = _gpu()
    typer.echo(f"hardware    {manifest.hardware()}" + ("" if gpu else "; no GPU that torch can use"))
    try:
        data = data_folder.data_dir()
    except data_folder.DataDirError as exc:
        typer.echo(f"data        none: {exc}")
        return
    typer.echo(f"data        {data}")
    shipped = [layer for layer in data_folder.layers() if layer not in (data, data_folder.PACKAGED)]
    for layer in shipped:
        typer.echo(f"shipped     {layer}" + ("" if layer.is_dir() else " (nothing yet: tts fetch)"))
    for label, pattern in (("problems", "problems/*.jsonl"), ("models", "models/*/config.json")):
        paths = [path for layer in data_folder.layers() for path in layer.glob(pattern)]
        found = sorted({p.stem if p.suffix == ".jsonl" else p.parent.name for p in paths})
        typer.echo(f"{label:<12}{', '.join(found) or 'none'}")
    listed = {
        name: entry
        for layer in reversed(data_folder.layers())
        for name, entry in manifest.load(layer).items()
        if (layer / name).is_file()
    }
    tables = {name: entry for name, entry in listed.items() if "config" in entry}
    typer.echo(f"tables      {len(tables)}, of {len(listed)} files in the manifest (check them: tts verify)")
    for name, entry in tables.items():
        typer.echo(f"            {entry.get('rows', '?'):>8} rows  {name}")
    if tables:
        typer.echo("you can     read the stored tables: tts report, and the notebooks")
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        typer.echo(
            "not here    tts sample, score and search need torch and transformers (requirements-lab.txt)"
        )
    elif found:  # the models, listed last
        typer.echo("you can     fill tables with the models above: tts sample, tts score, tts search")
    if gpu:
        typer.echo("you can     do the same with the paper's own models, as far as they fit on the GPU")


def _load_policy(policy: str, backend: str, server_url: str, words: list[str] | None) -> protocols.Policy:
    options = backends.parse_options(words or [])
    return policies.load_policy(policy, backend=backend, server_url=server_url, **options)


def _load_prm(prm: str, backend: str, words: list[str] | None) -> protocols.PRM:
    return prms.load_prm(prm, backend=backend, **backends.parse_options(words or []))


def _config(temperature: float, seed: int, greedy: bool, max_tokens: int, top_p: float) -> SamplingConfig:
    try:
        return SamplingConfig(0.0 if greedy else temperature, top_p, max_tokens, (), seed)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _say(filled: store.Filled) -> None:
    typer.echo(f"{filled.path}: {filled.rows} rows, {filled.added} of them new, in {filled.seconds:.1f} s")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if package == "tts-utils":
            import tts_utils

            return f"{tts_utils.__version__} (not installed; used from its folder)"
        return "not installed"


def _gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, unit: str = "row") -> None:
        self.bar = None
        self.unit = unit

    def __enter__(self) -> _Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit=self.unit, disable=not sys.stderr.isatty())
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()


if __name__ == "__main__":
    app()
