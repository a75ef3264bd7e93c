"""A network that takes lesions out of a slice."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import UNet
from monai.networks.utils import eval_mode
from torch import Generator, Tensor, nn

from monai_ext.networks.nets.fixed_point_gan import clamp_forward

__all__ = ["LesionRestorer"]


class LesionRestorer(nn.Module):
    """G(x) = clamp(x + m r(x)), where r is a U-Net and the mask m is the gland, where it is given.

    The U-Net has no norms: instance norm takes the level of a slice out of its features, and how bright or dark a
    lesion is beside other patients is what tells it. Taught by :class:`monai_ext.losses.RestorationLoss`.

    Args:
        in_channels: channels of an image, 1 for a single modality.
        channels: width of each level, of half the pixels of the one before.
        num_res_units: convolutions of a residual unit.
        output_range: lowest and highest intensity of an image.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import LesionRestorer
        >>> network = LesionRestorer(channels=(4, 8))
        >>> image = torch.rand(2, 1, 16, 16)
        >>> gland = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
        >>> network.reconstruct(image).shape, torch.equal(network(image, gland=gland), image)
        (torch.Size([2, 1, 16, 16]), True)
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128, 256),
        num_res_units: int = 1,
        output_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        strides, no_norm = [2] * (len(channels) - 1), {"norm": None, "num_res_units": num_res_units}
        self.layers = UNet(2, in_channels, in_channels, channels, strides, **no_norm)  # type: ignore[arg-type]
        self.output_range = output_range

    def forward(self, image: Tensor, domain: Tensor | None = None, gland: Tensor | None = None) -> Tensor:
        """``[B, C, H, W]``, H and W multiples of the smallest level's pixel -> the same in the dtype of the image.

        Args:
            image: scaled slices.
            domain: unused; there is one.
            gland: bool ``[B, 1, H, W]``; the image changes only there, and everywhere when None.
        """
        residual = self.layers(image).to(image.dtype)
        return clamp_forward(image + (residual if gland is None else residual * gland), self.output_range)

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """The image without lesions, without gradients (``generator`` is unused)."""
        with eval_mode(self):
            return self(image)
