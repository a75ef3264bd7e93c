"""One process per device under torchrun: its device, values that processes share, and averaged gradients."""

from __future__ import annotations

import atexit
import os
import resource
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from monai_ext.errors import ConfigError

__all__ = [
    "any_of_all",
    "average_gradients",
    "distribute",
    "equal_weights",
    "from_all",
    "from_all_at_the_end",
    "from_first",
    "is_first",
    "loading_workers",
    "num_cores",
    "num_processes",
    "peak_memory",
    "process_device",
    "process_rank",
    "shard_device",
    "wait_for_all",
]

Value = TypeVar("Value")
LONGEST_SHARE = timedelta(days=30)  # that one process may work longer than another

_hosts: dist.ProcessGroup | None = None  # of any_of_all


def loading_workers(device: torch.device | str) -> int:
    """Processes that load the data of a training: none where the network itself is on the processors.

    A GPU gets those cores of the machine that are its share, less one for the training itself, and 12 at most.
    """
    if torch.device(device).type == "cpu":
        return 0
    return max(1, min(12, num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1))


def num_cores() -> int:
    """Cores of the processor that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def process_device(required: bool = False) -> torch.device:
    """Device of this process: the first GPU, or the CPU if there is none; under torchrun each process has its own GPU.

    Under torchrun the process joins the others: NCCL on GPUs, gloo on CPUs.

    Args:
        required: True raises an error without torchrun.

    Raises:
        ConfigError: there is no torchrun and it is required, or it started more processes than this machine has GPUs.
    """
    if "LOCAL_RANK" not in os.environ:
        if required:
            raise ConfigError(
                "the multi-GPU overlay needs torchrun: torchrun --nproc_per_node N -m monai.bundle run ..."
            )
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and rank >= gpus:
        raise ConfigError(f"process {rank} has no GPU: this machine has {gpus}. Give --nproc_per_node {gpus}")
    device = torch.device("cuda", rank) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if gpus else "gloo")
        atexit.register(dist.destroy_process_group)
    return device


def shard_device() -> torch.device:
    """Device of this process when the processes exchange nothing; also works without torchrun."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def peak_memory(device: torch.device) -> float:
    """Gibibytes (2**30 bytes) that were held at most: by this process, or by its tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:  # Linux counts what the parent held before into ``ru_maxrss``, but not into VmHWM
        status = Path("/proc/self/status").read_text()
        kibibytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / 2**20


def num_processes() -> int:
    """Processes that train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """Number of this process among those that train together; 0 without torchrun."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return process_rank() == 0


def wait_for_all() -> None:
    """Wait until every process has reached this point."""
    if dist.is_initialized():
        dist.barrier()


def from_all(value: Value) -> list[Value]:
    """The values of all processes, in the order of their ranks."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def any_of_all(flag: bool) -> bool:
    """Whether a flag is set in any process; the hosts wait for each other, their GPUs do not."""
    global _hosts
    if not dist.is_initialized():
        return flag
    if _hosts is None:
        _hosts = dist.new_group(backend="gloo")
    found = torch.tensor(int(flag))
    dist.all_reduce(found, op=dist.ReduceOp.MAX, group=_hosts)
    return bool(found)


def from_all_at_the_end(value: Value) -> list[Value]:
    """The values of all processes of torchrun that worked apart; each waits here until all have ended their work.

    torchrun ends the other processes when one ends with an error: none may do so before all are done.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "MASTER_ADDR" not in os.environ or dist.is_initialized():
        return from_all(value)
    dist.init_process_group("gloo", timeout=LONGEST_SHARE)
    found = from_all(value)
    dist.destroy_process_group()
    return found


def from_first(value: Value) -> Value:
    """The value of the first process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def distribute(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network so that its gradients are averaged over all processes; a part of it may be frozen temporarily.

    Without other processes the result is the network itself.
    """
    if num_processes() == 1:
        return network
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)


def equal_weights(network: nn.Module) -> None:
    """Give every process the parameters and buffers of the first one."""
    if num_processes() > 1:
        for value in network.state_dict().values():
            dist.broadcast(value, src=0)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average gradients over all processes before an optimizer's step.

    This suits steps with several networks or gradients of gradients, which DistributedDataParallel does not support.
    Gradients are sent as one tensor.
    """
    if num_processes() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, (flat / num_processes()).split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))
