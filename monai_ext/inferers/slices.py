"""Run a 2-D network over slices and whole volumes with the same inferer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_ext.networks.precision import autocast

__all__ = ["SliceBatchInferer"]


class SliceBatchInferer(Inferer):
    """Run a 2-D network on slices ``[B, C, H, W]`` or, slice by slice in batches, on volumes ``[B, C, H, W, D]``.

    One inferer thus serves training on slices, and validation and inference on volumes. Slices of a volume are
    independent, so windows neither overlap nor blend.

    Args:
        batch_size: slices in one forward pass over a volume.
        amp: bfloat16 where the hardware has it; the result is fp32 in any case.
        mirror: in-plane axes (0, 1) of test-time mirroring. The class probabilities are averaged over all
            combinations of axes, and their logarithm is returned, so that a softmax gives the mean probability.
    """

    def __init__(self, batch_size: int = 64, amp: bool = True, mirror: Sequence[int] = ()) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.amp = amp
        self.mirror = [axes for n in range(len(mirror) + 1) for axes in combinations(mirror, n)]

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Scores of the classes, fp32, on the grid of the inputs."""
        if inputs.ndim == 4:
            return self._slices(inputs, network, *args, **kwargs)
        slices = inputs.movedim(-1, 1).flatten(0, 1)
        scores = [self._slices(part, network, *args, **kwargs) for part in slices.split(self.batch_size)]
        return torch.cat(scores).unflatten(0, (inputs.shape[0], -1)).movedim(1, -1)

    def _slices(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        with autocast(inputs.device, self.amp):
            if len(self.mirror) == 1:
                return network(inputs, *args, **kwargs).float()
            total = torch.zeros(())
            for axes in self.mirror:
                dims = [axis + 2 for axis in axes]
                scores = network(inputs.flip(dims), *args, **kwargs).float().flip(dims)
                total = total.to(scores) + scores.softmax(1)
            return (total / len(self.mirror)).log()
