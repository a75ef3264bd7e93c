"""The loss of nnU-Net: Dice and cross-entropy at every scale of the decoder."""

from __future__ import annotations

import monai.losses
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_ext.losses.across_processes import sum_over_processes

__all__ = ["DeepSupervisionLoss", "MemoryEfficientDiceCELoss"]


class MemoryEfficientDiceCELoss(nn.Module):
    """Soft Dice of the foreground classes plus cross-entropy (nnU-Net, Isensee et al. 2021), for many classes.

    The Dice part is 1 - (2 I + e) / (P + T + e), averaged over the samples and over all classes except the background.
    I, P and T are the sums over the voxels of p t, p and t, where p is the softmax and t the label.

    MONAI's ``DiceCELoss(softmax=True, to_onehot_y=True)`` turns the label into one channel per class, which for 105
    classes takes as much memory as the network's output. This loss reads the class indices directly; its Dice part has
    the value of MONAI's ``DiceLoss(softmax=True, to_onehot_y=True, include_background=False)``.

    Args:
        dice_weight: weight of the Dice part.
        ce_weight: weight of the cross-entropy.
        batch: sum I, P and T over the whole batch, across all processes, instead of over each sample.
        smooth: the constant e.

    Example:
        >>> import torch
        >>> from monai_ext.losses import MemoryEfficientDiceCELoss
        >>> label = torch.tensor([[[0, 0, 1, 1]]])
        >>> MemoryEfficientDiceCELoss()(torch.zeros(1, 2, 4), label)  # p = 1/2: 1 - 2 * 1 / (2 + 2) + ln 2
        tensor(1.1931)
    """

    def __init__(
        self, dice_weight: float = 1.0, ce_weight: float = 1.0, batch: bool = False, smooth: float = 1e-5
    ) -> None:
        super().__init__()
        self.dice_weight, self.ce_weight, self.batch, self.smooth = dice_weight, ce_weight, batch, smooth

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            pred: logits ``[B, C, *spatial]``, C >= 2 with the background first.
            label: class indices ``[B, 1, *spatial]``.

        Returns:
            Scalar, fp32.
        """
        logits = pred.as_subclass(Tensor).float().flatten(2)
        target = label.as_subclass(Tensor).flatten(1).long()
        log_p = logits.log_softmax(1)
        loss = self.ce_weight * F.nll_loss(log_p, target)
        return loss + self.dice_weight * self._dice_loss(log_p.exp(), target) if self.dice_weight else loss

    def _dice_loss(self, p: Tensor, target: Tensor) -> Tensor:
        """Probabilities ``[B, C, V]`` and classes int64 ``[B, V]`` -> scalar."""
        shape = p.shape[:2]
        hit = p.gather(1, target[:, None])[:, 0]
        intersection = torch.zeros(shape, device=p.device).scatter_add(1, target, hit)
        truth = torch.zeros(shape, device=p.device).scatter_add(1, target, torch.ones_like(hit))
        sums = torch.stack([intersection, p.sum(2) + truth])[:, :, 1:]
        if self.batch:
            sums = sum_over_processes(sums.sum(1))
        return 1 - ((2 * sums[0] + self.smooth) / (sums[1] + self.smooth)).mean()


class DeepSupervisionLoss(monai.losses.DeepSupervisionLoss):
    """A loss at every scale, weighted 1, 1/2, 1/4, ... from the finest on and divided by the sum of the weights.

    MONAI's own loss does not divide by the sum, so its value and the effect of gradient clipping depend on the number
    of scales. The label is resized to each scale by nearest neighbour.

    Args:
        loss: loss of one scale, called as ``loss(pred, label)`` with ``[B, C, *spatial]`` and ``[B, 1, *spatial]``.

    Example:
        >>> import torch
        >>> from monai_ext.losses import DeepSupervisionLoss, FocalCELoss
        >>> loss = DeepSupervisionLoss(FocalCELoss(focal_weight=0))
        >>> [round(weight, 3) for weight in loss.get_weights(3)]  # 4/7, 2/7, 1/7
        [0.571, 0.286, 0.143]
        >>> scales = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)]
        >>> loss(scales, torch.zeros(1, 1, 8, 8))  # ln 2 at every scale
        tensor(0.6931)
    """

    def get_weights(self, levels: int = 1) -> list[float]:
        """Weights of ``levels`` scales, the finest first; they sum to 1."""
        weights = [0.5**level for level in range(levels)]
        return [weight / sum(weights) for weight in weights]

    def forward(self, input: Tensor | list[Tensor], target: Tensor) -> Tensor:  # type: ignore[override]
        """Loss of one tensor ``[B, C, *spatial]`` or of a list of them, the finest first; scalar, fp32."""
        label = target.as_subclass(Tensor).float()  # torch interpolates no int64
        if isinstance(input, Tensor):
            return super().forward(input, label)
        # Not MONAI's sum, which starts from a number of the host.
        parts = [weight * self.get_loss(x.float(), label) for weight, x in zip(self.get_weights(len(input)), input)]
        return torch.stack(parts).sum()
