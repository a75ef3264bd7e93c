"""The loss of a pretraining is least where the reconstruction is perfect: nothing in it asks for anything else."""

import pytest
import torch

from monai_ext.losses import AMLPLoss, MaskedPatchLoss, MaskedVoxelLoss
from monai_ext.networks.blocks import patchify

PATCH = (4, 4)
LOSSES = {
    "patches": MaskedPatchLoss(PATCH, normalize=False),
    "normalised patches": MaskedPatchLoss(PATCH),
    "patches normalised by channel": MaskedPatchLoss(PATCH, per_channel=True),
    "absolute": MaskedPatchLoss(PATCH, absolute=True),
    "voxels": MaskedVoxelLoss(PATCH),
    "visible voxels too": MaskedVoxelLoss(PATCH, masked_only=False),
    **{f"AMLP, {mode}": AMLPLoss(PATCH, mode=mode) for mode in ("soft", "soft_mismatch", "literal")},
}


def midpoints(image, loss):
    """Every patch half way between the two centroids of its image, where no category is certain."""
    clusters = loss.clustering(image)
    return clusters.centers.mean(1, keepdim=True).expand(-1, 36, -1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_reconstruction_is_the_minimum(name):
    loss, rng = LOSSES[name], torch.Generator().manual_seed(0)
    image = torch.randn(2, 2, 24, 24, generator=rng) + 1
    image[:, :, 8:16, 8:16] += 3  # a brighter part
    mask = torch.rand(2, 36, generator=rng) < 0.6
    perfect = loss.target(image) if isinstance(loss, MaskedPatchLoss) else patchify(image, PATCH)
    if isinstance(loss, MaskedVoxelLoss):
        perfect = image
    least = loss(perfect, image, mask)
    assert least == pytest.approx(0, abs=1e-6)
    others = [perfect + size * torch.randn(perfect.shape, generator=rng) for size in (0.03, 0.3, 3.0) for _ in range(5)]
    others += [torch.zeros_like(perfect), -perfect]
    if isinstance(loss, AMLPLoss):
        others += [midpoints(image, loss), patchify(image, PATCH).flip(1)]
    assert all(loss(other, image, mask) > least for other in others)
    pred = perfect.clone().requires_grad_()
    loss(pred, image, mask).backward()
    assert pred.grad.abs().max() < 1e-5 or name == "absolute"
