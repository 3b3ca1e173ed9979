"""``python -m tts_lab``: make the lab, say how healthy it is, and look in it for what the paper found."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import typer

SEARCHED = "lab-200"  # where the claims are looked for

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def build(
    smoke: bool = typer.Option(False, help="All stages at toy size, into work/smoke."),
    data: Path = typer.Option(
        None, help="Where problems, models and tables go; default: data/ of the checkout."
    ),
    device: str = typer.Option(None, help="cpu or cuda; default: a GPU where there is one."),
    only: str = typer.Option("", help='Only stages whose name starts with this, as in "policy lab-llama".'),
) -> None:
    """Make everything that is missing, stage by stage; stop it at any time and run it again.

    Several processes may share the work, each with stages of its own (--only).
    """
    import torch

    from tts_lab import recipe as recipes
    from tts_lab.build import stages
    from tts_utils.data_folder import lab_dir

    recipe = recipes.smoke() if smoke else recipes.FULL
    if smoke:
        data = data or Path("work") / "smoke"
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for stage in stages(recipe, data or lab_dir(), device, log=typer.echo):
        if not stage.name.startswith(only):
            continue
        if stage.is_done():
            typer.echo(f"[{stage.name}] is there")
        else:
            typer.echo(f"[{stage.name}] {stage.estimate}")
            started = time.perf_counter()
            stage.make()
            typer.echo(f"[{stage.name}] took {time.perf_counter() - started:.0f} s")


@app.command()
def labels(
    policy: str = typer.Argument(help="The policy whose rollouts are labelled."),
    part: int = typer.Option(0, help="This process writes the shards k with k % parts == part."),
    parts: int = typer.Option(1, help="How many processes share the shards."),
    device: str = typer.Option("cpu", help="cpu or cuda."),
) -> None:
    """Write the shards of Monte-Carlo labels only; run one process per core to share the work."""
    from tts_lab.build import make_labels
    from tts_lab.recipe import FULL
    from tts_utils.data_folder import lab_dir

    make_labels(FULL, policy, lab_dir(), lab_dir() / "labels", device, typer.echo, part, parts)


@app.command()
def replay(
    processes: int = typer.Option(1, help="How many streams are replayed at a time."),
    out: Path = typer.Option(None, help="The folder of replay.csv; default: report of the data directory."),
) -> None:
    """Replay the training streams that were read, and count the test problems in them; stop at will."""
    from tts_lab.recipe import FULL
    from tts_lab.replay import replay as run
    from tts_utils.data_folder import lab_dir

    path = (out or lab_dir() / "report") / "replay.csv"
    _print(run(FULL, path, processes, typer.echo))


@app.command()
def report(
    write: bool = typer.Option(False, help="Also write the tables to data/report/, for the book."),
) -> None:
    """Print the cast, its health, the PRMs' quality and the grid, from the shipped tables: no model runs."""
    from tts_lab import cast, grid, quality, results
    from tts_lab.phenomena import phenomena as look
    from tts_lab.recipe import FULL
    from tts_lab.report import health
    from tts_utils.data_folder import lab_dir
    from tts_utils.store import manifest

    data, started = lab_dir(), time.perf_counter()
    repairing = [p.name for p in FULL.policies if p.register == "long"]
    tables = {"policies": cast.policies(), "prms": cast.prms(), "grid": grid.completeness(FULL)}
    order = dict.fromkeys((SEARCHED, *FULL.num_samples))  # what takes longest comes first
    # Fresh processes, so that no thread of torch's is copied.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = {d: pool.submit(results.results, FULL, d) for d in order}
        judged = {d: pool.submit(quality.process_bench, d) for d in FULL.num_samples}
        states = {d: pool.submit(health, d, repairing) for d in FULL.num_samples}
        for dataset in FULL.num_samples:
            tables[f"health-{dataset}"] = states[dataset].result()
            tables[f"quality-{dataset}"] = judged[dataset].result()
            tables[f"results-{dataset}"] = results.as_table(found[dataset].result())
        seen = look(FULL, found[SEARCHED].result(), judged[SEARCHED].result())
        tables[f"phenomena-{SEARCHED}"] = seen
    for name, frame in tables.items():
        typer.echo(f"\n## {name}\n")
        _print(frame)
    if write:
        paths = [data / "report" / f"{name}.csv" for name in tables]
        paths[0].parent.mkdir(exist_ok=True)
        for path, frame in zip(paths, tables.values(), strict=True):
            frame.to_csv(path, index=False, float_format="%.6g")
        seconds = time.perf_counter() - started
        manifest.record_files(paths, data=data, command="python -m tts_lab report --write", seconds=seconds)


@app.command()
def strategies(
    write: bool = typer.Option(False, help="Write data/report/strategies-*/, for lessons 6 to 8."),
    policy: list[str] = typer.Option([], help="These policies only; default: all that work with PRMs."),
) -> None:
    """Print what every strategy reaches, from the stored pools and searches; --write keeps it by problem."""
    from tts_lab import strategies as tables
    from tts_lab.recipe import FULL
    from tts_utils.data_folder import lab_dir
    from tts_utils.optimal import STRATEGY
    from tts_utils.store import manifest

    started = time.perf_counter()
    names = policy or [spec.name for spec in FULL.policies if FULL.prms_of(spec)]
    for dataset in FULL.search_sets:
        for name in names:
            frame = tables.outcomes(FULL, dataset, name, lab_dir())
            if frame.empty:
                typer.echo(f"{dataset}, {name}: no pool is stored")
                continue
            typer.echo(f"\n## {dataset}, {name}\n")
            by = ["prm", *STRATEGY, "budget"]
            _print(frame.groupby(by, sort=False, observed=True)["right"].mean().unstack().reset_index())
            if write:
                path = tables.write(frame, dataset)
                seconds = time.perf_counter() - started
                command = "python -m tts_lab strategies --write"
                manifest.record_files([path], data=lab_dir(), command=command, seconds=seconds)


@app.command()
def phenomena(dataset: str = typer.Option(SEARCHED, help="The test set.")) -> None:
    """Print what the stored tables say of each of the paper's claims, with intervals."""
    from tts_lab.phenomena import phenomena as look
    from tts_lab.quality import process_bench
    from tts_lab.recipe import FULL
    from tts_lab.results import results

    seen = look(FULL, results(FULL, dataset), process_bench(dataset))
    for claim, frame in seen.groupby("claim", sort=False):
        typer.echo(f"\n## {claim}\n")
        _print(frame.drop(columns="claim"))


@app.command()
def slips(policy: str, dataset: str = typer.Option("lab-500", help="The test set.")) -> None:
    """Sample 16 next steps from states that are right so far, live, and print how many are right."""
    from tts_lab.recipe import FULL
    from tts_lab.report import slips as measure
    from tts_utils.policies import load_policy

    spec = next((p for p in FULL.policies if p.name == policy), FULL.policies[0])
    _print(measure(load_policy(policy), dataset, FULL.sampling_of(spec)))


def _print(frame) -> None:
    typer.echo(frame.to_string(index=False, float_format=lambda x: f"{x:.3f}"))


@app.command()
def verdicts(
    data: Path = typer.Option(None, help="Where the tables are; default: data/ of the checkout."),
) -> None:
    """Store what math-verify says of all answers in all tables, so that reading them starts no process."""
    from tts_lab.verdicts import settle
    from tts_utils.data_folder import lab_dir

    settle(data or lab_dir(), typer.echo)


if __name__ == "__main__":
    app()
