"""Every known error becomes one message and exit code 2."""

from __future__ import annotations

import functools
from collections.abc import Callable

import typer

from tts_utils import checkpoints, complaints, data_folder, problems, protocols, store
from tts_utils.recipes import RecipeError

KNOWN_ERRORS = (
    store.StoreError,
    problems.ProblemError,
    RecipeError,
    data_folder.DataDirError,
    checkpoints.UnknownModel,
    protocols.BackendError,
    protocols.PromptTooLong,
    protocols.BadScores,
    protocols.BadContinuations,
)


def says_what_is_wrong(run: Callable) -> Callable:
    """Turn every known error into one message on stderr and exit code 2."""

    @functools.wraps(run)
    def wrapped(*args, **kwargs):
        try:
            return run(*args, **kwargs)
        except KNOWN_ERRORS as exc:
            typer.echo(f"tts: {exc}", err=True)
        except ModuleNotFoundError as exc:
            if exc.name not in ("torch", "transformers"):
                raise
            typer.echo(
                f"tts: running a model needs {exc.name}, which is not installed: "
                "pip install -r requirements-lab.txt (CPU) or requirements-gpu.txt (GPU)",
                err=True,
            )
        except Exception as exc:
            if (words := complaints.sentence(exc)) is None:
                raise
            typer.echo(f"tts: {words}", err=True)
        except KeyboardInterrupt:
            typer.echo(
                "tts: stopped; finished batches are kept, the same command goes on from there", err=True
            )
            raise typer.Exit(130) from None
        raise typer.Exit(2)

    return wrapped
