"""The simplest segmentation of a PET: everything above one SUV."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["UptakeThreshold"]


class UptakeThreshold(nn.Module):
    """Segment as lesion every voxel whose uptake exceeds a threshold, the same in all scans.

    This baseline behaves like a network: the logits of lesion are above zero where the uptake exceeds the threshold,
    and the threshold is its state, so it is saved, loaded and evaluated like any other network. It has no parameter to
    train by gradient; :func:`monai_ext.phases.fit_threshold` finds the threshold.

    Args:
        threshold: threshold in SUV.
        channel: index of the PET among the channels of the image.
        mean: offset of the image's scale: SUV = value * ``std`` + ``mean``.
        std: factor of the image's scale.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import UptakeThreshold
        >>> network = UptakeThreshold(threshold=4, channel=1, mean=0, std=1)
        >>> image = torch.tensor([[0.0, 0.0, 0.0], [1.0, 4.0, 9.0]])[None]  # CT and SUV of three voxels
        >>> network(image).argmax(1)
        tensor([[0, 0, 1]])
    """

    threshold: Tensor

    def __init__(self, threshold: float = 2.5, channel: int = 1, mean: float = 7.09, std: float = 8.01) -> None:
        super().__init__()
        self.channel, self.mean, self.std = channel, mean, std
        self.register_buffer("threshold", torch.tensor(float(threshold)))

    def suv(self, image: Tensor) -> Tensor:
        """``[B, C, *spatial]`` -> SUV ``[B, 1, *spatial]``, fp32."""
        return image[:, self.channel : self.channel + 1].float() * self.std + self.mean

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, *spatial]`` -> logits ``[B, 2, *spatial]``."""
        above = (self.suv(image) > self.threshold).float() * 2 - 1
        return torch.cat([-above, above], dim=1) * 10
