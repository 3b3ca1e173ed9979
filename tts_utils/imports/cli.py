"""The commands ``tts import ...``: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tts_utils import imports
from tts_utils.records import SamplingConfig

Policy = Annotated[str, typer.Option("--policy", help="Name to store it under; say the search method in it.")]
Dataset = Annotated[
    str, typer.Option("--dataset", help="A stored problem set, a .jsonl file, or a new name.")
]
Prm = Annotated[str, typer.Option("--prm", help="Name of the PRM whose step scores the file holds.")]
Licence = Annotated[str, typer.Option("--licence", help="Licence of the file, noted in the manifest.")]
Temperature = Annotated[float | None, typer.Option(help="How it was sampled (default: the source's own).")]
MaxTokens = Annotated[int | None, typer.Option(help="Limit on tokens it was sampled with.")]
Accept = Annotated[
    bool,
    typer.Option("--accept", help="Store the run even where most completions do not fit their problems."),
]


def commands(guard: Callable[[Callable], Callable]) -> typer.Typer:
    """The sub-app; ``guard`` turns known errors into messages and exit code 2."""
    app = typer.Typer(help="Bring runs of other projects into the store.", no_args_is_help=True)
    app.command("search-and-learn")(guard(search_and_learn))
    app.command("records")(guard(records))
    return app


def search_and_learn(
    file: Annotated[Path, typer.Argument(help="The .jsonl file that search-and-learn wrote.")],
    policy: Policy,
    dataset: Dataset,
    prm: Prm = "",
    licence: Licence = "",
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    accept: Accept = False,
) -> None:
    """Import the output of search-and-learn and report what is odd about it."""
    _import(
        imports.read_search_and_learn(file), dataset, policy, prm, licence, temperature, max_tokens, accept
    )


def records(
    folder: Annotated[Path, typer.Argument(help="The folder of question_<i>/record_<j>.jsonl.")],
    policy: Policy,
    dataset: Dataset,
    prm: Prm = "",
    licence: Licence = "",
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    accept: Accept = False,
) -> None:
    """Import the record files of the paper's code, pooled per question, and vote over them."""
    _import(imports.read_records(folder), dataset, policy, prm, licence, temperature, max_tokens, accept)


def _import(
    run: imports.Run,
    dataset: str,
    policy: str,
    prm: str,
    licence: str,
    temperature: float | None,
    max_tokens: int | None,
    accept: bool,
) -> None:
    assumed = imports.ASSUMED[run.source]
    config = None
    if (temperature, max_tokens) != (None, None):
        try:
            config = SamplingConfig(
                assumed.temperature if temperature is None else temperature,
                max_tokens=assumed.max_tokens if max_tokens is None else max_tokens,
            )
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from exc
    done = imports.import_run(run, dataset, policy, prm, config=config, licence=licence, accept=accept)
    for line in _lines(run, done, assumed=config is None):
        typer.echo(line)


def _lines(run: imports.Run, done: imports.Imported, *, assumed: bool) -> list[str]:
    lines = [f"{run.name} ({run.source}, sha256 {run.sha256[:12]})"]
    if done.wrote_problems:
        lines.append(f"  problems     {len(run.questions)}, written to {done.wrote_problems}")
    lines.append(f"  samples      {done.rows[0]} rows in {done.samples.relative}")
    if done.step_scores:
        lines.append(f"  step scores  {done.rows[1]} rows in {done.step_scores.relative}")
    if assumed:
        sampling = done.samples.sampling
        lines.append(
            f"  sampling     is not in the file: temperature {sampling.temperature:g} and "
            f"{sampling.max_tokens} tokens are assumed; say otherwise with --temperature and --max-tokens"
        )
    lines += ["", "checks"]
    for found in done.findings:
        note = f"  {found.note}" if found.note else ""
        lines.append(f"  {found.name:<52} {found.count:>6} of {found.of}{note}")
        if found.where and found.count < found.of:
            more = f"; and {len(found.where) - 4} more" if len(found.where) > 4 else ""
            lines.append(f"      {'; '.join(found.where[:4])}{more}")
    lines += ["", "pooled per problem and voted: accuracy in percent [95 % interval over problems]"]
    by_grouping = done.voted.groupby("rule", sort=False)
    for rule, rows in by_grouping:
        cells = [
            f"{100 * row.accuracy:5.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}] by {row.grouping}"
            for row in rows.itertuples()
        ]
        lines.append(f"  {rule:<16} {'   '.join(cells)}   n = {rows['n'].iloc[0]}")
    return lines
