"""Learn from labels that somebody is not everywhere sure of: those of a teacher network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_ext.losses.across_processes import sum_over_processes

__all__ = ["UNSURE", "SureVoxelLoss", "sure_labels"]

UNSURE = 255  # class of a voxel that nobody is sure of


def sure_labels(logits: Tensor, confidence: float) -> Tensor:
    """The likeliest class of each voxel where its probability reaches ``confidence``, else :data:`UNSURE`.

    Args:
        logits: ``[B, C, *spatial]``, at most 255 classes.
        confidence: smallest probability that counts (tau in FixMatch, Sohn et al. 2020, eq. 4).

    Returns:
        uint8 ``[B, 1, *spatial]``.

    Example:
        >>> import torch
        >>> from monai_ext.losses import sure_labels
        >>> sure_labels(torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]), confidence=0.9).tolist()
        [[[0, 255]]]
    """
    p, found = logits.as_subclass(Tensor).float().softmax(1).max(1, keepdim=True)
    return torch.where(p >= confidence, found, UNSURE).to(torch.uint8)


class SureVoxelLoss(nn.Module):
    """Cross-entropy and soft Dice over the voxels S that have a label; the others teach nothing.

    With p the softmax, t the label's indicator and V all voxels of the batch,

        L = 1 / |V| sum_(v in S) -log p_v(t_v) + w mean_c [1 - (2 sum_S p_c t_c + e) / (sum_S p_c + sum_S t_c + e)].

    The first part is FixMatch's (Sohn et al. 2020, eq. 4): few sure voxels weigh little. The second is over the
    foreground classes c that S holds, over the whole batch and all processes; rare lesions need it, since nearly all
    sure voxels are background. It is 0 where S holds no foreground.

    Args:
        dice_weight: w.
        smooth: e.

    Example:
        >>> import torch
        >>> from monai_ext.losses import SureVoxelLoss
        >>> label = torch.tensor([[[0, 255, 255, 1]]])
        >>> SureVoxelLoss()(torch.zeros(1, 2, 4), label)  # p = 1/2: 2/4 ln 2 + 1 - 2 * .5 / (1 + 1)
        tensor(0.8466)
    """

    def __init__(self, dice_weight: float = 1.0, smooth: float = 1e-5) -> None:
        super().__init__()
        self.dice_weight, self.smooth = dice_weight, smooth

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            pred: logits ``[B, C, *spatial]``, C >= 2 with the background first.
            label: class indices ``[B, 1, *spatial]``, :data:`UNSURE` where there is none.

        Returns:
            Scalar, fp32; 0 where no voxel has a label.
        """
        log_p = pred.as_subclass(Tensor).float().flatten(2).log_softmax(1)
        target = label.as_subclass(Tensor).flatten(1).long()
        ce = F.nll_loss(log_p, target, ignore_index=UNSURE, reduction="sum") / target.numel()
        return ce + self.dice_weight * self._dice_loss(log_p.exp(), target) if self.dice_weight else ce

    def _dice_loss(self, p: Tensor, target: Tensor) -> Tensor:
        """Probabilities ``[B, C, V]`` and classes int64 ``[B, V]`` -> scalar."""
        classes = p.shape[1]
        sure = target != UNSURE
        known = torch.where(sure, target, 0)
        hit = p.gather(1, known[:, None])[:, 0] * sure
        zeros = torch.zeros(classes, device=p.device)
        intersection = zeros.scatter_add(0, known.flatten(), hit.flatten())
        truth = zeros.scatter_add(0, known.flatten(), sure.flatten().float())
        sums = sum_over_processes(torch.stack([intersection, (p * sure[:, None]).sum((0, 2)), truth])[:, 1:])
        loss = 1 - (2 * sums[0] + self.smooth) / (sums[1] + sums[2] + self.smooth)
        held = sums[2] > 0
        return (loss * held).sum() / held.sum().clamp(min=1)
