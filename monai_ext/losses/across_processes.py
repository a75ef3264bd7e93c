"""Sums over the whole batch when several processes hold a part of it each."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

__all__ = ["sum_over_processes"]


def sum_over_processes(value: Tensor) -> Tensor:
    """In training, turn a sum over the batch of this process into the sum over the batches of all processes.

    The mean of a ratio is not the ratio of sums. A Dice over the batch needs this function to be the same loss on one
    device and on many. The gradient is that of the sum of all losses, of which ``DistributedDataParallel`` takes the
    mean. Without a process group, or without a gradient, the value is returned unchanged.

    Args:
        value: any shape, the same in all processes.
    """
    if value.requires_grad and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return all_reduce(value)
    return value
