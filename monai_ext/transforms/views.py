"""Random views of slices for contrastive pretraining, batched on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

__all__ = ["RandomView"]


class RandomView(nn.Module):
    """A random crop of each image, rotated and flipped, with random contrast, brightness and noise.

    These are the augmentations that matter in SimCLR, for grey images: crop and intensities; hue has no counterpart.

    Args:
        area: smallest and largest share of the image that is shown.
        degrees: largest rotation to either side.
        flips: flip each axis of half of the images.
        contrast: largest change of the factor of the intensities: 0.4 draws it from [0.6, 1.4].
        brightness: largest shift, in standard deviations of a z-scored image.
        noise: largest standard deviation of Gaussian noise.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.3, 1.0),
        degrees: float = 20.0,
        flips: bool = True,
        contrast: float = 0.4,
        brightness: float = 0.4,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"0 < smallest <= largest area <= 1 does not hold for {area}")
        self.area, self.degrees, self.flips = area, degrees, flips
        self.contrast, self.brightness, self.noise = contrast, brightness, noise

    def placement(self, count: int, device: torch.device, generator: Generator | None = None) -> Tensor:
        """Affine matrices ``[B, 2, 3]`` for ``affine_grid``: the visible part of each image and its orientation."""

        def draw(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(count, *shape, device=device, generator=generator)

        size = draw(self.area[0], self.area[1]).sqrt()
        angle = torch.deg2rad(draw(-self.degrees, self.degrees))
        offset = draw(-1, 1, 2) * (1 - size)[:, None]
        sign = torch.where(draw(0, 1, 2) < 0.5, -1.0, 1.0) if self.flips else torch.ones(count, 2, device=device)
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        return torch.cat([turn * (size[:, None] * sign)[:, None], offset[..., None]], 2)

    @torch.no_grad()
    def forward(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``; pixels beyond the border repeat it."""
        count, channels = image.shape[:2]
        grid = F.affine_grid(self.placement(count, image.device, generator), list(image.shape), align_corners=False)
        view = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
        draw = torch.rand(3, count, channels, 1, 1, device=image.device, generator=generator)
        view = view * (1 + self.contrast * (2 * draw[0] - 1)) + self.brightness * (2 * draw[1] - 1)
        return view + self.noise * draw[2] * torch.randn(view.shape, device=image.device, generator=generator)
