"""What the benchmarks share: time, memory, counts of forward passes, the ceiling by matmul, tables."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tts_utils.problems import load_problems
from tts_utils.records import Problem
from tts_utils.store import manifest

_LIBRARIES = ("numpy", "pandas", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took.

    Attributes:
        seconds: wall-clock; the median where it was repeated.
        processor: seconds of processor time, all threads, all repeats; says what wall-clock does not on a
            machine that others use too.
        peak: bytes, the largest resident memory of the whole process meanwhile, libraries and models
            included; with a GPU model, the most that torch had allocated on it.
    """

    seconds: float
    processor: float
    peak: int


def measure(work: Callable[[], Any], *, repeats: int = 1, device: str = "cpu") -> tuple[Any, Cost]:
    """Run ``work`` some times: its last result, and its cost."""
    _reset_peak(device)
    seconds, started = [], time.process_time()
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        _synchronise(device)
        seconds.append(time.perf_counter() - began)
    return result, Cost(statistics.median(seconds), time.process_time() - started, _peak(device))


def _synchronise(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def _reset_peak(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    except OSError:
        return  # elsewhere the peak is that of the whole run


def _peak(device: str) -> int:
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def forward_passes(module) -> Iterator[list[int]]:
    """Note every pass of a transformer, written out or not: the list that is given holds the tokens of each.

    Padding is counted too.
    """
    from tts_utils.lean import Lean

    seen: list[int] = []
    own, embedding = Lean.__call__, module.base_model.embed_tokens.weight

    def noted(self, ids, *args):
        if self.embedding is embedding:
            seen.append(ids.numel())
        return own(self, ids, *args)

    handle = module.register_forward_hook(
        lambda _, args, kwargs, out: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    Lean.__call__ = noted
    try:
        yield seen
    finally:
        Lean.__call__ = own
        handle.remove()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The fastest that tokens could go through a model if it were nothing but its matrix products.

    Attributes:
        flops_per_token: floating-point operations of those products, for one token.
        flops_per_second: measured, with random numbers of the model's own shapes.
    """

    flops_per_token: int
    flops_per_second: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second at that rate."""
        return self.flops_per_second / self.flops_per_token


def ceiling(model, rows: int, *, repeats: int = 30) -> Ceiling:
    """Measure the matrix products of all linear layers of a model, at so many tokens at a time."""
    import torch

    layers = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {w.shape[1]: torch.randn(rows, w.shape[1], dtype=w.dtype, device=w.device) for w in layers}
    device = "cpu" if model.device.type == "cpu" else "cuda"

    def all_products() -> None:
        for weight in layers:
            torch.mm(inputs[weight.shape[1]], weight.T)

    with torch.inference_mode():
        measure(all_products, repeats=3, device=device)
        _, cost = measure(all_products, repeats=repeats, device=device)
    flops = 2 * sum(weight.numel() for weight in layers)
    return Ceiling(flops, rows * flops / cost.seconds)


def square_product(size: int = 1024, *, device: str = "cpu") -> float:
    """Floating-point operations per second of one large float32 matrix product: what the machine can do."""
    import torch

    left, right = torch.randn(2, size, size, device=device)
    measure(lambda: left @ right, repeats=3, device=device)
    _, cost = measure(lambda: left @ right, repeats=10, device=device)
    return 2 * size**3 / cost.seconds


def spread(dataset: str, count: int) -> list[Problem]:
    """So many problems of a data set, evenly spaced, so that every level is among them."""
    problems = load_problems(dataset)
    if count > len(problems):
        raise SystemExit(f"{dataset} has {len(problems)} problems, not {count}")
    return [problems[i * len(problems) // count] for i in range(count)]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--threads", type=int, default=1, help="threads of torch")
    return made


def set_threads(count: int) -> None:
    """Give torch so many threads (OMP_NUM_THREADS does the same before the start)."""
    import torch

    torch.set_num_threads(count)


def heading(name: str, argv: Sequence[str] | None, setting: str) -> None:
    """Print what was run, on what, with what.

    Args:
        name: the benchmark's module.
        argv: its arguments; None for those of the command line.
        setting: what they amount to.
    """
    now = manifest.circumstances()
    found = [f"{library} {v}" for library in _LIBRARIES if (v := _version(library))]
    given = sys.argv[1:] if argv is None else argv
    print(f"## {name}\n")
    print(f"    {shlex.join(['python', '-m', f'benchmarks.{name}', *given])}\n")
    print(f"{setting}\n")
    busy = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    print(f"- {now['date']} UTC, {now['hardware']}{busy}")
    print(f"- tts_utils {now['code_version']}, Python {platform.python_version()}, {', '.join(found)}\n")


def table(rows: Sequence[dict[str, object]]) -> None:
    """Print rows of equal keys as a Markdown table; numbers to the right."""
    columns = list(rows[0])
    cells = [[_cell(row[c]) for c in columns] for row in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    right = [all(isinstance(row[c], int | float | None) for row in rows) for c in columns]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    print(line(columns))
    print(
        "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    )
    for row in cells:
        print(line(row))
    print()


def mib(num_bytes: int) -> int:
    """Bytes in MiB."""
    return round(num_bytes / 2**20)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
