"""The commands that fill tables: ``tts sample``, ``tts score``, ``tts search``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tts_utils import data_folder, mdp, problems, store
from tts_utils.cli.loading import load_policy, load_prm
from tts_utils.cli.options import (
    DEFAULT,
    Backend,
    BatchSize,
    Dataset,
    Greedy,
    Limit,
    MaxTokens,
    Options,
    Policy,
    PRMBackend,
    PrmName,
    PRMOptions,
    Seed,
    ServerUrl,
    Temperature,
    TopP,
    sampling_of,
)
from tts_utils.progress import Progress
from tts_utils.store import files as table_files
from tts_utils.store import fill, misses
from tts_utils.tree_search import TreeSearch


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
    config = sampling_of(temperature, seed, greedy, max_tokens, top_p)
    fill.refuse_copies(n or 1, config)
    loaded = problems.load_problems(dataset)
    if source := loaded[0].meta.get("source"):  # of a Hub set: its configuration and split
        typer.echo(f"{len(loaded):,} problems of {source}", err=True)
    _say_where()
    with Progress() as bar:
        filled = store.fill_samples(
            dataset,
            load_policy(policy, backend, server_url, option, dataset),
            n or (1 if config.temperature == 0 else 64),
            config,
            problems=loaded,
            limit=limit,
            batch_size=batch_size,
            progress=bar,
        )
    _say(filled)


def score(
    prm: PrmName,
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
        config = sampling_of(
            DEFAULT.temperature if temperature is None else temperature, seed, greedy, max_tokens, top_p
        )
    loaded = problems.load_problems(dataset)
    samples = store.find_table("samples", dataset, policy, config=config, greedy=greedy)
    if not table_files.stored_rows(samples, data_folder.data_dir()):
        first = misses.command(samples, 64, dataset, data_folder.data_dir())
        raise store.StoreMiss(f"there is nothing to score yet; first run: {first}")
    _say_where()
    with Progress() as bar:
        filled = store.fill_step_scores(
            samples,
            load_prm(prm, prm_backend, prm_option),
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


def search(
    method: Annotated[str, typer.Option(help="beam, dvts or particles.")],
    policy: Policy,
    prm: PrmName,
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
    every: Annotated[
        int, typer.Option(help="Beam search: the PRM reads, and prunes, every so many steps.")
    ] = 1,
    resampling: Annotated[
        str, typer.Option(help="How particles are drawn: systematic or multinomial.")
    ] = "systematic",
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
        tree_search = TreeSearch(
            method, n, branching, how, max_depth, not compete, distinct, every, resampling
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    config = sampling_of(temperature, seed, False, max_tokens, top_p)
    fill.refuse_copies(n, config)
    loaded = problems.load_problems(dataset)
    _say_where()
    with Progress("tree") as bar:
        filled = store.fill_searches(
            dataset,
            load_policy(policy, backend, server_url, option, dataset),
            load_prm(prm, prm_backend, prm_option),
            tree_search,
            config,
            problems=loaded,
            limit=limit,
            batch_size=batch_size,
            progress=bar,
        )
    _say(filled)


def _say_where() -> None:
    """Say which folder rows go to, where nobody chose it."""
    if not os.environ.get("TTS_DATA"):
        where = data_folder.data_dir()
        typer.echo(f"rows go to {where}, your own folder (TTS_DATA names another one)", err=True)


def _say(filled: store.Filled) -> None:
    typer.echo(f"{filled.path}: {filled.rows} rows, {filled.added} of them new, in {filled.seconds:.1f} s")
