"""Where a piece of code would make the host wait for a GPU, read off its calls on a CPU."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

# Operators whose result, or whose size, has to be on the host.
OPERATORS = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive", "is_nonzero",
    "equal", "argwhere", "bincount", "_linalg_check_errors",
}  # fmt: skip
# Python methods that hand the values over, some of which a CPU tensor answers without an operator.
METHODS = {
    Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__bool__, Tensor.__int__, Tensor.__float__,
    Tensor.__index__, Tensor.__array__,
}  # fmt: skip
# (part of a file's name, call): what is on the host wherever the step runs, so that reading it waits for nothing.
ON_THE_HOST = [
    ("torch/optim/", ""),  # counts of steps
    ("monai/losses/dice.py", "tolist"),  # numbers of axes
]


class HostSyncs:
    """Collect the calls within a ``with`` block that would wait for the device, as ``file:line`` with the call's name.

    A tensor that is an index of another counts if it is bool: its number of True values is a size. A tensor that was
    made on the host to stay there cannot be told from one on a device; name the files of such code in ``ON_THE_HOST``.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, name: str) -> None:
        """Take down a call, and who asked for it."""
        frames = [f for f in traceback.extract_stack() if "/torch/utils/_" not in f.filename and f.filename != __file__]
        inner = next((f for f in reversed(frames) if "/torch/" not in f.filename), frames[-1])
        within = frames[frames.index(inner) :]
        if not any(part in f.filename and call in name for f in within for part, call in ON_THE_HOST):
            self.found.append(f"{inner.filename}:{inner.lineno} {name}")

    def __enter__(self) -> HostSyncs:
        self.modes = (_Operators(self), _Methods(self))
        for mode in self.modes:
            mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mode in reversed(self.modes):
            mode.__exit__(kind, error, trace)


class _Operators(TorchDispatchMode):
    def __init__(self, syncs: HostSyncs) -> None:
        super().__init__()
        self.syncs = syncs

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in OPERATORS or (name == "repeat_interleave" and _counts_unknown(func, kwargs)):
            self.syncs.add(name)
        elif name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        ):
            self.syncs.add(f"{name} by a mask")
        return func(*args, **(kwargs or {}))


def _counts_unknown(func: Any, kwargs: Any) -> bool:
    """Whether ``repeat_interleave`` gets its counts as a tensor without the length of the result."""
    return func._overloadname == "Tensor" and (kwargs or {}).get("output_size") is None


class _Methods(TorchFunctionMode):
    def __init__(self, syncs: HostSyncs) -> None:
        super().__init__()
        self.syncs = syncs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in METHODS:
            self.syncs.add(func.__name__)
        elif func in (torch.tensor, torch.from_numpy):
            self.syncs.add(f"{func.__name__}: a copy from memory that is not pinned")
        elif func is F.one_hot and kwargs.get("num_classes", args[1] if len(args) > 1 else -1) > 0:
            with _disable_current_modes():  # looks at the values on a CPU alone
                return func(*args, **kwargs)
        return func(*args, **kwargs)
