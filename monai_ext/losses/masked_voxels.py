"""Reconstruction error of whole images in which a channel may be absent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_ext.networks.blocks import mask_to_image

__all__ = ["MaskedVoxelLoss"]


class MaskedVoxelLoss(nn.Module):
    """Mean squared error over the masked voxels of the channels that were scanned.

    A channel that is 0 throughout a sample was not scanned (the PET of a CT scan, see
    :class:`~monai_ext.transforms.PETCTPreprocessing`) and is left out, so that CT scans teach the network about CT
    alone. Every voxel that counts has the same weight, over the whole batch.

    Args:
        patch_size: voxels of a masked block along each axis.
        masked_only: False counts the visible voxels too, as AMAES does (Munk et al. 2024).

    Example:
        >>> import torch
        >>> from monai_ext.losses import MaskedVoxelLoss
        >>> image = torch.stack([torch.ones(2, 2, 4), torch.zeros(2, 2, 4)])[None]  # CT, and a PET that was not scanned
        >>> mask = torch.tensor([[True, False]])
        >>> MaskedVoxelLoss(patch_size=(2, 2, 2))(3 * torch.ones_like(image), image, mask)  # (3 - 1)^2, of the CT alone
        tensor(4.)
    """

    normalize = False  # the targets are the image itself

    def __init__(self, patch_size: Sequence[int] = (16, 16, 16), masked_only: bool = True) -> None:
        super().__init__()
        self.patch_size, self.masked_only = tuple(patch_size), masked_only

    def forward(self, pred: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """Mean error.

        Args:
            pred: ``[B, C, *spatial]``.
            image: ``[B, C, *spatial]``, the image to reconstruct.
            mask: bool ``[B, N]``, True = masked.

        Returns:
            Scalar, fp32; 0 when no channel was scanned.
        """
        truth = image.as_subclass(Tensor).float()
        error = (pred.as_subclass(Tensor).float() - truth).square()
        counts = (truth != 0).flatten(2).any(2)[(...,) + (None,) * (truth.ndim - 2)]
        if self.masked_only:
            counts = counts & mask_to_image(mask, image.shape[2:], self.patch_size)
        counts = counts.expand_as(error)
        return (error * counts).sum() / counts.sum().clamp(min=1)
