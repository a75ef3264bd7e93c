"""Reconstruction error of whole images in which a channel may be absent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_ext.networks.blocks import mask_to_image

__all__ = ["MaskedVoxelLoss"]

EPS = 1e-6  # least variance of a channel


class MaskedVoxelLoss(nn.Module):
    """Mean squared error over the masked voxels of the channels that were scanned, in units of each channel's variance.

    A channel that is 0 throughout a sample was not scanned (the PET of a CT scan, see
    :class:`~monai_ext.transforms.PETCTPreprocessing`) and is left out, so that CT scans teach the network about CT
    alone. Within a channel every voxel that counts has the same weight, over the whole batch.

    Args:
        patch_size: voxels of a masked block along each axis.
        masked_only: False counts the visible voxels too, as AMAES does (Munk et al. 2024).
        equal_channels: True divides each channel's error by the variance of its voxels in the batch and takes the mean
            over the channels: under autoPET's fixed scaling the variance of the PET is a hundredth of the CT's, and
            the network would learn about CT alone. False takes the mean over all voxels that count.

    Example:
        >>> import torch
        >>> from monai_ext.losses import MaskedVoxelLoss
        >>> image = torch.stack([torch.ones(2, 2, 4), torch.zeros(2, 2, 4)])[None]  # CT, and a PET that was not scanned
        >>> mask = torch.tensor([[True, False]])
        >>> loss = MaskedVoxelLoss(patch_size=(2, 2, 2), equal_channels=False)
        >>> loss(3 * torch.ones_like(image), image, mask)  # (3 - 1)^2, of the CT alone
        tensor(4.)
    """

    normalize = False  # the targets are the image itself

    def __init__(
        self, patch_size: Sequence[int] = (16, 16, 16), masked_only: bool = True, equal_channels: bool = True
    ) -> None:
        super().__init__()
        self.patch_size, self.masked_only, self.equal_channels = tuple(patch_size), masked_only, equal_channels

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
        scanned = (truth != 0).flatten(2).any(2)[(...,) + (None,) * (truth.ndim - 2)]
        counts = scanned & mask_to_image(mask, image.shape[2:], self.patch_size) if self.masked_only else scanned
        counts = counts.expand_as(error)
        if not self.equal_channels:
            return _mean(error, counts)
        parts = (error, truth, counts, scanned.expand_as(error))
        error, truth, counts, scanned = (x.transpose(0, 1).flatten(1) for x in parts)
        mean = _mean(truth, scanned, 1)[:, None]
        variance = _mean((truth - mean).square(), scanned, 1)
        return _mean(_mean(error, counts, 1) / variance.clamp(min=EPS), counts.any(1))


def _mean(values: Tensor, counts: Tensor, dim: int | None = None) -> Tensor:
    """Mean of the values that count; 0 where none does."""
    return (values * counts).sum(dim) / counts.sum(dim).clamp(min=1)
