"""The commands that read: ``tts report``, ``tts doctor``, ``tts verify``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

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
        count = sum((data / name).is_file() for name in manifest.load(data))
        good.append(f"{count} files in {data} are as its manifest says")
    if not good:
        raise store.StoreError(f"there is nothing to check in {data_folder.places()}; see tts fetch")
    for message in bad:
        typer.echo(f"bad: {message}", err=True)
    if bad:
        raise typer.Exit(2)
    typer.echo("\n".join(good))


def doctor(
    all_tables: Annotated[bool, typer.Option("--tables", help="List every stored table.")] = False,
) -> None:
    """Say what is installed, what is stored, and what can be run here."""
    typer.echo(f"python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        typer.echo(f"{name:<13} {_version(name)}")
    gpu = _gpu()
    typer.echo(f"hardware      {manifest.hardware()}" + ("" if gpu else "; no GPU that torch can use"))
    try:
        data = data_folder.data_dir()
    except data_folder.DataDirError as exc:
        typer.echo(f"data          none: {exc}")
        return
    typer.echo(f"data          {data}" + ("" if data.is_dir() else " (made when something is stored)"))
    for layer in data_folder.layers():
        if layer not in (data, data_folder.PACKAGED):
            typer.echo(f"shipped       {layer}" + ("" if layer.is_dir() else " (nothing yet: tts fetch)"))
    found: list[str] = []
    for label, pattern in (("problems", "problems/*.jsonl"), ("models", "models/*/config.json")):
        paths = [path for layer in data_folder.layers() for path in layer.glob(pattern)]
        found = sorted({p.stem if p.suffix == ".jsonl" else p.parent.name for p in paths})
        typer.echo(f"{label:<13} {', '.join(found) or 'none'}")
    listed = {
        name: entry
        for layer in reversed(data_folder.layers())
        for name, entry in manifest.load(layer).items()
        if (layer / name).is_file()
    }
    tables = {name: entry for name, entry in listed.items() if "config" in entry}
    typer.echo(
        f"tables        {len(tables)}, of {len(listed)} files in the manifest (check them: tts verify)"
    )
    if all_tables:
        for name, entry in tables.items():
            typer.echo(f"              {entry.get('rows', '?'):>8} rows  {name}")
    else:
        for line in _tables_by_set(tables):
            typer.echo(f"              {line}")
    if tables:
        typer.echo("you can       read the stored tables: tts report, and the notebooks")
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        typer.echo(
            "not here      tts sample, score and search need torch and transformers (requirements-lab.txt)"
        )
    elif found:  # the models, listed last
        typer.echo("you can       fill tables with the models above: tts sample, tts score, tts search")
    if gpu:
        typer.echo("you can       do the same with the paper's own models, as far as they fit on the GPU")


PACKAGES = (
    *("tts-utils", "numpy", "pandas", "pyarrow", "altair"),
    *("torch", "transformers", "vllm", "datasets"),
)


def _tables_by_set(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each data set: how many tables of each kind, and their rows."""
    counts: Counter[tuple[str, str]] = Counter()
    rows: Counter[str] = Counter()
    for entry in tables.values():
        config = entry["config"]
        counts[config["dataset"], config["kind"]] += 1
        rows[config["dataset"]] += entry.get("rows", 0)
    lines = []
    for dataset in sorted(rows):
        kinds = (f"{n} of {kind}" for (name, kind), n in sorted(counts.items()) if name == dataset)
        lines.append(f"{dataset}: {', '.join(kinds)}; {rows[dataset]:,} rows")
    return [*lines, "list them: tts doctor --tables"] if lines else []


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
