"""The simplest segmentation of a PET: everything above one SUV."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["UptakeThreshold"]


class UptakeThreshold(nn.Module):
    """Lesion is what takes up more than a threshold, the same in all scans.

    A baseline of the form of a network: its logits are above zero where the uptake is above the threshold, and their
    state is the threshold, so that it is saved, loaded and evaluated as any other. It has nothing to train by gradient;
    :func:`monai_ext.phases.fit_threshold` finds the threshold.

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
