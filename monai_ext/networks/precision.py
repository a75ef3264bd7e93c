"""Mixed precision where the hardware has it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

__all__ = ["autocast", "has_bf16"]


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware: Ampere and later GPUs, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def autocast(device: torch.device, amp: bool = True) -> AbstractContextManager:
    """bfloat16 autocast on hardware that has it, fp32 elsewhere. bfloat16 has fp32's range: no gradient scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=amp and has_bf16(device))
