"""Diffusion with classifier guidance as a reconstructor (Wolleb et al., MICCAI 2022)."""

from __future__ import annotations

import torch
from monai.networks.schedulers import DDIMScheduler
from monai.networks.utils import eval_mode
from torch import Generator, Tensor, nn

from monai_ext.networks.precision import autocast

__all__ = ["GuidedDiffusion"]


class GuidedDiffusion(nn.Module):
    """Encode an image into noise with DDIM, and decode it while a classifier pulls it towards the healthy class.

    With noise levels t = 0, s, 2s, ..., L (s = ``stride``, L = ``noise_level``) and a = alpha-bar_t:

    - encode, t -> t + s (eq. 6): x = sqrt(a') x0 + sqrt(1 - a') e, with e = e_theta(x, t) and x0 the image that e
      implies;
    - decode, t -> t - s: the same step downwards with e - sqrt(1 - a) ``guidance`` grad_x log p(healthy | x, t)
      (algorithm 1).

    Both use exactly the same levels, so without guidance decoding inverts encoding up to the error of the steps. The
    predicted x0 is not clipped, because clipping is not invertible.

    Wolleb et al. use T = 1000, L = 500, s = 1, guidance 100, and a U-Net of 128 channels with two residual blocks per
    level and attention at 16x16 pixels. For images of 128x128 this is ``DiffusionModelUNet(2, 1, 1, channels=(128, 128,
    256, 384, 512), num_res_blocks=2, num_head_channels=64, attention_levels=(False, False, False, True, False),
    num_class_embeds=2)``, and a ``DiffusionModelEncoder`` with the same levels, ``out_channels=2`` and ``input_shape``
    the size of the image.

    Args:
        network: predicts the noise, called as ``network(x, timesteps=t)``; with ``class_labels=domain`` too where its
            ``num_class_embeds`` is set. Encoding and decoding give it the healthy class.
        classifier: domain logits ``[B, num_domains]``, called as ``classifier(x, timesteps=t)``; it must have been
            trained on noised images of *both* domains.
        num_train_timesteps: number T of levels of the linear schedule, whose variances run from 1e-4 to 0.02.
        noise_level: noise level L to encode to.
        stride: number s of levels per step, a divisor of T and of L; L / s steps lead each way.
        guidance: factor of the classifier's gradient.
        healthy: index of the healthy domain.
        amp: True runs the networks in bfloat16 where the hardware has it; the image itself stays in fp32.

    Raises:
        ValueError: when the levels do not fit the schedule.

    Example:
        >>> import torch
        >>> from monai.networks.nets.diffusion_model_unet import DiffusionModelEncoder, DiffusionModelUNet
        >>> from monai_ext.networks.nets import GuidedDiffusion
        >>> levels = {"channels": (8, 8), "attention_levels": (False, False), "num_res_blocks": 1, "norm_num_groups": 4}
        >>> network = DiffusionModelUNet(2, 1, 1, num_class_embeds=2, **levels)
        >>> classifier = DiffusionModelEncoder(2, 1, 2, input_shape=(16, 16), **levels)
        >>> diffusion = GuidedDiffusion(network, classifier, noise_level=200, stride=100)  # two steps each way
        >>> diffusion.reconstruct(torch.rand(1, 1, 16, 16)).shape
        torch.Size([1, 1, 16, 16])
    """

    def __init__(
        self,
        network: nn.Module,
        classifier: nn.Module,
        num_train_timesteps: int = 1000,
        noise_level: int = 500,
        stride: int = 1,
        guidance: float = 100.0,
        healthy: int = 0,
        amp: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < noise_level < num_train_timesteps:
            raise ValueError(f"noise level {noise_level} is not between 0 and {num_train_timesteps}")
        if stride < 1 or num_train_timesteps % stride or noise_level % stride:
            raise ValueError(f"stride {stride} does not divide {num_train_timesteps} and {noise_level}")
        self.network, self.classifier = network, classifier
        self.noise_level, self.stride = noise_level, stride
        self.guidance, self.healthy, self.amp = guidance, healthy, amp
        self.scheduler = DDIMScheduler(num_train_timesteps, schedule="linear_beta", clip_sample=False)
        # MONAI takes only the stride, T // steps, from this; the levels it lists (a linspace) are not those it uses.
        self.scheduler.set_timesteps(num_train_timesteps // stride)

    def predict_noise(self, x: Tensor, timesteps: Tensor, domain: Tensor) -> Tensor:
        """e_theta(x, t) in fp32: x ``[B, C, H, W]``, timesteps and domain int64 ``[B]`` -> ``[B, C, H, W]``."""
        labels = {} if getattr(self.network, "num_class_embeds", None) is None else {"class_labels": domain}
        with autocast(x.device, self.amp):
            return self.network(x, timesteps=timesteps, **labels).float()

    def classify(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Domain logits in fp32: x ``[B, C, H, W]``, timesteps int64 ``[B]`` -> ``[B, num_domains]``."""
        with autocast(x.device, self.amp):
            return self.classifier(x, timesteps=timesteps).float()

    def healthy_gradient(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Gradient of log p(healthy | x, t) with respect to x, ``[B, C, H, W]``."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self.classify(x, timesteps)
            return torch.autograd.grad(logits.log_softmax(1)[:, self.healthy].sum(), x)[0]

    def _level(self, x: Tensor, t: int) -> Tensor:
        return torch.full((x.shape[0],), t, dtype=torch.int64, device=x.device)

    def encode(self, image: Tensor) -> Tensor:
        """Walk an image ``[B, C, H, W]`` up to noise level L, without randomness."""
        x, healthy = image.float(), self._level(image, self.healthy)
        with eval_mode(self):
            for t in range(0, self.noise_level, self.stride):
                x, _ = self.scheduler.reversed_step(self.predict_noise(x, self._level(x, t), healthy), t, x)
        return x

    def decode(self, x: Tensor, guidance: float | None = None) -> Tensor:
        """Walk ``[B, C, H, W]`` at noise level L down to an image; ``guidance`` overrides that of the constructor."""
        scale = self.guidance if guidance is None else guidance
        healthy = self._level(x, self.healthy)
        with eval_mode(self):
            for t in range(self.noise_level, 0, -self.stride):
                level = self._level(x, t)
                noise = self.predict_noise(x, level, healthy)
                if scale:
                    sigma = (1 - self.scheduler.alphas_cumprod[t]).sqrt()
                    noise = noise - sigma * scale * self.healthy_gradient(x, level)
                x, _ = self.scheduler.step(noise, t, x)
        return x

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Pseudo-healthy image ``[B, C, H, W]`` in fp32 (``generator`` is unused: both ways are deterministic)."""
        return self.decode(self.encode(image))
