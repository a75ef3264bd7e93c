"""Scale the intensities for a generator of pseudo-healthy images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["GENERATOR_SCALES", "GeneratorScale"]


@dataclass(frozen=True)
class GeneratorScale:
    """(x - center) / width, clipped to +-``limit`` inside the gland, and -``limit`` outside.

    The scale is fixed for each modality and never fitted to a case, so a difference has the same meaning in every
    patient. The limit keeps images away from the ends of the generator's range (-1, 1), which the published tanh output
    cannot reach.

    Args:
        center: centre of the normalized image: a z-score (T2W, high-b), or (ADC - 1200) / 500.
        width: half of the range that is kept.
        limit: largest absolute value.
    """

    center: float
    width: float
    limit: float = 0.95

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest normalized intensity that is kept."""
        return self.center - self.limit * self.width, self.center + self.limit * self.width

    def __call__(self, image: Tensor, gland: Tensor) -> Tensor:
        """Normalized image and bool gland of one shape -> input of the generator."""
        scaled = ((image - self.center) / self.width).clamp(-self.limit, self.limit)
        return scaled.masked_fill(~gland, -self.limit)


# Cover percentiles 0.5 to 99.5 of gland voxels, on the phantom and on two PROSTATEx patients.
GENERATOR_SCALES = {
    "t2w": GeneratorScale(0.6, 2.2),
    "adc": GeneratorScale(0.3, 2.6),
    "hbv": GeneratorScale(1.2, 2.2),
}
