"""How much memory a recipe's models take, whether that is there, and what to do where it is not.

Weights follow from shape and type, exactly. The rest is an upper bound: keys and values of a whole batch of
the longest texts, and what a pass holds on its way. Nothing is loaded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from tts_utils.devices import GB, Device
from tts_utils.protocols import BackendError
from tts_utils.recipes import Model
from tts_utils.recipes.plan import Job
from tts_utils.recipes.shapes import Shape, shape_of
from tts_utils.records import SamplingConfig

RUNTIME = 0.6 * GB
"""What torch itself takes: its libraries, and on a GPU the context."""
PROMPT = 512
"""Tokens that a problem and its chat prompt are given; those of MATH-500 and AIME24 have fewer."""
GROWTH = 2.5
"""A full cache of the transformers backend is copied into one half as long again: both are there at once."""
PASS_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Tokens of prompts that the transformers backend reads at once."""
SHARE = 0.9
"""The share of a GPU that vLLM takes unless it is told otherwise."""
VLLM_CONTEXT, VLLM_BATCH, VLLM_ROWS = 8192, 8192, 256
"""Its context, the tokens of one pass and the sequences under way, where its options do not say."""
QUANTISED = {"fp8": 8, "bitsandbytes": 4}
"""Bits of a weight that vLLM makes of any checkpoint as it loads it, by its option ``quantization``."""


class TooLittleMemory(BackendError):
    """A model that does not fit; the message says what it needs, what is free, and the ways out."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one model takes of a device, in bytes.

    Attributes:
        weights: its parameters.
        cache: keys and values.
        work: everything else.
        holds: what it keeps for itself from the start; 0 where it takes what it needs.
    """

    weights: float
    cache: float
    work: float
    holds: float = 0.0

    @property
    def total(self) -> float:
        """What it cannot do without."""
        return self.weights + self.cache + self.work

    @property
    def takes(self) -> float:
        """What is gone for others while it is loaded."""
        return max(self.total, self.holds)

    @property
    def words(self) -> str:
        """In a few words."""
        parts = f"weights {_gb(self.weights)}, keys and values {_gb(self.cache)}, else {_gb(self.work)}"
        return f"{_gb(self.total)} ({parts})"


def weight_bytes(shape: Shape, bits: int) -> float:
    """Bytes of the weights: the layers' at ``bits``, or fewer where the checkpoint has fewer.

    The others have 16 bits or more. Four bits count as four and a half, as their scales lie beside them.

    >>> weight_bytes(Shape(16, 2048, 8192, 32, 8, 128_256, 131_072, tied=True), 16) / 1e9
    2.4716288
    """
    of_layer = min(bits, shape.bits)
    of_layer += 0.5 * (of_layer <= 4)
    return (shape.layer_params * of_layer + shape.other_params * max(16, bits)) / 8


@dataclass(frozen=True, slots=True)
class Load:
    """A policy or a PRM of a recipe that is to be loaded.

    Attributes:
        kind: "policy" or "prm".
        model: with its options.
        shape: its size; None where that is not known.
        sampling: how it is sampled, if it is a policy.
    """

    kind: str
    model: Model
    shape: Shape | None
    sampling: SamplingConfig

    def need(self, device: Device) -> Need | None:
        """What it takes of one device; None where its size is not known."""
        return self.shape and need_of(self.kind, self.model, self.shape, self.sampling, device)

    def changed(self, backend: str = "", **options: Any) -> Load:
        """The same with other options."""
        backend = backend or self.model.backend
        model = replace(self.model, backend=backend, options={**self.model.options, **options})
        return replace(self, model=model)

    def fits(self, device: Device) -> bool:
        """Whether it fits alone, as far as what it takes is known."""
        need = self.need(device)
        return need is None or (need.total <= (need.holds or device.free) and need.holds <= device.free)


def need_of(kind: str, model: Model, shape: Shape, sampling: SamplingConfig, device: Device) -> Need:
    """What a policy or a PRM takes of one device.

    Args:
        kind: "policy" or "prm".
        model: of a recipe, with its options.
        shape: its size.
        sampling: how it is sampled, if it is a policy.
        device: where it is to run.
    """
    options, on_cpu = model.options, device.kind == "cpu"
    if options.get("device") == "cpu" and not on_cpu:
        return Need(0, 0, 0)
    bits = 32 if on_cpu else 16
    stored = 32 if on_cpu else QUANTISED.get(str(options.get("quantization")), shape.bits)
    weights = weight_bytes(replace(shape, bits=stored), bits)
    of_token = shape.cached_numbers * bits / 8
    of_pass = (10 * shape.hidden + 3 * shape.inner) * bits / 8
    if model.backend == "vllm":
        parts = 1 if on_cpu else int(options.get("tensor_parallel_size", 1))
        length = min(int(options.get("max_model_len", VLLM_CONTEXT)), shape.context)
        logits = int(options.get("max_num_seqs", VLLM_ROWS)) * shape.vocab * 8 * (kind == "policy")
        work = int(options.get("max_num_batched_tokens", VLLM_BATCH)) * of_pass + logits
        holds = 0.0 if on_cpu else float(options.get("gpu_memory_utilization", SHARE)) * device.total
        return Need(weights / parts, of_token * length / parts, work / parts + RUNTIME, holds)
    if kind == "prm":
        tokens = int(options.get("batch_tokens", 1024 if on_cpu else 16_384))
        cache = float(options.get("cache_bytes", 2**28 if on_cpu else 2**32))
        parts = device.count if options.get("device") == "auto" else 1
        return Need(weights / parts, cache, tokens * of_pass + RUNTIME)
    rows = int(options.get("batch_size", 256))
    longest = min(PROMPT + sampling.max_tokens, shape.context)
    work = rows * shape.vocab * 12 + min(PASS_TOKENS[device.kind], rows * PROMPT) * of_pass
    return Need(weights, rows * longest * of_token * GROWTH, work + RUNTIME)


def loads(todo: Iterable[Job]) -> dict[tuple[str, str], Load]:
    """What the jobs that are not done load here, by kind and name; nothing of what is behind a server."""
    found: dict[tuple[str, str], Load] = {}
    for job in todo:
        policy = None if job.kind == "scores" else job.policy
        for kind, model in (("policy", policy), ("prm", job.prm)):
            if job.missing and model and model.backend != "server" and (kind, model.called) not in found:
                found[kind, model.called] = Load(kind, model, shape_of(model.source), job.config)
    return found


def beside(loads: Iterable[Load | None], device: Device) -> bool:
    """Whether models fit at once, as far as what they take is known."""
    needs = [load.need(device) for load in loads if load]
    return sum(need.takes for need in needs if need) <= device.free


def complaints(todo: Iterable[Job], device: Device) -> list[str]:
    """What does not fit, each with what is needed, what is free, and the ways out; none where all fits."""
    todo, said = [job for job in todo if job.missing], []
    found = loads(todo)
    for load in found.values():
        need = load.need(device)
        if need and not load.fits(device):
            share = f", of which it may take {_gb(need.holds)}" if need.holds else ""
            ways = "; ".join(_ways_out(load, need, device))
            said.append(
                f"{load.model.called} needs {need.words}; there is {device.words}{share}. Ways out: {ways}"
            )
    for policy, prm in _pairs(found, [job for job in todo if job.search]):
        if policy.fits(device) and prm.fits(device) and not beside((policy, prm), device):
            takes = [f"{load.model.called} ({_gb(load.need(device).takes)})" for load in (policy, prm)]
            said.append(
                f"searches need {' and '.join(takes)} at once; there is {device.words}. "
                f"Ways out: {'; '.join(_room_for_two(policy, prm, device))}"
            )
    return said


def check(todo: Iterable[Job], device: Device) -> None:
    """Raise TooLittleMemory where something does not fit; nothing is loaded for it."""
    if said := complaints(todo, device):
        raise TooLittleMemory("\n  ".join(["there is too little memory, so nothing was loaded:", *said]))


def lines(todo: Iterable[Job], device: Device, echo: Callable[[str], None]) -> None:
    """Say what each model takes of a device, and which pairs of policy and PRM are loaded side by side."""
    todo = [job for job in todo if job.missing]
    found = loads(todo)
    if found:
        echo(f"memory on {device.words}; at most:")
    for load in found.values():
        need = load.need(device)
        share = f", of the {_gb(need.holds)} that it takes" if need and need.holds else ""
        echo(f"  {load.model.called}: {need.words + share if need else 'not known without its config.json'}")
    for policy, prm in _pairs(found, todo):
        how = "side by side" if beside((policy, prm), device) else "one after the other"
        echo(f"  {policy.model.called} and {prm.model.called}: {how}")


def _pairs(found: dict[tuple[str, str], Load], todo: Iterable[Job]) -> list[tuple[Load, Load]]:
    """Policies and PRMs of the same jobs that are both loaded here, and of known size."""
    names = dict.fromkeys((job.policy.called, job.prm.called) for job in todo if job.prm)
    pairs = [(found.get(("policy", policy)), found.get(("prm", prm))) for policy, prm in names]
    return [(a, b) for a, b in pairs if a and b and a.shape and b.shape]


def _ways_out(load: Load, need: Need, device: Device) -> list[str]:
    """Changes of a recipe under which a model fits, and what always works."""
    ways, name = [], "batch_size" if load.kind == "policy" else "batch_tokens"
    if load.model.backend == "transformers":
        sizes = [128 >> i for i in range(8)] if load.kind == "policy" else [8192, 4096, 2048, 1024]
        ways += [f"{name} = {n} in its options" for n in sizes if load.changed(**{name: n}).fits(device)][:1]
        if load.kind == "prm" and load.changed(cache_bytes=0).fits(device):
            ways.append("cache_bytes = 0 in its options")
    elif need.total <= device.free:
        share = min(need.total / device.total + 0.02, 1)
        ways.append(f"gpu_memory_utilization = {share:.2f} in its options")
    if device.kind == "cuda" and not ways and load.shape and load.shape.head == "value":
        spread = load.changed(device="auto")
        counts = [n for n in (2, 4, 8) if spread.fits(replace(device, count=n))]
        ways += [f'{n} such GPUs (device = "auto" in its options)' for n in counts[:1]]
    elif device.kind == "cuda" and not ways:
        own = {"gpu_memory_utilization": min(SHARE, device.free / device.total)}
        if load.changed("vllm", quantization="bitsandbytes", **own).fits(device):
            how = 'backend vllm and quantization = "bitsandbytes", or a checkpoint in -AWQ'
            ways.append(f"weights of 4 bits ({how})")
        counts = [
            n for n in (2, 4, 8, 16) if load.changed("vllm", tensor_parallel_size=n, **own).fits(device)
        ]
        ways += [f"{n} such GPUs (backend vllm and tensor_parallel_size = {n})" for n in counts[:1]]
    elsewhere = ', or one behind a server (backend = "server")' if load.kind == "policy" else ""
    return [*ways, f"a smaller model{elsewhere}"]


def _room_for_two(policy: Load, prm: Load, device: Device) -> list[str]:
    ways, both = [], [load for load in (policy, prm) if load.model.backend == "vllm"]
    spare = 0.95 * device.free - policy.need(device).total - prm.need(device).total
    if spare >= 0 and both:
        shares = [
            f"gpu_memory_utilization = {(load.need(device).total + spare / 2) / device.total:.2f} "
            f"for {load.model.called}"
            for load in both
        ]
        ways.append(" and ".join(shares))
    ways += ['the policy behind a server (backend = "server")', "smaller models"]
    return [*ways, "only greedy and best_of_n, which load one after the other"]


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB" if size >= 0.1 * GB else f"{size / 1e6:.1f} MB"
