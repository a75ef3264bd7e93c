"""Losses of diffusion with classifier guidance (Wolleb et al., MICCAI 2022).

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
    """Each image at a random noise level, the levels and the noise."""
    image = image.float()
    steps = network.scheduler.num_train_timesteps
    t = torch.randint(steps, (image.shape[0],), generator=generator, device=image.device)
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    return network.scheduler.add_noise(image, noise, t), t, noise


def noise_loss(network: Any, image: Tensor, domain: Tensor, generator: Generator | None = None) -> Tensor:
    """Mean squared error of the predicted noise at random levels.

    Args:
        network: network to train, see the module's docstring.
        image: images ``[B, C, H, W]``.
        domain: domains of the images, int64 ``[B]``.
        generator: source of randomness, on the device of the image.

    Returns:
        Scalar, fp32.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from monai.networks.schedulers import DDIMScheduler
        >>> from monai_ext.losses import noise_loss
        >>> untrained = SimpleNamespace(scheduler=DDIMScheduler(1000), predict_noise=lambda x, t, domain: 0 * x)
        >>> loss = noise_loss(untrained, torch.zeros(4, 1, 64, 64), torch.tensor([0, 1, 0, 1]))
        >>> round(loss.item(), 1)  # the variance of the noise
        1.0
    """
    x, t, noise = _noised(network, image, generator)
    return F.mse_loss(network.predict_noise(x, t, domain), noise)


def classifier_loss(network: Any, image: Tensor, domain: Tensor, generator: Generator | None = None) -> Tensor:
    """Cross-entropy of the classifier on noised images. Arguments and result as of :func:`noise_loss`.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from monai.networks.schedulers import DDIMScheduler
        >>> from monai_ext.losses import classifier_loss
        >>> untrained = SimpleNamespace(scheduler=DDIMScheduler(1000), classify=lambda x, t: torch.zeros(len(x), 2))
        >>> classifier_loss(untrained, torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))  # ln 2
        tensor(0.6931)
    """
    x, t, _ = _noised(network, image, generator)
    return F.cross_entropy(network.classify(x, t), domain)


class DiffusionLoss(nn.Module):
    """Noise prediction and the classifier of noised images, learned side by side (Wolleb et al. 2022).

    The two networks share no parameter, so one Adam over both equals two Adams with one learning rate.

    Example:
        >>> import torch
        >>> from monai.networks.schedulers import DDIMScheduler
        >>> from monai_ext.losses import DiffusionLoss
        >>> class Untrained:
        ...     scheduler = DDIMScheduler(num_train_timesteps=1000)
        ...     def predict_noise(self, x, timesteps, domain):
        ...         return torch.zeros_like(x)
        ...     def classify(self, x, timesteps):
        ...         return torch.zeros(len(x), 2)
        >>> parts = DiffusionLoss()(Untrained(), torch.zeros(4, 1, 64, 64), torch.tensor([0, 1, 0, 1]))
        >>> {name: round(value.item(), 1) for name, value in parts.items()}  # variance of the noise, and ln 2
        {'loss': 1.7, 'noise': 1.0, 'classifier': 0.7}
    """

    def forward(
        self,
        network: Any,
        image: Tensor,
        domain: Tensor,
        generator: Generator | None = None,
        gland: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``loss``, ``noise``, ``classifier`` for images ``[B, C, H, W]``, domains int64 ``[B]``; no gland is used."""
        noise = noise_loss(network, image, domain, generator)
        classifier = classifier_loss(network, image, domain, generator)
        return {"loss": noise + classifier, "noise": noise, "classifier": classifier}
