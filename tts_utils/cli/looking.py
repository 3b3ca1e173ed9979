"""The commands that read: ``tts report``, ``tts verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_utils import data_folder, problems, store
from tts_utils.cli.options import Dataset, Limit
from tts_utils.progress import Progress
from tts_utils.report import page, report
from tts_utils.store import manifest


def print_report(
    dataset: Dataset,
    n: Annotated[int | None, typer.Option(min=1, help="Only the first N samples of each problem.")] = None,
    policy: Annotated[str | None, typer.Option(help="Only this policy.")] = None,
    prm: Annotated[str | None, typer.Option(help="Only this PRM.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="Only this rule: majority_vote, prm_last_vote, prm_min_max, ...")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="By groups of problems: level, difficulty or subject.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every figure, not only a summary.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Every figure as CSV, as shares, not percent.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, one object a line.")] = False,
    limit: Limit = None,
) -> None:
    """Print accuracies in percent from the stored tables, each with its 95 % interval over n problems."""
    only = None if limit is None else problems.load_problems(dataset)[:limit]
    try:
        with Progress("table", quiet_for=5) as progress:
            frame = report(
                dataset, n=n, policy=policy, prm=prm, rule=rule, by=by, problems=only, progress=progress
            )
    except store.StoreError:
        raise
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    if as_csv:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif as_json:
        typer.echo(frame.to_json(orient="records", lines=True), nl=False)
    else:
        typer.echo("\n".join(page.lines(frame, dataset, everything)))
    name = data_folder.dataset_name(dataset)
    if more := sum(data_folder.not_fetched(f"{kind}/{name}") for kind in data_folder.TABLES):
        typer.echo(f"{more} more tables of {name} are shipped, and not fetched: tts fetch {name}", err=True)


def verify() -> None:
    """Check every stored file, one's own and shipped, against its manifest: hash, schema, configuration."""
    bad, good, cache = [], [], data_folder.cache_dir()
    for data in data_folder.layers():
        if data == data_folder.PACKAGED or not data.is_dir() or not any(data.glob("[!.]*")):
            continue
        bad += store.verify(data, whole=data != cache, shipped=data in data_folder.shipped())
        count = sum((data / name).is_file() for name in manifest.load(data, sealed=False))
        good.append(f"{count} files in {data} are as its manifest says")
    if not good:
        raise store.StoreError(f"there is nothing to check in {data_folder.places()}; see tts fetch")
    for message in bad:
        typer.echo(f"bad: {message}", err=True)
    if bad:
        raise typer.Exit(2)
    typer.echo("\n".join(good))
