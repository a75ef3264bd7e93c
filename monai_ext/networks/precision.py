"""Mixed precision where the hardware has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["autocast", "has_bf16", "recompute_alike"]


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware: Ampere and later GPUs, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


SMALL = 2  # voxels along an axis up to which a CPU's gradient is wrong


class _SmallInFp32(TorchFunctionMode):
    """Convolutions of maps with an axis of one or two voxels run in fp32, within a network in bfloat16.

    On a CPU with AVX512-BF16 the gradient of their kernel is wrong by its own size, infinite, or written beyond its
    memory (torch 2.13 with oneDNN; ``tests/networks/test_precision.py`` compares it with fp32).
    """

    entered = 0

    def __enter__(self) -> _SmallInFp32:
        type(self).entered += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        type(self).entered -= 1
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.conv2d, F.conv3d) and torch.is_grad_enabled() and min(args[0].shape[2:]) <= SMALL:
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def _cpu_autocast() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16), _SmallInFp32():
        yield


def autocast(device: torch.device, amp: bool = True) -> AbstractContextManager:
    """bfloat16 autocast on hardware that has it, fp32 elsewhere. bfloat16 has fp32's range: no gradient scaling.

    On a CPU, convolutions of maps with an axis of one or two voxels stay in fp32, because their gradient is wrong.
    """
    enabled = amp and has_bf16(device)
    if enabled and device.type == "cpu":
        return _cpu_autocast()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def recompute_alike() -> tuple[AbstractContextManager, AbstractContextManager]:
    """``context_fn`` of ``torch.utils.checkpoint``: what is recomputed has the precision that it had.

    The checkpoint enters autocast again by itself, but not the rule for small maps.
    """
    return nullcontext(), _SmallInFp32() if _SmallInFp32.entered else nullcontext()
