"""``python -m tts_lab``: make the lab, say how healthy it is, and look in it for what the paper found."""

from __future__ import annotations

import time
from pathlib import Path

import typer

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
            about = "" if smoke else f", about {stage.seconds():,.0f} s"  # a toy is quicker than its measure
            typer.echo(f"[{stage.name}] {stage.size}{about}")
            started = time.perf_counter()
            stage.make()
            typer.echo(f"[{stage.name}] took {time.perf_counter() - started:,.0f} s")


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

    make_labels(FULL, policy, lab_dir(), device, typer.echo, part, parts)


@app.command()
def replay(
    processes: int = typer.Option(1, help="How many streams are replayed at a time."),
    out: Path = typer.Option(None, help="The folder of replay.csv; default: report of the data directory."),
) -> None:
    """Replay the training streams that were read and count the test problems in them; resumable."""
    from tts_lab.recipe import FULL
    from tts_lab.replay import replay as run
    from tts_utils.data_folder import lab_dir
    from tts_utils.store import manifest

    data = lab_dir()
    path = (out or data / "report") / "replay.csv"
    _print(run(FULL, path, processes, typer.echo))
    if out is None:
        manifest.record_files([path], data=data, command="python -m tts_lab replay")


@app.command()
def dial(
    out: Path = typer.Option(
        None, help="The folder of the pieces; default: report/dial of the data directory."
    ),
    limit: int = typer.Option(None, help="Only the first so many problems."),
    probe: bool = typer.Option(False, help="Measure ten problems of one level, and say what all would cost."),
) -> None:
    """Search with artificial verifiers of known quality, piece by piece; stop it and run it again freely."""
    import tempfile

    from tts_lab import dial as dials
    from tts_lab import whole
    from tts_lab.memory import RememberingPolicy
    from tts_lab.recipe import FULL
    from tts_utils.data_folder import lab_dir
    from tts_utils.policies import load_policy
    from tts_utils.problems import load_problems

    data = lab_dir()
    problems = load_problems(dials.DATASET, data=data)

    def policy(name: str) -> RememberingPolicy:
        return RememberingPolicy(load_policy(str(data / "models" / name), "cpu", name=name))

    todo, size = list(dials.pieces()), len(problems)
    if probe:
        todo = [p for p in todo if p.seed == 0 and p.level in dials.LEVELS[2:4]]
        with tempfile.TemporaryDirectory() as folder:
            spent = time.process_time()
            dials.turn(todo, policy, FULL.sampling, problems[::20], Path(folder), data, typer.echo)
            hours = (time.process_time() - spent) * size / len(problems[::20]) / len(todo) / 3600
        count = len(list(dials.pieces()))
        typer.echo(f"{hours * 60:.1f} CPU minutes a piece, {hours * count:.1f} CPU hours for {count} pieces")
        return
    folder = out or data / "report" / "dial"
    if out is None:
        whole.forget([path for piece in todo if not (path := piece.path(folder)).exists()], data)
    dials.turn(todo, policy, FULL.sampling, problems[:limit], folder, data, typer.echo)
    if out is None:
        whole.record(sorted(folder.glob("*.parquet")), data, "python -m tts_lab dial")


@app.command()
def report(
    write: bool = typer.Option(False, help="Also write the tables to data/report/, for the book."),
) -> None:
    """Print the cast, its health, the PRMs' quality and the grid, from the shipped tables: no model runs."""
    from tts_lab.recipe import FULL
    from tts_lab.tables import report_tables
    from tts_utils.data_folder import lab_dir
    from tts_utils.store import manifest

    data, started = lab_dir(), time.perf_counter()
    tables = report_tables(FULL, data)
    for name, frame in tables.items():
        _show(name, frame)
    _say_what_is_missing(tables["grid"])
    if write:
        paths = [data / "report" / f"{name}.csv" for name in tables]
        for path, frame in zip(paths, tables.values(), strict=True):
            content = frame.to_csv(index=False, float_format="%.6g").encode()
            manifest.replace_file(path, content)
        seconds = time.perf_counter() - started
        manifest.record_files(paths, data=data, command="python -m tts_lab report --write", seconds=seconds)


@app.command()
def strategies(
    write: bool = typer.Option(False, help="Write data/report/strategies-*/, for lessons 6 to 8."),
    policy: list[str] = typer.Option([], help="These policies only; default: all that search on the set."),
) -> None:
    """Print what every strategy reaches, from the stored pools and searches; --write keeps it by problem."""
    from tts_lab import strategies as tables
    from tts_lab.recipe import FULL
    from tts_utils.data_folder import lab_dir
    from tts_utils.optimal import STRATEGY
    from tts_utils.store import manifest

    started = time.perf_counter()
    for dataset in FULL.search_sets:
        for name in policy or [spec.name for spec in FULL.searchers_of(dataset)]:
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
def lengths() -> None:
    """Count the tokens of the rollouts that the two RLHFlow PRMs learnt from (Table 1), for lesson 9."""
    from tts_lab.cast import data_lengths
    from tts_utils.data_folder import lab_dir
    from tts_utils.store import manifest

    data = lab_dir()
    frame = data_lengths(("lab-rlhflow-terse", "lab-rlhflow-verbose"), data)
    _print(frame)
    path = data / "report" / "prm-data-lengths.csv"
    manifest.replace_file(path, frame.to_csv(index=False, float_format="%.6g").encode())
    manifest.record_files([path], data=data, command="python -m tts_lab lengths")


@app.command()
def methods(
    live: bool = typer.Option(True, help="Fill what is missing with live models first (needs torch)."),
) -> None:
    """Search in ways the paper has not (every g-th step verified, particles), and compare; for lesson 13."""
    import pandas as pd

    from tts_lab import methods as rivals
    from tts_lab.memory import RememberingPolicy, RememberingPRM
    from tts_lab.recipe import FULL
    from tts_utils.data_folder import lab_dir
    from tts_utils.policies import load_policy
    from tts_utils.prms import load_prm
    from tts_utils.store import manifest

    data, started, frames = lab_dir(), time.perf_counter(), []
    models, command = data / "models", "python -m tts_lab methods"
    policies = {}
    for policy, prm in rivals.PAIRS:
        if live and policy not in policies:
            policies[policy] = RememberingPolicy(load_policy(str(models / policy), "cpu", name=policy))
        if live:
            judge = RememberingPRM(load_prm(str(models / prm), "cpu", name=prm))
            rivals.fill(policies[policy], judge, FULL.sampling, data, log=typer.echo)
        frames.append(rivals.outcomes(policy, prm, FULL.sampling, data=data))
    table = pd.concat(frames, ignore_index=True)
    by = ["prm", "method", "budget"]
    _print(table.groupby(by, sort=False)[["right", "policy_tokens", "prm_tokens"]].mean().reset_index())
    path = rivals.write(table, data)
    seconds = time.perf_counter() - started
    manifest.record_files([path], data=data, command=command, seconds=seconds)


@app.command()
def judges() -> None:
    """Print what the PRMs are worth as judges: the cast's demands, small against large, errors, the dial."""
    from tts_lab.grid import completeness
    from tts_lab.recipe import FULL
    from tts_lab.tables import judges_tables, processes, read
    from tts_utils.data_folder import lab_dir

    data = lab_dir()
    with processes() as pool:
        tables = judges_tables(FULL, read(FULL, data, pool), data, pool)
    for name, frame in tables.items():
        _show(name, frame)
    _say_what_is_missing(completeness(FULL, data))


@app.command()
def phenomena(
    cases: bool = typer.Option(False, help="Print every case of every claim, not one line per claim."),
) -> None:
    """Print what the stored tables say of each of the paper's claims: seen, in part, not seen, reversed."""
    from tts_lab.recipe import FULL
    from tts_lab.tables import report_tables
    from tts_utils.data_folder import lab_dir

    tables = report_tables(FULL, lab_dir())
    if cases:
        for claim, frame in tables["phenomena-lab-200"].groupby("claim", sort=False):
            _show(claim, frame.drop(columns="claim"))
    for row in tables["claims"].itertuples():
        typer.echo(f"{row.verdict:9} {row.source}: {row.claim}\n          {row.numbers}")


@app.command()
def problems(
    seed: int = typer.Option(help="Another seed, other problems."),
    count: int = typer.Option(40, min=1, help="How many."),
    out: Path = typer.Option(help="The .jsonl file to write."),
) -> None:
    """Write new problems of the lab's kinds, for a course or an exam: none of them is in a test set."""
    from itertools import islice

    from tts_lab.problems import training_stream, write_problems

    if out.exists():
        raise typer.BadParameter(f"{out} is there already; name a new file")
    # Streams of training have seeds below a million; these begin behind them.
    write_problems(tuple(islice(training_stream(10**6 + seed), count)), out)
    typer.echo(f"{count} problems in {out}; run them with: tts sample --dataset {out}")


@app.command()
def slips(policy: str, dataset: str = typer.Option("lab-500", help="The test set.")) -> None:
    """Sample 16 next steps from states that are right so far, live, and print how many are right."""
    from tts_lab.recipe import FULL
    from tts_lab.report import slips as measure
    from tts_utils.policies import load_policy

    spec = next((p for p in FULL.policies if p.name == policy), FULL.policies[0])
    _print(measure(load_policy(policy), dataset, FULL.sampling_of(spec)))


def _show(name: str, frame) -> None:
    typer.echo(f"\n## {name}\n")
    _print(frame) if len(frame) else typer.echo("missing: nothing that it is made of is stored")


def _say_what_is_missing(grid) -> None:
    lacking = grid[grid["there"] < grid["wanted"]]
    typer.echo(f"\n{len(lacking)} of {len(grid)} groups of tables are not whole")
    if len(lacking):
        _print(lacking)


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


@app.command()
def note(
    data: Path = typer.Option(None, help="Where the data is; default: data/ of the checkout."),
) -> None:
    """Note new and changed files that are no tables in the manifest, each with its hash."""
    from tts_lab.note import note as note_files
    from tts_utils.data_folder import lab_dir

    note_files(data or lab_dir(), typer.echo)


if __name__ == "__main__":
    app()
