"""Random placement and intensity of slices of a gland, batched on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

__all__ = ["SliceJitter"]


class SliceJitter(nn.Module):
    """Turn, shift, scale and mirror slices with their gland; change gain and offset; add noise inside the gland.

    It hides who a patient is from a classifier and leaves what a lesion looks like.

    Args:
        degrees: largest rotation to either side.
        shift: largest shift along an axis, as a share of the image.
        zoom: largest relative change of size.
        gain: largest relative change of intensities.
        offset: standard deviation of their offset, in units of the scaled image.
        noise: largest standard deviation of the noise.
        limit: largest absolute intensity; the background has its negative.

    Example:
        >>> import torch
        >>> from monai_ext.transforms import SliceJitter
        >>> image, gland = torch.zeros(2, 1, 32, 32), torch.ones(2, 1, 32, 32, dtype=torch.bool)
        >>> image, gland = SliceJitter()(image, gland)
        >>> image.shape, bool((image[~gland] == -0.95).all())
        (torch.Size([2, 1, 32, 32]), True)
    """

    def __init__(
        self,
        degrees: float = 10.0,
        shift: float = 0.05,
        zoom: float = 0.1,
        gain: float = 0.1,
        offset: float = 0.05,
        noise: float = 0.1,
        limit: float = 0.95,
    ) -> None:
        super().__init__()
        self.degrees, self.shift, self.zoom = degrees, shift, zoom
        self.gain, self.offset, self.noise, self.limit = gain, offset, noise, limit

    def forward(self, image: Tensor, gland: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """``[B, 1, H, W]`` and a bool gland of the same shape -> the same; the image may have gradients."""
        count, device = len(image), image.device

        def draw(size: float, *shape: int) -> Tensor:
            return size * (2 * torch.rand(count, *shape, device=device, generator=generator) - 1)

        angle, scale = torch.deg2rad(draw(self.degrees)), 1 + draw(self.zoom)
        mirror = torch.where(draw(1.0) < 0, -1.0, 1.0)  # of the patient's left and right, the first axis of a slice
        cos, sin = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([torch.stack([cos, -mirror * sin], 1), torch.stack([sin, mirror * cos], 1)], 1)
        place = torch.cat([turn, 2 * draw(self.shift, 2)[..., None]], 2)
        grid = F.affine_grid(place, list(image.shape), align_corners=False)
        # Moved together, image and mask blend into the background at one edge.
        moved = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
        inside = F.grid_sample(gland.to(image.dtype), grid, mode="nearest", align_corners=False) > 0.5
        normal = [torch.randn(count, 1, 1, 1, device=device, generator=generator)]
        normal.append(torch.randn(image.shape, device=device, generator=generator))
        moved = moved * (1 + draw(self.gain, 1, 1, 1)) + self.offset * normal[0]
        moved = moved + draw(self.noise, 1, 1, 1).abs() * normal[1]
        return moved.clamp(-self.limit, self.limit).masked_fill(~inside, -self.limit), inside
