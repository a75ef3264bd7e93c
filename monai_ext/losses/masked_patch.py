"""Reconstruction error on the masked patches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_ext.networks.blocks import patch_error, patch_targets

__all__ = ["MaskedPatchLoss"]


class MaskedPatchLoss(nn.Module):
    """Mean squared error over masked patches (prostate MAE, A.2, eq. 2; MAE, He et al. 2022).

    Eq. 2 sums over the values of a patch. This loss takes their mean, which differs only by the constant patch length.

    Args:
        patch_size: pixels of a patch along each axis.
        normalize: True compares with targets of zero mean and unit variance per patch.
        per_channel: True normalizes each channel of a patch by itself; used only with ``normalize``.
        absolute: True takes the mean absolute instead of the mean squared error (SimMIM, Xie et al. 2022).

    Example:
        >>> import torch
        >>> from monai_ext.losses import MaskedPatchLoss
        >>> image = torch.zeros(1, 1, 2, 4)  # two patches of 2x2 pixels
        >>> pred = torch.tensor([1.0, 1.0, 3.0, 3.0]).expand(1, 1, 2, 4)
        >>> MaskedPatchLoss(patch_size=(2, 2), normalize=False)(pred, image, torch.tensor([[False, True]]))  # 3^2
        tensor(9.)
    """

    def __init__(
        self, patch_size: Sequence[int], normalize: bool = True, per_channel: bool = False, absolute: bool = False
    ) -> None:
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.normalize = normalize
        self.per_channel = per_channel
        self.absolute = absolute

    def target(self, image: Tensor) -> Tensor:
        """What the network should predict: ``[B, C, *spatial]`` -> ``[B, N, P * C]``."""
        return patch_targets(image, self.patch_size, self.normalize, self.per_channel)

    def per_patch(self, pred: Tensor, image: Tensor) -> Tensor:
        """Error of every patch, masked or not: ``[B, N]`` in fp32. ``pred`` is ``[B, N, P * C]`` or an image."""
        return patch_error(pred, image, self.patch_size, self.normalize, self.per_channel, self.absolute)

    def forward(self, pred: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """Mean error of the masked patches.

        Args:
            pred: ``[B, N, P * C]`` patches, or an image ``[B, C, *spatial]``.
            image: ``[B, C, *spatial]``, the image to reconstruct.
            mask: bool ``[B, N]``, True = masked.

        Returns:
            Scalar, fp32.
        """
        error = self.per_patch(pred, image)
        return (error * mask).sum() / mask.sum()
