"""Focal loss plus cross-entropy, for lesions that most volumes lack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FocalCELoss"]


class FocalCELoss(nn.Module):
    """Mean over voxels of -w_t (1 - p_t)^gamma log p_t - log p_t, with p the softmax and t the true class.

    PI-CAI's nnU-Net baseline trains with focal + CE, because a Dice term is undefined on the many negative volumes.
    adU-Net is built on nnU-Net, whose loss is Dice + CE; the paper does not name its own loss.

    Args:
        alpha: weight w of the foreground; the weight of the background is 1 - alpha.
        gamma: focusing exponent.
        focal_weight: weight of the focal part.
        ce_weight: weight of the cross-entropy.

    Example:
        >>> import torch
        >>> from monai_ext.losses import FocalCELoss
        >>> FocalCELoss()(torch.zeros(1, 2, 4), torch.ones(1, 1, 4))  # p = 1/2: 0.5 * (1/2)^2 * ln 2 + ln 2
        tensor(0.7798)
    """

    def __init__(
        self, alpha: float = 0.5, gamma: float = 2.0, focal_weight: float = 1.0, ce_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.alpha, self.gamma, self.focal_weight, self.ce_weight = alpha, gamma, focal_weight, ce_weight

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            pred: logits ``[B, C, *spatial]``, C >= 2 with the background first.
            label: class indices ``[B, 1, *spatial]``.

        Returns:
            Scalar, fp32.
        """
        target = label.as_subclass(Tensor)[:, 0].long()
        ce = F.cross_entropy(pred.as_subclass(Tensor).float(), target, reduction="none")
        weight = torch.where(target > 0, self.alpha, 1 - self.alpha)
        focal = weight * (-torch.expm1(-ce)).pow(self.gamma) * ce
        return (self.focal_weight * focal + self.ce_weight * ce).mean()
