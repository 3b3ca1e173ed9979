"""The commands ``tts fetch``, ``tts push`` and ``tts pull``."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_utils import data_folder
from tts_utils.store import fetch as fetching
from tts_utils.store import share
from tts_utils.store.fetch import megabytes


def fetch(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to fetch: a lesson (lesson-02), what all lessons read (course), a problem set with "
            "all that was sampled on it (lab-500), models, a path (models/lab-llama-m), or all. "
            "Without one, the parts and their sizes are listed."
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Another address or a folder that holds the data [default: the repository]."
        ),
    ] = "",
) -> None:
    """Bring shipped data into the cache; stopped at any time, it goes on from there."""
    if clone := data_folder.clone_dir():
        typer.echo(f"nothing to fetch: this is a clone, and {clone} holds all of the shipped data")
        return
    if not parts:
        _list_parts()
        return
    done = fetching.fetch(parts, source, say=typer.echo)
    typer.echo(
        f"{done.files} files, {megabytes(done.size)}, are there, {done.new_files} of them new "
        f"({done.new_size} bytes), in {done.seconds:.1f} s"
    )
    if old := fetching.others():
        typer.echo(f"data of older versions may be removed: {', '.join(map(str, old))}")


Repository = Annotated[str, typer.Argument(help='A data set repository on the Hub, as in "name/tables".')]


def push(
    repo: Repository,
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Words of a path, such as MATH-500 or samples; without one, all tables."),
    ] = None,
) -> None:
    """Upload your own tables to the Hub; each is checked first."""
    share.push(repo, parts or (), data=data_folder.data_dir(), say=typer.echo)


def pull(
    repo: Repository,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let your own tables give way.")] = False,
) -> None:
    """Download tables that others shared; all are checked before any is used."""
    share.pull(repo, data=data_folder.data_dir(), revision=revision, replace=replace, say=typer.echo)


def _list_parts() -> None:
    files, folder = fetching.shipped_files(), data_folder.cache_dir()
    typer.echo(f"parts of the shipped data, fetched into {folder}")
    for name in [*fetching.part_names(files), "all"]:
        paths = fetching.part(name, files)
        here = sum((folder / path).is_file() for path in paths)
        state = "fetched" if here == len(paths) else f"{here} fetched" if here else ""
        size = megabytes(sum(files[path]["bytes"] for path in paths))
        typer.echo(f"  {name:<12}{size:>10}  {len(paths):>5} files  {state}".rstrip())
