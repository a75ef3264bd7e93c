"""Sums over the whole batch where several processes hold a part of it each."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

__all__ = ["sum_over_processes"]


def sum_over_processes(value: Tensor) -> Tensor:
    """A sum over the batch of this process becomes the sum over the batches of all, while training.

    The mean of a ratio is not the ratio of sums: a Dice over the batch needs this to be the same loss on one device and
    on many. Its gradient is that of the sum of all losses, of which ``DistributedDataParallel`` takes the mean.
    Without a process group, and where nothing learns, the value is returned as it is.

    Args:
        value: any shape, the same in all processes.
    """
    if value.requires_grad and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return all_reduce(value)
    return value
