"""The command ``tts run``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tts_utils import data_folder
from tts_utils.problems import load_problems
from tts_utils.recipes import RecipeError, plan, probe, read
from tts_utils.recipes.run import Loaded
from tts_utils.recipes.run import run as run_recipe

__all__ = ["RecipeError", "run"]


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
) -> None:
    """Fill every table of an experiment: first the plan, then the work; stopped at any time, it goes on."""
    wanted = read(recipe)
    data = data_folder.data_dir()
    problems = load_problems(wanted.dataset)
    log = data / "logs" / f"{recipe.stem}.log"

    def say(line: str) -> None:
        typer.echo(line)
        if not dry_run:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    loaded = Loaded()
    rates = probe.unmeasured()
    if probing:
        say(f"running the models for about {probing:.0f} s")
        rates = probe.measure(wanted, problems, loaded, probing)
    todo = plan.jobs(wanted, len(problems), data)
    plan.lines(wanted, todo, rates, say)
    if dry_run:
        return
    if workers:
        from tts_utils.recipes.cluster import run_on_ray

        loaded.drop("policy")
        loaded.drop("prm")
        run_on_ray(wanted, data=data, workers=workers, address=ray or None, gpus=gpus, say=say)
        return
    done = run_recipe(wanted, data=data, say=say, loaded=loaded, problems=problems)
    say(
        f"{wanted.name}: {len(done)} tables filled, {len(todo) - len(done)} were whole; see: tts report "
        f"--dataset {wanted.dataset}"
    )
