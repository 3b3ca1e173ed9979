"""Which versions of vLLM, torch, transformers, CUDA and Python fit each other, and what is installed here.

vLLM's compiled parts work with the torch they were built with only. The pins are those that its wheels state.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from typing import NamedTuple

Version = tuple[int, ...]


class Pins(NamedTuple):
    """What the wheels of some versions of vLLM ask for.

    Attributes:
        first, last: versions of vLLM, both included.
        torch: the one version.
        transformers: from the first, below the second.
        python: from the first, up to and with the second.
        cuda: the major version of the wheel.
    """

    first: Version
    last: Version
    torch: Version
    transformers: tuple[Version, Version]
    python: tuple[Version, Version]
    cuda: int


_ANY = (99,)
VLLM = (
    Pins((0, 33), (0, 33), (2, 14, 0), ((5, 16, 1), (5, 21)), ((3, 11), (3, 14)), 13),
    Pins((0, 32), (0, 32), (2, 13, 0), ((5, 16, 1), (5, 20)), ((3, 11), (3, 14)), 13),
    Pins((0, 31), (0, 31), (2, 13, 0), ((5, 10, 4), (5, 18)), ((3, 10), (3, 14)), 13),
    Pins((0, 29), (0, 30), (2, 13, 0), ((5, 10, 4), _ANY), ((3, 10), (3, 14)), 13),
    Pins((0, 27), (0, 28), (2, 13, 0), ((5, 5, 3), _ANY), ((3, 10), (3, 14)), 13),
    Pins((0, 24), (0, 26), (2, 11, 0), ((5, 5, 3), _ANY), ((3, 10), (3, 14)), 13),
    Pins((0, 20), (0, 23), (2, 11, 0), ((5, 5, 1), _ANY), ((3, 10), (3, 14)), 13),
    Pins((0, 19), (0, 19), (2, 10, 0), ((5, 5, 1), _ANY), ((3, 10), (3, 13)), 12),
)
"""The supported versions, newest first, from the metadata of their wheels."""

TRANSFORMERS = (5, 5), (6,)
"""Versions that this package works with: from the first, below the second."""

TORCH = (2, 6)
"""The first version of torch that it works with."""


def installed(*packages: str) -> str | None:
    """The version of the first of these packages that is installed, or None; nothing is imported."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def numbers(version: str) -> Version:
    """A version as numbers, without what follows a "+".

    >>> numbers("2.13.0+cpu"), numbers("0.19.1rc2")
    ((2, 13, 0), (0, 19, 1))
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def pins_of(vllm: str) -> Pins | None:
    """What a version of vLLM asks for; None where it is not among those that are supported."""
    short = numbers(vllm)[:2]
    return next((pins for pins in VLLM if pins.first <= short <= pins.last), None)


def complaints(versions: Mapping[str, str | None], python: Version, has_gpu: bool) -> list[str]:
    """What does not fit together, each with what would.

    Args:
        versions: of "torch", "transformers" and "vllm"; None where it is not installed.
        python: (major, minor).
        has_gpu: whether the machine has one.

    >>> complaints({"torch": "2.13.0+cpu", "transformers": "5.2.0", "vllm": None}, (3, 11), False)
    ['transformers 5.2.0 is installed, and this package works with >=5.5,<6']
    """
    torch, transformers, vllm = (versions.get(name) for name in ("torch", "transformers", "vllm"))
    said = []
    if transformers and not TRANSFORMERS[0] <= numbers(transformers) < TRANSFORMERS[1]:
        said.append(f"transformers {transformers} is installed, and this package works with >=5.5,<6")
    if torch and numbers(torch) < TORCH:
        said.append(f"torch {torch} is installed, and this package works with >={_text(TORCH)}")
    if torch and has_gpu and torch.endswith("+cpu"):
        said.append(f"torch {torch} is a CPU build, though there is a GPU: install one for CUDA")
    if vllm is None:
        return said
    pins = pins_of(vllm)
    if pins is None:
        span = f">={_text(VLLM[-1].first)},<{VLLM[0].last[0]}.{VLLM[0].last[1] + 1}"
        return [*said, f"vLLM {vllm} is installed, and this package works with {span}"]
    if torch is None or numbers(torch) != pins.torch:
        said.append(
            f"vLLM {vllm} works with torch {_text(pins.torch)} alone, and here is {torch or 'none'}: install "
            "vLLM into an environment of its own, and let it choose torch"
        )
    elif (build := re.search(r"\+cu(\d\d)", torch)) and int(build[1]) != pins.cuda:
        said.append(
            f"vLLM {vllm} is built for CUDA {pins.cuda}, and torch {torch} for CUDA {build[1]}: it would not "
            "load; take both from one index, in an environment of their own"
        )
    least, below = pins.transformers
    if transformers is None or not least <= numbers(transformers) < below:
        span = f">={_text(least)}" + (f",<{_text(below)}" if below != _ANY else "")
        said.append(f"vLLM {vllm} works with transformers {span}, and here is {transformers or 'none'}")
    if not pins.python[0] <= python[:2] <= pins.python[1]:
        said.append(f"vLLM {vllm} has wheels for Python {_text(pins.python[0])} to {_text(pins.python[1])}")
    return said


def _text(version: Version) -> str:
    return ".".join(map(str, version))
