"""One process per device, under torchrun."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["distribute", "end_processes", "process_device", "shard_device"]


def process_device() -> torch.device:
    """Device of this process; starts the process group: NCCL on GPUs, gloo on CPUs.

    Raises:
        RuntimeError: when the process was not started by torchrun.
    """
    if "LOCAL_RANK" not in os.environ:
        raise RuntimeError("the multi-GPU overlay needs torchrun: torchrun --nproc_per_node N -m monai.bundle run ...")
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo")
    return device


def distribute(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network so that its gradients are averaged over all processes; a part of it may be frozen for a while."""
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)


def end_processes() -> None:
    """Leave the process group once all processes are done."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def shard_device() -> torch.device:
    """Device of this process, where processes work side by side and exchange nothing; works without torchrun too."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
