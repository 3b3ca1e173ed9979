"""Load the models that options name, and refuse what they are not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import typer

from tts_utils import backends, checkpoints, data_folder, policies, prms, protocols


def load_policy(
    policy: str, backend: str, server_url: str, words: list[str] | None, dataset: str
) -> protocols.Policy:
    """Load the policy that the options name.

    Raises:
        UnknownModel: it is a PRM.
    """
    refuse_a_prm(policy)
    if policy.startswith("lab-") and not dataset_of_the_lab(dataset):
        typer.echo(
            f"note: {policy} was taught the lab's kinds of problems only, and knows none of {dataset!r}",
            err=True,
        )
    options = backends.parse_options(words or [])
    return policies.load_policy(policy, backend=backend, server_url=server_url, **options)


def load_prm(prm: str, backend: str, words: list[str] | None) -> protocols.PRM:
    """Load the PRM that the options name: a model's, or a class of the reader's own, "module:Class".

    Raises:
        UnknownModel: there is no such module or class, or what it makes is no PRM.
    """
    if ":" not in prm or "/" in prm:
        return prms.load_prm(prm, backend=backend, **backends.parse_options(words or []))
    module, _, name = prm.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(importlib.import_module(module), name)(**backends.parse_options(words or []))
    except (ImportError, AttributeError, TypeError) as exc:
        raise checkpoints.UnknownModel(
            f"cannot make a PRM of {prm!r}: {exc}; MODULE:CLASS names a class in a module that can be "
            f"imported from {here}, called with the --prm-option values"
        ) from exc
    lacking = [name for name in ("name", "num_params", "revision", "score") if not hasattr(made, name)]
    if lacking:
        raise checkpoints.UnknownModel(
            f"what {prm!r} makes is no PRM: it has no {', '.join(lacking)}; a PRM has name, num_params, "
            "revision and score(trajectories), see help(tts_utils.prms)"
        )
    return made


def refuse_a_prm(policy: str) -> None:
    """Raise UnknownModel where a policy is named that is a PRM: its text would be nothing but noise."""
    folder = data_folder.look_up(f"models/{policy}") or Path(policy)
    kinds = []
    if (folder / "config.json").is_file():
        try:
            kinds = (
                json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
            )
        except (ValueError, AttributeError):
            return  # what reads it next says what is wrong
    heads = [kind for kind in kinds if "ForCausalLM" not in kind and "ForConditionalGeneration" not in kind]
    if (folder / "tts_prm.json").is_file() or heads:
        raise checkpoints.UnknownModel(
            f"{policy!r} is a reward model, not a policy: it scores steps (--prm {policy}) and writes none"
        )


def dataset_of_the_lab(dataset: str) -> bool:
    """Whether a problem set is one of the lab's own, or a file of ``python -m tts_lab problems``."""
    if not dataset.endswith(".jsonl"):
        return data_folder.dataset_name(dataset).startswith("lab-")
    try:
        with open(dataset, encoding="utf-8") as file:
            first = json.loads(file.readline(1_000_000))
    except (OSError, ValueError):
        return False  # what reads it whole says what is wrong
    return isinstance(first, dict) and {"template", "nodes"} <= set(first)
