"""Losses of the Fixed-Point GAN (Rahman Siddiquee et al., ICCV 2019, section 3) in their WGAN-GP form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

__all__ = [
    "AdversarialLoss",
    "FixedPointDiscriminatorLoss",
    "FixedPointGeneratorLoss",
    "gradient_penalty",
    "other_domain",
]

Translate = Callable[[Tensor, Tensor], Tensor]
Judge = Callable[[Tensor], tuple[Tensor, Tensor]]


def other_domain(domain: Tensor, num_domains: int = 2, generator: Generator | None = None) -> Tensor:
    """A domain drawn uniformly from all but the given one: int64 ``[B]`` -> int64 ``[B]``.

    Example:
        >>> import torch
        >>> from monai_ext.losses import other_domain
        >>> other_domain(torch.tensor([0, 1, 1]), num_domains=2)
        tensor([1, 0, 0])
    """
    step = torch.randint(1, num_domains, domain.shape, generator=generator, device=domain.device)
    return (domain + step) % num_domains


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, generator: Generator | None = None
) -> Tensor:
    """Squared distance from 1 of the critic's gradient norm (WGAN-GP, Gulrajani et al. 2017, eq. 3).

    The gradient is taken at one random point per sample on the line between a real and a fake image. The value of a
    patch critic is the *sum* over its patches, as in the implementations that the paper builds on.

    Args:
        critic: ``[B, C, H, W]`` -> values, first dimension B; differentiable twice.
        real: ``[B, C, H, W]``.
        fake: ``[B, C, H, W]``, one fake image for each real one.
        generator: source of randomness, on the device of the images.

    Returns:
        Scalar: mean over the batch of (||grad|| - 1)^2, in fp32.

    Example:
        >>> import torch
        >>> from monai_ext.losses import gradient_penalty
        >>> image = torch.zeros(1, 1, 2, 2)
        >>> gradient_penalty(lambda x: x.sum((1, 2, 3)), image, image).item()  # four gradients of 1: (2 - 1)^2
        1.0
    """
    share = torch.rand(real.shape[0], *[1] * (real.ndim - 1), generator=generator, device=real.device)
    between = torch.lerp(fake.detach().float(), real.detach().float(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (torch.linalg.vector_norm(gradient.float().flatten(1), dim=1) - 1).square().mean()


class AdversarialLoss(nn.Module):
    """Loss of one of two adversarial networks; ``terms`` names its parts.

    Example:
        >>> import torch
        >>> from monai_ext.losses import AdversarialLoss
        >>> class LookReal(AdversarialLoss):
        ...     terms = ("adversarial",)
        ...     def forward(self, translate, judge, image, domain, generator=None):
        ...         value, _ = judge(translate(image, domain))
        ...         return {"loss": -value.mean(), "adversarial": -value.mean()}
        >>> image, domain = torch.ones(2, 1, 4, 4), torch.tensor([0, 1])
        >>> LookReal()(lambda x, c: 3 * x, lambda x: (x, None), image, domain)["loss"]
        tensor(-3.)
    """

    terms: tuple[str, ...] = ()

    @abstractmethod
    def forward(
        self, translate: Translate, judge: Judge, image: Tensor, domain: Tensor, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            translate: the generator, called with images and target domains.
            judge: the discriminator: images -> critic values ``[B, 1, h, w]``, domain logits ``[B, domains]``.
            image: real images ``[B, C, H, W]``.
            domain: their domains, int64 ``[B]``.
            generator: source of randomness, on the device of the images.

        Returns:
            Scalars in fp32: ``loss`` and its ``terms``, not weighted.
        """


class FixedPointDiscriminatorLoss(AdversarialLoss):
    """Loss of the discriminator: critic + penalty_weight * gradient penalty + domain_weight * domain error.

    critic = E[D(G(x, c))] - E[D(x)] with c uniform over *all* domains, the image's own included: the adversarial term
    of the paper sums over same-domain and cross-domain translations; one draw per image has that expectation (up to a
    factor) at half the cost. The domain error is the cross-entropy on real images.

    Args:
        num_domains: number of domains.
        domain_weight: weight of the domain error.
        penalty_weight: weight of the gradient penalty.

    Example:
        >>> import torch
        >>> from monai_ext.losses import FixedPointDiscriminatorLoss
        >>> def translate(image, domain):
        ...     return image
        >>> def judge(image):
        ...     return image.mean((2, 3), keepdim=True), torch.zeros(len(image), 2)
        >>> image, domain = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
        >>> parts = FixedPointDiscriminatorLoss()(translate, judge, image, domain)
        >>> {name: round(value.item(), 4) for name, value in parts.items()}  # 0, ln 2 and (1 / 4 - 1)^2
        {'loss': 6.3181, 'critic': 0.0, 'domain': 0.6931, 'penalty': 0.5625}
    """

    terms = ("critic", "domain", "penalty")

    def __init__(self, num_domains: int = 2, domain_weight: float = 1.0, penalty_weight: float = 10.0) -> None:
        super().__init__()
        self.num_domains, self.domain_weight, self.penalty_weight = num_domains, domain_weight, penalty_weight

    def forward(
        self, translate: Translate, judge: Judge, image: Tensor, domain: Tensor, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, ``critic``, ``domain``, ``penalty``; gradients reach the discriminator only."""
        target = torch.randint(self.num_domains, domain.shape, generator=generator, device=domain.device)
        with torch.no_grad():
            fake = translate(image, target)
        # One pass for both halves: the discriminator has no batch statistics.
        value, logits = judge(torch.cat([image, fake.to(image.dtype)]))
        value_real, value_fake = value.float().chunk(2)
        terms = {
            "critic": value_fake.mean() - value_real.mean(),
            "domain": F.cross_entropy(logits[: len(image)].float(), domain),
            "penalty": gradient_penalty(lambda x: judge(x)[0], image, fake, generator),
        }
        loss = terms["critic"] + self.domain_weight * terms["domain"] + self.penalty_weight * terms["penalty"]
        return {"loss": loss, **terms}


class FixedPointGeneratorLoss(AdversarialLoss):
    """Loss of the generator, for a translation of each image to another domain and one to its own.

    For an image x of domain c_x, each translation y = G(x, c) adds

    - adversarial: -D(y), because it should look real;
    - domain: the cross-entropy of c given y, because it should look like its target domain;
    - cycle: ||G(y, c_x) - x||_1, because the way back should restore the image;

    and the translation to c = c_x also adds the *conditional identity* ||y - x||_1, because an image is a fixed point
    of the translation to its own domain. Every L1 norm is a mean over pixels.

    Not in the paper: the translation to the other domain may add ||y - x||_1 too, because it should change no more than
    it has to (``change_weight``). The gradient of an L1 norm is as large at a residual of zero as elsewhere: a
    generator that starts as the identity stays there if identity and change weigh more than what the domain term gains.
    Huber's norm (``huber``) is flat at zero: small residuals are nearly free, large ones cost as before.

    Departure: the published code draws targets as a permutation of the batch's labels, so that with two domains about
    half of its "cross-domain" translations are same-domain ones; here a target is always another domain, as in the
    paper's text.

    Args:
        num_domains: number of domains.
        domain_weight: weight of the domain error.
        cycle_weight: weight of the cycle error.
        identity_weight: weight of the conditional identity: 10, or 0.1 in the published recipe for brain tumours.
        adversarial_weight: weight of the adversarial term.
        change_weight: weight of the change by a translation to the other domain.
        huber: b > 0 replaces |d| by d^2 / 2b below b and by |d| - b / 2 above it, in all three norms; 0 is the paper's.

    Example:
        >>> import torch
        >>> from monai_ext.losses import FixedPointGeneratorLoss
        >>> def translate(image, domain):
        ...     return image
        >>> def judge(image):
        ...     return torch.ones(len(image), 1, 1, 1), torch.zeros(len(image), 2)
        >>> image, domain = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
        >>> parts = FixedPointGeneratorLoss()(translate, judge, image, domain)
        >>> {name: round(value.item(), 4) for name, value in parts.items()}  # -2 D(y), 2 ln 2, and an exact fixed point
        {'loss': -0.6137, 'adversarial': -2.0, 'domain': 1.3863, 'cycle': 0.0, 'identity': 0.0}
    """

    terms = ("adversarial", "domain", "cycle", "identity")

    def __init__(
        self,
        num_domains: int = 2,
        domain_weight: float = 1.0,
        cycle_weight: float = 10.0,
        identity_weight: float = 10.0,
        adversarial_weight: float = 1.0,
        change_weight: float = 0.0,
        huber: float = 0.0,
    ) -> None:
        super().__init__()
        self.adversarial_weight, self.change_weight, self.huber = adversarial_weight, change_weight, huber
        self.num_domains, self.domain_weight = num_domains, domain_weight
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight

    def _distance(self, image: Tensor, other: Tensor) -> Tensor:
        return F.smooth_l1_loss(image.float(), other.float(), beta=self.huber)

    def forward(
        self, translate: Translate, judge: Judge, image: Tensor, domain: Tensor, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, ``adversarial``, ``domain``, ``cycle`` (sums over both translations), ``identity``."""
        # Both translations in one batch: instance norm keeps its samples apart.
        twice, own = torch.cat([image, image]), torch.cat([domain, domain])
        target = torch.cat([other_domain(domain, self.num_domains, generator), domain])
        translated = translate(twice, target)
        value, logits = judge(translated)
        restored = translate(translated, own)
        other, same = translated.chunk(2)
        # The factor 2 turns a mean over both translations into the paper's sum.
        terms = {
            "adversarial": -2 * value.float().mean(),
            "domain": 2 * F.cross_entropy(logits.float(), target),
            "cycle": 2 * self._distance(restored, twice),
            "identity": self._distance(same, image),
        }
        loss = self.adversarial_weight * terms["adversarial"] + self.domain_weight * terms["domain"]
        loss = loss + self.cycle_weight * terms["cycle"] + self.identity_weight * terms["identity"]
        if self.change_weight:
            loss = loss + self.change_weight * self._distance(other, image)
        return {"loss": loss, **terms}
