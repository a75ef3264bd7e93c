"""What the device is: its memory, and how long a real training step takes on it and how much it holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from monai_ext.errors import ConfigError

__all__ = ["StepCost", "device_memory", "parse_memory", "time_step"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class StepCost:
    """Seconds of one training step, and gibibytes that the process (or the GPU) held at most meanwhile."""

    seconds: float
    gibibytes: float


def parse_memory(text: str | float) -> float:
    """``8G``, ``8GB``, ``8GiB``, ``512M`` or bytes -> gibibytes (2**30 bytes).

    Raises:
        ConfigError: when it is no positive amount.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    amount = float(match[1]) * UNITS[match[2].upper()] / 2**30 if match and match[1].count(".") < 2 else 0.0
    if amount <= 0:
        raise ConfigError(f"--memory {text!r} is no amount such as 8G")
    return amount


def device_memory() -> float:
    """Gibibytes that a run can take: of the first GPU, else what the machine and its control group have free."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory / 2**30
    free = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable")]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        bounds = [_lines(f"/sys/fs/cgroup/{name}") for name in (limit, used)]
        if all(b and b[0].isdigit() for b in bounds):
            free.append(int(bounds[0][0]) - int(bounds[1][0]))
    if not free:
        free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return max(min(free), 0) / 2**30


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def time_step(
    files: Sequence[str | Path],
    overrides: Mapping[str, Any],
    shape: Sequence[int],
    batch_size: int,
    steps: int = 3,
) -> StepCost:
    """Time training steps of a config on random images, in a process of its own, as the run will be one.

    Args:
        files: config of the phase and its overlays.
        overrides: laid over them.
        shape: channels and voxels of an image.
        batch_size: images of a step.
        steps: timed, after one that is not.

    Returns:
        Seconds of the quickest step, with the augmentation of its batch, and the peak of the whole process.

    Raises:
        ConfigError: when the step fails; says how it ended.
    """
    job = {
        "files": [str(file) for file in files],
        "overrides": dict(overrides),
        "shape": list(shape),
        "batch_size": batch_size,
        "steps": steps,
    }
    command = [sys.executable, "-m", "monai_ext.plan.step_trial"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(
            f"a step of {Path(files[0]).name} with batch_size {batch_size} on {list(shape)} failed: {reason}"
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return StepCost(found["seconds"], found["gibibytes"])
