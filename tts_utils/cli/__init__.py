"""The command ``tts``: parses, calls, prints; the work is done in the modules it calls."""

from __future__ import annotations

import typer

from tts_utils.cli import doctor, filling, looking
from tts_utils.cli.guard import says_what_is_wrong
from tts_utils.imports import cli as cli_import
from tts_utils.prm_bench import cli as cli_prm_bench
from tts_utils.recipes import cli as cli_recipes
from tts_utils.store import cli as cli_store

app = typer.Typer(
    help="Fill, check and read the stored tables of model outputs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, command in (
    ("sample", filling.sample),
    ("score", filling.score),
    ("search", filling.search),
    ("report", looking.print_report),
    ("fetch", cli_store.fetch),
    ("push", cli_store.push),
    ("pull", cli_store.pull),
    ("run", cli_recipes.run),
    ("prm-bench", cli_prm_bench.prm_bench),
    ("verify", looking.verify),
    ("doctor", doctor.doctor),
):
    app.command(name)(says_what_is_wrong(command))
app.add_typer(cli_import.commands(says_what_is_wrong), name="import")
