"""The command ``tts prm-bench``: parses, calls, prints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from tts_utils import backends, prms
from tts_utils.prm_bench import Bench, Solution, bench, load_solutions, read_scores, score_solutions
from tts_utils.progress import Progress
from tts_utils.store.tables import slug


def prm_bench(
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", help="ProcessBench, PRMBench, or the path of a file or folder in their layout."
        ),
    ],
    prm: Annotated[str, typer.Option("--prm", help="Name of a PRM, a model folder, or a Hub id.")] = "",
    scores: Annotated[
        Path | None, typer.Option("--scores", help="A file of step scores by others, instead of --prm.")
    ] = None,
    field: Annotated[str, typer.Option(help="The field of that file that holds the scores.")] = "scores",
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="A step that scores below it counts as wrong.")
    ] = 0.5,
    choose_on: Annotated[
        str, typer.Option(help="Choose the threshold on this subset, and report on the others.")
    ] = "",
    subset: Annotated[list[str] | None, typer.Option(help="Only this subset. Repeatable.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many solutions of each subset.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where a live PRM's scores are kept (default: prm-bench/).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Solutions given to the PRM at once.")] = 64,
    prm_backend: Annotated[
        str, typer.Option("--prm-backend", help="What runs the PRM: transformers, or vllm.")
    ] = "transformers",
    prm_option: Annotated[
        list[str] | None,
        typer.Option("--prm-option", metavar="KEY=VALUE", help="Option of the PRM's backend. Repeatable."),
    ] = None,
) -> None:
    """Say how well a PRM, or a file of step scores, finds the first wrong step of marked solutions."""
    if bool(prm) == (scores is not None):
        raise typer.BadParameter("give either --prm, a PRM to run, or --scores, a file of step scores")
    solutions = load_solutions(dataset)
    if subset:
        solutions = tuple(s for s in solutions if s.subset in {*subset, choose_on})
    if limit:
        by_subset: dict[str, list[Solution]] = {}
        for solution in solutions:
            by_subset.setdefault(solution.subset, []).append(solution)
        solutions = tuple(solution for some in by_subset.values() for solution in some[:limit])
    if scores is not None:
        found, name = read_scores(scores, field), scores.name
    else:
        options = backends.parse_options(prm_option or [])
        live, name = prms.load_prm(prm, backend=prm_backend, **options), prm
        out = out or Path("prm-bench") / f"{slug(Path(dataset).stem)}-{slug(prm)}.jsonl"
        with Progress("solution") as progress:
            found = score_solutions(live, solutions, out, batch_size=batch_size, progress=progress)
        typer.echo(f"scores are kept in {out}")
    result = bench(solutions, found, threshold=threshold, choose_on=choose_on)
    for line in _lines(result, dataset, name):
        typer.echo(line)


def _lines(result: Bench, dataset: str, name: str) -> list[str]:
    how = f"chosen on {result.chosen_on}, which is left out" if result.chosen_on else "given"
    lines = [
        f"{name} on {dataset}, threshold {result.threshold:.4g} ({how})",
        "in percent [95 % interval]: wrong solutions whose first wrong step is named, right ones passed, F1",
    ]
    for subset, rows in result.accuracies.groupby("subset", sort=False):
        cells = [f"{row.measure} {_percent(row.estimate, row.low, row.high)}" for row in rows.itertuples()]
        sizes = "/".join(str(n) for n in rows["n"][rows["measure"] != "F1"])
        lines.append(f"  {subset:<20} {'   '.join(cells)}" + (f"   n = {sizes}" if sizes else ""))
    lines.append(
        "steps whose truth is known: AUC of right against wrong, mean error of calibration, PRMScore"
    )
    for row in result.steps.itertuples():
        lines.append(
            f"  {row.subset:<20} AUC {row.auc:.3f}   calibration error {row.calibration_error:.3f}   "
            f"PRMScore {100 * row.prm_score:.1f}   "
            f"n = {row.right_steps} right, {row.wrong_steps} wrong"
        )
    lines.append("verdicts on wrong solutions, in percent")
    for row in result.verdicts.to_dict("records"):
        cells = "   ".join(f"{kind} {100 * row[kind]:.1f}" for kind in row if kind != "subset")
        lines.append(f"  {row['subset']:<20} {cells}")
    lines.append("what a score is worth: steps of like score, and how many of them are right")
    for row in result.calibration.itertuples():
        lines.append(
            f"  {row.score_low:.1f} to {row.score_high:.1f}   mean {row.mean_score:.3f}   right "
            f"{100 * row.share_right:5.1f} +- {100 * row.half_width_95:.1f}   n = {row.n_steps}"
        )
    if result.unscored:
        lines.append(f"{result.unscored} solutions have no scores (too long for the PRM, or not in the file)")
    return lines


def _percent(estimate: float, low: float, high: float) -> str:
    interval = "" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * estimate:.1f}{interval}"
