"""Any image-to-image network as a masked autoencoder: masked patches of the input are replaced."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_ext.networks.blocks import HiddenFill, mask_to_image

__all__ = ["MaskedImageModel"]


class MaskedImageModel(nn.Module):
    """Reconstruct an image whose masked patches are a learned value (AMLP; SimMIM, Xie et al. 2022).

    The backbone sees the whole grid, so it can be the segmentation network itself. Its weights are named ``backbone.``
    in the state dict. AMLP's backbone is MONAI's ``BasicUNet`` with ``features`` 64, 128, 256, 512, 1024, 64.

    Args:
        backbone: network that maps ``[B, C, *spatial]`` to an image of the same shape.
        patch_size: pixels of a patch along each axis.
        in_channels: channels of the image, each with a :class:`~monai_ext.networks.blocks.HiddenFill` of its own; None
            sets masked patches to 0, the mean of a z-scored image.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import MaskedImageModel
        >>> network = MaskedImageModel(torch.nn.Identity(), patch_size=(2, 2))
        >>> network(torch.ones(1, 1, 2, 4), torch.tensor([[False, True]]))
        tensor([[[[1., 1., 0., 0.],
                  [1., 1., 0., 0.]]]])
    """

    def __init__(self, backbone: nn.Module, patch_size: Sequence[int], in_channels: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.patch_size = tuple(patch_size)
        self.fill = None if in_channels is None else HiddenFill(in_channels)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            image: ``[B, C, *spatial]``.
            mask: bool ``[B, N]``, True = masked.

        Returns:
            ``[B, C, *spatial]``.
        """
        hidden = mask_to_image(mask, image.shape[2:], self.patch_size)
        return self.backbone(image.masked_fill(hidden, 0) if self.fill is None else self.fill(image, hidden))
