"""Reads the GPU memory of this machine: NVML, else amdgpu in sysfs; never that of a machine elsewhere."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pynvml

_DRM = Path("/sys/class/drm")


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Memory in bytes, summed over all GPUs of this machine."""

    total_bytes: int
    free_bytes: int
    gpus: int
    source: str


class GpuProbe(Protocol):
    """Reads the GPU memory now; blocking, a few ms at most; None: it can't be read at present."""

    def read(self) -> GpuMemory | None:
        """Return the memory there is now."""


class NvmlProbe:
    """NVIDIA's driver.

    Raises:
        pynvml.NVMLError: there is no NVIDIA driver, or it has no GPU.
    """

    def __init__(self) -> None:
        pynvml.nvmlInit()
        self._gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def read(self) -> GpuMemory | None:
        """Return the memory of all NVIDIA GPUs."""
        try:
            memories = [pynvml.nvmlDeviceGetMemoryInfo(gpu) for gpu in self._gpus]
        except pynvml.NVMLError:
            return None
        total, free = sum(memory.total for memory in memories), sum(memory.free for memory in memories)
        return GpuMemory(int(total), int(free), len(memories), "NVML")


class AmdgpuProbe:
    """The amdgpu driver's files in sysfs; `cards` are the device folders that have them."""

    def __init__(self, cards: list[Path]) -> None:
        self._cards = cards

    def read(self) -> GpuMemory | None:
        """Return the memory of all AMD GPUs."""
        try:
            total = sum(int((card / "mem_info_vram_total").read_text()) for card in self._cards)
            used = sum(int((card / "mem_info_vram_used").read_text()) for card in self._cards)
        except (OSError, ValueError):
            return None
        return GpuMemory(total, max(0, total - used), len(self._cards), "amdgpu")


def find_probe(upstream_url: str, drm: Path = _DRM) -> GpuProbe | None:
    """Return a probe for the GPUs that the upstream uses; None: it is elsewhere, or no driver tells."""
    if not is_local(upstream_url):
        return None
    try:
        nvml = NvmlProbe()
    except pynvml.NVMLError:
        pass
    else:
        memory = nvml.read()
        if memory is not None and memory.gpus:
            return nvml
    cards = sorted(path.parent for path in drm.glob("card*/device/mem_info_vram_total"))
    return AmdgpuProbe(cards) if cards else None


def is_local(upstream_url: str) -> bool:
    """Tell whether the upstream is on this machine, as far as its address says."""
    host = urlsplit(upstream_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
