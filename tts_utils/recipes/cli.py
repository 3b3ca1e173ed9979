"""The command ``tts run``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tts_utils import data_folder, devices
from tts_utils.problems import load_problems
from tts_utils.progress import Progress
from tts_utils.recipes import memory, plan, probe, read
from tts_utils.recipes.run import Loaded
from tts_utils.recipes.run import run as run_recipe


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe's TOML file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and its cost.")
    ] = False,
    probing: Annotated[
        float,
        typer.Option("--probe", min=0, help="Run the models for so many seconds first, to know the cost."),
    ] = 0.0,
    workers: Annotated[
        int, typer.Option(min=0, help="Share the work among so many Ray workers; 0 works in this process.")
    ] = 0,
    ray: Annotated[
        str, typer.Option(help='Address of a Ray cluster, such as "auto"; default: Ray on this machine.')
    ] = "",
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker.")] = 0.0,
    on: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="With --dry-run: plan for a GPU of so many gigabytes, which need not be here."
        ),
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="With --dry-run: only the sums.")] = False,
    flops: Annotated[
        float | None,
        typer.Option(min=1, help="Operations a second that your GPU achieves, as in 1e14, to be told hours."),
    ] = None,
) -> None:
    """Fill every table of an experiment: first the plan, then the work; stopped at any time, it goes on."""
    if (on or brief) and not dry_run:
        raise typer.BadParameter(
            "--on plans for a GPU that is not here, and --brief says sums: with --dry-run"
        )
    wanted = read(recipe)
    data = data_folder.data_dir()
    log = data / "logs" / f"{recipe.stem}.log"

    def say(line: str) -> None:
        typer.echo(line)
        if not dry_run:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    if not brief:
        say(f"{wanted.name}: looking at what is stored of {wanted.dataset}, and at this machine")
    with Progress(title=wanted.name, say=say):
        planned_only = dry_run and not probing
        problems = () if planned_only and wanted.dataset in plan.SIZES else load_problems(wanted.dataset)
        device = devices.gpu(on) if on else devices.found()
        todo = plan.jobs(wanted, len(problems) or plan.SIZES[wanted.dataset], data)
        loaded, rates = Loaded(), plan.assumed(wanted)
        if probing and any(job.missing for job in todo):
            memory.check(todo, device)
            say(f"running the models for about {probing:.0f} s")
            rates = probe.measure(wanted, problems, loaded, probing)
    plan.lines(wanted, todo, rates, say, flops, brief)
    if not (workers or brief):  # which may run on other machines
        memory.lines(todo, device, say)
    if dry_run:
        for line in () if workers or brief else memory.complaints(todo, device):
            say(f"does not fit: {line}")
        return
    see = f"see: tts report --dataset {wanted.dataset}"
    if workers:
        from tts_utils.recipes.cluster import run_on_ray

        loaded.drop("policy")
        loaded.drop("prm")
        run_on_ray(wanted, data=data, workers=workers, address=ray or None, gpus=gpus, say=say)
        say(f"{wanted.name}: all {len(todo)} tables are whole; {see}")
        return
    done = run_recipe(wanted, data=data, say=say, loaded=loaded, problems=problems, device=device)
    say(f"{wanted.name}: {len(done)} tables filled, {len(todo) - len(done)} were whole; {see}")
