"""Run a function of a test on two processes that train together: gloo on the CPU, a file in place of a server."""

import importlib.util
import inspect
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing


def on_two_processes(work, folder):
    """``[work(0, folder), work(1, folder)]``, each computed in a new process.

    Args:
        work: a function at the top of a test's file; what it returns is tensors and plain values.
        folder: an empty one.
    """
    # A new process finds the function by its file: pytest gives a test's module a name that cannot be imported.
    where = (inspect.getfile(work), work.__name__, str(folder))
    multiprocessing.start_processes(_process, where, nprocs=2, start_method="spawn")
    return [torch.load(Path(folder) / f"result.{rank}.pt", weights_only=True) for rank in (0, 1)]


def _process(rank, file, name, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    spec = importlib.util.spec_from_file_location("test_of_two_processes", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.save(getattr(module, name)(rank, Path(folder)), f"{folder}/result.{rank}.pt")
    dist.destroy_process_group()
