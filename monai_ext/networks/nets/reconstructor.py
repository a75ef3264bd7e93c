"""The interface of the reconstruction methods, and their construction by name."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from monai.networks.nets.diffusion_model_unet import DiffusionModelEncoder, DiffusionModelUNet
from torch import Generator, Tensor, nn

from monai_ext.errors import ConfigError
from monai_ext.networks.nets.anomaly_autoencoder import AnomalyAutoencoder
from monai_ext.networks.nets.constant_reconstruction import ConstantReconstruction
from monai_ext.networks.nets.fixed_point_gan import FixedPointGenerator
from monai_ext.networks.nets.guided_diffusion import GuidedDiffusion
from monai_ext.networks.nets.lesion_restorer import LesionRestorer

__all__ = ["RECONSTRUCTORS", "Reconstructor", "build_reconstructor"]

RECONSTRUCTORS = ("constant", "dense", "spatial", "diffusion", "fixed_point", "restorer")
# Wolleb et al.'s levels, for images of 128 pixels: attention at 16x16.
DIFFUSION_LEVELS = {
    "channels": (128, 128, 256, 384, 512),
    "attention_levels": (False, False, False, True, False),
    "num_res_blocks": 2,
    "num_head_channels": 64,
}


@runtime_checkable
class Reconstructor(Protocol):
    """A model G that turns an image into a pseudo-healthy one (adU-Net, section II).

    :class:`~monai_ext.networks.nets.AnomalyAutoencoder` (dense and spatial),
    :class:`~monai_ext.networks.nets.FixedPointGenerator` and :class:`~monai_ext.networks.nets.GuidedDiffusion` are
    reconstructors, and modules with a plain state dict.

    Example:
        >>> from monai_ext.networks.nets import AnomalyAutoencoder, Reconstructor, UNet
        >>> isinstance(AnomalyAutoencoder(img_size=16), Reconstructor), isinstance(UNet(features=(4, 8)), Reconstructor)
        (True, False)
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


def build_reconstructor(name: str, img_size: int = 128, **options: Any) -> nn.Module:
    """One of the paper's four models, a restorer or a constant, for single-channel images and two domains.

    The last two are not in the paper. A constant is the bar for the others. The restorer learns from synthetic lesions
    to take lesions out (:class:`monai_ext.losses.RestorationLoss`).

    Args:
        name: ``constant``, ``dense``, ``spatial`` (autoencoders), ``diffusion``, ``fixed_point`` or ``restorer``.
        img_size: pixels along an axis.
        **options: arguments of the model's class, such as :class:`FixedPointGenerator` or :class:`LesionRestorer`. The
            diffusion model takes those of :class:`GuidedDiffusion` and ``channels``, ``attention_levels``,
            ``num_res_blocks``, ``num_head_channels`` and ``norm_num_groups``, which the U-Net and the classifier share.

    Raises:
        ConfigError: the name or an option is unknown.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import build_reconstructor
        >>> network = build_reconstructor("fixed_point", channels=4, num_blocks=1)
        >>> network.reconstruct(torch.rand(2, 1, 16, 16)).shape
        torch.Size([2, 1, 16, 16])
    """
    if name not in RECONSTRUCTORS:
        raise ConfigError(f"reconstructor {name!r} is none of {', '.join(RECONSTRUCTORS)}")
    try:
        if name == "constant":
            return ConstantReconstruction(**options)
        if name == "fixed_point":
            return FixedPointGenerator(**options)
        if name == "restorer":
            return LesionRestorer(**options)
        if name != "diffusion":
            return AnomalyAutoencoder(img_size, latent=name, **options)
        levels = {key: options.pop(key, value) for key, value in DIFFUSION_LEVELS.items()}
        if "norm_num_groups" in options:
            levels["norm_num_groups"] = options.pop("norm_num_groups")
        network = DiffusionModelUNet(2, 1, 1, num_class_embeds=2, **levels)
        classifier = DiffusionModelEncoder(2, 1, 2, input_shape=(img_size, img_size), **levels)
        return GuidedDiffusion(network, classifier, **options)
    except TypeError as error:
        raise ConfigError(f"reconstructor {name}: {error}") from error
