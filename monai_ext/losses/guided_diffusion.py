"""What diffusion with classifier guidance is trained with (Wolleb et al., MICCAI 2022).

``network`` is a :class:`~monai_ext.networks.nets.GuidedDiffusion`: it has a ``scheduler``, predicts the noise and
classifies noised images.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

__all__ = ["DiffusionLoss", "classifier_loss", "noise_loss"]


def _noised(network: Any, image: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Images at a random level each, the level and the noise."""
    image = image.float()
    steps = network.scheduler.num_train_timesteps
    t = torch.randint(steps, (image.shape[0],), generator=generator, device=image.device)
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    return network.scheduler.add_noise(image, noise, t), t, noise


def noise_loss(network: Any, image: Tensor, domain: Tensor, generator: Generator | None = None) -> Tensor:
    """Mean squared error of the predicted noise at random levels.

    Args:
        network: see above.
        image: ``[B, C, H, W]``.
        domain: int64 ``[B]``.
        generator: source of randomness, on the device of the image.

    Returns:
        Scalar, fp32.
    """
    x, t, noise = _noised(network, image, generator)
    return F.mse_loss(network.predict_noise(x, t, domain), noise)


def classifier_loss(network: Any, image: Tensor, domain: Tensor, generator: Generator | None = None) -> Tensor:
    """Cross-entropy of the classifier on noised images. Arguments and result as of :func:`noise_loss`."""
    x, t, _ = _noised(network, image, generator)
    return F.cross_entropy(network.classify(x, t), domain)


class DiffusionLoss(nn.Module):
    """Noise prediction and the classifier of noised images, learned side by side (Wolleb et al. 2022).

    The two networks share no parameter, so that one Adam over both is two Adams with one learning rate.
    """

    def forward(
        self, network: Any, image: Tensor, domain: Tensor, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, ``noise``, ``classifier`` for images ``[B, C, H, W]`` of domains int64 ``[B]``."""
        noise = noise_loss(network, image, domain, generator)
        classifier = classifier_loss(network, image, domain, generator)
        return {"loss": noise + classifier, "noise": noise, "classifier": classifier}
