import numpy as np
import pytest
import torch

from monai_ext.losses import MaskedVoxelLoss


@pytest.fixture
def batch():
    """A PET/CT crop and a CT crop, whose PET channel is 0."""
    torch.manual_seed(0)
    image, pred = torch.randn(2, 2, 8, 8, 4), torch.randn(2, 2, 8, 8, 4)
    image[1, 1] = 0
    return pred, image, torch.rand(2, 8) < 0.6


def by_loop(pred, image, mask, masked_only):
    total, number = 0.0, 0
    for sample, channel, x, y, z in np.ndindex(2, 2, 8, 8, 4):
        block = (x // 4) * 4 + (y // 4) * 2 + z // 2  # row-major over 2x2x2 blocks of 4x4x2
        if (sample, channel) == (1, 1) or (masked_only and not mask[sample, block]):
            continue
        total += float(pred[sample, channel, x, y, z] - image[sample, channel, x, y, z]) ** 2
        number += 1
    return total / number


@pytest.mark.parametrize("masked_only", [True, False])
def test_equals_a_loop(batch, masked_only):
    loss = MaskedVoxelLoss((4, 4, 2), masked_only)(*batch)
    assert float(loss) == pytest.approx(by_loop(*batch, masked_only), rel=1e-5)


def test_absent_channel_gets_no_gradient(batch):
    pred, image, mask = batch
    pred.requires_grad_()
    MaskedVoxelLoss((4, 4, 2))(pred, image, mask).backward()
    assert not pred.grad[1, 1].any()
    assert pred.grad[1, 0].any()
    assert pred.grad[0, 1].any()


def test_nothing_to_learn_from_is_zero(batch):
    pred, _, mask = batch
    assert MaskedVoxelLoss((4, 4, 2))(pred, torch.zeros_like(pred), mask) == 0


def test_half_precision_prediction(batch):
    pred, image, mask = batch
    loss = MaskedVoxelLoss((4, 4, 2))(pred.bfloat16(), image, mask)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_loop(*batch, True), rel=0.01)
