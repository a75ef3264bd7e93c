"""Fixed-Point GAN (Rahman Siddiquee et al., ICCV 2019): change an image only where the target domain differs."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.utils import eval_mode
from torch import Generator, Tensor, nn

__all__ = ["FixedPointDiscriminator", "FixedPointGenerator"]


def clamp_forward(x: Tensor, limits: tuple[float, float]) -> Tensor:
    """The value of the clamp with the gradient of x: x - x is exactly zero."""
    return x.clamp(*limits).detach() + (x - x.detach())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same shape."""
        return x + self.layers(x)


class FixedPointGenerator(nn.Module):
    """Translate an image to a domain by adding a residual: G(x, c) = clamp(x + m r(x, c)).

    The residual network is StarGAN's: 7x7 convolution, two stride-2 4x4 convolutions (64 -> 256 channels), six
    residual blocks, two transposed 4x4 convolutions, 7x7 convolution; 8.4 million parameters with two domains. The
    domain enters as one constant plane per domain beside the image.

    The published output tanh(x + r) is not the identity at r = 0 (it maps 1 to 0.76), so an image could never be its
    own fixed point. Here the sum is clamped to ``output_range``, which is exact at r = 0 for every image inside that
    range; ``output="tanh"`` gives the published form, with images scaled to about +-0.9. The clamp has the gradient of
    the identity, so that pixels at its ends go on learning. The mask m, where it is given, is the gland: background is
    no place to please a discriminator.

    The last convolution starts at zero and the generator as the identity. With the usual start the residual is as
    large as the image, two thirds of a masked background lie beyond the clamp, and the first updates undo that.

    Args:
        in_channels: channels of an image, 1 for a single modality.
        num_domains: number of domains; domain ``healthy`` is the one that :meth:`reconstruct` translates to.
        channels: width of the first layer.
        num_blocks: number of residual blocks.
        output: ``"clamp"`` or ``"tanh"``.
        output_range: lowest and highest intensity of an image, for ``"clamp"``.
        healthy: index of the healthy domain.
        start_as_identity: False starts the last convolution like the others.

    Raises:
        ValueError: for an unknown ``output`` or a ``healthy`` that is no domain.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import FixedPointGenerator
        >>> network = FixedPointGenerator(channels=4, num_blocks=1)
        >>> image = torch.rand(2, 1, 16, 16)
        >>> network(image, domain=torch.tensor([0, 1])).shape
        torch.Size([2, 1, 16, 16])
        >>> torch.equal(network(image), image)  # before the first update
        True
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_domains: int = 2,
        channels: int = 64,
        num_blocks: int = 6,
        output: str = "clamp",
        output_range: tuple[float, float] = (-1.0, 1.0),
        healthy: int = 0,
        start_as_identity: bool = True,
    ) -> None:
        super().__init__()
        if output not in ("clamp", "tanh"):
            raise ValueError(f'output must be "clamp" or "tanh", not {output!r}')
        if not 0 <= healthy < num_domains:
            raise ValueError(f"healthy domain {healthy} is not one of {num_domains} domains")
        self.num_domains, self.healthy = num_domains, healthy
        self.output, self.output_range = output, output_range

        def stage(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, nn.InstanceNorm2d(width, affine=True), nn.ReLU(inplace=True)]

        c = channels
        last = nn.Conv2d(c, in_channels, 7, padding=3, bias=False)
        self.layers = nn.Sequential(
            *stage(nn.Conv2d(in_channels + num_domains, c, 7, padding=3, bias=False), c),
            *stage(nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False), 2 * c),
            *stage(nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1, bias=False), 4 * c),
            *(ResidualBlock(4 * c) for _ in range(num_blocks)),
            *stage(nn.ConvTranspose2d(4 * c, 2 * c, 4, stride=2, padding=1, bias=False), 2 * c),
            *stage(nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1, bias=False), c),
            last,
        )
        if start_as_identity:
            nn.init.zeros_(last.weight)

    def residual(self, image: Tensor, domain: Tensor) -> Tensor:
        """Residual that is added to the image, ``[B, C, H, W]``. Arguments as in :meth:`forward`."""
        planes = F.one_hot(domain, self.num_domains).to(image.dtype)[:, :, None, None]
        return self.layers(torch.cat([image, planes.expand(-1, -1, image.shape[2], image.shape[3])], dim=1))

    def forward(self, image: Tensor, domain: Tensor | None = None, gland: Tensor | None = None) -> Tensor:
        """Translate.

        Args:
            image: ``[B, C, H, W]``, H and W multiples of 4.
            domain: int64 ``[B]``, the domain to translate each image to; the healthy one when None.
            gland: bool ``[B, 1, H, W]``; the image changes only there, and everywhere when None.

        Returns:
            ``[B, C, H, W]`` in the dtype of the image.
        """
        if domain is None:
            domain = torch.full((image.shape[0],), self.healthy, dtype=torch.int64, device=image.device)
        # The sum is taken in the precision of the image: bf16 would round the image itself, fixed point or not.
        residual = self.residual(image, domain).to(image.dtype)
        x = image + (residual if gland is None else residual * gland)
        return torch.tanh(x) if self.output == "tanh" else clamp_forward(x, self.output_range)

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Pseudo-healthy image: the translation to the healthy domain, without gradients (``generator`` is unused)."""
        with eval_mode(self):
            return self(image)


class HalvingConvolution(nn.Conv2d):
    """4x4 convolution of stride 2, as a matrix product where a map is small on a CPU.

    oneDNN is slow at wide convolutions of few pixels, especially in their second derivatives: with it, the last two of
    six layers took half of a discriminator update (batch 8, bf16: 2.7 s, now 1.4 s on one core).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, H, W]`` -> ``[B, out, H / 2, W / 2]``."""
        batch, _, height, width = x.shape
        if x.device.type != "cpu" or height * width > 64:
            return super().forward(x)
        # One matrix for all images: for a batch of matrices torch would copy the weights once per image.
        rows = F.unfold(x, 4, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
        y = F.linear(rows, self.weight.flatten(1), self.bias).unflatten(0, (batch, -1))
        return y.transpose(1, 2).unflatten(2, (height // 2, width // 2))


class FixedPointDiscriminator(nn.Module):
    """Patch critic and domain classifier on one trunk: six stride-2 4x4 convolutions, LeakyReLU 0.01, no norm.

    A critic under a gradient penalty must see each image alone, hence no batch norm (WGAN-GP, Gulrajani et al. 2017).

    Args:
        img_size: pixels of a (square) image along an axis, a multiple of ``2 ** num_layers``.
        in_channels: channels of an image.
        num_domains: number of domains.
        channels: width of the first layer; each layer doubles it.
        num_layers: number of strided convolutions.
        head: a classifier of its own in place of the one on the trunk: images -> domain logits ``[B, domains]``. It is
            taught beforehand (:func:`monai_ext.engines.train_domain_head`); here it is frozen.

    Raises:
        ValueError: when the image is no multiple of the total stride.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import FixedPointDiscriminator
        >>> network = FixedPointDiscriminator(img_size=16, channels=4, num_layers=2)
        >>> value, logits = network(torch.rand(3, 1, 16, 16))
        >>> value.shape, logits.shape
        (torch.Size([3, 1, 4, 4]), torch.Size([3, 2]))
    """

    def __init__(
        self,
        img_size: int = 128,
        in_channels: int = 1,
        num_domains: int = 2,
        channels: int = 64,
        num_layers: int = 6,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if img_size % 2**num_layers:
            raise ValueError(f"image size {img_size} is not a multiple of {2**num_layers} ({num_layers} layers)")
        widths = [in_channels, *(channels * 2**i for i in range(num_layers))]
        self.trunk = nn.Sequential(
            *(
                layer
                for width, wider in pairwise(widths)
                for layer in (HalvingConvolution(width, wider), nn.LeakyReLU(0.01, inplace=True))
            )
        )
        self.critic = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.head = None if head is None else head.requires_grad_(False)
        self.classifier: nn.Module = nn.Identity()
        if head is None:
            self.classifier = nn.Conv2d(widths[-1], num_domains, img_size // 2**num_layers, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images.

        Args:
            image: ``[B, C, H, W]`` of the size given at construction.

        Returns:
            Critic value of every patch ``[B, 1, H / 64, W / 64]`` (higher = more real), domain logits ``[B, domains]``.
        """
        features = self.trunk(image)
        logits = self.classifier(features).flatten(1) if self.head is None else self.head(image)
        return self.critic(features), logits
