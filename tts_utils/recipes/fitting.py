"""Which of the paper's policies fit beside which of its PRMs on a GPU, by arithmetic.

Both are run by vLLM with a context of 4,096 tokens, but for Skywork's PRMs, which transformers runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tts_utils.devices import Device
from tts_utils.prms.formats import PUBLISHED as PRMS
from tts_utils.recipes import Model
from tts_utils.recipes.memory import Load
from tts_utils.recipes.shapes import PUBLISHED
from tts_utils.records import SamplingConfig

SAMPLING = SamplingConfig(max_tokens=2048)
SMALL = {"max_model_len": 4096, "max_num_batched_tokens": 4096, "max_num_seqs": 128}
SPARE = 0.95
"""The share of the free memory that two models may take together."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A policy and a PRM that fit side by side.

    Attributes:
        policy, prm: their Hub ids.
        policy_bits, prm_bits: of a weight.
        policy_share, prm_share: their ``gpu_memory_utilization``; the PRM's is 0 where transformers runs it.
    """

    policy: str
    prm: str
    policy_bits: int
    prm_bits: int
    policy_share: float
    prm_share: float


def policies() -> list[str]:
    """The paper's policies, largest first."""
    names = [name for name in PUBLISHED if name not in PRMS]
    return sorted(names, key=lambda name: PUBLISHED[name].num_params, reverse=True)


def pair(policy: str, prm: str, policy_bits: int, prm_bits: int, device: Device) -> Pair | None:
    """How two models share a GPU; None where they do not fit.

    What is left is the policy's, whose sequences under way it decides.
    """
    if PUBLISHED[prm].head == "value":
        if prm_bits < 16:
            return None
        options = {"batch_tokens": 4096, "cache_bytes": 2**30}
        judge = Load("prm", Model(prm, options=options), PUBLISHED[prm], SAMPLING)
    else:
        judge = _in_vllm("prm", prm, prm_bits)
    writer = _in_vllm("policy", policy, policy_bits)
    needs = writer.need(device), judge.need(device)
    spare = SPARE * device.free - needs[0].total - needs[1].total
    if spare < 0:
        return None
    prm_share = 0.0 if judge.model.backend != "vllm" else round(needs[1].total / device.total + 0.005, 2)
    taken = prm_share * device.total or needs[1].total
    policy_share = int(100 * (SPARE * device.free - taken) / device.total) / 100
    if policy_share * device.total < needs[0].total:
        return None
    return Pair(policy, prm, policy_bits, prm_bits, policy_share, prm_share)


def pairs(device: Device) -> Iterator[Pair]:
    """For every PRM the largest policy in 16 bits, and where smaller weights allow a larger one, that too."""
    for prm in PRMS:
        found = None
        for policy_bits, prm_bits in ((16, 16), (4, 16), (4, 4)):
            fits = (pair(name, prm, policy_bits, prm_bits, device) for name in policies())
            largest = next((one for one in fits if one), None)
            if largest and (found is None or _size(largest) > _size(found)):
                found = largest
                yield largest


def _in_vllm(kind: str, name: str, bits: int) -> Load:
    quantised = {"quantization": "bitsandbytes"} if bits == 4 else {}
    return Load(kind, Model(name, "vllm", options=SMALL | quantised), PUBLISHED[name], SAMPLING)


def _size(found: Pair) -> int:
    return PUBLISHED[found.policy].num_params
