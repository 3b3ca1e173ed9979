"""What this machine computes on, and how much memory is free there; without torch too."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass

GB = 1e9


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run.

    Attributes:
        name: for messages.
        kind: "cpu" or "cuda".
        total, free: bytes of memory, of one GPU or of the machine.
        count: how many of them, alike.
        capability: of a GPU, such as (8, 0); (0, 0) where that is not known.
    """

    name: str
    kind: str
    total: float
    free: float
    count: int = 1
    capability: tuple[int, int] = (0, 0)

    @property
    def words(self) -> str:
        """In a few words."""
        several = f"{self.count} x " if self.count > 1 else ""
        return f"{several}{self.name}, {self.free / GB:.1f} of {self.total / GB:.1f} GB free"


def gpu(gigabytes: float, count: int = 1) -> Device:
    """A GPU that one does not have, to plan for.

    >>> gpu(24).words
    'a GPU of 24 GB, 24.0 of 24.0 GB free'
    """
    return Device(f"a GPU of {gigabytes:g} GB", "cuda", gigabytes * GB, gigabytes * GB, count)


def found() -> Device:
    """The GPUs that torch can use, else the CPU."""
    return gpus() or cpu()


def gpus() -> Device | None:
    """The GPUs that torch can use, seen as the first of them; None where there is none, or no torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    name, count = torch.cuda.get_device_name(), torch.cuda.device_count()
    return Device(name, "cuda", total, free, count, torch.cuda.get_device_capability())


def installed_gpus() -> Device | None:
    """The GPUs that the driver knows, whether or not torch can use them; None where there is no driver."""
    if (command := shutil.which("nvidia-smi")) is None:
        return None
    query = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run([command, *query], capture_output=True, text=True, timeout=20, check=True)
        rows = [line.rsplit(",", 2) for line in answer.stdout.strip().splitlines()]
        name, total, free = rows[0]
        return Device(name.strip(), "cuda", float(total) * 2**20, float(free) * 2**20, len(rows))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def cpu() -> Device:
    """This machine's processor and memory; what is free is what can be had without swapping."""
    total = free = 0.0
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in file}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError):  # no Linux
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = free = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Device("CPU", "cpu", total, free, 1)
