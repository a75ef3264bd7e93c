"""Networks that ``torch.jit.script`` takes, as the export of the MONAI model zoo calls it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Scriptable"]


class Scriptable(nn.Module):
    """Base of a network whose script is a trace of its inference.

    Python that TorchScript cannot compile, such as lists of deep supervision in training, runs while the trace is made.
    The trace takes images of any size that the network takes (``tests/networks/blocks/test_scriptable.py``), unless
    the network itself has one.
    """

    @property
    def example_size(self) -> tuple[int, ...]:
        """Pixels or voxels along each axis of a small image that the network takes."""
        raise NotImplementedError(f"{type(self).__name__} does not say which image it can be traced with")

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles in place of this network."""
        first = next(layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d))
        image = torch.zeros(1, first.in_channels, *self.example_size, device=first.weight.device)
        training = self.training
        with torch.no_grad():
            traced = torch.jit.trace(self.eval(), image, check_trace=False)
        self.train(training)
        return _Traced(traced)


class _Traced(nn.Module):
    """A module of its own around a trace, because a trace itself cannot be scripted again."""

    def __init__(self, traced: nn.Module) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, image: Tensor) -> Tensor:
        return self.traced(image)
