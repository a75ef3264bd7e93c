"""V-Net for slices of any size and number of channels."""

from __future__ import annotations

from monai.networks.nets import VNet as MonaiVNet
from torch import Tensor, nn

from monai_ext.networks.blocks.padding import crop_like, pad_to_multiple

__all__ = ["VNet"]


class VNet(nn.Module):
    """V-Net (Milletari et al. 2016) in two dimensions, on MONAI's layers.

    V-Net adds its input to the 16 features of its first layer, which requires 1, 2, 4, 8 or 16 channels. Here a 1x1
    convolution turns any number of channels into 16. The network halves the image four times, so the image is padded to
    a multiple of 16 and the logits are cropped back.

    Dropout is of whole feature maps. MONAI's is for volumes, whatever ``dropout_dim`` says (1.5): of a batch of slices
    it drops whole slices.

    Args:
        in_channels: channels of the image.
        num_classes: classes, background included.
        dropout: rate of dropout, in the lower half of the encoder and in the decoder.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import VNet
        >>> VNet(in_channels=3, num_classes=2)(torch.rand(1, 3, 40, 40)).shape
        torch.Size([1, 2, 40, 40])
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, dropout: float = 0.5) -> None:
        super().__init__()
        self.widen = nn.Conv2d(in_channels, 16, kernel_size=1)
        self.vnet = MonaiVNet(spatial_dims=2, in_channels=16, out_channels=num_classes)
        for block in self.vnet.children():
            for name, layer in list(block.named_children()):
                if isinstance(layer, nn.Dropout3d):
                    setattr(block, name, nn.Dropout2d(dropout))

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_channels, H, W]`` -> logits ``[B, num_classes, H, W]``."""
        return crop_like(self.vnet(self.widen(pad_to_multiple(image, 16))), image)
