"""The hybrid loss of prostate MAE."""

from __future__ import annotations

import torch
from monai.losses import FocalLoss
from torch import Tensor, nn

from monai_ext.losses.across_processes import sum_over_processes

__all__ = ["FocalDiceLoss"]


class FocalDiceLoss(nn.Module):
    """Focal plus Dice loss over softmax probabilities (prostate MAE, A.3, eq. 3 to 5).

    The focal part is the mean over all pixels of alpha (1 - p_t)^gamma (-log p_t), with one alpha for all classes as in
    the paper. The Dice part is the number of classes minus the sum of each class's Dice over all pixels of the batch,
    across all processes. MONAI's ``DiceFocalLoss`` differs: its focal part takes a sigmoid.

    Args:
        focal_weight, dice_weight: weights of the two parts, lambda in eq. 3.
        alpha, gamma: weight and focusing exponent of eq. 4.
        eps: smoothing constant of eq. 5, added to numerator and denominator.
        num_classes: channels of the prediction, background included.

    Example:
        >>> import torch
        >>> from monai_ext.losses import FocalDiceLoss
        >>> label = torch.tensor([[[0, 0, 1, 1]]])
        >>> FocalDiceLoss()(torch.zeros(1, 2, 4), label)  # p = 1/2: (0.25 * (1/2)^2 * ln 2 + 2 - 1/2 - 1/2) / 2
        tensor(0.5217)
    """

    def __init__(
        self,
        focal_weight: float = 0.5,
        dice_weight: float = 0.5,
        alpha: float = 0.25,
        gamma: float = 2.0,
        eps: float = 1e-5,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        self.focal_weight, self.dice_weight, self.num_classes = focal_weight, dice_weight, num_classes
        self.focal = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=gamma, alpha=[alpha] * num_classes)
        self.eps = eps

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            pred: logits ``[B, num_classes, *spatial]``.
            label: class indices ``[B, 1, *spatial]``.

        Returns:
            Scalar, fp32.
        """
        pred, label = pred.as_subclass(Tensor).float(), label.as_subclass(Tensor).float()
        # MONAI's focal also averages over the channels, of which only the true one is not zero.
        focal = self.num_classes * self.focal(pred, label)
        p = pred.softmax(1).movedim(1, 0).flatten(1)
        truth = torch.stack([(label == c).flatten() for c in range(self.num_classes)]).to(p)
        hit, size = sum_over_processes(torch.stack([(p * truth).sum(1), (p + truth).sum(1)]))
        dice = self.num_classes - ((2 * hit + self.eps) / (size + self.eps)).sum()
        return self.focal_weight * focal + self.dice_weight * dice
