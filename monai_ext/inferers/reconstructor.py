"""What the four reconstruction methods have in common."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Generator, Tensor

__all__ = ["Reconstructor"]


@runtime_checkable
class Reconstructor(Protocol):
    """A model G that turns an image into a pseudo-healthy one (adU-Net, section II).

    :class:`~monai_ext.networks.nets.AnomalyAutoencoder` (dense and spatial),
    :class:`~monai_ext.networks.nets.FixedPointGenerator` and :class:`~monai_ext.inferers.GuidedDiffusion` are
    reconstructors, and modules with a plain state dict.
    """

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Pseudo-healthy images, without gradients and whatever mode the model is in.

        Args:
            image: ``[B, C, H, W]``, scaled as in training.
            generator: source of randomness for a method that draws any, on the device of the image.

        Returns:
            ``[B, C, H, W]``.
        """
        ...
