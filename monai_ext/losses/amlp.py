"""What AMLP adds to the reconstruction error: attention to hard patches, and consistent categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from monai_ext.losses.masked_patch import MaskedPatchLoss
from monai_ext.networks.blocks import patchify
from monai_ext.networks.blocks.clustering import Clusters, PatchClustering

__all__ = ["AMLPLoss", "relative_error", "update_labels"]

Mode = Literal["soft", "soft_mismatch", "literal"]
XI = 1e-10  # of eq. 7


def relative_error(error: Tensor, mask: Tensor) -> Tensor:
    """Error of each masked patch over the mean of its image's masked patches (AMLP, eq. 6).

    Args:
        error: ``[B, N]``, not negative.
        mask: bool ``[B, N]``, True = masked.

    Returns:
        ``[B, N]``: of mean 1 over the masked patches of an image, 0 elsewhere.

    Example:
        >>> import torch
        >>> from monai_ext.losses import relative_error
        >>> relative_error(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[True, True, False]]))
        tensor([[0.5000, 1.5000, 0.0000]])
    """
    masked = error * mask
    mean = masked.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return masked / mean.clamp(min=torch.finfo(error.dtype).tiny)


def update_labels(foreground: Tensor, ratio: Tensor, generator: Generator | None = None) -> Tensor:
    """New category of each patch, from its cluster and from how hard it was to reconstruct (AMLP, 3.3).

    A patch is hard when its relative error is at least 1. Hard foreground stays foreground and easy background stays
    background. A fair coin decides the category of easy foreground and of hard background.

    Args:
        foreground: bool ``[B, N]``, the categories from the clustering.
        ratio: ``[B, N]`` of :func:`relative_error`.
        generator: source of the coins, on the device of the patches; the default is torch's own.

    Returns:
        bool ``[B, N]``.

    Example:
        >>> import torch
        >>> from monai_ext.losses import update_labels
        >>> foreground = torch.tensor([[True, False]])
        >>> update_labels(foreground, torch.tensor([[1.5, 0.5]]))  # hard foreground and easy background stay
        tensor([[ True, False]])
    """
    coin = torch.rand(ratio.shape, device=ratio.device, generator=generator) < 0.5
    return torch.where((ratio >= 1) == foreground, foreground, coin)


class AMLPLoss(nn.Module):
    """Reconstruction, attention reconstruction and category consistency (AMLP, 3.2, 3.3, eq. 8).

    Two of the paper's terms have no gradient as written. They are read here so that they have one:

    - Attention reconstruction (eq. 6): the ratios of an image always sum to the number of its masked patches. Here the
      ratio, without its gradient, weights the error of its patch: ``mean_i sg(L_i / mean L) L_i``.
    - Category consistency (eq. 7): a cross-entropy between two hard labels, 23.03 for every changed one. Here the
      category of the *reconstructed* patch is compared with that of the *original* one, the difference that the paper's
      introduction names: ``KL(q || p)`` of ``softmax(-d^2 / t)`` of each, where d are the distances to the image's two
      centroids in units of the distance between them, and t is the paper's temperature, whose use it does not say. A
      perfect reconstruction has 0. (With the new label in the place of q it has not: a hard background
      patch that the coin calls foreground would have to be reconstructed as what it is not.)

    After each call ``parts`` holds the unweighted, detached terms for the log: ``reconstruction``, ``attention``,
    ``consistency``, and ``relabeled``, the share of the masked tissue whose category changed.

    Args:
        patch_size: pixels of a patch along each axis.
        clustering: finds the two categories; the masker's instance, so that they are computed once. The default is a
            new one.
        reconstruction_weight: weight of the mean squared error over masked patches.
        attention_weight: weight of the attention reconstruction loss; in the paper all three weights are 1.
        consistency_weight: weight of the category consistency loss. With 0 no patches are clustered.
        mode: ``soft`` compares every masked patch of tissue, ``soft_mismatch`` those with a new label only, as the
            paper says of eq. 7; ``literal`` computes eq. 7 as written for ``parts`` and adds nothing to the loss.
        temperature: t, 0.1 in the paper.

    Raises:
        ValueError: when the mode is unknown, the temperature not positive, a weight negative, or the clustering has
            other patches.

    Example:
        >>> import torch
        >>> from monai_ext.losses import AMLPLoss
        >>> image = torch.zeros(1, 1, 2, 4)  # two patches of 2x2 pixels
        >>> pred = torch.tensor([1.0, 1.0, 3.0, 3.0]).expand(1, 1, 2, 4)  # errors 1 and 9, their ratios 0.2 and 1.8
        >>> loss = AMLPLoss(patch_size=(2, 2), consistency_weight=0)
        >>> loss(pred, image, torch.tensor([[True, True]]))  # (1 + 9) / 2 + (0.2 * 1 + 1.8 * 9) / 2
        tensor(13.2000)
        >>> loss.parts
        {'reconstruction': tensor(5.), 'attention': tensor(8.2000)}
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        clustering: PatchClustering | None = None,
        reconstruction_weight: float = 1.0,
        attention_weight: float = 1.0,
        consistency_weight: float = 1.0,
        mode: Mode = "soft",
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise ValueError(f"unknown mode {mode!r}; known are {', '.join(get_args(Mode))}")
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if min(reconstruction_weight, attention_weight, consistency_weight) < 0:
            raise ValueError(
                "weights must not be negative, got "
                f"{reconstruction_weight}, {attention_weight} and {consistency_weight}"
            )
        self.reconstruction = MaskedPatchLoss(patch_size, normalize=False)
        # Pictures of the reconstruction read these.
        self.patch_size, self.normalize, self.per_channel = self.reconstruction.patch_size, False, False
        self.clustering = clustering or PatchClustering(patch_size)
        if self.clustering.patch_size != self.reconstruction.patch_size:
            raise ValueError(f"patches of {tuple(patch_size)}, but {self.clustering.patch_size} in the clustering")
        self.reconstruction_weight = reconstruction_weight
        self.attention_weight = attention_weight
        self.consistency_weight = consistency_weight
        self.mode = mode
        self.temperature = temperature
        self.parts: dict[str, Tensor] = {}

    def forward(self, pred: Tensor, image: Tensor, mask: Tensor, generator: Generator | None = None) -> Tensor:
        """Weighted sum of the three terms (eq. 8).

        Args:
            pred: image ``[B, C, *spatial]``, or its patches ``[B, N, P * C]``.
            image: ``[B, C, *spatial]``, what was to be reconstructed.
            mask: bool ``[B, N]``, True = masked.
            generator: source of the coins of the label update; the default is torch's own.

        Returns:
            Scalar, fp32.
        """
        if pred.shape[1:] == image.shape[1:]:
            pred = patchify(pred, self.reconstruction.patch_size)
        pred = pred.float()
        error = self.reconstruction.per_patch(pred, image)
        ratio = relative_error(error.detach(), mask)  # detached: a weight
        reconstruction = (error * mask).sum() / mask.sum()
        attention = (ratio * error * mask).sum() / mask.sum()
        self.parts = {"reconstruction": reconstruction.detach(), "attention": attention.detach()}
        loss = self.reconstruction_weight * reconstruction + self.attention_weight * attention
        if self.consistency_weight == 0:
            return loss
        clusters = self.clustering(image)
        # Exclude air from the mean error: masked air would lower the mean until all tissue counted as hard.
        ratio = relative_error(error.detach(), mask & clusters.valid)
        target = update_labels(clusters.foreground, ratio, generator)
        consistency = self.consistency(pred, image, target, mask, clusters)
        if self.mode != "literal":
            loss = loss + self.consistency_weight * consistency
        return loss

    def consistency(self, pred: Tensor, image: Tensor, target: Tensor, mask: Tensor, clusters: Clusters) -> Tensor:
        """Category consistency (eq. 7) of reconstructed patches ``[B, N, P * C]`` with new labels bool ``[B, N]``.

        Air and images without a foreground have no category and are left out.
        """
        counted = mask & clusters.valid & clusters.foreground.any(1, keepdim=True)
        changed = counted & (target != clusters.foreground)
        if self.mode == "literal":
            # Where the labels differ, one of the two products of eq. 7 vanishes and the other is -log(xi).
            value = changed.sum() * -math.log(XI) / changed.sum().clamp(min=1)
        else:
            # The softmax over two centroids is a sigmoid of their difference.
            found = clusters.margin(pred) / self.temperature
            wanted = clusters.margin(self.clustering.patches(image)[0]) / self.temperature
            q = wanted.sigmoid()
            cross, own = (F.binary_cross_entropy_with_logits(logit, q, reduction="none") for logit in (found, wanted))
            chosen = counted if self.mode == "soft" else changed
            value = ((cross - own) * chosen).sum() / chosen.sum().clamp(min=1)
        self.parts["consistency"] = value.detach()
        self.parts["relabeled"] = changed.sum() / counted.sum().clamp(min=1)
        return value
