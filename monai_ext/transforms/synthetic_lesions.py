"""Synthetic lesions in slices without any, to teach a restorer what to remove."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from monai_ext.transforms.generator_scale import GENERATOR_SCALES

__all__ = ["SyntheticLesions"]

LESION_ADC = (650.0, 1050.0)  # 1e-6 mm2/s, of significant cancer


class SyntheticLesions(nn.Module):
    """Blend one or two irregular blobs into the gland of each slice, as dark or bright as cancer is in its modality.

    A blob is an ellipse of 8 to 18 mm with a noisy outline, a soft edge and remains of the tissue around it. Its level
    is drawn for each lesion: an ADC of 650 to 1050e-6 mm2/s, for ADC is a physical quantity; on T2W a quantile of the
    patient's own gland between 0.02 and 0.4; on high-b a quantile above 0.85, and up to 0.5 of the scale brighter.

    These are no simulated cancers. What is known here of cancer is its size, its place in the gland and the direction
    of its signal, so a restorer that has learned from them is a detector taught with rules, not a model of health.

    Args:
        modality: ``t2w``, ``adc`` or ``hbv``.
        spacing: mm per pixel along both axes.
        diameter: smallest and largest long axis in mm.
        share: share of the slices that get lesions; the others teach the restorer to leave a slice alone.

    Raises:
        ValueError: an unknown modality.

    Example:
        >>> import torch
        >>> from monai_ext.transforms import SyntheticLesions
        >>> image, gland = torch.zeros(2, 1, 48, 48), torch.ones(2, 1, 48, 48, dtype=torch.bool)
        >>> altered, changed = SyntheticLesions("adc", spacing=(1.5, 1.5), share=1.0)(image, gland)
        >>> bool(changed.any()), bool((altered[changed] < 0).all())  # a low ADC
        (True, True)
    """

    def __init__(
        self, modality: str, spacing: Sequence[float], diameter: tuple[float, float] = (8.0, 18.0), share: float = 0.85
    ) -> None:
        super().__init__()
        if modality not in GENERATOR_SCALES:
            raise ValueError(f"modality {modality!r} is none of {', '.join(GENERATOR_SCALES)}")
        self.modality, self.scale = modality, GENERATOR_SCALES[modality]
        self.spacing, self.diameter, self.share = tuple(spacing[:2]), diameter, share

    def _level(self, image: Tensor, gland: Tensor, generator: Generator | None) -> Tensor:
        """Intensity of a lesion, ``[B, 1, 1, 1]``."""
        u = torch.rand(2, len(image), device=image.device, generator=generator)
        if self.modality == "adc":
            adc = LESION_ADC[0] + (LESION_ADC[1] - LESION_ADC[0]) * u[0]
            return (((adc - 1200) / 500 - self.scale.center) / self.scale.width)[:, None, None, None]
        quantile = 0.02 + 0.38 * u[0] if self.modality == "t2w" else 0.85 + 0.14 * u[0]
        values = image.masked_fill(~gland, float("inf")).flatten(1).sort(1).values
        index = (quantile * (gland.flatten(1).sum(1) - 1)).long()
        level = values.gather(1, index[:, None])[:, 0]
        level = level if self.modality == "t2w" else level + 0.5 * u[1]
        return level[:, None, None, None]

    def _weight(self, gland: Tensor, generator: Generator | None) -> Tensor:
        """How much of each pixel is lesion, ``[B, 1, H, W]`` in [0, 1]."""
        count, _, height, width = gland.shape
        device = gland.device

        def draw(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, 1, 1, 1, device=device, generator=generator)

        def field(mm: float) -> Tensor:
            """Smooth noise of about unit variance with a correlation of so many mm."""
            size = [max(2, round(n * s / (2 * mm))) for n, s in zip((height, width), self.spacing)]
            noise = torch.randn(count, 1, *size, device=device, generator=generator)
            return 1.5 * F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)

        center = torch.multinomial(gland.flatten(1).float(), 1, generator=generator)[:, :, None, None]
        rows = torch.arange(height, device=device).view(1, 1, -1, 1)
        columns = torch.arange(width, device=device).view(1, 1, 1, -1)
        y, x = (rows - center // width) * self.spacing[0], (columns - center % width) * self.spacing[1]
        angle, half = draw(0, torch.pi), draw(*self.diameter) / 2
        u = (y * angle.cos() + x * angle.sin()) / half
        v = (x * angle.cos() - y * angle.sin()) / (half * draw(0.55, 1.0))
        level = torch.hypot(u, v) + 0.14 * field(4.0)
        remains = (1 - 0.28 * field(2.2).clamp(min=0)).clamp(0.25, 1)
        return ((1.2 - level) / 0.4).clamp(0, 1) * remains * draw(0.6, 1.0) * gland

    @torch.no_grad()
    def forward(self, image: Tensor, gland: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Add lesions.

        Args:
            image: scaled slices ``[B, 1, H, W]``, see :class:`GeneratorScale`.
            gland: bool, the same shape; every slice shows some.
            generator: source of randomness, on the device of the images.

        Returns:
            The slices with lesions, and bool ``[B, 1, H, W]``: where they were changed.
        """
        altered = image
        for chance in (self.share, self.share / 3):
            chosen = torch.rand(len(image), 1, 1, 1, device=image.device, generator=generator) < chance
            weight = self._weight(gland, generator) * chosen
            texture = 0.04 * torch.randn(image.shape, device=image.device, generator=generator)
            altered = altered + weight * (self._level(image, gland, generator) + texture - altered)
        limit = self.scale.limit
        altered = torch.where(gland, altered.clamp(-limit, limit), image)
        return altered, (altered - image).abs() > 0.01
